"""The one table of metrics: docs/metrics.md is made from it, and nothing else is ever exposed.

Names follow https://prometheus.io/docs/practices/naming/: base units in the name, `_total` for what only rises. Labels
have few values: a task of the configuration, a status, a phase, an outcome; never a path or an execution.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

import runner
from runner.history.standing import Moved
from runner.model.entry import Phase
from runner.monitoring.figures import Figures, RunningFigures, ServiceFigures, TaskFigures

ENDED = (Phase.SUCCESS, Phase.ERROR, Phase.CANCELLED)
AT_WORK = (Phase.QUEUED, Phase.LAUNCHING, Phase.PREPARING, Phase.TRANSFERRING, Phase.VERIFYING)
OUTCOMES = ("transferred", "deleted", "failed")
"""What becomes of files."""

Value = float | None | Mapping[str, float]
"""None = not known: no sample. With a label of its own, a metric has one value for each of the label's."""


class MetricKind(enum.StrEnum):
    """How a metric moves: up and down, or only up."""

    GAUGE = "gauge"
    COUNTER = "counter"


class Scope(enum.Enum):
    """What a metric tells of: the service, a task (label `task`), or a task's running execution (label `task`)."""

    SERVICE = "service"
    TASK = "task"
    EXECUTION = "execution"


