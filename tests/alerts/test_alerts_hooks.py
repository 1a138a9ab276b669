"""Hooks are real programs here, and what they leave behind is looked for in /proc."""

from __future__ import annotations

import os
import re
import resource
import signal
import stat
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.alerts import hooks
from runner.alerts.hooks import Surroundings, run_all, run_before, run_hook
from runner.alerts.output import Kept
from runner.alerts.processes import alive_in
from runner.clock import SystemClock
from runner.errors import HookFailedError, InterruptedByUserError
from runner.model.automation import Hook

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "HOME": "/home/ada",
    "LANG": "C.UTF-8",
    "TZ": "Europe/Berlin",
    "AWS_SECRET_ACCESS_KEY": "hunter2",
    "SYNC_RUNNER_DEBUG": "1",
}


def surroundings(folder: Path, moment: str = "before", **more: object) -> Surroundings:
    execution = folder / "6b0348f56ecc"
    execution.mkdir(exist_ok=True)
    settings: dict[str, object] = {
        "moment": moment,
        "folder": str(execution),
        "directory": str(folder),
        "environment": ENVIRONMENT,
        "variables": {"SYNC_RUNNER_TASK": "photos"},
        "clock": SystemClock(),
        **more,
    }
    return Surroundings(**settings)  # type: ignore[arg-type]


def shell(script: str, timeout_seconds: float = 30.0, environment: Mapping[str, str] | None = None) -> Hook:
    return Hook(("/bin/sh", "-c", script), timeout_seconds, dict(environment or {}))


def log_of(folder: Path) -> str:
    return (folder / "6b0348f56ecc" / "hooks.log").read_text("utf-8", "replace")


