"""Moving content: several requests under way at a time, so that the line is never idle."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import xxhash

from runner.locations.protocol import Buffer, Throttle
from runner.model.task import DigestAlgorithm

from . import faults, messages
from .faults import StatusError

if TYPE_CHECKING:
    from .wire import Wire

WINDOW = 4
"""Pieces of content under way at once."""


def new_hasher(algorithm: DigestAlgorithm) -> Any:
    return xxhash.xxh3_128() if algorithm is DigestAlgorithm.XXH3_128 else hashlib.sha256()


def pieces(content: Iterable[Buffer], throttle: Throttle, hasher: Any, limit: int) -> Iterator[Buffer]:
    """The same bytes in pieces of up to `limit`, small chunks put together; each is valid until the next one."""
    gathered = bytearray()
    for chunk in content:
        throttle.take(len(chunk))
        hasher.update(chunk)
        rest = memoryview(chunk)
        if gathered:
            room = limit - len(gathered)
            gathered += rest[:room]
            rest = rest[room:]
            if len(gathered) < limit:
                continue
            yield gathered
            gathered = bytearray()
        while len(rest) >= limit:
            yield rest[:limit]
            rest = rest[limit:]
        gathered += rest
    if gathered:
        yield gathered


def received(wire: Wire, file: bytes, start: int, end: int) -> Iterator[memoryview]:
    """The bytes of an open file from `start` to `end`; less when the file ends before. Raises StatusError."""
    asked: deque[tuple[int, int, list[int]]] = deque()
    position = start
    try:
        while position < end or asked:
            while position < end and len(asked) < WINDOW:
                length = min(wire.chunk_bytes, end - position)
                asked.append((position, length, wire.begin([messages.read(position, length, file)])))
                position += length
            at, length, ids = asked.popleft()
            while length:
                answer = wire.finish(ids)[0]
                if answer.status == faults.END_OF_FILE:
                    return
                got = messages.content_read(answer.require())
                if not 0 < len(got) <= length:
                    return
                yield got
                at, length = at + len(got), length - len(got)
                if length:
                    # A server may give less than was asked for; the rest is asked for by itself.
                    ids = wire.begin([messages.read(at, length, file)])
    finally:
        for _, _, ids in asked:
            wire.abandon(ids)


class Sender:
    """Writes pieces to an open file, and knows when all of them have arrived."""

    def __init__(self, wire: Wire, file: bytes, position: int = 0) -> None:
        self._wire = wire
        self._file = file
        self._under_way: deque[tuple[int, list[int]]] = deque()
        self.position = position

    def send(self, piece: Buffer) -> None:
        """Raises StatusError for this or an earlier piece."""
        while len(self._under_way) >= WINDOW:
            self._settle()
        ids = self._wire.begin([messages.write(piece, self.position, self._file)])
        self._under_way.append((len(piece), ids))
        self.position += len(piece)

    def finish(self) -> None:
        """Wait until everything has arrived."""
        while self._under_way:
            self._settle()

    def abandon(self) -> None:
        while self._under_way:
            self._wire.abandon(self._under_way.popleft()[1])

    def _settle(self) -> None:
        length, ids = self._under_way.popleft()
        require_written(self._wire.finish(ids)[0].require(), length)


def require_written(message: memoryview, length: int) -> None:
    """Raises StatusError when the server took less than it was given."""
    if messages.written_count(message) != length:
        raise StatusError(0xC0000185)
