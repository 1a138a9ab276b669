"""Hooks: the user's own programs before and after an execution.

A hook is a list of arguments that no shell reads. It has a session of its own, /dev/null as its standard input, the
configuration's folder as its working directory, and an environment of which docs/hooks.md names every variable. Its
output goes to `hooks.log` in the execution's folder, whose middle is left out when it is long. After its time limit,
or when the execution is stopped meanwhile, it is ended with everything it started: SIGTERM, then SIGKILL.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from runner.alerts.output import Kept
from runner.alerts.processes import alive_in, send
from runner.clock import Clock, iso_utc
from runner.errors import HookFailedError, InterruptedByUserError
from runner.model.automation import Hook
from runner.model.wire import terminal_safe
from runner.units import format_duration

LOG_FILE = "hooks.log"
MARK = "SYNC_RUNNER_HOOK"
BEFORE, AFTER, ON_ERROR = "before", "after", "on_error"
PASSED_ON = ("PATH", "HOME", "LANG", "TZ")
GRACE_SECONDS = 5.0
"""Between SIGTERM and SIGKILL."""
_LOOK_EVERY_SECONDS = 0.05
_END_EVERY_SECONDS = 0.01
_PIECE_BYTES = 1 << 20


@dataclass(frozen=True)
class Surroundings:
    """What all hooks of one moment share. `moment`: before, after or on_error. `folder` is the execution's own.

    `environment` is the runner's, of which PASSED_ON goes to the hook; `variables` are the SYNC_RUNNER_* ones.
    `level` tells how urgently the execution is to stop: 0 not at all. A hook of `before` is ended once it is not 0;
    the others clean up also after an execution that was stopped, so only a level that rises while they run ends them.
    """

    moment: str
    folder: str
    directory: str
    environment: Mapping[str, str]
    variables: Mapping[str, str]
    clock: Clock
    level: Callable[[], int] = lambda: 0


@dataclass(frozen=True)
class HookResult:
    """How a hook ended: `failure` is None for success, else a sentence without its program's name."""

    failure: str | None
    last_line: str = ""
    stopped: bool = False


def run_before(task: str, hooks: Sequence[Hook], around: Surroundings) -> None:
    """Run them in order; the first that fails is the last that runs.

    Raises HookFailedError, and InterruptedByUserError when the execution was stopped meanwhile.
    """
    for number, hook in enumerate(hooks, 1):
        result = run_hook(hook, number, len(hooks), around)
        if result.stopped:
            raise InterruptedByUserError("interrupted before anything was written")
        if result.failure is not None:
            raise HookFailedError(
                _told(hook, number, around.moment, result),
                remedy=f"What it printed is in {os.path.join(around.folder, LOG_FILE)}. "
                f"Correct it, or hooks.before of task {task}.",
            )


def run_all(hooks: Sequence[Hook], around: Surroundings) -> list[str]:
    """Run them in order, whatever becomes of any; a sentence for each that failed."""
    failures = []
    for number, hook in enumerate(hooks, 1):
        result = run_hook(hook, number, len(hooks), around)
        if result.failure is not None:
            failures.append(_told(hook, number, around.moment, result))
    return failures


def run_hook(hook: Hook, number: int, count: int, around: Surroundings) -> HookResult:
    """Run one to its end and add what it printed to the log. Never raises but KeyboardInterrupt and its kin."""
    mark = f"{os.path.basename(around.folder)}-{around.moment}-{number}-{os.getpid()}"
    environment = hook_environment(hook, around, mark)
    began, began_at = around.clock.monotonic(), around.clock.now()
    kept = Kept()
    search_path = environment.get("PATH", os.defpath)
    program = shutil.which(hook.argv[0], path=search_path)
    if program is None:
        result = HookResult(_missing(hook.argv[0], search_path))
    else:
        try:
            result = _Running(hook, program, environment, f"{MARK}={mark}", around).to_its_end(kept)
        except OSError as error:
            result = HookResult(f"cannot be started: {error.strerror or error}")
    seconds = around.clock.monotonic() - began
    heading = (
        f"== {iso_utc(began_at)} {around.moment} {number}/{count}: "
        f"{' '.join(terminal_safe(each) for each in hook.argv)}"
    )
    ending = f"== {result.failure or 'ended with code 0'} ({format_duration(seconds)})"
    _write_log(around.folder, heading, kept.content(), ending)
    return result


def hook_environment(hook: Hook, around: Surroundings, mark: str) -> dict[str, str]:
    """All that a hook finds in its environment: the hook's own variables win over PATH and its kin, but never over
    the runner's SYNC_RUNNER_*."""
    environment = {name: around.environment[name] for name in PASSED_ON if name in around.environment}
    environment.update(hook.environment)
    environment.update(around.variables)
    environment[MARK] = mark
    # execve(2) takes no zero byte; no value of ours has a use for one.
    return {name: value.replace("\0", "") for name, value in environment.items()}


