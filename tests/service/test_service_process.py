"""The real service: real processes, signals, kills, and the commands beside it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from serving import Serving

pytestmark = pytest.mark.slow


def running(serving: Serving, phase: str = "TRANSFERRING") -> bool:
    status = serving.status()
    return status is not None and any(one.get("phase") == phase for one in status["running"])


def test_a_schedule_runs_a_chain_follows_and_sigterm_ends_it(serving: Serving) -> None:
    serving.fill(3, 1000)
    serving.configure(
        "  first: {source: source, destination: one, schedule: {every: 1s}}\n"
        "  then: {source: source, destination: two, schedule: {after: first}}\n"
    )
    serving.start()
    serving.until(lambda: (serving.folder / "two" / "f00002").exists())
    assert serving.stop() == 0
    rows = serving.history()
    assert {(row["task"], row["trigger"]) for row in rows} == {("first", "schedule"), ("then", "after")}
    assert {row["status"] for row in rows} == {"SUCCESS"}
    assert not (serving.state / "service.sock").exists()
    assert "stopped" in serving.log.read_text()


def test_run_goes_through_the_service_and_is_answered(serving: Serving) -> None:
    serving.fill(3, 1000)
    serving.configure("  a: {source: source, destination: one}\n")
    serving.start()
    assert stat.S_IMODE((serving.state / "service.sock").stat().st_mode) == 0o600
    ran = serving.command("run", "a", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["execution"]["trigger"] == "manual"
    assert report["counters"]["transferred"]["files"] == 3
    assert "task a starts (manual)" in serving.log.read_text()
    here = serving.command("run", "a", "--here")
    assert here.returncode == 0
    assert serving.log.read_text().count("task a starts") == 1
    assert serving.command("run", "b").returncode == 2
    # Another configuration of the same state folder is not the service's.
    other = serving.folder / "other.yaml"
    other.write_text((serving.folder / "sync.yaml").read_text().replace("./one", "./three"))
    assert serving.command("run", "a", "-c", "other.yaml").returncode == 0
    assert serving.log.read_text().count("task a starts") == 1
    assert len(list(serving.folder.glob("three/f*"))) == 3


def test_only_one_service_works_with_a_state_folder(serving: Serving) -> None:
    serving.configure("  a: {source: source, destination: one}\n")
    first = serving.start()
    second = serving.command("serve")
    assert second.returncode == 8
    assert f"process {first.pid}" in second.stderr


def test_killed_while_it_runs_the_next_one_goes_on(serving: Serving) -> None:
    serving.fill(30, 100_000)
    serving.configure("  a: {source: source, destination: one, options: {bandwidth: 400KiB/s}}\n")
    serving.start()
    client = subprocess.Popen(
        [sys.executable, "-m", "runner", "run", "a"],
        cwd=serving.folder,
        env=serving.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    serving.until(lambda: len(list(serving.folder.glob("one/f*"))) >= 2)
    assert serving.process is not None
    serving.process.kill()
    serving.process.wait()
    assert client.wait(60) == 7
    copied = len(list(serving.folder.glob("one/f*")))
    serving.configure("  a: {source: source, destination: one}\n")
    serving.start()
    first = serving.history()[0]
    assert first["status"] == "ERROR"
    assert "Interrupted" in first["summary"]
    ran = serving.command("run", "a", "--json")
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["counters"]["transferred"]["files"] == 30 - copied
    assert not list(serving.folder.glob("one/.sync-runner*"))


def test_drained_by_sigterm_then_stopped_and_what_was_done_is_kept(serving: Serving) -> None:
    serving.fill(30, 100_000)
    serving.configure(
        "  a: {source: source, destination: one, schedule: {every: 1s}, options: {bandwidth: 200KiB/s}}\n",
        settings=", drain: 500ms",
    )
    serving.start()
    serving.until(lambda: len(list(serving.folder.glob("one/f*"))) >= 1)
    assert serving.stop() == 0
    (row,) = [row for row in serving.history() if row["status"] != "RUNNING"][:1]
    assert row["status"] == "CANCELLED"
    report = json.loads((serving.state / "executions" / row["execution_id"] / "report.json").read_text())
    assert "the service is being stopped" in report["problems"][-1]["message"]
    assert report["counters"]["transferred"]["files"] == len(list(serving.folder.glob("one/f*")))


def test_a_changed_file_is_taken_over_and_a_faulty_one_is_not(serving: Serving) -> None:
    serving.fill(1, 10)
    serving.configure("  a: {source: source, destination: one}\n")
    serving.start()
    serving.configure("  a: {source: source, destination: one, schedule: {evry: 1s}}\n")
    serving.until(lambda: (serving.status() or {}).get("configuration_error"))
    assert serving.command("status").returncode == 2
    assert "evry" in serving.log.read_text()
    serving.configure("  b: {source: source, destination: two, schedule: {every: 1s}}\n")
    serving.until(lambda: (serving.folder / "two" / "f00000").exists())
    status = serving.status()
    assert status is not None and status["configuration_error"] is None


def test_sighup_loads_the_configuration_anew(serving: Serving) -> None:
    serving.configure("  a: {source: source, destination: one}\n")
    process = serving.start()
    before = (serving.status() or {})["configuration_loaded_at"]
    process.send_signal(signal.SIGHUP)
    serving.until(lambda: (serving.status() or {}).get("configuration_loaded_at", before) != before)


def test_cancel_and_bandwidth_reach_a_running_execution(serving: Serving) -> None:
    serving.fill(40, 100_000)
    serving.configure(
        "  a: {source: source, destination: one, options: {bandwidth: 100KiB/s}, schedule: {every: 1s}}\n"
    )
    serving.start()
    serving.until(lambda: running(serving))
    faster = serving.command("bandwidth", "a", "400KiB/s")
    assert faster.returncode == 0, faster.stderr
    assert "400.0 KiB/s" in faster.stdout
    serving.until(lambda: len(list(serving.folder.glob("one/f*"))) >= 5)
    cancelled = serving.command("cancel", "a", "--json")
    assert cancelled.returncode == 0, cancelled.stderr
    (execution,) = json.loads(cancelled.stdout)["executions"]
    serving.until(lambda: (serving.state / "executions" / execution / "report.json").exists())
    report = json.loads((serving.state / "executions" / execution / "report.json").read_text())
    assert report["execution"]["exit_code"] == 130
    assert report["problems"][-1]["message"].endswith("cancelled by a user")


def test_pause_and_resume_with_and_without_a_service(serving: Serving) -> None:
    serving.configure("  a: {source: source, destination: one, schedule: {every: 1s}}\n")
    assert serving.command("pause", "a", "--for", "1h", "--reason", "new disk").returncode == 0
    serving.start()
    ledger = serving.state / "schedule.sqlite"
    serving.until(
        lambda: b"new disk" in b"".join(path.read_bytes() for path in serving.state.glob(ledger.name + "*"))
    )
    assert serving.history() == []
    assert serving.command("resume", "a").returncode == 0
    serving.until(lambda: serving.history())


def test_a_task_that_fails_the_same_way_again_and_again_is_disabled(serving: Serving) -> None:
    serving.configure(
        "  a: {source: gone, destination: one, schedule: {every: 1s}}\n",
        settings=", disable_after: 2",
        locations="  gone: {type: local, path: ./not-there}\n",
    )
    serving.start()
    serving.until(lambda: "is disabled" in serving.log.read_text())
    assert "sync-runner resume a" in serving.log.read_text()
    status = serving.command("status")
    assert "sync-runner resume a" in status.stdout
    assert "disabled" in status.stdout
    assert len(serving.history()) == 2


def test_max_duration_stops_an_execution(serving: Serving) -> None:
    serving.fill(40, 100_000)
    serving.configure(
        "  a: {source: source, destination: one, options: {bandwidth: 200KiB/s}, max_duration: 1s}\n"
    )
    ran = serving.command("run", "a", "--json")
    assert ran.returncode == 130
    assert "max_duration" in json.loads(ran.stdout)["problems"][-1]["message"]


def test_systemd_is_told(serving: Serving, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        address = str(tmp_path / "notify")
        listener.bind(address)
        listener.settimeout(60)
        serving.environment |= {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000"}
        serving.configure("  a: {source: source, destination: one}\n")
        serving.start(ready=False)
        assert listener.recv(4096).startswith(b"READY=1\nSTATUS=1 tasks")
        assert listener.recv(4096) == b"WATCHDOG=1"
        serving.stop()
        told = [listener.recv(4096)]
        while not told[-1].startswith(b"STOPPING=1"):
            told.append(listener.recv(4096))


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_nobody_else_is_answered(serving: Serving) -> None:
    serving.configure("  a: {source: source, destination: one}\n")
    serving.start()
    for folder in (serving.folder, serving.state):
        folder.chmod(0o755)
    (serving.state / "service.sock").chmod(0o666)
    code = (
        "import os, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        's.sendall(b\'{"verb": "status"}\\n\'); print(len(s.recv(100)))'
    )
    os.chmod(serving.folder.parent, 0o755)
    os.chmod(serving.folder.parent.parent, 0o755)
    asked = subprocess.run(
        [sys.executable, "-c", code, str(serving.state / "service.sock")],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert asked.stdout.strip() in ("0", ""), asked
    assert serving.status() is not None


def test_killed_at_any_moment_the_next_service_knows_and_goes_on(serving: Serving) -> None:
    """From before the execution has an id to its verification: each kill a little later than the one before."""
    serving.fill(300, 20_000)
    phases = set()
    for attempt in range(8):
        serving.configure(
            f"  a: {{source: source, destination: one{attempt}, options: {{bandwidth: 4MiB/s}}}}\n",
            locations=f"  one{attempt}: {{type: local, path: ./one{attempt}}}\n",
        )
        serving.start()
        client = subprocess.Popen(
            [sys.executable, "-m", "runner", "run", "a"],
            cwd=serving.folder, env=serving.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        serving.until(lambda: (serving.status() or {})["running"])
        threading.Event().wait(0.3 * attempt)
        status = serving.status()
        assert status is not None and serving.process is not None
        phases |= {one.get("phase") for one in status["running"]}
        serving.process.kill()
        serving.process.wait()
        client.wait(60)
        serving.start()
        assert serving.history("--limit", "100") == [] or all(
            row["status"] != "RUNNING" for row in serving.history("--limit", "100")
        )
        assert serving.command("run", "a", "-q").returncode == 0
        assert serving.command("check", "a").returncode == 0
        assert not list(serving.folder.glob(f"one{attempt}/.sync-runner*"))
        assert serving.stop() == 0
    assert len(phases) >= 3, phases
