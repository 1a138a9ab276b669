"""The bandwidth that all executions of one state folder share, fairly, without anybody who hands it out.

Each execution has a row in a table that all of them see. Several times a second it writes how much it could use, reads
the others' rows, and works out its own share; all work out the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from runner.agents.rows import Row
from runner.clock import Clock
from runner.model.task import BandwidthWindow
from runner.transfer.bandwidth import fair_share, limit_at

HEADROOM = 1.25
HEADROOM_BYTES_PER_SECOND = 64 << 10


class Budget:
    """One execution's row. Single-threaded; other processes may use the same file at any time."""

    def __init__(self, path: str, windows: Sequence[BandwidthWindow], zone: str | None, clock: Clock) -> None:
        """`path` is made when it is missing, 0600. Raises OSError."""
        self._windows = windows
        self._zone: tzinfo = ZoneInfo(zone) if zone else UTC
        self._clock = clock
        self._taken = 0
        self._wants_more = False
        self._looked_at = clock.monotonic()
        # Until it has moved anything it takes little from the others.
        self._row = Row(path, "d", clock, (HEADROOM_BYTES_PER_SECOND,))
        """The bytes per second that could be used (infinite: as many as there are)."""

    def note(self, size_bytes: int, waits: bool) -> None:
        """That many bytes were asked for, and whether they had to wait."""
        self._taken += size_bytes
        self._wants_more = self._wants_more or waits

    def share(self) -> int | None:
        """Bytes per second that this execution may move now; None = unlimited. Call it several times a second."""
        now = self._clock.monotonic()
        elapsed = now - self._looked_at
        if elapsed <= 0:
            elapsed = 1e-3
        used = self._taken / elapsed
        wanted = math.inf if self._wants_more else used * HEADROOM + HEADROOM_BYTES_PER_SECOND
        self._taken, self._wants_more, self._looked_at = 0, False, now
        self._row.write(wanted)
        limit = limit_at(self._windows, self._clock.now(), self._zone) if self._windows else None
        if limit is None:
            return None
        return max(1, int(fair_share(limit, wanted, [others for _, _, (others,) in self._row.others()])))

    def close(self) -> None:
        """Give the row back."""
        self._row.close()
