"""Recoverable deletions through whole executions: there, back again, and gone in time."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine_support import Rig, frozen, rig, without_quarantine

from runner.errors import EntryCode, ExitCode, UsageError
from runner.model.execution import Counts
from runner.model.task import DeletedFiles, TaskOptions
from runner.pipeline import restore
from runner.testing.faults import FaultScript, raises
from runner.testing.trees import File, Folder, tree

OPTIONS = TaskOptions(preserve_deleted_files=DeletedFiles.QUARANTINE, quarantine_keep_days=2.0)
KEPT = {"kept": b"k", "d/": Folder(mtime_ns=5)}
LOST = {
    "d/lost": File(b"precious", mode=0o600, mtime_ns=7),
    "gone/": Folder(mode=0o500, mtime_ns=8),
    "gone/x": b"x",
}


def _rig(tmp_path: Path) -> Rig:
    return rig(tmp_path, tree(KEPT).memory(), tree({**KEPT, **LOST}).memory(), OPTIONS)


def _quarantined(made: Rig) -> list[str]:
    return [path for path in made.right.paths() if path.startswith(".sync-runner-quarantine/")]


def test_what_was_deleted_comes_back_as_it_was(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    before = made.right.snapshot()
    report = made.run()
    assert report.execution.exit_code == ExitCode.DONE
    assert (report.counters.quarantined, report.counters.deleted) == (Counts(2, 1), Counts())
    assert without_quarantine(made.right.snapshot()) == made.left.snapshot()
    result = restore(made.task, made.context, None, [], list_only=True)
    assert (result.execution, result.restored) == (report.execution.execution_id, 0)
    assert result.entries == ("d/", "d/lost", "gone/", "gone/x")
    result = restore(made.task, made.context, "latest", [], list_only=False)
    assert (result.entries, result.restored, result.problems) == (("d/lost", "gone/", "gone/x"), 3, ())
    found = made.right.snapshot()
    for path in LOST:
        assert found[path] == before[path]
    assert _quarantined(made) == [".sync-runner-quarantine/"]


def test_some_of_it_by_its_path(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    made.run()
    assert restore(made.task, made.context, None, ["d"], list_only=False).entries == ("d/lost",)
    missing = restore(made.task, made.context, None, ["nothing"], list_only=False)
    assert (missing.entries, [problem.path for problem in missing.problems]) == ((), ["nothing"])
    assert "has no nothing in quarantine; `restore TASK --list`" in missing.problems[0].message
    assert restore(made.task, made.context, None, ["gone/x"], list_only=False).entries == ("gone/x",)


def test_what_cannot_be_restored_says_so(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    with pytest.raises(UsageError, match="nothing of task 't' is in quarantine"):
        restore(made.task, made.context, None, [], list_only=False)
    report = made.run()
    with pytest.raises(UsageError, match="'000000000001' has nothing in quarantine") as refusal:
        restore(made.task, made.context, "000000000001", [], list_only=False)
    assert refusal.value.remedy == f"These have: {report.execution.execution_id}"
    made.right.write("d/lost", b"another one")
    result = restore(made.task, made.context, None, [], list_only=False)
    assert [problem.path for problem in result.problems] == ["d/lost"]
    assert made.right.node("d/lost").content == b"another one"


def test_the_quarantine_is_purged_by_a_later_run_when_its_time_is_over(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    first = made.run().execution.execution_id
    made.clock.advance(86_400)
    made.right.write("late", b"x")
    second = made.run().execution.execution_id
    assert [path for path in _quarantined(made) if first in path and path.endswith("x")] != []
    made.clock.advance(86_400 + 60)
    assert made.run().execution.exit_code == ExitCode.DONE
    assert [path for path in _quarantined(made) if first in path] == [f".sync-runner-quarantine/{first}.json"]
    assert [path for path in _quarantined(made) if second in path] != []
    with pytest.raises(
        UsageError, match=f"what execution '{first}' moved to quarantine was purged at"
    ) as refusal:
        restore(made.task, made.context, first, [], list_only=False)
    assert "from a backup alone" in str(refusal.value.remedy) and second in str(refusal.value.remedy)
    made.plan()
    assert made.actions() == []


def test_a_run_sees_nothing_of_the_quarantine(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    made.run()
    before = frozen(made.right)
    report = made.run()
    assert (report.counters.actions_planned, report.execution.exit_code) == (0, ExitCode.DONE)
    assert frozen(made.right) == before
    assert made.verify().findings == ()


def test_nothing_left_in_quarantine_says_that_it_was_purged(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    made.run()
    made.clock.advance(2 * 86_400 + 60)
    made.run()
    with pytest.raises(UsageError, match="nothing of task 't' is in quarantine") as refusal:
        restore(made.task, made.context, None, [], list_only=False)
    assert "was purged, of execution" in str(refusal.value.remedy)


def test_what_the_source_has_again_outlives_its_time_while_the_destination_lacks_it(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    first = made.run().execution.execution_id
    made.left.write("d/lost", b"back again")
    made.clock.advance(2 * 86_400 + 60)
    made.scripts = {"right": FaultScript([raises("put", EntryCode.IO_ERROR, path="d/lost", times=None)])}
    assert made.run().execution.exit_code == ExitCode.ACTIONS_FAILED
    root = f".sync-runner-quarantine/{first}"
    left = [f"{root}.json", f"{root}/", f"{root}/d/", f"{root}/d/lost"]
    assert [path for path in _quarantined(made) if first in path] == left
    made.scripts = {}
    assert made.run().execution.exit_code == ExitCode.DONE
    assert [path for path in _quarantined(made) if first in path] == left[:1]
    assert made.right.node("d/lost").content == b"back again"


def test_a_note_that_cannot_be_written_is_a_problem_and_its_time_begins_later(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    full = FaultScript([raises("put", EntryCode.NO_SPACE, path=".sync-runner-quarantine/*.json", times=None)])
    made.scripts = {"right": full}
    report = made.run()
    full.assert_all_fired()
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
    made.scripts = {}
    made.clock.advance(3 * 86_400)
    made.run()
    assert f".sync-runner-quarantine/{report.execution.execution_id}/d/lost" in _quarantined(made)
    made.clock.advance(2 * 86_400 + 60)
    made.run()
    assert f".sync-runner-quarantine/{report.execution.execution_id}/d/lost" not in _quarantined(made)
