"""The phases of one execution, with the time each took."""

from __future__ import annotations

from runner.clock import Clock, iso_utc
from runner.model.entry import Phase
from runner.model.events import PhaseStarted, Subscriber
from runner.model.execution import PhaseTiming


class Phases:
    """Enter them one after another; the last one is closed by `close` with how the execution ended."""

    def __init__(self, task: str, execution_id: str, clock: Clock, subscriber: Subscriber) -> None:
        self._task = task
        self._execution_id = execution_id
        self._clock = clock
        self._subscriber = subscriber
        self._timings: list[PhaseTiming] = []
        self._current: tuple[Phase, str, float] | None = None

    @property
    def current(self) -> Phase:
        return self._current[0] if self._current is not None else Phase.QUEUED

    def enter(self, phase: Phase) -> None:
        """The phase before has succeeded."""
        self.close(Phase.SUCCESS)
        self._current = (phase, iso_utc(self._clock.now()), self._clock.monotonic())
        self._subscriber(PhaseStarted(self._task, self._execution_id, phase))

    def close(self, status: Phase) -> None:
        """The present phase has ended so; nothing when there is none."""
        if self._current is None:
            return
        phase, started_at, began = self._current
        self._timings.append(PhaseTiming(phase, started_at, self._clock.monotonic() - began, status))
        self._current = None

    def timings(self) -> tuple[PhaseTiming, ...]:
        return tuple(self._timings)
