"""Symbolic links: the four modes, and that nobody who swaps one gets anything outside the root touched."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from local_support import THROTTLE, entries_of, exchange, manifest, open_at

from runner.errors import EntryCode, EntryError
from runner.model.entry import Attributes, Entry, Kind, Problem
from runner.model.task import DigestAlgorithm, SymlinkMode


@pytest.fixture
def linked(tmp_path: Path) -> Path:
    """A tree with links of every sort."""
    root = tmp_path / "root"
    (root / "real" / "inner").mkdir(parents=True)
    (root / "real" / "file").write_bytes(b"content")
    (root / "real" / "inner" / "leaf").write_bytes(b"leaf")
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"secret")
    for name, target in (
        ("to-file", "real/file"),
        ("to-folder", "real"),
        ("to-folder-by-dots", "real/inner/../../real/inner/."),
        ("to-link", "to-file"),
        ("absolute", str(root / "real" / "file")),
        ("escape", "../outside/secret"),
        ("escape-deep", "real/../../outside"),
        ("broken", "real/nothing"),
        ("through-file", "real/file/x"),
        ("itself", "itself"),
        ("to-root", "."),
    ):
        os.symlink(target, root / name)
    os.symlink("..", root / "real" / "up")
    os.symlink("../../real", root / "real" / "inner" / "loop")
    return root


def _scanned(root: Path, mode: SymlinkMode) -> list[tuple[str, str]]:
    found = []
    for each in open_at(root, symlinks=mode).scan():
        found.append((each.path, each.code.value if isinstance(each, Problem) else each.kind.value))
    return found


@pytest.mark.parametrize("mode", [SymlinkMode.PRESERVE, SymlinkMode.SKIP])
def test_links_are_yielded_as_they_are(linked: Path, mode: SymlinkMode) -> None:
    found = entries_of(open_at(linked, symlinks=mode))

    assert found["escape"].link_target == "../outside/secret"
    assert {entry.kind for path, entry in found.items() if path.startswith(("to-", "escape", "its"))} == {
        Kind.SYMLINK
    }
    assert len(found) == 19 - 1


def test_links_are_refused(linked: Path) -> None:
    found = _scanned(linked, SymlinkMode.ERROR)

    assert [path for path, code in found if code == "link_refused"] == [
        "absolute",
        "broken",
        "escape",
        "escape-deep",
        "itself",
        "real/inner/loop",
        "real/up",
        "through-file",
        "to-file",
        "to-folder",
        "to-folder-by-dots",
        "to-link",
        "to-root",
    ]


def test_links_are_followed_inside_only(linked: Path) -> None:
    assert _scanned(linked, SymlinkMode.FOLLOW) == [
        ("", "directory"),
        ("absolute", "link_escapes"),
        ("broken", "link_broken"),
        ("escape", "link_escapes"),
        ("escape-deep", "link_escapes"),
        ("itself", "link_loop"),
        ("real/", "directory"),
        ("real/file", "file"),
        ("real/inner/", "directory"),
        ("real/inner/leaf", "file"),
        ("real/inner/loop/", "link_loop"),
        ("real/up/", "link_loop"),
        ("through-file", "link_broken"),
        ("to-file", "file"),
        ("to-folder-by-dots/", "directory"),
        ("to-folder-by-dots/leaf", "file"),
        ("to-folder-by-dots/loop/", "directory"),
        ("to-folder-by-dots/loop/file", "file"),
        ("to-folder-by-dots/loop/inner/", "directory"),
        ("to-folder-by-dots/loop/inner/leaf", "file"),
        ("to-folder-by-dots/loop/inner/loop/", "link_loop"),
        ("to-folder-by-dots/loop/up/", "link_loop"),
        ("to-folder/", "directory"),
        ("to-folder/file", "file"),
        ("to-folder/inner/", "directory"),
        ("to-folder/inner/leaf", "file"),
        ("to-folder/inner/loop/", "link_loop"),
        ("to-folder/up/", "link_loop"),
        ("to-link", "file"),
        ("to-root/", "link_loop"),
    ]


def test_followed_files_are_read_and_copied(linked: Path, tmp_path: Path) -> None:
    source = open_at(linked, symlinks=SymlinkMode.FOLLOW)
    target = open_at(tmp_path / "target", create=True)
    for path, content in (
        ("to-file", b"content"),
        ("to-folder/inner/leaf", b"leaf"),
        ("to-link", b"content"),
    ):
        entry = source.stat(path)
        assert entry is not None
        assert (entry.kind, entry.path) == (Kind.FILE, path)
        assert entry.followed is (path != "to-folder/inner/leaf")
        assert entry.link_group is None
        assert b"".join(bytes(chunk) for chunk in source.read(entry)) == content
        digest = source.digest(entry, DigestAlgorithm.SHA256, THROTTLE)
        written = target.copy(source, entry, entry, None, THROTTLE)
        assert (tmp_path / "target" / path).read_bytes() == content
        assert not (tmp_path / "target" / path).is_symlink()
        assert (written.bytes, digest[:7]) == (len(content), "sha256:")
    for path, code in (("escape", "link_escapes"), ("broken", "link_broken"), ("itself", "link_loop")):
        with pytest.raises(EntryError) as caught:
            source.stat(path)
        assert caught.value.entry_code.value == code
    assert source.stat("nothing") is None


def test_a_destination_never_follows(linked: Path, tmp_path: Path) -> None:
    """Links at a destination are entries like others, whatever `symlinks` says about the source."""
    os.symlink(tmp_path / "outside", linked / "out")
    before = manifest(tmp_path / "outside")
    here = open_at(linked, create=True, symlinks=SymlinkMode.FOLLOW)
    new = Entry("out/new", Kind.FILE, size_bytes=1)

    for act in (
        lambda: here.put(new, [b"x"], None, THROTTLE),
        lambda: here.put(Entry("out/d/", Kind.DIRECTORY), None, None, THROTTLE),
        lambda: here.link("out/link", "real/file", None),
        lambda: here.rename(here.stat("real/file"), "out/moved"),
        lambda: here.put(
            Entry("out/", Kind.DIRECTORY, attributes=Attributes(mode=0o777)), None, None, THROTTLE
        ),
    ):
        with pytest.raises(EntryError) as caught:
            act()
        assert caught.value.entry_code is EntryCode.STALE
    assert here.stat("out/secret") is None
    assert entries_of(here)["out"].kind is Kind.SYMLINK
    assert manifest(tmp_path / "outside") == before


@contextmanager
def _flipping(left: Path, right: Path) -> Iterator[list[int]]:
    """Two names change places as fast as they can while the block runs; yields [number of flips]."""
    flips = [0]
    stop = threading.Event()

    def flip() -> None:
        while not stop.is_set():
            exchange(str(left), str(right))
            flips[0] += 1

    thread = threading.Thread(target=flip)
    thread.start()
    try:
        yield flips
    finally:
        stop.set()
        thread.join()


def test_no_write_follows_a_swapped_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "sub", outside):
        (folder / "folder").mkdir(parents=True)
        (folder / "file").write_bytes(b"original")
    os.symlink(outside, root / "evil")
    (root / "target").write_bytes(b"t")
    before = manifest(outside)
    here = open_at(root, create=True)
    attributes = Attributes(mode=0o777, xattrs=(("user.x", b"1"),))
    file = Entry("sub/file", Kind.FILE, mtime_ns=5, attributes=attributes)
    folder = Entry("sub/", Kind.DIRECTORY, mtime_ns=5, attributes=attributes)
    done = dict.fromkeys(range(8), 0)
    with _flipping(root / "sub", root / "evil") as flips:
        end = time.monotonic() + 0.6
        number = 0
        # On a busy machine each act still gets its chance; the bound only ends a test that cannot pass.
        while time.monotonic() < end or (not (all(done.values()) and flips[0] > 100) and number < 200_000):
            number += 1
            acts = (
                lambda n=number: here.put(Entry(f"sub/f{n}", Kind.FILE, mtime_ns=1), [b"x"], None, THROTTLE),
                lambda n=number: here.put(Entry(f"sub/d{n}/", Kind.DIRECTORY), None, None, THROTTLE),
                lambda n=number: here.put(
                    Entry(f"sub/l{n}", Kind.SYMLINK, link_target="x"), None, None, THROTTLE
                ),
                lambda: here.set_attributes(file, None),
                lambda: here.set_attributes(folder, None),
                lambda n=number: here.link(f"sub/h{n}", "target", None),
                lambda n=number: here.rename(here.stat(f"sub/f{n}"), f"sub/r{n}"),
                lambda n=number: here.remove(here.stat(f"sub/r{n}")),
            )
            for index, act in enumerate(acts):
                try:
                    act()
                    done[index] += 1
                except (EntryError, AttributeError):
                    pass  # the folder was a link just then, or the step before had met one
    assert flips[0] > 100
    assert all(done.values()), done
    assert manifest(outside) == before


def test_no_read_follows_a_swapped_link(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder, content in ((root / "sub", b"mine!!"), (outside, b"secret")):
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(content)
        os.utime(folder / "file", ns=(1, 1))
    os.symlink(outside, root / "evil")
    wanted = Entry("sub/file", Kind.FILE, size_bytes=6, mtime_ns=1)
    seen = set()
    listed = set()
    for mode in (SymlinkMode.PRESERVE, SymlinkMode.FOLLOW):
        here = open_at(root, symlinks=mode)
        with _flipping(root / "sub", root / "evil") as flips:
            end = time.monotonic() + 0.4
            reads = 0
            while time.monotonic() < end or (not (seen and listed and flips[0] > 100) and reads < 100_000):
                reads += 1
                try:
                    seen.update(bytes(chunk) for chunk in here.read(wanted))
                except EntryError:
                    pass
                for each in here.scan():
                    if isinstance(each, Entry) and each.kind is Kind.FILE:
                        listed.add((each.path, each.version))
        assert flips[0] > 100
    facts = os.stat(outside / "file")
    assert seen == {b"mine!!"}
    assert listed
    assert f"{facts.st_ino}:{facts.st_ctime_ns}" not in {version for _, version in listed}
