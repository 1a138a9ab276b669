"""Keeps a pool to the concurrency that was found: what its workers did goes to the lanes, what they may do to the pool."""

from __future__ import annotations

from collections.abc import Callable

from runner.agents.lanes import Lane, Own
from runner.agents.shared import Cell, SharedPage
from runner.clock import Clock
from runner.model.activity import Concurrency

LOOK_EVERY_SECONDS = 0.2
SAMPLE_EVERY_SECONDS = 0.05
OPERATION_BYTES = 256 << 10
"""What an operation is worth besides its bytes, so that many small files count as work, as few large ones do."""


class Steering:
    """Of one pool. `look` whenever there is a moment: it is free until the time has come."""

    def __init__(
        self,
        lanes: list[Lane],
        page: SharedPage,
        allow: Callable[[int], None],
        clock: Clock,
        adapts: bool = True,
    ) -> None:
        """`allow` is told how many places there are. `adapts`: False where that was told by the task."""
        self._adapts = adapts
        self._lanes = lanes
        self._page = page
        self._allow = allow
        self._clock = clock
        self._sampled_at = self._looked_at = clock.monotonic()
        self._samples = self._taken = 0
        self.places = min(lane.share for lane in lanes)
        self._began = self._least = self._most = self.places

    def look(self) -> None:
        """Samples how many places are taken, and now and then asks the lanes for what follows from it."""
        now = self._clock.monotonic()
        if now - self._sampled_at < SAMPLE_EVERY_SECONDS:
            return
        self._sampled_at = now
        self._samples += 1
        self._taken += self._page.total(Cell.TAKEN)
        if now - self._looked_at < LOOK_EVERY_SECONDS:
            return
        self._looked_at = now
        operations = self._page.total(Cell.OPERATIONS)
        own = Own(
            float(self._page.total(Cell.BYTES) + OPERATION_BYTES * operations),
            operations,
            self._page.total(Cell.REFUSALS),
            self._taken / self._samples,
        )
        self._samples = self._taken = 0
        places = min(lane.look(own) for lane in self._lanes)
        if places != self.places:
            self.places = places
            self._least, self._most = min(self._least, places), max(self._most, places)
        # Also when nothing has changed: workers that were to finish first may have done so.
        self._allow(places)

    def told(self) -> Concurrency:
        """What became of it."""
        refusals = self._page.total(Cell.REFUSALS)
        return Concurrency(self._began, self._least, self._most, self.places, self._adapts, refusals)

    def close(self) -> None:
        for lane in self._lanes:
            lane.close()
