"""One action: tried again or not by its error, waiting by the clock it is given, and told truthfully."""

from __future__ import annotations

from typing import Any

import pytest

from runner.errors import ENTRY_CODE_MEANINGS, Disposition, EntryCode, EntryError
from runner.locations.protocol import Location, OpenSettings, Written
from runner.model.action import Action, ActionKind, Outcome, OutcomeStatus, Stage
from runner.model.difference import Reason
from runner.model.entry import Entry, Kind
from runner.model.wire import decode_line, encode_line
from runner.testing.fake_clock import FakeClock
from runner.testing.faults import Fault, FaultScript, raises
from runner.testing.memory import ROLES, memory_location
from runner.testing.trees import File, Folder, HardLink, Symlink, tree
from runner.transfer.batch import BatchSummary, cancel_lines, lost_lines, perform_batch, split_answer
from runner.transfer.perform import AWAY, Performer, PerformSettings

EXECUTION = "65000000abcd"


class Meter:
    """Lets everything pass and counts it."""

    def __init__(self) -> None:
        self.taken = 0

    def take(self, size_bytes: int) -> None:
        self.taken += size_bytes


class Bench:
    """Two trees, a performer between them, and faults on either side."""

    def __init__(
        self,
        left: dict[str, Any],
        right: dict[str, Any],
        faults: dict[str, list[Fault]] | None = None,
        roles: frozenset[str] = ROLES,
        **settings: Any,
    ) -> None:
        self.left, self.right = tree(left).memory(), tree(right).memory()
        scripts = {side: FaultScript((faults or {}).get(side, [])) for side in ("left", "right")}
        self.scripts = scripts
        self.source: Location = scripts["left"].wrap(memory_location(self.left, open_settings=OpenSettings()))
        self.destination: Location = scripts["right"].wrap(
            memory_location(self.right, open_settings=OpenSettings(), create=True, roles=roles)
        )
        self.clock, self.meter = FakeClock(), Meter()
        self.performer = Performer(
            self.source,
            self.destination,
            PerformSettings(EXECUTION, **settings),
            self.meter,
            self.clock,
            agent="tester",
        )

    def action(self, kind: ActionKind, path: str, **changes: Any) -> Action:
        """An action of that kind for what stands at `path` now."""
        source = memory_location(self.left).stat(path)
        destination = memory_location(self.right).stat(path)
        if kind in (ActionKind.DELETE, ActionKind.QUARANTINE):
            source = None
        values: dict[str, Any] = {
            "reasons": (Reason.MISSING if destination is None else Reason.EXTRA,),
            "size_bytes": source.size_bytes or 0 if source is not None else 0,
            **changes,
        }
        return Action(7, kind, Stage.WRITE, path, source, destination, **values)

    def perform(self, kind: ActionKind, path: str, **changes: Any) -> Outcome:
        return self.performer.perform(self.action(kind, path, **changes))


def code_of(outcome: Outcome) -> EntryCode | None:
    return outcome.problem.code if outcome.problem is not None else None


def test_a_copy_tells_what_it_did() -> None:
    bench = Bench({"a": b"content"}, {})
    outcome = bench.perform(ActionKind.COPY, "a")
    assert outcome.status is OutcomeStatus.DONE
    assert (outcome.action_id, outcome.attempts, outcome.bytes, outcome.agent) == (7, 1, 7, "tester")
    assert outcome.digest is not None and outcome.digest.startswith("xxh3_128:")
    assert outcome.started_at == bench.clock.now().timestamp()
    assert bench.right.node("a").content == b"content"
    assert bench.meter.taken == 7


@pytest.mark.parametrize(
    "code", [code for code in EntryCode if ENTRY_CODE_MEANINGS[code][0] is Disposition.RETRY]
)
def test_what_may_pass_is_tried_again_with_growing_waits(code: EntryCode) -> None:
    bench = Bench(
        {"a": b"x"},
        {},
        {"right": [raises("put", code, times=3)]},
        attempts=4,
        retry_delay_seconds=0.5,
        refresh=True,
    )
    outcome = bench.perform(ActionKind.COPY, "a")
    assert (outcome.status, outcome.attempts) == (OutcomeStatus.DONE, 4)
    # A storage that is away or busy gets more time than a file that moves.
    expected = [1.0, 2.0, 4.0] if code in AWAY else [0.5, 1.0, 2.0]
    assert bench.clock.sleeps == expected
    assert outcome.duration_seconds == sum(expected)
    assert bench.scripts["right"].fired == (3,)


