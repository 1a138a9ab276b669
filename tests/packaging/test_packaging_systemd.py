"""Units are sound, hardened, and leave the program what it needs: held against systemd itself and against real runs."""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from servers.process import program

from runner.errors import ExitCode
from runner.model.automation import ServiceSettings
from runner.service.loop import KILL_AFTER_SECONDS

pytestmark = pytest.mark.servers

ROOT = Path(__file__).resolve().parents[2]
UNITS = ROOT / "packaging" / "systemd"
INSTALLED = "/opt/sync-runner/bin/sync-runner"
HINT = "apt-get install systemd"
SERVICES = ("sync-runner.service", "sync-runner@.service", "sync-runner-freshness.service")
INSTANCES = {
    "sync-runner@.service": "sync-runner@mail.service",
    "sync-runner@.timer": "sync-runner@mail.timer",
}
EXPOSURE_AT_MOST = {
    "sync-runner.service": 2.0,
    "sync-runner@.service": 2.0,
    "sync-runner-freshness.service": 1.0,
}
WITH_OWNERS_AT_MOST = 2.5
_LISTXATTRAT = 465  # since Linux 6.13; the same number everywhere
_PR_SET_NO_NEW_PRIVS, _PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN = 38, 65, 1


def settings(unit: str) -> dict[str, list[str]]:
    """Every assignment of a unit, by key."""
    found: dict[str, list[str]] = {}
    for line in (UNITS / unit).read_text("utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as installed, with a program that is there; templates also as instances."""
    folder = tmp_path / "units"
    shutil.copytree(UNITS, folder, ignore=shutil.ignore_patterns("*.d"))
    command = Path(sys.executable).with_name("sync-runner")
    for path in folder.iterdir():
        path.write_text(path.read_text("utf-8").replace(INSTALLED, str(command)), "utf-8")
    for template, instance in INSTANCES.items():
        shutil.copy2(folder / template, folder / instance)
    return folder


def analyze(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program("systemd-analyze", HINT), *arguments],
        cwd=folder,
        env={"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "SYSTEMD_UNIT_PATH": f"{folder}:"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def complaints(folder: Path, unit: str) -> list[str]:
    """What systemd finds wrong with the unit; not what it finds with others of the machine."""
    said = analyze(folder, "verify", "--man=no", f"./{unit}").stderr.splitlines()
    return [line for line in said if "sync-runner" in line]


@pytest.mark.parametrize("unit", sorted(path.name for path in UNITS.glob("*.*er")) + list(SERVICES))
def test_units_are_sound(units: Path, unit: str) -> None:
    assert complaints(units, INSTANCES.get(unit, unit)) == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("\n[Service]\nProtectEverything=yes\n", "'ProtectEverything'"),
        ("\n[Service]\nWatchdogSec=soon\n", "Failed to parse"),
        ("\n[Service]\nExecStartPre=/no/such/program\n", "is not executable"),
    ],
)
def test_faults_of_units_are_seen(units: Path, fault: str, words: str) -> None:
    path = units / "sync-runner.service"
    path.write_text(path.read_text("utf-8") + fault, "utf-8")
    assert words in str(complaints(units, "sync-runner.service"))


def exposure(folder: Path, unit: str) -> float:
    told = analyze(folder, "security", "--offline=true", "--no-pager", f"./{unit}").stdout
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", told)
    assert found is not None, told
    return float(found[1])


@pytest.mark.parametrize("unit", SERVICES)
def test_services_are_hardened(units: Path, unit: str) -> None:
    assert exposure(units, INSTANCES.get(unit, unit)) <= EXPOSURE_AT_MOST[unit]


def test_with_the_right_to_keep_owners_it_is_still_hardened(units: Path) -> None:
    drop_in = units / "sync-runner.service.d"
    shutil.copytree(UNITS / "sync-runner.service.d", drop_in)
    assert (
        EXPOSURE_AT_MOST["sync-runner.service"]
        < exposure(units, "sync-runner.service")
        <= WITH_OWNERS_AT_MOST
    )
    assert complaints(units, "sync-runner.service") == []


def test_a_unit_without_hardening_would_be_seen(units: Path) -> None:
    (units / "bare.service").write_text("[Service]\nExecStart=/bin/true\n")
    assert exposure(units, "bare.service") > 9


def test_the_time_to_stop_is_longer_than_draining_takes() -> None:
    for unit in ("sync-runner.service", "sync-runner@.service"):
        assert (
            int(settings(unit)["TimeoutStopSec"][0])
            > ServiceSettings().drain_seconds + KILL_AFTER_SECONDS + 30
        )


def test_exit_codes_that_come_again_are_not_started_again() -> None:
    prevented = settings("sync-runner.service")["RestartPreventExitStatus"][0].split()
    assert prevented == [str(int(ExitCode.USAGE)), str(int(ExitCode.LOCK_HELD))]


def test_the_commands_that_units_start_exist(tmp_path: Path) -> None:
    from runner.cli.parser import parse

    for unit in SERVICES:
        [command] = settings(unit)["ExecStart"]
        name, *arguments = command.replace("%i", "mail").split()
        assert name == INSTALLED
        parse(arguments, {})


def test_single_runs_are_hardened_like_the_service() -> None:
    service, single = settings("sync-runner.service"), settings("sync-runner@.service")
    hardening = [
        key
        for key in service
        if re.match(r"Protect|Private|Restrict|System|Capab|Amb|NoNew|Lock|Memory", key)
    ]
    assert len(hardening) > 15
    assert {key: single.get(key) for key in hardening if key != "RestartPreventExitStatus"} == {
        key: service[key] for key in hardening if key != "RestartPreventExitStatus"
    }


