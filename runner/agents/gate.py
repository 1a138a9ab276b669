"""Who of a worker's threads may work now: as many as the pool grants the process, and no more bytes than go with it.

For locations that wait for a network. What a thread does takes microseconds here, a request there hundreds.
"""

from __future__ import annotations

import threading
from typing import Protocol

from runner.agents.shared import Cell, SharedPage
from runner.locations.observer import NOBODY, Observer, spent
from runner.model.activity import Activity

PLACE_BYTES = 16 << 20
"""Content in flight that goes with each place: many small files are bounded by their number, large ones by their bytes."""
FILE_BYTES = 32 << 20
"""What one file has in flight at most, however large it is: a few parts or ranges of it."""
LOOK_AGAIN_SECONDS = 0.2


class Seat(Protocol):
    """A thread's place. Enter before an operation, leave when it has ended."""

    def enter(self, size_bytes: int) -> None: ...

    def leave(self) -> None: ...


class Gate:
    """The places of one process; shared by its threads."""

    def __init__(self, page: SharedPage, first_slot: int) -> None:
        """`first_slot`: the record in which the pool writes how many may work at once."""
        self._page = page
        self._first = first_slot
        self._taken = 0
        self._bytes = 0
        self._changed = threading.Condition(threading.Lock())

    def enter(self, size_bytes: int) -> None:
        """Waits for a place. Where everything stops nobody waits: whoever enters finds out what to do."""
        page = self._page
        with self._changed:
            while True:
                places = page.get(self._first, Cell.PLACES)
                if self._taken < places and (
                    self._taken == 0 or self._bytes + size_bytes <= places * PLACE_BYTES
                ):
                    break
                if page.stop_level:
                    break
                # The number of places changes without a word.
                self._changed.wait(LOOK_AGAIN_SECONDS)
            self._taken += 1
            self._bytes += size_bytes

    def leave(self, size_bytes: int) -> None:
        with self._changed:
            self._taken -= 1
            self._bytes -= size_bytes
            if size_bytes >= FILE_BYTES:
                self._changed.notify()

    def rest(self) -> None:
        """A thread has nothing to do, its place is free for good. Not told each time that somebody leaves: nearly always
        the same thread enters again at once, and to wake another in between would cost more than the request itself."""
        with self._changed:
            self._changed.notify()


class GatedSeat:
    """One thread's place behind a gate; None = there is no gate, all is only counted."""

    def __init__(self, page: SharedPage, slot: int, gate: Gate | None, observer: Observer = NOBODY) -> None:
        self._page = page
        self._observer = observer
        self._slot = slot
        self._gate = gate
        self._bytes = 0

    def enter(self, size_bytes: int) -> None:
        if self._gate is not None:
            self._bytes = min(size_bytes, FILE_BYTES)
            with spent(self._observer, Activity.IDLE):
                self._gate.enter(self._bytes)
        self._page.set(self._slot, Cell.TAKEN, 1)

    def leave(self) -> None:
        self._page.set(self._slot, Cell.TAKEN, 0)
        self._page.add(self._slot, Cell.OPERATIONS, 1)
        if self._gate is not None:
            self._gate.leave(self._bytes)
