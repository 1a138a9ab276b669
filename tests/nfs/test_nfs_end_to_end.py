"""The installed command between folders and exports: plan, apply, verify, nothing left to do, deletions right."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from nfs_support import EVERYTHING, FREE, mounted, names_in, opened, paths
from servers.serve_ganesha import Ganesha

from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import SymlinkMode
from runner.testing.conformance_base import content_of, put_file, stated

MTIME_NS = 1_234_567_890_987_654_321


class Command:
    """A folder with a sync.yaml whose one task leads from `source` to `destination`, each time another task."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._tasks = 0

    @property
    def task(self) -> str:
        return f"task-{self._tasks}"

    def configure(self, source: dict[str, Any], destination: dict[str, Any], **task: Any) -> None:
        self._tasks += 1
        document = {
            "version": 1,
            "locations": {"src": source, "dst": destination},
            "tasks": {self.task: {"source": "src", "destination": "dst", **task}},
        }
        (self.folder / "sync.yaml").write_text(json.dumps(document))

    def run(self, *arguments: str, expect: int = 0) -> Any:
        """The command's JSON."""
        done = subprocess.run(
            [sys.executable, "-m", "runner", *arguments, "--json"],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={**os.environ, "NO_COLOR": "1"},
            timeout=120,
        )
        assert done.returncode == expect, (
            f"{done.returncode}: {done.stdout.decode()[-3000:]}{done.stderr.decode()}"
        )
        return json.loads(done.stdout)

    def is_in_sync(self) -> None:
        """A second plan is empty, and the whole destination holds what the source holds."""
        self.run("check", self.task)
        self.run("verify", self.task)


@pytest.fixture
def command(tmp_path: Path) -> Command:
    folder = tmp_path / "work"
    folder.mkdir()
    return Command(folder)


def fill(folder: Path) -> None:
    """Everything NFSv3 carries, under names that hurt."""
    for name, content in {
        b"a": b"a",
        b"empty": b"",
        b"big": bytes(range(256)) * 20_000,
        b"d/e/f/deep": b"deep",
        b"d-e/x": b"x",
        b" lead": b"1",
        b"-rf": b"2",
        b"new\nline\r\t": b"3",
        b"\xff\xfe not utf-8": b"4",
        "Gr\u00f6\u00dfe/\u65e5\u672c".encode(): b"5",
        "nfc-\u00e9".encode(): b"6",
        "nfd-e\u0301".encode(): b"7",
        b"$(touch x)`id`": b"8",
        b"..x\\..\\y": b"9",
        b"n" * 255: b"10",
        b"setuid": b"#!",
    }.items():
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.utime(path, ns=(MTIME_NS, MTIME_NS))
    (folder / "hollow").mkdir(mode=0o710)
    (folder / "link").symlink_to("../away")
    (folder / "dangling").symlink_to("/nowhere/at all")
    os.link(folder / "a", folder / "d/other-name-of-a")
    os.mkfifo(folder / "pipe", 0o640)
    with (folder / "sparse").open("wb") as file:
        file.truncate(5_000_000)
        file.seek(4_000_000)
        file.write(b"end")
    (folder / "d").chmod(0o2751)
    if os.geteuid() == 0:
        os.chown(folder / "big", 1234, 4321)
        os.lchown(folder / "link", 12, 34)
    (folder / "setuid").chmod(0o4755)
    os.utime(folder / "hollow", ns=(MTIME_NS, MTIME_NS))


@pytest.mark.servers
@pytest.mark.root
def test_there_and_back_again(ganesha: Ganesha, command: Command, tmp_path: Path) -> None:
    """local -> nfs -> nfs -> local: content, names, modes, owners, times, links, empty folders and holes."""
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    fill(source)
    first, second = ganesha.location(), ganesha.location()
    for left, right in (
        ({"type": "local", "path": str(source)}, first),
        (first, second),
        (second, {"type": "local", "path": str(back)}),
    ):
        command.configure(left, right, options={"preserve_deleted_files": "remove"})
        command.run("plan", command.task, "-o", "p.jsonl")
        command.run("apply", "p.jsonl")
        command.is_in_sync()
    (there,) = {ganesha.exports["/open"] / first["path"]}
    assert names_in(there) == names_in(source) == names_in(back)
    for name in names_in(source):
        one, other = (source / name).lstat(), (back / name).lstat()
        assert (one.st_mode, one.st_uid, one.st_gid) == (other.st_mode, other.st_uid, other.st_gid), name
        if not stat.S_ISLNK(one.st_mode):
            assert one.st_mtime_ns == other.st_mtime_ns, name
        if stat.S_ISREG(one.st_mode):
            assert (source / name).read_bytes() == (back / name).read_bytes() == (there / name).read_bytes()
        if stat.S_ISLNK(one.st_mode):
            assert os.readlink(source / name) == os.readlink(back / name)
    assert (back / "a").samefile(back / "d/other-name-of-a")
    assert (there / "sparse").lstat().st_blocks * 512 < 3_000_000


