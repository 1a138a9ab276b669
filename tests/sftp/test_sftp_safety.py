"""Nothing outside the root, no byte of a name changed, no time that wraps, no set-uid bit without its owner."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.process import free_port
from servers.serve_openssh import OpenSsh, started
from sftp_support import NOON_NS, opened, put, read, refusal

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind, Problem
from runner.model.task import Durability, Integrity, SymlinkMode
from runner.testing.conformance_base import Meter

pytestmark = pytest.mark.servers

NOBODY = 65534


@pytest.fixture
def root(openssh: OpenSsh) -> Path:
    folder = openssh.new_root()
    folder.mkdir()
    return folder


@pytest.fixture
def location(openssh: OpenSsh, root: Path) -> Iterator[Any]:
    with opened(openssh.options(root)) as one:
        yield one


def entry(path: str, content: bytes = b"", **more: Any) -> Entry:
    return Entry(path, Kind.FILE, size_bytes=len(content), mtime_ns=more.pop("mtime_ns", NOON_NS), **more)


def test_no_method_goes_through_a_symlinked_folder(location: Any, root: Path, tmp_path: Path) -> None:
    """A link in the place of a folder, put there after the location was used: refused, and nothing outside moves."""
    put(location, "d/a", b"inside")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_bytes(b"inside")
    os.utime(outside / "a", ns=(NOON_NS, NOON_NS))
    stands = location.stat("d/a")
    shutil.rmtree(root / "d")
    (root / "d").symlink_to(outside)
    before = sorted((path, path.lstat()) for path in outside.iterdir())
    assert location.stat("d/a") is None
    calls = [
        lambda: list(location.read(stands)),
        lambda: location.put(entry("d/new", b"x"), [b"x"], None, Meter()),
        lambda: location.put(entry("d/a", b"x"), [b"x"], stands, Meter()),
        lambda: location.put(Entry("d/sub/", Kind.DIRECTORY), None, None, Meter()),
        lambda: location.put(Entry("d/link", Kind.SYMLINK, link_target="x"), None, None, Meter()),
        lambda: location.remove(stands),
        lambda: location.set_attributes(entry("d/a", b"inside", mtime_ns=0), stands),
        lambda: location.rename(stands, "elsewhere"),
        lambda: location.remove_leftover("d/.sync-runner-0123456789ab-1.part"),
    ]
    put(location, "moving", b"x")
    calls.append(lambda: location.rename(location.stat("moving"), "d/moved"))
    for call in calls[:-2] + calls[-1:]:
        with pytest.raises(EntryError) as caught:
            call()
        assert caught.value.entry_code in (EntryCode.STALE, EntryCode.CHANGED_DURING_TRANSFER)
    assert [one.path for one in location.scan()] == ["", "d", "moving"]
    assert [one.path for one in location.scan("d/")] == []
    assert sorted((path, path.lstat()) for path in outside.iterdir()) == before
    assert (outside / "a").read_bytes() == b"inside"


def test_a_root_swapped_for_a_link_is_noticed(location: Any, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    root.rmdir()
    root.symlink_to(tmp_path / "outside")
    with pytest.raises(EntryError):
        put(location, "a", b"x")
    assert list((tmp_path / "outside").iterdir()) == []


def test_names_are_bytes(location: Any, root: Path) -> None:
    """What is no UTF-8 arrives, is listed and removed as the same bytes; so does a link's text."""
    raw = b"caf\xe9-\xff\xfe\n"
    put(location, os.fsdecode(raw), b"latin-1")
    location.put(Entry("link", Kind.SYMLINK, link_target=os.fsdecode(b"to-\xff")), None, None, Meter())
    assert sorted(os.listdir(os.fsencode(root))) == sorted([raw, b"link"])
    assert os.readlink(os.fsencode(root) + b"/link") == b"to-\xff"
    (Path(os.fsdecode(os.fsencode(root))) / os.fsdecode(b"made-\x80")).touch()
    assert [one.path for one in location.scan()][1:] == [os.fsdecode(raw), "link", os.fsdecode(b"made-\x80")]
    assert read(location, os.fsdecode(raw)) == b"latin-1"
    location.remove(location.stat(os.fsdecode(raw)))
    assert not os.path.exists(os.fsencode(root) + b"/" + raw)


@pytest.mark.parametrize("seconds", [-1, -315_619_200, 2**32, 2**33])
def test_a_time_that_sftp_cannot_hold_is_refused_not_wrapped(location: Any, root: Path, seconds: int) -> None:
    """32 bits without sign: 1969 would become 2106."""
    written = location.put(entry("a", b"x", mtime_ns=seconds * 10**9), [b"x"], None, Meter())
    assert written.refused == ("mtime",)
    assert (root / "a").read_bytes() == b"x"
    assert abs((root / "a").stat().st_mtime - root.stat().st_mtime) < 100
    again = location.set_attributes(entry("a", b"x", mtime_ns=seconds * 10**9), location.stat("a"))
    assert again.refused == ("mtime",)


