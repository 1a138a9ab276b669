"""Metadata: what is set, what is refused and said so, and what must never be set."""

from __future__ import annotations

import errno
import os
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from local_support import NOBODY, THROTTLE, HookedThrottle, NoFeatures, as_nobody, open_at

from runner.errors import EntryCode
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem

pytestmark = pytest.mark.root


def _put(here, path: str, **attributes: object) -> tuple[str, ...]:
    entry = Entry(path, Kind.FILE, size_bytes=1, mtime_ns=77, attributes=Attributes(**attributes))
    return here.put(entry, [b"x"], None, THROTTLE).refused


SETUID_CASES = [
    ("owner and group planned", {"mode": 0o6755, "uid": 1234, "gid": 5678}, 0o6755, ()),
    ("root's own", {"mode": 0o4755, "uid": 0, "gid": 0}, 0o4755, ()),
    ("no owner planned", {"mode": 0o4755}, 0o755, ("mode",)),
    ("only the user planned", {"mode": 0o6711, "uid": 1234}, 0o711, ("mode",)),
    ("only the group planned", {"mode": 0o2755, "gid": 1234}, 0o755, ("mode",)),
    ("an unknown user's name", {"mode": 0o4755, "user": "no-such-user", "gid": 0}, 0o755, ("user", "mode")),
    ("names that are known", {"mode": 0o4750, "user": "nobody", "group": "root"}, 0o4750, ()),
    (
        "an unknown name with its number",
        {"mode": 0o644, "user": "no-such-user", "uid": 9, "gid": 9},
        0o644,
        (),
    ),
    ("sticky needs no owner", {"mode": 0o1644}, 0o1644, ()),
]


@pytest.mark.parametrize(("description", "attributes", "mode", "refused"), SETUID_CASES)
def test_setuid_only_with_its_owner(
    tmp_path: Path, description: str, attributes: dict[str, object], mode: int, refused: tuple[str, ...]
) -> None:
    here = open_at(tmp_path, create=True)

    assert _put(here, "f", **attributes) == refused

    assert os.stat(tmp_path / "f").st_mode & 0o7777 == mode


def test_without_root_owners_are_refused_and_setuid_dropped(nobody_folder: Path) -> None:
    def work() -> list[object]:
        here = open_at(nobody_folder, create=True)
        entry = Entry("theirs", Kind.FILE, size_bytes=1, attributes=Attributes(mode=0o4755, uid=0, gid=0))
        own = Attributes(mode=0o4755, uid=NOBODY, gid=NOBODY)
        extended = Attributes(xattrs=(("trusted.x", b"1"), ("user.y", b"2")))
        return [
            here.put(entry, [b"x"], None, THROTTLE).refused,
            here.put(
                msgspec.structs.replace(entry, path="own", attributes=own), [b"x"], None, THROTTLE
            ).refused,
            here.put(
                msgspec.structs.replace(entry, path="xattr", attributes=extended), [b"x"], None, THROTTLE
            ).refused,
        ]

    assert as_nobody(work) == [["gid", "uid", "mode"], [], ["xattrs"]]
    assert os.stat(nobody_folder / "theirs").st_mode & 0o7777 == 0o755
    assert os.stat(nobody_folder / "own").st_mode & 0o7777 == 0o4755
    assert os.getxattr(nobody_folder / "xattr", "user.y") == b"2"


