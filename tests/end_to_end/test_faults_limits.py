"""Limits of the operating system, met by the installed command: rows of docs/faults-matrix.md."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Project

from runner.testing.manifest import manifest

pytestmark = pytest.mark.slow


def limited(project: Project, which: int, limit: int) -> tuple[int, dict[str, Any]]:
    """Run the task under a limit of the kernel; its exit code and report. It must not end in a traceback."""
    ran = subprocess.run(
        [sys.executable, "-m", "runner", "run", "t", "--json"],
        cwd=project.folder,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(which, (limit, limit)),
    )
    assert "Traceback" not in ran.stdout + ran.stderr, ran.stderr
    return ran.returncode, json.loads(ran.stdout)


def digests(folder: Path) -> dict[bytes, str | None]:
    return {path: row.sha256 for path, row in manifest(str(folder)).items() if row.kind == "-"}


def test_a_limit_on_the_size_of_files(project: Project) -> None:
    """F24. `ulimit -f`: what is larger fails by name, the rest is copied, nothing of it is left behind."""
    (project.source / "a").write_bytes(b"a" * 1_000)
    (project.source / "large").write_bytes(b"l" * 5_000_000)
    (project.source / "z").write_bytes(b"z" * 1_000)
    code, report = limited(project, resource.RLIMIT_FSIZE, 2_000_000)
    assert code == 4
    assert [problem["path"] for problem in report["problems"]] == ["large"]
    assert "ulimit -f" in report["problems"][0]["message"]
    assert sorted(os.listdir(project.destination)) == ["a", "z"]
    project.run("run", "t")
    assert digests(project.destination) == digests(project.source)


def test_a_limit_on_open_files(project: Project) -> None:
    """F24. `ulimit -n`: fewer work side by side, or it is said; a deep tree needs no handle for each folder."""
    deep = project.source
    for level in range(60):
        deep = deep / f"folder{level}"
        deep.mkdir()
        for number in range(3):
            (deep / f"file{number}").write_bytes(bytes([level, number]) * 500)
    code, report = limited(project, resource.RLIMIT_NOFILE, 48)
    assert (code, report["problems"]) == (0, [])
    assert digests(project.destination) == digests(project.source)


@pytest.mark.root
def test_a_user_who_may_not_write(project: Project) -> None:
    """F23. Root without its right to pass modes by: a folder that is closed is named, the rest is done."""
    for folder in ("closed", "open"):
        (project.source / folder).mkdir()
        (project.source / folder / "f").write_bytes(b"new content")
    project.run("run", "t")
    for folder in ("closed", "open"):
        (project.source / folder / "f").write_bytes(b"newer content")
    (project.destination / "closed").chmod(0o555)
    (project.source / "closed").chmod(0o555)
    rights = ["-dac_override,-dac_read_search,-fowner"]
    setpriv = [shutil.which("setpriv") or "setpriv", "--bounding-set", *rights, "--inh-caps", *rights]
    ran = subprocess.run(
        [*setpriv, sys.executable, "-m", "runner", "run", "t", "--json"],
        cwd=project.folder, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ran.returncode == 4, ran.stdout + ran.stderr
    assert {(one["path"], one["code"]) for one in json.loads(ran.stdout)["problems"]} == {
        ("closed/f", "permission_denied")
    }
    assert (project.destination / "closed" / "f").read_bytes() == b"new content"
    assert (project.destination / "open" / "f").read_bytes() == b"newer content"
    project.run("run", "t")
    assert digests(project.destination) == digests(project.source)


def test_a_run_that_was_stopped_keeps_others_out_and_goes_on(project: Project) -> None:
    """F16. SIGSTOP in the middle; a second run is told who is at work; the first does its work when it goes on."""
    (project.source / "1").write_bytes(b"1" * 1_000)
    (project.source / "2").write_bytes(b"2" * 3_000_000)
    project.configure(options={"bandwidth": "2MiB/s"})
    first = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "t", "-q"],
        cwd=project.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while first.poll() is None and not (project.destination / "1").exists():
            os.sched_yield()
        first.send_signal(signal.SIGSTOP)
        assert str(first.pid) in project.run("run", "t", expect=8).out
        assert sorted(digests(project.destination)) == [b"1"]
        first.send_signal(signal.SIGCONT)
        assert first.wait(60) == 0
    finally:
        first.kill()
        first.wait(30)
    assert digests(project.destination) == digests(project.source)
    project.run("plan", "t", "--detailed-exitcode", expect=0)
