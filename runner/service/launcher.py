"""Starts the processes of executions and listens to them. Each has a thread here that reads its lines."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping

import msgspec

from runner.model.wire import decode_line
from runner.service.handover import Order, Said, encode_handover

ENTRY = "from runner.cli.serve_child import main; main()"
LINE_BYTES_AT_MOST = 1 << 20


class Launcher:
    """Children by number. `on_said(number, said)` and `on_gone(number, returncode)` are called from other threads.

    Start them from a thread that lives as long as the service: when it ends, the kernel kills them (prctl(2),
    PR_SET_PDEATHSIG).
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        on_said: Callable[[int, Said], None],
        on_gone: Callable[[int, int], None],
    ) -> None:
        self._environment = dict(environment)
        self._on_said = on_said
        self._on_gone = on_gone
        self._processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, number: int, order: Order) -> None:
        """Begin an execution. Raises OSError when no process can be started."""
        process = subprocess.Popen(
            # The task's name is for people who look at the list of processes.
            [sys.executable, "-P", "-c", ENTRY, str(os.getpid()), order.task],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self._environment,
            start_new_session=True,
        )
        self._processes[number] = process
        threading.Thread(
            target=self._listen, args=(number, process, encode_handover(order)), name=f"execution-{number}",
            daemon=True,
        ).start()  # fmt: skip

    def kill(self, number: int) -> None:
        """End a process at once; its workers end with it."""
        process = self._processes.get(number)
        if process is not None:
            process.kill()

    def _listen(self, number: int, process: subprocess.Popen[bytes], order: bytes) -> None:
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(order)
            process.stdin.close()
        except BrokenPipeError:
            pass
        with process.stdout as lines:
            while line := lines.readline(LINE_BYTES_AT_MOST):
                try:
                    said = decode_line(line, Said)
                except (msgspec.MsgspecError, ValueError):
                    # Something else wrote there: a library, say. It is not for us.
                    continue
                self._on_said(number, said)
        returncode = process.wait()
        self._processes.pop(number, None)
        self._on_gone(number, returncode)
