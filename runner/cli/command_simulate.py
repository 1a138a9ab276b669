"""schedule simulate: a stretch of time played through, with what earlier executions took."""

from __future__ import annotations

import statistics
from argparse import Namespace
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from runner.cli.session import Session
from runner.cli.show_simulation import simulation_lines
from runner.cli.text import safe
from runner.errors import ExitCode, UsageError
from runner.history.records import HistoryStatus, HistoryUnavailable
from runner.model.execution import Trigger
from runner.model.task import Configuration, ScheduleSettings, Task
from runner.scheduling.simulate import SimulatedTask, Simulation, simulate
from runner.scheduling.timetable import timetable_of

if TYPE_CHECKING:
    from runner.history.store import History

DAYS, MOST_DAYS = 30, 36_500
_PAST = 20
"""So many of the latest successful executions tell how long one usually takes."""


class SimulationResult(msgspec.Struct, frozen=True):
    """schedule simulate --json. `notes`: what the estimate lacks; `svg`: the file that was written."""

    simulation: Simulation
    notes: tuple[str, ...] = ()
    svg: str | None = None


def show_simulation(session: Session, arguments: Namespace, chosen: Sequence[Task]) -> int:
    """`schedule simulate`: the chosen tasks that have a schedule, together."""
    configuration = session.configuration()
    tasks = [task for task in chosen if task.enabled and task.schedule is not None and task.schedule.enabled]
    if not tasks:
        raise UsageError(
            "no task to simulate: none of them is enabled and has a schedule that is",
            remedy="Give a task a schedule, such as {cron: 0 2 * * *}, 12h or {after: another-task}",
        )
    zone = _common_zone(tasks)
    start = _start(vars(arguments)["from"], zone, session.clock.now())
    days = int(arguments.days or DAYS)
    if days > MOST_DAYS:
        raise UsageError(f"option --days: at most {MOST_DAYS:,}")
    simulated, notes = _simulated(session, configuration, tasks)
    executions = configuration.service.executions
    simulation = simulate(simulated, start, start + timedelta(days=days), executions)
    svg = arguments.svg
    if svg is not None:
        from runner.scheduling.timeline import draw_timeline

        _write(svg, draw_timeline(simulation, zone, executions))
    if session.output.json:
        session.output.value(SimulationResult(simulation, tuple(notes), svg))
    for note in notes:
        session.output.tell([f"note: {safe(note)}"])
    session.output.result(simulation_lines(simulation, session.page))
    if svg is not None and not session.output.quiet:
        session.output.tell([f"Wrote {safe(svg)}."])
    return ExitCode.DONE


def _common_zone(tasks: Sequence[Task]) -> ZoneInfo:
    """The zone that all schedules share, or else UTC."""
    zones = {task.schedule.timezone for task in tasks if task.schedule is not None}
    return ZoneInfo(zones.pop() if len(zones) == 1 else "UTC")


def _start(text: str | None, zone: ZoneInfo, now: datetime) -> datetime:
    """When the simulation begins, UTC: a date is its midnight in `zone`; now when nothing is given."""
    if text is None:
        return now.replace(second=0, microsecond=0)
    try:
        start = datetime.fromisoformat(text)
        start = start if start.tzinfo is not None else start.replace(tzinfo=zone)
        if not 1900 <= start.year <= 2900:
            raise ValueError("the year has to be from 1900 to 2900")
    except ValueError as error:
        raise UsageError(
            f"option --from: {text!r} is not a date such as 2026-03-29 or 2026-03-29T02:00 ({error})"
        ) from error
    return start.astimezone(UTC)


def _simulated(
    session: Session, configuration: Configuration, tasks: Sequence[Task]
) -> tuple[list[SimulatedTask], list[str]]:
    """The tasks as the simulation wants them, and what is missing for a better one."""
    notes: list[str] = []
    chosen = {task.name for task in tasks}
    for task in tasks:
        assert task.schedule is not None
        for other in task.schedule.after:
            if other not in chosen:
                notes.append(f"{task.name} runs after {other}, which is not simulated")
    history: History | None = session.services.history(configuration, session.clock)
    found = []
    for task in tasks:
        past = _Past(None, None)
        if history is not None:
            try:
                past = _past(history, task.name)
            except HistoryUnavailable as error:
                notes.append(f"how long executions take is not known: {error.message}")
                history = None
        found.append(_simulated_task(session, configuration, task, past))
    if history is not None:
        history.close()
    return found, notes


class _Past(msgspec.Struct, frozen=True):
    """A usual execution of a task; None = none succeeded yet."""

    duration_seconds: float | None
    size_bytes: int | None


def _past(history: History, task: str) -> _Past:
    rows = [
        row
        for row in history.list(task=task, limit=3 * _PAST)
        if row.status is HistoryStatus.SUCCESS
        and row.trigger != Trigger.VERIFY.value
        and row.duration_seconds is not None
    ][:_PAST]
    if not rows:
        return _Past(None, None)
    return _Past(
        statistics.median(row.duration_seconds for row in rows if row.duration_seconds is not None),
        int(statistics.median(row.counters.bytes_transferred for row in rows)),
    )


def _simulated_task(session: Session, configuration: Configuration, task: Task, past: _Past) -> SimulatedTask:
    driver = session.registry().driver(task.destination.type)
    return SimulatedTask(
        name=task.name,
        timetable=timetable_of(task.schedule or ScheduleSettings()),
        destination=f"{task.destination.type} {driver.describe(task.destination)}",
        locations=tuple((one.name, one.max_executions) for one in (task.source, task.destination)),
        priority=task.automation.priority,
        queueing=task.automation.queueing,
        duration_seconds=past.duration_seconds,
        size_bytes=past.size_bytes,
        limit_at=_limits(configuration, task),
    )


def _limits(configuration: Configuration, task: Task) -> Callable[[datetime], int | None]:
    """The bandwidth limit in force at an instant: the task's own, or the host's where that is lower."""
    from runner.transfer.bandwidth import limit_at

    timetables = [
        (windows, ZoneInfo(zone or "UTC"))
        for windows, zone in (
            (task.options.bandwidth, task.options.bandwidth_timezone),
            (configuration.bandwidth, configuration.bandwidth_timezone),
        )
        if windows
    ]

    def limit(instant: datetime) -> int | None:
        limits = [limit_at(windows, instant, zone) for windows, zone in timetables]
        return min((each for each in limits if each is not None), default=None)

    return limit


def _write(path: str, content: str) -> None:
    try:
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(content)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror or error}") from error
