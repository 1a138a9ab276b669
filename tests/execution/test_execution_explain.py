"""explain says what the planner does, for every path of random trees; a plan file shows what its making showed."""

from __future__ import annotations

import tempfile

import msgspec
from engine_support import changing, declared_trees, memory_of, rig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_execution_options import filter_sets, option_sets

from runner.model.action import Action
from runner.model.task import DeletedFiles, FilterSettings, OverwriteMode, TaskOptions
from runner.pipeline import read_plan_summary
from runner.testing.faults import FaultScript, not_listed
from runner.testing.memory_tree import MTIME_BASE_NS
from runner.testing.trees import Declared, File, tree

IDLE = ("Nothing happens", "It cannot be handled", "Only its times are restored")


def _without_ids(actions: tuple[Action, ...] | list[Action]) -> list[Action]:
    return [msgspec.structs.replace(action, id=0) for action in actions]


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(declared_trees(6), declared_trees(6), option_sets, filter_sets, st.booleans())
def test_explain_agrees_with_the_planner(
    left: dict[str, Declared],
    right: dict[str, Declared],
    options: TaskOptions,
    filters: FilterSettings,
    closed: bool,
) -> None:
    with tempfile.TemporaryDirectory() as state:
        made = rig(state, memory_of(left, "l"), memory_of(right, "r", 3), options, filters)
        if closed:
            made.scripts = {"left": FaultScript([not_listed("a/")])}
        summary = made.plan()
        actions = _without_ids(changing(made.actions()))
        for path in sorted({*made.left.paths(), *made.right.paths(), "", "nowhere"}):
            explanation = made.explain(path)
            planned = [action for action in actions if action.path == path]
            found = explanation.action
            if found is not None and found.is_housekeeping:
                assert planned == []
                assert explanation.verdict.startswith("Only its times are restored")
            elif found is not None and found.path != path:
                # Nothing for this very path, but for its twin: a file that takes a folder's place, or the reverse.
                assert planned == []
                assert found.path.rstrip("/") == path.rstrip("/")
                assert found in actions
            else:
                assert planned == ([] if found is None else [found])
            assert explanation.verdict.startswith(IDLE) == (found is None or found.is_housekeeping)
            assert sum(step.decided for step in explanation.steps) <= 1 or found is None
        shown = read_plan_summary(made.plan_path)
        assert _without_ids(shown.largest) == list(summary.largest)
        assert _without_ids(shown.first) == list(summary.first)


def test_a_path_may_be_named_in_many_ways(tmp_path: object) -> None:
    made = rig(tmp_path, tree({"a/b": b"x"}).memory(), tree({}).memory())
    verdicts = {made.explain(path).verdict for path in ("a/b", "./a/b", "/a/b", "//a/b")}
    assert verdicts == {"It is copied: it is missing at the destination."}
    verdicts = {made.explain(path).verdict for path in ("a", "a/", "./a/")}
    assert verdicts == {"The folder is created: it is missing at the destination."}


def test_the_questions_that_settled_it(tmp_path: object) -> None:
    left = tree({"same": b"x", "kept.tmp": b"x", "newer": File(b"x", mtime_ns=1)}).memory()
    right = tree(
        {"same": b"x", "kept.tmp": b"y", "newer": File(b"y", mtime_ns=MTIME_BASE_NS), "extra": b""}
    ).memory()
    options = TaskOptions(overwrite_mode=OverwriteMode.IF_NEWER)
    made = rig(tmp_path, left, right, options, FilterSettings(exclude=("*.tmp",)))
    decided = {
        path: [(step.question, step.answer) for step in made.explain(path).steps if step.decided]
        for path in ("same", "kept.tmp", "newer", "extra", "nowhere")
    }
    assert decided == {
        "same": [("Does it differ (compare: size+mtime)?", "no: everything that is compared is equal")],
        "kept.tmp": [("Do the filters let it in?", 'no: exclude "*.tmp"')],
        "newer": [("May it be written?", "overwrite_mode: if_newer keeps it")],
        "extra": [("May what the source has not be removed?", "no: preserve_deleted_files: preserve")],
        "nowhere": [],
    }


def test_what_could_not_be_listed_is_said(tmp_path: object) -> None:
    options = TaskOptions(preserve_deleted_files=DeletedFiles.REMOVE)
    made = rig(tmp_path, tree({"a/": {}}).memory(), tree({"a/": {}, "a/x": b"", "b": b""}).memory(), options)
    made.scripts = {"left": FaultScript([not_listed("a/")])}
    assert made.explain("a/x").problem is not None
    assert made.explain("a/x").verdict.startswith("It cannot be handled")
    assert made.explain("b").verdict == (
        "Nothing happens: not in this run: something could not be listed, so nothing is deleted."
    )
