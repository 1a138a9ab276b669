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

from runner.errors import RunnerError
from runner.execution.context import Context
from runner.history.started import Started, note_start, this_process
from runner.model.execution import Report, Trigger
from runner.model.task import Task

if TYPE_CHECKING:
    from runner.history.store import History

Note = Callable[["History"], object]
CLOSE_SECONDS = 5.0
"""How long the end of an execution waits for a database at most."""
LATER = "Nothing is lost: the report is in the execution's folder, and the next command that reaches history records it."


class Notebook:
    """Writes notes to history in order. `close` waits until all are written, though never long, and returns what
    went wrong."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._url = context.configuration.history_url
        self._notes: queue.SimpleQueue[Note | None] = queue.SimpleQueue()
        self._closing = threading.Event()
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
        """Wait for the last note, CLOSE_SECONDS at most; a line for each thing that went wrong."""
        self._notes.put(None)
        self.begin()
        self._closing.set()
        if self._thread is None:
            return []
        self._thread.join(CLOSE_SECONDS)
        warnings = list(dict.fromkeys(self._warnings))
        if self._thread.is_alive():
            # It ends with the process; a transaction that it leaves is rolled back.
            warnings.append(f"history was not written: it did not answer for {CLOSE_SECONDS:g} s. {LATER}")
        return warnings

    def _write(self, url: str) -> None:
        from runner.history.store import open_history

        try:
            history = open_history(url, self._context.clock)
            try:
                while (note := self._notes.get()) is not None:
                    # Once the execution waits for it, a database that does not answer is asked for nothing more.
                    if not self._written(note, history) and self._closing.is_set():
                        break
            finally:
                self._warnings.extend(history.warnings)
                history.close()
        except RunnerError as error:
            self._not_written(error.message)

    def _written(self, note: Note, history: History) -> bool:
        try:
            note(history)
        except RunnerError as error:
            self._not_written(error.message)
            return False
        except Exception as error:
            # A defect here is worth a warning, not a transfer's result.
            self._not_written(f"{type(error).__name__}: {error}")
            return False
        return True

    def _not_written(self, message: str) -> None:
        self._warnings.append(f"history was not written: {message.rstrip('.')}. {LATER}")
