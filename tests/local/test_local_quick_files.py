"""Small files of one folder, copied together: what is told as done is what has its name. With and without the module."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_support import THROTTLE, open_at

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import QuickCopy, QuickFile, Throttle

ATTRIBUTES = frozenset({"mode", "uid", "gid", "xattrs", "acls"})


class _Ends:
    """Lets so much pass, and then no more: how a run is stopped that waits for bandwidth."""

    def __init__(self, size_bytes: int) -> None:
        self._left = size_bytes

    def take(self, size_bytes: int) -> None:
        self._left -= size_bytes
        if self._left < 0:
            raise EntryError(EntryCode.CANCELLED, "", "stopped")


def _seven(tmp_path: Path, throttle: Throttle) -> tuple[QuickCopy, list[QuickFile]]:
    """Seven files of three bytes, and a short way for them."""
    for side in ("s", "t"):
        (tmp_path / side / "d").mkdir(parents=True)
    for number in range(7):
        (tmp_path / "s" / "d" / f"f{number}").write_bytes(b"%d" % number * 3)
    source = open_at(tmp_path / "s", attributes=ATTRIBUTES)
    copy = open_at(tmp_path / "t", create=True, attributes=ATTRIBUTES).quick_copy(source, throttle)
    assert copy is not None
    files: list[QuickFile] = []
    for number in range(7):
        entry = source.stat(f"d/f{number}")
        assert entry is not None
        files.append((entry, None))
    return copy, files


def _there(tmp_path: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (tmp_path / "t" / "d").iterdir()}


def test_all_are_told_in_order(tmp_path: Path) -> None:
    copy, files = _seven(tmp_path, THROTTLE)
    done = copy(files)
    assert [written.bytes for written, _ in done] == [3] * 7
    assert all(seconds > 0 for _, seconds in done)
    assert len({written.digest for written, _ in done}) == 7
    assert _there(tmp_path) == {f"f{number}": b"%d" % number * 3 for number in range(7)}


@pytest.mark.parametrize("present", [0, 3, 6])
def test_it_ends_before_the_first_that_is_in_the_way(tmp_path: Path, present: int) -> None:
    copy, files = _seven(tmp_path, THROTTLE)
    (tmp_path / "t" / "d" / f"f{present}").write_bytes(b"theirs")
    assert len(copy(files)) == present
    assert _there(tmp_path) == {
        **{f"f{number}": b"%d" % number * 3 for number in range(present)},
        f"f{present}": b"theirs",
    }


@pytest.mark.parametrize("changed", [0, 4])
def test_it_ends_before_the_first_that_is_another_one_now(tmp_path: Path, changed: int) -> None:
    copy, files = _seven(tmp_path, THROTTLE)
    (tmp_path / "s" / "d" / f"f{changed}").write_bytes(b"other")
    assert len(copy(files)) == changed
    assert len(_there(tmp_path)) == changed


@pytest.mark.parametrize("budget", [0, 2, 9, 20])
def test_when_it_is_stopped_nothing_is_there_that_is_not_told(tmp_path: Path, budget: int) -> None:
    copy, files = _seven(tmp_path, _Ends(budget))
    try:
        told = len(copy(files))
    except EntryError as error:
        assert error.entry_code is EntryCode.CANCELLED
        told = 0
    assert sorted(_there(tmp_path)) == [f"f{number}" for number in range(told)]
