"""Executions as their folders tell: which run now, which were cut off. No database is asked."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

from runner.history.process import process_is_gone
from runner.history.started import Started, read_start
from runner.history.state import StateDirectory

REPORT_FILE = "report.json"


def without_report(state: StateDirectory) -> Iterator[Started]:
    """Executions that began and have no report, newest first: they run, or were cut off."""
    for execution_id in reversed(state.execution_ids()):
        folder = state.execution_folder(execution_id)
        if os.path.exists(os.path.join(folder, REPORT_FILE)):
            continue
        started = read_start(folder)
        if started is not None and started.execution_id == execution_id:
            yield started


def running(
    state: StateDirectory,
    task: str | None = None,
    is_gone: Callable[[int, str | None], bool] = process_is_gone,
) -> Iterator[Started]:
    """Executions that run now, newest first. Those of another host are believed to: their processes are not seen."""
    for started in without_report(state):
        if task is not None and started.task != task:
            continue
        if started.host != socket.gethostname() or not is_gone(started.pid, started.process_key):
            yield started


def cut_off(state: StateDirectory) -> Iterator[Started]:
    """Executions of this host whose process ended without a report, newest first."""
    for started in without_report(state):
        if started.host == socket.gethostname() and process_is_gone(started.pid, started.process_key):
            yield started
