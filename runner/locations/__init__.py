"""What a location is: the driver Protocol and its optional roles, capabilities, and the registry of drivers.

Drivers live in plugins/ (or in any package that declares a `runner.locations` entry point); they know this
folder, model, errors, units and clock, and nothing else of the runner.
"""
