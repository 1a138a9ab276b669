"""For every option set: plans that change nothing, counters that add up, a second plan without actions, and
nothing touched that is to be kept."""

from __future__ import annotations

import tempfile
from collections import Counter

from engine_support import (
    Rig,
    alone,
    balance,
    changing,
    declared_trees,
    frozen,
    memory_of,
    planned_balance,
    rig,
    without_quarantine,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import EntryCode, ExitCode
from runner.filters.selection import Selection
from runner.model.action import ActionKind, OutcomeStatus
from runner.model.entry import Kind
from runner.model.execution import Report
from runner.model.plan import PlanSummary
from runner.model.task import (
    Compare,
    DeletedFiles,
    FilterSettings,
    MetadataOptions,
    OverwriteMode,
    Owner,
    SymlinkMode,
    TaskOptions,
    TransferMode,
    VerifyMode,
)
from runner.testing.faults import FaultScript, not_listed
from runner.testing.memory import MemoryTree
from runner.testing.memory_tree import Seen
from runner.testing.trees import Declared, File, HardLink

SETTINGS = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))

_metadata = st.builds(
    MetadataOptions,
    mtime=st.booleans(),
    mode=st.booleans(),
    xattrs=st.booleans(),
    owner=st.sampled_from((Owner.IDS, Owner.NONE)),
)
option_sets = st.builds(
    TaskOptions,
    transfer_mode=st.sampled_from(TransferMode),
    overwrite_mode=st.sampled_from(OverwriteMode),
    compare=st.sampled_from(Compare),
    preserve_deleted_files=st.sampled_from(DeletedFiles),
    verify_mode=st.sampled_from((VerifyMode.NONE, VerifyMode.ONLY_FILES_TRANSFERRED)),
    symlinks=st.sampled_from((SymlinkMode.PRESERVE, SymlinkMode.SKIP, SymlinkMode.FOLLOW)),
    hard_links=st.booleans(),
    special_files=st.booleans(),
    metadata=_metadata,
)
filter_sets = st.one_of(
    st.just(FilterSettings()),
    st.builds(
        FilterSettings,
        include=st.sampled_from(((), ("/a*",), ("/a", "/b"))),
        exclude=st.sampled_from(((), ("*.txt",), ("/a",), ("a!",))),
        rules=st.sampled_from(((), ("a/",), ("b", "!/b"), ("a-b", "a0"))),
        max_size_bytes=st.sampled_from((None, 0, 1)),
        kinds=st.sampled_from(((), (Kind.FILE,), (Kind.SYMLINK, Kind.FILE))),
        delete_excluded=st.booleans(),
    ),
)

_WRITES = {
    ActionKind.CREATE_DIRECTORY: "folders_to_create",
    ActionKind.COPY: "to_copy",
    ActionKind.REPLACE: "to_replace",
    ActionKind.LINK: "to_link",
    ActionKind.SET_ATTRIBUTES: "to_change_metadata",
    ActionKind.DELETE: "to_delete",
    ActionKind.QUARANTINE: "to_quarantine",
}


def _planned_and_done(made: Rig, summary: PlanSummary, report: Report) -> None:
    """The plan's totals are its actions, each has one outcome, and all were done."""
    actions = made.actions()
    outcomes = made.outcomes(report)
    assert sorted(outcome.action_id for outcome in outcomes) == [action.id for action in actions]
    assert {outcome.status for outcome in outcomes} <= {OutcomeStatus.DONE}
    kinds = Counter(action.kind for action in changing(actions))
    totals = summary.trailer.totals
    assert {kind: getattr(totals, name) for kind, name in _WRITES.items()} == {
        kind: kinds[kind] for kind in _WRITES
    }
    assert totals.folders_to_restore_times == len(actions) - sum(kinds.values())
    assert totals.bytes_to_write == summary.trailer.counters.bytes_planned
    assert report.counters.bytes_transferred == totals.bytes_to_write
    counters = report.counters
    assert counters.transferred == summary.trailer.counters.prepared
    assert counters.deleted.files + counters.deleted.folders == totals.to_delete
    assert counters.quarantined.files + counters.quarantined.folders == totals.to_quarantine
    assert planned_balance(summary.trailer.counters) == counters.listed
    assert balance(counters) == counters.listed


def _file(seen: Seen | None) -> bool:
    return seen is not None and seen.kind is not Kind.DIRECTORY


def _check_kept(
    before: dict[str, Seen],
    after: dict[str, Seen],
    left: dict[str, Seen],
    options: TaskOptions,
    filters: FilterSettings,
) -> None:
    """What stands at the destination afterwards, told without the planner."""
    selection = Selection(filters, 0)
    for path, seen in before.items():
        now = after.get(path)
        excluded = not selection.path_decision(path).included
        if excluded and not filters.delete_excluded:
            assert now is not None and (now.kind, now.content) == (seen.kind, seen.content), path
            assert now.kind is Kind.DIRECTORY or (now.mtime_ns, now.attributes) == (
                seen.mtime_ns,
                seen.attributes,
            )
        if options.preserve_deleted_files is DeletedFiles.PRESERVE and path not in left:
            replaced = (
                _file(seen) and path + "/" in left and options.overwrite_mode is not OverwriteMode.NEVER
            )
            if not replaced:
                assert now is not None
                assert seen.kind is Kind.DIRECTORY or alone(now) == alone(seen), path
        if options.overwrite_mode is OverwriteMode.NEVER and path in left and _file(seen):
            assert now is None or (now.content, now.mtime_ns) == (seen.content, seen.mtime_ns)
    if options.preserve_deleted_files is DeletedFiles.PRESERVE:
        assert all(path in after or path + "/" in after for path in before)


