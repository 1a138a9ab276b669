"""Back from quarantine: what one execution moved aside, or how it all stood at a moment that is past."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime

import msgspec

from runner.clock import iso_utc
from runner.errors import EntryCode, UsageError
from runner.execution.context import Context
from runner.execution.locking import destination_lock, hold
from runner.execution.planning import NO_EXECUTION
from runner.history.started import read_start
from runner.locations.pair import Endpoints
from runner.model.action import OutcomeStatus
from runner.model.entry import Entry, Phase, Problem
from runner.model.execution import Report
from runner.model.task import Task
from runner.model.wire import terminal_safe
from runner.plan.parts import NoThrottle
from runner.report.stored import journalled_outcomes, load_report
from runner.transfer import quarantine
from runner.transfer.as_of import WRITES, Aside, Standing, Written, stood


class RestoreResult(msgspec.Struct, frozen=True):
    """What came back from quarantine (or would, when only listed). `execution`: of whom, empty where it is of several;
    then `executions` says it for each of `entries`."""

    execution: str
    entries: tuple[str, ...]
    restored: int
    problems: tuple[Problem, ...]
    as_of: str | None = None
    executions: tuple[str, ...] = ()


def restore_execution(
    task: Task,
    context: Context,
    endpoints: Endpoints,
    execution: str | None,
    paths: Sequence[str],
    list_only: bool,
) -> RestoreResult:
    """What one execution moved aside; None = the latest that moved something. Raises UsageError, LockHeldError."""
    known = quarantine.quarantined_executions(endpoints.destination)
    purged = quarantine.purged_executions(endpoints.destination)
    if not known and execution in (None, "latest"):
        raise UsageError(
            f"nothing of task {task.name!r} is in quarantine at the destination",
            remedy=f"What was there was purged, of execution {max(purged)} at {purged[max(purged)]}; it comes from "
            "a backup alone."
            if purged
            else None,
        )
    chosen = known[-1] if execution in (None, "latest") else execution
    if chosen not in known and chosen in purged:
        raise UsageError(
            f"what execution {chosen!r} moved to quarantine was purged at {purged[chosen]}, when its time was over",
            remedy="It comes from a backup alone. "
            + (f"These are still there: {', '.join(known)}" if known else ""),
        )
    if chosen not in known:
        raise UsageError(
            f"execution {chosen!r} has nothing in quarantine", remedy="These have: " + ", ".join(known)
        )
    if list_only:
        root = quarantine.quarantine_path(chosen, "")
        found = list(quarantine.quarantined(endpoints.destination, chosen))
        entries = tuple(one.path[len(root) :] for one in found if isinstance(one, Entry))
        return RestoreResult(chosen, entries, 0, tuple(one for one in found if isinstance(one, Problem)))
    with destination_lock(task, context, NO_EXECUTION):
        hold(endpoints.destination, task.destination.name)
        restored, problems = quarantine.restore(endpoints.destination, chosen, paths, NoThrottle())
    return RestoreResult(chosen, tuple(restored), len(restored), tuple(problems))


def restore_as_of(
    task: Task,
    context: Context,
    endpoints: Endpoints,
    instant: datetime,
    paths: Sequence[str],
    list_only: bool,
) -> RestoreResult:
    """What stood at the destination at `instant` and was moved aside since; `paths` empty = all, else these and what is
    below them. What was replaced since, or purged, is a problem by name: it comes from a backup alone.

    Memory: the paths that are in quarantine. Raises UsageError (a moment that has not come, or at which an execution was at
    work), LockHeldError.
    """
    moment = iso_utc(instant)
    if list_only:
        chosen, problems = _chosen(task, context, endpoints, instant, paths)
        return RestoreResult(
            "",
            tuple(one.path for one in chosen),
            0,
            problems,
            moment,
            tuple(one.execution for one in chosen),
        )
    with destination_lock(task, context, NO_EXECUTION):
        hold(endpoints.destination, task.destination.name)
        chosen, problems = _chosen(task, context, endpoints, instant, paths)
        of_executions: dict[str, set[str]] = {}
        for one in chosen:
            of_executions.setdefault(one.execution, set()).add(one.path)
        restored, failed = quarantine.restore_chosen(endpoints.destination, of_executions, NoThrottle())
    origin = {one.path: one.execution for one in chosen}
    return RestoreResult(
        "",
        tuple(restored),
        len(restored),
        (*problems, *failed),
        moment,
        tuple(origin[path] for path in restored),
    )


def _chosen(
    task: Task, context: Context, endpoints: Endpoints, instant: datetime, paths: Sequence[str]
) -> tuple[list[Aside], tuple[Problem, ...]]:
    """What comes back, the oldest execution first, and what cannot."""
    if instant > context.clock.now():
        raise UsageError(
            f"{iso_utc(instant)} has not come yet",
            remedy="Name a moment that is past, such as 2h or 2026-01-31T06:00.",
        )
    records = _Records(task, context, endpoints)
    unended = records.refuse_if_at_work(instant)
    destination = endpoints.destination
    aside: list[Aside] = []
    problems: list[Problem] = []
    for execution_id in quarantine.quarantined_executions(destination):
        if execution_id in unended:
            problems.append(_of_unknown_end(execution_id, records.began(execution_id)))
        if records.began(execution_id) <= instant:
            continue
        root = quarantine.quarantine_path(execution_id, "")
        for found in quarantine.quarantined(destination, execution_id):
            if isinstance(found, Problem):
                problems.append(found)
            else:
                aside.append(Aside(execution_id, found.path[len(root) :]))
    standing = stood(aside, records.written_since(instant, {one.path.removesuffix("/") for one in aside}))
    problems += [
        _purged(execution_id, since)
        for execution_id, since in quarantine.purged_executions(destination).items()
        if records.began(execution_id) > instant
    ]
    problems += [_replaced(one) for one in standing.replaced if _is_asked_for(one.path, paths)]
    problems += [_not_moved(path, instant) for path in paths if not _is_met(path, standing)]
    return _with_folders(standing.back, paths), tuple(problems)


def _with_folders(back: Sequence[Aside], paths: Sequence[str]) -> list[Aside]:
    """Those that are asked for, and the folders they were in: these may be gone, too."""
    asked = [one for one in back if _is_asked_for(one.path, paths)]
    above = {
        one.path[: index + 1] for one in asked for index, letter in enumerate(one.path[:-1]) if letter == "/"
    }
    wanted = {one.path for one in asked} | above
    return [one for one in back if one.path in wanted]


def _is_asked_for(original: str, paths: Sequence[str]) -> bool:
    return not paths or any(quarantine.is_below(original, path) for path in paths)


def _is_met(path: str, standing: Standing) -> bool:
    return any(quarantine.is_below(one.path, path) for one in (*standing.back, *standing.replaced))


class _Records:
    """What the state folder tells of the executions that wrote to this destination."""

    def __init__(self, task: Task, context: Context, endpoints: Endpoints) -> None:
        self._task = task
        self._state = context.state
        driver = endpoints.destination_driver
        self._destination = (task.destination.type, driver.describe(task.destination))
        self._reports: dict[str, Report | None] = {}

    def began(self, execution_id: str) -> datetime:
        """When an execution began; to the second where nothing but its id is left of it (ids begin with that)."""
        report = self._report(execution_id)
        if report is not None:
            return datetime.fromisoformat(report.execution.started_at)
        try:
            return datetime.fromtimestamp(int(execution_id[:8], 16), UTC)
        except (ValueError, OverflowError, OSError):
            return datetime.fromtimestamp(0, UTC)

    def refuse_if_at_work(self, instant: datetime) -> frozenset[str]:
        """Raises UsageError where an execution was changing the destination at that moment: what stood there then is not
        known. Returns those, of whatever destination, that may have been at work: nobody wrote down when they ended."""
        unended: set[str] = set()
        for execution_id in reversed(self._state.execution_ids()):
            if self.began(execution_id) > instant:
                continue
            report = self._report(execution_id)
            if report is None:
                unended.add(execution_id)
                continue
            if report.outcomes_file is None or not self._is_of_destination(execution_id):
                continue  # it wrote nothing there, and may have come and gone while another one was at work
            if datetime.fromisoformat(report.execution.ended_at) > instant:
                raise UsageError(
                    f"at {iso_utc(instant)} execution {execution_id} was changing the destination",
                    remedy=f"Name {report.execution.started_at} for what stood there before it, or "
                    f"{report.execution.ended_at} for what it left.",
                )
            break  # one at a time writes to a destination: none before it was still at work
        return frozenset(unended)

    def written_since(self, instant: datetime, names: Collection[str]) -> dict[str, Written]:
        """The first write after `instant` to each of `names`, paths without a slash at their end."""
        written: dict[str, Written] = {}
        if not names:
            return written
        for execution_id in self._state.execution_ids():
            if self.began(execution_id) <= instant or not self._is_of_destination(execution_id):
                continue
            for outcomes in journalled_outcomes(self._state.execution_folder(execution_id)):
                for outcome in outcomes:
                    name = outcome.path.removesuffix("/")
                    if name in names and outcome.status is OutcomeStatus.DONE and outcome.kind in WRITES:
                        written.setdefault(name, Written(execution_id, outcome.kind))
        return written

    def _is_of_destination(self, execution_id: str) -> bool:
        report = self._report(execution_id)
        if report is not None:
            return (report.destination.type, report.destination.description) == self._destination
        started = read_start(self._state.execution_folder(execution_id))
        return started is not None and started.task == self._task.name

    def _report(self, execution_id: str) -> Report | None:
        if execution_id not in self._reports:
            try:
                report = load_report(self._state.execution_folder(execution_id))
            except UsageError:
                report = None
            self._reports[execution_id] = report
        return self._reports[execution_id]


def _of_unknown_end(execution_id: str, began: datetime) -> Problem:
    message = (
        f"execution {execution_id}, which began at {iso_utc(began)}, has no report: it was stopped before its end, or is "
        "still at work, and what it moved aside after that moment is not known. All of it stays in quarantine; it comes "
        f"back with --execution {execution_id}"
    )
    return Problem("", Phase.TRANSFERRING, EntryCode.NOT_FOUND, message)


def _purged(execution_id: str, since: str) -> Problem:
    message = (
        f"what execution {execution_id} moved aside was purged, which began at {since}: what of it stood here at that "
        "moment is not known, and comes from a backup alone"
    )
    return Problem("", Phase.TRANSFERRING, EntryCode.NOT_FOUND, message)


def _replaced(one: Aside) -> Problem:
    message = (
        f"{terminal_safe(one.path)} was replaced after that moment, and what stood there then is nowhere; what execution "
        f"{one.execution} moved aside later comes back with --execution {one.execution}"
    )
    return Problem(one.path, Phase.TRANSFERRING, EntryCode.NOT_FOUND, message)


def _not_moved(path: str, instant: datetime) -> Problem:
    message = (
        f"nothing of {terminal_safe(path)} that stood here at {iso_utc(instant)} is in quarantine: it still stands there, "
        "or was replaced, restored or purged, or was not there"
    )
    return Problem(path, Phase.TRANSFERRING, EntryCode.NOT_FOUND, message)