def test_a_setgid_folder_does_not_leak_its_group(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    os.chown(tmp_path / "shared", 0, 4321)
    (tmp_path / "shared").chmod(0o2777)
    here = open_at(tmp_path, create=True)

    _put(here, "shared/f", mode=0o644, uid=0, gid=7)
    folder = Attributes(mode=0o755, uid=0, gid=7)
    here.put(Entry("shared/d/", Kind.DIRECTORY, attributes=folder), None, None, THROTTLE)

    assert os.stat(tmp_path / "shared" / "f").st_gid == 7
    facts = os.stat(tmp_path / "shared" / "d")
    assert (facts.st_gid, facts.st_mode & 0o7777) == (7, 0o755)


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl makes the ACLs: apt-get install acl")
def test_a_default_acl_does_not_leak(tmp_path: Path) -> None:
    subprocess.run(["setfacl", "-m", "d:u:1000:rwx,d:o::rwx", tmp_path], check=True)
    here = open_at(tmp_path, create=True)

    _put(here, "f", mode=0o640, acls=())
    folder = Attributes(mode=0o750, acls=())
    here.put(Entry("d/", Kind.DIRECTORY, attributes=folder), None, None, THROTTLE)

    assert os.listxattr(tmp_path / "f") == []
    assert os.stat(tmp_path / "f").st_mode & 0o7777 == 0o640
    assert os.listxattr(tmp_path / "d") == []
    assert os.stat(tmp_path / "d").st_mode & 0o7777 == 0o750


@pytest.mark.skipif(shutil.which("setfacl") is None, reason="setfacl makes the ACLs: apt-get install acl")
def test_set_attributes_makes_it_exactly_so(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    os.setxattr(path, "user.old", b"1")
    os.setxattr(path, "user.both", b"1")
    subprocess.run(["setfacl", "-m", "u:1000:rwx", path], check=True)
    subprocess.run(["setfacl", "-m", "u:1000:rwx", tmp_path], check=True)
    here = open_at(tmp_path, create=True)
    was = here.stat("f")
    acl = os.getxattr(tmp_path, "system.posix_acl_access")
    wanted = Attributes(
        mode=0o600, uid=3, gid=4, atime_ns=123, xattrs=(("user.both", b"2"), ("user.new", b"")), acls=()
    )

    refused = here.set_attributes(Entry("f", Kind.FILE, mtime_ns=456, attributes=wanted), was).refused

    facts = os.stat(path)
    assert refused == ()
    assert (facts.st_mode & 0o7777, facts.st_uid, facts.st_gid) == (0o600, 3, 4)
    assert (facts.st_atime_ns, facts.st_mtime_ns) == (123, 456)
    assert {name: os.getxattr(path, name) for name in os.listxattr(path)} == {
        "user.both": b"2",
        "user.new": b"",
    }
    here.set_attributes(Entry("f", Kind.FILE, attributes=Attributes(acls=(("access", acl),))), None)
    assert os.getxattr(path, "system.posix_acl_access") == acl
    found = here.stat("f")
    assert found is not None
    assert found.attributes is not None
    assert found.attributes.acls == (("access", acl),)


def test_what_is_none_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"x")
    path.chmod(0o641)
    os.setxattr(path, "user.kept", b"1")
    os.utime(path, ns=(1, 2))
    here = open_at(tmp_path, create=True)

    here.set_attributes(Entry("f", Kind.FILE, attributes=Attributes(uid=5)), here.stat("f"))

    facts = os.stat(path)
    assert (facts.st_uid, facts.st_mode & 0o7777, facts.st_mtime_ns) == (5, 0o641, 2)
    assert os.listxattr(path) == ["user.kept"]


@pytest.mark.parametrize("kind", [Kind.FILE, Kind.DIRECTORY, Kind.FIFO, Kind.SOCKET, Kind.CHARACTER_DEVICE])
def test_attributes_never_go_through_a_link(tmp_path: Path, kind: Kind) -> None:
    (tmp_path / "root").mkdir()
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o700) if kind is Kind.DIRECTORY else outside.write_bytes(b"x")
    os.utime(outside, ns=(1, 2))
    before = (os.stat(outside).st_mode, os.stat(outside).st_uid, os.stat(outside).st_mtime_ns)
    os.symlink(outside, tmp_path / "root" / "it")
    here = open_at(tmp_path / "root", create=True)
    wanted = Attributes(mode=0o777, uid=9, gid=9, xattrs=(("user.x", b"1"),))
    path = "it/" if kind is Kind.DIRECTORY else "it"

    try:
        here.set_attributes(Entry(path, kind, mtime_ns=5, attributes=wanted), None)
    except Exception as error:
        assert type(error).__name__ == "EntryError"

    assert (os.stat(outside).st_mode, os.stat(outside).st_uid, os.stat(outside).st_mtime_ns) == before
    assert os.listxattr(outside) == []


