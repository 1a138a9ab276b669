"""One page of memory shared with the workers: stop level, whether a bandwidth limit holds, bytes moved so far.

A worker looks at it between actions and before each chunk, which costs no system call.
"""

from __future__ import annotations

import mmap
import os

from runner.errors import EntryCode, EntryError

_STOP = 0
_LIMITED = 1
_COUNTERS = 64
DRAIN = 1
STOP = 2


class SharedPage:
    """Layout: byte 0 stop level (0, DRAIN, STOP), byte 1 limit in force, from byte 64 one native u64 a worker."""

    def __init__(self, handle: int | None = None) -> None:
        """`handle` None makes a new page; else maps the one that was inherited."""
        self.handle = os.memfd_create("sync-runner") if handle is None else handle
        if handle is None:
            os.ftruncate(self.handle, mmap.PAGESIZE)
        self._page = mmap.mmap(self.handle, mmap.PAGESIZE)
        self._counters = memoryview(self._page)[_COUNTERS:].cast("Q")

    @property
    def stop_level(self) -> int:
        return self._page[_STOP]

    @stop_level.setter
    def stop_level(self, level: int) -> None:
        self._page[_STOP] = level

    @property
    def limited(self) -> bool:
        return self._page[_LIMITED] != 0

    @limited.setter
    def limited(self, limited: bool) -> None:
        self._page[_LIMITED] = int(limited)

    def add_bytes(self, slot: int, size_bytes: int) -> None:
        """Each worker has a slot of its own, so nothing need be locked."""
        self._counters[slot] += size_bytes

    def bytes_moved(self, slots: int) -> int:
        return sum(self._counters[:slots])

    @staticmethod
    def slots() -> int:
        """How many workers a page has room for."""
        return (mmap.PAGESIZE - _COUNTERS) // 8

    def close(self) -> None:
        self._counters.release()
        self._page.close()
        os.close(self.handle)


def check_not_stopped(page: SharedPage) -> None:
    """Raises EntryError(CANCELLED) when everything has to stop at once, also in the middle of a file."""
    if page.stop_level >= STOP:
        raise EntryError(EntryCode.CANCELLED, "", "stopped by the user; the file in flight was undone")
