"""The content of one new file: written completely, read back, made durable. Used by put and by copy."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from runner.errors import EntryCode, EntryError
from runner.locations.observer import spent
from runner.locations.protocol import Buffer, OpenSettings, Throttle
from runner.model.activity import Activity
from runner.model.task import DigestAlgorithm, Durability, Integrity

from .content import (
    CHUNK_BYTES,
    SMALL_BYTES,
    Buffers,
    check_unchanged,
    checksum_failure,
    data_segments,
    digest_of,
    hash_file,
    hash_zeros,
    is_sparse,
    new_hasher,
    read_small,
)
from .faults import classified, shown
from .relay import Relay, SourceShortenedError
from .syscalls import UNSUPPORTED, Syscalls
from .whole import write_all

_BLOCK_BYTES = 4096
_ZERO_BLOCK = bytes(_BLOCK_BYTES)
_CLONE_FROM_BYTES = 1 << 20
_KERNEL_BYTES = 8 << 20
_NO_KERNEL_COPY = UNSUPPORTED | {errno.EXDEV, errno.EPERM, errno.ETXTBSY, errno.EBADF}
_NO_CLONES = UNSUPPORTED | {errno.EXDEV, errno.EPERM, errno.ETXTBSY, errno.EBADF}


class ContentError(Exception):
    """An OSError of the content's own source, carried past those who would take it for a fault here."""

    def __init__(self, error: OSError) -> None:
        super().__init__(str(error))
        self.error = error


def _from_elsewhere(content: Iterable[Buffer]) -> Iterator[Buffer]:
    try:
        yield from content
    except OSError as error:
        raise ContentError(error) from error


class Copied(NamedTuple):
    """What `from_file` did. `digest` (algorithm:hex) is of the content read; None when nothing was to be read.
    `checked`: what has arrived was read back already, and is the same."""

    digest: str | None
    checked: bool = False