@pytest.mark.parametrize("seconds", [0, 2**31, 2**32 - 1])
def test_times_at_the_ends_of_what_sftp_holds(location: Any, root: Path, seconds: int) -> None:
    put(location, "a", b"x", mtime_ns=seconds * 10**9)
    assert (root / "a").stat().st_mtime == seconds


def test_symlinks_point_where_they_should_and_are_not_followed(
    location: Any, root: Path, tmp_path: Path
) -> None:
    """OpenSSH takes the arguments of SYMLINK the other way round than the draft says."""
    target = tmp_path / "target"
    target.write_bytes(b"kept")
    os.utime(target, ns=(NOON_NS, NOON_NS))
    given = Attributes(uid=os.getuid(), gid=os.getgid(), mode=0o777)
    link = Entry("link", Kind.SYMLINK, link_target=str(target), mtime_ns=10**18, attributes=given)
    assert location.put(link, None, None, Meter()).refused == ()
    assert (root / "link").is_symlink() and os.readlink(root / "link") == str(target)
    assert (root / "link").lstat().st_mtime_ns == 10**18
    assert target.stat().st_mtime_ns == NOON_NS and target.read_bytes() == b"kept"
    with pytest.raises(EntryError):
        list(location.read(Entry("link", Kind.FILE, size_bytes=4)))


def test_links_are_followed_inside_the_root_only_when_asked(openssh: OpenSsh, root: Path) -> None:
    """`symlinks: follow`: files and folders inside come through; what escapes, is broken or loops is a problem."""
    (root / "real").mkdir()
    (root / "real" / "file").write_bytes(b"content")
    for name, target in {
        "file": "real/file",
        "folder": "real",
        "out": "/etc",
        "up": "../../etc",
        "broken": "nothing",
        "self": "self",
        "real/loop": "..",
    }.items():
        (root / name).symlink_to(target)
    follow = OpenSettings(symlinks=SymlinkMode.FOLLOW)
    with opened(openssh.options(root), follow, create=False) as location:
        found = list(location.scan())
        entries = {one.path: one for one in found if isinstance(one, Entry)}
        codes = {one.path: one.code for one in found if isinstance(one, Problem)}
        assert sorted(entries) == ["", "file", "folder/", "folder/file", "real/", "real/file"]
        assert codes == {
            "broken": EntryCode.LINK_BROKEN,
            "folder/loop": EntryCode.LINK_LOOP,
            "out": EntryCode.LINK_ESCAPES,
            "real/loop": EntryCode.LINK_LOOP,
            "self": EntryCode.LINK_LOOP,
            "up": EntryCode.LINK_ESCAPES,
        }
        assert entries["file"].followed and entries["folder/"].followed
        for path in ("file", "folder/file"):
            assert read(location, path) == b"content"
            assert location.stat(path) == entries[path] or path == "folder/file"
    error = OpenSettings(symlinks=SymlinkMode.ERROR)
    with opened(openssh.options(root), error, create=False) as location:
        codes = {one.path: one.code for one in location.scan() if isinstance(one, Problem)}
        assert set(codes.values()) == {EntryCode.LINK_REFUSED} and len(codes) == 7


def test_a_root_that_vanishes_is_not_an_empty_location(location: Any, root: Path) -> None:
    from runner.errors import LocationUnavailableError

    put(location, "a", b"x")
    root.rename(root.with_name("gone"))
    with pytest.raises(LocationUnavailableError):
        list(location.scan())