class Metric(msgspec.Struct, frozen=True):
    """One metric. `read` takes a ServiceFigures, a TaskFigures or a RunningFigures, as `scope` says.

    `live`: only the service knows it; the text file leaves it out.
    """

    name: str
    kind: MetricKind
    scope: Scope
    help: str
    read: Callable[[Any], Value]
    label: str | None = None
    live: bool = False

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels' names, in the samples' order."""
        task = () if self.scope is Scope.SERVICE else ("task",)
        return task if self.label is None else (*task, self.label)

    def samples(self, figures: Figures) -> Iterator[tuple[tuple[str, ...], float]]:
        """(values of the labels, value) of everything that is known."""
        for owner, source in self._sources(figures):
            value = self.read(source)
            if isinstance(value, Mapping):
                for label, number in value.items():
                    yield (*owner, label), float(number)
            elif value is not None:
                yield owner, float(value)

    def _sources(self, figures: Figures) -> Iterator[tuple[tuple[str, ...], object]]:
        if self.scope is Scope.SERVICE:
            if figures.service is not None:
                yield (), figures.service
            return
        for task in figures.tasks:
            source = task if self.scope is Scope.TASK else task.running
            if source is not None:
                yield (task.task,), source


def _seconds(instant: datetime | None) -> float | None:
    return None if instant is None else instant.timestamp()


def _files(moved: Moved | None) -> Value:
    if moved is None:
        return None
    return dict(
        zip(OUTCOMES, (moved.files_transferred, moved.files_deleted, moved.files_failed), strict=True)
    )


def _last_status(task: TaskFigures) -> Value:
    if task.last_status is None:
        return None
    return {status.value: status is task.last_status for status in ENDED}


def _phase(running: RunningFigures) -> Value:
    if running.phase is None:
        return None
    return {phase.value: phase is running.phase for phase in AT_WORK}


def _service(
    name: str,
    kind: MetricKind,
    help_text: str,
    read: Callable[[ServiceFigures], Value],
    label: str | None = None,
) -> Metric:
    return Metric(f"sync_runner_{name}", kind, Scope.SERVICE, help_text, read, label, live=True)


def _task(
    name: str,
    kind: MetricKind,
    help_text: str,
    read: Callable[[TaskFigures], Value],
    label: str | None = None,
    *,
    live: bool = False,
) -> Metric:
    return Metric(f"sync_runner_task_{name}", kind, Scope.TASK, help_text, read, label, live)


def _execution(
    name: str, help_text: str, read: Callable[[RunningFigures], Value], label: str | None = None
) -> Metric:
    full = f"sync_runner_execution_{name}"
    return Metric(full, MetricKind.GAUGE, Scope.EXECUTION, help_text, read, label, live=True)


_GAUGE, _COUNTER = MetricKind.GAUGE, MetricKind.COUNTER

METRICS: tuple[Metric, ...] = (
    _service("build_info", _GAUGE, "Always 1; the label tells the version that runs.",
             lambda one: {runner.__version__: 1.0}, "version"),
    _service("start_timestamp_seconds", _GAUGE, "When the service started.",
             lambda one: _seconds(one.started_at)),
    _service("configuration_loaded_timestamp_seconds", _GAUGE, "When the configuration in force was loaded.",
             lambda one: _seconds(one.configuration_loaded_at)),
    _service("configuration_ok", _GAUGE,
             "1, or 0 when the file changed and is not valid: the configuration before it is still in force.",
             lambda one: one.configuration_ok),
    _service("draining", _GAUGE, "1 while the service ends: it starts nothing more.",
             lambda one: one.draining),
    _service("executions_running", _GAUGE, "Executions that run now.",
             lambda one: one.executions_running),
    _service("executions_limit", _GAUGE, "How many may run at once (settings.service.executions).",
             lambda one: one.executions_at_most),
    _service("queue_length", _GAUGE, "Executions that wait in the queue.",
             lambda one: one.queue_length),
    _service("bandwidth_limit_bytes_per_second", _GAUGE,
             "What all executions together may move now (settings.bandwidth); absent when unlimited.",
             lambda one: one.bandwidth_bytes_per_second),
    _service("history_reachable", _GAUGE,
             "1, or 0 when the database of history cannot be reached; nothing is lost, it is told later.",
             lambda one: one.history_reachable),
    _service("slots_total", _COUNTER,
             "Scheduled times that were decided since the service started, by what became of them.",
             lambda one: dict(sorted(one.slots.items())), "outcome"),
    _task("enabled", _GAUGE, "1, or 0 when the configuration says enabled: false.",
          lambda one: one.enabled),
    _task("paused", _GAUGE, "1 while the schedule rests because a user paused it.",
          lambda one: one.paused),
    _task("disabled", _GAUGE,
          "1 while the schedule rests because the task failed too often in a row with the same error.",
          lambda one: one.disabled),
    _task("last_status", _GAUGE, "How the last execution ended: 1 for that status, 0 for the others.",
          _last_status, "status"),
    _task("last_exit_code", _GAUGE, "The exit code of the last execution; 0 is success.",
          lambda one: one.last_exit_code),
    _task("last_duration_seconds", _GAUGE, "How long the last execution took.",
          lambda one: one.last_duration_seconds),
    _task("last_end_timestamp_seconds", _GAUGE, "When the last execution ended, however it did.",
          lambda one: _seconds(one.last_ended_at)),
    _task("last_success_timestamp_seconds", _GAUGE, "When the last successful execution ended.",
          lambda one: _seconds(one.last_success_at)),
    _task("last_files", _GAUGE, "Files of the last execution, by what became of them.",
          lambda one: _files(one.last_moved), "outcome"),
    _task("last_transferred_bytes", _GAUGE, "Bytes that the last execution transferred.",
          lambda one: None if one.last_moved is None else one.last_moved.bytes_transferred),
    _task("failures_in_a_row", _GAUGE, "Executions since the last success that failed; 0 after a success.",
          lambda one: one.failures_in_a_row),
    _task("max_age_seconds", _GAUGE, "How old the last success may be (max_age); absent where none is declared.",
          lambda one: one.max_age_seconds),
    _task("overdue", _GAUGE,
          "1 when the last success is older than max_age, or there is none; for enabled tasks with max_age.",
          lambda one: one.overdue),
    _task("executions_total", _COUNTER, "Executions that ended, by status. Verifications are not counted.",
          lambda one: {status.value: one.ended.get(status, 0) for status in ENDED}, "status"),
    _task("files_total", _COUNTER, "Files of all executions, by what became of them.",
          lambda one: _files(one.moved), "outcome"),
    _task("transferred_bytes_total", _COUNTER, "Bytes that all executions transferred.",
          lambda one: one.moved.bytes_transferred),
    _task("next_start_timestamp_seconds", _GAUGE,
          "When the task starts by its schedule next, jitter included; absent when it does not.",
          lambda one: _seconds(one.next_start), live=True),
    _task("queued", _GAUGE, "Executions of the task that wait in the queue.",
          lambda one: one.queued, live=True),
    _task("running", _GAUGE, "1 while an execution of the task runs.",
          lambda one: None if one.queued is None else one.running is not None, live=True),
    _execution("start_timestamp_seconds", "When the running execution started.",
               lambda one: _seconds(one.started_at)),
    _execution("phase", "The phase of the running execution: 1 for that phase, 0 for the others.",
               _phase, "phase"),
    _execution("actions_done", "Actions of the present phase that are done.",
               lambda one: one.actions_done),
    _execution("actions_planned", "Actions of the present phase in all.",
               lambda one: one.actions_total),
    _execution("done_bytes", "Bytes of the present phase that are done.",
               lambda one: one.bytes_done),
    _execution("planned_bytes", "Bytes of the present phase in all.",
               lambda one: one.bytes_total),
)  # fmt: skip
