"""What a verification found wrong is compared by content until a run has looked at it and ended well."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec
import pytest
from engine_support import NO_GUARDS, Rig, make_task, rig

from runner.errors import EntryCode, ExitCode, StateUnavailableError
from runner.execution.doubts import doubted_by, read_doubts
from runner.model.action import ActionKind, Finding, Verdict
from runner.model.difference import Reason
from runner.model.task import FilterSettings, OverwriteMode, TaskOptions, VerifyMode
from runner.testing.faults import FaultScript, flips, raises
from runner.testing.trees import File, tree

FILES = {"a": b"good", "d/b": b"good", "d/c": b"good"}


def _damaged(tmp_path: Path, options: TaskOptions | None = None) -> Rig:
    """A copy whose `d/b` has the right size and time, and another content."""
    made = rig(tmp_path, tree(FILES).memory(), tree(FILES).memory(), options or TaskOptions())
    made.right.write("d/b", b"evil", mtime_ns=made.right.node("d/b").mtime_ns)
    return made


def _doubts(made: Rig) -> set[str]:
    return set(read_doubts(made.context.state, made.task.name))


def test_a_run_repairs_what_a_verification_found(tmp_path: Path) -> None:
    made = _damaged(tmp_path)
    assert made.run().execution.exit_code == ExitCode.DONE  # size and time are equal: nothing to see
    assert made.right.node("d/b").content == b"evil"
    assert made.verify().execution.exit_code == ExitCode.VERIFICATION_FAILED
    made.plan()
    changing = [action for action in made.actions() if not action.is_housekeeping]
    assert [(one.path, one.kind, one.reasons) for one in changing] == [
        ("d/b", ActionKind.REPLACE, (Reason.DIGEST,))
    ]
    assert made.run().execution.exit_code == ExitCode.DONE
    assert made.right.node("d/b").content == b"good"
    assert _doubts(made) == set()
    assert made.verify().execution.exit_code == ExitCode.DONE


@pytest.mark.parametrize("mode", [VerifyMode.ONLY_FILES_TRANSFERRED, VerifyMode.POINT_IN_TIME_CONSISTENT])
def test_a_run_repairs_what_the_run_before_found(tmp_path: Path, mode: VerifyMode) -> None:
    made = rig(tmp_path, tree(FILES).memory(), tree({}).memory(), TaskOptions(verify_mode=mode))
    made.scripts = {"right": FaultScript([flips("put", path="a")])}
    assert made.run().execution.exit_code == ExitCode.VERIFICATION_FAILED
    made.scripts = {}
    assert made.run().execution.exit_code == ExitCode.DONE
    assert {path: made.right.node(path).content for path in FILES} == FILES


def test_a_doubt_about_what_is_equal_costs_a_look_and_no_copy(tmp_path: Path) -> None:
    made = rig(tmp_path, tree(FILES).memory(), tree(FILES).memory())
    made.scripts = {"right": FaultScript([raises("digest", EntryCode.LOCKED, path="a", times=None)])}
    assert made.verify().execution.exit_code == ExitCode.VERIFICATION_FAILED
    made.scripts = {}
    assert _doubts(made) == {"a"}
    report = made.run()
    assert (report.execution.exit_code, report.counters.transferred.files) == (ExitCode.DONE, 0)
    assert _doubts(made) == set()


def test_what_cannot_be_read_does_not_end_well(tmp_path: Path) -> None:
    made = _damaged(tmp_path)
    made.verify()
    made.scripts = {
        "right": FaultScript([raises("digest", EntryCode.PERMISSION_DENIED, path="d/b", times=None)])
    }
    report = made.run()
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
    assert [(one.path, one.code) for one in report.problems] == [("d/b", EntryCode.PERMISSION_DENIED)]
    assert _doubts(made) == {"d/b"}


def test_a_run_that_does_not_end_well_clears_nothing(tmp_path: Path) -> None:
    made = _damaged(tmp_path)
    made.verify()
    made.left.write("new", b"x")
    made.scripts = {
        "right": FaultScript([raises("put", EntryCode.PERMISSION_DENIED, path="d/b", times=None)])
    }
    assert made.run().execution.exit_code == ExitCode.ACTIONS_FAILED
    assert _doubts(made) == {"d/b"}
    made.scripts = {}
    assert made.run().execution.exit_code == ExitCode.DONE
    assert (made.right.node("d/b").content, _doubts(made)) == (b"good", set())


def test_a_plan_from_before_clears_nothing(tmp_path: Path) -> None:
    made = _damaged(tmp_path)
    made.left.write("new", b"x")
    made.plan()
    made.verify()
    assert made.apply().execution.exit_code == ExitCode.DONE
    assert (made.right.node("d/b").content, _doubts(made)) == (b"evil", {"d/b"})


@pytest.mark.parametrize("filters", [FilterSettings(exclude=("/d/",)), FilterSettings(min_size_bytes=5)])
def test_what_the_filters_leave_out_stays_in_doubt(tmp_path: Path, filters: FilterSettings) -> None:
    made = _damaged(tmp_path)
    made.verify()
    whole = made.task
    made.task = make_task(TaskOptions(), filters, NO_GUARDS)
    assert made.run().execution.exit_code == ExitCode.DONE
    assert _doubts(made) == {"d/b"}
    made.task = whole
    assert made.run().execution.exit_code == ExitCode.DONE
    assert (made.right.node("d/b").content, _doubts(made)) == (b"good", set())


def test_what_may_not_be_overwritten_is_kept(tmp_path: Path) -> None:
    made = _damaged(tmp_path, TaskOptions(overwrite_mode=OverwriteMode.NEVER))
    made.verify()
    assert made.run().counters.transferred.files == 0
    assert made.right.node("d/b").content == b"evil"


def test_a_file_that_is_gone_is_in_doubt_no_more(tmp_path: Path) -> None:
    made = _damaged(tmp_path)
    made.verify()
    made.left.delete("d/b")
    assert made.run().execution.exit_code == ExitCode.DONE
    assert _doubts(made) == set()


def test_explain_says_why_content_is_compared(tmp_path: Path) -> None:
    made = _damaged(tmp_path)
    made.verify()
    told = made.explain("d/b")
    assert any("verification doubted it" in step.question for step in told.steps)
    assert told.action is not None
    assert not any("doubted" in step.question for step in made.explain("a").steps)


def test_names_that_are_no_text_are_kept_as_they_are(tmp_path: Path) -> None:
    files = {"b\udcff": File(b"good", mtime_ns=7), "ä": File(b"good", mtime_ns=7)}
    made = rig(tmp_path, tree(files).memory(), tree(files).memory())
    for path in files:
        made.right.write(path, b"evil", mtime_ns=7)
    made.verify()
    assert _doubts(made) == set(files)
    assert made.run().execution.exit_code == ExitCode.DONE
    assert {made.right.node(path).content for path in files} == {b"good"}


def test_a_damaged_list_stops_the_run_and_says_what_to_do(tmp_path: Path) -> None:
    made = _damaged(tmp_path)
    made.verify()
    path = made.context.state.task_file("t", ".doubts.json")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    Path(path).write_bytes(b"{half")
    with pytest.raises(StateUnavailableError) as caught:
        made.plan()
    assert path in caught.value.message
    assert "sync-runner verify t" in (caught.value.remedy or "")
    report = made.run()
    assert report.execution.exit_code == ExitCode.LOCATION_UNAVAILABLE
    assert made.right.node("d/b").content == b"evil"


def test_without_doubts_nothing_is_written(tmp_path: Path) -> None:
    made = rig(tmp_path, tree(FILES).memory(), tree({}).memory())
    made.run()
    made.verify()
    assert not [name for name in os.listdir(made.context.state.tasks_folder) if "doubts" in name]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_which_verdicts_leave_content_open(verdict: Verdict) -> None:
    open_ones = {
        Verdict.CHECKSUM_FAILURE,
        Verdict.UNREADABLE,
        Verdict.LOCKED,
        Verdict.CHANGED_DURING_TRANSFER,
    }
    findings = [Finding("f", verdict), msgspec.structs.replace(Finding("d/", verdict))]
    assert doubted_by(findings) == ({"f"} if verdict in open_ones else set())
