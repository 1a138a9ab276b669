"""The command on real trees. Each documented exit code is reached by the command in a process of its own;
the rest goes through the same entry in this process, for a process costs more than it would show."""

from __future__ import annotations

import gc
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.cli.main import run_command
from runner.cli.output import Output
from runner.cli.parser import wants_json
from runner.cli.services import Services
from runner.clock import SystemClock
from runner.errors import ExitCode

# The installed script itself, as a user types it.
COMMAND = [os.path.join(os.path.dirname(sys.executable), "sync-runner")]


@dataclass(frozen=True)
class Ran:
    exit_code: int
    stdout: str
    stderr: str

    @property
    def value(self) -> Any:
        return json.loads(self.stdout)


@dataclass(frozen=True)
class Workplace:
    """A folder with a source, a destination, and a sync.yaml between them."""

    folder: Path

    @property
    def source(self) -> Path:
        return self.folder / "src"

    @property
    def destination(self) -> Path:
        return self.folder / "dst"

    def declare(self, options: Mapping[str, Any] | None = None, **more: Any) -> None:
        task = {"source": "src", "destination": "dst", "options": dict(options or {}), **more}
        configuration = {
            "version": 1,
            "locations": {
                "src": {"type": "local", "path": "./src"},
                "dst": {"type": "local", "path": "./dst"},
            },
            "tasks": {"t": task},
        }
        (self.folder / "sync.yaml").write_text(json.dumps(configuration))

    def environment(self, **more: str) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("SYNC_RUNNER_")}
        return {**inherited, "COLUMNS": "100", **more}

    def run(self, *words: str, **environment: str) -> Ran:
        ran = subprocess.run(
            [*COMMAND, *words],
            cwd=self.folder,
            env=self.environment(**environment),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert "Traceback" not in ran.stderr
        return Ran(ran.returncode, ran.stdout, ran.stderr)

    def call(self, *words: str, **environment: str) -> Ran:
        """As `run`, in this process."""
        stdout, stderr, stdin = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(3))
        settings = {"COLUMNS": "100", **environment}
        output = Output(stdout, stderr, stdin, settings, json=wants_json(words, settings))
        exit_code = run_command(words, output, settings, Services(), SystemClock())
        return Ran(exit_code, *(each.buffer.getvalue().decode() for each in (stdout, stderr)))  # type: ignore[attr-defined]


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    workplace = Workplace(tmp_path)
    workplace.source.mkdir()
    (workplace.source / "folder").mkdir()
    (workplace.source / "a.txt").write_text("alpha")
    (workplace.source / "folder" / "b\x1b[31m\n.txt").write_text("beta")
    workplace.declare()
    yield workplace
    gc.collect()


def tree(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_0_from_the_first_plan_to_in_sync(place):
    planned = place.call("plan", "t")
    assert (planned.exit_code, place.destination.exists()) == (0, False)
    assert "2 to copy (9 B)" in planned.stdout
    assert "\\x1b[31m\\n.txt" in planned.stdout

    ran = place.run("run")
    assert ran.exit_code == 0
    assert ran.stdout.startswith("t: Done.\n")
    assert "t: transferring\n" in ran.stderr
    assert tree(place.destination) == tree(place.source)

    assert place.call("check", "t").exit_code == 0
    assert "In sync: nothing to do." in place.call("plan", "t").stdout
    assert place.call("verify", "t").exit_code == 0


def test_1_a_defect_of_a_driver_leaves_a_file_and_no_traceback(place):
    packages = place.folder / "packages"
    metadata = packages / "stranger-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[runner.locations]\nbroken = stranger:DRIVER\n")
    (packages / "stranger.py").write_text(
        "import msgspec\n"
        "from runner_plugins.local.driver import DRIVER as LOCAL\n"
        "def describe(settings):\n"
        "    raise ZeroDivisionError('so sorry')\n"
        "DRIVER = msgspec.structs.replace(LOCAL, type='broken', describe=describe)\n"
    )
    (place.folder / "sync.yaml").write_text(
        (place.folder / "sync.yaml")
        .read_text()
        .replace('{"type": "local", "path": "./src"}', '{"type": "broken", "path": "./src"}')
    )
    temporary = place.folder / "tmp"
    temporary.mkdir()
    ran = place.run("plan", "t", PYTHONPATH=str(packages), TMPDIR=str(temporary))

    assert ran.exit_code == 1
    assert "error[internal]: internal error: ZeroDivisionError: so sorry" in ran.stderr
    crash_files = [*place.folder.rglob("sync-runner-crash-*.txt")]
    assert len(crash_files) == 1
    assert "ZeroDivisionError" in crash_files[0].read_text()


