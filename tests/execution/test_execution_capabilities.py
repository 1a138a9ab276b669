"""Destinations that hold less than the source: what they can hold arrives, and a second plan is empty."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from engine_support import balance, contents, declared_trees, frozen, memory_of, rig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import EntryCode, ExitCode
from runner.locations.protocol import Capabilities
from runner.model.entry import Kind
from runner.model.task import Compare, DeletedFiles, TaskOptions, VerifyMode
from runner.testing.memory import MARKED, OBJECT_STORE, ONE_SECOND, RICH, UNSORTED
from runner.testing.memory_tree import MemoryTree
from runner.testing.trees import Declared, File, Folder, HardLink, Symlink, tree

DESTINATIONS = {
    "rich": RICH,
    "one second": ONE_SECOND,
    "unsorted": UNSORTED,
    "object store": OBJECT_STORE,
    "markers": MARKED,
}


@pytest.mark.parametrize("name", DESTINATIONS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    left=declared_trees(),
    right=declared_trees(),
    source=st.sampled_from((RICH, UNSORTED)),
    compare=st.sampled_from((Compare.SIZE_AND_MTIME, Compare.CHECKSUM)),
    verify_mode=st.sampled_from(VerifyMode),
)
def test_what_can_be_held_arrives(
    name: str,
    left: dict[str, Declared],
    right: dict[str, Declared],
    source: Capabilities,
    compare: Compare,
    verify_mode: VerifyMode,
) -> None:
    destination = DESTINATIONS[name]
    with tempfile.TemporaryDirectory() as state:
        options = TaskOptions(
            preserve_deleted_files=DeletedFiles.REMOVE, compare=compare, verify_mode=verify_mode
        )
        if not destination.empty_directories:
            right = {path: one for path, one in right.items() if not path.endswith("/")}
        right = {path: one for path, one in right.items() if _kind_fits(one, destination)}
        made = rig(state, memory_of(left, "l"), memory_of(right, "r", 3), options)
        made.capabilities = {"left": source, "right": destination}
        before = frozen(made.left)
        report = made.run()
        assert frozen(made.left) == before
        expected = {path: one for path, one in made.left.snapshot().items() if one.kind in destination.kinds}
        refused = {path for path, one in made.left.snapshot().items() if one.kind not in destination.kinds}
        assert {(one.path, one.code) for one in report.problems} == {
            (path, EntryCode.KIND_NOT_SUPPORTED) for path in refused
        }
        if compare is Compare.CHECKSUM:
            # What stands where something has to go that cannot be held there stays.
            found = {path: content for path, content in contents(made.right).items() if path not in refused}
            assert found == {
                path: one.content for path, one in expected.items() if one.kind is not Kind.DIRECTORY
            }
            assert report.findings == ()
            assert report.execution.exit_code == (ExitCode.ACTIONS_FAILED if refused else ExitCode.DONE)
        assert balance(report.counters) == report.counters.listed
        made.plan()
        assert made.actions() == []


def _kind_fits(one: Declared, capabilities: Capabilities) -> bool:
    if capabilities is OBJECT_STORE:
        return isinstance(one, File)
    if capabilities is MARKED:
        return isinstance(one, File | Folder | Symlink)
    return capabilities.hard_links or not isinstance(one, HardLink)


def _prefixes(made: MemoryTree) -> MemoryTree:
    """Every folder of the tree exists through its content alone."""
    for path, one in made.snapshot().items():
        if one.kind is Kind.DIRECTORY:
            made.node(path).bare = True
    return made


@pytest.mark.parametrize("destination", [MARKED, RICH], ids=["to an object store", "to a file system"])
def test_a_prefix_needs_no_folder_where_there_are_prefixes(tmp_path: Path, destination: Capabilities) -> None:
    options = TaskOptions(preserve_deleted_files=DeletedFiles.REMOVE)
    left = _prefixes(tree({"a/b/c": b"x"}).memory())
    right = tree({"old/x/y": b"y"}).memory()
    made = rig(tmp_path, left, _prefixes(right) if destination is MARKED else right, options)
    made.capabilities = {"left": MARKED, "right": destination}
    made.plan()
    folders = [one.path for one in made.actions() if one.path.endswith("/") and not one.is_housekeeping]
    assert folders == ([] if destination is MARKED else ["a/", "a/b/", "old/x/", "old/"])
    assert made.run().execution.exit_code == ExitCode.DONE
    assert contents(made.right) == {"a/b/c": b"x"}
    made.plan()
    assert made.actions() == []


def test_a_prefix_at_the_destination_gets_the_folders_metadata(tmp_path: Path) -> None:
    made = rig(tmp_path, tree({"a/": Folder(mode=0o750), "a/b": b"x"}).memory(), tree({"a/b": b"x"}).memory())
    _prefixes(made.right)
    made.capabilities = {"left": RICH, "right": MARKED}
    assert made.run().execution.exit_code == ExitCode.DONE
    assert made.right.node("a/").attributes.mode == 0o750
    made.plan()
    assert made.actions() == []
