"""New content under a temporary name: written in flight, checked, given its metadata.

A small file is one flight of requests: SFTP servers carry out what concerns one file in the order in which it came.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

import xxhash

from runner.errors import EntryCode, EntryError
from runner.locations.observer import spent
from runner.locations.protocol import Buffer, OpenSettings, Throttle
from runner.model.activity import Activity
from runner.model.entry import Entry
from runner.model.task import DigestAlgorithm, Durability, Integrity

from .attributes import Wanted, apply, not_in_force, refuses, set_owner
from .faults import StatusError, changed, shown
from .packets import OPEN_NEW, Answer, Facts, Request, attributes, block, copy_range, text
from .reading import IN_FLIGHT_BYTES, SMALL_BYTES, Blocks
from .session import Session, facts_of
from .wire import COPY_DATA, FSYNC, LIMITS, Slot, Wire

_NEW_FLAGS = OPEN_NEW.to_bytes(4, "big")
_PRIVATE = 0o600
_COPIED_AT_ONCE = 64 << 20


class Draft:
    """A file that has no name of its own yet. `digest` and `size_bytes` are of what was written."""

    def __init__(self, wire: Wire, full: bytes, handle: bytes) -> None:
        self.wire = wire
        self.full = full
        self.handle = handle
        self.size_bytes = 0
        self.digest: str | None = None
        self.is_open = True
        self.facts: Facts | None = None
        self.born: tuple[int | None, int | None] | None = None
        """The owner it got by itself."""
        self.refused: tuple[str, ...] = ()

    def send(self, encoded: bytes) -> Slot:
        """Set attributes by handle; by name once it is closed (nobody else knows the name)."""
        if self.is_open:
            return self.wire.request(Request.FSETSTAT, self.handle, encoded)
        return self.wire.request(Request.SETSTAT, text(self.full), encoded)

    def discard(self, session: Session) -> None:
        """Take it away; what cannot be taken away now, the next connection takes."""
        try:
            if self.is_open:
                self.wire.request(Request.CLOSE, self.handle)
            self.wire.wait(self.wire.request(Request.REMOVE, text(self.full)))
        except Exception:  # the error that led here is the one to be told
            session.leave(self.full)


def begin(wire: Wire, full: bytes) -> Draft:
    """An empty file that only its owner can read, which was not there before. Raises StatusError."""
    slot = wire.wait(wire.request(Request.OPEN, text(full), _NEW_FLAGS, attributes(mode=_PRIVATE)))
    return Draft(wire, full, slot.expect(Answer.HANDLE))


class Filler:
    """Fills drafts as one location's settings say."""

    def __init__(self, settings: OpenSettings) -> None:
        self._algorithm = settings.digest
        self._reads_back = settings.integrity is Integrity.READ_BACK
        self._flushes = settings.durability is not Durability.NONE
        self._observer = settings.observer

    def hasher(self) -> Any:
        return xxhash.xxh3_128() if self._algorithm is DigestAlgorithm.XXH3_128 else hashlib.sha256()

    def named(self, hasher: Any) -> str:
        return f"{self._algorithm.value}:{hasher.hexdigest()}"

    def fill(
        self, draft: Draft, entry: Entry, content: Iterable[Buffer], throttle: Throttle, *, early: bool
    ) -> None:
        """Write the content, check it, set the entry's metadata, flush, close.

        `early`: the owner it gets by itself is the wanted one, so that all may go in one flight. The last flight
        is still to be waited for: `finish` does.

        Raises EntryError for content that is not the entry's, StatusError and WireError; what `content` raises
        passes unchanged.
        """
        chunks = iter(content)
        start = bytearray()
        for chunk in chunks:
            throttle.take(len(chunk))
            start += chunk
            if len(start) > SMALL_BYTES:
                self._fill_long(draft, entry, start, chunks, throttle)
                break
        else:
            self._fill_short(draft, entry, bytes(start), early=early)

    def fill_by_copying(
        self, draft: Draft, entry: Entry, source: bytes, size_bytes: int, throttle: Throttle
    ) -> None:
        """As `fill`, with content that the server copies itself from the open file `source`.

        The digest is known only where the bytes are read back: both files are read then.
        """
        wire = draft.wire
        for offset in range(0, size_bytes, _COPIED_AT_ONCE):
            length = min(_COPIED_AT_ONCE, size_bytes - offset)
            throttle.take(length)
            # In pieces: each has to be answered within the timeout.
            wire.wait(wire.extended(COPY_DATA, copy_range(source, draft.handle, offset, length))).check()
        draft.size_bytes = size_bytes
        stated = wire.request(Request.FSTAT, draft.handle)
        if self._reads_back:
            sent, stored = self.hasher(), self.hasher()
            for hasher, handle in ((sent, source), (stored, draft.handle)):
                for piece in Blocks(wire, handle, 0, size_bytes):
                    hasher.update(piece)
            if sent.digest() != stored.digest():
                raise _not_as_sent(entry)
            draft.digest = self.named(sent)
        facts = _take_facts(entry, draft, wire.wait(stated))
        wanted = Wanted(entry, None)
        draft.refused = apply(wire, wanted, draft.send, facts)
        self._end(draft, wanted)

    def _fill_short(self, draft: Draft, entry: Entry, content: bytes, *, early: bool) -> None:
        _check_length(entry, len(content), complete=True)
        wire, handle = draft.wire, draft.handle
        # Who tells no limits may answer a read in part; the rest is then asked for after the flight.
        early = early and LIMITS in wire.extensions
        written = []
        view = memoryview(content)
        for offset in range(0, len(content), wire.write_bytes):
            piece = view[offset : offset + wire.write_bytes]
            written.append(wire.request(Request.WRITE, handle, block(offset, len(piece)), piece))
        wanted = Wanted(entry, None)
        rest = None if wanted.has_special_bits else wanted.rest(special_bits=False)
        rest_set = None if rest is None else draft.send(rest)
        stated = wire.request(Request.FSTAT, handle)
        back = Blocks(wire, handle, 0, len(content))
        if self._reads_back:
            back.ask()
        flushed = wire.extended(FSYNC, handle) if early and self._flushes else None
        closed = wire.request(Request.CLOSE, handle) if early else None
        wire.wait(stated)
        _checked_all(wire, *written)
        draft.size_bytes = len(content)
        hasher = self._observer.hashing(self.hasher())
        hasher.update(content)
        draft.digest = self.named(hasher)
        if self._reads_back and b"".join(back) != content:
            raise _not_as_sent(entry)
        if closed is not None:
            _checked_all(wire, flushed, closed)
            draft.is_open = False
        facts = _take_facts(entry, draft, stated)
        if (rest_set is not None and refuses(wire.wait(rest_set))) or wanted.has_special_bits:
            draft.refused = apply(wire, wanted, draft.send, facts)
        else:
            set_owner(wire, wanted, draft.send, facts)
            draft.refused = tuple(wanted.refused)
        self._end(draft, wanted)

    def _fill_long(
        self, draft: Draft, entry: Entry, start: bytearray, chunks: Iterator[Buffer], throttle: Throttle
    ) -> None:
        hasher = self._observer.hashing(self.hasher())
        pipe = _Pipe(draft)
        hasher.update(start)
        pipe.write(start)
        _check_length(entry, pipe.position, complete=False)
        for chunk in chunks:
            throttle.take(len(chunk))
            hasher.update(chunk)
            pipe.write(chunk)
            _check_length(entry, pipe.position, complete=False)
        pipe.drain()
        _check_length(entry, pipe.position, complete=True)
        draft.size_bytes = pipe.position
        draft.digest = self.named(hasher)
        wire, handle = draft.wire, draft.handle
        stated = wire.request(Request.FSTAT, handle)
        if self._reads_back:
            stored = self.hasher()
            with spent(self._observer, Activity.VERIFYING):
                for piece in Blocks(wire, handle, 0, draft.size_bytes):
                    stored.update(piece)
            if stored.digest() != hasher.digest():
                raise _not_as_sent(entry)
        facts = _take_facts(entry, draft, wire.wait(stated))
        wanted = Wanted(entry, None)
        draft.refused = apply(wire, wanted, draft.send, facts)
        self._end(draft, wanted)

    def _end(self, draft: Draft, wanted: Wanted) -> None:
        """Flush and close, unless that went early; and look what metadata is really there."""
        wire = draft.wire
        if not draft.is_open:
            assert draft.facts is not None
            wrong = [name for name in not_in_force(wanted, draft.facts) if name not in ("uid", "gid")]
            draft.refused += tuple(wrong)
            return
        stated = wire.request(Request.FSTAT, draft.handle)
        flushed = wire.extended(FSYNC, draft.handle) if self._flushes else None
        closed = wire.request(Request.CLOSE, draft.handle)
        draft.is_open = False
        _checked_all(wire, flushed, closed)
        now = facts_of(stated)
        if now is not None:
            draft.refused += tuple(not_in_force(wanted, now))
            draft.facts = now