@pytest.mark.parametrize(
    "code", [code for code in EntryCode if ENTRY_CODE_MEANINGS[code][0] is Disposition.RETRY]
)
def test_after_the_last_attempt_it_has_failed(code: EntryCode) -> None:
    bench = Bench({"a": b"x"}, {}, {"right": [raises("put", code, times=None)]}, attempts=3, refresh=True)
    outcome = bench.perform(ActionKind.COPY, "a")
    sleeps = [1.0, 2.0, 4.0, 8.0] if code in AWAY else [0.2, 0.4]
    attempts = len(sleeps) + 1
    assert (outcome.status, outcome.attempts, code_of(outcome)) == (OutcomeStatus.FAILED, attempts, code)
    assert outcome.problem is not None and outcome.problem.retryable
    assert bench.clock.sleeps == sleeps
    assert bench.right.paths() == []


@pytest.mark.parametrize(
    "code", [code for code in EntryCode if ENTRY_CODE_MEANINGS[code][0] is not Disposition.RETRY]
)
def test_what_will_not_pass_is_not_tried_again(code: EntryCode) -> None:
    bench = Bench({"a": b"x"}, {}, {"right": [raises("put", code)]}, refresh=True)
    outcome = bench.perform(ActionKind.COPY, "a")
    expected = {EntryCode.STALE: OutcomeStatus.STALE, EntryCode.CANCELLED: OutcomeStatus.CANCELLED}
    assert outcome.status is expected.get(code, OutcomeStatus.FAILED)
    assert (outcome.attempts, code_of(outcome), bench.clock.sleeps) == (1, code, [])


WAITS = [
    ("the storage says when", 7.5, 0.2, [7.5]),
    ("the storage asks for too much", 3600.0, 0.2, [30.0]),
    ("never longer than half a minute", None, 100.0, [30.0]),
    ("at once", 0.0, 5.0, [0.0]),
]


@pytest.mark.parametrize(
    ("asked", "delay", "expected"), [case[1:] for case in WAITS], ids=[case[0] for case in WAITS]
)
def test_waits(asked: float | None, delay: float, expected: list[float]) -> None:
    error = EntryError(EntryCode.TIMEOUT, "a", "busy", retry_after_seconds=asked)
    bench = Bench({"a": b"x"}, {}, {"right": [raises("put", error)]}, attempts=2, retry_delay_seconds=delay)
    assert bench.perform(ActionKind.COPY, "a").status is OutcomeStatus.DONE
    assert bench.clock.sleeps == expected


def test_a_driver_may_classify_otherwise() -> None:
    error = EntryError(EntryCode.LOCKED, "a", "leased", disposition=Disposition.RETRY)
    bench = Bench({"a": b"x"}, {}, {"left": [raises("read", error)]})
    assert bench.perform(ActionKind.COPY, "a").attempts == 2


def test_a_write_that_arrived_although_an_error_came_is_done() -> None:
    """The first attempt was published before its connection broke: the second meets it and knows it."""

    bench = Bench({"a": b"x"}, {}, {"right": [raises("put", EntryCode.TIMEOUT)]})
    action = bench.action(ActionKind.COPY, "a")
    bench.right.write("a", b"x", mtime_ns=bench.left.node("a").mtime_ns)
    outcome = bench.performer.perform(action)
    assert (outcome.status, outcome.note, outcome.attempts) == (OutcomeStatus.DONE, "already as planned", 2)
    bench.scripts["right"].assert_all_fired()


