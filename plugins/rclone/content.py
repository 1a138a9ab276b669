"""Content on its way to rclone: where it waits, and what is worked out of it as it passes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zlib
from collections.abc import Iterator
from typing import Protocol

import xxhash

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Buffer
from runner.model.task import DigestAlgorithm

SMALL_BYTES = 16 << 20
"""Content up to here waits in memory."""


class Hasher(Protocol):
    def update(self, data: Buffer, /) -> object: ...

    def hexdigest(self) -> str: ...


class _Crc32:
    """zlib's CRC-32 in the shape of hashlib."""

    def __init__(self) -> None:
        self._value = 0

    def update(self, data: Buffer, /) -> None:
        self._value = zlib.crc32(data, self._value)

    def hexdigest(self) -> str:
        return f"{self._value:08x}"


OWN_HASH = {DigestAlgorithm.XXH3_128: "xxh128", DigestAlgorithm.SHA256: "sha256"}
"""rclone's names of our digests."""
_CHEAP_FIRST = ("md5", "sha1", "crc32", "xxh3", "xxh128", "sha256", "sha512")


def hasher(hash_type: str) -> Hasher:
    """A fresh one for a hash as rclone names it. Raises KeyError for those Python does not have."""
    if hash_type == "crc32":
        return _Crc32()
    if hash_type == "xxh3":
        return xxhash.xxh3_64()
    if hash_type == "xxh128":
        return xxhash.xxh3_128()
    if hash_type not in _CHEAP_FIRST:
        raise KeyError(hash_type)
    return hashlib.new(hash_type, usedforsecurity=False)


def common_hash(offered: tuple[str, ...], own: DigestAlgorithm) -> str | None:
    """The hash to compare by: ours if the backend knows it, else one that both sides know; None = there is none."""
    from rclone_python.hash_types import HashTypes

    known = {one.value for one in HashTypes}
    for name in (OWN_HASH[own], *_CHEAP_FIRST):
        if name in offered and name in known:
            return name
    return None


class Passing:
    """What is known of content that passed: its length, our digest, and a hash that the backend knows too."""

    def __init__(self, own: DigestAlgorithm, hash_type: str | None) -> None:
        self._own = own
        self.hash_type = hash_type
        self.bytes = 0
        self._hashers = {OWN_HASH[own]: hasher(OWN_HASH[own])}
        if hash_type is not None and hash_type not in self._hashers:
            self._hashers[hash_type] = hasher(hash_type)

    def update(self, chunk: Buffer) -> None:
        self.bytes += len(chunk)
        for one in self._hashers.values():
            one.update(chunk)

    @property
    def digest(self) -> str:
        """algorithm:hex"""
        return f"{self._own.value}:{self._hashers[OWN_HASH[self._own]].hexdigest()}"

    @property
    def hash(self) -> str | None:
        return self._hashers[self.hash_type].hexdigest() if self.hash_type is not None else None


class Spool:
    """A file without a name that rclone reads through our descriptor: nothing of it can be left behind."""

    def __init__(self, size_bytes: int | None, folder: str | None) -> None:
        """In memory up to SMALL_BYTES, else in `folder` (None: the system's for temporary files)."""
        if size_bytes is not None and size_bytes <= SMALL_BYTES:
            self._file: contextlib.AbstractContextManager[object] | None = None
            self.fd = os.memfd_create("sync-runner", os.MFD_CLOEXEC)
        else:
            unnamed = tempfile.TemporaryFile(dir=folder, buffering=0)
            self._file = unnamed
            self.fd = unnamed.fileno()

    @property
    def path(self) -> str:
        """Its path in the remote over /proc/self/fd."""
        return str(self.fd)

    def write(self, chunk: Buffer) -> None:
        view = memoryview(chunk).cast("B")
        while view:
            view = view[os.write(self.fd, view) :]

    def set_time(self, mtime_ns: int) -> None:
        os.utime(self.fd, ns=(mtime_ns, mtime_ns))

    def close(self) -> None:
        if self._file is not None:
            self._file.__exit__(None, None, None)
        else:
            os.close(self.fd)


@contextlib.contextmanager
def spooled(size_bytes: int | None, folder: str | None, path: str) -> Iterator[Spool]:
    """A spool, closed afterwards. Raises IO_ERROR when it cannot be made."""
    try:
        spool = Spool(size_bytes, folder)
    except OSError as error:
        raise EntryError(
            EntryCode.IO_ERROR, path, f"the spool folder cannot be used: {error.strerror}. Set spool_folder."
        ) from error
    try:
        yield spool
    finally:
        spool.close()


def encrypted_size(size_bytes: int) -> int:
    """Length of what crypt makes of that much content: a header of 32, and 16 bytes a block of 64 KiB."""
    return 32 + size_bytes + 16 * -(-size_bytes // 65_536)
