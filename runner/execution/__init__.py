"""One run of a task: its context, phases, lock, journal, workers, and the report and history it leaves.

context (what every call is given), circumstances (what planning is told), record (the execution itself),
failures (what an error means for it), past (the last success), notebook (history, written beside the work).
"""
