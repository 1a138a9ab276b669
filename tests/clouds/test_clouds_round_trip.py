"""A local tree goes to a cloud and comes back: content, times, modes, links, names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from clouds_support import SMALL_PARTS, Cloud, pair
from servers.real_pair import contents, holding

from runner.model.entry import Kind
from runner.model.task import Secret
from runner.testing.manifest import manifest
from runner.testing.trees import File, Folder, HardLink, Symlink, hostile_tree, tree

pytestmark = pytest.mark.servers

BIG = os.urandom(2_500_000)
TREE = tree(
    {
        "big": File(BIG, mode=0o600, mtime_ns=1_600_000_000_123_456_789),
        "empty": b"",
        "folder/": Folder(mode=0o750, mtime_ns=1_500_000_000_000_000_001),
        "folder/deep/": Folder(),
        "folder/deep/file": File(b"deep", mode=0o4711),
        "empty folder/": Folder(mode=0o700),
        "link": Symlink("folder/deep/../../nowhere"),
        "one name": b"shared",
        "other name": HardLink("one name"),
        "old": File(b"before 1970", mtime_ns=-1),
    }
)


def test_a_tree_comes_back_as_it_went(cloud: Cloud, tmp_path: Path) -> None:
    left, right = tmp_path / "left", tmp_path / "right"
    left.mkdir()
    right.mkdir()
    TREE.write(str(left))
    there = cloud.location(prefix="backup", **SMALL_PARTS)
    up = pair(tmp_path, left, there)
    report = up.run()
    assert (report.problems, report.findings) == ((), ())
    assert up.second_plan() == []
    down = pair(tmp_path, there, right)
    report = down.run()
    assert (report.problems, report.findings) == ((), ())
    assert down.second_plan() == []
    assert manifest(str(right)) == manifest(str(left))


def test_changes_and_removals_arrive(cloud: Cloud, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    TREE.write(str(left))
    there = cloud.location()
    pair(tmp_path, left, there).run()
    (left / "empty").write_bytes(b"no longer")
    (left / "folder/deep/file").chmod(0o600)
    (left / "big").unlink()
    os.rename(left / "old", left / "renamed")
    again = pair(tmp_path, left, there)
    report = again.run()
    assert (report.problems, report.findings) == ((), ())
    assert again.second_plan() == []
    held = contents(there)
    assert (held["empty"], held["renamed"]) == (b"no longer", b"before 1970")
    assert "big" not in held and "old" not in held


def test_folders_go_with_all_that_is_in_them(cloud: Cloud, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    TREE.write(str(left))
    there = cloud.location()
    pair(tmp_path, left, there).run()
    shutil.rmtree(left / "folder")
    # One worker: see the order of removals in the plan.
    again = pair(tmp_path, left, there, workers=1)
    report = again.run()
    assert (report.counters.actions_failed, report.problems) == (0, ())
    assert [path for path in holding(there) if path.startswith("folder")] == []


def test_every_hostile_name_arrives_or_is_refused_by_name(cloud: Cloud, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    hostile_tree().write(str(left))
    there = cloud.location()
    up = pair(tmp_path, left, there)
    report = up.run()
    refused = {problem.path for problem in report.problems}
    assert {problem.code.value for problem in report.problems} == {"name_not_allowed"}
    rows = manifest(str(left))
    sent = {os.fsdecode(path) + ("/" if row.kind == "d" else "") for path, row in rows.items() if path}
    arrived = set(holding(there))
    lost = sent - arrived
    assert all(
        any(path == one or path.startswith(one) for one in refused if one.endswith("/")) or path in refused
        for path in lost
    )
    assert arrived <= sent
    assert len(arrived) > 40


def test_the_installed_command_copies_and_tells_no_secret(cloud: Cloud, tmp_path: Path) -> None:
    left = tmp_path / "left"
    left.mkdir()
    TREE.write(str(left))
    options = cloud.location(prefix="by/command")
    environment = {**os.environ, "NO_COLOR": "1"}
    plain = {}
    for name, value in options.items():
        plain[name] = value
        if isinstance(value, Secret):
            environment["THE_SECRET"] = value.reveal()
            plain[name] = "{{ secret_env('THE_SECRET') }}"
    document = {
        "version": 1,
        "locations": {"left": {"type": "local", "path": str(left)}, "there": plain},
        "tasks": {"t": {"source": "left", "destination": "there"}},
    }
    (tmp_path / "sync.yaml").write_text(json.dumps(document))

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "runner", *arguments],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            text=True,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    said = (
        run("validate")
        + run("plan", "t", "--output", "p.jsonl")
        + run("apply", "p.jsonl")
        + run("check", "t")
    )
    said += "".join(
        file.read_text("utf-8", "replace")
        for file in (tmp_path / ".sync-runner").rglob("*")
        if file.is_file()
    )
    if "THE_SECRET" in environment:
        assert environment["THE_SECRET"] not in said
    assert {path for path, held in holding(options).items() if held.entry.kind is Kind.FILE} == {
        "big",
        "empty",
        "folder/deep/file",
        "old",
        "one name",
        "other name",
    }