def test_2_wrong_command_line_configuration_and_plan_file(place):
    assert place.call("plan").exit_code == 2
    assert place.call("plan", "nosuch").exit_code == 2
    assert place.call("plan", "t", "-c", "nosuch.yaml").exit_code == 2
    (place.folder / "torn.jsonl").write_text("{")
    assert place.call("apply", "torn.jsonl").exit_code == 2
    (place.folder / "bad.yaml").write_text("version: 1\ntaks: {}\n")
    ran = place.run("validate", "-c", "bad.yaml")
    assert ran.exit_code == 2
    assert "bad.yaml:2:1" in ran.stderr
    assert place.call("validate", "-c", "bad.yaml", "--json").value["valid"] is False
    assert not place.destination.exists()


def test_2_a_plan_for_another_configuration(place):
    assert place.call("plan", "t", "-o", "p.jsonl").exit_code == 0
    place.declare({"preserve_deleted_files": "remove"})
    ran = place.run("apply", "p.jsonl")

    assert (ran.exit_code, place.destination.exists()) == (2, False)
    assert "error[plan_file]" in ran.stderr


def test_3_differences(place):
    assert place.run("check", "t").exit_code == 3
    assert place.call("plan", "t", "--detailed-exitcode").exit_code == 3
    assert not place.destination.exists()


def test_4_a_stale_action(place):
    assert place.call("plan", "t", "-o", "p.jsonl").exit_code == 0
    (place.source / "a.txt").write_text("changed since")
    ran = place.run("apply", "p.jsonl")

    assert ran.exit_code == 4
    assert "! a.txt" in ran.stdout
    assert "[stale]" in ran.stdout
    assert sorted(tree(place.destination)) == ["folder/b\x1b[31m\n.txt"]


def test_5_verification_finds_a_flipped_bit(place):
    assert place.call("run").exit_code == 0
    victim = place.destination / "a.txt"
    before = victim.stat()
    victim.write_text("alphA")
    os.utime(victim, ns=(before.st_atime_ns, before.st_mtime_ns))
    ran = place.run("verify", "t")

    assert ran.exit_code == 5
    assert "! a.txt [checksum_failure]" in ran.stdout
    assert place.call("verify", "t", "--json").value["findings_total"] == 1


def test_6_an_emptied_source_is_refused_and_the_way_on_is_named(place):
    place.declare({"preserve_deleted_files": "remove"})
    assert place.call("run").exit_code == 0
    (place.source / "a.txt").unlink()
    (place.source / "folder" / "b\x1b[31m\n.txt").unlink()
    (place.source / "folder").rmdir()
    planned, ran = place.call("plan", "t"), place.run("run")

    assert (planned.exit_code, ran.exit_code) == (6, 6)
    assert "--accept source_emptied" in planned.stdout
    assert "--accept source_emptied" in ran.stdout
    assert len(tree(place.destination)) == 2
    accepted = place.call("run", "--accept", "source_emptied", "--accept", "max_deletions")
    assert (accepted.exit_code, tree(place.destination)) == (0, {})


def test_7_a_missing_source(place):
    place.source.rename(place.folder / "elsewhere")

    assert place.call("plan", "t").exit_code == 7
    ran = place.run("run", "--json")
    assert ran.exit_code == 7
    assert ran.value["execution"]["exit_code"] == 7
    assert not place.destination.exists()


