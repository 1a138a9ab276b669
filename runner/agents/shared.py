"""Memory shared with the workers: stop level, whether a bandwidth limit holds, how many may work, what was done so far.

A worker looks at it between actions and before each chunk, which costs no system call. Each thread of each worker has a
record of its own that nobody else writes (but `places`, which the pool does), so nothing need be locked.
"""

from __future__ import annotations

import enum
import mmap
import os

from runner.errors import EntryCode, EntryError
from runner.locations.observer import CELLS, Observer, Stopwatch
from runner.model.activity import Activity

_STOP = 0
_LIMITED = 1
_HEAD = 64
DRAIN = 1
STOP = 2
MOST_SLOTS = 1024
"""As many as `workers` may be."""


class Cell(enum.IntEnum):
    """What stands where in a record: native u64 each. Sums since the worker began, but for `taken` and `places`."""

    BYTES = 0
    OPERATIONS = 1
    """Requests to a storage that ended, well or not: actions, and paths that were read again."""
    REFUSALS = 2
    """Times that a storage was overloaded, silent or away."""
    TAKEN = 3
    """1 while it works on something."""
    PLACES = 4
    """How many threads of its process may work at once; in the record of the process's first thread."""


_OWN_CELLS = len(Cell)
RECORD_CELLS = 16
"""Two cache lines a record: writers do not slow one another down. Behind the cells above stand those of a Stopwatch."""
assert _OWN_CELLS + CELLS <= RECORD_CELLS


class SharedPage:
    """Layout: byte 0 stop level (0, DRAIN, STOP), byte 1 limit in force, from byte 64 one record a slot."""

    def __init__(self, handle: int | None = None, slots: int = 64) -> None:
        """`handle` None makes a new one for that many slots; else maps the one that was inherited."""
        self.handle = os.memfd_create("sync-runner") if handle is None else handle
        if handle is None:
            os.ftruncate(self.handle, _HEAD + slots * RECORD_CELLS * 8)
        size = os.fstat(self.handle).st_size
        self.slots = (size - _HEAD) // (RECORD_CELLS * 8)
        self._page = mmap.mmap(self.handle, size)
        self._cells = memoryview(self._page)[_HEAD:].cast("Q")

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

    def add(self, slot: int, cell: Cell, amount: int) -> None:
        """For the slot's own thread."""
        self._cells[slot * RECORD_CELLS + cell] += amount

    def set(self, slot: int, cell: Cell, value: int) -> None:
        self._cells[slot * RECORD_CELLS + cell] = value

    def get(self, slot: int, cell: Cell) -> int:
        return self._cells[slot * RECORD_CELLS + cell]

    def total(self, cell: int, slots: int | None = None) -> int:
        """The sum of one cell over the first `slots` records, or all."""
        end = None if slots is None else slots * RECORD_CELLS
        return sum(self._cells[cell:end:RECORD_CELLS])

    def stopwatch_cells(self, slot: int) -> memoryview:
        """Where a thread's times stand."""
        begin = slot * RECORD_CELLS + _OWN_CELLS
        return self._cells[begin : begin + CELLS]

    def seconds(self, activity: Activity) -> float:
        """How long all threads were at it so far; what they are at now is not in it."""
        return self.total(_OWN_CELLS + activity) / 1e9

    def add_bytes(self, slot: int, size_bytes: int) -> None:
        # As `add`, without asking what the cell is called: once a file.
        self._cells[slot * RECORD_CELLS] += size_bytes

    def bytes_moved(self, slots: int) -> int:
        return self.total(Cell.BYTES, slots)

    def observer(self, slot: int) -> Observer:
        """For the thread of that slot, which has to make it."""
        return _SlotObserver(self, slot)

    def close(self) -> None:
        self._cells.release()
        self._page.close()
        os.close(self.handle)


class _SlotObserver(Stopwatch):
    """Adds up into the slot's record. Refusals are counted whoever tells of them: they are rare, and parts of one file
    come from several threads."""

    def __init__(self, page: SharedPage, slot: int) -> None:
        super().__init__(page.stopwatch_cells(slot))
        self._page = page
        self._slot = slot

    def away(self) -> None:
        self._page.add(self._slot, Cell.REFUSALS, 1)


def check_not_stopped(page: SharedPage) -> None:
    """Raises EntryError(CANCELLED) when everything has to stop at once, also in the middle of a file."""
    if page.stop_level >= STOP:
        raise EntryError(EntryCode.CANCELLED, "", "stopped by the user; the file in flight was undone")