class _Pipe:
    """Writes to a draft with many requests in flight."""

    def __init__(self, draft: Draft) -> None:
        self._wire = draft.wire
        self._handle = draft.handle
        self._asked: deque[tuple[int, Slot]] = deque()
        self._in_flight = 0
        self.position = 0

    def write(self, chunk: Buffer) -> None:
        """Send a chunk; its buffer may be used anew afterwards."""
        wire = self._wire
        with memoryview(chunk) as whole, whole.cast("B") as view:
            for offset in range(0, len(view), wire.write_bytes):
                piece = view[offset : offset + wire.write_bytes]
                slot = wire.request(Request.WRITE, self._handle, block(self.position, len(piece)), piece)
                wire.push()
                self._asked.append((len(piece), slot))
                self.position += len(piece)
                self._in_flight += len(piece)
                piece.release()
                while self._in_flight > IN_FLIGHT_BYTES:
                    self._take()

    def drain(self) -> None:
        while self._asked:
            self._take()

    def _take(self) -> None:
        length, slot = self._asked.popleft()
        self._wire.wait(slot).check()
        self._in_flight -= length


def _checked_all(wire: Wire, *slots: Slot | None) -> None:
    for slot in slots:
        if slot is not None:
            wire.wait(slot).check()


def _check_length(entry: Entry, length: int, *, complete: bool) -> None:
    expected = entry.size_bytes
    if expected is not None and (length > expected or (complete and length != expected)):
        raise changed(entry.path, f"its content has {length} bytes, not the {expected} that were expected")


def _take_facts(entry: Entry, draft: Draft, stated: Slot) -> Facts:
    """Note what the server says of the draft. Raises CHECKSUM_FAILURE for another length than was written."""
    facts = facts_of(stated)
    if facts is None or (facts.size is not None and facts.size != draft.size_bytes):
        raise _not_as_sent(entry)
    draft.facts = facts
    draft.born = (facts.uid, facts.gid)
    return facts


def _not_as_sent(entry: Entry) -> EntryError:
    message = f"{shown(entry.path)}: what the server stored is not what was sent"
    return EntryError(EntryCode.CHECKSUM_FAILURE, entry.path, message)


def sync_folder(wire: Wire, full: bytes) -> None:
    """Flush a folder, where the server can open one as a file (OpenSSH does); elsewhere nothing can be done."""
    with contextlib.suppress(StatusError):
        slot = wire.wait(wire.request(Request.OPEN, text(full), (1).to_bytes(4, "big"), attributes()))
        handle = slot.expect(Answer.HANDLE)
        flushed = wire.extended(FSYNC, handle)
        closed = wire.request(Request.CLOSE, handle)
        wire.wait_all(flushed, closed)
        flushed.check()
