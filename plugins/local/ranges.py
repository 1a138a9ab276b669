"""A big file copied range by range on some threads, while this one follows: it hashes what the source holds and what has
arrived. So the check costs little time of its own."""

from __future__ import annotations

import collections
import errno
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.locations.protocol import Throttle

from .content import CHUNK_BYTES, Hasher
from .syscalls import UNSUPPORTED

if TYPE_CHECKING:
    from concurrent.futures import Future

SIDE_BY_SIDE_BYTES = 32 << 20
"""Smaller files are copied sooner than threads are started."""
MOST_COPIERS = 4
_NO_KERNEL_COPY = UNSUPPORTED | {errno.EXDEV, errno.EPERM, errno.ETXTBSY, errno.EBADF}


class FollowedCopy:
    """Copies one file of known size between two descriptors. Use it once; `copy` returns when no thread is left."""

    def __init__(
        self, target_fd: int, source_fd: int, size_bytes: int, new_hasher: Callable[[], Hasher]
    ) -> None:
        """`new_hasher` makes what the source's and the target's content is fed to."""
        self._target_fd = target_fd
        self._source_fd = source_fd
        self._size = size_bytes
        self._read = new_hasher()
        self._arrived = new_hasher()
        self._back = memoryview(bytearray(CHUNK_BYTES))
        self._by_kernel = True
        self.position = 0
        """Up to here the source was read."""

    @property
    def digests(self) -> tuple[str, str]:
        """(what was read of the source, what was read back), hexadecimal."""
        return self._read.hexdigest(), self._arrived.hexdigest()

    def copy(self, throttle: Throttle, reads_back: bool) -> None:
        """Copy everything. With `reads_back` the target is read back too. Raises OSError, EntryError(CANCELLED),
        SourceShortenedError.

        Memory: two pieces of CHUNK_BYTES, and one a thread where the kernel does not copy by itself.
        """
        from concurrent.futures import ThreadPoolExecutor

        copiers = max(1, min(MOST_COPIERS, len(os.sched_getaffinity(0)) - 1))
        view = memoryview(bytearray(CHUNK_BYTES))
        waiting: collections.deque[tuple[Future[None], Future[None]]] = collections.deque()
        with ThreadPoolExecutor(copiers) as copying, ThreadPoolExecutor(1) as reading_back:
            for begin in range(0, self._size, CHUNK_BYTES):
                wanted = min(CHUNK_BYTES, self._size - begin)
                throttle.take(wanted)
                copied = copying.submit(self._copy_range, begin, wanted)
                # One thread does these, in the order in which they are handed over.
                followed = (
                    reading_back.submit(self._read_back, begin, wanted, copied) if reads_back else copied
                )
                waiting.append((copied, followed))
                self._read_source(view[:wanted])
                if len(waiting) > copiers + 2:
                    self._settle(waiting.popleft())
            while waiting:
                self._settle(waiting.popleft())

    @staticmethod
    def _settle(piece: tuple[Future[None], Future[None]]) -> None:
        for part in piece:
            part.result()

    def _read_source(self, piece: memoryview) -> None:
        if _fill(self._source_fd, piece, self.position) < len(piece):
            raise SourceShortenedError
        self._read.update(piece)
        self.position += len(piece)

    def _read_back(self, begin: int, size: int, copied: Future[None]) -> None:
        copied.result()
        piece = self._back[:size]
        got = _fill(self._target_fd, piece, begin)
        self._arrived.update(piece[:got])

    def _copy_range(self, begin: int, size: int) -> None:
        done = 0
        while done < size and self._by_kernel:
            try:
                got = os.copy_file_range(
                    self._source_fd, self._target_fd, size - done, begin + done, begin + done
                )
            except OSError as error:
                if error.errno not in _NO_KERNEL_COPY:
                    raise
                self._by_kernel = False
                break
            if got == 0:
                break
            done += got
        if done < size:
            self._copy_through_here(begin + done, size - done)

    def _copy_through_here(self, begin: int, size: int) -> None:
        piece = memoryview(bytearray(size))
        got = _fill(self._source_fd, piece, begin)
        done = 0
        while done < got:
            done += os.pwrite(self._target_fd, piece[done:got], begin + done)


class SourceShortenedError(Exception):
    """The source is shorter than it was."""


def _fill(fd: int, piece: memoryview, offset: int) -> int:
    """Read as much as there is for `piece`; how many bytes that were."""
    got = os.preadv(fd, [piece], offset)
    while 0 < got < len(piece):
        more = os.preadv(fd, [piece[got:]], offset + got)
        if more == 0:
            break
        got += more
    return got
