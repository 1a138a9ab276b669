"""The compiled module: built where CI says so, and of one mind with the Python beside it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from local_support import THROTTLE, open_at
from runner_plugins.local.native import PURE_PYTHON, native

from runner.locations.protocol import EqualFiles
from runner.model.entry import Entry, Problem

needs_native = pytest.mark.skipif(native is None, reason="the compiled module was not built here")


def test_ci_has_built_it() -> None:
    if os.environ.get("SYNC_RUNNER_SERVERS") == "required" and not os.environ.get(PURE_PYTHON):
        assert native is not None, "no C compiler, or no headers of this Python"


@needs_native
def test_names_come_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    assert native is not None
    names = [
        b"a",
        b"a!",
        b"a.b",
        b"B",
        b"caf\xc3\xa9",
        b"\xff",
        b"\xed\xa0\x80",
        b"x" * 255,
        b"prefix1",
        b"prefix10",
        b"prefix2",
    ]
    for name in names:
        os.mkdir(os.fsencode(tmp_path) + b"/" + name)
        (tmp_path / os.fsdecode(b"f" + name[:200])).write_bytes(b"")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        folder = native.Folder(fd, lambda name, is_folder: False)
        rows = []
        while more := folder.facts(True):
            rows += [row[0] for row in more]
    finally:
        os.close(fd)
    wanted = [name + b"/" for name in names] + [b"f" + name[:200] for name in names]
    assert [os.fsencode(row) for row in rows] == sorted(wanted)


@needs_native
def test_reserved_names_are_asked_about_and_left_out(tmp_path: Path) -> None:
    assert native is not None
    for name in (".sync-runner", ".sync-runner-quarantine", ".sync-runnerx", "kept"):
        (tmp_path / name).mkdir()
    asked: list[tuple[str, bool]] = []

    def reserved(name: str, is_folder: int) -> bool:
        asked.append((name, bool(is_folder)))
        return name == ".sync-runner"

    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        folder = native.Folder(fd, reserved)
        assert [row[0] for row in folder.facts(False)] == [
            ".sync-runner-quarantine/",
            ".sync-runnerx/",
            "kept/",
        ]
        assert sorted(asked) == [
            (name, True) for name in (".sync-runner", ".sync-runner-quarantine", ".sync-runnerx")
        ]
        with pytest.raises(ZeroDivisionError):
            os.lseek(fd, 0, os.SEEK_SET)
            native.Folder(fd, lambda name, is_folder: bool(1 // 0))
    finally:
        os.close(fd)


@needs_native
@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x"])
def test_a_copy_takes_plain_names_only(tmp_path: Path, name: str) -> None:
    assert native is not None
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"1")
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        buffers = memoryview(bytearray(100)), memoryview(bytearray(100))
        done = native.copy_small(fd, fd, name, 1, 0, "0:0", False, 0o600, 0, 0, 0, False, *buffers, None)
    finally:
        os.close(fd)
    assert done is False


def test_folders_that_move_between_two_walks_hide_nothing(tmp_path: Path) -> None:
    """What was settled in a folder that the second walk does not come to makes that walk's listing incomplete."""
    for side in ("s", "t"):
        (tmp_path / side / "d").mkdir(parents=True)
        (tmp_path / side / "d" / "same").write_bytes(b"1")
        os.utime(tmp_path / side / "d" / "same", ns=(0, 0))
    source, target = open_at(tmp_path / "s"), open_at(tmp_path / "t", create=True)
    settled: list[int] = []
    equal = EqualFiles(frozenset({"mode"}), 0, lambda files, size: settled.append(files))
    scans = target.lists_beside(source, equal)
    if native is None:
        assert scans is None
        return
    assert scans is not None
    first, second = scans[0]("", None), scans[1]("", None)
    assert [one.path for one in first] == ["", "d/"]
    assert settled == [1]
    os.rename(tmp_path / "t" / "d", tmp_path / "t" / "e")
    seen = list(second)
    assert [one.path for one in seen if isinstance(one, Entry)] == [""]
    assert [one.path for one in seen if isinstance(one, Problem)] == [""]


def _content(path: Path) -> None:
    facts = path.stat()
    path.write_bytes(b"other")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


def _linked(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


TAMPERING: dict[str, Callable[[Path], None]] = {
    "content": _content,
    "longer": lambda path: path.write_bytes(b"whole!"),
    "mode": lambda path: path.chmod(0o640),
    "time": lambda path: os.utime(path, ns=(0, 1)),
    "attribute": lambda path: os.setxattr(path, "user.k", b"v"),
    "gone": lambda path: path.unlink(),
    "link": _linked,
    "fifo": lambda path: (path.unlink(), os.mkfifo(path))[1],
    "folder moved": lambda path: path.parent.rename(path.parent.with_name("b")),
}


@needs_native
@pytest.mark.parametrize("tampering", TAMPERING)
def test_the_short_check_finds_what_is_exactly_as_expected_and_nothing_else(
    tmp_path: Path, tampering: str
) -> None:
    (tmp_path / "a").mkdir()
    path = tmp_path / "a" / "f"
    path.write_bytes(b"whole")
    location = open_at(tmp_path, attributes=frozenset({"mode", "uid", "gid", "xattrs", "acls"}))
    expected = location.stat("a/f")
    assert expected is not None
    digest = location.digest(expected, location._settings.digest, THROTTLE)
    check = location.quick_check()
    assert check is not None
    location.stat("a/f")  # its folder is at hand now
    assert check(expected, digest, 0, THROTTLE)
    assert not check(expected, digest[:-1] + ("0" if digest[-1] != "0" else "1"), 0, THROTTLE)
    try:
        TAMPERING[tampering](path)
    except OSError:
        pytest.skip("this file system has no extended attributes")
    for _ in range(40):  # the folder itself is looked at now and then
        found = check(expected, digest, 0, THROTTLE)
    assert not found


@needs_native
def test_the_short_removal_takes_only_what_was_listed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "f").write_bytes(b"1")
    location = open_at(tmp_path, create=True)
    listed = location.stat("a/f")
    assert listed is not None
    remove = location.quick_remove()
    assert remove is not None
    (tmp_path / "a" / "f").write_bytes(b"2")
    assert not remove(listed)
    assert (tmp_path / "a" / "f").read_bytes() == b"2"
    present = location.stat("a/f")
    assert present is not None
    assert remove(present)
    assert list((tmp_path / "a").iterdir()) == []
    assert not remove(present)
    folder = location.stat("a/")
    assert folder is not None
    assert not remove(folder)
