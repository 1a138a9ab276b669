"""Big files: passed on piece by piece, in one thread or in two that take turns."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from local_support import THROTTLE, open_at
from runner_plugins.local import relay
from runner_plugins.local.location import LocalLocation
from runner_plugins.local.whole import write_all

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry
from runner.model.task import Durability, Integrity

SIZE = 5_500_000


@pytest.fixture(autouse=True, params=[1, 2], ids=["one thread", "two"])
def threads(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "TWO_FROM_BYTES", 1 << 20)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(request.param)))


def pair(tmp_path: Path, **settings: Any) -> tuple[LocalLocation, LocalLocation, Entry]:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "big").write_bytes(os.urandom(SIZE))
    source = open_at(tmp_path / "s")
    entry = source.stat("big")
    assert entry is not None
    return source, open_at(tmp_path / "t", create=True, **settings), entry


@pytest.mark.parametrize("durability", [Durability.NONE, Durability.FILE])
def test_a_big_file_arrives_with_its_digest(tmp_path: Path, durability: Durability) -> None:
    source, target, entry = pair(tmp_path, durability=durability)
    written = target.copy(source, entry, entry, None, THROTTLE)
    assert (tmp_path / "t" / "big").read_bytes() == (tmp_path / "s" / "big").read_bytes()
    assert written.digest == source.digest(entry, source._settings.digest, THROTTLE)
    assert written.bytes == SIZE


@pytest.mark.parametrize("durability", [Durability.NONE, Durability.FILE])
def test_what_arrives_otherwise_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    source, target, entry = pair(tmp_path, durability=durability)

    def spoilt(fd: int, content: memoryview, offset: int) -> None:
        write_all(fd, content, offset)
        if offset == 2 << 20:
            os.pwrite(fd, b"\0\1\2\3", offset + 17)

    monkeypatch.setattr(relay, "write_all", spoilt)
    with pytest.raises(EntryError) as caught:
        target.copy(source, entry, entry, None, THROTTLE)
    assert caught.value.entry_code is EntryCode.CHECKSUM_FAILURE
    assert os.listdir(tmp_path / "t") == []


@pytest.mark.parametrize("integrity", [Integrity.READ_BACK])
@pytest.mark.parametrize("change", ["truncated", "longer", "other"])
def test_a_source_that_moves_meanwhile(tmp_path: Path, integrity: Integrity, change: str) -> None:
    source, target, entry = pair(tmp_path, integrity=integrity)
    path = tmp_path / "s" / "big"

    class Meddler:
        taken = 0

        def take(self, size_bytes: int) -> None:
            self.taken += 1
            if self.taken == 3:
                if change == "truncated":
                    os.truncate(path, 3 << 20)
                else:
                    with open(path, "r+b") as stream:
                        stream.seek(SIZE if change == "longer" else 5_000_000)
                        stream.write(b"meddled")

    with pytest.raises(EntryError) as caught:
        target.copy(source, entry, entry, None, Meddler())
    assert caught.value.entry_code is EntryCode.CHANGED_DURING_TRANSFER
    assert os.listdir(tmp_path / "t") == []


@pytest.mark.parametrize("piece", [0, 1, 9])
def test_a_fault_ends_both_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int) -> None:
    source, target, entry = pair(tmp_path)
    before = threading.active_count()

    def full(fd: int, content: memoryview, offset: int) -> None:
        if offset == piece * relay.PIECE_BYTES:
            raise OSError(errno.ENOSPC, "no space")
        write_all(fd, content, offset)

    monkeypatch.setattr(relay, "write_all", full)
    with pytest.raises(EntryError) as caught:
        target.copy(source, entry, entry, None, THROTTLE)
    assert caught.value.entry_code is EntryCode.NO_SPACE
    assert threading.active_count() == before
    assert os.listdir(tmp_path / "t") == []


def test_a_source_that_cannot_be_read_is_said_to_be_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target, entry = pair(tmp_path)

    def unreadable(fd: int, piece: memoryview, offset: int) -> int:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(relay, "read_all", unreadable)
    with pytest.raises(EntryError, match="cannot read big") as caught:
        target.copy(source, entry, entry, None, THROTTLE)
    assert caught.value.entry_code is EntryCode.IO_ERROR


def test_the_throttle_is_asked_in_order_and_for_everything(tmp_path: Path) -> None:
    source, target, entry = pair(tmp_path)
    asked: list[int] = []

    class Counting:
        def take(self, size_bytes: int) -> None:
            asked.append(size_bytes)

    target.copy(source, entry, entry, None, Counting())
    assert sum(asked) == SIZE
    assert asked == sorted(asked, reverse=True)
