"""Files that a driver copies many at a time: one outcome each, in the plan's order, with the usual second chances."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Copying, Location, OpenSettings, Throttle, Written
from runner.model.action import Action, ActionKind, Outcome, OutcomeStatus, Stage
from runner.model.difference import Reason
from runner.model.wire import decode_line, encode_line
from runner.testing.fake_clock import FakeClock
from runner.testing.memory import memory_location
from runner.testing.trees import tree
from runner.transfer.batch import perform_batch, split_answer
from runner.transfer.perform import Performer, PerformSettings


class Free:
    def take(self, size_bytes: int) -> None:
        return


class Bulk:
    """A memory location that also copies many; `errors` by path come first, each as often as told."""

    def __init__(self, inner: Location, errors: dict[str, tuple[EntryCode, int]]) -> None:
        self._inner: Any = inner
        self.capabilities = inner.capabilities
        self.errors = dict(errors)
        self.calls: list[list[str]] = []
        self.broken: Exception | None = None
        for name in ("scan", "stat", "read", "put", "remove", "close"):
            setattr(self, name, getattr(inner, name))

    def copies_many_from(self, source: Location) -> bool:
        return True

    def copy_many(
        self, source: Location, copies: Sequence[Copying], throttle: Throttle
    ) -> Iterator[Written | EntryError]:
        self.calls.append([copy.entry.path for copy in copies])
        for copy in copies:
            if self.broken is not None:
                raise self.broken
            code, times = self.errors.get(copy.entry.path, (EntryCode.INTERNAL, 0))
            if times:
                self.errors[copy.entry.path] = (code, times - 1)
                yield EntryError(code, copy.entry.path, "so it was")
            else:
                yield self._inner.put(copy.target, source.read(copy.entry), copy.replaces, throttle)


class Bench:
    def __init__(self, errors: dict[str, tuple[EntryCode, int]] | None = None) -> None:
        files = {name: name.encode() for name in "abcef"}
        self.left, self.right = tree({**files, "d/": {}}).memory(), tree({}).memory()
        self.source = memory_location(self.left)
        self.destination = Bulk(
            memory_location(self.right, open_settings=OpenSettings(), create=True), errors or {}
        )
        self.clock = FakeClock()
        self.performer = Performer(
            self.source,
            self.destination,
            PerformSettings("65000000abcd", refresh=True),
            Free(),
            self.clock,  # type: ignore[arg-type]
        )

    def request(self) -> bytes:
        lines = []
        for number, path in enumerate(["a", "b", "d/", "c", "e", "f"], 1):
            entry = self.source.stat("d/" if path == "d/" else path)
            kind = ActionKind.CREATE_DIRECTORY if path == "d/" else ActionKind.COPY
            lines.append(
                encode_line(Action(number, kind, Stage.WRITE, path, entry, None, (Reason.MISSING,), 1))
            )
        return b"\n".join(lines)

    def outcomes(self) -> list[Outcome]:
        answer = perform_batch(self.performer, lambda: False, self.request())
        return [decode_line(line, Outcome) for line in split_answer(answer)[1].splitlines()]


def test_all_files_go_in_one_call_and_each_has_its_outcome_in_its_place() -> None:
    bench = Bench()
    outcomes = bench.outcomes()
    assert bench.destination.calls == [["a", "b", "c", "e", "f"]]
    assert [outcome.action_id for outcome in outcomes] == [1, 2, 3, 4, 5, 6]
    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.DONE}
    assert bench.right.paths() == ["a", "b", "c", "d/", "e", "f"]


def test_one_that_may_pass_is_tried_again_alone() -> None:
    bench = Bench({"b": (EntryCode.IO_ERROR, 1)})
    outcomes = {outcome.path: outcome for outcome in bench.outcomes()}
    assert outcomes["b"].status is OutcomeStatus.DONE
    assert bench.destination.calls == [["a", "b", "c", "e", "f"]]
    assert "b" in bench.right.paths()


@pytest.mark.parametrize(
    ("code", "status"),
    [(EntryCode.PERMISSION_DENIED, OutcomeStatus.FAILED), (EntryCode.STALE, OutcomeStatus.STALE)],
)
def test_one_that_will_not_pass_fails_alone(code: EntryCode, status: OutcomeStatus) -> None:
    bench = Bench({"c": (code, 9)})
    outcomes = {outcome.path: outcome for outcome in bench.outcomes()}
    assert outcomes.pop("c").status is status
    assert {outcome.status for outcome in outcomes.values()} == {OutcomeStatus.DONE}


def test_a_stop_cancels_what_was_not_copied() -> None:
    bench = Bench()
    bench.destination.broken = EntryError(EntryCode.CANCELLED, "", "stopped")
    outcomes = {outcome.path: outcome.status for outcome in bench.outcomes()}
    assert {path for path, status in outcomes.items() if status is OutcomeStatus.CANCELLED} == set("abcef")


def test_a_defect_costs_the_files_of_the_batch_and_nothing_else() -> None:
    bench = Bench()
    bench.destination.broken = ValueError("a defect")
    outcomes = {outcome.path: outcome for outcome in bench.outcomes()}
    assert outcomes["d/"].status is OutcomeStatus.DONE
    problem = outcomes["a"].problem
    assert problem is not None and problem.code is EntryCode.INTERNAL and "a defect" in problem.message
