"""What a driver may tell while it works: what it is at, and that its storage wants to be left alone.

Nobody has to: where a driver tells nothing, its time counts as what the engine asked it to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, TypeVar

from runner.clock import monotonic_ns
from runner.model.activity import Activity

T = TypeVar("T")
H = TypeVar("H")


class Cells(Protocol):
    """Native u64 numbers: a memoryview of them, or an array."""

    def __getitem__(self, index: int, /) -> int: ...

    def __setitem__(self, index: int, value: int, /) -> None: ...


class Observer:
    """The one who listens to nothing. Calls cost little; they may come from any thread."""

    cells: Cells | None = None
    """Where times are added up, for compiled code: nanoseconds by activity, and at SINCE the instant since which the
    present one has lasted (CLOCK_MONOTONIC); who adds to one of them moves SINCE on by the same."""

    def at(self, activity: Activity) -> Activity:
        """From now on it is at that; returns what it was at, to go back to."""
        return activity

    def away(self) -> None:
        """A request failed because the storage was overloaded, silent or away; also when it is tried again at once."""

    def hashing(self, hasher: H) -> H:
        """The hasher, whose work counts as HASHING. For content on its way, chunk by chunk."""
        return hasher


NOBODY = Observer()
SINCE = len(Activity)
"""The cell behind those of the activities."""
CELLS = SINCE + 1


class Stopwatch(Observer):
    """Adds up the time of one thread, the one that makes it; what other threads say is not counted."""

    def __init__(self, cells: Cells, now_ns: Callable[[], int] = monotonic_ns) -> None:
        """`cells`: CELLS numbers, zero."""
        self.cells = cells
        self._cells = cells
        self._now = Activity.IDLE
        self._thread = threading.get_ident()
        self._now_ns = now_ns
        cells[SINCE] = now_ns()

    def at(self, activity: Activity) -> Activity:
        before = self._now
        if threading.get_ident() != self._thread:
            return before
        cells = self._cells
        now = self._now_ns()
        elapsed = now - cells[SINCE]
        if elapsed > 0:
            cells[before] += elapsed
        cells[SINCE] = now
        self._now = activity
        return before

    def hashing(self, hasher: H) -> H:
        return _Hashing(hasher, self)  # type: ignore[return-value]  # as good as it


class _Hashing:
    def __init__(self, hasher: Any, observer: Observer) -> None:
        self._hasher = hasher
        self._observer = observer

    def update(self, content: Any, /) -> None:
        before = self._observer.at(Activity.HASHING)
        self._hasher.update(content)
        self._observer.at(before)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hasher, name)


class spent:
    """What happens inside of it is that activity: `with spent(observer, Activity.READING):`."""

    __slots__ = ("_activity", "_before", "_observer")

    def __init__(self, observer: Observer, activity: Activity) -> None:
        self._observer = observer
        self._activity = activity

    def __enter__(self) -> None:
        self._before = self._observer.at(self._activity)

    def __exit__(self, *exception: object) -> None:
        self._observer.at(self._before)


def observed(values: Iterable[T], observer: Observer, activity: Activity) -> Iterator[T]:
    """The same values; getting each is that activity. Closing it closes theirs."""
    iterator = iter(values)
    try:
        while True:
            before = observer.at(activity)
            try:
                value = next(iterator)
            except StopIteration:
                return
            finally:
                observer.at(before)
            yield value
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