def test_metadata_that_is_refused_is_a_failure_although_the_content_stands() -> None:
    class Refusing:
        def __init__(self, inner: Any) -> None:
            self.inner, self.capabilities = inner, inner.capabilities

        def put(self, *arguments: Any) -> Written:
            self.inner.put(*arguments)
            return Written(bytes=1, digest="xxh3_128:0", refused=("acls", "uid"))

        def stat(self, path: str) -> Entry | None:
            found: Entry | None = self.inner.stat(path)
            return found

    bench = Bench({"a": b"x"}, {})
    refusing: Any = Refusing(bench.destination)
    performer = Performer(bench.source, refusing, PerformSettings(EXECUTION), bench.meter, bench.clock)
    outcome = performer.perform(bench.action(ActionKind.COPY, "a"))
    assert (outcome.status, code_of(outcome)) == (OutcomeStatus.FAILED, EntryCode.ATTRIBUTES_REFUSED)
    assert outcome.problem is not None and outcome.problem.message == "the destination refused acls, uid"
    assert bench.right.node("a").content == b"x"


def test_a_new_folder_is_closed_until_it_is_finished() -> None:
    bench = Bench({"d/": Folder(mode=0o755)}, {})
    assert bench.perform(ActionKind.CREATE_DIRECTORY, "d/").status is OutcomeStatus.DONE
    assert bench.right.node("d").attributes.mode == 0o700
    assert bench.perform(ActionKind.SET_ATTRIBUTES, "d/").status is OutcomeStatus.DONE
    assert (bench.right.node("d").attributes.mode, bench.right.node("d").mtime_ns) == (
        0o755,
        bench.left.node("d").mtime_ns,
    )


def test_a_folder_that_is_there_already_is_left_as_it_is() -> None:
    bench = Bench({"d/": {}}, {})
    action = bench.action(ActionKind.CREATE_DIRECTORY, "d/")
    memory_location(bench.right, create=True).put(Entry("d/", Kind.DIRECTORY), None, None, Meter())
    before = bench.right.snapshot()
    assert bench.performer.perform(action).status is OutcomeStatus.DONE
    assert bench.right.snapshot() == before


def test_times_that_are_not_carried_are_not_set() -> None:
    spec = {"a": File(b"x", mtime_ns=5), "l": Symlink("a", mtime_ns=5), "d/": Folder(mtime_ns=5)}
    bench = Bench(spec, {}, sets_mtime=False)
    for kind, path in (
        (ActionKind.CREATE_DIRECTORY, "d/"),
        (ActionKind.COPY, "a"),
        (ActionKind.COPY, "l"),
        (ActionKind.SET_ATTRIBUTES, "d/"),
    ):
        assert bench.perform(kind, path).status is OutcomeStatus.DONE
    assert 5 not in {seen.mtime_ns for seen in bench.right.snapshot().values()}
    assert bench.right.node("a").attributes.mode == 0o644


def test_links_without_times() -> None:
    bench = Bench({"a": b"x", "b": HardLink("a")}, {"a": File(b"x", mtime_ns=9)}, sets_mtime=False)
    outcome = bench.perform(ActionKind.LINK, "b", link_to="a")
    assert outcome.status is OutcomeStatus.DONE
    assert bench.right.node("b") is bench.right.node("a")


LEADERS = [
    ("the file that was copied", {"a": b"x"}, (), OutcomeStatus.DONE),
    ("nothing", {}, (), OutcomeStatus.STALE),
    ("another size", {"a": b"xy"}, (), OutcomeStatus.STALE),
    ("another time", {"a": File(b"x", mtime_ns=9)}, (), OutcomeStatus.STALE),
    ("another time, which is set later", {"a": File(b"x", mtime_ns=9)}, ("mtime",), OutcomeStatus.DONE),
    ("another mode, which is set later", {"a": File(b"x", mode=0o600)}, ("mode",), OutcomeStatus.DONE),
    ("a folder", {"a/": {}}, (), OutcomeStatus.STALE),
]


@pytest.mark.parametrize(
    ("right", "later", "expected"), [case[1:] for case in LEADERS], ids=[case[0] for case in LEADERS]
)
def test_only_the_planned_file_is_shared(
    right: dict[str, Any], later: tuple[str, ...], expected: OutcomeStatus
) -> None:
    bench = Bench({"a": b"x", "b": HardLink("a")}, right)
    assert bench.perform(ActionKind.LINK, "b", link_to="a", attributes=later).status is expected
    assert ("b" in bench.right.paths()) == (expected is OutcomeStatus.DONE)


