"""Verification: planted faults are found with the right verdict each, and by nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec
import pytest

from runner.diff.compare import Comparison
from runner.diff.merge import Merge, Scope
from runner.diff.tally import Tally
from runner.errors import EntryCode, EntryError, ExitCode
from runner.inventory.listing import inventory
from runner.locations.protocol import Location, OpenSettings
from runner.model.action import Action, ActionKind, Finding, Outcome, OutcomeStatus, Stage, Verdict
from runner.model.difference import Reason
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.model.execution import Counts
from runner.model.task import Compare, DigestAlgorithm
from runner.model.wire import encode_line
from runner.report.assemble import echoed_findings, exit_code_of
from runner.testing.faults import Fault, FaultScript, meanwhile, raises
from runner.testing.memory import MemoryTree, memory_location
from runner.testing.trees import File, Folder, HardLink, Special, Symlink, tree
from runner.verify.batch import Verifier, VerifySettings, VerifySummary
from runner.verify.judge import judge_digest, judge_facts
from runner.verify.whole import Verified, WholeTree, verify_transferred


class NoThrottle:
    def take(self, size_bytes: int) -> None:
        return


class Bench:
    """Two trees and a verifier between them, which is also the workers. A request of `lost` gets no answer."""

    def __init__(
        self,
        left: MemoryTree,
        right: MemoryTree,
        faults: dict[str, list[Fault]] | None = None,
        tolerance: int = 0,
    ) -> None:
        self.left, self.right = left, right
        self.scripts = {side: FaultScript((faults or {}).get(side, [])) for side in ("left", "right")}
        self.source = self._opened("left", left)
        self.destination = self._opened("right", right)
        self.lost: set[int] = set()
        self.tolerance = tolerance
        settings = VerifySettings(DigestAlgorithm.XXH3_128, tolerance, "worker-0")
        self.verifier = Verifier(self.source, self.destination, settings, NoThrottle(), lambda: False)

    def _opened(self, side: str, one: MemoryTree) -> Location:
        return self.scripts[side].wrap(memory_location(one, open_settings=OpenSettings()))

    def run(self, job: str, requests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        answer: Callable[[bytes], bytes] = getattr(self.verifier, job)
        for number, request in enumerate(requests):
            yield number, b"" if number in self.lost else answer(request)

    def whole(self, **options: Any) -> Verified:
        tally = Tally()
        merge = Merge(
            inventory(self.source, None),
            inventory(self.destination, None),
            Comparison(compare=Compare.SIZE_ONLY, mtime_tolerance_ns=self.tolerance),
            options.pop("scope", Scope()),
            tally,
            reports_equal=True,
        )
        whole = WholeTree(
            merge.differences(),
            self.tolerance,
            options.pop("allows_extras", False),
            options.pop("may_be_extra", None),
            options.pop("can_be_there", None),
        )
        return whole.run(self, lambda summary: None)


ALIKE = {
    "a": File(b"content", mtime_ns=1, xattrs=(("user.k", b"v"),)),
    "d/": Folder(mode=0o750, mtime_ns=2),
    "d/b": File(b"other", mtime_ns=3),
    "d/c": HardLink("d/b"),
    "l": Symlink("a"),
    "p": Special(Kind.FIFO),
}


def _node(path: str, **changes: Any) -> Callable[[MemoryTree], None]:
    def change(right: MemoryTree) -> None:
        node = right.node(path)
        for name, value in changes.items():
            setattr(node, name, value)

    return change


def _with(path: str, **changes: Any) -> Callable[[MemoryTree], None]:
    def change(right: MemoryTree) -> None:
        node = right.node(path)
        node.attributes = msgspec.structs.replace(node.attributes, **changes)

    return change


def _replaced(path: str, one: Any) -> Callable[[MemoryTree], None]:
    def change(right: MemoryTree) -> None:
        times = {folder: right.node(folder).mtime_ns for folder in ("", "d")}
        right.delete(path)
        right.place(path, tree({path: one}).memory().node(path))
        for folder, mtime_ns in times.items():
            right.node(folder).mtime_ns = mtime_ns

    return change


PLANTED: list[tuple[str, Callable[[MemoryTree], Any], list[tuple[str, Verdict, tuple[str, ...]]]]] = [
    ("nothing", lambda right: None, []),
    ("a bit flip", _node("a", content=b"cortent"), [("a", Verdict.CHECKSUM_FAILURE, ("digest",))]),
    ("a truncation", _node("a", content=b"cont"), [("a", Verdict.CHECKSUM_FAILURE, ("size",))]),
    ("chmod", _with("a", mode=0o600), [("a", Verdict.METADATA_FAILURE, ("mode",))]),
    ("chown", _with("a", uid=5, gid=6), [("a", Verdict.METADATA_FAILURE, ("uid", "gid"))]),
    ("touch", _node("a", mtime_ns=9), [("a", Verdict.METADATA_FAILURE, ("mtime",))]),
    ("setfattr", _with("a", xattrs=()), [("a", Verdict.METADATA_FAILURE, ("xattrs",))]),
    ("chmod and flip", lambda right: (_with("a", mode=1)(right), _node("a", content=b"cortent")(right)), [
        ("a", Verdict.CHECKSUM_FAILURE, ("digest", "mode")),
    ]),
    ("deleted", lambda right: right.delete("a"), [("a", Verdict.FILE_REMOVED, ("kind",))]),
    ("added", lambda right: right.write("n", b""), [("n", Verdict.FILE_ADDED, ("kind",))]),
    ("a folder added", lambda right: right.write("n/x", b""), [
        ("n/", Verdict.FILE_ADDED, ("kind",)), ("n/x", Verdict.FILE_ADDED, ("kind",)),
    ]),
    ("a folder's mode", _with("d/", mode=0o755), [("d/", Verdict.METADATA_FAILURE, ("mode",))]),
    ("a folder's time alone", _node("d/", mtime_ns=9), [("d/", Verdict.METADATA_FAILURE, ("mtime",))]),
    ("link target", _node("l", link_target="b"), [("l", Verdict.CHECKSUM_FAILURE, ("link_target",))]),
    ("another kind", _replaced("p", b""), [("p", Verdict.CHECKSUM_FAILURE, ("kind",))]),
    ("no longer linked", _replaced("d/c", File(b"other", mtime_ns=3)), [
        ("d/c", Verdict.METADATA_FAILURE, ("link_group",)),
    ]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("plant", "expected"), [case[1:] for case in PLANTED], ids=[case[0] for case in PLANTED]
)
def test_what_is_planted_is_found_and_nothing_else(
    plant: Callable[[MemoryTree], Any], expected: list[tuple[str, Verdict, tuple[str, ...]]]
) -> None:
    bench = Bench(tree(ALIKE).memory(), tree(ALIKE).memory())
    plant(bench.right)
    verified = bench.whole()
    assert [(one.path, one.verdict, one.fields) for one in verified.findings] == expected
    folders = sum(1 for path, _, _ in expected if path.endswith("/"))
    assert verified.failed == Counts(len(expected) - folders, folders)
    at_source = [path for path, verdict, _ in expected if verdict is not Verdict.FILE_ADDED]
    total = verified.verified + Counts(
        sum(not path.endswith("/") for path in at_source), sum(path.endswith("/") for path in at_source)
    )
    assert total == Counts(5, 2)


def test_expected_and_actual_are_told() -> None:
    bench = Bench(tree({"a": File(b"x", mode=0o644)}).memory(), tree({"a": File(b"x", mode=0o600)}).memory())
    (finding,) = bench.whole().findings
    assert (finding.expected, finding.actual) == ((("mode", "0644"),), (("mode", "0600"),))
    assert finding.message == "mode differs"


def test_a_folder_s_time_follows_from_what_is_found_in_it() -> None:
    bench = Bench(tree(ALIKE).memory(), tree(ALIKE).memory())
    bench.right.delete("d/b")
    bench.right.node("d/").mtime_ns = 99
    bench.right.node("").mtime_ns = 99
    found = [(one.path, one.verdict.value) for one in bench.whole().findings]
    # The root's own time has no such excuse: nothing directly in it is wrong.
    assert found == [("", "metadata_failure"), ("d/b", "file_removed"), ("d/c", "metadata_failure")]


def test_times_within_the_tolerance_are_equal() -> None:
    left, right = tree({"a": File(b"x", mtime_ns=5)}).memory(), tree({"a": File(b"x", mtime_ns=7)}).memory()
    assert Bench(left, right, tolerance=2).whole().findings == ()
    assert len(Bench(left, right, tolerance=1).whole().findings) == 1


def test_extras_that_the_task_allows_are_kept() -> None:
    bench = Bench(tree({"a": b"x"}).memory(), tree({"a": b"x", "n": b"", "m": b""}).memory())
    verified = bench.whole(allows_extras=True)
    assert (verified.findings, verified.kept) == ((), 2)
    verified = bench.whole(may_be_extra=lambda entry: entry.path == "m")
    assert ([one.path for one in verified.findings], verified.kept) == (["m"], 1)


def test_what_cannot_be_there_is_not_missed() -> None:
    left, right = tree({"d/": {}, "l": Symlink("x"), "a": b"x"}).memory(), tree({"l": b""}).memory()
    verified = Bench(left, right).whole(can_be_there=lambda entry: entry.kind is Kind.FILE)
    assert [one.path for one in verified.findings] == ["a"]
    verified = Bench(left, right).whole()
    assert [one.path for one in verified.findings] == ["a", "d/", "l"]


def test_what_the_task_leaves_out_is_not_looked_at() -> None:
    bench = Bench(tree({"a": b"x", "b": b"y"}).memory(), tree({"a": b"z", "b": b"y"}).memory())
    scope = Scope(includes=lambda entry: entry.path != "a")
    assert bench.whole(scope=scope).findings == ()


UNREADABLE = [
    (EntryCode.PERMISSION_DENIED, Verdict.UNREADABLE),
    (EntryCode.IO_ERROR, Verdict.UNREADABLE),
    (EntryCode.LOCKED, Verdict.LOCKED),
    (EntryCode.CHANGED_DURING_TRANSFER, Verdict.CHANGED_DURING_TRANSFER),
    (EntryCode.CHECKSUM_FAILURE, Verdict.CHECKSUM_FAILURE),
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(("code", "verdict"), UNREADABLE, ids=[code.value for code, _ in UNREADABLE])
def test_what_cannot_be_read_is_a_finding(side: str, code: EntryCode, verdict: Verdict) -> None:
    faults = {side: [raises("digest", code, path="a")]}
    bench = Bench(tree({"a": b"x", "b": b"y"}).memory(), tree({"a": b"x", "b": b"y"}).memory(), faults)
    verified = bench.whole()
    bench.scripts[side].assert_all_fired()
    assert [(one.path, one.verdict) for one in verified.findings] == [("a", verdict)]
    assert (verified.verified.files, verified.failed.files) == (1, 1)


def test_a_file_that_changes_while_it_is_checked() -> None:
    right = tree({"a": b"x"}).memory()
    bench = Bench(
        tree({"a": b"x"}).memory(), right, {"right": [meanwhile("digest", lambda: right.write("a", b"z"))]}
    )
    assert [one.verdict for one in bench.whole().findings] == [Verdict.CHANGED_DURING_TRANSFER]


def test_a_lost_worker_leaves_nothing_unsaid() -> None:
    bench = Bench(tree({"a": b"x", "b": b"y"}).memory(), tree({"a": b"x", "b": b"y"}).memory())
    bench.lost = {0}
    verified = bench.whole()
    assert [(one.path, one.verdict) for one in verified.findings] == [
        ("a", Verdict.UNREADABLE),
        ("b", Verdict.UNREADABLE),
    ]
    assert (verified.verified, verified.failed) == (Counts(0, 1), Counts(2, 0))


# -- only what was transferred -------------------------------------------------------------------------------


def carried(
    bench: Bench, kind: ActionKind, path: str, status: OutcomeStatus = OutcomeStatus.DONE, **outcome: Any
) -> bytes:
    """The request for one action whose source is what stands at the left now."""
    source = memory_location(bench.left, open_settings=OpenSettings()).stat(path)
    extra = kind in (ActionKind.DELETE, ActionKind.QUARANTINE)
    action = Action(1, kind, Stage.WRITE, path, None if extra else source, None, (Reason.MISSING,))
    return encode_line(action) + b"\n" + encode_line(Outcome(1, kind, path, status, **outcome))


def digest_of(one: MemoryTree, path: str) -> str:
    location: Any = memory_location(one, open_settings=OpenSettings())
    digest: str = location.digest(location.stat(path), DigestAlgorithm.XXH3_128, NoThrottle())
    return digest


def checked(bench: Bench, *requests: bytes) -> tuple[VerifySummary | Verified, list[tuple[str, Verdict]]]:
    verified = verify_transferred(bench, [b"\n".join(requests)], lambda summary: None)
    return verified, [(one.path, one.verdict) for one in verified.findings]


def test_what_was_copied_is_read_again_against_the_digest_taken_at_the_source() -> None:
    bench = Bench(tree({"a": b"x", "b": b"y"}).memory(), tree({"a": b"x", "b": b"z"}).memory())
    requests = [carried(bench, ActionKind.COPY, path, digest=digest_of(bench.left, path)) for path in "ab"]
    verified, found = checked(bench, *requests)
    assert found == [("b", Verdict.CHECKSUM_FAILURE)]
    assert (verified.verified, verified.failed) == (Counts(1, 0), Counts(1, 0))


CARRIED: list[tuple[str, dict[str, Any], dict[str, Any], ActionKind, str, list[Verdict]]] = [
    ("gone again", {"a": b"x"}, {}, ActionKind.COPY, "a", [Verdict.FILE_REMOVED]),
    ("metadata not as set", {"a": b"x"}, {"a": File(b"x", mode=1)}, ActionKind.SET_ATTRIBUTES, "a", [
        Verdict.METADATA_FAILURE]),
    ("metadata as set", {"a": b"x"}, {"a": b"x"}, ActionKind.SET_ATTRIBUTES, "a", []),
    ("deleted and gone", {}, {}, ActionKind.DELETE, "a", []),
    ("deleted but there", {}, {"a": b"x"}, ActionKind.DELETE, "a", [Verdict.FILE_ADDED]),
    ("a folder in place of a file that was deleted", {}, {"a/": {}}, ActionKind.QUARANTINE, "a", []),
    ("a file in place of a folder that was deleted", {}, {"a": b""}, ActionKind.DELETE, "a/", []),
    ("a folder that was made is checked when it is finished", {"a/": {}}, {}, ActionKind.CREATE_DIRECTORY, "a/", []),
    ("a folder's mode", {"a/": {}}, {"a/": Folder(mode=1)}, ActionKind.SET_ATTRIBUTES, "a/", [Verdict.METADATA_FAILURE]),
    ("a link", {"a": b"x"}, {"a": b"x"}, ActionKind.LINK, "a", []),
    ("a link of another size", {"a": b"x"}, {"a": b"xy"}, ActionKind.LINK, "a", [Verdict.CHECKSUM_FAILURE]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("left", "right", "kind", "path", "expected"),
    [case[1:] for case in CARRIED],
    ids=[case[0] for case in CARRIED],
)
def test_what_was_carried_out(
    left: dict[str, Any], right: dict[str, Any], kind: ActionKind, path: str, expected: list[Verdict]
) -> None:
    bench = Bench(tree(left).memory(), tree(right).memory())
    _, found = checked(bench, carried(bench, kind, path))
    assert found == [(path, verdict) for verdict in expected]


@pytest.mark.parametrize("status", [status for status in OutcomeStatus if status is not OutcomeStatus.DONE])
def test_what_was_not_done_is_not_checked(status: OutcomeStatus) -> None:
    bench = Bench(tree({"a": b"x"}).memory(), tree({}).memory())
    verified, found = checked(bench, carried(bench, ActionKind.COPY, "a", status))
    assert (found, verified.verified, verified.failed) == ([], Counts(), Counts())


def test_a_file_that_was_taken_as_it_had_become_is_compared_with_that() -> None:
    bench = Bench(tree({"a": b"planned"}).memory(), tree({}).memory())
    planned = carried(bench, ActionKind.COPY, "a", attempts=2)
    bench.left.write("a", b"as it became", mtime_ns=9)
    bench.right.write("a", b"as it became", mtime_ns=9)
    assert checked(bench, planned)[1] == []
    bench.right.write("a", b"something else", mtime_ns=9)
    assert checked(bench, planned)[1] == [("a", Verdict.CHANGED_DURING_TRANSFER)]
    assert checked(bench, carried(bench, ActionKind.COPY, "a", attempts=2))[1] == [
        ("a", Verdict.CHECKSUM_FAILURE)
    ]


def test_a_batch_that_was_lost_is_named() -> None:
    bench = Bench(tree({"a": b"x", "d/": {}}).memory(), tree({"a": b"x", "d/": {}}).memory())
    bench.lost = {0}
    requests = (
        carried(bench, ActionKind.COPY, "a"),
        carried(bench, ActionKind.SET_ATTRIBUTES, "d/"),
        carried(bench, ActionKind.COPY, "a", OutcomeStatus.FAILED),
    )
    verified, found = checked(bench, *requests)
    assert found == [("a", Verdict.UNREADABLE), ("d/", Verdict.UNREADABLE)]
    assert verified.failed == Counts(1, 1)


def test_a_stop_ends_a_batch_without_findings() -> None:
    bench = Bench(
        tree({"a": b"x"}).memory(),
        tree({"a": b"x"}).memory(),
        {"right": [raises("stat", EntryCode.CANCELLED)]},
    )
    verified, found = checked(bench, carried(bench, ActionKind.COPY, "a"))
    assert (found, verified.verified) == ([], Counts())


# -- pure judgements -----------------------------------------------------------------------------------------

FILE = Entry("a", Kind.FILE, size_bytes=1, mtime_ns=1, attributes=Attributes(mode=0o644))


def test_unknown_facts_are_no_fault() -> None:
    assert judge_facts(FILE, Entry("a", Kind.FILE, size_bytes=1), 0, "x") is None


def test_a_digest_outweighs_metadata_and_keeps_it() -> None:
    actual = msgspec.structs.replace(FILE, mtime_ns=5)
    facts = judge_facts(FILE, actual, 0, "x")
    finding = judge_digest(FILE, "sha256:1", "sha256:2", facts, "y")
    assert finding is not None
    assert (finding.verdict, finding.fields) == (Verdict.CHECKSUM_FAILURE, ("digest", "mtime"))
    assert judge_digest(FILE, "sha256:1", "sha256:1", facts, "y") is facts


# -- what transferring has said already ----------------------------------------------------------------------


def failed(code: EntryCode, status: OutcomeStatus = OutcomeStatus.FAILED) -> Outcome:
    problem = Problem("a", Phase.TRANSFERRING, code, "message")
    return Outcome(1, ActionKind.COPY, "a", status, problem=problem)


ECHOES = [
    (EntryCode.LOCKED, Verdict.LOCKED),
    (EntryCode.CHANGED_DURING_TRANSFER, Verdict.CHANGED_DURING_TRANSFER),
    (EntryCode.PERMISSION_DENIED, Verdict.UNREADABLE),
    (EntryCode.IO_ERROR, Verdict.UNREADABLE),
    (EntryCode.NOT_FOUND, Verdict.UNREADABLE),
    (EntryCode.NAME_NOT_ALLOWED, None),
    (EntryCode.NO_SPACE, None),
]


@pytest.mark.parametrize(("code", "verdict"), ECHOES, ids=[code.value for code, _ in ECHOES])
def test_unreadable_files_come_back_as_verification_errors(code: EntryCode, verdict: Verdict | None) -> None:
    expected = [] if verdict is None else [Finding("a", verdict, checked_by="transfer", message="message")]
    assert echoed_findings((failed(code),)) == expected
    assert echoed_findings((failed(code, OutcomeStatus.STALE),)) == []


ECHO = Finding("a", Verdict.UNREADABLE)
FOUND = Finding("b", Verdict.CHECKSUM_FAILURE)
CODES = [
    ("all is well", (False, 0, 0, ()), ExitCode.DONE),
    ("actions failed", (False, 1, 0, ()), ExitCode.ACTIONS_FAILED),
    ("something was not listed", (False, 0, 1, ()), ExitCode.ACTIONS_FAILED),
    ("actions failed, and verification repeats it", (False, 1, 1, (ECHO,)), ExitCode.ACTIONS_FAILED),
    ("verification alone could not read", (False, 0, 0, (ECHO,)), ExitCode.VERIFICATION_FAILED),
    ("verification found a fault", (False, 0, 0, (FOUND,)), ExitCode.VERIFICATION_FAILED),
    ("a fault outweighs failed actions", (False, 3, 3, (ECHO, FOUND)), ExitCode.VERIFICATION_FAILED),
    ("interrupted outweighs all", (True, 3, 3, (FOUND,)), ExitCode.INTERRUPTED),
    ("interrupted", (True, 0, 0, ()), ExitCode.INTERRUPTED),
]


@pytest.mark.parametrize(("facts", "expected"), [case[1:] for case in CODES], ids=[case[0] for case in CODES])
def test_the_one_exit_code(facts: tuple[bool, int, int, tuple[Finding, ...]], expected: ExitCode) -> None:
    assert exit_code_of(*facts) is expected


def test_an_error_that_is_no_verdict_still_ends_up_as_one() -> None:
    error = EntryError(EntryCode.KIND_CONFLICT, "a", "odd")
    bench = Bench(tree({"a": b"x"}).memory(), tree({"a": b"x"}).memory(), {"left": [raises("digest", error)]})
    assert [(one.verdict, one.message) for one in bench.whole().findings] == [(Verdict.UNREADABLE, "odd")]
