"""Markers through whole executions: who gets one, what is refused, and how a place is adopted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from engine_support import NO_GUARDS, Rig, frozen, memory_of, rig

from runner.errors import EntryCode, EntryError, ExitCode, LocationUnavailableError, PlanFileError, UsageError
from runner.execution.adopting import Adopted, adopt
from runner.execution.past import read_past
from runner.locations.marker import MARKER_FOLDER, MARKER_PATH, Marker, SeenMarker, read_marker, write_marker
from runner.locations.patience import IMPATIENT
from runner.locations.protocol import OpenSettings
from runner.model.events import Message
from runner.model.task import DeletedFiles, Guards, MarkerMode, TaskOptions
from runner.testing.faults import FaultScript, meanwhile, raises
from runner.testing.memory import MemoryTree, memory_location

WATCHED = msgspec.structs.replace(NO_GUARDS, endpoint_identity=True)
PLAIN = TaskOptions()
REMOVES = TaskOptions(preserve_deleted_files=DeletedFiles.REMOVE)


def made(
    tmp_path: Path,
    *,
    source: MarkerMode = MarkerMode.AUTO,
    destination: MarkerMode = MarkerMode.AUTO,
    options: TaskOptions = PLAIN,
    guards: Guards = WATCHED,
    **more: Any,
) -> Rig:
    one = rig(
        tmp_path,
        memory_of({"a": b"a"}, "l"),
        memory_of({"a": b"a", "old": b"o"}, "r"),
        options,
        guards=guards,
        **more,
    )
    one.task = msgspec.structs.replace(
        one.task,
        source=msgspec.structs.replace(one.task.source, marker=source),
        destination=msgspec.structs.replace(one.task.destination, marker=destination),
    )
    return one


def found(tree: MemoryTree) -> SeenMarker:
    return read_marker(memory_location(tree, open_settings=OpenSettings(), create=True), IMPATIENT)


def adopted(one: Rig, name: str = "dst", **more: Any) -> Adopted:
    return adopt(one.context.configuration.locations[name], one.context, **more)


def done(one: Rig) -> str:
    report = one.run()
    assert report.execution.exit_code == ExitCode.DONE, report
    return report.execution.execution_id


def refused(one: Rig) -> str:
    """What the one guard that refuses says."""
    before = frozen(one.left), frozen(one.right)
    report = one.run()
    assert report.execution.exit_code == ExitCode.GUARD_REFUSED
    (verdict,) = [verdict for verdict in report.guards if not verdict.accepted]
    assert verdict.guard in ("source_marker", "destination_marker")
    assert (frozen(one.left), frozen(one.right)) == before
    return verdict.message


# -- who gets one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("deleted", list(DeletedFiles))
def test_neither_end_gets_one_unless_it_is_asked_for(tmp_path: Path, deleted: DeletedFiles) -> None:
    one = made(tmp_path, options=TaskOptions(preserve_deleted_files=deleted))
    one.left.write("b", b"b")
    before = frozen(one.left)
    done(one)
    assert frozen(one.left) == before
    assert not [path for path in one.right.paths() if path.startswith(MARKER_FOLDER)]


def test_one_that_is_there_is_heeded_and_kept_up_to_date_at_the_destination_alone(tmp_path: Path) -> None:
    one = made(tmp_path)
    for tree in (one.left, one.right):
        write_marker(memory_location(tree, open_settings=OpenSettings()), Marker("a" * 32, 1), SeenMarker())
    source = frozen(one.left)
    execution = done(one)
    assert frozen(one.left) == source
    marker = found(one.right).marker
    assert marker is None or (marker.generation, marker.execution) in ((1, ""), (2, execution))
    past = read_past(one.context.state, "t")
    assert (past.source_marker, past.destination_marker) == (found(one.left).marker, marker)
    one.left.write("b", b"b")
    execution = done(one)
    marker = found(one.right).marker
    assert marker is not None and marker.execution == execution
    one.left.delete(MARKER_PATH)
    assert "has lost its marker" in refused(one)


def test_it_grows_with_what_is_done_and_only_then(tmp_path: Path) -> None:
    one = made(tmp_path, destination=MarkerMode.REQUIRED)
    adopted(one)
    one.left.write("b", b"b")
    done(one)
    first = found(one.right).marker
    before = frozen(one.right)
    done(one)
    assert frozen(one.right) == before
    one.left.write("new", b"n")
    execution = done(one)
    marker = found(one.right).marker
    assert first is not None and marker is not None
    assert (marker.id, marker.generation, marker.execution) == (first.id, first.generation + 1, execution)


def test_required_at_both_ends_is_kept_at_both(tmp_path: Path) -> None:
    one = made(tmp_path, source=MarkerMode.REQUIRED, destination=MarkerMode.REQUIRED)
    report = one.run()
    assert [verdict.guard for verdict in report.guards] == ["source_marker", "destination_marker"]
    assert report.execution.exit_code == ExitCode.GUARD_REFUSED
    assert adopted(one, "src").written and adopted(one, "dst").written
    one.left.write("b", b"b")
    done(one)
    for tree in (one.left, one.right):
        marker = found(tree).marker
        assert marker is not None and marker.generation == 2
    one.plan()
    assert one.actions() == []


def test_none_neither_reads_nor_writes_one(tmp_path: Path) -> None:
    one = made(tmp_path, destination=MarkerMode.NONE)
    done(one)
    assert found(one.right) == SeenMarker()
    assert read_past(one.context.state, "t").destination_marker is None


def test_a_failing_task_is_protected_too(tmp_path: Path) -> None:
    script = FaultScript([raises("read", EntryCode.PERMISSION_DENIED, path="a2", times=None)])
    one = made(tmp_path, destination=MarkerMode.REQUIRED, scripts={"left": script})
    adopted(one)
    one.left.write("a2", b"")
    one.left.write("b", b"b")
    report = one.run()
    assert report.execution.exit_code == ExitCode.ACTIONS_FAILED
    past = read_past(one.context.state, "t")
    assert past.filter_digest is None
    assert past.destination_marker == found(one.right).marker
    assert past.destination_marker is not None and past.destination_marker.generation == 2


# -- what is refused -------------------------------------------------------------------------------------------


def marked(tmp_path: Path) -> Rig:
    """A task whose both ends are marked and were synchronised once."""
    one = made(
        tmp_path,
        source=MarkerMode.REQUIRED,
        destination=MarkerMode.REQUIRED,
        options=REMOVES,
    )
    adopted(one, "src")
    adopted(one, "dst")
    done(one)
    return one


@pytest.mark.parametrize("side", ["source", "destination"])
def test_gone_swapped_and_put_back_are_refused_in_different_words(tmp_path: Path, side: str) -> None:
    one = marked(tmp_path)
    tree = one.left if side == "source" else one.right
    kept = tree.node(MARKER_PATH).content
    older = kept.replace(b'"generation":2', b'"generation":1')
    stranger = msgspec.json.decode(kept) | {"id": "f" * 32}
    assert older != kept
    said = []
    for content, words in (
        (older, "put back to an older state"),
        (msgspec.json.encode(stranger), "is another one than before"),
        (b"{}", "cannot be read"),
        (None, "has lost its marker"),
    ):
        tree.delete(MARKER_PATH)
        if content is not None:
            tree.write(MARKER_PATH, content)
        message = refused(one)
        assert words in message and side in message
        said.append(message)
    assert len(set(said)) == 4
    tree.write(MARKER_PATH, kept)
    done(one)


def test_an_empty_mount_point_is_told_as_gone_and_deletes_nothing(tmp_path: Path) -> None:
    one = marked(tmp_path)
    one.left.delete("a")
    one.left.delete(MARKER_PATH)
    one.left.delete(MARKER_FOLDER)
    assert "not mounted" in refused(one)
    assert "a" in one.right.paths()


def test_a_moved_place_is_known_by_its_marker(tmp_path: Path) -> None:
    one = marked(tmp_path)
    one.left.identity = "the same disk at another port"
    one.right.identity = "the same disk at another port, too"
    done(one)


def test_a_place_without_marker_is_known_by_its_facts(tmp_path: Path) -> None:
    one = made(tmp_path)
    done(one)
    one.left.identity = "another disk"
    report = one.run()
    assert [verdict.guard for verdict in report.guards] == ["source_changed"]
    assert adopted(one, "src").marker is None
    assert found(one.left) == SeenMarker()
    done(one)


def test_a_plan_is_for_the_place_it_was_made_for(tmp_path: Path) -> None:
    one = marked(tmp_path)
    one.left.write("b", b"b")
    one.plan()
    kept = one.right.node(MARKER_PATH).content
    one.right.delete(MARKER_PATH)
    with pytest.raises(PlanFileError, match="it has no marker"):
        one.apply()
    assert "b" not in one.right.paths()
    one.right.write(MARKER_PATH, kept)
    assert one.apply().execution.exit_code == ExitCode.DONE


# -- while it is listed ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", ["source", "destination"])
@pytest.mark.parametrize("plans", [False, True])
def test_another_disk_during_the_listing_ends_it(tmp_path: Path, side: str, plans: bool) -> None:
    one = made(tmp_path, options=TaskOptions(preserve_deleted_files=DeletedFiles.REMOVE))
    tree = one.left if side == "source" else one.right

    def swap() -> None:
        tree.identity = "the folder below the mount"
        if side == "source":
            tree.delete("a")

    script = FaultScript([meanwhile("scan", swap)])
    one.scripts = {"left" if side == "source" else "right": script}
    if plans:
        with pytest.raises(LocationUnavailableError) as caught:
            one.plan()
        message = caught.value.message
    else:
        report = one.run()
        assert report.execution.exit_code == ExitCode.LOCATION_UNAVAILABLE
        message = report.problems[0].message
    script.assert_all_fired()
    assert f"the {side} " in message and "while it was listed" in message
    assert "Nothing was written or deleted" in message
    assert one.right.paths() == ["a", "old"]


def test_a_marker_that_goes_during_the_listing_ends_it(tmp_path: Path) -> None:
    """A folder that was taken away, on the same file system: no fact tells, but the marker does."""
    one = marked(tmp_path)

    def vanish() -> None:
        one.left.delete("a")
        one.left.delete(MARKER_PATH)

    script = FaultScript([meanwhile("scan", vanish)])
    one.scripts = {"left": script}
    report = one.run()
    script.assert_all_fired()
    assert report.execution.exit_code == ExitCode.LOCATION_UNAVAILABLE
    assert "its marker" in report.problems[0].message
    assert "a" in one.right.paths()


def test_a_marker_that_goes_during_the_transfer_is_not_made_anew(tmp_path: Path) -> None:
    one = marked(tmp_path)
    remembered = read_past(one.context.state, "t").destination_marker
    one.left.write("b", b"b")
    script = FaultScript([meanwhile("put", lambda: one.right.delete(MARKER_PATH), path="b")])
    one.scripts = {"right": script}
    done(one)
    script.assert_all_fired()
    assert found(one.right) == SeenMarker()
    assert read_past(one.context.state, "t").destination_marker == remembered
    one.scripts = {}
    assert "has lost its marker" in refused(one)


def test_two_writers_of_one_marker_both_count(tmp_path: Path) -> None:
    """Another host's execution ended there at the same moment."""
    one = marked(tmp_path)
    one.left.write("b", b"b")

    def grow() -> None:
        content = one.right.node(MARKER_PATH).content
        one.right.write(MARKER_PATH, content.replace(b'"generation":2', b'"generation":7'))

    script = FaultScript([meanwhile("put", grow, path=MARKER_PATH)])
    one.scripts = {"right": script}
    done(one)
    script.assert_all_fired()
    marker = found(one.right).marker
    assert marker is not None and marker.generation == 8


