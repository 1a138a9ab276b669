"""Where the time of an execution went: its own thread's, and its workers', phase by phase."""

from __future__ import annotations

from array import array
from collections.abc import Callable

from runner.clock import Clock
from runner.locations.observer import CELLS, Stopwatch
from runner.model.activity import Activity, TimeSpent, time_spent
from runner.model.entry import Phase

_BASE = {Phase.PREPARING: Activity.PLANNING, Phase.VERIFYING: Activity.VERIFYING}
"""What the execution's own thread is at in a phase, unless something is told apart; BOOKKEEPING in the others."""


class Timesheet:
    """For the thread that makes it. `observer` is for what this thread opens and drives."""

    def __init__(self, clock: Clock) -> None:
        self._cells = array("Q", bytes(8 * CELLS))
        self._clock = clock
        self.observer = Stopwatch(self._cells)
        self.of_workers: Callable[[], dict[Activity, float]] = dict
        """Seconds by activity so far, of workers; they never become less."""
        self._began: float | None = None
        self._before: dict[Activity, float] = {}
        self._phases: list[tuple[float, dict[Activity, float]]] = []

    def enter(self, phase: Phase) -> None:
        """The phase before has ended, this one begins."""
        self._settle(_BASE.get(phase, Activity.BOOKKEEPING))
        self._began = self._clock.monotonic()

    def end(self) -> None:
        """The last phase has ended."""
        self._settle(Activity.IDLE)
        self._began = None

    def spent(self) -> tuple[TimeSpent, ...]:
        """All phases that have ended."""
        return time_spent(self._phases)

    def _settle(self, following: Activity) -> None:
        self.observer.at(following)
        workers = self.of_workers()
        sums = {activity: self._cells[activity] / 1e9 + workers.get(activity, 0.0) for activity in Activity}
        spent = {activity: took - self._before.get(activity, 0.0) for activity, took in sums.items()}
        self._before = sums
        if self._began is not None:
            self._phases.append((self._clock.monotonic() - self._began, spent))
