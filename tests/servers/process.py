"""Starting and ending a server process: free ports, readiness by a real operation, an end by pid."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

REQUIRED = os.environ.get("SYNC_RUNNER_SERVERS") == "required"
"""Set by .ci/run: there a server that is missing fails the test instead of skipping it."""

_PR_SET_PDEATHSIG = 1
_LASTING_THREAD = ThreadPoolExecutor(1, "starts-servers")


class ServerError(Exception):
    """A server that did not start, with the end of its log."""


def missing(what: str, hint: str) -> None:
    """Leave the test out because a server is not installed; in CI, fail it."""
    message = f"{what} is not installed; to install it: {hint}"
    if REQUIRED:
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def program(name: str, hint: str) -> str:
    """The full path of a server's program; also looks into sbin and beside the running interpreter."""
    beside = os.path.dirname(sys.executable)
    found = shutil.which(
        name, path=os.pathsep.join([beside, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    )
    if found is None:
        missing(name, hint)
    assert found is not None
    return found


def module(name: str, hint: str) -> None:
    """Make sure that a Python package is there."""
    if importlib.util.find_spec(name) is None:
        missing(name, hint)


def free_port() -> int:
    """A TCP port on the loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def spawn(
    argv: Sequence[str],
    log: Path,
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    stdin: int = subprocess.DEVNULL,
) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own that dies with this one; its output goes to `log`."""

    def start() -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                cwd=directory,
                start_new_session=True,
                preexec_fn=_die_with_parent,
            )

    if threading.current_thread() is threading.main_thread():
        return start()
    # For the kernel the parent is the thread: the process would die with a thread that ends.
    return _LASTING_THREAD.submit(start).result()


def wait_until_ready(
    process: subprocess.Popen[bytes], log: Path, operation: Callable[[], object], seconds: float = 60.0
) -> None:
    """Try a real operation until it goes through. Raises ServerError when the process ends or the time is over."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while True:
        try:
            operation()
            return
        except Exception as error:
            failure = error
        if process.poll() is not None:
            raise ServerError(f"{process.args!r} ended with {process.returncode}:\n{tail(log)}")
        if time.monotonic() > deadline:
            raise ServerError(f"{process.args!r} is not ready after {seconds:g} s: {failure!r}\n{tail(log)}")
        pause.wait(0.03)


def stop(process: subprocess.Popen[bytes], seconds: float = 8.0, *, group: bool = False) -> None:
    """End a process: TERM, then KILL. `group`: whatever is left of its session too."""
    with contextlib.suppress(ProcessLookupError):
        # One that is stopped hears TERM only when it goes on.
        process.send_signal(signal.SIGCONT)
        process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if group:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)


@contextlib.contextmanager
def running(
    argv: Sequence[str],
    log: Path,
    operation: Callable[[], object],
    *,
    environment: Mapping[str, str] | None = None,
    directory: Path | None = None,
    seconds: float = 60.0,
    group: bool = False,
) -> Iterator[subprocess.Popen[bytes]]:
    """A server that is ready, ended afterwards."""
    process = spawn(argv, log, environment=environment, directory=directory)
    try:
        wait_until_ready(process, log, operation, seconds)
        yield process
    finally:
        stop(process, group=group)


def accepts(port: int) -> None:
    """Raises unless something accepts connections there."""
    socket.create_connection(("127.0.0.1", port), timeout=5).close()


def tail(log: Path, size: int = 3000) -> str:
    """The end of a log."""
    if not log.exists():
        return "(no log)"
    return log.read_bytes()[-size:].decode("utf-8", "replace")


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