@SETTINGS
@given(declared_trees(), declared_trees(), option_sets, filter_sets, st.booleans())
def test_any_option_set(
    left: dict[str, Declared],
    right: dict[str, Declared],
    options: TaskOptions,
    filters: FilterSettings,
    reviewed: bool,
) -> None:
    with tempfile.TemporaryDirectory() as state:
        made = rig(state, memory_of(left, "l"), memory_of(right, "r", 3), options, filters)
        before = frozen(made.left), frozen(made.right)
        summary = made.plan()
        assert (frozen(made.left), frozen(made.right)) == before
        report = made.apply() if reviewed else made.run()
        assert frozen(made.left) == before[0]
        problems = {(one.path, one.code) for one in summary.trailer.problems}
        assert {(one.path, one.code) for one in report.problems} == problems
        assert report.findings == ()
        assert report.execution.exit_code == (ExitCode.ACTIONS_FAILED if problems else ExitCode.DONE)
        _planned_and_done(made, summary, report)
        after = without_quarantine(made.right.snapshot())
        _check_kept(before[1][0], after, before[0][0], options, filters)
        made.plan()
        again = made.actions()
        if options.transfer_mode is TransferMode.CHANGED:
            assert again == []
        else:
            assert {action.kind for action in changing(again)} <= {ActionKind.REPLACE, ActionKind.LINK}


def _folders(one: MemoryTree) -> list[str]:
    return [path for path in one.snapshot() if path.endswith("/")]


@SETTINGS
@given(declared_trees(), declared_trees(), option_sets, filter_sets, st.data())
def test_nothing_unknown_is_touched(
    left: dict[str, Declared],
    right: dict[str, Declared],
    options: TaskOptions,
    filters: FilterSettings,
    data: st.DataObject,
) -> None:
    with tempfile.TemporaryDirectory() as state:
        made = rig(state, memory_of(left, "l"), memory_of(right, "r", 3), options, filters)
        side = data.draw(st.sampled_from(("left", "right")))
        folder = data.draw(st.sampled_from(["", *_folders(made.left if side == "left" else made.right)]))
        made.scripts = {side: FaultScript([not_listed(folder)])}
        before, present = made.right.snapshot(), frozen(made.right)
        summary = made.plan()
        assert frozen(made.right) == present
        if summary.trailer.complete:
            # The filters keep the walk out of that folder.
            return
        assert (folder, EntryCode.NOT_LISTED) in {(one.path, one.code) for one in summary.trailer.problems}
        actions = made.actions()
        assert not {action.kind for action in actions} & {ActionKind.DELETE, ActionKind.QUARANTINE}
        assert not [
            action.path for action in actions if action.path.startswith(folder) and action.path != folder
        ]
        report = made.run()
        assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
        assert planned_balance(summary.trailer.counters) == summary.trailer.counters.listed
        assert balance(report.counters) == report.counters.listed
        assert report.counters.deleted.files == report.counters.quarantined.files == 0
        after = made.right.snapshot()
        for path, seen in before.items():
            assert path in after or (_file(seen) and path + "/" in after)
            if path.startswith(folder) and path != folder:
                # Metadata may be set by another name of the same file, where that one is known.
                assert after[path].content == seen.content
                assert seen.group is not None or alone(after[path]) == alone(seen)
        in_the_way = {one.path for one in report.problems if one.code is EntryCode.KIND_CONFLICT}
        leaders = {action.id: action.link_to for action in actions}
        for outcome in made.outcomes(report):
            # That a file's place stays taken is known only at the end; by then its other names are planned.
            stale = outcome.status is OutcomeStatus.STALE and leaders[outcome.action_id] in in_the_way
            assert outcome.status is OutcomeStatus.DONE or stale


def test_another_name_of_a_file_whose_place_is_taken() -> None:
    """`a!` stands between the file `a` and the folder `a/` that is in its way: it gets content of its own."""
    file = File(b"x", mode=0o644, mtime_ns=3_000_000_000, xattrs=())
    with tempfile.TemporaryDirectory() as state:
        left = memory_of({"a": file, "a!": HardLink("a"), "b": HardLink("a")}, "l")
        right = memory_of({"a/a": File(b"y", mode=0o644, mtime_ns=3_000_000_000, xattrs=())}, "r", 3)
        made = rig(state, left, right, TaskOptions(hard_links=True), FilterSettings())
        report = made.run()
        assert [(one.path, one.code) for one in report.problems] == [("a", EntryCode.KIND_CONFLICT)]
        after = made.right.snapshot()
        assert after["a!"].content == after["b"].content == b"x"
        assert after["a!"].group == after["b"].group is not None
        assert after["a/a"].content == b"y"
