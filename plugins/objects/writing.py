"""Storing content: one request for small files, an upload in parts for large ones; proved before it counts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
import xxhash

from runner.errors import EntryCode, EntryError
from runner.locations.observer import spent
from runner.locations.protocol import Buffer, OpenSettings, Throttle, Written
from runner.model.activity import Activity
from runner.model.entry import Entry
from runner.model.task import DigestAlgorithm, Integrity

from .client import ALWAYS, Condition, ConditionFailedError, Description, ObjectClient, Stored
from .faults import changed, shown, stale
from .memory import Memory
from .uploads import PartSettings, PartsWriter, parts_written


class Sizes(msgspec.Struct, frozen=True):
    """Content up to `single_bytes` goes in one request."""

    single_bytes: int = 16 << 20
    parts: PartSettings = PartSettings()


class Standing(msgspec.Struct, frozen=True):
    """What was seen at a key before writing: the etag of the object there, None when there is none."""

    etag: str | None


class ContentWriter:
    """Stores content under a key, provided the key still is as it was seen."""

    def __init__(self, client: ObjectClient, memory: Memory, settings: OpenSettings, sizes: Sizes) -> None:
        self._client = client
        self._memory = memory
        self._settings = settings
        self._sizes = sizes

    def write(
        self,
        key: str,
        entry: Entry,
        content: Iterable[Buffer],
        description: Description,
        standing: Standing,
        throttle: Throttle,
    ) -> Written:
        """Store all of `content`, or nothing. STALE when the key is no longer as `standing` says."""
        digest = self._settings.observer.hashing(new_digest(self._settings.digest))
        source = _metered(content, digest, throttle)
        single = min(self._sizes.single_bytes, self._client.max_put_bytes)
        first = bytearray()
        for chunk in source:
            first += chunk
            if len(first) > single:
                break
        else:
            self._check_size(entry, len(first))
            self._put(key, entry.path, first, description, standing, digest)
            return Written(len(first), digest_text(self._settings.digest, digest))
        size = self._upload(key, entry, first, source, description, standing, digest)
        return Written(size, digest_text(self._settings.digest, digest))

    def _check_size(self, entry: Entry, size: int) -> None:
        if entry.size_bytes is not None and size != entry.size_bytes:
            raise changed(entry.path, f"{size} bytes came, {entry.size_bytes} were announced")

    # -- one request ---------------------------------------------------------------------------------------

    def _put(
        self,
        key: str,
        path: str,
        body: bytearray,
        description: Description,
        standing: Standing,
        digest: Any,
    ) -> None:
        features = self._client.features
        with spent(self._settings.observer, Activity.HASHING):
            md5 = hashlib.md5(body, usedforsecurity=False).digest()
        condition = self.condition(key, path, standing, features.put_if_absent, features.put_if_match)
        stored = self._client.put(key, body, description, condition, md5)
        if (features.etag_is_md5 and stored.etag == md5.hex()) or features.md5_checked:
            return
        digests = dict(stored.digests)
        if digests.get("md5") == md5.hex():
            return
        if "sha256" in digests and digests["sha256"] == hashlib.sha256(body).hexdigest():
            return
        if self._settings.integrity is Integrity.READ_BACK:
            self._read_back(key, path, len(body), digest, stored.etag)

    def condition(
        self, key: str, path: str, standing: Standing, honours_absent: bool, honours_match: bool
    ) -> Condition:
        """The condition that makes writing safe; where the service would ignore it, the key is looked at instead."""
        honoured = honours_absent if standing.etag is None else honours_match
        if honoured:
            return Condition(absent=standing.etag is None, etag=standing.etag)
        present = self._client.head(key)
        if (present.etag if present is not None else None) != standing.etag:
            raise stale(path, "it is not what was expected there any more")
        return ALWAYS

    def _read_back(self, key: str, path: str, size_bytes: int, digest: Any, etag: str | None) -> None:
        """Read what was stored where the service proves nothing. `digest` is of what was sent."""
        hasher = new_digest(self._settings.digest)
        size = 0
        before = self._settings.observer.at(Activity.VERIFYING)
        try:
            with self._client.get(key, if_etag=etag) as stream:
                for chunk in stream:
                    hasher.update(chunk)
                    size += len(chunk)
        except ConditionFailedError as error:
            raise stale(path, "it was replaced while it was checked") from error
        finally:
            self._settings.observer.at(before)
        if (size, hasher.digest()) != (size_bytes, digest.digest()):
            message = f"{shown(path)}: what the server stored is not what was sent"
            raise EntryError(EntryCode.CHECKSUM_FAILURE, path, message)

    # -- parts ---------------------------------------------------------------------------------------------

    def _upload(
        self,
        key: str,
        entry: Entry,
        first: Buffer,
        rest: Iterator[Buffer],
        description: Description,
        standing: Standing,
        digest: Any,
    ) -> int:
        features = self._client.features
        path = entry.path
        # Do not move gigabytes for a name that is taken; publishing looks again.
        self.condition(key, path, standing, False, False)
        writer = PartsWriter(
            self._client,
            self._memory,
            self._sizes.parts,
            key,
            entry,
            description,
            self._settings.execution_id,
            Condition(absent=standing.etag is None, etag=standing.etag),
            self._settings.observer,
        )
        with parts_written(writer):
            writer.feed(first)
            for chunk in rest:
                writer.feed(chunk)
            size = writer.finish()
            self._check_size(entry, size)
            condition = self.condition(
                key, path, standing, features.complete_if_absent, features.complete_if_match
            )
            stored = writer.publish(condition)
        self._check_published(key, path, size, digest, writer.expected_etag(), stored)
        return size

    def _check_published(
        self, key: str, path: str, size: int, digest: Any, expected_etag: str | None, stored: Stored
    ) -> None:
        """Every part was proved when it was stored; here, that all of them are in the object, in order."""
        features = self._client.features
        with spent(self._settings.observer, Activity.VERIFYING):
            present = self._client.head(key)
        if present is None:
            raise stale(path, "it was removed right after it was stored")
        if present.size_bytes == size and present.etag is not None:
            if features.etag_is_md5 and present.etag == expected_etag:
                return
            if features.md5_checked and present.etag == stored.etag:
                return
        if present.size_bytes != size or self._settings.integrity is Integrity.READ_BACK:
            self._read_back(key, path, size, digest, None)


def _metered(content: Iterable[Buffer], digest: Any, throttle: Throttle) -> Iterator[Buffer]:
    """The chunks, hashed, as fast as the throttle lets them."""
    for chunk in content:
        throttle.take(len(chunk))
        digest.update(chunk)
        yield chunk


def new_digest(algorithm: DigestAlgorithm) -> Any:
    return xxhash.xxh3_128() if algorithm is DigestAlgorithm.XXH3_128 else hashlib.sha256()


def digest_text(algorithm: DigestAlgorithm, digest: Any) -> str:
    return f"{algorithm.value}:{digest.hexdigest()}"
