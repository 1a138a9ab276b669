"""How things stand, for machines: Prometheus' /metrics, a text file for node_exporter, OpenTelemetry traces.

figures (the plain values, worked out from configuration and standings), names (the one table of metrics, from which
docs/metrics.md is made), metrics (figures -> Prometheus' text), scrape (what /metrics answers), textfile (the file),
traces (a finished report -> one trace). Third-party packages are imported when there is something to tell.
"""
