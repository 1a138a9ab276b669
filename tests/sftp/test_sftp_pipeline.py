"""The real pipeline over SFTP: there and back, from server to server, with deletions, and a second plan that is empty."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from servers.process import free_port
from servers.real_pair import MIRROR, RealPair, contents, local, with_options
from servers.serve_openssh import OpenSsh, started

from runner.model.execution import Report
from runner.model.task import Compare, DeletedFiles, Durability, VerifyMode
from runner.testing.manifest import manifest
from runner.testing.trees import Folder, Symlink, hostile_names, tree

pytestmark = pytest.mark.servers

NOON_NS = 1_700_000_000_000_000_000
CHECKED = with_options(
    MIRROR, verify_mode=VerifyMode.POINT_IN_TIME_CONSISTENT, durability=Durability.FILE, workers=4
)


def build(folder: Path) -> None:
    """Every hostile name, links, empty folders, modes and whole-second times; no hard links, which SFTP cannot tell."""
    spec: dict[str, Any] = {f"names/{os.fsdecode(name)}": name for name in hostile_names()}
    tree(
        {
            **spec,
            "plain/big": bytes(range(256)) * 8_000,
            "plain/empty": b"",
            "plain/none/": Folder(),
            "plain/link": Symlink("big"),
            "plain/dangling": Symlink("../nothing"),
            "deep/a/b/c/d/e": b"deep",
        }
    ).write(folder)
    for top, folders, files in os.walk(os.fsencode(folder), topdown=False):
        for name in [*files, *folders, b"."]:
            os.utime(os.path.join(top, name), ns=(NOON_NS, NOON_NS), follow_symlinks=False)
    (folder / "plain" / "big").chmod(0o640)
    (folder / "plain" / "none").chmod(0o750)


def ended_well(report: Report) -> None:
    assert report.execution.status.value == "SUCCESS", (report.problems, report.findings)


def test_there_and_back(openssh: OpenSsh, tmp_path: Path) -> None:
    """local -> sftp -> local: byte-equal names and contents, modes, owners, times, links, empty folders."""
    source, back = tmp_path / "source", tmp_path / "back"
    source.mkdir()
    build(source)
    remote = openssh.location()
    for number, (left, right) in enumerate([(local(source), remote), (remote, local(back))]):
        folder = tmp_path / f"state-{number}"
        folder.mkdir()
        pair = RealPair(folder, left, right, CHECKED)
        ended_well(pair.run())
        assert pair.second_plan() == []
    assert manifest(back) == manifest(source)


def test_from_server_to_server(openssh: OpenSsh, tmp_path: Path) -> None:
    """sftp -> sftp, two servers; then changes and deletions."""
    build(Path(openssh.new_root().parent / "left"))
    left = {"type": "sftp", **openssh.options(openssh.roots / "left")}
    keys = tmp_path / "keys"
    keys.mkdir()
    with started(keys, free_port()) as other:
        right = other.location()
        pair = RealPair(tmp_path, left, right, CHECKED)
        pair.plan()
        ended_well(pair.apply())
        assert pair.second_plan() == []
        assert manifest(Path(right["path"])) == manifest(Path(left["path"]))
        changed = Path(left["path"])
        (changed / "plain" / "big").write_bytes(b"shorter")
        (changed / "plain" / "empty").unlink()
        (changed / "deep" / "a" / "b" / "c" / "d" / "e").unlink()
        (changed / "deep" / "a" / "b" / "c" / "d").rmdir()
        (changed / "plain" / "link").unlink()
        (changed / "plain" / "link").mkdir()
        ended_well(pair.run())
        assert pair.second_plan() == []
        assert contents(right) == contents(left)


def test_checksums_and_quarantine(openssh: OpenSsh, tmp_path: Path) -> None:
    """compare: checksum reads both sides; what is deleted moves into quarantine, and is no content afterwards."""
    source = tmp_path / "source"
    build(source)
    remote = openssh.location()
    options = with_options(CHECKED, compare=Compare.CHECKSUM, preserve_deleted_files=DeletedFiles.QUARANTINE)
    pair = RealPair(tmp_path, local(source), remote, options)
    ended_well(pair.run())
    kept = Path(remote["path"]) / "plain" / "big"
    facts = kept.stat()
    content = bytearray(kept.read_bytes())
    content[1000] ^= 1
    kept.write_bytes(content)
    os.utime(kept, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    (source / "plain" / "empty").unlink()
    assert ("replace", "plain/big") in pair.second_plan()
    ended_well(pair.run())
    assert pair.second_plan() == []
    assert contents(remote) == contents(local(source))
    assert [path.name for path in (Path(remote["path"]) / ".sync-runner-quarantine").rglob("empty")] == [
        "empty"
    ]