@pytest.mark.servers
@pytest.mark.root
@pytest.mark.parametrize("kept", ["remove", "quarantine"])
def test_changes_and_deletions(ganesha: Ganesha, command: Command, tmp_path: Path, kept: str) -> None:
    source = tmp_path / "source"
    source.mkdir()
    fill(source)
    destination = ganesha.location()
    command.configure(
        {"type": "local", "path": str(source)},
        destination,
        options={"preserve_deleted_files": kept},
    )
    command.run("run", command.task)
    (source / "a").write_text("changed")
    (source / "d/e/f/deep").unlink()
    (source / "d/e/f").rmdir()
    (source / "link").unlink()
    (source / "link").mkdir()
    (source / "hollow").rmdir()
    (source / "hollow").write_text("a file now")
    (source / "pipe").chmod(0o600)
    command.run("run", command.task)
    command.is_in_sync()
    there = ganesha.exports["/open"] / destination["path"]
    hidden = (".sync-runner", ".sync-runner-quarantine")
    assert [name for name in names_in(there) if not name.startswith(hidden)] == names_in(source)
    assert (there / "a").read_text() == "changed"
    assert (there / "d/other-name-of-a").read_text() == "changed"
    if kept == "quarantine":
        assert [name for name in names_in(there) if name.endswith("/deep")]


@pytest.mark.root
def test_a_mount_that_vanishes_between_plan_and_apply(command: Command, tmp_path: Path) -> None:
    """Exit 7, nothing deleted at the other side, nothing written into the folder beneath."""
    source, target = tmp_path / "source", tmp_path / "target"
    with mounted(tmp_path / "mount") as stand_in:
        location = {
            "type": "nfs",
            "server": "nas.example.org",
            "export": "/exports/projects",
            "mounted_at": str(stand_in.point),
            "fs_types": ["tmpfs"],
        }
        source.mkdir()
        fill(source)
        command.configure({"type": "local", "path": str(source)}, location)
        command.run("run", command.task)
        command.is_in_sync()
        (source / "more").write_text("x")
        command.run("plan", command.task, "-o", "p.jsonl")
        stand_in.unmount()
        command.run("apply", "p.jsonl", expect=7)
        command.run("run", command.task, expect=7)
        assert names_in(stand_in.point) == []
        # As a source: an empty folder would mean that everything was deleted.
        stand_in.mount()
        target.mkdir()
        fill(stand_in.point)
        options = {"preserve_deleted_files": "remove"}
        command.configure(location, {"type": "local", "path": str(target)}, options=options)
        command.run("run", command.task)
        held = names_in(target)
        command.run("plan", command.task, "-o", "p.jsonl")
        stand_in.unmount()
        for arguments in (("apply", "p.jsonl"), ("run", command.task), ("plan", command.task)):
            command.run(*arguments, expect=7)
        assert names_in(target) == held
        assert len(held) > 20


# -- metadata ------------------------------------------------------------------------------------------------


