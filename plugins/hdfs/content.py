"""Content on its way: hashed while it passes, read back when it has arrived."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Protocol

import xxhash

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.observer import NOBODY, Observer
from runner.locations.protocol import Buffer, Throttle
from runner.model.entry import Entry
from runner.model.task import DigestAlgorithm

from .faults import RemoteFault, changed, shown
from .transport import Transport


class _Hasher(Protocol):
    def update(self, content: Buffer, /) -> None: ...

    def hexdigest(self) -> str: ...


def _new_hasher(algorithm: DigestAlgorithm) -> _Hasher:
    if algorithm is DigestAlgorithm.XXH3_128:
        xxh3: _Hasher = xxhash.xxh3_128()
        return xxh3
    return hashlib.sha256()


class Passing:
    """An iterable of what `content` gives, throttled, hashed, and held against the entry's length."""

    def __init__(
        self,
        content: Iterable[Buffer],
        entry: Entry,
        throttle: Throttle,
        algorithm: DigestAlgorithm,
        observer: Observer = NOBODY,
    ) -> None:
        self._content = content
        self._entry = entry
        self._throttle = throttle
        self._algorithm = algorithm
        self._hasher = observer.hashing(_new_hasher(algorithm))
        self.size_bytes = 0
        self.has_begun = False

    def __iter__(self) -> Iterator[Buffer]:
        self.has_begun = True
        expected = self._entry.size_bytes
        for chunk in self._content:
            size = memoryview(chunk).nbytes
            self.size_bytes += size
            if expected is not None and self.size_bytes > expected:
                break
            self._throttle.take(size)
            self._hasher.update(chunk)
            yield chunk
        if expected is not None and self.size_bytes != expected:
            amount = f"more than {expected}" if self.size_bytes > expected else f"{self.size_bytes}"
            raise changed(self._entry.path, f"the content has {amount} bytes, not {expected}")

    @property
    def digest(self) -> str:
        return f"{self._algorithm.value}:{self._hasher.hexdigest()}"


def prove(
    transport: Transport, absolute: str, path: str, digest: str, size_bytes: int, algorithm: DigestAlgorithm
) -> None:
    """Read the file back. Raises CHECKSUM_FAILURE when it is not what was sent."""
    hasher = _new_hasher(algorithm)
    received = 0
    for chunk in transport.read(absolute, 0, size_bytes):
        received += len(chunk)
        hasher.update(chunk)
    if received != size_bytes:
        # A cluster may close a file before its last block can be read.
        raise RemoteFault(
            EntryCode.UNAVAILABLE,
            f"{received} bytes of {size_bytes} can be read back so far",
            Disposition.RETRY,
        )
    actual = f"{algorithm.value}:{hasher.hexdigest()}"
    if actual != digest:
        raise EntryError(
            EntryCode.CHECKSUM_FAILURE,
            path,
            f"{shown(path)}: read back {actual}, but {digest} was sent; nothing was published",
        )
