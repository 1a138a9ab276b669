"""A tree with everything that hurts, synchronised by the installed command and judged by others."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
from pathlib import Path

import pytest
from conftest import Project

from runner.testing.manifest import manifest
from runner.testing.trees import hostile_tree

RSYNC = shutil.which("rsync")


def acl(*entries: tuple[int, int, int]) -> bytes:
    """A raw POSIX ACL: version 2, then (tag, permissions, id) as Linux stores them."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in entries)


ACL = acl((1, 6, 0xFFFFFFFF), (2, 4, 1234), (4, 4, 0xFFFFFFFF), (16, 6, 0xFFFFFFFF), (32, 4, 0xFFFFFFFF))


def make_hostile(source: Path) -> None:
    hostile_tree().write(str(source))
    plain = source / "plain"
    plain.mkdir()
    (plain / "first").write_bytes(b"linked")
    for name in ("second", "third"):
        os.link(plain / "first", plain / name)
    (source / "zz-group-elsewhere").mkdir()
    os.link(plain / "first", source / "zz-group-elsewhere" / "fourth")
    with open(plain / "sparse", "wb") as stream:
        stream.write(b"head")
        stream.seek(64 << 20)
        stream.write(b"tail")
    os.mkfifo(plain / "fifo")
    here = os.open(plain, os.O_RDONLY)
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"/proc/self/fd/{here}/socket")
    finally:
        os.close(here)
    (plain / "setuid").write_bytes(b"#!/bin/true")
    os.chmod(plain / "setuid", 0o4755)
    (plain / "sticky").mkdir()
    os.chmod(plain / "sticky", 0o1777)
    (plain / "empty").mkdir()
    (plain / "secret").write_bytes(b"")
    os.chmod(plain / "secret", 0)
    (plain / "link").symlink_to("first")
    (plain / "dangling").symlink_to("/nowhere/at all")
    (plain / "to-folder").symlink_to("empty")
    os.setxattr(plain / "first", "user.comment", b"\x00binary\xff")
    os.setxattr(plain / "empty", "user.on-folder", b"yes")
    os.setxattr(plain / "secret", "system.posix_acl_access", ACL)
    os.setxattr(plain / "empty", "system.posix_acl_default", ACL)
    os.utime(plain / "link", ns=(1, 1_234_567_891), follow_symlinks=False)
    os.utime(plain / "first", ns=(1, -5_000_000_001))
    make_deep(plain)


def make_deep(folder: Path) -> None:
    """30 folders of 200 bytes each: the path is longer than PATH_MAX, so it can only be made step by step."""
    handle = os.open(folder, os.O_RDONLY)
    for depth in range(30):
        name = f"{depth:03d}" + "d" * 197
        os.mkdir(name, dir_fd=handle)
        deeper = os.open(name, os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = deeper
    bottom = os.open("bottom", os.O_WRONLY | os.O_CREAT, 0o640, dir_fd=handle)
    os.write(bottom, b"deep")
    os.close(bottom)
    os.close(handle)


def rsync_differences(source: Path, destination: Path) -> str:
    """What rsync would still change."""
    assert RSYNC is not None
    done = subprocess.run(
        [RSYNC, "-naicHAX", "--delete", f"{source}/", f"{destination}/"], capture_output=True, check=False
    )
    return (done.stdout + done.stderr).decode("utf-8", "replace")


@pytest.mark.root
def test_everything_arrives_and_a_second_plan_is_empty(project: Project) -> None:
    make_hostile(project.source)
    report = project.run("run", "--json").json
    assert report["problems"] == []
    assert manifest(str(project.destination)) == manifest(str(project.source))
    summary = project.run("plan", "t", "--json", "--detailed-exitcode").json
    assert summary["trailer"]["actions"] == 0
    allocated = [
        os.stat(root / "plain" / "sparse").st_blocks * 512 for root in (project.source, project.destination)
    ]
    assert allocated[1] <= allocated[0] + 65_536


@pytest.mark.root
@pytest.mark.skipif(RSYNC is None, reason="rsync is the judge: apt-get install rsync")
def test_rsync_finds_nothing_left_to_do(project: Project) -> None:
    make_hostile(project.source)
    # rsync itself cannot open paths longer than PATH_MAX.
    subprocess.run(["rm", "-rf", str(project.source / "plain" / ("000" + "d" * 197))], check=True)
    project.run("run")
    assert rsync_differences(project.source, project.destination) == ""


@pytest.mark.root
def test_the_same_by_a_reviewed_plan(project: Project) -> None:
    make_hostile(project.source)
    project.run("plan", "t", "-o", "p.jsonl")
    first = (project.folder / "p.jsonl").read_bytes()
    project.run("plan", "t", "-o", "p.jsonl")
    assert (project.folder / "p.jsonl").read_bytes() == first
    project.run("apply", "p.jsonl")
    assert manifest(str(project.destination)) == manifest(str(project.source))
    # Applied once more, every action finds its work done: nothing is stale, nothing is written.
    project.run("apply", "p.jsonl")
    assert manifest(str(project.destination)) == manifest(str(project.source))


@pytest.mark.root
def test_counters_add_up(project: Project) -> None:
    make_hostile(project.source)
    project.configure(filters={"exclude": ["*.exe", "/plain/empty"], "max_size": "1MiB"})
    counters = project.run("run", "--json").json["counters"]
    for sort in ("files", "folders"):
        assert counters["listed"][sort] == sum(
            counters[name][sort] for name in ("transferred", "skipped", "failed", "excluded")
        )
