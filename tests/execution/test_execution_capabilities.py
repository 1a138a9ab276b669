"""Destinations that hold less than the source: what they can hold arrives, and a second plan is empty."""

from __future__ import annotations

import tempfile

import pytest
from engine_support import balance, contents, declared_trees, frozen, memory_of, rig
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from runner.errors import EntryCode, ExitCode
from runner.locations.protocol import Capabilities
from runner.model.entry import Kind
from runner.model.task import Compare, DeletedFiles, TaskOptions, VerifyMode
from runner.testing.memory import OBJECT_STORE, ONE_SECOND, RICH, UNSORTED
from runner.testing.trees import Declared, File, HardLink

DESTINATIONS = {"rich": RICH, "one second": ONE_SECOND, "unsorted": UNSORTED, "object store": OBJECT_STORE}


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
    return capabilities.hard_links or not isinstance(one, HardLink)
