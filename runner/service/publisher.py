"""Tells history what the service knows, in a thread of its own: a database that is down or slow holds nobody up.

What could not be told stays in the ledger and in the executions' folders, and is told later.
"""

from __future__ import annotations

import logging
import socket
import threading
from datetime import timedelta

from runner.clock import Clock
from runner.errors import RunnerError
from runner.history.state import StateDirectory
from runner.model.task import Configuration
from runner.service.ledger import Ledger

FIRST_RETRY_SECONDS = 5.0
LONGEST_RETRY_SECONDS = 300.0
PRUNE_EVERY = timedelta(days=1)

_log = logging.getLogger(__name__)


class Publisher:
    """Publishes when it is told that something is new, and again until it has succeeded."""

    def __init__(
        self, configuration: Configuration, state: StateDirectory, ledger_path: str, clock: Clock
    ) -> None:
        self._state = state
        self._ledger_path = ledger_path
        self._clock = clock
        self._configuration = configuration
        self._something = threading.Event()
        self._ending = threading.Event()
        self._pruned_at = clock.now() - PRUNE_EVERY
        self.trouble: str | None = None
        self._thread = threading.Thread(target=self._work, name="history", daemon=True)

    def start(self) -> None:
        self._something.set()
        self._thread.start()

    def poke(self) -> None:
        """Something is new: an execution began or ended, or a slot was decided (and flushed)."""
        self._something.set()

    def configure(self, configuration: Configuration) -> None:
        """Another database or retention holds from the next time on."""
        self._configuration = configuration

    def stop(self, patience_seconds: float) -> None:
        """Publish once more, and end; what takes longer is told by the next service."""
        self._ending.set()
        self._something.set()
        self._thread.join(patience_seconds)

    def _work(self) -> None:
        wait = FIRST_RETRY_SECONDS
        while True:
            self._something.wait(None if self.trouble is None else wait)
            ending = self._ending.is_set()
            self._something.clear()
            try:
                self._publish()
            except (RunnerError, OSError) as error:
                if self.trouble is None:
                    _log.warning("history is behind, nothing else is affected: %s", error)
                self.trouble = str(error)
                wait = min(LONGEST_RETRY_SECONDS, wait * 2)
            except Exception as error:
                # A defect must not end the telling for good, nor pass unseen.
                _log.exception("history cannot be told")
                self.trouble = f"internal error: {type(error).__name__}"
                wait = LONGEST_RETRY_SECONDS
            else:
                if self.trouble is not None:
                    _log.warning("history is up to date again")
                self.trouble, wait = None, FIRST_RETRY_SECONDS
            if ending:
                return
            # What comes in a burst is told at once.
            self._ending.wait(1.0 if self.trouble is None else wait)

    def _publish(self) -> None:
        from runner.history.retention import prune_history
        from runner.history.store import open_history

        configuration = self._configuration
        history = open_history(configuration.history_url or self._state.history_file, self._clock)
        ledger = Ledger(self._ledger_path)
        try:
            history.backfill(self._state)
            history.mark_interrupted(socket.gethostname())
            while records := ledger.unpublished():
                history.record_slots(records)
                ledger.mark_published(records)
            now = self._clock.now()
            if now - self._pruned_at >= PRUNE_EVERY:
                prune_history(configuration, history, self._state, self._clock)
                ledger.forget(now - timedelta(days=configuration.retention.keep_days))
                self._pruned_at = now
        finally:
            ledger.close()
            history.close()
