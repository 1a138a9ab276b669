"""History, written beside the work: a thread of its own, so that a slow or broken database harms no transfer.

What cannot be written now is kept as a warning; the execution's folder holds the report, and `History.backfill`
takes it over at the next start.
"""

from __future__ import annotations

import os
import queue
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from runner.execution.context import Context
from runner.model.execution import Report, Trigger
from runner.model.task import Task

if TYPE_CHECKING:
    from runner.history.store import History

Note = Callable[["History"], object]


class Notebook:
    """Writes notes to history in order. `close` waits until all are written, and returns what went wrong."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._notes: queue.SimpleQueue[Note | None] = queue.SimpleQueue()
        self._warnings: list[str] = []
        self._thread: threading.Thread | None = None

    def begin(self) -> None:
        """Start writing. Called when workers do the work and this process mostly waits: importing SQLAlchemy
        takes a third of a second, and beside a listing it would take the listing's time."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="history", daemon=True)
            self._thread.start()

    def started(self, execution_id: str, task: Task, trigger: Trigger, started_at: datetime) -> None:
        """Note that an execution runs in this process; first what earlier ones left unsaid."""
        host, pid = socket.gethostname(), os.getpid()
        state = self._context.state
        file = self._context.configuration.file
        self._notes.put(lambda history: history.backfill(state))
        self._notes.put(lambda history: history.mark_interrupted(host))
        self._notes.put(
            lambda history: history.record_start(
                execution_id,
                task.name,
                trigger,
                file,
                task.config_digest,
                task.filter_digest,
                host,
                pid,
                started_at,
            )
        )

    def ended(self, report: Report, folder: str) -> None:
        self._notes.put(lambda history: history.record_end(report, folder))

    def close(self) -> list[str]:
        """Wait for the last note; one line for each that could not be written."""
        self._notes.put(None)
        self.begin()
        assert self._thread is not None
        self._thread.join()
        return self._warnings

    def _write(self) -> None:
        from runner.history.records import HistoryUnavailable
        from runner.history.store import open_history

        configuration = self._context.configuration
        history = open_history(
            configuration.history_url or self._context.state.history_file, self._context.clock
        )
        while (note := self._notes.get()) is not None:
            try:
                note(history)
            except HistoryUnavailable as error:
                self._warnings.append(f"history was not written: {error.message}")
        self._warnings.extend(history.warnings)
        history.close()
