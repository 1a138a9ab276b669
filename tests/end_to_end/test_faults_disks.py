"""Disks that are full, locked, rotten or gone, met by the installed command: rows of docs/faults-matrix.md."""

from __future__ import annotations

import mmap
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Project

from runner.testing.manifest import Row, manifest

pytestmark = [pytest.mark.root, pytest.mark.slow]
SBIN = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
Mount = Callable[..., Path]


def command(*words: str | Path) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, env=SBIN, timeout=60)
    assert done.returncode == 0, f"{words}: {done.stderr}"


@pytest.fixture
def mount(project: Project) -> Iterator[Mount]:
    """Mounts a file system of its own at the destination (or at another folder); all are gone afterwards."""
    mounted: list[Path] = []

    def mount(kind: str, size: str = "", folder: Path = project.destination, *options: str) -> Path:
        folder.mkdir(exist_ok=True)
        if kind == "tmpfs":
            command("mount", "-t", "tmpfs", "-o", ",".join((f"size={size}", *options)), "none", folder)
        else:
            image = project.folder / f"{folder.name}.image"
            with open(image, "wb") as file:
                file.truncate(int(size) << 20)
            force = "-f" if kind in ("xfs", "btrfs") else "-F"
            command(f"mkfs.{kind}", "-q", force, *options, image)
            command("mount", "-o", "loop", image, folder)
            folder.chmod(0o755)
            if kind == "ext4":
                (folder / "lost+found").rmdir()
        mounted.append(folder)
        return folder

    yield mount
    for folder in reversed(mounted):
        command("umount", folder)


def fill(folder: Path, names: str, size: int, letter: bytes = b"n") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(letter * size)


def files(folder: Path) -> dict[bytes, Row]:
    """All files and links of a tree, and nothing of what a file system keeps for itself."""
    return {path: row for path, row in manifest(str(folder)).items() if row.kind != "d"}


def codes(project: Project, report: dict) -> dict[str, int]:  # type: ignore[type-arg]
    """How many paths ended with each error code."""
    counted: dict[str, int] = {}
    for row in project.outcomes(report):
        if row["status"] != "done":
            code = row["problem"]["code"]
            counted[code] = counted.get(code, 0) + 1
    return counted


def converges(project: Project) -> None:
    """Without the fault the next run does the rest, and the plan after it is empty."""
    project.run("run", "t")
    assert {path: row.sha256 for path, row in files(project.destination).items()} == {
        path: row.sha256 for path, row in files(project.source).items()
    }
    project.run("plan", "t", "--detailed-exitcode", expect=0)


