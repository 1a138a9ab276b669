"""verify stands alone: reads everything, changes nothing, and its counters add up."""

from __future__ import annotations

from pathlib import Path

from engine_support import balance, frozen, rig

from runner.errors import EntryCode, ExitCode
from runner.model.execution import Counts
from runner.model.task import DeletedFiles, FilterSettings, MetadataOptions, TaskOptions, VerifyMode
from runner.testing.faults import FaultScript, not_listed, raises
from runner.testing.trees import File, tree

SAME = {"a": b"x", "d/b": b"y", "d/c": File(b"z", mtime_ns=3)}


def test_equal_trees(tmp_path: Path) -> None:
    made = rig(tmp_path, tree(SAME).memory(), tree(SAME).memory())
    before = frozen(made.left), frozen(made.right)
    report = made.verify()
    assert (report.execution.exit_code, report.findings, report.problems) == (ExitCode.DONE, (), ())
    assert (report.counters.verified, report.counters.bytes_verified) == (Counts(3, 2), 3)
    assert balance(report.counters) == report.counters.listed
    assert (frozen(made.left), frozen(made.right)) == before


def test_differences_are_findings_each_counted_once(tmp_path: Path) -> None:
    right = {"a": b"X", "d/b": File(b"y", mode=0o600), "more": b""}
    made = rig(tmp_path, tree(SAME).memory(), tree(right).memory())
    before = frozen(made.right)
    report = made.verify()
    assert report.execution.exit_code == ExitCode.VERIFICATION_FAILED
    assert {one.path: one.verdict.value for one in report.findings} == {
        "a": "checksum_failure",
        "d/b": "metadata_failure",
        "d/c": "file_removed",
        "more": "file_added",
    }
    assert (report.counters.verified, report.counters.failed_verify) == (Counts(0, 2), Counts(4, 0))
    assert balance(report.counters) == report.counters.listed
    assert frozen(made.right) == before


def test_filters_hold(tmp_path: Path) -> None:
    left, right = tree({"a": b"x", "skip.tmp": b"1"}).memory(), tree({"a": b"x", "more.tmp": b"2"}).memory()
    made = rig(tmp_path, left, right, filters=FilterSettings(exclude=("*.tmp",)))
    report = made.verify()
    assert (report.execution.exit_code, report.findings) == (ExitCode.DONE, ())
    assert report.counters.excluded == Counts(1, 0)
    assert balance(report.counters) == report.counters.listed


def test_what_could_not_be_listed_is_no_finding_but_a_problem(tmp_path: Path) -> None:
    made = rig(tmp_path, tree(SAME).memory(), tree(SAME).memory())
    made.scripts = {"left": FaultScript([not_listed("d/")])}
    report = made.verify()
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
    assert [(one.path, one.code) for one in report.problems] == [("d/", EntryCode.NOT_LISTED)]
    assert report.findings == ()
    assert balance(report.counters) == report.counters.listed


def test_times_that_are_not_carried_are_not_compared(tmp_path: Path) -> None:
    options = TaskOptions(
        metadata=MetadataOptions(mtime=False), verify_mode=VerifyMode.POINT_IN_TIME_CONSISTENT
    )
    made = rig(tmp_path, tree({"a": File(b"x", mtime_ns=3)}).memory(), tree({}).memory(), options)
    report = made.run()
    assert (report.execution.exit_code, report.findings) == (ExitCode.DONE, ())
    assert made.right.node("a").mtime_ns != 3
    assert made.verify().findings == ()
    made.plan()
    assert made.actions() == []


def test_locked_and_unreadable_files_come_back_as_verification_errors(tmp_path: Path) -> None:
    made = rig(tmp_path, tree({"a": b"x", "b": b"y", "c": b"z"}).memory(), tree({}).memory())
    script = FaultScript(
        [
            raises("read", EntryCode.LOCKED, path="a", times=None),
            raises("read", EntryCode.PERMISSION_DENIED, path="b", times=None),
        ]
    )
    made.scripts = {"left": script}
    report = made.run()
    script.assert_all_fired()
    assert {one.path: one.verdict.value for one in report.findings} == {"a": "locked", "b": "unreadable"}
    assert {one.path: one.code.value for one in report.problems} == {"a": "locked", "b": "permission_denied"}
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
    assert report.counters.transferred == Counts(1, 0)
    assert balance(report.counters) == report.counters.listed


def test_point_in_time_allows_what_the_task_keeps(tmp_path: Path) -> None:
    options = TaskOptions(verify_mode=VerifyMode.POINT_IN_TIME_CONSISTENT)
    made = rig(tmp_path, tree({"a": b"x"}).memory(), tree({"extra": b""}).memory(), options)
    assert made.run().findings == ()
    # Alone, it compares both sides as they are.
    assert [(one.path, one.verdict.value) for one in made.verify().findings] == [("extra", "file_added")]
    options = TaskOptions(
        verify_mode=VerifyMode.POINT_IN_TIME_CONSISTENT, preserve_deleted_files=DeletedFiles.REMOVE
    )
    made = rig(tmp_path, tree({"a": b"x", "d/": {}}).memory(), tree({"d/x": b""}).memory(), options)
    made.scripts = {"left": FaultScript([not_listed("d/")])}
    report = made.run()
    # Nothing is deleted after an incomplete listing: what is left standing is no finding then.
    assert report.findings == ()
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
