"""Whether each task's last success is recent enough: worked out from standings alone, without SQL and without a service.

So it also works, and says so, when the database is down, the service is dead, or no scheduler ever started anything.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from datetime import datetime

import msgspec

from runner.errors import UsageError
from runner.history.standing import Standing, read_standing
from runner.history.state import StateDirectory
from runner.model.entry import Phase
from runner.model.execution import Execution, Trigger
from runner.model.wire import decode_line
from runner.report.stored import REPORT_FILE
from runner.units import format_duration

CLOCK_TOLERANCE_SECONDS = 300.0
"""A success that lies further in the future was written by a clock that was wrong."""


class Freshness(msgspec.Struct, frozen=True, kw_only=True):
    """How old a task's last success is, against how old it may be. `reason` is a sentence for people.

    `age_seconds`: since the last success ended; None without one. `paused`: why the schedule rests, when it does.
    """

    task: str
    overdue: bool
    reason: str
    max_age_seconds: float
    age_seconds: float | None = None
    last_success: str | None = None
    last_success_at: datetime | None = None
    last_execution: str | None = None
    last_status: Phase | None = None
    failures_in_a_row: int = 0
    paused: str | None = None


def judge(
    standing: Standing, max_age_seconds: float, now: datetime, spared_until: datetime | None = None
) -> Freshness:
    """Whether the task is overdue now. Pure.

    Exactly `max_age_seconds` old is still fresh. A task that has never succeeded is overdue at once, unless it is
    before `spared_until`. A success in the future proves nothing: the task is overdue until a new one is written.
    """
    succeeded_at = standing.last_success_at
    age = None if succeeded_at is None else (now - succeeded_at).total_seconds()
    if age is None:
        overdue = spared_until is None or now >= spared_until
        reason = "has never succeeded" + ("" if overdue else ", but is new")
    elif age < -CLOCK_TOLERANCE_SECONDS:
        overdue = True
        reason = (
            f"the last success lies {format_duration(-age)} in the future: a clock was wrong, then or now"
        )
    else:
        age = max(0.0, age)
        overdue = age > max_age_seconds
        reason = f"succeeded {format_duration(age)} ago, {'more' if overdue else 'no more'} than {span(max_age_seconds)}"
    if overdue and standing.failures_in_a_row:
        times = "once" if standing.failures_in_a_row == 1 else f"{standing.failures_in_a_row} times in a row"
        reason += f"; failed {times} since ({standing.last_summary.rstrip('.')})"
    elif overdue and standing.rest is not None:
        reason += "; its schedule is paused"
    return Freshness(
        task=standing.task,
        overdue=overdue,
        reason=reason,
        max_age_seconds=max_age_seconds,
        age_seconds=age,
        last_success=standing.last_success,
        last_success_at=succeeded_at,
        last_execution=standing.last_execution,
        last_status=standing.last_status,
        failures_in_a_row=standing.failures_in_a_row,
        paused=None if standing.rest is None else standing.rest.reason,
    )


def standings_of(state: StateDirectory, tasks: Collection[str]) -> dict[str, Standing]:
    """The tasks' standings. One that knows of no success is completed from the reports that are still there: a state
    folder may have been restored without its small files, and an alarm about that would be false.

    Raises:
        UsageError: this user may not look into the state folder, so that nothing is known about any task.
    """
    _refuse_unreadable(state)
    standings = {task: read_standing(state, task) for task in tasks}
    unknown = {task for task, standing in standings.items() if standing.last_success_at is None}
    for task, execution in _last_successes(state, unknown).items():
        standings[task] = msgspec.structs.replace(
            standings[task],
            last_success=execution.execution_id,
            last_success_at=datetime.fromisoformat(execution.ended_at),
        )
    return standings


class _Head(msgspec.Struct, frozen=True):
    """What is read of a report: the rest is skipped, not built."""

    execution: Execution


def _last_successes(state: StateDirectory, tasks: set[str]) -> dict[str, Execution]:
    """The last success of each of these tasks that a report tells of. Reads reports from the newest on."""
    found: dict[str, Execution] = {}
    for execution_id in reversed(state.execution_ids()) if tasks else ():
        if len(found) == len(tasks):
            break
        try:
            with open(os.path.join(state.execution_folder(execution_id), REPORT_FILE), "rb") as file:
                execution = decode_line(file.read(), _Head).execution
        except (OSError, msgspec.MsgspecError, ValueError):
            continue
        counts = execution.status is Phase.SUCCESS and execution.trigger is not Trigger.VERIFY
        if counts and execution.task in tasks:
            found.setdefault(execution.task, execution)
    return found


def _refuse_unreadable(state: StateDirectory) -> None:
    for folder in (state.path, state.tasks_folder, state.executions_folder):
        try:
            os.scandir(folder).close()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UsageError(
                f"the state folder cannot be read: {folder}: {error.strerror}",
                remedy="Ask as the user that the tasks run as; what that user did is not visible to others.",
            ) from error


def span(seconds: float) -> str:
    """A duration without what is zero: 93600 -> '26 h'."""
    return format_duration(seconds).removesuffix(" 0 min").removesuffix(" 0 s").removesuffix(" 0 h")