@pytest.mark.parametrize(("kind", "size"), [("tmpfs", "4m"), ("ext4", "8"), ("btrfs", "120")])
def test_a_disk_that_fills_up(project: Project, mount: Mount, kind: str, size: str) -> None:
    """F18."""
    fill(project.source, "abc", 1_000)
    root = mount(kind, size)
    project.run("run", "t")
    old = files(root)
    space = os.statvfs(root)
    free = space.f_bavail * space.f_frsize
    fill(project.source, "abc", 2_000, b"N")
    fill(project.source / "more", "defghij", free // 4)
    assert "guard free_space refused" in project.run("run", "t", expect=6).out
    assert files(root) == old
    report = project.run("run", "t", "--accept", "free_space", "--json", expect=4).json
    assert codes(project, report)["no_space"] >= 1
    for path, row in files(root).items():
        assert row.sha256 in (old.get(path, row).sha256, files(project.source)[path].sha256)
    for name in "efghij":
        (project.source / "more" / name).unlink()
        (root / "more" / name).unlink(missing_ok=True)
    converges(project)


@pytest.mark.parametrize(("kind", "size", "option"), [("tmpfs", "4m", "nr_inodes=12"), ("ext4", "4", "-N16")])
def test_a_disk_without_room_for_another_name(
    project: Project, mount: Mount, kind: str, size: str, option: str
) -> None:
    """F19. One cause is told, not one for each file."""
    fill(project.source / "folder", "abcdefghijklmnopqrstuvwxyz", 10)
    mount(kind, size, project.destination, option)
    assert "(inodes)" in project.run("run", "t", expect=6).out
    ran = project.run("run", "t", "--accept", "free_space", "--json", expect=4)
    assert codes(project, ran.json).get("no_space") == 1
    for name in "klmnopqrstuvwxyz":
        (project.source / "folder" / name).unlink()
    for name in "klmnopqrstuvwxyz":
        (project.destination / "folder" / name).unlink(missing_ok=True)
    for name in "efghij":
        (project.source / "folder" / name).unlink()
        (project.destination / "folder" / name).unlink(missing_ok=True)
    converges(project)


def test_a_quota_that_is_used_up(project: Project, mount: Mount) -> None:
    """F20. EDQUOT, which no look at the free space foretells."""
    root = mount("btrfs", "120")
    command("btrfs", "quota", "enable", root)
    command("btrfs", "subvolume", "create", root / "s")
    command("btrfs", "qgroup", "limit", "3M", root / "s")
    project.destination = root / "s"
    project.configure()
    fill(project.source, "abc", 1_000)
    project.run("run", "t")
    old = files(project.destination)
    fill(project.source, "abc", 2_000, b"N")
    fill(project.source / "more", "defgh", 1_500_000)
    report = project.run("run", "t", "--json", expect=4).json
    assert codes(project, report)["no_space"] >= 1
    for path, row in files(project.destination).items():
        assert row.sha256 in (old.get(path, row).sha256, files(project.source)[path].sha256)
    command("btrfs", "qgroup", "limit", "none", root / "s")
    converges(project)


def test_a_disk_that_became_read_only(project: Project, mount: Mount) -> None:
    """F21. The first refusal ends the run: the others would be refused as well."""
    fill(project.source, "abc", 1_000)
    root = mount("tmpfs", "4m")
    project.run("run", "t")
    old = files(root)
    fill(project.source, "abcdefgh", 2_000, b"N")
    command("mount", "-o", "remount,ro", root)
    report = project.run("run", "t", "--json", expect=4).json
    assert codes(project, report)["read_only"] == 1
    assert files(root) == old
    command("mount", "-o", "remount,rw", root)
    converges(project)


def test_what_may_not_be_changed(project: Project, mount: Mount) -> None:
    """F22. An immutable file and a folder that only takes new names: both are named, the rest is done."""
    root = mount("ext4", "16")
    project.configure(options={"preserve_deleted_files": "remove"}, guards={"max_deletions": "unlimited"})
    for folder in ("frozen", "growing", "free"):
        fill(project.source / folder, "abc", 1_000)
    project.run("run", "t")
    command("chattr", "+i", root / "frozen" / "a")
    command("chattr", "+a", root / "growing")
    try:
        for folder in ("frozen", "growing", "free"):
            fill(project.source / folder, "a", 2_000, b"N")
            fill(project.source / folder, "d", 3_000, b"N")
            (project.source / folder / "b").unlink()
        report = project.run("run", "t", "--json", expect=4).json
        failed = {row["path"] for row in project.outcomes(report) if row["status"] != "done"}
        assert {"frozen/a", "growing/a", "growing/b"} <= failed
        assert not {path for path in failed if path.startswith("free/")}
        here = {path: row.size for path, row in files(root).items()}
        assert here[b"frozen/a"] == here[b"growing/a"] == here[b"growing/b"] == 1_000
        assert here[b"free/a"] == 2_000 and here[b"frozen/d"] == 3_000 and b"free/b" not in here
    finally:
        command("chattr", "-i", root / "frozen" / "a")
        command("chattr", "-a", root / "growing")
    converges(project)


def spoil(image: Path, before: bytes, after: bytes) -> int:
    """Change bytes below a file system that is not mounted; how often they stood there."""
    content = image.read_bytes()
    image.write_bytes(content.replace(before, after))
    return content.count(before)


MARK = b"these bytes will rot " * 500


@pytest.mark.parametrize("kind", ["ext4", "btrfs"])
def test_rot_below_the_file_system_of_the_destination(project: Project, mount: Mount, kind: str) -> None:
    """F30. ext4 hands out wrong bytes, btrfs an error. `verify` tells both, and a run that compares digests copies
    anew what reads wrong. What cannot be read at all is left to a person: nobody knows what it held."""
    root = mount(kind, "120")
    (project.source / "whole").write_bytes(b"w" * 20_000)
    (project.source / "rotten").write_bytes(MARK)
    project.run("run", "t")
    command("umount", root)
    image = project.folder / f"{root.name}.image"
    assert spoil(image, MARK[:4000], MARK[:4000].replace(b"rot", b"r0t")) >= 1
    command("mount", "-o", "loop", image, root)
    report = project.run("verify", "t", "--json", expect=5).json
    assert [finding["path"] for finding in report["findings"]] == ["rotten"]
    project.configure(options={"compare": "checksum"})
    if kind == "btrfs":
        refused = project.run("run", "t", "--json", expect=4).json
        assert [problem["code"] for problem in refused["problems"]] == ["io_error"]
        (root / "rotten").unlink()
    project.run("run", "t")
    assert (root / "rotten").read_bytes() == MARK
    assert project.run("verify", "t", "--json").json["findings"] == []


def test_rot_below_the_file_system_of_the_source(project: Project, mount: Mount) -> None:
    """F30. A source file that cannot be read is an error of that file, and is not missed at the source."""
    root = mount("btrfs", "120", project.source)
    project.configure(
        options={"preserve_deleted_files": "remove", "compare": "checksum"},
        guards={"max_deletions": "unlimited"},
    )
    (root / "whole").write_bytes(b"w" * 20_000)
    (root / "rotten").write_bytes(MARK)
    project.run("run", "t")
    old = files(project.destination)
    (root / "whole").write_bytes(b"W" * 20_000)
    command("umount", root)
    image = project.folder / f"{root.name}.image"
    assert spoil(image, MARK[:4000], MARK[:4000].replace(b"rot", b"r0t")) >= 1
    command("mount", "-o", "loop", image, root)
    ran = project.run("run", "t", "--json", expect=None)
    assert ran.code in (4, 5)
    assert "rotten" in ran.out
    assert files(project.destination)[b"rotten"] == old[b"rotten"]
    assert (project.destination / "whole").read_bytes() == b"W" * 20_000


def test_a_writer_that_moves_no_time(project: Project, mount: Mount) -> None:
    """F33. A store through mmap can leave size and times as they were: `run` cannot see it, `verify` does."""
    root = mount("tmpfs", "4m", project.source)
    (root / "database").write_bytes(b"before" * 1_000)
    project.run("run", "t")
    before = (root / "database").stat()
    with open(root / "database", "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
        pages[0:6] = b"AFTER!"
    # Where the kernel notes such a store: as a writer that puts the time back.
    os.utime(root / "database", ns=(before.st_atime_ns, before.st_mtime_ns))
    project.run("run", "t")
    report = project.run("verify", "t", "--json", expect=5).json
    assert [finding["path"] for finding in report["findings"]] == ["database"]
    project.configure(options={"compare": "checksum"})
    converges(project)
