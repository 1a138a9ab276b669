"""Many actions at once, as bytes in and bytes out: the unit that crosses a process (later a host) border.

A request is action lines as the plan file holds them. An answer is a summary line, then one outcome a line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from runner.errors import EntryCode, EntryError
from runner.model.action import Action, ActionKind, Outcome, OutcomeStatus
from runner.model.entry import Kind, Phase, Problem
from runner.model.execution import Counts
from runner.model.wire import decode_line, decode_lines, encode_line, encode_lines
from runner.transfer.perform import Performer

# Asked of every action: a member costs five times as much to look up through its class.
_DONE = OutcomeStatus.DONE
_COPY = ActionKind.COPY
_REPLACE = ActionKind.REPLACE

ABORTING = frozenset({EntryCode.NO_SPACE, EntryCode.READ_ONLY, EntryCode.UNAVAILABLE})


class BatchSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """Sums over one batch, housekeeping apart, and in full what did not go well."""

    actions: int = 0
    done: int = 0
    bytes: int = 0
    transferred: Counts = Counts()
    failed_transfer: Counts = Counts()
    failed_delete: Counts = Counts()
    stale: Counts = Counts()
    cancelled: Counts = Counts()
    deleted: Counts = Counts()
    quarantined: Counts = Counts()
    bytes_deleted: int = 0
    attention: tuple[Outcome, ...] = ()
    abort: bool = False
    last_path: str = ""


class SummaryBuilder:
    """Adds up outcomes."""

    def __init__(self) -> None:
        self._sums: dict[str, list[int]] = {
            name: [0, 0]
            for name in (
                "transferred",
                "failed_transfer",
                "failed_delete",
                "stale",
                "cancelled",
                "deleted",
                "quarantined",
            )
        }
        self._actions = self._done = self._bytes = self._bytes_deleted = 0
        self._copied = 0  # files written, nearly all there is: added to the others at the end
        self._attention: list[Outcome] = []
        self._abort = False
        self._last_path = ""

    def add(self, action: Action, outcome: Outcome) -> None:
        done = outcome.status is _DONE
        if done and (action.kind is _COPY or action.kind is _REPLACE):
            self._copied += 1
            self._bytes += outcome.bytes
            self._last_path = action.path
            return
        if not done:
            self._attention.append(outcome)
            if outcome.problem is not None and outcome.problem.code in ABORTING:
                self._abort = True
        self._actions += 1
        self._last_path = action.path
        if done:
            self._done += 1
            self._bytes += outcome.bytes
        if action.is_housekeeping:
            return
        self._sums[_column(action.kind, outcome.status)][1 if action.is_directory else 0] += 1
        if done and action.kind in (ActionKind.DELETE, ActionKind.QUARANTINE):
            self._bytes_deleted += action.size_bytes

    def summary(self) -> BatchSummary:
        sums = {name: Counts(files, folders) for name, (files, folders) in self._sums.items()}
        sums["transferred"] += Counts(self._copied, 0)
        return BatchSummary(
            actions=self._actions + self._copied,
            done=self._done + self._copied,
            bytes=self._bytes,
            bytes_deleted=self._bytes_deleted,
            attention=tuple(self._attention),
            abort=self._abort,
            last_path=self._last_path,
            **sums,
        )


def _column(kind: ActionKind, status: OutcomeStatus) -> str:
    if kind is ActionKind.DELETE or kind is ActionKind.QUARANTINE:
        if status is OutcomeStatus.DONE:
            return "deleted" if kind is ActionKind.DELETE else "quarantined"
        return "failed_delete"
    if status is OutcomeStatus.DONE:
        return "transferred"
    if status is OutcomeStatus.STALE:
        return "stale"
    return "cancelled" if status is OutcomeStatus.CANCELLED else "failed_transfer"


def perform_batch(performer: Performer, stopping: Callable[[], bool], request: bytes) -> bytes:
    """Carry out a request; once `stopping` says so (or the destination is full) the rest is cancelled."""
    if performer.copies_many:
        return _perform_in_bulk(performer, stopping, request)
    builder = SummaryBuilder()
    outcomes: list[Outcome] = []
    aborted = False
    actions = decode_lines(request, Action)
    while (place := len(outcomes)) < len(actions):
        action = actions[place]
        if aborted or stopping():
            outcomes.append(cancelled_outcome(action))
            continue
        try:
            outcomes += performer.perform_quickly(actions, place) or [performer.perform(action)]
        except Exception as error:  # a defect must cost one path, not the execution
            outcomes.append(_defect(action, error))
        problem = outcomes[-1].problem
        aborted = problem is not None and problem.code in ABORTING
    for action, outcome in zip(actions, outcomes, strict=True):
        builder.add(action, outcome)
    return encode_line(builder.summary()) + b"\n" + encode_lines(outcomes)


def _perform_in_bulk(performer: Performer, stopping: Callable[[], bool], request: bytes) -> bytes:
    """As `perform_batch`, with all copies of files handed over together. They come first: within a batch, which is a
    slice of one stage, no action waits for another."""
    actions = [decode_line(line, Action) for line in request.splitlines()]
    outcomes: dict[int, Outcome] = {}
    copies = [action for action in actions if _is_copy(action)]
    if copies and not stopping():
        try:
            for action, outcome in zip(copies, performer.perform_many(copies), strict=True):
                outcomes[action.id] = outcome
        except Exception as error:
            # A defect must cost what it concerns, not the execution.
            outcomes = {action.id: outcomes.get(action.id) or _defect(action, error) for action in copies}
    builder = SummaryBuilder()
    lines: list[bytes] = []
    aborted = False
    for action in actions:
        done = outcomes.get(action.id)
        if done is None and (aborted or stopping()):
            done = cancelled_outcome(action)
        elif done is None:
            try:
                done = performer.perform(action)
            except Exception as error:
                done = _defect(action, error)
        aborted = aborted or (done.problem is not None and done.problem.code in ABORTING)
        builder.add(action, done)
        lines.append(encode_line(done))
    return b"\n".join([encode_line(builder.summary()), *lines]) + b"\n"


def _is_copy(action: Action) -> bool:
    return (
        action.kind in (ActionKind.COPY, ActionKind.REPLACE)
        and action.source is not None
        and action.source.kind is Kind.FILE
    )


def split_answer(answer: bytes) -> tuple[BatchSummary, bytes]:
    """The summary, and the outcome lines as they are."""
    first, _, rest = answer.partition(b"\n")
    return decode_line(first, BatchSummary), rest


def cancelled_outcome(action: Action, message: str = "cancelled before it began") -> Outcome:
    """The outcome of an action that was not begun."""
    problem = Problem(action.path, Phase.TRANSFERRING, EntryCode.CANCELLED, message)
    return Outcome(action.id, action.kind, action.path, OutcomeStatus.CANCELLED, 0, problem=problem)


def cancel_lines(lines: Iterable[bytes], message: str) -> bytes:
    """The answer to a request that is never sent."""
    return _answer_without_work(lines, lambda action: cancelled_outcome(action, message))


def lost_lines(lines: Iterable[bytes]) -> bytes:
    """The answer to a request whose worker died: what it did of it is not known, a new run finds out."""

    def lost(action: Action) -> Outcome:
        message = "the worker process ended unexpectedly (out of memory?); run again to see what was done"
        problem = Problem(action.path, Phase.TRANSFERRING, EntryCode.INTERNAL, message)
        return Outcome(action.id, action.kind, action.path, OutcomeStatus.FAILED, problem=problem)

    return _answer_without_work(lines, lost)


def _answer_without_work(lines: Iterable[bytes], outcome_of: Callable[[Action], Outcome]) -> bytes:
    builder = SummaryBuilder()
    answers: list[bytes] = []
    for line in lines:
        action = decode_line(line, Action)
        outcome = outcome_of(action)
        builder.add(action, outcome)
        answers.append(encode_line(outcome))
    return b"\n".join([encode_line(builder.summary()), *answers]) + b"\n"


def _defect(action: Action, error: Exception) -> Outcome:
    if isinstance(error, EntryError):
        code, message = error.entry_code, error.message
    else:
        code, message = EntryCode.INTERNAL, f"{type(error).__name__}: {error}"
    problem = Problem(action.path, Phase.TRANSFERRING, code, message)
    return Outcome(action.id, action.kind, action.path, OutcomeStatus.FAILED, problem=problem)
