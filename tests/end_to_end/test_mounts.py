"""Real mounts that go, come back as others, or go while they are listed: nothing is deleted, and it is said why."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project

pytestmark = pytest.mark.root

COMMAND = f"{sys.executable} -m runner"
REMOVES = {"preserve_deleted_files": "remove"}


def mirror(project: Project, **location: str) -> None:
    """A task that deletes what the source has not; `location` is said of both ends."""
    document = json.loads((project.folder / "sync.yaml").read_text())
    for one in document["locations"].values():
        one.update(location)
    document["tasks"]["t"]["options"] = REMOVES
    (project.folder / "sync.yaml").write_text(json.dumps(document))
    document["settings"] = {"state": "elsewhere"}
    (project.folder / "other.yaml").write_text(json.dumps(document))


def in_own_mounts(project: Project, script: str) -> list[str]:
    """Run a shell script whose mounts nobody else sees; the lines that begin with `=`, without it."""
    done = subprocess.run(
        ["unshare", "-m", "bash", "-ec", script],
        cwd=project.folder,
        env={**os.environ, "NO_COLOR": "1", "COLUMNS": "4000"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line[1:] for line in done.stdout.splitlines() if line.startswith("=")]


def run(config: str = "sync.yaml") -> str:
    """Shell: run, and tell the exit code and what the guards say in one line that begins with `=`."""
    return f"{COMMAND} run -c {config} >out 2>&1 && code=0 || code=$?; echo =$code $(grep -h 'guard .* refuses' out || true)"


def test_a_disk_that_is_gone_swapped_or_restored(project: Project) -> None:
    """Three disks of one sort: file system, device and mount point are the same in all of them."""
    mirror(project, marker="required")
    (project.source / "a").write_text("a")
    project.destination.mkdir()
    told = in_own_mounts(
        project,
        f"""
        {COMMAND} locations adopt src -q
        mount -t tmpfs disk dst
        {run()}
        {COMMAND} locations adopt dst -q
        {run()}
        cp -a dst backup
        echo b >src/b
        {run()}
        umount dst
        {run()}
        echo =$(ls -A dst)
        mount -t tmpfs disk dst
        {COMMAND} locations adopt dst -q -c other.yaml
        {run()}
        umount dst
        mount -t tmpfs disk dst
        cp -a backup/. dst/
        {run()}
        {COMMAND} locations adopt dst -q
        {run()}
        echo =$(ls dst)
        """,
    )
    assert told[0].startswith("6 ") and "is not known to be the right place" in told[0]
    assert told[1:3] == ["0", "0"]
    assert told[3].startswith("6 ") and "has lost its marker" in told[3]
    assert told[4] == ""
    assert told[5].startswith("6 ") and "is another one than before" in told[5]
    assert told[6].startswith("6 ") and "was put back to an older state" in told[6]
    assert told[7:] == ["0", "a b"]


def test_a_source_that_is_not_mounted_deletes_nothing(project: Project) -> None:
    mirror(project, marker="required")
    told = in_own_mounts(
        project,
        f"""
        mount -t tmpfs disk src
        echo a >src/a
        {COMMAND} locations adopt src -q
        {COMMAND} locations adopt dst -q
        {run()}
        umount src
        echo left behind >src/x
        {run()}
        echo =$(ls dst)
        """,
    )
    assert told[0] == "0"
    assert told[1].startswith("6 ") and "source_marker" in told[1] and "has lost its marker" in told[1]
    assert told[2] == "a"


def test_a_disk_without_marker_is_known_by_its_facts(project: Project) -> None:
    mirror(project)
    project.destination.mkdir()
    told = in_own_mounts(
        project,
        f"""
        echo a >src/a
        mount -t tmpfs disk dst
        {run()}
        umount dst
        {run()}
        echo =$(ls -A dst)
        """,
    )
    assert told[0] == "0"
    assert told[1].startswith("6 ") and "destination_changed" in told[1]
    assert told[2] == ""


UNMOUNTS = """
import os, subprocess, sys
from runner.clock import SystemClock
from runner.config.build import load_configuration
from runner.execution.context import Context
from runner.locations.registry import Registry
from runner.model.entry import Phase
from runner.model.events import PhaseStarted
from runner.pipeline import run_task

def told(event):
    if isinstance(event, PhaseStarted) and event.phase is Phase.PREPARING:
        subprocess.run(["umount", "-l", "src"], check=True)

registry = Registry()
configuration = load_configuration("sync.yaml", registry, os.environ)
report = run_task(configuration.tasks["t"], Context(configuration, registry, SystemClock(), told))
print(f"={report.execution.exit_code}")
for problem in report.problems:
    print(f"={problem.message}")
"""


@pytest.mark.parametrize("marker", ["auto", "required"])
def test_a_source_that_goes_while_it_is_listed(project: Project, tmp_path: Path, marker: str) -> None:
    """Its folder is still open in the runner; only who asks for its path again sees that it is gone."""
    mirror(project, marker=marker)
    script = tmp_path / "unmounts.py"
    script.write_text(UNMOUNTS)
    adopts = (
        f"{COMMAND} locations adopt src -q; {COMMAND} locations adopt dst -q" if marker == "required" else ""
    )
    told = in_own_mounts(
        project,
        f"""
        mount -t tmpfs disk src
        echo a >src/a
        {adopts}
        {run()}
        {sys.executable} {script}
        echo =$(ls dst)
        """,
    )
    assert told[:2] == ["0", "7"]
    assert "went away, or another one took its place, while it was listed" in told[2]
    assert told[-1] == "a"


def test_a_disk_with_another_name_is_the_same_disk(project: Project) -> None:
    """As after a restart: what was /dev/sda is /dev/sdb now."""
    (project.source / "a").write_text("a")
    project.destination.mkdir()
    told = in_own_mounts(
        project,
        f"""
        truncate -s 16M image
        mkfs.ext4 -q -F image
        first=$(losetup -f --show image)
        trap 'umount dst || true; losetup -d $first || true; losetup -d $second || true' EXIT
        mount $first dst
        {run()}
        umount dst
        second=$(losetup -f --show image)
        losetup -d $first
        mount $second dst
        echo b >src/b
        {run()}
        echo =$(cat dst/b) $(test $first = $second && echo the same name || echo another name)
        """,
    )
    assert told == ["0", "0", "b another name"]
