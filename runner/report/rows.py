"""One row a path: outcomes joined with what verification and the other phases said about the same path."""

from __future__ import annotations

import enum
from collections.abc import Collection, Iterator
from typing import Generic, NamedTuple, TypeVar

from runner.model.action import Finding, Outcome, OutcomeStatus, Verdict
from runner.model.entry import Problem
from runner.model.execution import Report
from runner.report.stored import stream_findings, stream_outcomes, stream_problems

JOINED_AT_MOST = 100_000

Value = TypeVar("Value", Finding, Problem)


class RowState(enum.StrEnum):
    """What a reader wants to know about a path, the worst first."""

    DIFFERS = "differs"
    FAILED = "failed"
    PROBLEM = "problem"
    STALE = "stale"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"
    DONE = "done"


class Row(NamedTuple):
    """At least one of the three is there. A NamedTuple, for reports hold millions of them.

    `problem` is the outcome's own, or one that belongs to no outcome.
    """

    path: str
    state: RowState
    outcome: Outcome | None
    finding: Finding | None
    problem: Problem | None

    @property
    def code(self) -> str:
        """The finding's verdict, else the problem's code, else nothing."""
        if self.finding is not None:
            return str(self.finding.verdict)
        return "" if self.problem is None else str(self.problem.code)

    @property
    def message(self) -> str:
        """What there is to say about the path: problem, finding, note."""
        pieces = []
        if self.problem is not None:
            pieces.append(self.problem.message)
        if self.finding is not None:
            pieces.append(self.finding.message or describe_difference(self.finding))
        if self.outcome is not None and self.outcome.note:
            pieces.append(self.outcome.note)
        return "; ".join(piece for piece in pieces if piece)


def describe_difference(finding: Finding) -> str:
    """'size: expected 12, found 11; mode: expected 644, found 600'."""
    actual = dict(finding.actual)
    expected = dict(finding.expected)
    return "; ".join(
        f"{field}: expected {expected.get(field, 'nothing')}, found {actual.get(field, 'nothing')}"
        for field in dict.fromkeys((*expected, *actual))
    )


Piece = list[Outcome] | Row
"""Outcomes of which there is nothing to say but that they went well (their rows are DONE), or one row of any kind."""


def stream_rows(folder: str, report: Report) -> Iterator[Row]:
    """`stream_pieces`, row by row."""
    done = RowState.DONE
    for piece in stream_pieces(folder, report):
        if isinstance(piece, Row):
            yield piece
        else:
            for outcome in piece:
                yield Row(outcome.path, done, outcome, None, None)


def stream_pieces(folder: str, report: Report) -> Iterator[Piece]:
    """Outcomes in file order, then findings without an outcome, then problems without one.

    Folders whose times were merely restored are left out.

    Holds the first JOINED_AT_MOST findings and as many problems (about 1 KB each); those beyond are not
    joined to their outcome but follow as rows of their own: nothing is left out, however many there are.
    """
    findings: _Waiting[Finding] = _Waiting(
        finding for finding in stream_findings(folder, report) if finding.verdict is not Verdict.OK
    )
    problems: _Waiting[Problem] = _Waiting(stream_problems(folder, report))
    for outcomes in stream_outcomes(folder, report):
        plain = 0
        for index in _not_plain(outcomes, findings.by_path, problems.by_path):
            if index > plain:
                yield outcomes[plain:index]
            plain = index + 1
            row = _joined(outcomes[index], findings, problems)
            if row is not None:
                yield row
        if plain < len(outcomes):
            yield outcomes[plain:]
    for finding in findings.rest():
        yield Row(finding.path, RowState.DIFFERS, None, finding, None)
    for problem in problems.rest():
        yield Row(problem.path, RowState.PROBLEM, None, None, problem)


def _not_plain(outcomes: list[Outcome], found: Collection[str], reported: Collection[str]) -> list[int]:
    """The indices of those of which there is more to say, or nothing at all."""
    done = OutcomeStatus.DONE
    return [
        index
        for index, outcome in enumerate(outcomes)
        if outcome.status is not done
        or outcome.housekeeping
        or outcome.problem is not None
        or outcome.note is not None
        or outcome.path in found
        or outcome.path in reported
    ]


def _joined(outcome: Outcome, findings: _Waiting[Finding], problems: _Waiting[Problem]) -> Row | None:
    """The row of an outcome with what waits for its path."""
    path, status, problem = outcome.path, outcome.status, outcome.problem
    done = status is OutcomeStatus.DONE
    if outcome.housekeeping and done and path not in findings.by_path:
        return None  # nobody asked for it by name, and it went well
    finding = findings.take(path) if path in findings.by_path else None
    if path in problems.by_path and (problem is not None or not done):
        reported = problems.take(path)
        problem = problem or reported
    if finding is not None:
        state = RowState.DIFFERS
    else:
        state = RowState.DONE if done else RowState(status)
    return Row(path, state, outcome, finding, problem)


class _Waiting(Generic[Value]):
    """The first values of a stream by path, each taken once; the rest of the stream waits unread."""

    def __init__(self, stream: Iterator[Value]) -> None:
        self._stream: Iterator[Value] = stream
        self.by_path: dict[str, list[Value]] = {}
        for _, value in zip(range(JOINED_AT_MOST), stream, strict=False):
            self.by_path.setdefault(value.path, []).append(value)

    def take(self, path: str) -> Value:
        values = self.by_path[path]
        value = values.pop(0)
        if not values:
            del self.by_path[path]
        return value

    def rest(self) -> Iterator[Value]:
        for values in self.by_path.values():
            yield from values
        yield from self._stream
