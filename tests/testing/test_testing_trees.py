"""Declared trees are the same in memory and on disk; the manifest sees each difference; time obeys."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Entry, Kind, Problem, path_bytes
from runner.model.task import LocationSettings, SymlinkMode
from runner.testing.fake_clock import START, FakeClock
from runner.testing.manifest import manifest
from runner.testing.memory import MemoryTree, memory_driver, memory_location
from runner.testing.trees import (
    File,
    Folder,
    HardLink,
    Special,
    Symlink,
    hostile_names,
    hostile_tree,
    tree,
)

SAMPLE = tree(
    {
        "a/": {"b.txt": b"x", "deep/": {"er/": {}}},
        "c/d": File(b"sparse end", mode=0o600, mtime_ns=1_600_000_000_000_000_001, holes=1 << 20),
        "closed/": Folder(mode=0o500, mtime_ns=1_500_000_000_000_000_000),
        "link": Symlink("a/b.txt"),
        "again": HardLink("a/b.txt"),
        "pipe": Special(Kind.FIFO),
        "socket": Special(Kind.SOCKET),
        "invalid-\udcff": b"bytes",
    }
)


def test_hostile_names_are_42_different_legal_names() -> None:
    names = hostile_names()
    assert (len(names), len(set(names))) == (42, 42)
    assert [name for name in names if not name or b"/" in name or b"\0" in name or len(name) > 255] == []


def test_a_tree_is_the_same_in_memory_and_on_disk(tmp_path: Path) -> None:
    SAMPLE.write(str(tmp_path))
    on_disk = manifest(str(tmp_path))
    in_memory = SAMPLE.memory().snapshot()
    letters = {"-": Kind.FILE, "d": Kind.DIRECTORY, "l": Kind.SYMLINK, "p": Kind.FIFO, "s": Kind.SOCKET}
    seen = {
        os.fsdecode(path) + ("/" if row.kind == "d" else ""): (
            letters[row.kind],
            row.mode,
            row.size,
            row.mtime_ns,
            None if row.hard_link_of is None else os.fsdecode(row.hard_link_of),
            None if row.link_target is None else os.fsdecode(row.link_target),
        )
        for path, row in on_disk.items()
        if path
    }
    assert seen == {
        path: (one.kind, one.attributes.mode, len(one.content), one.mtime_ns, one.group, one.link_target)
        for path, one in in_memory.items()
    }
    assert list(in_memory) == sorted(in_memory, key=path_bytes)
    assert (tmp_path / "c/d").stat().st_blocks * 512 < 1 << 19


def test_the_hostile_tree_can_be_made(tmp_path: Path) -> None:
    hostile_tree().write(str(tmp_path))
    assert len(manifest(str(tmp_path))) == 1 + 2 + 3 * 42


@pytest.mark.parametrize("spec", [{"a": {}}, {"a/": b"x"}, {"a": Folder()}, {"a/": Symlink("x")}])
def test_a_declaration_that_contradicts_itself_is_refused(spec: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="end with a slash"):
        tree(spec)  # type: ignore[arg-type]


CHANGES: list[tuple[str, Callable[[Path], object], set[bytes]]] = [
    ("a bit flipped, size and time kept", lambda top: flip(top / "c/d"), {b"c/d"}),
    ("mode", lambda top: (top / "a/b.txt").chmod(0o600), {b"a/b.txt", b"again"}),
    ("time", lambda top: os.utime(top / "link", ns=(1, 1), follow_symlinks=False), {b"link"}),
    ("folder's time", lambda top: os.utime(top / "a", ns=(1, 1)), {b"a"}),
    ("xattr", lambda top: os.setxattr(top / "c/d", "user.x", b"1"), {b"c/d"}),
    ("hard link cut", lambda top: cut(top / "again"), {b"a/b.txt", b"again"}),
    ("link target", lambda top: relink(top / "link"), {b"link"}),
    ("kind", lambda top: turn_into_folder(top / "pipe"), {b"pipe"}),
    ("added", lambda top: keeping_times(top, lambda: (top / "new").write_bytes(b"")), {b"new"}),
    ("removed", lambda top: keeping_times(top, lambda: (top / "socket").unlink()), {b"socket"}),
]


def keeping_times(folder: Path, act: Callable[[], object]) -> None:
    status = folder.stat()
    act()
    os.utime(folder, ns=(status.st_atime_ns, status.st_mtime_ns))


def flip(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as file:
        file.seek(17)
        file.write(b"\1")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def cut(path: Path) -> None:
    def act() -> None:
        shutil.copy2(path, path.with_name("copy"))
        path.with_name("copy").rename(path)

    keeping_times(path.parent, act)


def relink(path: Path) -> None:
    def act() -> None:
        status = path.lstat()
        path.unlink()
        path.symlink_to("elsewhere")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)

    keeping_times(path.parent, act)


def turn_into_folder(path: Path) -> None:
    def act() -> None:
        path.unlink()
        path.mkdir()

    keeping_times(path.parent, act)


@pytest.mark.parametrize(("description", "change", "expected"), CHANGES, ids=[row[0] for row in CHANGES])
def test_the_manifest_sees(
    tmp_path: Path, description: str, change: Callable[[Path], object], expected: set[bytes]
) -> None:
    SAMPLE.write(str(tmp_path))
    before = manifest(str(tmp_path))
    assert manifest(str(tmp_path)) == before
    change(tmp_path)
    after = manifest(str(tmp_path))
    assert {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)} == expected


def test_the_manifest_agrees_with_other_tools(tmp_path: Path) -> None:
    hostile_tree().write(str(tmp_path))
    found = subprocess.run(
        ["find", ".", "-type", "f", "-exec", "sha256sum", "-z", "{}", "+"],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    )
    sums = {line[68:]: line[:64].decode() for line in found.stdout.split(b"\0") if line}
    rows = manifest(str(tmp_path))
    assert {path: row.sha256 for path, row in rows.items() if row.kind == "-"} == sums


def test_the_manifest_goes_deeper_than_path_max(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=handle)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = below
    os.close(os.open("leaf", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
    os.close(handle)
    rows = manifest(str(tmp_path))
    assert len(rows) == 32
    assert max(len(path) for path in rows) == 30 * 201 + 4
    subprocess.run(["rm", "-rf", "--", str(tmp_path / ("d" * 200))], check=True)


def test_folder_times_can_be_left_out(tmp_path: Path) -> None:
    SAMPLE.write(str(tmp_path))
    before = manifest(str(tmp_path), folder_times=False)
    os.utime(tmp_path / "a", ns=(1, 1))
    assert manifest(str(tmp_path), folder_times=False) == before


# -- memory --------------------------------------------------------------------------------------------------


def test_a_chunk_is_spoilt_once_the_next_is_asked_for() -> None:
    held = tree({"a": b"one-two-"}).memory()
    location = memory_location(held, chunk_bytes=4)
    entry = location.stat("a")
    assert entry is not None
    assert list(map(bytes, list(location.read(entry)))) != [b"one-", b"two-"]
    assert [bytes(chunk) for chunk in location.read(entry)] == [b"one-", b"two-"]


def test_links_are_followed_within_the_root_only() -> None:
    held = tree(
        {
            "d/": {"f": b"content", "up": Symlink(".."), "loop": Symlink("../d")},
            "in": Symlink("d/f"),
            "folder": Symlink("d"),
            "twice": Symlink("in"),
            "out": Symlink("../x"),
            "absolute": Symlink("/etc"),
            "broken": Symlink("none"),
            "self": Symlink("self"),
        }
    ).memory()
    location = memory_location(held, open_settings=OpenSettings(symlinks=SymlinkMode.FOLLOW))
    found = {
        one.path: one.code.value if isinstance(one, Problem) else (one.kind.value, one.followed)
        for one in location.scan()
    }
    assert found == {
        "": ("directory", False),
        "absolute": "link_escapes",
        "broken": "link_broken",
        "d/": ("directory", False),
        "d/f": ("file", False),
        "d/loop": "link_loop",
        "d/up": "link_loop",
        "folder/": ("directory", True),
        "folder/f": ("file", False),
        "folder/loop": "link_loop",
        "folder/up": "link_loop",
        "in": ("file", True),
        "out": "link_escapes",
        "self": "link_loop",
        "twice": ("file", True),
    }
    for path in ("in", "twice", "folder/f"):
        entry = location.stat(path)
        assert entry is not None
        assert b"".join(map(bytes, location.read(entry))) == b"content"
    with pytest.raises(EntryError) as caught:
        location.stat("out")
    assert caught.value.entry_code is EntryCode.LINK_ESCAPES


def test_links_can_be_refused() -> None:
    held = tree({"link": Symlink("x"), "a": b""}).memory()
    location = memory_location(held, open_settings=OpenSettings(symlinks=SymlinkMode.ERROR))
    codes = [one.code for one in location.scan() if isinstance(one, Problem)]
    assert codes == [EntryCode.LINK_REFUSED]


def test_a_tree_can_be_full_gone_and_swapped() -> None:
    held = MemoryTree(capacity_bytes=10)
    location = memory_location(held)

    class Free:
        def take(self, size_bytes: int) -> None:
            return

    def put(path: str, content: bytes) -> None:
        location.put(Entry(path, Kind.FILE, size_bytes=len(content)), [content], None, Free())

    put("a", b"1234567")
    with pytest.raises(EntryError) as caught:
        put("b", b"1234")
    assert caught.value.entry_code is EntryCode.NO_SPACE
    assert location.space().free_bytes == 3  # type: ignore[attr-defined]
    before = location.identity()  # type: ignore[attr-defined]
    held.identity = "another disk"
    assert location.identity() != before  # type: ignore[attr-defined]
    held.root = None
    with pytest.raises(LocationUnavailableError):
        list(location.scan())


def test_the_driver_opens_trees_by_name() -> None:
    held = tree({"a": b"1"}).memory()
    driver = memory_driver({"left": held, "right": MemoryTree()})
    left = LocationSettings("src", "memory", {"tree": "left"}, "/")
    right = LocationSettings("dst", "memory", {"tree": "right"}, "/")
    assert [one.path for one in driver.open(left, OpenSettings(), create=False).scan()] == ["", "a"]
    assert (driver.overlaps(left, left), driver.overlaps(left, right)) == (True, False)
    assert driver.in_process_only
    with pytest.raises(LocationUnavailableError):
        driver.open(LocationSettings("x", "memory", {"tree": "none"}, "/"), OpenSettings(), create=True)


def test_snapshots_compare_trees_whatever_their_inodes() -> None:
    one, other = SAMPLE.memory(), SAMPLE.memory()
    assert one.snapshot() == other.snapshot()
    other.write("a/b.txt", b"y")
    assert {path for path, seen in one.snapshot().items() if other.snapshot()[path] != seen} == {
        "a/b.txt",
        "again",
    }
    other.delete("a/")
    assert (other.snapshot()["again"].group, "a/b.txt" in other.paths()) == (None, False)


# -- time ----------------------------------------------------------------------------------------------------


def test_time_moves_only_when_told() -> None:
    clock = FakeClock()
    assert (clock.now(), clock.monotonic()) == (START, 1000.0)
    clock.sleep(2.5)
    clock.advance(1)
    assert (clock.now(), clock.monotonic(), clock.sleeps) == (START + timedelta(seconds=3.5), 1003.5, [2.5])
    clock.jump(-3600)
    assert (clock.now(), clock.monotonic()) == (START + timedelta(seconds=3.5 - 3600), 1003.5)
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    with pytest.raises(ValueError, match="aware"):
        FakeClock(datetime(2026, 1, 1))
    assert FakeClock(datetime(2026, 1, 1, tzinfo=UTC)).now().tzinfo is UTC
