"""Content as a digest: by the driver where it offers that, else read through it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from runner.locations.protocol import Buffer, Digests, Location, Throttle
from runner.model.entry import Entry
from runner.model.task import DigestAlgorithm


class Hasher(Protocol):
    def update(self, chunk: Buffer, /) -> None: ...

    def hexdigest(self) -> str: ...


def new_hasher(algorithm: DigestAlgorithm) -> Hasher:
    """A fresh hasher of that algorithm."""
    if algorithm is DigestAlgorithm.SHA256:
        from hashlib import sha256

        return sha256()
    from xxhash import xxh3_128

    hasher: Hasher = xxh3_128()
    return hasher


def digester(location: Location) -> Callable[[Entry, DigestAlgorithm, Throttle], str]:
    """A function that gives algorithm:hex of a file's content now; ask for it once, use it for many files.

    It raises EntryError as `Location.read` does. Memory: one chunk.
    """
    if isinstance(location, Digests):
        return location.digest

    def read_digest(entry: Entry, algorithm: DigestAlgorithm, throttle: Throttle) -> str:
        hasher = new_hasher(algorithm)
        for chunk in location.read(entry):
            throttle.take(len(chunk))
            hasher.update(chunk)
        return f"{algorithm.value}:{hasher.hexdigest()}"

    return read_digest
