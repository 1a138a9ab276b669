"""Big files: copied range by range, followed by the checks."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest
from local_support import THROTTLE, open_at
from runner_plugins.local import writing
from runner_plugins.local.location import LocalLocation
from runner_plugins.local.ranges import FollowedCopy

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry
from runner.model.task import Durability, Integrity

SIZE = 5_500_000


@pytest.fixture(autouse=True)
def big_begins_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "SIDE_BY_SIDE_BYTES", 1 << 20)


def pair(tmp_path: Path, **settings: Any) -> tuple[LocalLocation, LocalLocation, Entry]:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "big").write_bytes(os.urandom(SIZE))
    source = open_at(tmp_path / "s")
    entry = source.stat("big")
    assert entry is not None
    return source, open_at(tmp_path / "t", create=True, **settings), entry


@pytest.mark.parametrize("durability", [Durability.NONE, Durability.FILE])
@pytest.mark.parametrize("kernel_copies", [True, False])
def test_a_big_file_arrives_with_its_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability, kernel_copies: bool
) -> None:
    source, target, entry = pair(tmp_path, durability=durability)
    if not kernel_copies:

        def refused(*arguments: Any) -> int:
            raise OSError(errno.EXDEV, "other file system")

        monkeypatch.setattr(os, "copy_file_range", refused)
    written = target.copy(source, entry, entry, None, THROTTLE)
    assert (tmp_path / "t" / "big").read_bytes() == (tmp_path / "s" / "big").read_bytes()
    assert written.digest == source.digest(entry, source._settings.digest, THROTTLE)
    assert written.bytes == SIZE


@pytest.mark.parametrize("durability", [Durability.NONE, Durability.FILE])
def test_what_arrives_otherwise_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, durability: Durability
) -> None:
    source, target, entry = pair(tmp_path, durability=durability)
    copies = FollowedCopy._copy_range

    def spoilt(self: FollowedCopy, begin: int, size: int) -> None:
        copies(self, begin, size)
        if begin == 2 << 20:
            os.pwrite(self._target_fd, b"\0\1\2\3", begin + 17)

    monkeypatch.setattr(FollowedCopy, "_copy_range", spoilt)
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
