"""The SFTP protocol on one SSH channel: many requests in flight, answers as they come.

asyncssh brings the bytes; its own SFTP client is left aside, for it took three to five times the CPU on small files
(docs/decisions/0016). The event loop runs in the caller's thread, and only while it waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct

import asyncssh

from .faults import StatusError, WireError
from .packets import Answer, MalformedError, Request, Status, read_limits, read_status, read_version, text

_HEAD = struct.Struct(">IBI")
_LARGEST_ANSWER = 4 << 20
_CLOSING_SECONDS = 2.0
_SAFE_BLOCK = 32 << 10
_LARGEST_BLOCK = 255 << 10
_WIDELY_GIVEN = {
    b"posix-rename@openssh.com": b"1",
    b"statvfs@openssh.com": b"2",
    b"hardlink@openssh.com": b"1",
    b"fsync@openssh.com": b"1",
    b"lsetstat@openssh.com": b"1",
    b"limits@openssh.com": b"1",
    b"copy-data": b"1",
}
"""The extensions that are used, in the version that is understood."""

POSIX_RENAME, STATVFS, HARDLINK, FSYNC, LSETSTAT, LIMITS, COPY_DATA = _WIDELY_GIVEN


class Slot:
    """The place of an answer that is awaited."""

    __slots__ = ("body", "done", "kind")

    def __init__(self) -> None:
        self.done = False
        self.kind = 0
        self.body = b""

    def expect(self, kind: Answer) -> bytes:
        """The body of an answer of this kind. Raises StatusError when the server refused."""
        if self.kind == kind:
            return self.body
        if self.kind == Answer.STATUS:
            code, words = read_status(self.body)
            if code != Status.OK:
                raise StatusError(code, words)
        raise MalformedError(f"the server answered with a packet of kind {self.kind}, not {kind}")

    def check(self) -> None:
        """For requests that are answered by a status: raises StatusError unless it is OK."""
        if self.kind != Answer.STATUS:
            raise MalformedError(f"the server answered with a packet of kind {self.kind}, not a status")
        code, words = read_status(self.body)
        if code != Status.OK:
            raise StatusError(code, words)

    @property
    def status(self) -> int:
        """The status; OK for answers that bring something."""
        return read_status(self.body)[0] if self.kind == Answer.STATUS else Status.OK


class Wire(asyncssh.SSHClientSession[bytes]):
    """One SFTP session. One thread at a time; after a WireError it is good for `close` only.

    Requests are gathered until somebody waits, so that a whole flight leaves in one SSH packet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout_seconds: float) -> None:
        """`timeout_seconds`: the longest silence while an answer is awaited."""
        self._loop = loop
        self._timeout = timeout_seconds
        self._connections: list[asyncssh.SSHClientConnection] = []
        self._channel: asyncssh.SSHClientChannel[bytes] | None = None
        self._received = bytearray()
        self._pending: dict[int, Slot] = {}
        self._last_id = 0
        self._outgoing: list[bytes] = []
        self._wanted: Slot | None = None
        self._silent = True
        self._used_at = loop.time()
        self.error: WireError | None = None
        self.extensions: frozenset[bytes] = frozenset()
        self.read_bytes = self.write_bytes = _SAFE_BLOCK

    # -- what asyncssh calls -----------------------------------------------------------------------------------

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self._channel = chan

    def data_received(self, data: bytes, datatype: asyncssh.DataType) -> None:
        if datatype is not None or self.error is not None:
            return  # what the server prints to standard error is no SFTP
        self._silent = False
        try:
            self._take(data)
        except MalformedError as error:
            self._fail(f"the server does not speak SFTP: {error}")
        if self._wanted is not None and self._wanted.done:
            self._loop.stop()

    def eof_received(self) -> bool:
        self._fail("the server ended the SFTP session")
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the connection was lost{f': {exc}' if exc is not None and str(exc) else ''}")

    def _fail(self, message: str, *, timed_out: bool = False) -> None:
        if self.error is None:
            self.error = WireError(message, timed_out=timed_out)
        if self._wanted is not None:
            self._loop.stop()

    def _take(self, data: bytes) -> None:
        """Give each whole packet to the slot that waits for it."""
        received = self._received
        received += data
        position, end = 0, len(received)
        while end - position >= 9:
            size, kind, number = _HEAD.unpack_from(received, position)
            if not 5 <= size <= _LARGEST_ANSWER:
                raise MalformedError(f"a packet of {size} bytes")
            if end - position < 4 + size:
                break
            slot = self._pending.pop(number, None)
            if slot is None:
                raise MalformedError("an answer that nobody asked for")
            with memoryview(received) as view:
                slot.body = bytes(view[position + 9 : position + 4 + size])
            slot.kind = kind
            slot.done = True
            position += 4 + size
        del received[:position]

    # -- requests ----------------------------------------------------------------------------------------------

    def greet(self, connections: list[asyncssh.SSHClientConnection]) -> None:
        """Agree on the protocol's version, once. `connections` (a jump host's last) are closed with the wire."""
        self._connections = connections
        greeting = Slot()
        # The greeting has a version where other packets have a number: the server's answer must say 3.
        self._pending[3] = greeting
        self._outgoing.append(_HEAD.pack(5, Request.INIT, 3))
        self._last_id = 3
        self.wait(greeting)
        if greeting.kind != Answer.VERSION:
            raise WireError("the server does not speak SFTP version 3")
        _, given = read_version(struct.pack(">I", 3) + greeting.body)
        self.extensions = frozenset(
            name for name, version in _WIDELY_GIVEN.items() if version in given.get(name, b"").split(b",")
        )
        if LIMITS in self.extensions:
            limits = self.extended(LIMITS)
            self.wait(limits)
            read, write = read_limits(limits.expect(Answer.EXTENDED_REPLY))
            self.read_bytes = max(_SAFE_BLOCK, min(read or _SAFE_BLOCK, _LARGEST_BLOCK))
            self.write_bytes = max(_SAFE_BLOCK, min(write or _SAFE_BLOCK, _LARGEST_BLOCK))

    def request(self, kind: Request, *parts: bytes | bytearray | memoryview) -> Slot:
        """Gather a request; it leaves with the next `flush` or `wait`."""
        self._last_id = number = (self._last_id + 1) & 0xFFFFFFFF
        slot = Slot()
        self._pending[number] = slot
        size = 5
        for part in parts:
            size += len(part)
        self._outgoing.append(_HEAD.pack(size, kind, number))
        self._outgoing.extend(parts)  # type: ignore[arg-type]
        return slot

    def extended(self, name: bytes, *parts: bytes) -> Slot:
        return self.request(Request.EXTENDED, text(name), *parts)

    def flush(self) -> None:
        """Send what was gathered."""
        if self.error is not None:
            raise self.error
        outgoing = b"".join(self._outgoing)
        self._outgoing.clear()
        assert self._channel is not None
        try:
            self._channel.write(outgoing)
        except (OSError, asyncssh.Error) as error:
            self._fail(f"the connection was lost: {error}")
            assert self.error is not None
            raise self.error from error

    def push(self) -> None:
        """Send what was gathered, if anything, without waiting."""
        if self._outgoing:
            self.flush()

    def wait(self, slot: Slot) -> Slot:
        """Send what was gathered and wait for this answer. Raises WireError."""
        if self._outgoing:
            self.flush()
        if slot.done:
            return slot
        self._wanted = slot
        self._silent = True
        self._alarm = self._loop.call_later(self._timeout, self._expire)
        try:
            while not slot.done:
                if self.error is not None:
                    raise self.error
                self._loop.run_forever()
        finally:
            self._wanted = None
            self._used_at = self._loop.time()
            self._alarm.cancel()
        return slot

    def wait_all(self, *slots: Slot) -> None:
        for slot in slots:
            self.wait(slot)

    def _expire(self) -> None:
        if self._silent:
            self._fail(f"the server has said nothing for {self._timeout:g} s", timed_out=True)
        else:
            self._silent = True
            self._alarm = self._loop.call_later(self._timeout, self._expire)

    def is_alive(self) -> bool:
        """False when the connection is known to have ended; looks at what came while nobody waited."""
        if self.error is None and self._loop.time() - self._used_at > 1.0:
            self._loop.call_soon(self._loop.stop)
            self._loop.run_forever()
            self._used_at = self._loop.time()
        return self.error is None

    # -- the end -----------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the connection and its event loop; harmless after any error, and bounded in time."""
        if self._loop.is_closed():
            return
        self._fail("the connection was closed")
        close_loop(self._loop, self._connections)


def close_loop(loop: asyncio.AbstractEventLoop, connections: list[asyncssh.SSHClientConnection]) -> None:
    """Abort the connections and leave nothing of the loop behind."""
    for connection in connections:
        connection.abort()
    with contextlib.suppress(Exception):
        loop.run_until_complete(asyncio.wait_for(_ended(connections), _CLOSING_SECONDS))
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()


async def _ended(connections: list[asyncssh.SSHClientConnection]) -> None:
    for connection in connections:
        await connection.wait_closed()
