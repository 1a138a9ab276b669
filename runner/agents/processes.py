"""Worker processes: forked from this one, or started afresh.

A fork costs milliseconds where a new interpreter costs tenths of a second, and shares what was imported. It is safe only
where no library runs threads of its own that the fork would lose (clients of networks do): so for locations of this
machine.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
import warnings
from typing import Any, Protocol

from runner.agents.shared import SharedPage


class WorkerProcess(Protocol):
    """A child of this process. `returncode` is None until `wait` has returned; `wait` raises
    subprocess.TimeoutExpired."""

    pid: int
    returncode: int | Any

    def wait(self, timeout: float | None = None) -> int: ...

    def kill(self) -> None: ...


def spawned(connection: socket.socket, page: SharedPage, slot: int) -> WorkerProcess:
    """A worker in a new interpreter."""
    return subprocess.Popen(
        [
            sys.executable,
            "-P",
            "-c",
            "from runner.agents.worker import main; main()",
            str(connection.fileno()),
            str(page.handle),
            str(slot),
            str(os.getpid()),
        ],
        pass_fds=(connection.fileno(), page.handle),
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )


def forked(connection: socket.socket, page: SharedPage, slot: int) -> WorkerProcess:
    """A worker that begins as a copy of this process, with nothing of it open but what it needs."""
    # Imported here, once for all workers.
    from runner.agents.worker import serve

    parent = os.getpid()
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        # Python 3.12 and later warn when there are other threads. The child uses nothing that they may hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid != 0:
        return _Forked(pid)
    status = 1
    try:
        gc.freeze()
        _settle(connection.fileno(), page.handle)
        serve(connection.fileno(), page.handle, slot, parent)
        status = 0
    except SystemExit:
        pass
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        # Nothing that the parent has registered for its own end is to happen here.
        os._exit(status)


def _settle(*needed: int) -> None:
    """The child's own session, signals as a new program has them, and no descriptor that is not needed: some are locks."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in signal.valid_signals():
        if callable(signal.getsignal(number)) and number != signal.SIGINT:
            signal.signal(number, signal.SIG_DFL)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    begin = 3
    for descriptor in sorted(needed):
        os.closerange(begin, descriptor)
        begin = descriptor + 1
    os.closerange(begin, os.sysconf("SC_OPEN_MAX"))


class _Forked:
    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._handle = os.pidfd_open(pid)

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            poll = select.poll()
            poll.register(self._handle, select.POLLIN)
            if not poll.poll(None if timeout is None else timeout * 1000):
                raise subprocess.TimeoutExpired("worker", timeout or 0.0)
            _, status = os.waitpid(self.pid, 0)
            self.returncode = os.waitstatus_to_exitcode(status)
            os.close(self._handle)
        return self.returncode

    def kill(self) -> None:
        if self.returncode is None:
            signal.pidfd_send_signal(self._handle, signal.SIGKILL)
