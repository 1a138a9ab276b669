"""How things stand at one instant, as plain values: worked out from the configuration, the standings and, in the
service, from what it alone knows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import msgspec

from runner.history.freshness import judge
from runner.history.standing import BY_USER, Moved, Standing
from runner.model.entry import Phase
from runner.model.task import Configuration, Task
from runner.transfer.bandwidth import limit_at


class RunningFigures(msgspec.Struct, frozen=True, kw_only=True):
    """An execution that runs. Figures are those of its present phase; None = not known (yet)."""

    task: str
    started_at: datetime
    execution_id: str | None = None
    phase: Phase | None = None
    actions_done: int | None = None
    actions_total: int | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None


class LiveState(msgspec.Struct, frozen=True, kw_only=True):
    """What only the running service knows.

    `queued` holds a task once for each of its executions that wait. `slots` counts, by outcome, the scheduled times
    that were decided since the service began: it only rises. `history_trouble`: why history cannot be reached.
    """

    started_at: datetime
    configuration_loaded_at: datetime
    configuration_error: str | None = None
    draining: bool = False
    running: tuple[RunningFigures, ...] = ()
    queued: tuple[str, ...] = ()
    next_starts: Mapping[str, datetime] = {}
    history_trouble: str | None = None
    slots: Mapping[str, int] = {}


class TaskFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One task of the configuration. None = nothing yet, or not known here; instants are aware UTC.

    `overdue` is None for a task that nobody watches: one without max_age, or not enabled.
    """

    task: str
    enabled: bool
    paused: bool
    disabled: bool
    failures_in_a_row: int
    last_status: Phase | None = None
    last_exit_code: int | None = None
    last_duration_seconds: float | None = None
    last_ended_at: datetime | None = None
    last_success_at: datetime | None = None
    last_moved: Moved | None = None
    max_age_seconds: float | None = None
    overdue: bool | None = None
    ended: Mapping[Phase, int] = {}
    moved: Moved = Moved()
    next_start: datetime | None = None
    queued: int | None = None
    running: RunningFigures | None = None


class ServiceFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The service as a whole. `bandwidth_bytes_per_second` is the limit in force now, None = unlimited."""

    started_at: datetime
    configuration_loaded_at: datetime
    configuration_ok: bool
    draining: bool
    executions_running: int
    executions_at_most: int
    queue_length: int
    bandwidth_bytes_per_second: int | None
    history_reachable: bool
    slots: Mapping[str, int]


class Figures(msgspec.Struct, frozen=True):
    """All of it. `service` None: worked out without a service, from what lies in the state folder."""

    tasks: tuple[TaskFigures, ...]
    service: ServiceFigures | None = None


def figures_of(
    configuration: Configuration,
    standings: Iterable[Standing],
    now: datetime,
    live: LiveState | None = None,
) -> Figures:
    """How things stand now. Pure. One TaskFigures for each task of the configuration, in its order; standings of
    tasks that left the configuration are passed over."""
    known = {standing.task: standing for standing in standings}
    tasks = [
        _task_figures(task, known.get(name) or Standing(name), now)
        for name, task in configuration.tasks.items()
    ]
    if live is None:
        return Figures(tuple(tasks))
    running = {one.task: one for one in live.running}
    queued = Counter(live.queued)
    return Figures(
        tuple(
            msgspec.structs.replace(
                one,
                next_start=live.next_starts.get(one.task),
                queued=queued[one.task],
                running=running.get(one.task),
            )
            for one in tasks
        ),
        _service_figures(configuration, now, live),
    )


def _task_figures(task: Task, standing: Standing, now: datetime) -> TaskFigures:
    max_age = task.automation.max_age_seconds
    watched = task.enabled and max_age is not None
    rest = standing.rest
    if rest is not None and rest.until is not None and rest.until <= now:
        rest = None
    return TaskFigures(
        task=task.name,
        enabled=task.enabled,
        paused=rest is not None and rest.by == BY_USER,
        disabled=rest is not None and rest.by != BY_USER,
        failures_in_a_row=standing.failures_in_a_row,
        last_status=standing.last_status,
        last_exit_code=standing.last_exit_code,
        last_duration_seconds=standing.last_duration_seconds,
        last_ended_at=standing.last_ended_at,
        last_success_at=standing.last_success_at,
        last_moved=standing.last_moved,
        max_age_seconds=max_age,
        overdue=judge(standing, max_age, now).overdue if watched and max_age is not None else None,
        ended=standing.ended,
        moved=standing.moved,
    )


def _service_figures(configuration: Configuration, now: datetime, live: LiveState) -> ServiceFigures:
    zone = ZoneInfo(configuration.bandwidth_timezone) if configuration.bandwidth_timezone else UTC
    return ServiceFigures(
        started_at=live.started_at,
        configuration_loaded_at=live.configuration_loaded_at,
        configuration_ok=live.configuration_error is None,
        draining=live.draining,
        executions_running=len(live.running),
        executions_at_most=configuration.service.executions,
        queue_length=len(live.queued),
        bandwidth_bytes_per_second=limit_at(configuration.bandwidth, now, zone),
        history_reachable=live.history_trouble is None,
        slots=live.slots,
    )
