"""sync-runner: declare a synchronisation in sync.yaml, read its plan, apply exactly that, prove it.

The folders stand in the order of the story: model, locations, filters, config, inventory, diff, plan,
transfer, verify, report, history; pipeline.py tells it from end to end; cli/ is the only place that prints.
"""

__version__ = "0.1.0"
