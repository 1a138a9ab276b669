"""Reading files: opened without side effects, held against what was listed, hashed, holes skipped."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from typing import Protocol

import xxhash

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Buffer, Throttle
from runner.model.entry import Entry
from runner.model.task import DigestAlgorithm

from .expectations import difference, same_state
from .faults import changed, classify, shown
from .syscalls import release

CHUNK_BYTES = 1 << 20
SMALL_BYTES = CHUNK_BYTES - 1
"""Files up to here fit the buffer with a byte to spare, which shows growth."""

# O_NONBLOCK: a FIFO put in the file's place must not hang the open.
_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_ZEROS = memoryview(bytes(CHUNK_BYTES))


class Hasher(Protocol):
    """What xxhash and hashlib objects have in common."""

    def update(self, content: Buffer, /) -> None: ...

    def hexdigest(self) -> str: ...


def new_hasher(algorithm: DigestAlgorithm) -> Hasher:
    """A hasher to feed piece by piece."""
    if algorithm is DigestAlgorithm.XXH3_128:
        xxh3: Hasher = xxhash.xxh3_128()
        return xxh3
    from hashlib import sha256

    return sha256()


def digest_of(algorithm: DigestAlgorithm, content: Buffer) -> str:
    """algorithm:hex of content that is all in memory."""
    if algorithm is DigestAlgorithm.XXH3_128:
        return f"xxh3_128:{xxhash.xxh3_128_hexdigest(content)}"
    from hashlib import sha256

    return f"sha256:{sha256(content).hexdigest()}"


def hash_zeros(hasher: Hasher, size_bytes: int) -> None:
    """Feed the zeros of a hole."""
    while size_bytes > 0:
        piece = min(size_bytes, CHUNK_BYTES)
        hasher.update(_ZEROS[:piece])
        size_bytes -= piece


class Buffers:
    """Reused megabytes: a fresh one costs more than reading and hashing a small file."""

    def __init__(self) -> None:
        self._spare: list[memoryview] = []

    def take(self) -> memoryview:
        return self._spare.pop() if self._spare else memoryview(bytearray(CHUNK_BYTES))

    def give_back(self, view: memoryview) -> None:
        self._spare.append(view)


def open_to_read(
    directory_fd: int, name: str, entry: Entry, *, keep_atime: bool
) -> tuple[int, os.stat_result]:
    """(descriptor, facts) of the regular file that `entry` says; the caller closes it.

    Raises CHANGED_DURING_TRANSFER when another file, or no regular one, stands there.
    """
    try:
        try:
            fd = os.open(name, _READ_FLAGS | (os.O_NOATIME if keep_atime else 0), dir_fd=directory_fd)
        except PermissionError:
            # Only the owner (or root) may leave the access time alone.
            if not keep_atime:
                raise
            fd = os.open(name, _READ_FLAGS, dir_fd=directory_fd)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO, errno.ENOTDIR):
            raise changed(entry.path, "it is no longer the file that was listed") from error
        raise classify(error, entry.path, "read") from error
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise changed(entry.path, "it is no longer a regular file")
        reason = difference(entry, facts)
        if reason is not None:
            raise changed(entry.path, reason)
    except BaseException:
        release(fd)
        raise
    return fd, facts


def read_small(fd: int, view: memoryview, size_bytes: int) -> int:
    """Read a file of `size_bytes` from its start into `view`; returns how many bytes there were, at most one
    more than expected."""
    wanted = view[: size_bytes + 1]
    got = os.preadv(fd, [wanted], 0)
    while 0 < got < size_bytes:
        more = os.preadv(fd, [wanted[got:]], got)
        if more == 0:
            break
        got += more
    return got


def check_unchanged(fd: int, path: str, before: os.stat_result, bytes_read: int) -> None:
    """Raise CHANGED_DURING_TRANSFER when the file is not as `before`, or gave another number of bytes."""
    if not same_state(before, os.fstat(fd)):
        raise changed(path, "the file was written to while it was read")
    if bytes_read != before.st_size:
        raise changed(path, f"{bytes_read} bytes could be read of {before.st_size}")


def read_chunks(fd: int, view: memoryview, offset: int) -> Iterator[memoryview]:
    """Content from `offset` to the end, in pieces of `view`."""
    while True:
        got = os.preadv(fd, [view], offset)
        if got == 0:
            return
        offset += got
        yield view[:got]


def data_segments(fd: int, size_bytes: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the parts of a file that are not holes, in order (lseek(2), SEEK_DATA).

    A file system that knows no holes answers with one segment.
    """
    position = 0
    while position < size_bytes:
        try:
            start = os.lseek(fd, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            if error.errno != errno.EINVAL:
                raise
            yield position, size_bytes
            return
        end = min(os.lseek(fd, start, os.SEEK_HOLE), size_bytes)
        if end <= start:
            return
        yield start, end
        position = end


def is_sparse(facts: os.stat_result) -> bool:
    """True when at least one block of the file is a hole."""
    return facts.st_blocks * 512 + 4096 <= facts.st_size


def hash_file(
    fd: int, facts: os.stat_result, algorithm: DigestAlgorithm, view: memoryview, throttle: Throttle | None
) -> tuple[str, int]:
    """(algorithm:hex, number of bytes) of the file's content, holes counted as the zeros they are."""
    size = facts.st_size
    if size <= SMALL_BYTES and not is_sparse(facts):
        if throttle is not None:
            throttle.take(size)
        got = read_small(fd, view, size)
        return digest_of(algorithm, view[:got]), got
    hasher = new_hasher(algorithm)
    position = 0
    segments = data_segments(fd, size) if is_sparse(facts) else iter(((0, size),))
    for start, end in segments:
        hash_zeros(hasher, start - position)
        position = start
        while position < end:
            wanted = view[: min(CHUNK_BYTES, end - position)]
            if throttle is not None:
                throttle.take(len(wanted))
            got = os.preadv(fd, [wanted], position)
            if got == 0:
                return f"{algorithm.value}:{hasher.hexdigest()}", position
            hasher.update(wanted[:got])
            position += got
    hash_zeros(hasher, size - position)
    if not is_sparse(facts) and os.preadv(fd, [view[:1]], size):
        return f"{algorithm.value}:{hasher.hexdigest()}", size + 1
    return f"{algorithm.value}:{hasher.hexdigest()}", size


def checksum_failure(path: str, expected: str, actual: str) -> EntryError:
    """The error for content that was read back differently."""
    return EntryError(
        EntryCode.CHECKSUM_FAILURE,
        path,
        f"{shown(path)}: read back {actual}, but {expected} was sent; nothing was published",
    )