def test_the_user_can_be_made(tmp_path: Path) -> None:
    made = subprocess.run(
        [program("systemd-sysusers", HINT), "--dry-run", f"--root={tmp_path}", "-"],
        input=(UNITS / "sync-runner.sysusers.conf").read_text("utf-8"),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert made.returncode == 0, made.stderr
    assert "sync-runner" in made.stderr


# -- what the program needs --------------------------------------------------------------------------------------


def allowed_calls() -> set[str]:
    """What SystemCallFilter= of the service lets through, in the order of its lines (systemd.exec(5))."""
    allowed: set[str] = set()
    for line in settings("sync-runner.service")["SystemCallFilter"]:
        calls = set().union(*(_calls_of(name) for name in line.removeprefix("~").split()))
        allowed = allowed - calls if line.startswith("~") else allowed | calls
    return allowed


def _calls_of(name: str) -> set[str]:
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(
        [program("systemd-analyze", HINT), "syscall-filter", name],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout.splitlines()[1:]  # fmt: skip
    names = [line.strip() for line in listed if line.strip() and not line.strip().startswith("#")]
    return set().union(*map(_calls_of, names))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A task from disk to disk with everything that metadata can be, and one through rclone."""
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    for number in range(50):
        (source / "folder" / f"f{number}").write_bytes(os.urandom(3000))
    (source / "link").symlink_to("folder/f0")
    os.link(source / "folder" / "f1", source / "hard")
    os.mkfifo(source / "pipe")
    shared = source / "shared"
    shared.mkdir()
    shared.chmod(0o2775)
    with (source / "sparse").open("wb") as stream:
        stream.truncate(1 << 20)
    (tmp_path / "sync.yaml").write_text(
        f"""version: 1
settings: {{service: {{http: "127.0.0.1:0"}}}}
locations:
  source: {{type: local, path: ./source}}
  local: {{type: local, path: ./local}}
  cloud: {{type: rclone, backend: local, path: {tmp_path}/cloud}}
defaults: {{options: {{durability: full, verify_mode: point_in_time_consistent}}}}
tasks:
  disk: {{source: source, destination: local, schedule: {{every: 1s}}}}
  cloud: {{source: source, destination: cloud, filters: {{exclude: [/pipe, /link]}}}}
"""
    )
    return tmp_path


@pytest.mark.slow
def test_the_system_calls_of_real_runs_are_let_through(project: Path) -> None:
    trace = project / "calls"
    runner = [sys.executable, "-m", "runner"]
    strace = [program("strace", "apt-get install strace"), "-f", "-qq", "-o"]
    for number, command in enumerate((["run", "--quiet"], ["freshness"], ["run", "--quiet"])):
        subprocess.run(
            [*strace, f"{trace}.{number}", *runner, *command], cwd=project, capture_output=True, timeout=120, check=False
        )  # fmt: skip
    assert (project / "local" / "shared").stat().st_mode & 0o2000
    assert (project / "cloud" / "folder" / "f0").exists()
    with (project / "log").open("wb") as log:
        service = subprocess.Popen(
            ["timeout", "-s", "TERM", "6", *strace, f"{trace}.serve", *runner, "serve", "-v"],
            cwd=project, stdout=log, stderr=log,
        )  # fmt: skip
        service.wait(120)
    assert "task disk starts" in (project / "log").read_text()
    made = set()
    for path in project.glob("calls.*"):
        made |= set(re.findall(r"^\d+ +([a-z0-9_]+)\(", path.read_text("utf-8", "replace"), re.MULTILINE))
    assert len(made) > 60
    # Newer than the lists: refused there, and then done without (the next test).
    assert made - allowed_calls() - {"listxattrat", f"syscall_{_LISTXATTRAT:#x}"} == set()


@pytest.mark.slow
def test_a_call_that_the_sandbox_does_not_know_is_done_without(project: Path) -> None:
    """Refused by the kernel's own filter as SystemCallErrorNumber=EPERM does: nothing is missing at the destination."""
    os.setxattr(project / "source" / "folder" / "f2", "user.kept", b"value")
    libc = ctypes.CDLL(None, use_errno=True)
    load, equal, answer = 0x20, 0x15, 0x06  # BPF: a word of seccomp_data, a comparison, the verdict
    steps = [
        struct.pack("HBBI", load, 0, 0, 0),
        struct.pack("HBBI", equal, 0, 1, _LISTXATTRAT),
        struct.pack("HBBI", answer, 0, 0, 0x0005_0000 | errno.EPERM),
        struct.pack("HBBI", answer, 0, 0, 0x7FFF_0000),
    ]
    filters = ctypes.create_string_buffer(b"".join(steps))
    program_of_filters = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(steps), ctypes.addressof(filters))
    )

    def confine() -> None:
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(22, 2, program_of_filters, 0, 0):
            os._exit(99)

    command = [sys.executable, "-m", "runner", "run", "disk", "--quiet"]
    for _ in range(2):  # what was copied is compared as well
        ran = subprocess.run(
            command, cwd=project, capture_output=True, text=True, timeout=120, preexec_fn=confine
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, "")
    assert os.getxattr(project / "local" / "folder" / "f2", "user.kept") == b"value"


@pytest.mark.slow
def test_it_works_where_no_memory_becomes_code_and_no_privilege_is_gained(project: Path) -> None:
    """MemoryDenyWriteExecute= and NoNewPrivileges=, by the kernel's own switches."""
    libc = ctypes.CDLL(None, use_errno=True)

    def harden() -> None:
        if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0:
            os._exit(99)
        # Since Linux 6.3; an older kernel knows no such switch, and then the other one is tried alone.
        libc.prctl(_PR_SET_MDWE, _PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)

    ran = subprocess.run(
        [sys.executable, "-m", "runner", "run", "--quiet"],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=harden,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert (project / "cloud" / "folder" / "f0").exists()