@pytest.mark.parametrize(
    ("mode", "exit_code"), [(MarkerMode.REQUIRED, ExitCode.ACTIONS_FAILED), (MarkerMode.AUTO, ExitCode.DONE)]
)
def test_a_marker_that_cannot_be_written(tmp_path: Path, mode: MarkerMode, exit_code: ExitCode) -> None:
    one = made(tmp_path, destination=mode)
    write_marker(memory_location(one.right, open_settings=OpenSettings()), Marker("a" * 32, 1), SeenMarker())
    one.left.write("b", b"b")
    script = FaultScript([raises("put", EntryCode.NO_SPACE, path=MARKER_PATH, times=None)])
    one.scripts = {"right": script}
    report = one.run()
    script.assert_all_fired()
    assert report.execution.exit_code == exit_code
    said = [event.text for event in one.events if isinstance(event, Message)]
    assert any("was not written" in text for text in said) is (mode is MarkerMode.AUTO)


# -- adopting --------------------------------------------------------------------------------------------------


def test_adopting_goes_on_with_what_stands_there(tmp_path: Path) -> None:
    one = marked(tmp_path)
    before = one.right.node(MARKER_PATH).content
    one.right.delete(MARKER_PATH)
    one.right.write(MARKER_PATH, before.replace(b'"generation":2', b'"generation":1'))
    refused(one)
    result = adopted(one)
    assert result.written and result.marker is not None and result.marker.generation == 3
    assert result.tasks == ("t",)
    done(one)


