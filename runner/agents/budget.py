"""The bandwidth that all executions of one state folder share, fairly, without anybody who hands it out.

Each execution has a row in one small file that all of them map into memory. Several times a second it writes how
much it could use, reads the others' rows, and works out its own share; all work out the same. An execution that died
stops writing, and its row counts no more.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
from collections.abc import Iterator, Sequence
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from runner.clock import Clock
from runner.model.task import BandwidthWindow
from runner.transfer.bandwidth import fair_share, limit_at

ROWS = 256
STALE_SECONDS = 2.0
HEADROOM = 1.25
HEADROOM_BYTES_PER_SECOND = 64 << 10
_ROW = struct.Struct("<Qdd")
"""Owner (0 = free), when it was written (the monotonic clock, the same for all processes of a host), and the bytes
per second that could be used (infinite: as many as there are)."""


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
        self._owner = int.from_bytes(os.urandom(8), "little") | 1
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            if os.fstat(self._handle).st_size < ROWS * _ROW.size:
                os.ftruncate(self._handle, ROWS * _ROW.size)
            self._rows = mmap.mmap(self._handle, ROWS * _ROW.size)
            self._row = self._free_row(self._looked_at)
            # Until it has moved anything it takes little from the others.
            self._write(self._looked_at, HEADROOM_BYTES_PER_SECOND)
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

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
        self._write(now, wanted)
        limit = limit_at(self._windows, self._clock.now(), self._zone) if self._windows else None
        if limit is None:
            return None
        return max(1, int(fair_share(limit, wanted, list(self._others(now)))))

    def close(self) -> None:
        """Give the row back."""
        _ROW.pack_into(self._rows, self._row * _ROW.size, 0, 0.0, 0.0)
        self._rows.close()
        os.close(self._handle)

    def _write(self, now: float, wanted: float) -> None:
        _ROW.pack_into(self._rows, self._row * _ROW.size, self._owner, now, wanted)

    def _others(self, now: float) -> Iterator[float]:
        for row in range(ROWS):
            owner, at, wanted = _ROW.unpack_from(self._rows, row * _ROW.size)
            if owner not in (0, self._owner) and 0 <= now - at <= STALE_SECONDS:
                yield wanted

    def _free_row(self, now: float) -> int:
        for row in range(ROWS):
            owner, at, _ = _ROW.unpack_from(self._rows, row * _ROW.size)
            # A time in the future is from before the last boot.
            if owner == 0 or not 0 <= now - at <= STALE_SECONDS:
                return row
        raise OSError(f"more than {ROWS} executions share one bandwidth")
