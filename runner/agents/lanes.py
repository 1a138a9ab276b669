"""What one execution may use of one location at once, beside the other executions of its state folder.

All of them see the same table. The first of those that adapt runs the controller for all: it looks at what they
bring about together, for one alone would mistake what it takes from the others for a gain. The limit it finds is divided
fairly: who needs less than an equal part gets that, the rest goes to the others in equal parts. When the first one ends,
the next goes on from the limit that was found.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from runner.agents.concurrency import Controller, Demand, Seen
from runner.agents.rows import Row
from runner.clock import Clock
from runner.transfer.bandwidth import fair_share

_LAYOUT = "Qddddd?d"
"""Of a Use."""
FULL = 0.8
"""Places taken, of those it has, from which on an execution could use more."""
HEADROOM = 1.25
GAP_SECONDS = 1.0
"""Who has not looked for so long had nothing to do: the time between tells nothing."""


class Use(NamedTuple):
    """A row: what an execution does at a location. Sums since it began, but for `wanted`, `taken` and `limit`.

    `wanted`: places it could use (infinite: as many as there are). `adapts`: False when its concurrency is fixed; else
    `limit` is what its controller says, in the first row the limit that holds for all.
    """

    key: int
    wanted: float
    work: float
    operations: float
    refusals: float
    taken: float
    adapts: bool
    limit: float


class _Other(NamedTuple):
    number: int
    owner: int
    use: Use


_OWN = 0
"""No owner of a row is zero."""


class Own(msgspec.Struct, frozen=True):
    """This execution's sums since it began, and the places it has taken now, on average since the last look."""

    work: float
    operations: int
    refusals: int
    taken: float


class Lane:
    """One execution's way to one location. Single-threaded."""

    def __init__(self, demand: Demand, table: str | None, clock: Clock) -> None:
        """`table`: the file that executions share; None: nobody else is seen. Raises OSError."""
        self._demand = demand
        self._key = int.from_bytes(
            hashlib.blake2b(demand.name.encode("utf-8", "replace"), digest_size=8).digest()
        )
        self._clock = clock
        self._controller = None if demand.fixed else Controller(demand.bounds)
        self._looked_at = clock.monotonic()
        self._seen_before: dict[int, Use] = {}
        self._row: Row | None = None
        self.share = demand.bounds.start
        """Places that this execution may use now."""
        nothing_yet = Own(0.0, 0, 0, float(self.share))
        if table is not None:
            self._row = Row(table, _LAYOUT, clock, self._use(nothing_yet, math.inf))
        # Others may be there already.
        self.look(nothing_yet)

    @property
    def limit(self) -> int:
        """What all may use together, as far as this execution knows."""
        return self._demand.bounds.most if self._controller is None else self._controller.limit

    def look(self, own: Own) -> int:
        """The share from now on. Call it several times a second."""
        now = self._clock.monotonic()
        elapsed, self._looked_at = now - self._looked_at, now
        wanted = self._wanted(own.taken)
        others = [] if self._row is None else list(self._others())
        together = self._together(elapsed, self._use(own, wanted), others)
        if self._controller is not None:
            first = next((other for other in others if other.use.adapts), None)
            if first is None or (self._row is not None and self._row.number < first.number):
                self._controller.observe(together)
            else:
                self._controller.adopt(min(int(first.use.limit), self._demand.bounds.most))
        if self._row is not None:
            self._row.write(*self._use(own, wanted))
        fair = fair_share(self.limit, wanted, [other.use.wanted for other in others])
        most = self._demand.bounds.start if self._demand.fixed else self._demand.bounds.most
        self.share = max(1, min(math.floor(fair + 1e-9), most))
        return self.share

    def close(self) -> None:
        """Others may use all of it."""
        if self._row is not None:
            self._row.close()
            self._row = None

    def _wanted(self, taken: float) -> float:
        if self._demand.fixed:
            return float(self._demand.bounds.start)
        return math.inf if taken >= FULL * self.share else taken * HEADROOM + 1

    def _use(self, own: Own, wanted: float) -> Use:
        limit = 0.0 if self._controller is None else float(self._controller.limit)
        return Use(
            self._key,
            wanted,
            own.work,
            own.operations,
            own.refusals,
            own.taken,
            self._controller is not None,
            limit,
        )

    def _others(self) -> Iterator[_Other]:
        assert self._row is not None
        for number, owner, values in self._row.others():
            use = Use._make(values)
            if use.key == self._key:
                yield _Other(number, owner, use)

    def _together(self, elapsed: float, own: Use, others: list[_Other]) -> Seen:
        """What all did since the last look; of those seen for the first time, nothing."""
        work = operations = refusals = 0.0
        uses = {_OWN: own, **{other.owner: other.use for other in others}}
        for owner, use in uses.items():
            before = self._seen_before.get(owner, use)
            work += use.work - before.work
            operations += use.operations - before.operations
            refusals += use.refusals - before.refusals
        self._seen_before = uses
        taken = sum(use.taken for use in uses.values())
        return Seen(elapsed if elapsed < GAP_SECONDS else 0.0, work, int(operations), int(refusals), taken)
