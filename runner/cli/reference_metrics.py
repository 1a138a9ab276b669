"""docs/metrics.md, from the one table of metrics."""

from __future__ import annotations

from collections.abc import Iterable

from runner.history.records import SlotOutcome
from runner.monitoring.names import AT_WORK, ENDED, METRICS, OUTCOMES, Metric, Scope

_TITLES = {
    Scope.SERVICE: "The service",
    Scope.TASK: "Tasks",
    Scope.EXECUTION: "Executions that run",
}


def metrics_page() -> str:
    """docs/metrics.md."""
    statuses, phases = _listed(ENDED), _listed(AT_WORK)
    slots = _listed(one for one in SlotOutcome if one is not SlotOutcome.QUEUED)
    lines = [
        "# Metrics",
        "",
        "<!-- Generated from runner/monitoring/names.py: python -m runner.cli.reference docs/ -->",
        "",
        "What [`/metrics` and the text file](monitoring.md) expose. Names are stable. Units are seconds, bytes, and",
        "seconds since 1970 (`_timestamp_seconds`); `_total` only rises. A value that is not known has no sample.",
        "",
        "Labels have few values, and there are no others: no path, no execution, no host.",
        "",
        "| Label | Values |",
        "|---|---|",
        "| `task` | the tasks of the configuration; one that leaves it vanishes |",
        f"| `status` | {statuses} |",
        f"| `phase` | {phases} |",
        f"| `outcome` of files | {_listed(OUTCOMES)} (a quarantined file counts as deleted) |",
        f"| `outcome` of scheduled times | {slots} |",
        "| `version` | the version that runs |",
    ]
    for scope, title in _TITLES.items():
        lines += [
            "",
            f"## {title}",
            "",
            "| Metric | Type | Labels | What it tells | Where |",
            "|---|---|---|---|---|",
            *(_row(metric) for metric in METRICS if metric.scope is scope),
        ]
    return "\n".join(lines) + "\n"


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    where = "`/metrics`" if metric.live else "`/metrics`, text file"
    return f"| `{metric.name}` | {metric.kind.value} | {labels} | {metric.help} | {where} |"


def _listed(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)
