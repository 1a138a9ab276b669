"""How a task stands, in a small file of its own: what failed how often in a row, the last success, whether it rests.

The file needs no database, so that freshness alarms, notifications and the rule that disables a task that fails
again and again work also when history is down. Executions of several processes may end at once: updates are
made under a lock, and the file is replaced whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from datetime import datetime

import msgspec

from runner.durable import locked, write_whole
from runner.errors import EntryCode
from runner.history.state import StateDirectory
from runner.model.entry import Phase
from runner.model.execution import NOT_BY_A_PERSON, Counters, Report, Trigger
from runner.model.wire import decode_line, encode_line

_SUFFIX = ".standing.json"
BY_USER, BY_SERVICE = "user", "service"


class Rest(msgspec.Struct, frozen=True, omit_defaults=True):
    """Why a task's schedule rests. `by`: user (paused) or service (it failed too often). Instants are aware UTC."""

    by: str
    since: datetime
    reason: str
    until: datetime | None = None


class Moved(msgspec.Struct, frozen=True, omit_defaults=True):
    """What executions did: files (whatever is no folder) and bytes. Quarantined counts as deleted."""

    files_transferred: int = 0
    files_deleted: int = 0
    files_failed: int = 0
    bytes_transferred: int = 0

    def __add__(self, other: Moved) -> Moved:
        return Moved(
            self.files_transferred + other.files_transferred,
            self.files_deleted + other.files_deleted,
            self.files_failed + other.files_failed,
            self.bytes_transferred + other.bytes_transferred,
        )


class Standing(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is known of a task's executions, verifications left out. None and 0 = nothing yet.

    `error` tells one kind of failure from another (exit code, guards, problem codes); None after a success.
    `ended` counts executions by status, and `moved` what they did, since this file began: both only rise.
    """

    task: str
    last_execution: str | None = None
    last_trigger: Trigger | None = None
    last_status: Phase | None = None
    last_exit_code: int | None = None
    last_started_at: datetime | None = None
    last_ended_at: datetime | None = None
    last_duration_seconds: float | None = None
    last_summary: str = ""
    error: str | None = None
    failures_in_a_row: int = 0
    same_error_in_a_row: int = 0
    last_success: str | None = None
    last_success_at: datetime | None = None
    rest: Rest | None = None
    last_moved: Moved | None = None
    ended: dict[Phase, int] = {}
    moved: Moved = Moved()


def moved_by(counters: Counters) -> Moved:
    """What an execution did, of its counters."""
    return Moved(
        files_transferred=counters.transferred.files,
        files_deleted=counters.deleted.files + counters.quarantined.files,
        files_failed=counters.failed.files,
        bytes_transferred=counters.bytes_transferred,
    )


def error_signature(report: Report) -> str | None:
    """What kind of failure a report tells of; None for a success. Equal for equal causes, whatever the paths."""
    execution = report.execution
    if execution.status is Phase.SUCCESS:
        return None
    guards = sorted(verdict.guard for verdict in report.guards if not verdict.accepted)
    codes = sorted({problem.code.value for problem in report.problems})
    findings = sorted({finding.verdict.value for finding in report.findings})
    return " ".join([f"exit {execution.exit_code}", *guards, *codes, *findings])


def ended_by_itself(report: Report) -> bool:
    """Whether a time limit cancelled it, and no person."""
    return any(
        problem.code is EntryCode.CANCELLED
        and not problem.path
        and problem.message.startswith(NOT_BY_A_PERSON)
        for problem in report.problems
    )


def after_execution(before: Standing, report: Report, disable_after: int = 0) -> Standing:
    """The standing once this report is written. Pure. One that a person cancelled breaks no row and adds to none.

    After `disable_after` failures in a row with the same error the schedule rests (0: never); a success ends a rest
    that came about so, never one that a user asked for.
    """
    execution = report.execution
    ended_at = datetime.fromisoformat(execution.ended_at)
    moved = moved_by(report.counters)
    now = msgspec.structs.replace(
        before,
        last_execution=execution.execution_id,
        last_trigger=execution.trigger,
        last_status=execution.status,
        last_exit_code=execution.exit_code,
        last_started_at=datetime.fromisoformat(execution.started_at),
        last_ended_at=ended_at,
        last_duration_seconds=execution.duration_seconds,
        last_summary=execution.summary,
        last_moved=moved,
        ended={**before.ended, execution.status: before.ended.get(execution.status, 0) + 1},
        moved=before.moved + moved,
    )
    if execution.status is Phase.SUCCESS:
        return msgspec.structs.replace(
            now,
            error=None,
            failures_in_a_row=0,
            same_error_in_a_row=0,
            last_success=execution.execution_id,
            last_success_at=ended_at,
            rest=before.rest if before.rest is not None and before.rest.by == BY_USER else None,
        )
    if execution.status is Phase.CANCELLED and not ended_by_itself(report):
        return now
    error = error_signature(report)
    in_a_row = before.same_error_in_a_row + 1 if error == before.error else 1
    rest = before.rest
    if rest is None and 0 < disable_after <= in_a_row:
        reason = (
            f"task {before.task} is disabled: it failed {in_a_row} times in a row with the same error "
            f"({execution.summary}). When the cause is gone: sync-runner resume {before.task}"
        )
        rest = Rest(by=BY_SERVICE, since=ended_at, reason=reason)
    return msgspec.structs.replace(
        now,
        error=error,
        failures_in_a_row=before.failures_in_a_row + 1,
        same_error_in_a_row=in_a_row,
        rest=rest,
    )


def read_standing(state: StateDirectory, task: str) -> Standing:
    """What is known of a task; an empty standing when there is nothing, or it cannot be read."""
    try:
        with open(standing_file(state, task), "rb") as stream:
            found = decode_line(stream.read(), Standing)
    except (OSError, msgspec.DecodeError, ValueError):
        return Standing(task=task)
    return found if found.task == task else Standing(task=task)


def all_standings(state: StateDirectory) -> Iterator[Standing]:
    """The standings of every task that ever ended, in no order; tasks may be gone from the configuration."""
    folder = state.tasks_folder
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return
    for name in names:
        if name.endswith(_SUFFIX):
            try:
                with open(os.path.join(folder, name), "rb") as stream:
                    yield decode_line(stream.read(), Standing)
            except (OSError, msgspec.DecodeError, ValueError):
                continue


def update_standing(
    state: StateDirectory, task: str, change: Callable[[Standing], Standing]
) -> tuple[Standing, Standing]:
    """Replace a task's standing by what `change` makes of it: (before, after). Durable on return. Raises OSError."""
    path = standing_file(state, task)
    with locked(path):
        before = read_standing(state, task)
        after = change(before)
        if after != before:
            write_whole(path, lambda stream: stream.write(encode_line(after) + b"\n"))
        return before, after


def standing_file(state: StateDirectory, task: str) -> str:
    """Where a task's standing lies; the name fits any task's."""
    return state.task_file(task, _SUFFIX)