def test_a_destination_without_the_role_gets_metadata_by_writing_anew() -> None:
    bench = Bench({"a": File(b"x", mode=0o600)}, {"a": b"x"}, roles=ROLES - {"set_attributes"})
    assert bench.perform(ActionKind.SET_ATTRIBUTES, "a").status is OutcomeStatus.DONE
    assert bench.right.node("a").attributes.mode == 0o600


def test_a_destination_that_cannot_move_says_what_to_do_instead_of_quarantine() -> None:
    bench = Bench({}, {"a": b"x"}, roles=ROLES - {"rename"})
    outcome = bench.perform(ActionKind.QUARANTINE, "a")
    assert (outcome.status, code_of(outcome)) == (OutcomeStatus.FAILED, EntryCode.KIND_NOT_SUPPORTED)
    assert outcome.problem is not None and "preserve_deleted_files" in outcome.problem.message
    assert bench.right.paths() == ["a"]


def test_quarantining_keeps_content_and_metadata() -> None:
    bench = Bench({}, {"d/": Folder(mode=0o500, mtime_ns=3), "d/a": File(b"x", mtime_ns=4)})
    folder = bench.action(ActionKind.QUARANTINE, "d/")
    for action in (bench.action(ActionKind.QUARANTINE, "d/a"), folder):
        assert bench.performer.perform(action).status is OutcomeStatus.DONE
    root = f".sync-runner-quarantine/{EXECUTION}/"
    found = bench.right.snapshot()
    assert [path for path in found if not path.startswith(".sync-runner")] == []
    assert (found[root + "d/a"].content, found[root + "d/a"].mtime_ns) == (b"x", 4)
    assert found[root + "d/"].attributes.mode == 0o500


def test_an_extra_that_the_source_has_now_is_not_deleted_but_an_excluded_one_is() -> None:
    for reason, expected in ((Reason.EXTRA, OutcomeStatus.STALE), (Reason.EXCLUDED, OutcomeStatus.DONE)):
        bench = Bench({"a": b"x"}, {"a": b"y"})
        assert bench.perform(ActionKind.DELETE, "a", reasons=(reason,)).status is expected


# -- many of them --------------------------------------------------------------------------------------------


def _batch(bench: Bench, actions: list[Action]) -> tuple[BatchSummary, list[Outcome]]:
    request = b"".join(encode_line(action) + b"\n" for action in actions)
    summary, lines = split_answer(perform_batch(bench.performer, lambda: False, request))
    return summary, [decode_line(line, Outcome) for line in lines.splitlines()]


def test_a_batch_sums_up_what_it_did() -> None:
    left = {"new": b"12345", "d/": {}, "same": b"x", "locked": b"z"}
    faults = {"left": [raises("read", EntryCode.LOCKED, path="locked")]}
    bench = Bench(left, {"same": File(b"x", mode=0o600), "gone": b"123"}, faults)
    finish = bench.action(ActionKind.SET_ATTRIBUTES, "same", reasons=(Reason.CONTENTS,))
    summary, outcomes = _batch(
        bench,
        [
            bench.action(ActionKind.COPY, "new"),
            bench.action(ActionKind.CREATE_DIRECTORY, "d/"),
            bench.action(ActionKind.COPY, "locked"),
            bench.action(ActionKind.DELETE, "gone", size_bytes=3),
            finish,
        ],
    )
    assert [outcome.path for outcome in outcomes] == ["new", "d/", "locked", "gone", "same"]
    assert (summary.actions, summary.done, summary.bytes, summary.bytes_deleted) == (5, 4, 5, 3)
    assert (summary.transferred.files, summary.transferred.folders) == (1, 1)
    assert (summary.failed_transfer.files, summary.deleted.files) == (1, 1)
    assert [outcome.path for outcome in summary.attention] == ["locked"]
    assert (summary.abort, summary.last_path) == (False, "same")