class _Running:
    """One hook's process, from start to end."""

    def __init__(
        self, hook: Hook, program: str, environment: Mapping[str, str], mark: str, around: Surroundings
    ) -> None:
        self._hook = hook
        self._around = around
        self._mark = os.fsencode(mark)
        self._endured = 0 if around.moment == BEFORE else around.level()
        self._reader, writer = os.pipe()
        try:
            self._process = subprocess.Popen(
                hook.argv,
                executable=program,
                env=environment,
                cwd=around.directory,
                stdin=subprocess.DEVNULL,
                stdout=writer,
                stderr=writer,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._reader)
            raise
        finally:
            os.close(writer)
        os.set_blocking(self._reader, False)
        self._output_ended = False
        try:
            self._exit: int | None = os.pidfd_open(self._process.pid)
        except (OSError, AttributeError):
            # An old kernel, or a sandbox without pidfd_open(2): its end is seen a moment later.
            self._exit = None

    def to_its_end(self, kept: Kept) -> HookResult:
        clock, limit = self._around.clock, self._hook.timeout_seconds
        began = clock.monotonic()
        overdue = stopped = False
        try:
            while not self._has_exited():
                self._read(kept, _LOOK_EVERY_SECONDS)
                overdue = clock.monotonic() - began >= limit
                stopped = self._around.level() > self._endured
                if overdue or stopped:
                    break
            # Its background processes end with it; one that made a session of its own (a daemon, a mount) may
            # stay, unless the hook is ended by force.
            self._end_all(kept, by_force=overdue or stopped)
        except BaseException:
            for process in alive_in(self._process.pid, self._mark):
                send(process, signal.SIGKILL)
            raise
        finally:
            code = self._reap()
            self._read(kept, 0.0)
            for descriptor in (self._reader, self._exit):
                if descriptor is not None:
                    os.close(descriptor)
        last = kept.last_line()
        if stopped:
            return HookResult("was ended, for the execution is stopped", last, stopped=True)
        if overdue:
            return HookResult(
                f"took longer than its time limit, {format_duration(limit)}, and was ended", last
            )
        return HookResult(_said_by(code), last)

    def _has_exited(self) -> bool:
        # Not reaped yet: until then nobody else can have its pid, nor its session's number.
        exited = os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        return exited is not None

    def _reap(self) -> int:
        try:
            return self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            # Signals did not end it: it became another user, or waits for a device. It is not waited for.
            return -signal.SIGKILL

    def _read(self, kept: Kept, wait_seconds: float) -> None:
        """Take what was printed, waiting for the first of it or for the end of the process. What nobody keeps is
        taken, too: it would stall the hook."""
        # select(2) takes no descriptor above 1023, and a runner of many tasks may have those.
        watched = select.poll()
        if not self._output_ended:
            watched.register(self._reader, select.POLLIN)
        if self._exit is not None:
            watched.register(self._exit, select.POLLIN)
        ready = [descriptor for descriptor, _ in watched.poll(wait_seconds * 1000)]
        if self._reader not in ready:
            return
        piece = os.read(self._reader, _PIECE_BYTES)
        kept.add(piece)
        self._output_ended = not piece

    def _end_all(self, kept: Kept, *, by_force: bool) -> None:
        clock = self._around.clock
        mark = self._mark if by_force else None
        for number in (signal.SIGTERM, signal.SIGKILL):
            began = clock.monotonic()
            told: set[tuple[int, bytes]] = set()
            while left := alive_in(self._process.pid, mark):
                for process in left:
                    if (process.pid, process.start_tick) not in told:
                        told.add((process.pid, process.start_tick))
                        send(process, number)
                self._read(kept, 0.0)
                clock.sleep(_END_EVERY_SECONDS)
                if clock.monotonic() - began >= GRACE_SECONDS:
                    break
            else:
                return


def _said_by(code: int) -> str | None:
    if code == 0:
        return None
    if code > 0:
        return f"ended with code {code}"
    try:
        return f"was ended by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"


def _missing(program: str, search_path: str) -> str:
    if "/" not in program:
        return f"is not found in PATH ({terminal_safe(search_path)})"
    return "is no program that may be started" if os.path.exists(program) else "does not exist"


def _told(hook: Hook, number: int, moment: str, result: HookResult) -> str:
    words = f"hook {number} of {moment}, {terminal_safe(hook.argv[0])}, {result.failure}"
    return f"{words}: {result.last_line}" if result.last_line else words


def _write_log(folder: str, heading: str, content: bytes, ending: str) -> None:
    """Add to the log, mode 0600. A log that cannot be written stops nothing."""
    text = content if not content or content.endswith(b"\n") else content + b"\n"
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(os.path.join(folder, LOG_FILE), flags, 0o600), "ab") as log:
            log.write(heading.encode() + b"\n" + text + ending.encode() + b"\n\n")
    except OSError:
        return