SPECIALS: list[tuple[Kind, dict[str, object], Callable[[os.stat_result], object]]] = [
    (Kind.SYMLINK, {"link_target": "to\nsomewhere"}, lambda facts: None),
    (Kind.FIFO, {}, lambda facts: facts.st_mode & 0o7777),
    (Kind.SOCKET, {}, lambda facts: facts.st_mode & 0o7777),
    (Kind.CHARACTER_DEVICE, {}, lambda facts: (facts.st_mode & 0o7777, facts.st_rdev)),
    (Kind.BLOCK_DEVICE, {}, lambda facts: (facts.st_mode & 0o7777, facts.st_rdev)),
]


@pytest.mark.parametrize(("kind", "facts", "seen"), SPECIALS)
def test_special_entries_are_made_and_replaced(
    tmp_path: Path, kind: Kind, facts: dict[str, object], seen: Callable[[os.stat_result], object]
) -> None:
    here = open_at(tmp_path, create=True)
    wanted = Attributes(mode=None if kind is Kind.SYMLINK else 0o640, uid=11, gid=12, device=os.makedev(1, 3))
    entry = Entry("it", kind, mtime_ns=1_000_000_001, attributes=wanted, **facts)

    for _ in range(2):
        assert here.put(entry, None, here.stat("it"), THROTTLE).refused == ()

    found = os.lstat(tmp_path / "it")
    expected = {
        Kind.SYMLINK: None,
        Kind.FIFO: 0o640,
        Kind.SOCKET: 0o640,
    }.get(kind, (0o640, os.makedev(1, 3)))
    assert seen(found) == expected
    assert (found.st_uid, found.st_gid, found.st_mtime_ns) == (11, 12, 1_000_000_001)
    assert os.listdir(tmp_path) == ["it"]
    listed = here.stat("it")
    assert listed is not None
    assert (listed.kind, listed.link_target) == (kind, facts.get("link_target"))


def test_new_content_is_never_readable_by_others_before_it_is_theirs(tmp_path: Path) -> None:
    """The draft is nameless or 0600 until its owner and mode are set."""
    seen = []

    def look(call: int) -> None:
        seen.extend((name, os.stat(tmp_path / name).st_mode & 0o7777) for name in os.listdir(tmp_path))

    entry = Entry("f", Kind.FILE, size_bytes=1, attributes=Attributes(mode=0o666, uid=5, gid=5))
    open_at(tmp_path, create=True).put(entry, [b"x"], None, HookedThrottle(look))
    assert seen == []
    named = msgspec.structs.replace(entry, path="g")
    open_at(tmp_path, create=True, syscalls=NoFeatures()).put(named, [b"x"], None, HookedThrottle(look))
    assert [mode for name, mode in seen if name.endswith(".part")] == [0o600]


@pytest.mark.parametrize(
    ("number", "attributes", "code"),
    [
        # What cannot be read is not the same as nothing: the file would go without.
        (errno.EIO, None, EntryCode.NOT_LISTED),
        (errno.ERANGE, None, EntryCode.NOT_LISTED),
        # Nobody else than its owner may read it: it is left as it is, wherever it is.
        (errno.EACCES, (None, None), None),
        (errno.EPERM, (None, None), None),
    ],
)
@pytest.mark.parametrize("call", ["listxattr", "getxattr"])
def test_extended_attributes_that_cannot_be_read(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    call: str,
    number: int,
    attributes: tuple[None, None] | None,
    code: EntryCode | None,
) -> None:
    (tmp_path / "file").touch()
    os.setxattr(tmp_path / "file", "user.note", b"kept")
    os.setxattr(tmp_path / "file", "system.posix_acl_access", _access_acl())
    real = getattr(os, call)

    def fails(path: str, *arguments: object, **keywords: object) -> object:
        if path.endswith("/file"):
            raise OSError(number, os.strerror(number), path)
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, call, fails)
    (found,) = [one for one in open_at(tmp_path).scan() if one.path == "file"]
    if code is not None:
        assert isinstance(found, Problem)
        assert (found.code, found.phase) == (code, Phase.PREPARING)
    else:
        assert isinstance(found, Entry)
        assert found.attributes is not None
        assert (found.attributes.xattrs, found.attributes.acls) == attributes


def _access_acl() -> bytes:
    """More than a mode says: user 1234 may read."""
    entries = [(1, 6, -1), (2, 4, 1234), (4, 4, -1), (16, 6, -1), (32, 4, -1)]
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHi", *entry) for entry in entries)
