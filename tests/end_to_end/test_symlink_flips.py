"""Somebody swaps a folder for a link that leads outside, thousands of times a second, while a plan is carried out.

The kernel itself is asked (inotify) whether anything outside was opened, read, written or changed.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Project

pytestmark = pytest.mark.slow

ROUNDS = 5
FILES = 150
IN_ALL_EVENTS = 0xFFF
RENAME_EXCHANGE = 2
LIBC = ctypes.CDLL(None, use_errno=True)


class Watch:
    """What happens to some folders and what is directly in them, as the kernel tells it."""

    def __init__(self, *folders: Path) -> None:
        self._descriptor = LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self._descriptor >= 0
        for folder in folders:
            assert LIBC.inotify_add_watch(self._descriptor, os.fsencode(folder), IN_ALL_EVENTS) >= 0

    def events(self) -> list[tuple[int, str]]:
        """Masks and names since the last question."""
        found = []
        try:
            while True:
                data = os.read(self._descriptor, 1 << 16)
                while data:
                    _, mask, _, length = struct.unpack_from("iIII", data)
                    found.append((mask, os.fsdecode(data[16 : 16 + length].rstrip(b"\0"))))
                    data = data[16 + length :]
        except BlockingIOError:
            return found

    def close(self) -> None:
        os.close(self._descriptor)


@contextmanager
def watched(*folders: Path) -> Iterator[None]:
    """Fails when anything but looking at names happens to them; and when the watch would not have seen it."""
    watch = Watch(*folders)
    try:
        yield
        assert watch.events() == []
        for folder in folders:
            (folder / "file0").read_bytes()
            (folder / "file0").chmod(0o640)
            assert len({mask for mask, name in watch.events() if name == "file0"}) >= 3
    finally:
        watch.close()


@contextmanager
def flipping(folder: Path, link: Path) -> Iterator[list[int]]:
    """The two change places as fast as they can while the block runs; afterwards each is where it was."""
    names = [os.fsencode(name) for name in (folder, link)]
    flips = [0]
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            flips[0] += LIBC.renameat2(-100, names[0], -100, names[1], RENAME_EXCHANGE) == 0

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield flips
    finally:
        stop.set()
        thread.join()
        if folder.is_symlink() and not link.is_symlink():
            LIBC.renameat2(-100, names[0], -100, names[1], RENAME_EXCHANGE)


def outside_of(folder: Path) -> Path:
    """A folder with the names that the tree under attack has, too, of the same size and age."""
    outside = folder / "outside"
    (outside / "folder").mkdir(parents=True)
    for place in (outside, outside / "folder"):
        fill(place, b"secret")
    return outside


def fill(folder: Path, content: bytes) -> None:
    for number in range(FILES):
        (folder / f"file{number}").write_bytes(content)
        os.utime(folder / f"file{number}", ns=(1, 1))


@pytest.fixture(params=["compiled", "pure"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways through local trees."""
    if request.param == "pure":
        monkeypatch.setenv("SYNC_RUNNER_PURE_PYTHON", "1")
    else:
        monkeypatch.delenv("SYNC_RUNNER_PURE_PYTHON", raising=False)


def change(source: Path, turn: int) -> None:
    """Something of every sort to do: create, replace, link, set rights, times and attributes, remove."""
    attacked = source / "sub"
    for number in range(0, FILES, 5):
        fresh = attacked / f"new{turn}-{number}"
        fresh.mkdir()
        (fresh / "inside").write_bytes(b"new!!!")
        (attacked / f"file{number}").write_bytes(b"turn%02d" % turn)
        (attacked / f"file{number + 1}").chmod(0o600 + turn % 2 * 0o44)
        os.utime(attacked / f"file{number + 2}", ns=(turn, turn))
        os.setxattr(attacked / f"file{number + 3}", b"user.turn", b"%d" % turn)
        (attacked / f"link{turn}-{number}").symlink_to("file0")
        os.link(attacked / f"file{number + 4}", attacked / f"hard{turn}-{number}")
        old = attacked / f"new{turn - 1}-{number}" / "inside"
        if turn:
            old.unlink()
            old.parent.rmdir()
            (attacked / f"hard{turn - 1}-{number}").unlink()


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize("deleting", ["remove", "quarantine"])
def test_nothing_outside_is_touched_while_the_destination_is_swapped(project: Project, deleting: str) -> None:
    (project.source / "sub").mkdir()
    fill(project.source / "sub", b"mine!!")
    project.configure(
        options={"preserve_deleted_files": deleting},
        filters={"exclude": ["/evil"]},
        guards={"max_deletions": "unlimited"},
    )
    project.run("run")
    outside = outside_of(project.folder)
    done: Counter[str] = Counter()
    foiled: Counter[str] = Counter()
    with watched(outside, outside / "folder"):
        for turn in range(ROUNDS):
            change(project.source, turn)
            project.run("plan", "t", "-o", "p.jsonl")
            evil = project.destination / "evil"
            evil.symlink_to(outside)
            with flipping(project.destination / "sub", evil) as flips:
                report = project.run("apply", "p.jsonl", "--json", expect=None).json
            assert flips[0] > 100
            if evil.is_symlink():
                evil.unlink()
            for row in project.outcomes(report):
                (done if row["status"] == "done" else foiled)[row["kind"]] += 1
            project.run("run", expect=None)
    kinds = {"create_directory", "copy", "replace", "link", "set_attributes"}
    kinds.add("delete" if deleting == "remove" else "quarantine")
    assert kinds <= set(done), done
    assert kinds <= set(foiled), foiled
    assert not (project.destination / "sub").is_symlink()
    assert project.run("plan", "t", "--json").json["trailer"]["actions"] == 0


@pytest.mark.usefixtures("engine")
def test_nothing_outside_is_read_while_the_source_is_swapped(project: Project) -> None:
    attacked = project.source / "sub"
    (attacked / "folder").mkdir(parents=True)
    outside = outside_of(project.folder)
    (project.source / "evil").symlink_to(outside)
    project.configure(filters={"exclude": ["/evil"]})
    copied = 0
    with watched(outside, outside / "folder"):
        for turn in range(ROUNDS):
            for place in (attacked, attacked / "folder"):
                fill(place, b"turn%02d" % turn)
            project.run("plan", "t", "-o", "p.jsonl")
            with flipping(attacked, project.source / "evil") as flips:
                report = project.run("apply", "p.jsonl", "--json", expect=None).json
                copied += sum(row["status"] == "done" for row in project.outcomes(report))
                project.run("run", expect=None)
            assert flips[0] > 100
            arrived = {path.read_bytes()[:4] for path in project.destination.rglob("*") if path.is_file()}
            assert arrived <= {b"turn"}
            if (project.destination / "sub").is_symlink():
                (project.destination / "sub").unlink()
    assert copied > 0
