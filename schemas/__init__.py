"""The published JSON Schemas: sync.yaml, plan file, outcomes, report. Installed as runner_schemas."""
