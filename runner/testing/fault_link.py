"""One connection through the fault proxy: what comes in on one side goes out on the other, until a fault acts."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections import deque
from dataclasses import dataclass, field

from runner.testing.network_faults import NetworkEffect, NetworkFault, NetworkScript

_CHUNK = 65_536
_MOST_QUEUED = 1_048_576


def reset(connection: socket.socket) -> None:
    """Close a connection so that the other side sees a reset."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


class _Over(Exception):
    """The connection has ended."""


@dataclass(slots=True)
class _Waiting:
    """A fault that acts once `left` more bytes have passed."""

    left: int
    fault: NetworkFault


@dataclass(slots=True)
class _Stream:
    """One direction. `queue` holds (when it may pass, bytes, or the fault that acts then, or None at the end)."""

    source: socket.socket
    sink: socket.socket
    upward: bool
    queue: deque[tuple[float, bytes | NetworkFault | None]] = field(default_factory=deque)
    queued_bytes: int = 0
    waiting: list[_Waiting] = field(default_factory=list)
    slow: list[NetworkFault] = field(default_factory=list)
    last_due: float = 0.0
    ended: bool = False
    swallowed: bool = False

    @property
    def reads(self) -> bool:
        return not self.ended and (self.swallowed or self.queued_bytes < _MOST_QUEUED)


class Link:
    """Carries one connection in the thread that calls `run`; `hang_up` becomes readable when it has to end."""

    def __init__(
        self,
        client: socket.socket,
        server: socket.socket,
        script: NetworkScript,
        faults: list[NetworkFault],
        hang_up: int,
    ) -> None:
        self._client = client
        self._server = server
        self._script = script
        self._hang_up = hang_up
        self._up = _Stream(client, server, True)
        self._down = _Stream(server, client, False)
        self._heard = b""
        for fault in faults:
            self._arm(fault)

    def run(self) -> None:
        """Returns when the connection has ended, by itself, by a fault or by hanging up."""
        for connection in (self._client, self._server):
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while not (self._up.ended and self._down.ended and not self._up.queue and not self._down.queue):
                self._step()
        except (OSError, _Over):
            reset(self._client)
            reset(self._server)
        finally:
            self._client.close()
            self._server.close()

    def _step(self) -> None:
        now = time.monotonic()
        reading: list[socket.socket | int] = [self._hang_up]
        reading += [stream.source for stream in (self._up, self._down) if stream.reads]
        due = [stream for stream in (self._up, self._down) if stream.queue and stream.queue[0][0] <= now]
        later = [stream.queue[0][0] - now for stream in (self._up, self._down) if stream.queue]
        writing = [stream.sink for stream in due]
        wait = None if writing or not later else max(0.0, min(later))
        readable, writable, _ = select.select(reading, writing, [], wait)
        if self._hang_up in readable:
            raise _Over
        for stream in (self._up, self._down):
            if stream.source in readable:
                self._take(stream)
        for stream in due:
            if stream.sink in writable and stream.queue:
                self._give(stream)

    # -- what comes in ---------------------------------------------------------------------------------------

    def _take(self, stream: _Stream) -> None:
        try:
            chunk = stream.source.recv(_CHUNK)
        except BlockingIOError:
            return
        if not chunk:
            stream.ended = True
            if not stream.swallowed:
                stream.queue.append((stream.last_due, None))
            return
        if stream.swallowed:
            return
        if stream.upward:
            self._listen(chunk)
        self._queue(stream, chunk)

    def _listen(self, chunk: bytes) -> None:
        """Arm the faults whose words the client has now said."""
        words = self._script.words()
        if not words:
            return
        heard = self._heard + chunk
        for said in words:
            # Counted from the first byte that could not have been counted with the chunk before.
            start = max(0, len(self._heard) - len(said) + 1)
            for _ in range(heard.count(said, start)):
                for fault in self._script.triggered(said):
                    self._arm(fault)
        self._heard = heard[-max(map(len, words)) :]

    def _arm(self, fault: NetworkFault) -> None:
        stream = self._up if fault.upward else self._down
        stream.waiting.append(_Waiting(fault.after_bytes, fault))
        self._queue(stream, b"")

    def _queue(self, stream: _Stream, chunk: bytes) -> None:
        """Queue a chunk; where a fault is due inside it, the part before, the fault, the part after."""
        while True:
            due = [one for one in stream.waiting if one.left <= len(chunk) - _needs(one.fault)]
            if not due:
                self._pass(stream, chunk)
                return
            first = min(due, key=lambda one: one.left)
            stream.waiting.remove(first)
            before, chunk = chunk[: first.left], chunk[first.left :]
            self._pass(stream, before)
            if first.fault.effect is NetworkEffect.FLIP:
                chunk = bytes([chunk[0] ^ 1]) + chunk[1:]
                self._script.fire(first.fault)
            elif first.fault.effect is NetworkEffect.SLOW:
                stream.slow.append(first.fault)
                self._script.fire(first.fault)
            else:
                stream.queue.append((stream.last_due, first.fault))

    def _pass(self, stream: _Stream, chunk: bytes) -> None:
        """Let the waiting faults count a chunk, and push it."""
        for one in stream.waiting:
            one.left -= len(chunk)
        self._push(stream, chunk)

    def _push(self, stream: _Stream, chunk: bytes) -> None:
        if not chunk:
            return
        due = time.monotonic()
        for fault in stream.slow:
            due = max(due, time.monotonic() + fault.delay_seconds)
            if fault.bytes_per_second:
                due = max(due, stream.last_due) + len(chunk) / fault.bytes_per_second
        stream.last_due = max(due, stream.last_due)
        stream.queue.append((stream.last_due, chunk))
        stream.queued_bytes += len(chunk)

    # -- what goes out ---------------------------------------------------------------------------------------

    def _give(self, stream: _Stream) -> None:
        due, first = stream.queue.popleft()
        if first is None:
            with contextlib.suppress(OSError):
                stream.sink.shutdown(socket.SHUT_WR)
        elif isinstance(first, NetworkFault):
            self._act(first)
        else:
            sent = stream.sink.send(first)
            stream.queued_bytes -= sent
            if sent < len(first):
                stream.queue.appendleft((due, first[sent:]))

    def _act(self, fault: NetworkFault) -> None:
        self._script.fire(fault)
        if fault.effect is NetworkEffect.RESET:
            raise _Over
        if fault.effect is NetworkEffect.CUT:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_WR)
            reset(self._server)
            self._drain()
            raise _Over
        for stream in (self._up, self._down):
            stream.swallowed = True
            stream.queue.clear()
            stream.queued_bytes = 0

    def _drain(self) -> None:
        """Take what the client still sends, until it leaves: data that nobody takes would turn the end that it
        has to see into a reset."""
        while True:
            readable, _, _ = select.select([self._hang_up, self._client.fileno()], [], [])
            if self._hang_up in readable or not self._client.recv(_CHUNK):
                return


def _needs(fault: NetworkFault) -> int:
    """How many bytes a fault acts on."""
    return 1 if fault.effect is NetworkEffect.FLIP else 0
