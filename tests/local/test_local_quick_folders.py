"""The short ways for folders do what the general ways do, or nothing that those would not do again."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from local_support import open_at
from runner_plugins.local.native import native
from runner_plugins.local.quick_folders import QuickFolders

from runner.model.entry import Attributes, Entry, Kind

pytestmark = pytest.mark.skipif(native is None, reason="the compiled module was not built here")
MTIME = 1_234_567_890_123_456_789


def ways(tmp_path: Path) -> QuickFolders:
    """Between src, which has the folder a/b, and dst, which has a."""
    (tmp_path / "src" / "a" / "b").mkdir(parents=True)
    (tmp_path / "dst" / "a").mkdir(parents=True)
    short = open_at(tmp_path / "dst", create=True).quick_folders(open_at(tmp_path / "src"))
    assert short is not None
    return short


def wanted(**changes: object) -> Entry:
    attributes = Attributes(mode=0o2750 & 0o777, uid=os.geteuid(), gid=os.getegid(), xattrs=(), acls=())
    entry = Entry("a/b/", Kind.DIRECTORY, None, MTIME, attributes=attributes)
    fields = {name: value for name, value in changes.items() if name in Attributes.__struct_fields__}
    entry = msgspec.structs.replace(entry, attributes=msgspec.structs.replace(attributes, **fields))
    return msgspec.structs.replace(entry, **{name: changes[name] for name in changes if name not in fields})


def test_a_folder_is_made_for_its_owner_alone_and_finished(tmp_path: Path) -> None:
    short = ways(tmp_path)
    assert short.make(wanted())
    made = tmp_path / "dst" / "a" / "b"
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    (made / "f").write_bytes(b"")
    assert short.finish(wanted())
    assert stat.S_IMODE(made.stat().st_mode) == 0o750
    assert made.stat().st_mtime_ns == MTIME
    assert not short.make(wanted())


def _in_the_way(tmp_path: Path) -> None:
    (tmp_path / "dst" / "a" / "b").write_bytes(b"precious")


def _link_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir(mode=0o711)
    (tmp_path / "dst" / "a" / "b").symlink_to(tmp_path / "far")


def _parent_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "dst" / "a").rmdir()
    (tmp_path / "dst" / "a").symlink_to(tmp_path / "far")


def _source_gone(tmp_path: Path) -> None:
    (tmp_path / "src" / "a" / "b").rmdir()


def _source_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "src" / "a" / "b").rmdir()
    (tmp_path / "src" / "a" / "b").write_bytes(b"")


def _source_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "src" / "a" / "b").rmdir()
    (tmp_path / "src" / "a" / "b").symlink_to(tmp_path / "src")


def _parent_hands_down_its_group(tmp_path: Path) -> None:
    (tmp_path / "dst" / "a").chmod(0o2755)


def _everything(root: Path) -> list[tuple[str, int, int, bytes]]:
    found = []
    for path in sorted(root.rglob("*")):
        facts = path.lstat()
        content = path.read_bytes() if stat.S_ISREG(facts.st_mode) else b""
        found.append((str(path), facts.st_mode, facts.st_mtime_ns if path.name != "a" else 0, content))
    return found


@pytest.mark.parametrize(
    "meddle",
    [
        _in_the_way,
        _link_in_the_way,
        _parent_is_a_link,
        _source_gone,
        _source_is_a_file,
        _source_is_a_link,
        _parent_hands_down_its_group,
    ],
)
def test_what_is_not_plain_is_left_as_it_is(tmp_path: Path, meddle: Callable[[Path], None]) -> None:
    short = ways(tmp_path)
    meddle(tmp_path)
    before = _everything(tmp_path)
    assert not short.make(wanted())
    assert not short.finish(wanted())
    assert _everything(tmp_path) == before


@pytest.mark.parametrize(
    "entry",
    [
        wanted(mtime_ns=None),
        wanted(mode=None),
        wanted(mode=0o1777),
        wanted(uid=None),
        wanted(user="root"),
        wanted(xattrs=None),
        wanted(acls=(("access", b"x"),)),
        wanted(atime_ns=5),
        wanted(path=""),
        wanted(path="a/../b/"),
        wanted(kind=Kind.FILE),
    ],
    ids=lambda entry: entry.path + str(entry.attributes),
)
def test_what_asks_for_more_is_not_for_here(tmp_path: Path, entry: Entry) -> None:
    short = ways(tmp_path)
    assert short.make(wanted())
    before = _everything(tmp_path)
    assert not short.finish(entry)
    assert _everything(tmp_path) == before


def test_a_strange_umask_changes_nothing(tmp_path: Path) -> None:
    short = ways(tmp_path)
    before = os.umask(0o200)
    try:
        assert not short.make(wanted())
    finally:
        os.umask(before)
    assert os.listdir(tmp_path / "dst" / "a") == []


def test_extended_attributes_are_for_the_general_way(tmp_path: Path) -> None:
    short = ways(tmp_path)
    assert short.make(wanted())
    try:
        os.setxattr(tmp_path / "dst" / "a" / "b", "user.k", b"v")
    except OSError:
        pytest.skip("this file system has no extended attributes")
    assert not short.finish(wanted())


def test_a_parent_that_was_moved_away_is_not_written_into_for_long(tmp_path: Path) -> None:
    short = ways(tmp_path)
    assert short.make(wanted())
    (tmp_path / "dst" / "a").rename(tmp_path / "elsewhere")
    for number in range(40):  # the folder itself is looked at now and then
        (tmp_path / "src" / "a" / f"n{number}").mkdir()
        short.make(wanted(path=f"a/n{number}/"))
    assert not (tmp_path / "elsewhere" / "n39").exists()