def test_adopting_twice_writes_once(tmp_path: Path) -> None:
    one = made(tmp_path, destination=MarkerMode.REQUIRED)
    first, again = adopted(one), adopted(one)
    assert (first.written, again.written) == (True, False)
    assert first.marker == again.marker == found(one.right).marker


def test_a_marker_that_cannot_be_made_leaves_nothing_behind(tmp_path: Path) -> None:
    one = made(tmp_path, destination=MarkerMode.REQUIRED)
    before = frozen(one.right)
    one.scripts = {"right": FaultScript([raises("put", EntryCode.NO_SPACE, path=MARKER_PATH)])}
    with pytest.raises(EntryError):
        adopted(one)
    assert frozen(one.right) == before


def test_nothing_is_not_adopted_for_something(tmp_path: Path) -> None:
    one = marked(tmp_path)
    for path in ("a", MARKER_PATH, MARKER_FOLDER):
        one.left.delete(path)
    with pytest.raises(UsageError, match="lists nothing at all") as caught:
        adopted(one, "src")
    assert caught.value.remedy is not None and caught.value.remedy.startswith("Mount it")
    assert adopted(one, "src", accept_empty=True).written


def test_a_source_that_cannot_be_written_is_adopted_by_its_facts(tmp_path: Path) -> None:
    one = marked(tmp_path)
    one.task = msgspec.structs.replace(
        one.task, source=msgspec.structs.replace(one.task.source, marker=MarkerMode.AUTO)
    )
    one.left.delete(MARKER_PATH)
    one.scripts = {"left": FaultScript([raises("put", EntryCode.READ_ONLY, path=MARKER_PATH, times=None)])}
    result = adopted(one, "src")
    assert (result.written, result.marker) == (False, None)
    done(one)


def test_a_root_that_is_not_there_is_not_adopted(tmp_path: Path) -> None:
    one = made(tmp_path)
    one.left.root = None
    with pytest.raises(LocationUnavailableError):
        adopted(one, "src")
