"""What /metrics answers: made when somebody asks, and not more often than once a second."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from runner.clock import Clock
from runner.history.standing import Standing, read_standing, standing_file
from runner.history.state import StateDirectory
from runner.model.task import Configuration
from runner.monitoring.figures import LiveState, figures_of
from runner.monitoring.metrics import CONTENT_TYPE, metrics_text

KEPT_SECONDS = 1.0


class KnownStandings:
    """Standings of tasks, read again only where a file changed. Single-threaded; holds one standing a task."""

    def __init__(self, state: StateDirectory) -> None:
        self._state = state
        self._known: dict[str, tuple[tuple[int, int, int], Standing]] = {}

    def of(self, tasks: list[str]) -> list[Standing]:
        """The tasks' standings, in their order."""
        self._known = {task: self._known[task] for task in tasks if task in self._known}
        return [self._standing(task) for task in tasks]

    def _standing(self, task: str) -> Standing:
        try:
            facts = os.stat(standing_file(self._state, task))
        except OSError:
            self._known.pop(task, None)
            return Standing(task)
        # The file is replaced whole: another content is another inode, or another time.
        mark = (facts.st_ino, facts.st_mtime_ns, facts.st_size)
        known = self._known.get(task)
        if known is None or known[0] != mark:
            known = self._known[task] = (mark, read_standing(self._state, task))
        return known[1]


class MetricsPage:
    """Call it for (body, content type). Safe from any thread: one makes the page, the others wait and share it.

    `live` gives what only the service knows, with the configuration in force; it is called from that thread.
    Raises MissingExtraError when prometheus_client is not installed.
    """

    def __init__(
        self, state: StateDirectory, clock: Clock, live: Callable[[], tuple[Configuration, LiveState]]
    ) -> None:
        self._standings = KnownStandings(state)
        self._clock = clock
        self._live = live
        self._making = threading.Lock()
        self._made_at = float("-inf")
        self._body = b""

    def __call__(self) -> tuple[bytes, str]:
        with self._making:
            if self._clock.monotonic() - self._made_at >= KEPT_SECONDS:
                configuration, live = self._live()
                standings = self._standings.of(list(configuration.tasks))
                figures = figures_of(configuration, standings, self._clock.now(), live)
                self._body = metrics_text(figures)
                self._made_at = self._clock.monotonic()
            return self._body, CONTENT_TYPE
