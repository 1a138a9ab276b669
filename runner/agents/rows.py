"""A small table that several executions of one host share: each writes a row of its own and reads the others'.

It is one file that all of them map into memory: looking costs no system call. An execution that died stops writing, and
its row counts no more.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator

from runner.clock import Clock

ROWS = 256
STALE_SECONDS = 2.0
_HEAD = struct.Struct("<Qd")
"""Owner (0 = free), and when it was written (the monotonic clock, the same for all processes of a host)."""


class Row:
    """One row of a table. Single-threaded; other processes may use the same file at any time."""

    def __init__(self, path: str, layout: str, clock: Clock, first: tuple[float, ...]) -> None:
        """`path` is made when it is missing, 0600. `layout`: what a row holds, as struct spells it; `first`: what this
        one holds at once, before anybody sees that it is taken. Raises OSError."""
        self._layout = struct.Struct("<" + layout)
        self._length = _HEAD.size + self._layout.size
        self._clock = clock
        self._owner = int.from_bytes(os.urandom(8), "little") | 1
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            if os.fstat(self._handle).st_size < ROWS * self._length:
                os.ftruncate(self._handle, ROWS * self._length)
            self._rows = mmap.mmap(self._handle, ROWS * self._length)
            self.number = self._free()
            self.write(*first)
            fcntl.flock(self._handle, fcntl.LOCK_UN)
        except BaseException:
            os.close(self._handle)
            raise

    def write(self, *values: float) -> None:
        """What the row holds from now on."""
        place = self.number * self._length
        self._layout.pack_into(self._rows, place + _HEAD.size, *values)
        _HEAD.pack_into(self._rows, place, self._owner, self._clock.monotonic())

    def others(self) -> Iterator[tuple[int, int, tuple[float, ...]]]:
        """(number, owner, values) of every other row that is alive, in order."""
        now = self._clock.monotonic()
        for number in range(ROWS):
            owner, at = _HEAD.unpack_from(self._rows, number * self._length)
            if owner not in (0, self._owner) and 0 <= now - at <= STALE_SECONDS:
                yield number, owner, self._layout.unpack_from(self._rows, number * self._length + _HEAD.size)

    def close(self) -> None:
        """Give the row back. Never raises: nothing that matters is kept here."""
        _HEAD.pack_into(self._rows, self.number * self._length, 0, 0.0)
        self._rows.close()
        with contextlib.suppress(OSError):
            os.close(self._handle)

    def _free(self) -> int:
        now = self._clock.monotonic()
        for number in range(ROWS):
            owner, at = _HEAD.unpack_from(self._rows, number * self._length)
            # A time in the future is from before the last boot.
            if owner == 0 or not 0 <= now - at <= STALE_SECONDS:
                return number
        raise OSError(f"more than {ROWS} executions share one table")
