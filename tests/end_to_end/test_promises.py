"""What a person may rely on, shown with the installed command."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Project

from runner.testing.manifest import manifest

WITHOUT_OVERRIDE = (
    "setpriv",
    "--bounding-set",
    "-dac_override,-dac_read_search",
    "--inh-caps",
    "-dac_override,-dac_read_search",
)
WRITING_CALLS = re.compile(
    r"^(?:\d+ +)?(?:mkdir|mknod|rename|link|symlink|unlink|rmdir|chmod|fchmod|chown|fchown|lchown|truncate|ftruncate"
    r"|utime|setxattr|lsetxattr|fsetxattr|removexattr|fremovexattr|creat|copy_file_range|fallocate)\w*\("
)


def fill(folder: Path, files: int = 40, *, size: int = 2_000) -> None:
    for number in range(files):
        place = folder / f"d{number % 4}"
        place.mkdir(parents=True, exist_ok=True)
        (place / f"f{number:05d}").write_bytes(bytes([number % 251]) * size)


# -- plan ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace looks on: apt-get install strace")
def test_plan_writes_nothing_under_either_root(project: Project) -> None:
    fill(project.source)
    project.run("run")
    fill(project.source, 60)
    (project.source / "d0" / "f00000").unlink()
    project.configure(options={"preserve_deleted_files": "remove", "compare": "checksum"})
    trace = project.folder / "trace"
    strace = ["strace", "-f", "-y", "-qq", "-o", str(trace), "-e", "trace=%file,%desc"]
    subprocess.run(
        [*strace, sys.executable, "-m", "runner", "plan", "t", "-q"],
        cwd=project.folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    roots = (str(project.source), str(project.destination))
    touching = [
        line for line in trace.read_text(errors="replace").splitlines() if any(root in line for root in roots)
    ]
    assert touching, "the trace saw the listing"
    writes = [
        line
        for line in touching
        if WRITING_CALLS.search(line)
        or re.search(r"\bp?writev?\w*\(\d+<", line)
        or re.search(r"open\w*\(.*O_(?:WRONLY|RDWR|CREAT|TRUNC|TMPFILE)", line)
    ]
    assert [line for line in writes if re.search("|".join(map(re.escape, roots)), line)] == []


def test_one_moved_file_is_stale_and_the_rest_is_done(project: Project) -> None:
    fill(project.source)
    project.run("plan", "t", "-o", "p.jsonl")
    (project.source / "d1" / "f00001").write_bytes(b"moved on")
    report = project.run("apply", "p.jsonl", "--json", expect=4).json
    unsettled = [row for row in project.outcomes(report) if row["status"] != "done"]
    assert [(row["path"], row["status"]) for row in unsettled] == [("d1/f00001", "stale")]
    assert not (project.destination / "d1" / "f00001").exists()
    assert report["counters"]["stale"] == {"files": 1, "folders": 0}


@pytest.mark.parametrize("mutation", ["write", "delete", "chmod", "folder"])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_every_mutation_on_either_side_is_stale_alone(project: Project, side: str, mutation: str) -> None:
    fill(project.source)
    project.run("run")
    for path in sorted(project.source.glob("*/*")):
        path.write_bytes(b"second version")
    project.run("plan", "t", "-o", "p.jsonl")
    target = (project.source if side == "source" else project.destination) / "d2" / "f00002"
    if mutation == "write":
        target.write_bytes(b"something else entirely")
    elif mutation == "chmod":
        target.chmod(0o600)
    else:
        target.unlink()
        if mutation == "folder":
            target.mkdir()
    before = manifest(str(project.destination))[b"d2/f00002"] if target.exists() or side == "source" else None
    report = project.run("apply", "p.jsonl", "--json", expect=4).json
    unsettled = [row for row in project.outcomes(report) if row["status"] != "done"]
    assert [(row["path"], row["status"]) for row in unsettled] == [("d2/f00002", "stale")]
    assert manifest(str(project.destination)).get(b"d2/f00002") == before


def test_a_deletion_is_stale_when_the_file_returns(project: Project) -> None:
    fill(project.source)
    project.configure(options={"preserve_deleted_files": "remove"})
    project.run("run")
    (project.source / "d0" / "f00000").unlink()
    (project.source / "d1" / "f00001").unlink()
    project.run("plan", "t", "-o", "p.jsonl")
    (project.source / "d0" / "f00000").write_bytes(b"back")
    report = project.run("apply", "p.jsonl", "--json", expect=4).json
    unsettled = [row for row in project.outcomes(report) if row["status"] != "done"]
    assert [(row["path"], row["status"]) for row in unsettled] == [("d0/f00000", "stale")]
    assert (project.destination / "d0" / "f00000").exists()
    assert not (project.destination / "d1" / "f00001").exists()


def test_of_many_deletions_those_are_stale_whose_files_return(project: Project) -> None:
    """In one folder, in any place of the order: no short way passes the look at the source by."""
    fill(project.source)
    for number in range(60):
        (project.source / "d0" / f"many{number:02}").write_bytes(b"x")
    project.configure(options={"preserve_deleted_files": "remove"}, guards={"max_deletions": "unlimited"})
    project.run("run")
    for number in range(60):
        (project.source / "d0" / f"many{number:02}").unlink()
    project.run("plan", "t", "-o", "p.jsonl")
    back = [f"many{number:02}" for number in (0, 1, 31, 32, 33, 59)]
    for name in back:
        (project.source / "d0" / name).write_bytes(b"back")
    report = project.run("apply", "p.jsonl", "--json", expect=4).json
    stale = [row["path"] for row in project.outcomes(report) if row["status"] == "stale"]
    assert sorted(stale) == [f"d0/{name}" for name in back]
    assert sorted(path.name for path in (project.destination / "d0").glob("many*")) == back


def test_a_plan_for_another_configuration_is_refused(project: Project) -> None:
    fill(project.source)
    project.run("plan", "t", "-o", "p.jsonl")
    project.configure(filters={"exclude": ["/d1"]})
    refused = project.run("apply", "p.jsonl", expect=2)
    assert "Make a new plan: sync-runner plan t" in refused.err
    assert not project.destination.exists()


# -- doubt ---------------------------------------------------------------------------------------------------


@pytest.mark.root
@pytest.mark.parametrize("mode", ["remove", "quarantine"])
def test_an_unreadable_source_folder_deletes_nothing(project: Project, mode: str) -> None:
    fill(project.source)
    project.configure(options={"preserve_deleted_files": mode})
    project.run("run")
    (project.source / "d0" / "f00000").unlink()
    shutil.rmtree(project.source / "d3")
    (project.source / "d1").chmod(0)
    before = set(manifest(str(project.destination)))
    done = subprocess.run(
        [*WITHOUT_OVERRIDE, sys.executable, "-m", "runner", "run", "t", "--json"],
        cwd=project.folder,
        capture_output=True,
    )
    report = json.loads(done.stdout)
    assert done.returncode == 4
    assert set(manifest(str(project.destination))) == before
    assert [(problem["path"], problem["code"]) for problem in report["problems"]] == [("d1/", "not_listed")]
    counters = report["counters"]
    for sort in ("files", "folders"):
        assert counters["listed"][sort] == sum(
            counters[name][sort] for name in ("transferred", "skipped", "failed", "excluded")
        )


@pytest.mark.root
def test_an_unreadable_file_is_skipped_and_comes_back_as_a_verification_error(project: Project) -> None:
    fill(project.source)
    (project.source / "d1" / "f00001").chmod(0)
    done = subprocess.run(
        [*WITHOUT_OVERRIDE, sys.executable, "-m", "runner", "run", "t", "--json"],
        cwd=project.folder,
        capture_output=True,
    )
    report = json.loads(done.stdout)
    assert done.returncode == 4
    assert [(one["path"], one["code"], one["phase"]) for one in report["problems"]] == [
        ("d1/f00001", "permission_denied", "TRANSFERRING")
    ]
    assert [(one["path"], one["verdict"]) for one in report["findings"]] == [("d1/f00001", "unreadable")]


@pytest.mark.parametrize("mode", ["preserve", "quarantine", "remove"])
def test_an_emptied_source_is_refused(project: Project, mode: str) -> None:
    fill(project.source)
    project.configure(options={"preserve_deleted_files": mode})
    project.run("run")
    shutil.rmtree(project.source)
    project.source.mkdir()
    before = manifest(str(project.destination))
    refused = project.run("run", expect=6)
    assert manifest(str(project.destination)) == before
    assert "--accept source_emptied" in refused.err + refused.out
    shutil.rmtree(project.source)
    project.run("run", expect=7)
    assert manifest(str(project.destination)) == before


def test_too_many_deletions_are_refused_and_can_be_accepted(project: Project) -> None:
    fill(project.source)
    project.configure(options={"preserve_deleted_files": "remove"}, guards={"max_deletions": {"count": 2}})
    project.run("run")
    for number in (0, 4, 8):
        (project.source / "d0" / f"f{number:05d}").unlink()
    before = manifest(str(project.destination))
    refused = project.run("run", expect=6)
    assert "max_deletions" in refused.err + refused.out
    assert manifest(str(project.destination)) == before
    project.run("run", "t", "--accept", "max_deletions")
    assert manifest(str(project.destination)) == manifest(str(project.source))


def test_a_missing_source_is_unavailable(project: Project) -> None:
    shutil.rmtree(project.source)
    project.run("run", expect=7)
    project.run("plan", "t", expect=7)
    assert not project.destination.exists()


# -- verification --------------------------------------------------------------------------------------------


def test_planted_faults_are_found_each_by_its_code_and_nothing_else(project: Project) -> None:
    fill(project.source)
    project.run("run")
    assert project.run("verify", "t", "--json").json["findings"] == []
    flipped = project.destination / "d0" / "f00000"
    times = flipped.stat()
    content = bytearray(flipped.read_bytes())
    content[1000] ^= 1
    flipped.write_bytes(content)
    os.utime(flipped, ns=(times.st_atime_ns, times.st_mtime_ns))
    os.truncate(project.destination / "d1" / "f00001", 1_999)
    (project.destination / "d2" / "f00002").chmod(0o600)
    (project.destination / "d3" / "added").write_bytes(b"new")
    (project.destination / "d3" / "f00003").unlink()
    report = project.run("verify", "t", "--json", expect=5).json
    assert {finding["path"]: finding["verdict"] for finding in report["findings"]} == {
        "d0/f00000": "checksum_failure",
        "d1/f00001": "checksum_failure",
        "d2/f00002": "metadata_failure",
        "d3/added": "file_added",
        "d3/f00003": "file_removed",
    }
    chmodded = next(finding for finding in report["findings"] if finding["path"] == "d2/f00002")
    assert (chmodded["expected"], chmodded["actual"]) == ([["mode", "0644"]], [["mode", "0600"]])


def test_check_reports_drift_and_writes_nothing(project: Project) -> None:
    fill(project.source)
    project.run("run")
    project.run("check", "t", expect=0)
    (project.source / "d0" / "f00000").write_bytes(b"drift")
    before = manifest(str(project.destination))
    project.run("check", "t", expect=3)
    project.run("plan", "t", "--detailed-exitcode", expect=3)
    assert manifest(str(project.destination)) == before


# -- kill ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_leaves_whole_files_and_the_next_finishes(
    project: Project, stop: signal.Signals
) -> None:
    fill(project.source, 6_000, size=9_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "t", "-q", "--no-progress"],
        cwd=project.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while process.poll() is None and not any(project.destination.glob("d2/f*")):
            os.sched_yield()
        process.send_signal(stop)
        code = process.wait(60)
    finally:
        process.kill()
    assert code == (-signal.SIGKILL if stop is signal.SIGKILL else 130)
    wanted, copied = manifest(str(project.source)), 0
    for path, row in manifest(str(project.destination)).items():
        if row.kind == "-":
            assert row.sha256 == wanted[path].sha256, path
            copied += 1
    assert 0 < copied < 6_000
    report = project.run("run", "--json").json
    assert report["counters"]["transferred"]["files"] == 6_000 - copied
    assert manifest(str(project.destination)) == wanted


def test_quarantine_and_restore(project: Project) -> None:
    fill(project.source)
    project.configure(options={"preserve_deleted_files": "quarantine"})
    project.run("run")
    complete = manifest(str(project.destination))
    shutil.rmtree(project.source / "d3")
    project.run("run")
    assert not (project.destination / "d3").exists()
    project.run("plan", "t", "--detailed-exitcode", expect=0)
    project.run("restore", "t")
    assert {path for path in manifest(str(project.destination)) if b"quarantine" not in path} == set(complete)
    assert manifest(str(project.destination))[b"d3/f00003"] == complete[b"d3/f00003"]


@pytest.mark.root
def test_an_unreadable_file_is_said_once_when_everything_is_verified(project: Project) -> None:
    fill(project.source)
    project.configure(options={"verify_mode": "point_in_time_consistent"})
    (project.source / "d1" / "f00001").chmod(0)
    done = subprocess.run(
        [*WITHOUT_OVERRIDE, sys.executable, "-m", "runner", "run", "t", "--json"],
        cwd=project.folder,
        capture_output=True,
    )
    assert done.returncode == 4
    report = json.loads(done.stdout)
    assert [(one["path"], one["verdict"]) for one in report["findings"]] == [("d1/f00001", "unreadable")]
