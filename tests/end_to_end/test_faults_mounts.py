"""A mount whose server is not the kernel: poorer than a disk, and gone when its process is killed. Real ones,
by bindfs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import Project
from servers.process import program

from runner.testing.manifest import manifest

pytestmark = [pytest.mark.root, pytest.mark.slow]
# hard_remove: a file goes when it is removed, and not some time later under a hidden name, which moves its folder.
# atime: bindfs 1.14 ignores a modification time that comes without an access time; verification tells that.
OPTIONS = {"metadata": {"atime": True}}
MOUNTING = ("-f", "--xattr-none", "-o", "attr_timeout=0,entry_timeout=0,hard_remove")


class FuseMount:
    """`backing` seen at `folder` through a process of this test."""

    def __init__(self, backing: Path, folder: Path) -> None:
        self.folder, self._backing = folder, backing
        self.start()

    def start(self) -> None:
        """Mount it, and wait until the kernel has it."""
        command = [
            program("bindfs", "apt-get install bindfs"),
            *MOUNTING,
            str(self._backing),
            str(self.folder),
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not os.path.ismount(self.folder):
            assert self.process.poll() is None, "bindfs ended instead of mounting"
            os.sched_yield()

    def kill(self) -> None:
        """As a crash would end it: the mount stays, and whatever is asked of it fails."""
        self.process.kill()
        self.process.communicate(timeout=30)

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, timeout=60)
        self.kill()


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    folder = tmp_path / "backing"
    folder.mkdir()
    return folder


@pytest.fixture
def source_mount(project: Project, backing: Path) -> Iterator[FuseMount]:
    mount = FuseMount(backing, project.source)
    yield mount
    mount.unmount()


@pytest.fixture
def destination_mount(project: Project, backing: Path) -> Iterator[FuseMount]:
    project.destination.mkdir()
    mount = FuseMount(backing, project.destination)
    yield mount
    mount.unmount()


def digests(folder: Path) -> dict[bytes, str | None]:
    return {path: row.sha256 for path, row in manifest(str(folder)).items() if row.kind == "-"}


def test_a_file_system_that_knows_little_is_written_to(
    project: Project, destination_mount: FuseMount, backing: Path
) -> None:
    """No extended attributes, no files without a name, no renames with a condition: all content arrives, and what
    the file system accepted and did not do is found (a folder's time, by bindfs 1.14)."""
    for name in "abc":
        (project.source / name).write_bytes(name.encode() * 1_000)
    (project.source / "big").write_bytes(b"big" * 1_000_000)
    for content in (b"new", b"longer"):
        (project.source / "a").write_bytes(content * 1_000)
        ran = project.run("run", "t", "--json", expect=None)
        assert ran.code in (0, 5), ran.err
        assert ran.json["problems"] == []
        assert {(one["path"], one["verdict"]) for one in ran.json["findings"]} <= {("", "metadata_failure")}
        assert digests(backing) == digests(project.source)
    project.configure(options=OPTIONS)
    project.run("run", "t")
    project.run("plan", "t", "--detailed-exitcode", expect=0)


def test_a_source_whose_server_dies_while_it_is_read(
    project: Project, source_mount: FuseMount, backing: Path
) -> None:
    """F26. The rest is reported, nothing is deleted, what was there before is whole."""
    for name in ("a", "b/c", "b/d"):
        (project.destination / name).parent.mkdir(parents=True, exist_ok=True)
        (project.destination / name).write_bytes(b"only here" * 100)
    (backing / "1").write_bytes(b"1" * 1_000)
    (backing / "2").write_bytes(b"2" * 20_000_000)
    project.configure(
        options={"preserve_deleted_files": "remove", "bandwidth": "1MiB/s"},
        guards={"max_deletions": "unlimited"},
    )
    old = digests(project.destination)
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "t", "--json"],
        cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while process.poll() is None and not (project.destination / "1").exists():
            os.sched_yield()
        source_mount.kill()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (4, 7), out + err
    assert "Traceback" not in out + err
    assert "Transport endpoint is not connected" in out or "unavailable" in out
    assert {path: digest for path, digest in digests(project.destination).items() if path in old} == old
    assert b"2" not in digests(project.destination)
    project.run("run", "t", expect=7)
    assert {path: digest for path, digest in digests(project.destination).items() if path in old} == old
    subprocess.run(["umount", "--lazy", str(project.source)], check=True, timeout=60)
    source_mount.start()
    project.configure(options={"preserve_deleted_files": "remove"}, guards={"max_deletions": "unlimited"})
    project.run("run", "t")
    assert digests(project.destination) == digests(backing)


def test_a_destination_whose_server_dies_while_it_is_written_to(
    project: Project, destination_mount: FuseMount, backing: Path
) -> None:
    """F26."""
    (project.source / "1").write_bytes(b"1" * 1_000)
    (project.source / "2").write_bytes(b"2" * 1_000)
    project.configure(options=OPTIONS)
    project.configure(options=OPTIONS)
    project.run("run", "t")
    old = digests(backing)
    (project.source / "1").write_bytes(b"one" * 1_000)
    (project.source / "2").write_bytes(b"two" * 8_000_000)
    project.configure(options={**OPTIONS, "bandwidth": "1MiB/s"})
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "t", "--json"],
        cwd=project.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        while process.poll() is None and (backing / "1").stat().st_size == 1_000:
            os.sched_yield()
        destination_mount.kill()
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode in (4, 7), out + err
    assert "Traceback" not in out + err
    assert digests(backing)[b"2"] == old[b"2"]
    subprocess.run(["umount", "--lazy", str(project.destination)], check=True, timeout=60)
    destination_mount.start()
    project.configure(options=OPTIONS)
    project.run("run", "t")
    assert digests(backing) == digests(project.source)
