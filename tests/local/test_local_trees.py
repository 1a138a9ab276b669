"""Whole trees: what is listed, and that a copy is the same tree."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
from local_support import (
    ALL_ATTRIBUTES,
    NASTY_NAMES,
    THROTTLE,
    entries_of,
    exchange,
    manifest,
    mirror,
    open_at,
)
from runner_plugins.local.native import native

from runner.model.entry import Entry, Kind, Problem, path_bytes

RSYNC = shutil.which("rsync")


def _assert_same(source: Path, destination: Path) -> None:
    assert manifest(destination) == manifest(source)
    if RSYNC is None:  # the second judge is asked where it is installed
        return
    judge = subprocess.run(
        [RSYNC, "-naicHAX", "--delete", f"{source}/", f"{destination}/"], capture_output=True, check=True
    )
    assert judge.stdout == b""


def _second_look(source: Path, destination: Path) -> None:
    """Entry by entry, both sides are listed alike."""

    def plain(root: Path) -> list[tuple[object, ...]]:
        location = open_at(root)
        return [
            (entry.path, entry.kind, entry.size_bytes, entry.mtime_ns, entry.link_target, entry.attributes)
            for entry in entries_of(location).values()
        ]

    assert plain(destination) == plain(source)


def test_names_in_any_bytes_arrive_and_are_listed_in_byte_order(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for number, name in enumerate(NASTY_NAMES):
        Path(os.fsdecode(os.path.join(os.fsencode(source), name))).write_bytes(b"%d" % number)
    for name in NASTY_NAMES[:10]:
        os.makedirs(os.path.join(os.fsencode(source), b"folder", name, name))
    origin, target = open_at(source), open_at(tmp_path / "target", create=True)

    paths = [entry.path for entry in entries_of(origin).values()]

    assert len(paths) == len(NASTY_NAMES) + 1 + 1 + 20
    assert paths == sorted(paths, key=path_bytes)
    assert mirror(origin, target) == []
    _assert_same(source, tmp_path / "target")
    assert [entry.path for entry in entries_of(target).values()] == paths


def test_a_folder_sorts_with_its_slash(tmp_path: Path) -> None:
    for name in ("a-b", "a.b", "a0"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "z").write_bytes(b"")

    assert list(entries_of(open_at(tmp_path))) == ["", "a-b", "a.b", "a/", "a/z", "a0"]


@pytest.mark.root
@pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl makes the ACLs: apt-get install acl")
def test_everything_a_posix_tree_holds_is_copied(tmp_path: Path, mount_tmpfs) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for folder in ("empty", "sticky", "closed", "setgid", "deep/er"):
        (source / folder).mkdir(parents=True)
    (source / "file").write_bytes(b"content")
    os.utime(source / "file", ns=(1, 1_234_567_890_123_456_789))
    (source / "setuid").write_bytes(b"program")
    os.chown(source / "setuid", 1234, 5678)
    (source / "setuid").chmod(0o6755)
    (source / "hard1").write_bytes(b"shared")
    os.link(source / "hard1", source / "deep" / "hard2")
    os.link(source / "hard1", source / "zhard3")
    os.symlink("hard1", source / "link")
    os.symlink("../../../etc/passwd", source / "escaping")
    os.symlink("nowhere \n", source / "dangling")
    os.lchown(source / "dangling", 77, 88)
    os.link(source / "dangling", source / "dangling2", follow_symlinks=False)
    os.mkfifo(source / "fifo", 0o640)
    os.mknod(source / "character", 0o020_660, os.makedev(1, 3))
    os.mknod(source / "block", 0o060_600, os.makedev(7, 99))
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(source)
        try:
            server.bind("socket")
        finally:
            os.chdir(here)
    os.setxattr(source / "file", "user.note", b"\x00\xff")
    os.setxattr(source / "deep", "user.folder", b"yes")
    os.setxattr(source / "file", "trusted.mark", b"root only")
    os.setxattr(source / "link", "trusted.mark", b"on a link", follow_symlinks=False)
    subprocess.run(["setfacl", "-m", "u:1000:rw,g:2000:r", source / "file"], check=True)
    subprocess.run(["setfacl", "-m", "u:1000:rwx,d:u:1000:rwx", source / "deep"], check=True)
    (source / "sticky").chmod(0o1777)
    (source / "setgid").chmod(0o2775)
    (source / "closed").chmod(0o000)
    os.utime(source / "link", ns=(5, 6), follow_symlinks=False)
    os.utime(source / "deep", ns=(7, 8))
    origin, target = open_at(source), open_at(tmp_path / "target", create=True)

    assert mirror(origin, target) == []

    _assert_same(source, tmp_path / "target")
    _second_look(source, tmp_path / "target")
    elsewhere = mount_tmpfs("elsewhere", "size=4m")
    assert mirror(origin, open_at(elsewhere, create=True)) == []
    _assert_same(source, elsewhere)


def test_facts_of_each_kind(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")
    os.link(tmp_path / "file", tmp_path / "other")
    os.mkfifo(tmp_path / "fifo", 0o600)
    os.symlink("file", tmp_path / "link")
    found = entries_of(open_at(tmp_path))

    facts = os.lstat(tmp_path / "file")
    assert found["file"].kind is Kind.FILE
    assert found["file"].size_bytes == 5
    assert found["file"].mtime_ns == facts.st_mtime_ns
    assert found["file"].version == f"{facts.st_ino}:{facts.st_ctime_ns}"
    assert found["file"].link_group == found["other"].link_group == f"{facts.st_dev}:{facts.st_ino}"
    assert found["file"].attributes is not None
    assert (found["file"].attributes.mode, found["file"].attributes.uid) == (
        facts.st_mode & 0o7777,
        facts.st_uid,
    )
    assert (found["fifo"].kind, found["fifo"].size_bytes) == (Kind.FIFO, None)
    assert (found["link"].kind, found["link"].link_target) == (Kind.SYMLINK, "file")
    assert found[""].kind is Kind.DIRECTORY
    assert found["link"].attributes is not None
    assert found["link"].attributes.mode is None


def test_only_wanted_attributes_are_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    os.setxattr(tmp_path / "file", "user.note", b"x")

    nothing = entries_of(open_at(tmp_path, attributes=frozenset()))["file"]
    names = entries_of(open_at(tmp_path, attributes=frozenset({"user", "group", "atime_ns"})))["file"]

    assert nothing.attributes is None
    assert names.attributes is not None
    assert names.attributes.xattrs is None
    assert names.attributes.mode is None
    assert names.attributes.atime_ns == os.lstat(tmp_path / "file").st_atime_ns
    if os.geteuid() == 0:
        assert (names.attributes.user, names.attributes.group) == ("root", "root")


def test_sparse_files_stay_sparse(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    cases = {"middle": [(1 << 20, b"data")], "ends": [(0, b"a"), (8 << 20, b"z" * 70_000)], "hole": []}
    for name, pieces in cases.items():
        with open(source / name, "wb") as file:
            file.truncate(32 << 20)
            for offset, piece in pieces:
                file.seek(offset)
                file.write(piece)
    origin, target = open_at(source), open_at(tmp_path / "target", create=True)

    mirror(origin, target)

    _assert_same(source, tmp_path / "target")
    for name in cases:
        expected = os.stat(source / name).st_blocks
        assert abs(os.stat(tmp_path / "target" / name).st_blocks - expected) <= 16
        listed = entries_of(origin)[name]
        assert listed.allocated_bytes is not None
        assert origin.digest(listed, origin._settings.digest, THROTTLE) == target.digest(
            entries_of(target)[name], origin._settings.digest, THROTTLE
        )


def test_put_keeps_announced_holes(tmp_path: Path) -> None:
    content = b"\0" * 70_000 + b"x" * 5000 + b"\0" * 100_001
    entry = Entry("f", Kind.FILE, size_bytes=len(content), mtime_ns=9, allocated_bytes=8192)
    location = open_at(tmp_path, create=True)
    pieces = [content[start : start + 30_001] for start in range(0, len(content), 30_001)]

    location.put(entry, pieces, None, THROTTLE)

    assert (tmp_path / "f").read_bytes() == content
    assert os.stat(tmp_path / "f").st_blocks * 512 <= 16_384


def _deep_tree(root: Path, names: list[str], leaf: str) -> None:
    fd = os.open(root, os.O_RDONLY)
    for name in names:
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    file = os.open(leaf, os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=fd)
    os.write(file, b"deep")
    os.close(file)
    os.close(fd)


def _remove_deep_tree(root: Path) -> None:
    subprocess.run(["rm", "-rf", str(root)], check=True)


@pytest.mark.parametrize(
    ("description", "names"),
    [
        ("longer than PATH_MAX", [chr(97 + number % 26) * 200 for number in range(30)]),
        ("more levels than descriptors or recursion allow", ["d"] * 1500),
    ],
)
def test_deep_trees(tmp_path: Path, description: str, names: list[str]) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    try:
        _deep_tree(source, names, "leaf")
        # What comes after the deep part in its parent folders is found as well.
        (source / names[0] / "zz-after").write_bytes(b"after")
        origin, destination = open_at(source), open_at(target, create=True)
        before = len(os.listdir("/proc/self/fd"))

        assert mirror(origin, destination) == []

        paths = list(entries_of(destination))
        deepest = "/".join(names) + "/leaf"
        assert paths == list(entries_of(origin))
        assert len(paths) == len(names) + 3
        assert deepest in paths
        assert paths[-1] == f"{names[0]}/zz-after"
        assert len(os.listdir("/proc/self/fd")) - before <= 2 * 200
        entry = destination.stat(deepest)
        assert entry is not None
        assert b"".join(bytes(chunk) for chunk in destination.read(entry)) == b"deep"
        destination.rename(entry, "/".join(names) + "/moved")
        moved = destination.stat("/".join(names) + "/moved")
        assert moved is not None
        destination.remove(moved)
        origin.close()
        destination.close()
    finally:
        _remove_deep_tree(source)
        _remove_deep_tree(target)


def test_own_names_are_never_yielded(tmp_path: Path) -> None:
    for folder in (
        ".sync-runner",
        "a/.sync-runner",
        ".sync-runner-quarantine/2026",
        "b/.sync-runner-quarantine",
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "x").write_bytes(b"")
    ours = ".sync-runner-0123456789ab-aa1.part"
    (tmp_path / "a" / ours).write_bytes(b"")
    for name in (".sync-runner-0123456789ab.part", ".sync-runner-x-1.part", ".sync-runner.yaml"):
        (tmp_path / name).write_bytes(b"")
    location = open_at(tmp_path)

    assert list(entries_of(location)) == [
        "",
        ".sync-runner-0123456789ab.part",
        ".sync-runner-x-1.part",
        ".sync-runner.yaml",
        "a/",
        "b/",
        "b/.sync-runner-quarantine/",
        "b/.sync-runner-quarantine/x",
    ]
    assert list(location.leftovers()) == [(f"a/{ours}", "0123456789ab")]
    assert list(entries_of(location, ".sync-runner-quarantine/")) == [
        ".sync-runner-quarantine/",
        ".sync-runner-quarantine/2026/",
        ".sync-runner-quarantine/2026/x",
    ]
    location.remove_leftover(f"a/{ours}")
    assert list(location.leftovers()) == []
    assert not (tmp_path / "a" / ours).exists()


def test_descend_and_prefix(tmp_path: Path) -> None:
    for path in ("a/b/c", "a/d", "e"):
        (tmp_path / path).mkdir(parents=True)
    location = open_at(tmp_path)

    pruned = [entry.path for entry in location.scan("", lambda entry: entry.path != "a/")]

    assert pruned == ["", "a/", "e/"]
    assert list(entries_of(location, "a/")) == ["a/", "a/b/", "a/b/c/", "a/d/"]
    assert list(entries_of(location, "gone/")) == []


@pytest.mark.parametrize("compiled", [False, True])
def test_a_scan_survives_moves_around_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    """What vanishes between listing and stat is left out; what becomes another kind is a problem.

    Compiled, ordinary files of a folder are looked at together, when the first of them comes.
    """
    if not compiled:
        monkeypatch.setattr("runner_plugins.local.scan.native", None)
    elif native is None:
        pytest.skip("the compiled module was not built here")
    for name in "abcd":
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "zdir").mkdir()
    (tmp_path / "zdir" / "inside").write_bytes(b"")
    scan = open_at(tmp_path).scan()
    assert next(scan).path == ""
    assert next(scan).path == "a"

    (tmp_path / "b").unlink()
    (tmp_path / "c").unlink()
    (tmp_path / "c").mkdir()
    os.symlink("/etc", tmp_path / "evil")
    exchange(str(tmp_path / "zdir"), str(tmp_path / "evil"))

    rest = list(scan)
    assert [(each.path, isinstance(each, Problem)) for each in rest] == [
        *([("b", False), ("c", False)] if compiled else [("c", True)]),
        ("d", False),
        ("zdir/", True),
    ]


def test_a_moved_folder_loses_no_names_silently(tmp_path: Path) -> None:
    """A level whose descriptor was given up is reopened by its place; what moved is a problem."""
    deep = ["d"] * 40
    (tmp_path / "root").mkdir()
    _deep_tree(tmp_path / "root", deep, "leaf")
    (tmp_path / "root" / "d" / "z").write_bytes(b"")
    scan = open_at(tmp_path / "root").scan()
    seen = []
    for each in scan:
        seen.append(each)
        if each.path.endswith("leaf"):
            break
    (tmp_path / "root" / "d" / "d").rename(tmp_path / "elsewhere")

    rest = list(scan)

    assert [each.path for each in rest] == ["d/z"]
    assert isinstance(rest[0], Problem)


def test_attributes_asked_are_listed(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"")
    os.setxattr(tmp_path / "x", "user.b", b"2")
    os.setxattr(tmp_path / "x", "user.a", b"1")

    entry = entries_of(open_at(tmp_path, attributes=ALL_ATTRIBUTES))["x"]

    assert entry.attributes is not None
    assert entry.attributes.xattrs == (("user.a", b"1"), ("user.b", b"2"))
    assert entry.attributes.acls == ()