@pytest.mark.servers
@pytest.mark.root
def test_owners_set_user_ids_and_devices(ganesha: Ganesha) -> None:
    """All set and in force; a set-user-ID bit only with its owner."""
    settings = ganesha.settings()
    with opened(settings) as location:
        for entry in (
            Entry("suid", Kind.FILE, 1, MTIME_NS, attributes=Attributes(mode=0o6755, uid=12, gid=34)),
            Entry("disk", Kind.BLOCK_DEVICE, attributes=Attributes(mode=0o660, device=os.makedev(8, 300))),
            Entry("tty", Kind.CHARACTER_DEVICE, attributes=Attributes(mode=0o620, device=os.makedev(5, 1))),
            Entry("socket", Kind.SOCKET, attributes=Attributes(mode=0o600, uid=5, gid=6)),
            Entry("link", Kind.SYMLINK, link_target="x\udcff", attributes=Attributes(uid=5, gid=6)),
        ):
            content = [b"x"] if entry.kind is Kind.FILE else None
            assert location.put(entry, content, None, FREE).refused == ()
            found = stated(location, entry.path)
            wanted = entry.attributes
            assert found.attributes is not None and wanted is not None
            for field in ("mode", "uid", "gid", "device"):
                if getattr(wanted, field) is not None:
                    assert getattr(found.attributes, field) == getattr(wanted, field), (entry.path, field)
        assert stated(location, "link").link_target == "x\udcff"
        suid = stated(location, "suid")
        again = Attributes(mode=0o6755, uid=99, gid=34)
        assert (
            location.set_attributes(Entry("suid", Kind.FILE, 1, MTIME_NS, attributes=again), suid).refused
            == ()
        )
        assert stated(location, "suid").attributes == Attributes(
            mode=0o6755, uid=99, gid=34, atime_ns=stated(location, "suid").attributes.atime_ns
        )


@pytest.mark.servers
@pytest.mark.root
def test_what_a_squashed_root_may_not_set(ganesha: Ganesha) -> None:
    """The content arrives; owner and set-user-ID bit are named as refused."""
    settings = ganesha.settings(export="/squashed")
    entry = Entry("a", Kind.FILE, 1, MTIME_NS, attributes=Attributes(mode=0o4755, uid=12, gid=34))
    with opened(settings) as location:
        assert set(location.put(entry, [b"x"], None, FREE).refused) == {"mode", "uid", "gid"}
        found = stated(location, "a")
        assert content_of(location, "a") == b"x"
        assert (found.mtime_ns, found.attributes.mode) == (MTIME_NS, 0o755)


@pytest.mark.servers
@pytest.mark.root
def test_links_followed_by_the_runner_stay_inside(ganesha: Ganesha) -> None:
    settings = ganesha.settings()
    with opened(settings) as location:
        put_file(location, "real/file", b"inside")
        for path, target in {
            "to-file": "real/file",
            "to-folder": "real",
            "out": "../x",
            "absolute": "/etc/passwd",
            "broken": "real/none",
            "real/loop": "../real",
            "self": "self",
        }.items():
            location.put(Entry(path, Kind.SYMLINK, link_target=target), None, None, FREE)
    following = OpenSettings(symlinks=SymlinkMode.FOLLOW, attributes=EVERYTHING)
    with opened(settings, following, create=False) as location:
        found = {one.path: one for one in location.scan()}
        assert {path: one.code.value for path, one in found.items() if not isinstance(one, Entry)} == {
            "out": "link_escapes",
            "absolute": "link_escapes",
            "broken": "link_broken",
            "self": "link_loop",
            "real/loop/": "link_loop",
            "to-folder/loop/": "link_loop",
        }
        assert {path for path, one in found.items() if isinstance(one, Entry)} == {
            "",
            "real/",
            "real/file",
            "to-file",
            "to-folder/",
            "to-folder/file",
        }
        for path in ("to-file", "to-folder/file"):
            assert content_of(location, path) == b"inside"
            assert found[path].followed is (path == "to-file")
    refusing = OpenSettings(symlinks=SymlinkMode.ERROR)
    with opened(settings, refusing, create=False) as location:
        problems = [one.path for one in location.scan() if not isinstance(one, Entry)]
        assert problems == ["absolute", "broken", "out", "real/loop", "self", "to-file", "to-folder"]


@pytest.mark.servers
@pytest.mark.root
def test_a_large_folder_is_listed_page_by_page(ganesha: Ganesha) -> None:
    settings = ganesha.settings()
    with opened(settings) as location:
        put_file(location, "d/first")
        folder = ganesha.folder_of(settings) / "d"
        for number in range(3000):
            (folder / f"{number:04}-{'x' * 100}").touch()
        assert len(paths(location)) == 3002
