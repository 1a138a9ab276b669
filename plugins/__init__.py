"""Location drivers, one folder each: driver.py, options.schema.json, README.md. Installed as runner_plugins."""