def start_slow_run(place: Workplace, bandwidth: str) -> subprocess.Popen[str]:
    """A run of several seconds, that is in the middle of its transfer when this returns."""
    (place.source / "large.bin").write_bytes(os.urandom(8 * 1024 * 1024))
    process = subprocess.Popen(
        [*COMMAND, "run", "--bandwidth", bandwidth],
        cwd=place.folder,
        env=place.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line == "t: transferring\n":
            return process
    raise AssertionError("the run never came to its transfer")


def test_8_and_130_a_second_run_waits_outside_and_ctrl_c_stops_the_first(place):
    process = start_slow_run(place, "512KiB/s")
    try:
        second = place.run("run")
        assert second.exit_code == 8
        assert f"process {process.pid}" in second.stdout + second.stderr
        running = place.call("status", "--json").value["tasks"][0]["running"]
        assert [row["pid"] for row in running] == [process.pid]

        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        for line in process.stderr:
            if "press Ctrl-C again to stop now" in line:
                break
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()

    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "t: Cancelled." in stdout
    assert not (place.destination / "large.bin").exists()
    left = [path.name for path in place.destination.rglob("*") if path.name not in ("folder", "a.txt")]
    assert [name for name in left if not name.startswith("b")] == []
    assert place.call("run").exit_code == 0
    assert (place.destination / "large.bin").read_bytes() == (place.source / "large.bin").read_bytes()


def test_130_termination_drains(place):
    process = start_slow_run(place, "4MiB/s")
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)

    assert process.returncode == 130
    assert "finishing the files in flight" in stderr
    assert "Traceback" not in stderr
    for path, content in tree_bytes(place.destination).items():
        assert content == (place.source / path).read_bytes()


