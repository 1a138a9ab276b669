"""Content of files: read requests in flight, in order, and a proof that the file did not move meanwhile."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator

from runner.model.entry import Entry, Kind, parent_path

from .facts import difference, same_state
from .faults import changed, classified
from .packets import NO_ATTRIBUTES, OPEN_READ, Answer, Facts, MalformedError, Request, Status, block, text
from .paths import Paths
from .session import Session, facts_of
from .wire import Slot, Wire

IN_FLIGHT_BYTES = 4 << 20
SMALL_BYTES = 1 << 20
_READ_FLAGS = OPEN_READ.to_bytes(4, "big")


class Blocks:
    """A range of an open file, asked for ahead. Iterate; short answers are asked for again."""

    def __init__(self, wire: Wire, handle: bytes, start: int, end: int) -> None:
        self._wire = wire
        self._handle = handle
        self._next = start
        self._end = end
        self._asked: deque[tuple[int, int, Slot]] = deque()
        self._in_flight = 0
        self.position = start

    def ask(self) -> None:
        """Fill the pipe; the requests leave with the next wait."""
        while self._next < self._end and self._in_flight < IN_FLIGHT_BYTES:
            length = min(self._wire.read_bytes, self._end - self._next)
            self._asked.append((self._next, length, self._request(self._next, length)))
            self._next += length
            self._in_flight += length

    def __iter__(self) -> Iterator[memoryview]:
        """The blocks in order; ends early where the file does. Raises StatusError, WireError."""
        self.ask()
        while self._asked:
            offset, length, slot = self._asked.popleft()
            while length:
                self._wire.wait(slot)
                if slot.status == Status.EOF:
                    return
                body = slot.expect(Answer.DATA)
                size = len(body) - 4
                if not 0 < size <= length or int.from_bytes(body[:4], "big") != size:
                    raise MalformedError("an answer to a read is empty or too long")
                offset += size
                length -= size
                self._in_flight -= size
                self.position = offset
                if length:
                    slot = self._request(offset, length)
                else:
                    self.ask()
                    self._wire.push()
                yield memoryview(body)[4:]

    def _request(self, offset: int, length: int) -> Slot:
        return self._wire.request(Request.READ, self._handle, block(offset, length))


class Reader:
    """Reads files of one location."""

    def __init__(self, session: Session, paths: Paths) -> None:
        self._session = session
        self._paths = paths

    def read(self, entry: Entry, path: str, offset: int) -> Generator[memoryview]:
        """The content from `offset`; `path` is where the file is without links. See `Location.read`."""
        with classified(entry.path, "read"):
            yield from self._checked(self._session.ready(), entry, path, offset)

    def open(self, wire: Wire, entry: Entry, path: str) -> tuple[bytes, Facts]:
        """(handle, facts) of a file that is as `entry` says. Raises CHANGED_DURING_TRANSFER, StatusError."""
        full = text(self._paths.full(path))
        guard = self._paths.guard(wire, parent_path(path))
        before = wire.request(Request.LSTAT, full)
        opened = wire.wait(wire.request(Request.OPEN, full, _READ_FLAGS, NO_ATTRIBUTES))
        handle = b""
        try:
            guard.wait(wire)
            guard.check()
            facts = facts_of(wire.wait(before))
            if facts is None:
                before.check()
            expected = entry if entry.kind is Kind.FILE else Entry(entry.path, Kind.FILE)
            reason = difference(expected, facts)
            if reason is not None:
                raise changed(entry.path, reason)
            handle = opened.expect(Answer.HANDLE)
        finally:
            if not handle and opened.kind == Answer.HANDLE:
                wire.request(Request.CLOSE, opened.body)
        assert facts is not None
        return handle, facts

    def _checked(self, wire: Wire, entry: Entry, path: str, offset: int) -> Generator[memoryview]:
        full = text(self._paths.full(path))
        handle, listed = self.open(wire, entry, path)
        try:
            size = listed.size or 0
            at_start = wire.request(Request.FSTAT, handle)
            blocks = Blocks(wire, handle, min(offset, size), size)
            blocks.ask()
            last: list[Slot] = []
            if size - offset <= SMALL_BYTES:
                # All in one flight: what is asked after the reads is answered after them.
                last = self._ask_last(wire, handle, full)
            opened = facts_of(wire.wait(at_start))
            if opened is None or not same_state(opened, listed):
                raise changed(entry.path, "another file took its place while it was opened")
            yield from blocks
            if blocks.position != size:
                raise changed(entry.path, "it became shorter while it was read")
            self._check_last(wire, entry, listed, last or self._ask_last(wire, handle, full))
        finally:
            if wire.error is None:
                wire.request(Request.CLOSE, handle)

    def check_unmoved(self, wire: Wire, entry: Entry, path: str, handle: bytes, listed: Facts) -> None:
        """Raises CHANGED_DURING_TRANSFER when an open file is not, or not by this name, what it was."""
        self._check_last(wire, entry, listed, self._ask_last(wire, handle, text(self._paths.full(path))))

    def _check_last(self, wire: Wire, entry: Entry, listed: Facts, last: list[Slot]) -> None:
        wire.wait_all(*last)
        for slot in last:
            now = facts_of(slot)
            if now is None or not same_state(listed, now):
                raise changed(entry.path, "it was changed or replaced while it was read")

    def _ask_last(self, wire: Wire, handle: bytes, full: bytes) -> list[Slot]:
        return [
            wire.request(Request.FSTAT, handle),
            wire.request(Request.LSTAT, full),
        ]
