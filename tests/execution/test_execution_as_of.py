"""restore --as-of through whole executions: what stood at a moment, whatever happened since."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from engine_support import Rig, rig
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import ExitCode, UsageError
from runner.model.task import DeletedFiles, TaskOptions
from runner.pipeline import restore
from runner.testing.trees import tree

OPTIONS = TaskOptions(preserve_deleted_files=DeletedFiles.QUARANTINE, quarantine_keep_days=2.0)
NAMES = ["a", "b", "d/x", "d/y", "a/z"]


def _rig(folder: Path) -> Rig:
    made = rig(folder, tree({"stays": b"s"}).memory(), tree({}).memory(), OPTIONS)
    made.run()
    return made


def _files(made: Rig) -> dict[str, bytes]:
    return {
        path: node.content
        for path in made.right.paths()
        if not path.startswith(".sync-runner-quarantine/")
        and not path.endswith("/")
        and path
        and (node := made.right.node(path)).content is not None
    }


def _moments(made: Rig, *steps: dict[str, bytes | None]) -> list[timedelta]:
    """Carry out each step at the source (None removes), run, and let a minute pass."""
    moments = []
    for step in steps:
        for path, content in step.items():
            if content is None:
                made.left.delete(path)
            else:
                made.left.write(path, content)
        made.run()
        made.clock.advance(30)
        moments.append(made.clock.now())
        made.clock.advance(30)
    return moments  # type: ignore[return-value]


def test_each_version_comes_back_from_its_own_time(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    first, _, second, _, third, _ = _moments(
        made, {"a": b"1"}, {"a": None}, {"a": b"22"}, {"a": None}, {"a": b"333"}, {"a": None}
    )
    for moment, content in ((second, b"22"), (first, b"1"), (third, b"333")):
        listed = restore(made.task, made.context, None, [], True, moment)
        assert (listed.entries, listed.restored, listed.problems) == (("a",), 0, ())
        result = restore(made.task, made.context, None, [], False, moment)
        assert (result.entries, result.executions, result.problems) == (("a",), listed.executions, ())
        assert _files(made) == {"stays": b"s", "a": content}
        # Once more: it stands there, and is not in quarantine any more; another version does not take its place.
        assert restore(made.task, made.context, None, [], False, moment).restored == 0
        assert _files(made)["a"] == content
        made.right.delete("a")


def test_what_was_replaced_or_purged_since_is_named(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    first, second, _ = _moments(made, {"a": b"1", "b": b"b"}, {"a": b"22"}, {"a": None, "b": None})
    result = restore(made.task, made.context, None, [], True, first)
    assert result.entries == ("b",)
    assert [problem.path for problem in result.problems] == ["a"]
    assert "was replaced after that moment" in result.problems[0].message
    assert set(restore(made.task, made.context, None, [], True, second).entries) == {"a", "b"}
    missing = restore(made.task, made.context, None, ["stays"], True, first)
    assert (missing.entries, [problem.path for problem in missing.problems]) == ((), ["stays"])
    made.clock.advance(3 * 86_400)
    made.run()
    gone = restore(made.task, made.context, None, [], False, second)
    assert (gone.restored, len(gone.problems)) == (0, 1)
    assert "was purged, which began at" in gone.problems[0].message


def test_moments_that_say_nothing_are_refused(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    now = made.clock.now()
    with pytest.raises(UsageError, match="has not come yet"):
        restore(made.task, made.context, None, [], True, now + timedelta(hours=1))
    (execution,) = os.listdir(made.context.state.executions_folder)
    file = Path(made.context.state.execution_folder(execution)) / "report.json"
    report = json.loads(file.read_text())
    ended = (now + timedelta(seconds=20)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    report["execution"]["ended_at"] = ended
    file.write_text(json.dumps(report))
    made.clock.advance(60)
    with pytest.raises(UsageError, match=f"execution {execution} was changing the destination") as refusal:
        restore(made.task, made.context, None, [], True, now + timedelta(seconds=10))
    assert refusal.value.remedy is not None and ended in refusal.value.remedy
    assert restore(made.task, made.context, None, [], True, now + timedelta(seconds=30)).entries == ()


def _reported(made: Rig, execution: str) -> Path:
    return Path(made.context.state.execution_folder(execution)) / "report.json"


def test_what_has_no_report_may_have_been_at_work_and_is_named(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    _, moment = _moments(made, {"a": b"1"}, {"a": None})
    execution = max(os.listdir(made.context.state.executions_folder))
    _reported(made, execution).unlink()
    result = restore(made.task, made.context, None, [], False, moment)
    assert (result.restored, len(result.problems)) == (0, 1)
    assert f"execution {execution}, which began at" in result.problems[0].message
    assert f"comes back with --execution {execution}" in result.problems[0].message
    # A run that was begun after it and ended before the moment says that it had ended.
    made.run()
    made.clock.advance(30)
    assert restore(made.task, made.context, None, [], False, made.clock.now()).problems == ()
    assert restore(made.task, made.context, execution, [], False).entries == ("a",)


def test_what_came_and_went_while_another_was_at_work_does_not_hide_it(tmp_path: Path) -> None:
    made = _rig(tmp_path)
    made.clock.advance(30)
    report = made.run()
    execution = report.execution.execution_id
    made.clock.advance(10)
    made.verify()
    made.clock.advance(10)
    moment = made.clock.now()
    file = _reported(made, execution)
    changed = json.loads(file.read_text())
    changed["execution"]["ended_at"] = (moment + timedelta(seconds=10)).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    file.write_text(json.dumps(changed))
    made.clock.advance(60)
    with pytest.raises(UsageError, match=f"execution {execution} was changing the destination"):
        restore(made.task, made.context, None, [], True, moment)


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(
        st.dictionaries(st.sampled_from(NAMES), st.booleans(), max_size=3), min_size=2, max_size=6
    ),
    chosen=st.integers(0, 5),
)
def test_what_was_removed_first_comes_back_and_nothing_else_changes(
    steps: list[dict[str, bool]], chosen: int
) -> None:
    """Against all that stood after each run: a path that was removed before anything else happened to it is back."""
    folder = Path(tempfile.mkdtemp())
    try:
        made = _rig(folder)
        moments, seen = [], []
        for number, step in enumerate(steps):
            for path, there in step.items():
                if there:
                    for above in [name for name in NAMES if path.startswith(name + "/") and _has(made, name)]:
                        made.left.delete(above)
                    if path == "a" and _has(made, "a/z"):
                        made.left.delete("a/z")
                    if path == "a" and _has(made, "a/"):
                        made.left.delete("a/")
                    made.left.write(path, path.encode() + b"." * (number + 1))
                elif _has(made, path):
                    made.left.delete(path)
            report = made.run()
            assert report.execution.exit_code == ExitCode.DONE, report.problems
            made.clock.advance(30)
            moments.append(made.clock.now())
            seen.append(_files(made))
            made.clock.advance(30)
        index = min(chosen, len(steps) - 1)
        then, now = seen[index], seen[-1]
        expected = dict(now)
        for path, content in then.items():
            later = [one.get(path) for one in seen[index + 1 :]]
            changed = [found for found in later if found != content]
            occupied = any(one.startswith(path + "/") or path.startswith(one + "/") for one in now)
            if path not in now and changed and changed[0] is None and not occupied:
                expected[path] = content
        result = restore(made.task, made.context, None, [], False, moments[index])
        after = _files(made)
        lost_to_a_folder = {
            path
            for path in expected.keys() - after.keys()
            if any(one.startswith(path + "/") for state in seen[index:] for one in state)
        }
        assert {path: content for path, content in expected.items() if path not in lost_to_a_folder} == after
        assert set(result.entries) >= after.keys() - now.keys()
    finally:
        shutil.rmtree(folder)


def _has(made: Rig, path: str) -> bool:
    return path in made.left.paths()