def test_special_files_are_listed_and_not_read(location: Any, root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert [(one.path, one.kind) for one in location.scan()] == [("", Kind.DIRECTORY), ("pipe", Kind.FIFO)]
    with pytest.raises(EntryError):
        list(location.read(Entry("pipe", Kind.FILE)))


def test_leftovers_are_found_and_removed_and_nothing_else(location: Any, root: Path) -> None:
    (root / "d").mkdir()
    (root / "d" / ".sync-runner-0123456789ab-1.part").touch()
    (root / "d" / ".sync-runner-not-ours.part").touch()
    assert [one.path for one in location.scan()][1:] == ["d/", "d/.sync-runner-not-ours.part"]
    leftovers = list(location.leftovers())
    assert leftovers == [("d/.sync-runner-0123456789ab-1.part", "0123456789ab")]
    location.remove_leftover(leftovers[0][0])
    assert list(location.leftovers()) == []
    with pytest.raises(EntryError):
        location.remove_leftover("d/.sync-runner-not-ours.part")
    assert [path.name for path in (root / "d").iterdir()] == [".sync-runner-not-ours.part"]


def test_folders_of_many_names_come_whole_and_sorted(location: Any, root: Path) -> None:
    """More names than one answer holds."""
    names = sorted(f"{number * 7919 % 3000:04d}" for number in range(3000))
    for name in names:
        (root / name).touch()
    assert [one.path for one in location.scan()][1:] == names


@pytest.mark.parametrize("size", [0, 1 << 20, (1 << 20) + 1, 9_000_001])
@pytest.mark.parametrize("integrity", list(Integrity))
def test_sizes_around_the_border_between_one_flight_and_many(
    openssh: OpenSsh, root: Path, size: int, integrity: Integrity
) -> None:
    content = bytes(range(251)) * (size // 251 + 1)
    content = content[:size]
    with opened(openssh.options(root), OpenSettings(integrity=integrity)) as location:
        put(location, "a", content)
        assert (root / "a").read_bytes() == content
        assert read(location, "a") == content


# -- as a user who may not do everything -----------------------------------------------------------------------


@pytest.fixture
def as_nobody() -> Iterator[tuple[dict[str, Any], Path]]:
    """Options that log in as an unprivileged user, and a root that is its own."""
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-test-"))
    try:
        folder.chmod(0o755)
        with started(folder, free_port()) as server:
            server.roots.chmod(0o755)
            root = server.new_root()
            root.mkdir()
            os.chown(root, NOBODY, NOBODY)
            yield {**server.options(root), "user": "nobody"}, root
    finally:
        shutil.rmtree(folder)


@pytest.mark.root
def test_owners_that_may_not_be_set_are_refused_and_take_set_uid_along(
    as_nobody: tuple[dict[str, Any], Path],
) -> None:
    """The content arrives; a set-uid bit without its owner would be a gift to somebody else."""
    options, root = as_nobody
    with opened(options) as location:
        given = Attributes(mode=0o4755, uid=0, gid=0)
        written = location.put(entry("a", b"x", attributes=given), [b"x"], None, Meter())
        assert set(written.refused) == {"uid", "gid", "mode"}
        assert (root / "a").read_bytes() == b"x"
        assert (root / "a").stat().st_mode & 0o7777 == 0o755
        assert (root / "a").stat().st_uid == NOBODY
        own = Attributes(mode=0o4755, uid=NOBODY, gid=NOBODY)
        assert location.put(entry("b", b"x", attributes=own), [b"x"], None, Meter()).refused == ()
        assert (root / "b").stat().st_mode & 0o7777 == 0o4755


@pytest.mark.root
def test_folders_that_may_not_be_listed_or_written(as_nobody: tuple[dict[str, Any], Path]) -> None:
    options, root = as_nobody
    for name in ("a", "locked", "z"):
        (root / name).mkdir()
    (root / "locked" / "inside").touch()
    (root / "locked").chmod(0o700)
    with opened(options) as location:
        found = [(type(one), one.path) for one in location.scan()]
        assert found == [
            (Entry, ""),
            (Entry, "a/"),
            (Entry, "locked/"),
            (Problem, "locked/"),
            (Entry, "z/"),
        ]
        for call in (
            lambda: location.stat("locked/inside"),
            lambda: put(location, "locked/new", b"x"),
            lambda: put(location, "a/new", b"x"),
        ):
            with pytest.raises(EntryError) as caught:
                call()
            assert caught.value.entry_code is EntryCode.PERMISSION_DENIED


def test_set_uid_bits_survive_the_change_of_owner(location: Any, root: Path) -> None:
    """chown takes them away: the owner is set first."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    given = Attributes(mode=0o6755, uid=1234, gid=2345)
    for path in ("a", "b"):
        written = location.put(entry(path, b"x", attributes=given), [b"x"], None, Meter())
        facts = (root / path).stat()
        assert (written.refused, facts.st_mode & 0o7777) == ((), 0o6755)
        assert (facts.st_uid, facts.st_gid, facts.st_mtime_ns) == (1234, 2345, NOON_NS)
    plain = Attributes(mode=0o640, uid=1234, gid=2345)
    assert location.put(entry("c", b"x", attributes=plain), [b"x"], None, Meter()).refused == ()
    facts = (root / "c").stat()
    assert (facts.st_mode & 0o7777, facts.st_uid, facts.st_gid) == (0o640, 1234, 2345)


@pytest.mark.root
@pytest.mark.slow
def test_a_full_disk_is_told_from_other_failures(openssh: OpenSsh, root: Path) -> None:
    """SFTP says "Failure" for nearly everything: the free space is asked for."""
    import subprocess

    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(root)], check=False)
    if mounted.returncode != 0:
        pytest.skip("may not mount")
    try:
        content = bytes(4 << 20)
        with opened(openssh.options(root)) as location:
            with pytest.raises(EntryError) as caught:
                location.put(entry("a", content), [content], None, Meter())
            assert caught.value.entry_code is EntryCode.NO_SPACE
            assert list(root.iterdir()) == []
            subprocess.run(["mount", "-o", "remount,ro", str(root)], check=True)
            with pytest.raises(EntryError) as caught:
                put(location, "b", b"x")
            assert caught.value.entry_code is EntryCode.READ_ONLY
    finally:
        subprocess.run(["umount", str(root)], check=True)


def test_a_root_that_is_a_file(openssh: OpenSsh, root: Path) -> None:
    (root / "file").touch()
    assert "is no folder" in refusal(openssh.options(root / "file")).message


def test_flushing_reaches_the_folder_too(openssh: OpenSsh, root: Path) -> None:
    with opened(openssh.options(root), OpenSettings(durability=Durability.FULL)) as location:
        put(location, "d/a", b"x")
        location.put(Entry("d/e/", Kind.DIRECTORY, mtime_ns=NOON_NS), None, None, Meter())
        assert (root / "d" / "e").stat().st_mtime_ns == NOON_NS
