"""The real pipeline over HDFS: there and back, from cluster to cluster, with deletions, and a second plan that is empty."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hdfs_support import NOON_NS, TRANSPORTS, opened, put
from servers.real_pair import MIRROR, RealPair, contents, holding, local, with_options
from servers.serve_hdfs import Hdfs

from runner.model.entry import Attributes, Entry, Kind
from runner.model.execution import Report
from runner.model.task import Durability, MetadataOptions, Owner, VerifyMode
from runner.testing.conformance_base import Meter
from runner.testing.manifest import manifest
from runner.testing.trees import Folder, Symlink, hostile_names, tree

pytestmark = [pytest.mark.servers, pytest.mark.parametrize("transport", TRANSPORTS)]

CHECKED = with_options(
    MIRROR, verify_mode=VerifyMode.POINT_IN_TIME_CONSISTENT, durability=Durability.FILE, workers=8
)


def build(folder: Path) -> None:
    """Every hostile name that HDFS holds, empty files and folders, modes and times of whole milliseconds."""
    names = [os.fsdecode(name) for name in hostile_names() if b":" not in name and is_utf8(name)]
    tree(
        {
            **{f"names/{name}": os.fsencode(name) for name in names if name != ".snapshot"},
            "plain/big": bytes(range(256)) * 8_000,
            "plain/empty": b"",
            "plain/none/": Folder(),
            "deep/a/b/c/d/e": b"deep",
        }
    ).write(folder)
    for top, folders, files in os.walk(os.fsencode(folder), topdown=False):
        for name in [*files, *folders, b"."]:
            os.utime(os.path.join(top, name), ns=(NOON_NS, NOON_NS + 123_000_000), follow_symlinks=False)
    (folder / "plain" / "big").chmod(0o640)
    (folder / "plain" / "none").chmod(0o1750)


def is_utf8(name: bytes) -> bool:
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


def ended_well(report: Report) -> None:
    assert report.execution.status.value == "SUCCESS", (report.problems, report.findings)


def test_there_and_back(hdfs: Hdfs, transport: str, tmp_path: Path) -> None:
    """local -> hdfs -> local: byte-equal names and contents, modes, times, empty folders."""
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    build(source)
    remote = hdfs.location(transport=transport)
    for number, (left, right) in enumerate([(local(source), remote), (remote, local(back))]):
        folder = tmp_path / f"state-{number}"
        folder.mkdir()
        pair = RealPair(folder, left, right, CHECKED)
        ended_well(pair.run())
        assert pair.second_plan() == []
    assert manifest(back) == manifest(source)


def test_changes_and_deletions(hdfs: Hdfs, transport: str, tmp_path: Path) -> None:
    """What changed is replaced, what is gone is removed, kinds change places; what a plan did not see stays."""
    source = tmp_path / "source"
    source.mkdir()
    build(source)
    remote = hdfs.location(transport=transport)
    pair = RealPair(tmp_path, local(source), remote, CHECKED)
    ended_well(pair.run())
    (source / "plain" / "big").write_bytes(b"shorter")
    (source / "plain" / "empty").unlink()
    (source / "plain" / "empty").mkdir()
    (source / "plain" / "none").rmdir()
    (source / "plain" / "none").write_bytes(b"a file now")
    (source / "deep" / "a" / "b" / "c" / "d" / "e").unlink()
    (source / "deep" / "a" / "b" / "c" / "d").rmdir()
    pair.plan()
    ended_well(pair.apply())
    assert pair.second_plan() == []
    assert contents(remote) == contents(local(source))
    assert sorted(holding(remote)) == sorted(holding(local(source)))


def test_what_hdfs_cannot_hold_is_refused_by_name(hdfs: Hdfs, transport: str, tmp_path: Path) -> None:
    """A colon, bytes that are no UTF-8, a link: reported, and the rest arrives."""
    source = tmp_path / "source"
    tree({"a:b": b"colon", "plain": b"fine", "link": Symlink("plain")}).write(source)
    (source / os.fsdecode(b"bad-\xff")).write_bytes(b"bytes")
    remote = hdfs.location(transport=transport)
    pair = RealPair(tmp_path, local(source), remote, MIRROR)
    report = pair.run()
    assert contents(remote) == {"plain": b"fine"}
    refused = {problem.path: problem.code.value for problem in report.problems}
    assert refused == {
        "a:b": "name_not_allowed",
        os.fsdecode(b"bad-\xff"): "name_not_allowed",
        "link": "kind_not_supported",
    }


def test_metadata_from_hdfs_to_hdfs(hdfs: Hdfs, transport: str, tmp_path: Path) -> None:
    """Owner and group by name, mode, access lists, and over WebHDFS extended attributes."""
    more = {"acls": True, **({"xattrs": True} if transport == "webhdfs" else {})}
    left, right = (hdfs.location(transport=transport, **more) for _ in range(2))
    with opened(left) as location:
        put(location, "listed", b"with a list")
        put(location, "owned", b"with an owner")
        folder = Attributes(mode=0o1770)
        location.put(Entry("d/", Kind.DIRECTORY, mtime_ns=NOON_NS, attributes=folder), None, None, Meter())
    set_behind(hdfs, left["path"], transport)
    options = with_options(MIRROR, metadata=MetadataOptions(owner=Owner.NAMES, atime=True))
    pair = RealPair(tmp_path, left, right, options)
    ended_well(pair.run())
    assert pair.second_plan() == []
    attributes = frozenset(
        {"mode", "user", "group", "acls"} | ({"xattrs"} if transport == "webhdfs" else set())
    )
    told = [
        {path: held.entry.attributes for path, held in holding(one, attributes).items()}
        for one in (left, right)
    ]
    assert told[0] == told[1]
    listed, owned, d = (told[1][path] for path in ("listed", "owned", "d/"))
    assert listed is not None and owned is not None and d is not None
    assert listed.acls == (("hdfs", b"group::r--,user:bob:rw-"),)
    assert (listed.mode, owned.user, owned.group) == (0o660, "alice", "staff")
    assert d.acls == (("hdfs", b"default:group::r-x,default:other::---,default:user::rwx"),)
    if transport == "webhdfs":
        assert owned.xattrs == (("user.colour", b"red\x00\xff"), ("user.empty", b""))
    hdfs.web("PUT", "REMOVEACL", left["path"] + "/listed")
    ended_well(pair.run())
    assert pair.second_plan() == []
    assert hdfs.web("GET", "GETACLSTATUS", right["path"] + "/listed")["AclStatus"]["entries"] == []


def set_behind(hdfs: Hdfs, root: str, transport: str) -> None:
    """Metadata, set independently of the driver."""
    hdfs.web(
        "PUT",
        "SETACL",
        f"{root}/listed",
        aclspec="user::rw-,user:bob:rw-,group::r--,mask::rw-,other::---",
    )
    hdfs.web("PUT", "SETACL", f"{root}/d", aclspec="default:user::rwx,default:group::r-x,default:other::---")
    hdfs.web("PUT", "SETOWNER", f"{root}/owned", owner="alice", group="staff")
    if transport == "webhdfs":
        for name, value in (("user.colour", "0x72656400ff"), ("user.empty", "0x")):
            more: dict[str, Any] = {"xattr.name": name, "xattr.value": value, "flag": "CREATE"}
            hdfs.web("PUT", "SETXATTR", f"{root}/owned", **more)


def test_a_numeric_access_list_is_refused_and_reported(hdfs: Hdfs, transport: str, tmp_path: Path) -> None:
    """acls: true opposite a local folder: the list cannot be understood, the content arrives."""
    remote = hdfs.location(transport=transport, acls=True)
    attributes = Attributes(mode=0o6640, acls=(("access", b"\x02\x00\x00\x00"),))
    with opened(remote) as location:
        entry = Entry("a", Kind.FILE, size_bytes=1, mtime_ns=-1, attributes=attributes)
        written = location.put(entry, [b"x"], None, Meter())
        assert set(written.refused) == {"acls", "mode", "mtime"}
        assert location.stat("a").attributes.mode == 0o640