class ContentWriter:
    """Fills drafts and checks them, as one task's settings ask."""

    def __init__(self, settings: OpenSettings, syscalls: Syscalls, buffers: Buffers) -> None:
        self._algorithm: DigestAlgorithm = settings.digest
        self._read_back = settings.integrity is Integrity.READ_BACK
        self._sync = settings.durability is not Durability.NONE
        self._sparse = settings.sparse
        self._syscalls = syscalls
        self._buffers = buffers
        self._observer = settings.observer
        self._without_clones: set[tuple[int, int]] = set()

    def from_file(
        self, fd: int, source_fd: int, facts: os.stat_result, path: str, throttle: Throttle
    ) -> Copied:
        """Copy an open file that is as `facts` say, holes as holes.

        Blocks that the file system shares (btrfs, XFS) are not read: there are no others that could differ. Raises
        CHANGED_DURING_TRANSFER when the source moved meanwhile, CHECKSUM_FAILURE.
        """
        size = facts.st_size
        view = self._buffers.take()
        try:
            if size <= SMALL_BYTES and not is_sparse(facts):
                throttle.take(size)
                with spent(self._observer, Activity.READING), classified(path, "read"):
                    got = read_small(source_fd, view, size)
                    check_unchanged(source_fd, path, facts, got)
                content = view[:size]
                with spent(self._observer, Activity.HASHING):
                    digest = digest_of(self._algorithm, content)
                write_all(fd, content, 0)
                return Copied(digest)
            if size >= _CLONE_FROM_BYTES and self._cloned(fd, source_fd, facts):
                check_unchanged(source_fd, path, facts, size)
                return Copied(None)
            if not self._read_back and self._copied_by_kernel(fd, source_fd, facts, throttle):
                check_unchanged(source_fd, path, facts, size)
                return Copied(None)
            if self._sparse and is_sparse(facts):
                return Copied(self._around_holes(fd, source_fd, facts, path, view, throttle))
            return self._relayed(fd, source_fd, facts, path, view, throttle)
        finally:
            self._buffers.give_back(view)

    def _cloned(self, fd: int, source_fd: int, facts: os.stat_result) -> bool:
        """Share the source's blocks (btrfs, XFS): neither time nor space. False where that cannot be."""
        devices = (facts.st_dev, os.fstat(fd).st_dev)
        if devices in self._without_clones:
            return False
        try:
            self._syscalls.clone_file(fd, source_fd)
        except OSError as error:
            if error.errno not in _NO_CLONES:
                raise
            self._without_clones.add(devices)
            return False
        return True

    def _copied_by_kernel(self, fd: int, source_fd: int, facts: os.stat_result, throttle: Throttle) -> bool:
        """copy_file_range(2): the bytes never pass through here, so nothing is hashed: only for tasks that do not ask
        for it. False where it cannot be, or not all came; what was written then is written again."""
        if is_sparse(facts):
            return False  # holes would be filled
        position = 0
        while position < facts.st_size:
            wanted = min(_KERNEL_BYTES, facts.st_size - position)
            throttle.take(wanted)
            try:
                got = os.copy_file_range(source_fd, fd, wanted, position, position)
            except OSError as error:
                if error.errno not in _NO_KERNEL_COPY:
                    raise
                return False
            if got == 0:
                return False
            position += got
        return True

    def _relayed(
        self,
        fd: int,
        source_fd: int,
        facts: os.stat_result,
        path: str,
        view: memoryview,
        throttle: Throttle,
    ) -> Copied:
        # What is to be durable is read back when it has been flushed.
        follows = self._read_back and not self._sync
        relay = Relay(fd, source_fd, path, facts.st_size, lambda: new_hasher(self._algorithm))
        try:
            relay.copy(throttle, view, self._observer, reads_back=follows)
        except SourceShortenedError:
            pass  # which the next line says
        check_unchanged(source_fd, path, facts, relay.position)
        read, arrived = (f"{self._algorithm.value}:{digest}" for digest in relay.digests)
        if follows and read != arrived:
            raise checksum_failure(path, read, arrived)
        return Copied(read, follows)

    def _around_holes(
        self,
        fd: int,
        source_fd: int,
        facts: os.stat_result,
        path: str,
        view: memoryview,
        throttle: Throttle,
    ) -> str:
        size = facts.st_size
        hasher = new_hasher(self._algorithm)
        position = 0
        for start, end in data_segments(source_fd, size):
            hash_zeros(hasher, start - position)
            position = start
            while position < end:
                wanted = view[: min(CHUNK_BYTES, end - position)]
                throttle.take(len(wanted))
                with spent(self._observer, Activity.READING), classified(path, "read"):
                    got = os.preadv(source_fd, [wanted], position)
                if got == 0:
                    check_unchanged(source_fd, path, facts, position)
                content = wanted[:got]
                with spent(self._observer, Activity.HASHING):
                    hasher.update(content)
                write_all(fd, content, position)
                position += got
        hash_zeros(hasher, size - position)
        os.ftruncate(fd, size)
        check_unchanged(source_fd, path, facts, size)
        return f"{self._algorithm.value}:{hasher.hexdigest()}"

    def from_chunks(
        self, fd: int, content: Iterable[Buffer], throttle: Throttle, *, with_holes: bool
    ) -> tuple[str, int]:
        """Write what comes; returns (algorithm:hex, number of bytes). `with_holes`: zeros take no space.

        Raises ContentError for an OSError of `content` itself.
        """
        hasher = new_hasher(self._algorithm)
        position = 0
        for chunk in _from_elsewhere(content):
            size = len(chunk)
            throttle.take(size)
            with spent(self._observer, Activity.HASHING):
                hasher.update(chunk)
            if with_holes and self._sparse:
                _write_around_zeros(fd, memoryview(chunk), position)
            else:
                write_all(fd, chunk, position)
            position += size
        if with_holes and self._sparse:
            os.ftruncate(fd, position)
        return f"{self._algorithm.value}:{hasher.hexdigest()}", position

    def check(self, fd: int, path: str, size_bytes: int, copied: Copied) -> None:
        """Make the file durable if asked, and hold what was written against what was read, unless that was done.

        With durability, the read-back asks the medium where the kernel lets go of its copy.
        """
        if self._sync:
            os.fsync(fd)
            if self._read_back:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        digest = copied.digest
        if not self._read_back or digest is None or copied.checked:
            written = os.fstat(fd).st_size
            if written != size_bytes:
                raise EntryError(
                    EntryCode.CHECKSUM_FAILURE,
                    path,
                    f"{shown(path)}: {written} bytes arrived of {size_bytes}; nothing was published",
                )
            return
        view = self._buffers.take()
        before = self._observer.at(Activity.VERIFYING)
        try:
            if size_bytes <= SMALL_BYTES:
                got = read_small(fd, view, size_bytes)
                actual = digest_of(self._algorithm, view[:got])
            else:
                actual, got = hash_file(fd, os.fstat(fd), self._algorithm, view, None)
        finally:
            self._observer.at(before)
            self._buffers.give_back(view)
        if actual != digest or got != size_bytes:
            raise checksum_failure(path, digest, actual)


def _write_around_zeros(fd: int, chunk: memoryview, offset: int) -> None:
    """Write the blocks of `chunk` that are not all zeros; the others become holes once the length is set."""
    size = len(chunk)
    start = None  # of the run of blocks to write
    position = 0
    while position < size:
        # Blocks end where the file's own do, wherever the chunk starts.
        end = min(size, position + _BLOCK_BYTES - (offset + position) % _BLOCK_BYTES)
        block = chunk[position:end]
        is_zero = block[0] == 0 and block[-1] == 0 and block.tobytes() == _ZERO_BLOCK[: end - position]
        if is_zero and start is not None:
            write_all(fd, chunk[start:position], offset + start)
            start = None
        elif not is_zero and start is None:
            start = position
        position = end
    if start is not None:
        write_all(fd, chunk[start:], offset + start)
