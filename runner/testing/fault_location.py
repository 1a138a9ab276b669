"""The wrapper that carries out a FaultScript around one location, and offers the roles that location
offers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from runner.errors import EntryCode
from runner.locations.protocol import (
    Buffer,
    Capabilities,
    CopiesFrom,
    Digests,
    HoldsLock,
    Identifies,
    Identity,
    Linking,
    Location,
    Renames,
    SetsAttributes,
    Space,
    Sweeps,
    Throttle,
    Written,
)
from runner.model.entry import Entry, Phase, Problem
from runner.model.task import DigestAlgorithm
from runner.testing.compose import compose
from runner.testing.digests import hasher_of
from runner.testing.faults import Effect, Fault, FaultScript

_CONTENT_EFFECTS = frozenset({Effect.SHORT, Effect.FLIP})


class FaultyLocation:
    """A location with faults. `inner` is Any: which roles it has is known only when it is wrapped."""

    def __init__(self, inner: Any, script: FaultScript) -> None:
        self.inner = inner
        self.script = script
        self.capabilities: Capabilities = inner.capabilities

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        self._before("scan", prefix)
        unlisted: list[Problem] = []

        def enters(entry: Entry) -> bool:
            if descend is not None and not descend(entry):
                return False
            for fault in self.script.due("descend", entry.path):
                self.script.fire(fault, entry.path)
                if fault.effect is Effect.NOT_LISTED:
                    unlisted.append(_not_listed(entry.path))
            return not unlisted

        for found in self.inner.scan(prefix, enters):
            while unlisted:
                yield unlisted.pop()
            self._before("listed", found.path)
            yield found
        yield from unlisted

    def stat(self, path: str) -> Entry | None:
        self._before("stat", path)
        found: Entry | None = self.inner.stat(path)
        return found

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        later = self._before("read", entry.path)
        yield from self._altered(self.inner.read(entry, offset), later, entry.path)

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        later = self._before("put", entry.path)
        if content is None or not later:
            done: Written = self.inner.put(entry, content, replaces, throttle)
            return done
        sent = _Sent(content)
        stored = entry
        kept = [fault.at_byte for fault in later if fault.effect is Effect.SHORT]
        if kept and entry.size_bytes is not None:
            # The storage is made to believe that it was all, or it would notice by itself.
            stored = msgspec.structs.replace(entry, size_bytes=min(entry.size_bytes, *kept))
        written: Written = self.inner.put(
            stored, self._altered(iter(sent), later, entry.path), replaces, throttle
        )
        if not any(fault.effect in _CONTENT_EFFECTS for fault in later):
            return written
        for _ in sent.rest():
            pass
        digest = sent.digest_like(written.digest)
        return msgspec.structs.replace(written, bytes=sent.size_bytes, digest=digest)

    def remove(self, entry: Entry) -> None:
        self._before("remove", entry.path)
        self.inner.remove(entry)

    def close(self) -> None:
        self._before("close", "")
        self.inner.close()

    def _before(self, method: str, path: str) -> list[Fault]:
        """Fire what is due before the call; what is due within its content is returned."""
        later = []
        for fault in self.script.due(method, path):
            if fault.effect in _CONTENT_EFFECTS or fault.at_byte > 0:
                later.append(fault)
            else:
                self.script.fire(fault, path)
        return later

    def _altered(self, chunks: Iterator[Buffer], faults: list[Fault], path: str) -> Iterator[Buffer]:
        position = 0
        waiting = list(faults)
        for chunk in chunks:
            altered: bytearray | None = None
            for fault in list(waiting):
                end = position + len(chunk)
                if fault.effect is Effect.FLIP and position <= fault.at_byte < end:
                    altered = bytearray(chunk) if altered is None else altered
                    altered[fault.at_byte - position] ^= 1
                    waiting.remove(fault)
                    self.script.fire(fault, path)
                elif fault.effect is Effect.SHORT and end > fault.at_byte:
                    self.script.fire(fault, path)
                    yield bytes(chunk if altered is None else altered)[: fault.at_byte - position]
                    return
            position += len(chunk)
            yield chunk if altered is None else bytes(altered)
            for fault in list(waiting):
                if fault.effect not in _CONTENT_EFFECTS and position >= fault.at_byte:
                    waiting.remove(fault)
                    self.script.fire(fault, path)


class _Sent:
    """Content on its way, with the digests of what was really sent."""

    def __init__(self, content: Iterable[Buffer]) -> None:
        self._chunks = iter(content)
        self._hashers = {algorithm.value: hasher_of(algorithm) for algorithm in DigestAlgorithm}
        self.size_bytes = 0

    def __iter__(self) -> Iterator[Buffer]:
        return self.rest()

    def rest(self) -> Iterator[Buffer]:
        for chunk in self._chunks:
            self.size_bytes += len(chunk)
            for hasher in self._hashers.values():
                hasher.update(bytes(chunk))
            yield chunk

    def digest_like(self, digest: str | None) -> str | None:
        if digest is None:
            return None
        algorithm = digest.partition(":")[0]
        return f"{algorithm}:{self._hashers[algorithm].hexdigest()}"


class _SetsAttributes(FaultyLocation):
    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        self._before("set_attributes", entry.path)
        written: Written = self.inner.set_attributes(entry, expected)
        return written


class _Linking(FaultyLocation):
    def link(self, path: str, target: str, replaces: Entry | None) -> None:
        self._before("link", path)
        self.inner.link(path, target, replaces)


class _CopiesFrom(FaultyLocation):
    def copies_from(self, source: Location) -> bool:
        taken: bool = self.inner.copies_from(source)
        return taken

    def copy(
        self, source: Location, entry: Entry, target: Entry, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        self._before("copy", entry.path)
        written: Written = self.inner.copy(source, entry, target, replaces, throttle)
        return written


class _Renames(FaultyLocation):
    def rename(self, entry: Entry, path: str) -> None:
        self._before("rename", entry.path)
        self.inner.rename(entry, path)


class _Digests(FaultyLocation):
    def digest(self, entry: Entry, algorithm: DigestAlgorithm, throttle: Throttle) -> str:
        self._before("digest", entry.path)
        digest: str = self.inner.digest(entry, algorithm, throttle)
        return digest


class _Identifies(FaultyLocation):
    def identity(self) -> Identity:
        self._before("identity", "")
        identity: Identity = self.inner.identity()
        return identity

    def space(self) -> Space:
        self._before("space", "")
        space: Space = self.inner.space()
        return space


class _Sweeps(FaultyLocation):
    def leftovers(self) -> Iterator[tuple[str, str]]:
        leftovers: Iterator[tuple[str, str]] = self.inner.leftovers()
        return leftovers

    def remove_leftover(self, path: str) -> None:
        self._before("remove_leftover", path)
        self.inner.remove_leftover(path)


class _HoldsLock(FaultyLocation):
    def lock(self) -> bool:
        self._before("lock", "")
        held: bool = self.inner.lock()
        return held


_ROLES: tuple[tuple[type, type], ...] = (
    (SetsAttributes, _SetsAttributes),
    (Linking, _Linking),
    (CopiesFrom, _CopiesFrom),
    (Renames, _Renames),
    (Digests, _Digests),
    (Identifies, _Identifies),
    (Sweeps, _Sweeps),
    (HoldsLock, _HoldsLock),
)


def faulty(location: Location, script: FaultScript) -> FaultyLocation:
    """`location` under `script`, with exactly the roles it offers. A driver that copies only from locations
    of its own kind does not know the wrapper: content then passes through read and put, where faults reach
    it."""
    offered = tuple(wrapper for role, wrapper in _ROLES if isinstance(location, role))
    return compose(FaultyLocation, offered)(location, script)


def _not_listed(path: str) -> Problem:
    return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, f"scripted fault: {path!r} was not listed")
