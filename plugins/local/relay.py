"""Big files go through here piece by piece: read, hashed, written, read back and hashed again while the piece is in the
processor's cache. Two threads take turns, so that one writes while the other reads and hashes; a file system lets only
one write to a file at a time, so more threads gain nothing."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator

from runner.locations.observer import Observer, spent
from runner.locations.protocol import Throttle
from runner.model.activity import Activity

from .content import Hasher
from .faults import classified
from .whole import read_all, write_all

PIECE_BYTES = 256 << 10
"""Measured: a megabyte no longer stays in the cache of one processor, and with less the calls count."""
TWO_FROM_BYTES = 32 << 20
"""Smaller files are copied sooner than a thread is started."""


class SourceShortenedError(Exception):
    """The source is shorter than it was."""


class Relay:
    """Copies one file of known size between two descriptors. Use it once."""

    def __init__(
        self, target_fd: int, source_fd: int, path: str, size_bytes: int, new_hasher: Callable[[], Hasher]
    ) -> None:
        """`new_hasher` makes what the source's and the target's content is fed to. `path` is for messages."""
        self._path = path
        self._target_fd = target_fd
        self._source_fd = source_fd
        self._size = size_bytes
        self._read = new_hasher()
        self._arrived = new_hasher()
        self.position = 0
        """Up to here the source was read."""

    @property
    def digests(self) -> tuple[str, str]:
        """(what was read of the source, what was read back), hexadecimal."""
        return self._read.hexdigest(), self._arrived.hexdigest()

    def copy(self, throttle: Throttle, view: memoryview, observer: Observer, *, reads_back: bool) -> None:
        """Copy everything through `view` (PIECE_BYTES or more), and through as much again where there are two threads.
        With `reads_back` the target is read back too.

        Raises OSError of the target, EntryError of the source or the throttle, SourceShortenedError; no thread is left
        then either. `throttle` is asked by one thread at a time, `observer` hears of the calling thread's work.
        """
        two = self._size >= TWO_FROM_BYTES and len(os.sched_getaffinity(0)) > 1
        turns = _Turns(2 if two else 1)

        def work(number: int, piece: memoryview) -> None:
            step = len(turns) * PIECE_BYTES
            with turns.taking_part():
                for begin in range(number * PIECE_BYTES, self._size, step):
                    wanted = piece[: min(PIECE_BYTES, self._size - begin)]
                    with turns.reading(number):
                        throttle.take(len(wanted))
                        self._read_source(wanted, begin, observer)
                    write_all(self._target_fd, wanted, begin)
                    if reads_back:
                        with spent(observer, Activity.VERIFYING):
                            got = read_all(self._target_fd, wanted, begin)
                            with turns.checking(number):
                                self._arrived.update(wanted[:got])

        if two:
            other = threading.Thread(target=work, args=(1, memoryview(bytearray(PIECE_BYTES))))
            other.start()
            try:
                work(0, view)
            finally:
                other.join()
        else:
            work(0, view)
        turns.settle()

    def _read_source(self, piece: memoryview, begin: int, observer: Observer) -> None:
        with spent(observer, Activity.READING), classified(self._path, "read"):
            got = read_all(self._source_fd, piece, begin)
        self.position = begin + got
        if got < len(piece):
            raise SourceShortenedError
        with spent(observer, Activity.HASHING):
            self._read.update(piece)


class _Turns:
    """What has to happen in the order of the pieces, and in one thread at a time. When one fails, all give up."""

    def __init__(self, threads: int) -> None:
        self._reading = [threading.Semaphore(int(number == 0)) for number in range(threads)]
        self._checking = [threading.Semaphore(int(number == 0)) for number in range(threads)]
        self._error: BaseException | None = None

    def __len__(self) -> int:
        return len(self._reading)

    def reading(self, number: int) -> contextlib.AbstractContextManager[None]:
        """The turn of one thread to read the source."""
        return self._turn(self._reading, number)

    def checking(self, number: int) -> contextlib.AbstractContextManager[None]:
        """The turn of one thread to say what has arrived."""
        return self._turn(self._checking, number)

    @contextlib.contextmanager
    def _turn(self, semaphores: list[threading.Semaphore], number: int) -> Iterator[None]:
        semaphores[number].acquire()
        if self._error is not None:
            raise _GivenUpError
        yield
        semaphores[(number + 1) % len(semaphores)].release()

    @contextlib.contextmanager
    def taking_part(self) -> Iterator[None]:
        """What fails inside ends the work of all, and is raised by `settle`."""
        try:
            yield
        except BaseException as error:
            if self._error is None:
                self._error = error
            for semaphore in (*self._reading, *self._checking):
                semaphore.release()

    def settle(self) -> None:
        """Raise what ended the work before its time."""
        if self._error is not None:
            raise self._error


class _GivenUpError(Exception):
    """Another thread failed."""