def is_running(pid: int) -> bool:
    """Whether it still does something: a zombie that init has not reaped yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except FileNotFoundError:
        return False


def pid_in(path: Path) -> int:
    return int(path.read_text())


# -- arguments and environment -------------------------------------------------------------------------------


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    argv = [
        "printf",
        "%s\\n",
        f"; touch {canary}",
        f"$(touch {canary})",
        "`id`",
        "$HOME",
        "a b",
        "*",
        "--",
        "é",
    ]
    result = run_hook(Hook(tuple(argv)), 1, 1, surroundings(tmp_path))
    assert result.failure is None
    assert not canary.exists()
    assert log_of(tmp_path).splitlines()[1:-2] == [f"; touch {canary}", f"$(touch {canary})", *argv[4:]]


def test_the_environment_is_exactly_what_is_documented(tmp_path: Path) -> None:
    hook = Hook(
        (sys.executable, "-c", "import os; print(sorted(os.environ.items()))"),
        environment={
            "QUEUE": "storage",
            "TZ": "UTC",
            "SYNC_RUNNER_TASK": "forged",
            "SYNC_RUNNER_HOOK": "forged",
        },
    )
    assert run_hook(hook, 2, 3, surroundings(tmp_path)).failure is None
    told = dict(eval(log_of(tmp_path).splitlines()[1]))
    # Python itself may add LC_CTYPE to its own environment (PEP 538).
    told.pop("LC_CTYPE", None)
    assert told == {
        "PATH": "/usr/bin:/bin",
        "HOME": "/home/ada",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "QUEUE": "storage",
        "SYNC_RUNNER_TASK": "photos",
        "SYNC_RUNNER_HOOK": f"6b0348f56ecc-before-2-{os.getpid()}",
    }


def test_it_runs_in_the_configurations_folder_without_standard_input_in_a_session_of_its_own(
    tmp_path: Path,
) -> None:
    script = "import os, sys; print(os.getcwd(), repr(sys.stdin.read()), os.getsid(0) == os.getpid())"
    assert run_hook(Hook((sys.executable, "-c", script)), 1, 1, surroundings(tmp_path)).failure is None
    assert log_of(tmp_path).splitlines()[1] == f"{tmp_path} '' True"


def test_no_descriptor_of_the_runner_reaches_it(tmp_path: Path) -> None:
    with open(tmp_path / "private", "w") as private:
        os.set_inheritable(private.fileno(), True)
        assert run_hook(shell("ls -l /proc/self/fd"), 1, 1, surroundings(tmp_path)).failure is None
    assert "private" not in log_of(tmp_path)


# -- how it ends ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("description", "hook", "failure", "last_line"),
    [
        ("success", shell("echo fine"), None, "fine"),
        ("a code", shell("echo one; echo '  two  ' >&2; echo; exit 3"), "ended with code 3", "two"),
        ("a signal", shell("kill -9 $$"), "was ended by signal SIGKILL", ""),
        ("hostile output", shell(r"printf 'a\033[31m\n\033]0;x\007b'; exit 1"), "ended with code 1", r"\x1b]0;x\x07b"),
        ("not UTF-8", shell(r"printf '\377x'; exit 1"), "ended with code 1", "\ufffdx"),
        ("no program", Hook(("no-such-program",)), "is not found in PATH (/usr/bin:/bin)", ""),
        ("no file", Hook(("/no/such/program",)), "does not exist", ""),
        ("not executable", Hook(("/etc/passwd",)), "is no program that may be started", ""),
    ],
)  # fmt: skip
def test_endings(description: str, hook: Hook, failure: str | None, last_line: str, tmp_path: Path) -> None:
    result = run_hook(hook, 1, 1, surroundings(tmp_path))
    assert (description, result.failure, result.last_line) == (description, failure, last_line)


def test_a_program_whose_interpreter_is_missing_says_so(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    script.chmod(0o755)
    assert run_hook(Hook((str(script),)), 1, 1, surroundings(tmp_path)).failure == (
        "cannot be started: No such file or directory"
    )


def test_the_path_that_the_hook_sets_is_searched(tmp_path: Path) -> None:
    program = tmp_path / "tool"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    hook = Hook(("tool",), environment={"PATH": f"{tmp_path}:/usr/bin:/bin"})
    assert run_hook(hook, 1, 1, surroundings(tmp_path)).last_line == "found"


def test_the_log_is_private_and_tells_every_hook(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    run_before("t", [shell("echo one")], around)
    assert run_all([shell("exit 4"), shell("printf two")], surroundings(tmp_path, "after")) == [
        "hook 1 of after, /bin/sh, ended with code 4"
    ]
    log = tmp_path / "6b0348f56ecc" / "hooks.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    told = re.sub(r"== \d{4}-\S+Z ", "== TIME ", log.read_text())
    assert re.sub(r"\(\S+ s\)", "(SECONDS)", told) == (
        "== TIME before 1/1: /bin/sh -c echo one\none\n== ended with code 0 (SECONDS)\n\n"
        "== TIME after 1/2: /bin/sh -c exit 4\n== ended with code 4 (SECONDS)\n\n"
        "== TIME after 2/2: /bin/sh -c printf two\ntwo\n== ended with code 0 (SECONDS)\n\n"
    )


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    around = surroundings(tmp_path)
    (tmp_path / "elsewhere").write_text("")
    (tmp_path / "6b0348f56ecc" / "hooks.log").symlink_to(tmp_path / "elsewhere")
    assert run_hook(shell("echo secret"), 1, 1, around).failure is None
    assert (tmp_path / "elsewhere").read_text() == ""


def test_the_first_hook_of_before_that_fails_is_the_last(tmp_path: Path) -> None:
    failing = [shell("exit 0"), shell("echo database is busy; exit 7"), shell("touch canary")]
    with pytest.raises(HookFailedError) as caught:
        run_before("photos", failing, surroundings(tmp_path))
    assert caught.value.message == "hook 2 of before, /bin/sh, ended with code 7: database is busy"
    assert "6b0348f56ecc/hooks.log" in str(caught.value.remedy)
    assert not (tmp_path / "canary").exists()


# -- time limits and children --------------------------------------------------------------------------------


def test_a_hook_that_ignores_sigterm_is_killed_after_the_grace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hooks, "GRACE_SECONDS", 0.3)
    script = "trap '' TERM; echo $$ > pid; while :; do sleep 0.05; done"
    result = run_hook(shell(script, timeout_seconds=0.5), 1, 1, surroundings(tmp_path))
    assert result.failure == "took longer than its time limit, 0.50 s, and was ended"
    assert not is_running(pid_in(tmp_path / "pid"))


def test_a_hook_may_clean_up_on_sigterm(tmp_path: Path) -> None:
    script = "trap 'echo cleaned; exit 0' TERM; while :; do sleep 0.05; done"
    result = run_hook(shell(script, timeout_seconds=0.3), 1, 1, surroundings(tmp_path))
    assert (result.failure, result.last_line) == (
        "took longer than its time limit, 0.30 s, and was ended",
        "cleaned",
    )


ORPHANS = """
import os, sys, time
def leave(name, *, session):
    if os.fork():
        return
    if session:
        os.setsid()
    if os.fork():
        os._exit(0)
    open(name, "w").write(str(os.getpid()))
    time.sleep(600)
leave("inside", session=False)
leave("outside", session=True)
while not (os.path.exists("inside") and os.path.getsize("inside") and os.path.exists("outside")
           and os.path.getsize("outside")):
    time.sleep(0.01)
