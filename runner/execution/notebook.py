"""History: what an execution leaves for those who look back.

Its folder holds that it began and, in the end, its report; `History.backfill` takes both over when somebody reads
history, so that a run need not wait for a database. A database that others read too (settings.history) is told at
once, in a thread of its own: slow or broken, it harms no transfer.
"""

from __future__ import annotations

import queue
import socket
import threading
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING

from runner.execution.context import Context
from runner.history.started import Started, note_start, this_process
from runner.model.execution import Report, Trigger
from runner.model.task import Task

if TYPE_CHECKING:
    from runner.history.store import History

Note = Callable[["History"], object]


class Notebook:
    """Writes notes to history in order. `close` waits until all are written, and returns what went wrong."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._url = context.configuration.history_url
        self._notes: queue.SimpleQueue[Note | None] = queue.SimpleQueue()
        self._warnings: list[str] = []
        self._thread: threading.Thread | None = None

    def started(
        self,
        execution_id: str,
        task: Task,
        trigger: Trigger,
        started_at: datetime,
        slot: str | None = None,
    ) -> None:
        """Note that an execution runs in this process."""
        state = self._context.state
        pid, key = this_process()
        started = Started(
            execution_id=execution_id,
            task=task.name,
            trigger=trigger,
            config_file=self._context.configuration.file,
            config_digest=task.config_digest,
            filter_digest=task.filter_digest,
            host=socket.gethostname(),
            pid=pid,
            process_key=key,
            started_at=started_at,
            slot=slot,
        )
        note_start(state.execution_folder(execution_id), started)
        self._notes.put(lambda history: history.backfill(state))
        self._notes.put(lambda history: history.mark_interrupted(started.host))

    def begin(self) -> None:
        """Start telling a shared database. Called when workers do the work and this process mostly waits:
        importing SQLAlchemy takes a third of a second, and beside a listing it would take the listing's time."""
        if self._url is not None and self._thread is None:
            self._thread = threading.Thread(
                target=self._write, args=(self._url,), name="history", daemon=True
            )
            self._thread.start()

    def ended(self, report: Report, folder: str) -> None:
        self._notes.put(lambda history: history.record_end(report, folder))

    def close(self) -> list[str]:
        """Wait for the last note; one line for each that could not be written."""
        self._notes.put(None)
        self.begin()
        if self._thread is not None:
            self._thread.join()
        return self._warnings

    def _write(self, url: str) -> None:
        from runner.history.records import HistoryUnavailable
        from runner.history.store import open_history

        history = open_history(url, self._context.clock)
        while (note := self._notes.get()) is not None:
            try:
                note(history)
            except HistoryUnavailable as error:
                self._warnings.append(f"history was not written: {error.message}")
        self._warnings.extend(history.warnings)
        history.close()
