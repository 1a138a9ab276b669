"""The power goes at every moment of a run, on paper. All of it: `python -m tests.faults states`."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from . import judge
from .crash_states import ALL_AT_MOST, Recorder, State, states_of
from .inprocess import LITTLE, SCENES, Workshop, in_memory
from .power_states import broken_promises, recorded, try_states
from .seam import Seam


@pytest.fixture
def folder() -> Iterator[Path]:
    with in_memory() as made:
        yield made


def test_whenever_the_power_goes_all_is_whole_what_is_told_as_done_is_there_and_the_next_run_ends_it(
    folder: Path,
) -> None:
    summary = try_states(folder, [LITTLE], lambda states: random.Random(7).sample(states, 6))
    assert summary.findings == ()
    assert summary.states > 500
    assert summary.run_again == 6
    assert summary.failed_flushes > 15


@pytest.mark.slow
def test_whenever_the_power_goes_with_every_kind_of_change_and_durability(folder: Path) -> None:
    summary = try_states(folder, SCENES, lambda states: random.Random(5).sample(states, 60))
    assert summary.findings == ()
    assert summary.states > 10_000
    assert summary.run_again == 180


def test_a_leftover_that_cannot_be_removed_is_a_problem_by_name_and_keeps_nothing_else_from_being_done(
    folder: Path,
) -> None:
    workshop = Workshop(LITTLE, folder / "place")
    assert workshop.run().code == 0
    workshop.place.make(fresh_source=False)
    execution = "0123456789ab"
    (workshop.place.state / "executions" / execution).mkdir(parents=True)
    draft = workshop.place.destination / f".sync-runner-{execution}-1.part"
    draft.mkdir()
    (draft / "somebody's").touch()
    ended = workshop.run()
    assert ended.code == 4
    assert f"{draft.name}: the folder is not empty" in ended.said.replace("\n", " ")
    assert {path.name for path in workshop.place.destination.iterdir()} == {
        *(draft.name, "new", "replaced", "was-folder", "chmodded")
    }


# -- what the disk may hold ------------------------------------------------------------------------------------


def _with_content(path: Path, content: bytes, *, flushed: bool) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(handle, content)
    if flushed:
        os.fsync(handle)
    os.close(handle)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.fsync(handle)
    os.close(handle)


def _found(folder: Path, act: Callable[[Path], None], **before: bytes) -> set[tuple[tuple[str, bytes], ...]]:
    """Everything that may be found, with `act` cut short at any moment: (name, content) of what is there."""
    (folder / "dst").mkdir()
    for name, content in before.items():
        (folder / "dst" / name).write_bytes(content)
    with Recorder(folder, ["dst"]) as recorder, Seam([str(folder)], done=recorder.done):
        act(folder / "dst")
    return {_shown(state) for state in states_of(recorder, ["dst"])}


def _shown(state: State) -> tuple[tuple[str, bytes], ...]:
    return tuple(
        sorted((path, state.inodes[inode].content) for path, inode in state.paths("dst").items() if path)
    )


OLD, NEW = ("file", b"old!"), ("file", b"newer")


def test_what_is_flushed_before_it_is_named_is_old_or_new(folder: Path) -> None:
    def act(place: Path) -> None:
        _with_content(place / "draft", b"newer", flushed=True)
        os.rename(place / "draft", place / "file")

    found = _found(folder, act, file=b"old!")
    assert {dict(state)["file"] for state in found} == {b"old!", b"newer"}
    assert (NEW,) in found


def test_what_is_not_flushed_may_be_anything_under_its_name(folder: Path) -> None:
    def act(place: Path) -> None:
        _with_content(place / "draft", b"newer", flushed=False)
        os.rename(place / "draft", place / "file")

    found = _found(folder, act, file=b"old!")
    assert {dict(state)["file"] for state in found} == {b"old!", b"newer", b"ne", b"\0" * 5, b""}


def test_a_name_holds_once_its_folder_is_flushed(folder: Path) -> None:
    def act(place: Path) -> None:
        os.rename(place / "file", place / "other")
        _flush(place)
        os.unlink(place / "other")

    assert _found(folder, act, file=b"old!") == {(OLD,), (("other", b"old!"),), ()}


def test_names_come_and_go_in_any_order_but_file_systems_stay_whole(folder: Path) -> None:
    def act(place: Path) -> None:
        os.mkdir(place / "made")
        os.rename(place / "file", place / "made" / "file")
        os.unlink(place / "gone")

    moved = (("made", b""), ("made/file", b"old!"))
    gone = ("gone", b"")
    assert _found(folder, act, file=b"old!", gone=b"") == {
        *((OLD, gone), (OLD, gone, ("made", b""))),
        *((OLD,), (OLD, ("made", b""))),
        *((gone, *moved), moved),
    }


def test_many_open_ends_are_bounded(folder: Path) -> None:
    def act(place: Path) -> None:
        for number in range(20):
            os.mkdir(place / str(number))

    found = _found(folder, act)
    assert {(), tuple((str(number), b"") for number in sorted(range(20), key=str))} <= found
    assert {((str(number), b""),) for number in range(20)} <= found
    assert len(found) < 20 * 2 * ALL_AT_MOST


def test_a_state_is_put_on_the_disk_as_it_was_found(folder: Path) -> None:
    workshop = Workshop(SCENES[2], folder / "place")
    run = recorded(workshop)
    *_, last = states_of(run.recorder, ["dst"], from_cut=run.events)
    assert broken_promises(last, workshop, run) == []
    (folder / "again").mkdir()
    last.make(folder / "again", ["dst"])
    assert judge.unequal(judge.rows_of(folder / "again" / "dst"), workshop.new) == []
