"""Figures as Prometheus' text format, by prometheus_client (the extra `monitoring`), imported when it is needed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from typing import TYPE_CHECKING

from runner.errors import MissingExtraError
from runner.monitoring.figures import Figures
from runner.monitoring.names import METRICS, MetricKind

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def require_prometheus() -> None:
    """Raises MissingExtraError when prometheus_client is not installed. Looks without importing it."""
    if importlib.util.find_spec("prometheus_client") is None:
        raise MissingExtraError(
            "metrics need the package prometheus-client, which is not installed",
            remedy="Install the extra: pip install 'sync-runner[monitoring]'",
        )


def metrics_text(figures: Figures) -> bytes:
    """All that is known, in the text format 0.0.4; families in the order of the table, tasks in that of the file.

    Held in memory: about 4 KB a task. Raises MissingExtraError.
    """
    require_prometheus()
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collected(figures))
    return generate_latest(registry)


class _Collected:
    """Prometheus' collector for one answer."""

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def describe(self) -> Iterator[Family]:
        return iter(())

    def collect(self) -> Iterator[Family]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for metric in METRICS:
            counts = metric.kind is MetricKind.COUNTER
            kind = CounterMetricFamily if counts else GaugeMetricFamily
            family = kind(metric.name, metric.help, labels=metric.labels)
            for labels, value in metric.samples(self._figures):
                family.add_metric(labels, value)
            # A family without a sample would only be noise.
            if family.samples:
                yield family
