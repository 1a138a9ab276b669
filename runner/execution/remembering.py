"""What an execution leaves in the state folder for the next ones of its task: what guards compare with, how the task
stands, and which copies are in doubt."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from runner.errors import StateUnavailableError
from runner.execution.context import Context
from runner.execution.doubts import doubted_by, update_doubts
from runner.execution.marking import Marked
from runner.execution.past import read_past, write_past
from runner.history.standing import Standing, after_execution, update_standing
from runner.model.action import Finding
from runner.model.entry import Phase
from runner.model.events import Message
from runner.model.execution import Report, Trigger
from runner.plan.guards import Past


def remember(report: Report, marked: Marked | None, context: Context) -> None:
    """For the guards of the next execution: all of a success, of any other transfer the markers.

    Raises StateUnavailableError.
    """
    task, state = report.execution.task, context.state
    past = read_past(state, task)
    if report.execution.status is Phase.SUCCESS:
        listed = report.counters.listed
        past = Past(
            report.execution.filter_digest,
            report.source.identity,
            report.destination.identity,
            max(0, listed.files + listed.folders - 1),
            past.source_marker,
            past.destination_marker,
        )
    elif marked is None:
        return
    if marked is not None:
        past = msgspec.structs.replace(
            past, source_marker=marked.source, destination_marker=marked.destination
        )
    try:
        write_past(state, task, past)
    except OSError as error:
        raise unavailable(state.path, error) from error


def stand(report: Report, context: Context) -> tuple[Standing, Standing] | None:
    """The task's standing before and after; None, and a warning is told, when it cannot be written."""
    task = report.execution.task
    at_most = context.configuration.service.disable_after
    try:
        standings = update_standing(
            context.state, task, lambda before: after_execution(before, report, at_most)
        )
    except OSError as error:
        context.subscriber(
            Message("warning", f"how task {task} stands was not written down: {error.strerror}")
        )
        return None
    rest = standings[1].rest
    if rest is not None and standings[0].rest is None:
        context.subscriber(Message("warning", rest.reason))
    return standings


def doubt(
    report: Report, findings: Iterable[Finding], still_doubted: frozenset[str], context: Context
) -> None:
    """What is found wrong is in doubt until a run has looked at it and ended well; what that run's filters left out
    (`still_doubted`) is in doubt still. Raises StateUnavailableError."""
    execution = report.execution
    cleared = execution.trigger not in (Trigger.VERIFY, Trigger.APPLY) and execution.status is Phase.SUCCESS
    found = doubted_by(findings)

    def change(before: frozenset[str]) -> frozenset[str]:
        return (still_doubted & before if cleared else before) | found

    try:
        update_doubts(context.state, execution.task, change)
    except OSError as error:
        raise unavailable(context.state.path, error) from error


def unavailable(path: str, error: OSError) -> StateUnavailableError:
    """The state folder takes no more, after everything else is done."""
    return StateUnavailableError(
        f"the execution has ended, but this cannot be written: {path}: {error.strerror or error}",
        remedy="Make the state folder (settings.state) writable, with room on its disk, then run again: what is done "
        "is not done twice.",
    )