time.sleep(float(sys.argv[1]))
"""


def test_after_its_time_limit_everything_it_started_is_ended(tmp_path: Path) -> None:
    hook = Hook((sys.executable, "-c", ORPHANS, "600"), timeout_seconds=2.0)
    assert run_hook(hook, 1, 1, surroundings(tmp_path)).failure is not None
    assert [is_running(pid_in(tmp_path / name)) for name in ("inside", "outside")] == [False, False]


def test_when_it_ends_by_itself_only_a_daemon_of_its_own_session_stays(tmp_path: Path) -> None:
    hook = Hook((sys.executable, "-c", ORPHANS, "0"), timeout_seconds=30.0)
    assert run_hook(hook, 1, 1, surroundings(tmp_path)).failure is None
    daemon = pid_in(tmp_path / "outside")
    try:
        assert (is_running(pid_in(tmp_path / "inside")), is_running(daemon)) == (False, True)
    finally:
        os.kill(daemon, signal.SIGKILL)


def test_a_request_to_stop_ends_a_hook_of_before(tmp_path: Path) -> None:
    asked = threading.Event()

    def level() -> int:
        # Asked once the hook is there.
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            asked.set()
        return int(asked.is_set())

    with pytest.raises(InterruptedByUserError):
        run_before("t", [shell("echo $$ > pid; sleep 600")], surroundings(tmp_path, level=level))
    assert not is_running(pid_in(tmp_path / "pid"))


def test_a_hook_of_after_outlives_the_request_that_came_before_it(tmp_path: Path) -> None:
    around = surroundings(tmp_path, "after", level=lambda: 2)
    assert run_hook(shell("sleep 0.2; echo thawed"), 1, 1, around).last_line == "thawed"


def test_a_further_request_ends_a_hook_of_after_and_only_that(tmp_path: Path) -> None:
    def level() -> int:
        return 1 + (tmp_path / "started").exists()

    around = surroundings(tmp_path, "after", level=level)
    endings = run_all([shell("touch started; sleep 600"), shell("echo thawed >thawed")], around)
    assert endings == ["hook 1 of after, /bin/sh, was ended, for the execution is stopped"]
    assert (tmp_path / "thawed").exists()


def test_an_exception_in_the_runner_leaves_nothing_behind(tmp_path: Path) -> None:
    def level() -> int:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise KeyboardInterrupt
        return 0

    with pytest.raises(KeyboardInterrupt):
        run_hook(shell("echo $$ > pid; sleep 600"), 1, 1, surroundings(tmp_path, level=level))
    pid = pid_in(tmp_path / "pid")
    assert not is_running(pid)


def test_processes_of_others_are_never_found() -> None:
    assert os.getpid() not in [process.pid for process in alive_in(os.getsid(0), None)]
    assert alive_in(2**22 + 1, b"SYNC_RUNNER_HOOK=nobody") == []


# -- output --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flood", [1 << 27, pytest.param(1 << 30, marks=pytest.mark.slow)])
def test_a_flood_fills_neither_memory_nor_disk(flood: int, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    hook = shell(f"echo first; head -c {flood} /dev/zero; echo; echo last; exit 1", timeout_seconds=60.0)
    result = run_hook(hook, 1, 1, surroundings(tmp_path))
    assert (result.failure, result.last_line) == ("ended with code 1", "last")
    log = (tmp_path / "6b0348f56ecc" / "hooks.log").read_bytes()
    kept = 2 * 64 * 1024
    missing = flood + len("first\n") + len("\nlast\n") - kept
    assert b"\n[... %d bytes left out ...]\n" % missing in log
    assert kept < len(log) < kept + 1024
    assert b"\nfirst\n\0\0" in log
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024


def test_a_flood_that_never_ends_is_ended_in_time(tmp_path: Path) -> None:
    result = run_hook(Hook(("cat", "/dev/zero"), timeout_seconds=0.5), 1, 1, surroundings(tmp_path))
    assert result.failure == "took longer than its time limit, 0.50 s, and was ended"


def test_a_hook_that_closes_its_output_is_waited_for(tmp_path: Path) -> None:
    assert (
        run_hook(shell("exec >&- 2>&-; sleep 0.3; touch late"), 1, 1, surroundings(tmp_path)).failure is None
    )
    assert (tmp_path / "late").exists()


@pytest.mark.parametrize(
    ("description", "pieces", "expected"),
    [
        ("nothing", [], b""),
        ("little", [b"ab", b"c"], b"abc"),
        ("just both ends", [b"abcd", b"efgh"], b"abcdefgh"),
        ("one byte too many", [b"abcd", b"efghi"], b"abcd\n[... 1 bytes left out ...]\nfghi"),
        ("one huge piece", [b"abcdefghijklmnop"], b"abcd\n[... 8 bytes left out ...]\nmnop"),
        ("many small pieces", [b"x"] * 100, b"xxxx\n[... 92 bytes left out ...]\nxxxx"),
    ],
)
def test_what_is_kept_of_output(description: str, pieces: list[bytes], expected: bytes) -> None:
    kept = Kept(at_each_end=4)
    for piece in pieces:
        kept.add(piece)
    assert (description, kept.content()) == (description, expected)


def test_the_last_line_is_not_long() -> None:
    kept = Kept()
    kept.add(b"x" * 5000)
    assert len(kept.last_line()) == 300