@pytest.mark.parametrize("code", [EntryCode.NO_SPACE, EntryCode.READ_ONLY, EntryCode.UNAVAILABLE])
def test_what_ends_an_execution_ends_its_batch(code: EntryCode) -> None:
    bench = Bench({"a": b"x", "b": b"y", "c": b"z"}, {}, {"right": [raises("put", code, path="b")]})
    summary, outcomes = _batch(bench, [bench.action(ActionKind.COPY, path) for path in "abc"])
    assert [outcome.status.value for outcome in outcomes] == ["done", "failed", "cancelled"]
    assert summary.abort
    assert (summary.cancelled.files, summary.failed_transfer.files) == (1, 1)


def test_a_defect_costs_one_path() -> None:
    bench = Bench({"a": b"x", "b": b"y"}, {}, {"right": [raises("put", ZeroDivisionError("oops"), path="a")]})
    _, outcomes = _batch(bench, [bench.action(ActionKind.COPY, path) for path in "ab"])
    assert [outcome.status.value for outcome in outcomes] == ["failed", "done"]
    problem = outcomes[0].problem
    assert problem is not None
    assert (problem.code, problem.message) == (EntryCode.INTERNAL, "ZeroDivisionError: oops")


def test_a_stop_is_seen_between_actions() -> None:
    bench = Bench({"a": b"x", "b": b"y"}, {})
    answers = iter((False, True))
    request = b"\n".join(encode_line(bench.action(ActionKind.COPY, path)) for path in "ab")
    _, lines = split_answer(perform_batch(bench.performer, lambda: next(answers), request))
    statuses = [decode_line(line, Outcome).status.value for line in lines.splitlines()]
    assert statuses == ["done", "cancelled"]


def test_requests_that_nobody_answered() -> None:
    bench = Bench({"a": b"x", "d/": {}}, {"gone": b""})
    lines = [
        encode_line(bench.action(kind, path)) + b"\n"
        for kind, path in (
            (ActionKind.COPY, "a"),
            (ActionKind.CREATE_DIRECTORY, "d/"),
            (ActionKind.DELETE, "gone"),
        )
    ]
    lost, _ = split_answer(lost_lines(lines))
    assert (lost.failed_transfer.files, lost.failed_transfer.folders, lost.failed_delete.files) == (1, 1, 1)
    assert {code_of(outcome) for outcome in lost.attention} == {EntryCode.INTERNAL}
    cancelled, rest = split_answer(cancel_lines(lines, "stopped"))
    assert (cancelled.cancelled.files, cancelled.cancelled.folders) == (1, 1)
    assert {decode_line(line, Outcome).attempts for line in rest.splitlines()} == {0}


def test_names_that_are_no_utf8_cross_the_border() -> None:
    name = "b\udcff\n\x1b"
    bench = Bench({name: b"x"}, {})
    _, outcomes = _batch(bench, [bench.action(ActionKind.COPY, name)])
    assert [(outcome.path, outcome.status) for outcome in outcomes] == [(name, OutcomeStatus.DONE)]
    assert bench.right.paths() == [name]


def test_a_silent_storage_is_not_waited_for_path_by_path() -> None:
    """Two actions in a row that end in timeouts: the second ends the execution, after one look."""
    silent = [raises("put", EntryCode.TIMEOUT, times=None)]
    bench = Bench({"a": b"x", "b": b"x", "c": b"x"}, {}, {"right": silent}, attempts=3)
    lines = [encode_line(bench.action(ActionKind.COPY, path)) for path in "abc"]
    summary, rest = split_answer(perform_batch(bench.performer, lambda: False, b"\n".join(lines)))
    outcomes = [decode_line(line, Outcome) for line in rest.splitlines()]
    assert [code_of(outcome) for outcome in outcomes] == [
        EntryCode.TIMEOUT,
        EntryCode.UNAVAILABLE,
        EntryCode.CANCELLED,
    ]
    assert [outcome.attempts for outcome in outcomes] == [5, 1, 0]
    assert summary.abort is True


def test_timeouts_with_successes_between_them_end_nothing() -> None:
    silent = [raises("put", EntryCode.TIMEOUT, path=path, times=None) for path in ("a", "c")]
    bench = Bench({"a": b"x", "b": b"x", "c": b"x"}, {}, {"right": silent}, attempts=2)
    codes = [code_of(bench.perform(ActionKind.COPY, path)) for path in "abc"]
    assert codes == [EntryCode.TIMEOUT, None, EntryCode.TIMEOUT]
