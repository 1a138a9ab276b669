"""apply(plan(a, b), b) makes b equal a, a second plan is empty, and the counters add up."""

from __future__ import annotations

import tempfile

import msgspec
from engine_support import (
    balance,
    declared_trees,
    frozen,
    memory_of,
    planned_balance,
    rig,
    with_options,
    without_quarantine,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import ExitCode
from runner.model.action import Verdict
from runner.model.task import (
    Compare,
    DeletedFiles,
    TaskOptions,
    VerifyMode,
)
from runner.testing.memory_tree import Seen
from runner.testing.trees import Declared

SETTINGS = settings(
    max_examples=100,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
EXACT = TaskOptions(
    preserve_deleted_files=DeletedFiles.REMOVE, verify_mode=VerifyMode.POINT_IN_TIME_CONSISTENT
)


@SETTINGS
@given(
    declared_trees(),
    declared_trees(),
    st.sampled_from((DeletedFiles.REMOVE, DeletedFiles.QUARANTINE)),
    st.sampled_from(Compare),
    st.sampled_from(VerifyMode),
    st.booleans(),
)
def test_the_destination_becomes_the_source(
    left: dict[str, Declared],
    right: dict[str, Declared],
    deleted: DeletedFiles,
    compare: Compare,
    verify_mode: VerifyMode,
    reviewed: bool,
) -> None:
    with tempfile.TemporaryDirectory() as state:
        options = with_options(
            EXACT, preserve_deleted_files=deleted, compare=compare, verify_mode=verify_mode
        )
        made = rig(state, memory_of(left, "l"), memory_of(right, "r", 3), options)
        before = frozen(made.left), frozen(made.right)
        summary = made.plan()
        assert (frozen(made.left), frozen(made.right)) == before
        actions = made.actions()
        report = made.apply() if reviewed else made.run()
        assert frozen(made.left) == before[0]
        wanted, present = made.left.snapshot(), without_quarantine(made.right.snapshot())
        if compare is Compare.CHECKSUM:
            assert present == wanted
        assert _but_content(present) == _but_content(wanted)
        assert made.right.node("").mtime_ns == made.left.node("").mtime_ns
        # Equal size and time may hide other content from the comparison, never from reading everything.
        hidden = [path for path in wanted if wanted[path].content != present[path].content]
        found = hidden if verify_mode is VerifyMode.POINT_IN_TIME_CONSISTENT else []
        assert [(one.path, one.verdict) for one in report.findings] == [
            (path, Verdict.CHECKSUM_FAILURE) for path in found
        ]
        assert report.problems == ()
        expected = ExitCode.VERIFICATION_FAILED if found else ExitCode.DONE
        assert report.execution.exit_code == expected
        counters = report.counters
        assert planned_balance(summary.trailer.counters) == summary.trailer.counters.listed
        assert balance(counters) == counters.listed
        assert counters.actions_planned == counters.actions_done == len(actions) == summary.trailer.actions
        again = made.plan()
        assert made.actions() == []
        assert again.trailer.totals.changes == 0


def _but_content(snapshot: dict[str, Seen]) -> dict[str, Seen]:
    return {
        path: msgspec.structs.replace(seen, content=bytes(len(seen.content)))
        for path, seen in snapshot.items()
    }