def tree_bytes(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_run_json_prints_one_object_a_line(place):
    ran = place.run("run", "t", "--json")

    [line] = ran.stdout.splitlines()
    assert json.loads(line)["execution"]["status"] == "SUCCESS"
    assert ran.stderr == ""


def test_what_was_done_can_be_looked_up(place):
    assert "never run" in place.call("status").stdout
    assert place.call("history").stdout == "No execution yet.\n"
    assert place.call("report").exit_code == 2
    assert place.call("run").exit_code == 0

    execution_id = place.call("history", "--json").value["executions"][0]["execution_id"]
    assert execution_id in place.call("status").stdout
    assert execution_id in place.call("history", "t", "--since", "1h").stdout
    assert place.call("history", "--failed").stdout == "No execution yet.\n"
    assert place.call("report").stdout.startswith("t: Done.")
    assert place.call("report", execution_id[:6], "--json").value["execution"]["execution_id"] == execution_id
    for name, start in [
        ("r.html", "<!doctype html>"),
        ("r.json", "{"),
        ("r.csv", "path,"),
        ("r.xml", "<?xml"),
        ("r.md", "## "),
    ]:
        assert place.call("report", "latest", "-o", name).exit_code == 0
        assert (place.folder / name).read_text().lower().startswith(start)
    assert place.call("report", "--format", "csv").stdout == (place.folder / "r.csv").read_bytes().decode()
    assert place.call("report", "-o", "r.unknown").exit_code == 2


def test_explain_agrees_with_the_plan(place):
    assert "A run would do:\n  + " in place.call("explain", "t", "a.txt").stdout
    assert place.call("run").exit_code == 0
    assert "  = nothing" in place.call("explain", "t", "a.txt").stdout


def test_quarantine_and_back(place):
    place.declare({"preserve_deleted_files": "quarantine"}, guards={"max_deletions": {"percent": 100}})
    assert place.call("run").exit_code == 0
    (place.source / "a.txt").unlink()
    assert place.call("run").exit_code == 0
    assert not (place.destination / "a.txt").exists()

    assert "a.txt" in place.call("restore", "t", "--list").stdout
    assert place.call("restore", "t", "a.txt").exit_code == 0
    assert (place.destination / "a.txt").read_text() == "alpha"


def test_each_version_is_back_as_of_its_own_time(place):
    place.declare({"preserve_deleted_files": "quarantine"}, guards={"max_deletions": {"percent": 100}})
    file, copy = place.source / "a.txt", place.destination / "a.txt"
    moments = []
    for content in ("first", "the second", "and the third"):
        file.write_text(content)
        assert place.call("run").exit_code == 0
        moments.append((SystemClock().now().isoformat(), content))
        file.unlink()
        assert place.call("run").exit_code == 0
        assert not copy.exists()
    for moment, content in (moments[1], moments[0], moments[2]):
        asked = ("restore", "t", "--as-of", moment)
        listed = place.call(*asked, "--list")
        assert listed.stdout.startswith("    a.txt  (moved aside by ") and not copy.exists()
        restored = place.call(*asked)
        assert (restored.exit_code, copy.read_text()) == (0, content)
        assert "1 entry restored." in restored.stdout
        before = tree(place.destination)
        again = place.call(*asked)
        assert (again.exit_code, tree(place.destination)) == (0, before)
        assert "0 entries restored." in again.stdout
        copy.unlink()
    later = place.call("restore", "t", "--as-of", "2999-01-01")
    assert later.exit_code == 2 and "has not come yet" in later.stderr


def test_a_reader_that_leaves_does_not_stop_the_run(place):
    process = subprocess.Popen(
        [*COMMAND, "run"],
        cwd=place.folder,
        env=place.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    stderr = process.stderr.read()
    process.stderr.close()

    assert process.wait(timeout=60) == 0
    assert "BrokenPipe" not in stderr
    assert tree(place.destination) == tree(place.source)


def test_a_full_disk_under_standard_output_is_said(place):
    with open("/dev/full", "wb") as full:
        ran = subprocess.run(
            [*COMMAND, "plan", "t", "--json"],
            env=place.environment(),
            stdout=full,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            timeout=60,
        )

    assert ran.returncode == 2
    assert ran.stderr == "error[usage]: standard output cannot be written: No space left on device\n"


def test_plans_are_reproducible_byte_for_byte(place):
    for name in ("one.jsonl", "two.jsonl"):
        assert place.call("plan", "t", "-o", name).exit_code == 0

    assert (place.folder / "one.jsonl").read_bytes() == (place.folder / "two.jsonl").read_bytes()


def test_the_sample_of_init_is_valid(place):
    assert place.call("init", "new.yaml").exit_code == 0
    assert place.call("validate", "-c", "new.yaml").exit_code == 0
    assert place.call("init", "new.yaml").exit_code == 2


def test_the_environment_names_the_configuration(place):
    (place.folder / "sync.yaml").rename(place.folder / "other.yaml")

    assert place.call("validate").exit_code == 2
    assert place.run("validate", SYNC_RUNNER_CONFIG="other.yaml").exit_code == 0


def test_locations_that_answer_are_online_and_those_that_do_not_are_offline(place):
    configuration = json.loads((place.folder / "sync.yaml").read_text())
    configuration["locations"]["gone"] = {"type": "local", "path": "./gone"}
    (place.folder / "sync.yaml").write_text(json.dumps(configuration))
    listed = place.call("locations", "--json")
    statuses = {each["name"]: each["status"] for each in json.loads(listed.stdout)["locations"]}
    # A destination is made by its first run: it is ONLINE before.
    assert statuses == {"src": "ONLINE", "dst": "ONLINE", "gone": "OFFLINE"}
    assert not place.destination.exists()
    shown = place.call("locations", "list").stdout
    assert re.search(r"^gone +local +OFFLINE", shown, re.M)
    assert re.search(r"^! gone: .*gone", shown, re.M)
    silent = json.loads(place.call("locations", "--no-connect", "--json").stdout)
    assert {each["status"] for each in silent["locations"]} == {None}


def test_a_location_is_checked_and_left_as_it_was(place):
    read_only = place.call("locations", "check", "src")
    assert read_only.exit_code == ExitCode.DONE
    assert "nothing was written" in read_only.stdout and read_only.stdout.endswith("src works.\n")
    place.destination.mkdir()
    written = place.call("locations", "check", "dst")
    assert written.exit_code == ExitCode.DONE
    assert "nothing is left" in written.stdout
    assert list(place.destination.iterdir()) == []
    steps = json.loads(place.call("locations", "check", "dst", "--read-only", "--json").stdout)["steps"]
    assert steps[-1]["verdict"] == "not_tried"
    place.declare()
    shutil.rmtree(place.source)
    gone = place.call("locations", "check", "src")
    assert gone.exit_code == ExitCode.LOCATION_UNAVAILABLE
    assert "src fails at: open" in gone.stdout
    assert "\\n" not in gone.stdout


def test_a_check_that_makes_no_sense_is_refused(place):
    for words in (("check",), ("check", "scr"), ("check", "src", "--write", "--read-only"), ("list", "src")):
        refused = place.call("locations", *words)
        assert refused.exit_code == ExitCode.USAGE
    assert "Did you mean src?" in place.call("locations", "check", "scr").stderr
