"""What moves between plan and apply: exactly that action is stale, the rest is done, exit code 4."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from engine_support import NO_GUARDS, Rig, balance, make_task, rig

from runner.errors import EntryCode, ExitCode, PlanFileError
from runner.model.action import ActionKind, OutcomeStatus
from runner.model.entry import Kind, Phase
from runner.model.execution import Counts
from runner.model.task import DeletedFiles, Guards, Limit, TaskOptions, VerifyMode
from runner.testing.faults import FaultScript, flips, meanwhile, raises
from runner.testing.memory import MemoryTree
from runner.testing.trees import File, Folder, HardLink, Special, Symlink, tree

LEFT = {
    "copied": b"new",
    "replaced": b"newer",
    "moded": File(b"same", mode=0o600),
    "linked/a": b"group",
    "linked/b": HardLink("linked/a"),
    "made/": Folder(mode=0o700),
    "made/inside": b"x",
    "over": b"a file over a folder",
    "pipe": Special(Kind.FIFO),
    "symlink": Symlink("copied"),
    "timed/": Folder(mtime_ns=7),
}
RIGHT = {
    "replaced": b"old",
    "moded": File(b"same", mode=0o644),
    "linked/a": b"group",
    "linked/b": b"other",
    "over/": {"inside": b"x"},
    "gone": b"extra",
    "gone too/": {"x": b"extra"},
    "timed/": {},
}
OPTIONS = TaskOptions(preserve_deleted_files=DeletedFiles.REMOVE)

Change = Callable[[MemoryTree, MemoryTree], None]


def _rig(tmp_path: Path, options: TaskOptions = OPTIONS) -> Rig:
    return rig(tmp_path, tree(LEFT).memory(identity="l"), tree(RIGHT).memory(identity="r"), options)


def _delete(side: int, path: str) -> Change:
    return lambda left, right: (left, right)[side].delete(path)


def _write(side: int, path: str, content: bytes = b"changed meanwhile") -> Change:
    return lambda left, right: (left, right)[side].write(path, content)


def _swap(side: int, path: str, kind: Kind) -> Change:
    def swap(left: MemoryTree, right: MemoryTree) -> None:
        changed = (left, right)[side]
        changed.delete(path)
        changed.place(path, changed.new_node(kind, 5))

    return swap


CHANGES: list[tuple[str, Change, set[tuple[ActionKind, str]]]] = [
    ("nothing", lambda left, right: None, set()),
    ("source of a copy changed", _write(0, "copied"), {(ActionKind.COPY, "copied")}),
    ("source of a copy vanished", _delete(0, "copied"), {(ActionKind.COPY, "copied")}),
    ("source of a copy is another kind", _swap(0, "copied", Kind.FIFO), {(ActionKind.COPY, "copied")}),
    ("something stands at a copy's place", _write(1, "copied"), {(ActionKind.COPY, "copied")}),
    ("source of a replace changed", _write(0, "replaced"), {(ActionKind.REPLACE, "replaced")}),
    ("what is to be replaced changed", _write(1, "replaced"), {(ActionKind.REPLACE, "replaced")}),
    ("what is to be replaced vanished", _delete(1, "replaced"), {(ActionKind.REPLACE, "replaced")}),
    (
        "what is to be replaced is another kind",
        _swap(1, "replaced", Kind.FIFO),
        {(ActionKind.REPLACE, "replaced")},
    ),
    ("source of metadata changed", _write(0, "moded"), {(ActionKind.SET_ATTRIBUTES, "moded")}),
    ("what gets metadata changed", _write(1, "moded"), {(ActionKind.SET_ATTRIBUTES, "moded")}),
    ("what gets metadata vanished", _delete(1, "moded"), {(ActionKind.SET_ATTRIBUTES, "moded")}),
    ("source of a link changed", _write(0, "linked/b"), {(ActionKind.LINK, "linked/b")}),
    ("what a link replaces changed", _write(1, "linked/b"), {(ActionKind.LINK, "linked/b")}),
    ("the file to be shared changed", _write(1, "linked/a"), {(ActionKind.LINK, "linked/b")}),
    ("the file to be shared vanished", _delete(1, "linked/a"), {(ActionKind.LINK, "linked/b")}),
    ("an extra changed", _write(1, "gone"), {(ActionKind.DELETE, "gone")}),
    ("an extra is another kind", _swap(1, "gone", Kind.FIFO), {(ActionKind.DELETE, "gone")}),
    ("an extra appeared at the source", _write(0, "gone"), {(ActionKind.DELETE, "gone")}),
    ("an extra vanished", _delete(1, "gone"), set()),
    ("something came into an extra folder", _write(1, "gone too/y"), {(ActionKind.DELETE, "gone too/")}),
    (
        "something in a folder to be made way for changed",
        _write(1, "over/inside"),
        {(ActionKind.DELETE, "over/inside"), (ActionKind.DELETE, "over/"), (ActionKind.COPY, "over")},
    ),
    ("a symlink at the source is a file now", _swap(0, "symlink", Kind.FIFO), {(ActionKind.COPY, "symlink")}),
    ("a pipe vanished at the source", _delete(0, "pipe"), {(ActionKind.COPY, "pipe")}),
    (
        "a folder vanished at the source",
        _delete(0, "made/"),
        {
            (ActionKind.CREATE_DIRECTORY, "made/"),
            (ActionKind.COPY, "made/inside"),
            (ActionKind.SET_ATTRIBUTES, "made/"),
        },
    ),
    ("a folder vanished at the destination", _delete(1, "timed/"), {(ActionKind.SET_ATTRIBUTES, "timed/")}),
]


@pytest.mark.parametrize(
    ("change", "stale"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES]
)
def test_exactly_what_moved_is_stale(
    tmp_path: Path, change: Change, stale: set[tuple[ActionKind, str]]
) -> None:
    made = _rig(tmp_path)
    made.plan()
    change(made.left, made.right)
    report = made.apply()
    outcomes = made.outcomes(report)
    found = {(one.kind, one.path): one.status for one in outcomes if one.status is not OutcomeStatus.DONE}
    assert found == dict.fromkeys(stale, OutcomeStatus.STALE)
    assert len(outcomes) == len(made.actions())
    assert report.execution.exit_code == (ExitCode.ACTIONS_FAILED if stale else ExitCode.DONE)
    assert {(problem.path, problem.code) for problem in report.problems} == {
        (path, EntryCode.STALE) for _, path in stale
    }
    counters = report.counters
    assert balance(counters) == counters.listed
    assert counters.actions_failed == len(stale)
    assert counters.actions_done == len(outcomes) - len(stale)


def test_a_run_takes_a_source_file_as_it_is_now(tmp_path: Path) -> None:
    """A run, unlike a reviewed plan, means the source as it is."""
    made = _rig(tmp_path, msgspec.structs.replace(OPTIONS, retry_delay_seconds=0.5))
    script = FaultScript(
        [meanwhile("read", lambda: made.left.write("copied", b"as it is now"), path="copied")]
    )
    made.scripts = {"left": script}
    report = made.run()
    script.assert_all_fired()
    assert (report.execution.exit_code, report.findings, report.problems) == (ExitCode.DONE, (), ())
    assert made.right.node("copied").content == b"as it is now"
    assert made.clock.sleeps == [0.5]


def test_a_source_that_never_rests_is_a_verification_error_and_nothing_is_published(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    numbers = iter(range(1000))
    script = FaultScript(
        [
            meanwhile(
                "read", lambda: made.left.write("copied", b"%d" % next(numbers)), path="copied", times=None
            )
        ]
    )
    made.scripts = {"left": script}
    report = made.run()
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
    assert [(one.path, one.code) for one in report.problems] == [
        ("copied", EntryCode.CHANGED_DURING_TRANSFER)
    ]
    assert [(one.path, one.verdict.value) for one in report.findings] == [
        ("copied", "changed_during_transfer")
    ]
    assert "copied" not in made.right.paths()
    assert made.clock.sleeps == [0.2, 0.4]


def test_a_killed_execution_is_taken_up_without_copying_twice(tmp_path: Path) -> None:
    """The same plan again: what an earlier attempt got done counts as done."""
    made = _rig(tmp_path)
    made.plan()
    first = made.apply()
    second = made.apply()
    outcomes = made.outcomes(second)
    stale = {(one.kind, one.path) for one in outcomes if one.status is not OutcomeStatus.DONE}
    assert first.execution.exit_code == ExitCode.DONE
    assert stale == set()
    notes = {
        one.note for one in outcomes if one.kind in (ActionKind.COPY, ActionKind.REPLACE, ActionKind.LINK)
    }
    assert notes == {"already as planned"}
    assert {one.note for one in outcomes if one.kind is ActionKind.DELETE} == {"already gone"}
    assert second.counters.bytes_transferred == 0


def test_a_plan_for_another_configuration_is_refused(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    made.plan()
    made.task = make_task(TaskOptions())
    before = made.right.snapshot()
    with pytest.raises(PlanFileError, match="was made for another configuration") as refusal:
        made.apply()
    assert refusal.value.remedy is not None and "sync-runner plan t" in refusal.value.remedy
    made.task = make_task(OPTIONS, name="u")
    with pytest.raises(PlanFileError, match="does not declare"):
        made.apply()
    assert made.right.snapshot() == before


def test_a_plan_for_another_disk_is_refused(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    made.plan()
    made.right.identity = "another disk"
    before = made.right.snapshot()
    with pytest.raises(PlanFileError, match="the destination is not the one the plan was made for"):
        made.apply()
    assert made.right.snapshot() == before


def test_a_refusing_guard_stops_before_the_first_write(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    made.task = make_task(OPTIONS, guards=Guards(max_deletions=Limit(count=1)))
    before = made.right.snapshot()
    report = made.run()
    assert report.execution.exit_code == ExitCode.GUARD_REFUSED
    assert report.execution.status is Phase.ERROR
    assert [verdict.guard for verdict in report.guards if not verdict.accepted] == ["max_deletions"]
    assert made.right.snapshot() == before
    counters = report.counters
    assert balance(counters) == counters.listed
    assert counters.transferred == Counts()
    made.plan()
    assert made.apply().execution.exit_code == ExitCode.GUARD_REFUSED
    assert made.right.snapshot() == before
    made.accept = frozenset({"max_deletions"})
    assert made.apply().execution.exit_code == ExitCode.DONE


def test_what_a_later_run_would_meet(tmp_path: Path) -> None:
    """The past is remembered: another disk and other filters are refused, until they are accepted."""
    made = _rig(tmp_path)
    made.task = make_task(OPTIONS, guards=Guards(max_deletions=Limit()))
    assert made.run().execution.exit_code == ExitCode.DONE
    made.left.identity = "another disk"
    report = made.run()
    assert report.execution.exit_code == ExitCode.GUARD_REFUSED
    assert [verdict.guard for verdict in report.guards] == ["source_changed"]
    made.left.identity = "l"
    for path in made.left.paths():
        if "/" not in path.rstrip("/"):
            made.left.delete(path)
    report = made.run()
    assert [verdict.guard for verdict in report.guards] == ["source_emptied"]
    assert report.execution.exit_code == ExitCode.GUARD_REFUSED


def test_a_full_destination_stops_the_rest(tmp_path: Path) -> None:
    files = {f"f{number:02d}": b"x" for number in range(20)}
    made = rig(tmp_path, tree(files).memory(), tree({"extra": b""}).memory(), OPTIONS, guards=NO_GUARDS)
    script = FaultScript([raises("put", EntryCode.NO_SPACE, path="f05")])
    made.scripts = {"right": script}
    report = made.run()
    script.assert_all_fired()
    statuses = [one.status for one in sorted(made.outcomes(report), key=lambda one: one.action_id)]
    done, failed, cancelled = OutcomeStatus.DONE, OutcomeStatus.FAILED, OutcomeStatus.CANCELLED
    # Twenty copies, then the extra and the root's time.
    assert statuses == [done] * 5 + [failed] + [cancelled] * 16
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
    assert (report.counters.transferred.files, report.counters.failed.files) == (5, 15)
    assert balance(report.counters) == report.counters.listed
    assert "extra" in made.right.paths()
    again = made.run()
    assert again.execution.exit_code == ExitCode.DONE
    assert (again.counters.transferred.files, again.counters.skipped.files) == (15, 5)


@pytest.mark.parametrize("level", [1, 2])
def test_cancelling(tmp_path: Path, level: int) -> None:
    """Once: the file in flight is finished. Twice: it is undone. What was not begun is cancelled and counted."""
    files = {f"f{number:02d}": b"x" * 10 for number in range(20)}
    made = rig(tmp_path, tree(files).memory(), tree({}).memory(), OPTIONS)

    def cancel() -> None:
        for _ in range(level):
            made.cancellation.request()

    script = FaultScript([meanwhile("read", cancel, path="f03")])
    made.scripts = {"left": script}
    report = made.run()
    script.assert_all_fired()
    assert report.execution.exit_code == ExitCode.INTERRUPTED
    assert report.execution.status is Phase.CANCELLED
    done = 4 if level == 1 else 3
    assert made.right.paths() == [f"f{number:02d}" for number in range(done)]
    assert (report.counters.transferred.files, report.counters.failed.files) == (done, 20 - done)
    assert balance(report.counters) == report.counters.listed
    assert [timing.phase.value for timing in report.phases] == ["LAUNCHING", "PREPARING", "TRANSFERRING"]
    assert {one.status for one in made.outcomes(report)} == {OutcomeStatus.DONE, OutcomeStatus.CANCELLED}


def test_cancelling_while_listing_writes_nothing(tmp_path: Path) -> None:
    made = rig(tmp_path, tree({"a": b"x"}).memory(), tree({}).memory(), OPTIONS)
    made.cancellation.request()
    report = made.run()
    assert report.execution.exit_code == ExitCode.INTERRUPTED
    assert made.right.paths() == []
    assert balance(report.counters) == report.counters.listed


def test_a_vanished_source_file(tmp_path: Path) -> None:
    made = rig(tmp_path, tree({"a": b"x", "b": b"y"}).memory(), tree({}).memory(), OPTIONS)
    script = FaultScript([meanwhile("read", lambda: made.left.delete("a"), path="a")])
    made.scripts = {"left": script}
    report = made.run()
    script.assert_all_fired()
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
    assert [(one.path, one.code) for one in report.problems] == [("a", EntryCode.NOT_FOUND)]
    assert made.right.paths() == ["b"]


def test_a_destination_that_is_missing_is_made(tmp_path: Path) -> None:
    left = tree({"a/b": b"x", "c": b"y"}).memory()
    made = rig(tmp_path, left, MemoryTree(exists=False), OPTIONS)
    report = made.run()
    assert (report.execution.exit_code, report.problems, report.findings) == (ExitCode.DONE, (), ())
    assert made.right.snapshot() == left.snapshot()
    made.plan()
    assert made.actions() == []


def test_a_missing_source_is_no_empty_source(tmp_path: Path) -> None:
    made = rig(tmp_path, MemoryTree(exists=False), tree({"a": b"x"}).memory(), OPTIONS)
    report = made.run()
    assert report.execution.exit_code == ExitCode.LOCATION_UNAVAILABLE
    assert made.right.paths() == ["a"]


def test_bytes_that_go_bad_at_the_destination_are_found(tmp_path: Path) -> None:
    for mode in (VerifyMode.ONLY_FILES_TRANSFERRED, VerifyMode.POINT_IN_TIME_CONSISTENT):
        options = msgspec.structs.replace(OPTIONS, verify_mode=mode)
        made = rig(tmp_path, tree({"a": b"x", "b": b"y"}).memory(), tree({}).memory(), options)
        script = FaultScript([flips("put", path="a")])
        made.scripts = {"right": script}
        report = made.run()
        script.assert_all_fired()
        assert report.execution.exit_code == ExitCode.VERIFICATION_FAILED
        assert [(one.path, one.verdict.value) for one in report.findings] == [("a", "checksum_failure")]
        counters = report.counters
        assert (counters.verified.files, counters.failed_verify.files) == (1, 1)
        assert balance(counters) == counters.listed
