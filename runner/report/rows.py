"""One row a path: outcomes joined with what verification and the other phases said about the same path."""

from __future__ import annotations

import enum
from collections.abc import Iterator
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
    outcome: Outcome | None
    finding: Finding | None
    problem: Problem | None

    @property
    def state(self) -> RowState:
        if self.finding is not None:
            return RowState.DIFFERS
        return RowState.PROBLEM if self.outcome is None else RowState(self.outcome.status)

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


def stream_rows(folder: str, report: Report) -> Iterator[Row]:
    """Outcomes in file order, then findings without an outcome, then problems without one.

    Holds the first JOINED_AT_MOST findings and as many problems (about 1 KB each); those beyond are not
    joined to their outcome but follow as rows of their own: nothing is left out, however many there are.
    """
    findings: _Waiting[Finding] = _Waiting(
        finding for finding in stream_findings(folder, report) if finding.verdict is not Verdict.OK
    )
    problems: _Waiting[Problem] = _Waiting(stream_problems(folder, report))
    for outcome in stream_outcomes(folder, report):
        failed = outcome.problem is not None or outcome.status is not OutcomeStatus.DONE
        reported = problems.take(outcome.path) if failed else None
        yield Row(outcome.path, outcome, findings.take(outcome.path), outcome.problem or reported)
    for finding in findings.rest():
        yield Row(finding.path, None, finding, None)
    for problem in problems.rest():
        yield Row(problem.path, None, None, problem)


class _Waiting(Generic[Value]):
    """The first values of a stream by path, each taken once; the rest of the stream waits unread."""

    def __init__(self, stream: Iterator[Value]) -> None:
        self._stream: Iterator[Value] = stream
        self._by_path: dict[str, list[Value]] = {}
        for _, value in zip(range(JOINED_AT_MOST), stream, strict=False):
            self._by_path.setdefault(value.path, []).append(value)

    def take(self, path: str) -> Value | None:
        values = self._by_path.get(path)
        if values is None:
            return None
        value = values.pop(0)
        if not values:
            del self._by_path[path]
        return value

    def rest(self) -> Iterator[Value]:
        for values in self._by_path.values():
            yield from values
        yield from self._stream
