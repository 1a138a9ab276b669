"""What is remembered is true or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from runner_plugins.objects.client import ObjectFacts, Upload
from runner_plugins.objects.memory import NOTES_AT_ONCE, Memory, Record, UploadRecord

SECOND = 1_000_000_000
RECORD = Record((("file-mtime", "1ns"),), (("content-type", "text/plain"),))


def facts(
    key: str, etag: str = "e", modified_ns: int = 10 * SECOND, served_ns: int | None = 12 * SECOND
) -> ObjectFacts:
    return ObjectFacts(key, 3, modified_ns, etag, served_ns=served_ns)


@pytest.fixture
def memory(tmp_path: Path):  # type: ignore[no-untyped-def]
    one = Memory(str(tmp_path / "cache"), "endpoint/bucket/")
    yield one
    one.close()


def the_file(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache").glob("*.sqlite")
    return found


def test_an_unchanged_object_is_known(memory: Memory) -> None:
    memory.remember([(facts("a"), RECORD), (facts("b/\udcff"), RECORD)])
    assert memory.known([facts("a"), facts("b/\udcff")]) == {"a": RECORD, "b/\udcff": RECORD}


@pytest.mark.parametrize(
    "now",
    [facts("a", etag="f"), facts("a", modified_ns=11 * SECOND), ObjectFacts("a", 4, 10 * SECOND, "e")],
)
def test_what_differs_in_anything_is_not_known(memory: Memory, now: ObjectFacts) -> None:
    memory.remember([(facts("a"), RECORD)])
    assert memory.known([now]) == {}


@pytest.mark.parametrize("served_ns", [None, 10 * SECOND, 12 * SECOND - 1])
def test_what_was_read_too_soon_is_not_kept(memory: Memory, served_ns: int | None) -> None:
    """A second write in the same moment would leave all that a listing tells as it is."""
    memory.remember([(facts("a", served_ns=served_ns), RECORD)])
    assert memory.known([facts("a")]) == {}


def test_a_look_that_tells_whole_seconds_is_of_the_object_a_listing_tells_more_exactly(
    memory: Memory,
) -> None:
    memory.note(facts("a", served_ns=12 * SECOND), RECORD)
    memory.close()
    assert memory.known([facts("a", modified_ns=10 * SECOND + 345)]) == {"a": RECORD}
    assert memory.known([facts("a", modified_ns=11 * SECOND + 345)]) == {}


def test_a_look_too_soon_after_the_write_is_not_noted(memory: Memory) -> None:
    memory.note(facts("a", served_ns=11 * SECOND), RECORD)
    memory.close()
    assert memory.known([facts("a", modified_ns=10 * SECOND + 345)]) == {}


def test_many_notes_do_not_wait_for_the_end(memory: Memory, tmp_path: Path) -> None:
    for number in range(NOTES_AT_ONCE):
        memory.note(facts(f"a{number:05}"), RECORD)
    other = Memory(str(tmp_path / "cache"), "endpoint/bucket/")
    assert len(other.known([facts(f"a{number:05}") for number in range(NOTES_AT_ONCE)])) == NOTES_AT_ONCE
    other.close()


def test_what_a_listing_passes_over_is_forgotten(memory: Memory) -> None:
    memory.remember([(facts(key), RECORD) for key in ("a", "b", "c")])
    memory.known([facts("a"), facts("c")])
    assert memory.known([facts("b")]) == {}
    assert set(memory.known([facts("a"), facts("c")])) == {"a", "c"}


def test_the_file_is_private_and_may_be_deleted(memory: Memory, tmp_path: Path) -> None:
    memory.remember([(facts("a"), RECORD)])
    file = the_file(tmp_path)
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    memory.close()
    file.unlink()
    assert memory.known([facts("a")]) == {}
    memory.remember([(facts("a"), RECORD)])
    assert memory.known([facts("a")]) == {"a": RECORD}


@pytest.mark.parametrize("damage", [b"no database at all" * 300, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_thrown_away(memory: Memory, tmp_path: Path, damage: bytes) -> None:
    memory.remember([(facts("a"), RECORD)])
    memory.close()
    file = the_file(tmp_path)
    for beside in file.parent.glob(file.name + "-*"):
        beside.unlink()
    file.write_bytes(damage)
    assert memory.known([facts("a")]) == {}
    memory.remember([(facts("a"), RECORD)])
    assert memory.known([facts("a")]) == {"a": RECORD}


def test_several_use_it_at_once(memory: Memory, tmp_path: Path) -> None:
    other = Memory(str(tmp_path / "cache"), "endpoint/bucket/")
    memory.remember([(facts("a"), RECORD)])
    other.remember([(facts("b"), RECORD)])
    assert set(memory.known([facts("a"), facts("b")])) == {"a", "b"}
    other.close()


def test_uploads_are_noted_until_they_end(memory: Memory) -> None:
    record = UploadRecord(Upload("k", "id", 7), "0123456789ab", 100, 10, "content")
    memory.note_upload(record)
    memory.note_upload(UploadRecord(Upload("other", "id", 8), "0123456789ab", None, 10, "content"))
    assert memory.uploads("k") == [record]
    assert len(memory.uploads()) == 2
    memory.forget_upload(record.upload)
    assert memory.uploads("k") == []


def test_without_a_directory_nothing_is_kept() -> None:
    memory = Memory(None, "x")
    memory.remember([(facts("a"), RECORD)])
    memory.note_upload(UploadRecord(Upload("k", "id", 7), "0123456789ab", 100, 10, "content"))
    assert (memory.known([facts("a")]), memory.uploads()) == ({}, [])
