"""HTTP/1.1 to one endpoint: one request, one reply, connections kept open and used by one thread at a time.

A client of its own because S3's keys are hostile: libraries that treat keys as paths or URLs strip slashes, resolve
dots or refuse control characters. Here a request line is the bytes that were signed. It also costs a tenth of the
processor time of general HTTP libraries, which is what bounds small objects. RFC 9112; no redirects, no proxies, no
cookies, no retries but where the peer closed an idle connection just then.
"""

from __future__ import annotations

import collections
import select
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping

import msgspec

from runner.locations.protocol import Buffer

LARGEST_HEAD_BYTES = 64 << 10
CHUNK_BYTES = 1 << 20
_CONCATENATED_BYTES = 64 << 10
_HEAD_BYTES = 32 << 10
_CHANGES_NOTHING = frozenset({"GET", "HEAD"})


class WireError(Exception):
    """The connection broke, or the peer does not speak HTTP. `unsent`: surely nothing of the request was acted on."""

    def __init__(self, message: str, *, unsent: bool = False) -> None:
        super().__init__(message)
        self.unsent = unsent


class WireTimeoutError(WireError):
    """The peer did not answer in time."""


class Address(msgspec.Struct, frozen=True):
    """Where to connect. `authority` is the Host header."""

    host: str
    port: int
    tls: bool

    @property
    def authority(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.tls else 80) else f"{host}:{self.port}"


class Reply:
    """A reply whose body has not been read yet. Read it with `body` or `chunks`, or `abandon` it."""

    __slots__ = ("_channel", "_pool", "_remaining", "headers", "status")

    def __init__(self, pool: Wire, channel: Channel, status: int, headers: dict[str, str]) -> None:
        self._pool = pool
        self._channel: Channel | None = channel
        self.status = status
        self.headers = headers
        self._remaining: int | None = None

    def body(self, limit: int = 64 << 20) -> bytes:
        """The whole body. Raises WireError when it is longer than `limit` or cut short."""
        gathered = bytearray()
        for chunk in self.chunks():
            gathered += chunk
            if len(gathered) > limit:
                self.abandon()
                raise WireError(f"a reply of more than {limit} bytes came where a short one belongs")
        return bytes(gathered)

    def chunks(self) -> Iterator[memoryview]:
        """The body in chunks valid until the next one is asked for. A body that is cut short raises WireError."""
        channel = self._channel
        if channel is None:
            return
        try:
            yield from channel.body()
        except BaseException:
            self.abandon()
            raise
        self._channel = None
        self._pool.give_back(channel)

    def abandon(self) -> None:
        """Drop the connection when the body was not read to its end."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()


class Wire:
    """Connections to one address. Thread-safe; each request has a connection to itself."""

    def __init__(
        self,
        address: Address,
        context: ssl.SSLContext | None,
        *,
        connect_seconds: float,
        timeout_seconds: float,
    ) -> None:
        """`timeout_seconds` is the longest silence of the peer that is borne."""
        self.address = address
        self._context = context
        self._connect_seconds = connect_seconds
        self._timeout_seconds = timeout_seconds
        self._idle: collections.deque[Channel] = collections.deque()
        self._closed = False
        self._lock = threading.Lock()

    def exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: Buffer | None = None
    ) -> Reply:
        """Send a request and read the head of its reply. `target` goes out as it is.

        Raises WireError; a connection that had gone stale while idle is replaced before anything is sent on it. One that
        the peer closes just then is replaced too, for requests that change nothing (RFC 9112 section 9.3.1).
        """
        head = [f"{method} {target} HTTP/1.1\r\n"]
        for name, value in headers.items():
            head.append(f"{name}: {value}\r\n")
        if body is not None or method in ("PUT", "POST"):
            head.append(f"content-length: {len(body) if body is not None else 0}\r\n")
        head.append("\r\n")
        text = "".join(head)
        # Keys are percent-encoded, values encoded; whatever else came from a listing must not add a line of its own.
        if not text.count("\n") == text.count("\r") == len(head) or "\0" in text:
            raise WireError(
                f"a request to {self.address.authority} holds a line end where none belongs", unsent=True
            )
        sent = text.encode("latin-1")
        while True:
            channel, reused = self._take()
            try:
                status, reply_headers = channel.exchange(sent, body, method)
            except BaseException as error:
                channel.close()
                closed = isinstance(error, WireError) and not isinstance(error, WireTimeoutError)
                if closed and reused and method in _CHANGES_NOTHING and not channel.answered:
                    continue
                raise
            return Reply(self, channel, status, reply_headers)

    def _take(self) -> tuple[Channel, bool]:
        """A connection, and whether it has served before."""
        while True:
            with self._lock:
                channel = self._idle.pop() if self._idle else None
            if channel is None:
                new = Channel(self.address, self._context, self._connect_seconds, self._timeout_seconds)
                return new, False
            if channel.usable():
                return channel, True
            channel.close()

    def give_back(self, channel: Channel) -> None:
        """A connection whose reply was read to its end."""
        if channel.keeps_open:
            with self._lock:
                if not self._closed:
                    self._idle.append(channel)
                    return
        channel.close()

    def close(self) -> None:
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, collections.deque()
        for channel in idle:
            channel.close()


class Channel:
    """One connection. Its reply is read before the next request is sent."""

    def __init__(
        self, address: Address, context: ssl.SSLContext | None, connect_seconds: float, seconds: float
    ) -> None:
        where = address.authority
        try:
            plain = socket.create_connection((address.host, address.port), timeout=connect_seconds)
        except TimeoutError as error:
            raise WireTimeoutError(
                f"{where} did not take a connection in {connect_seconds:g} s", unsent=True
            ) from error
        except OSError as error:
            raise WireError(f"no connection to {where}: {error.strerror or error}", unsent=True) from error
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = context.wrap_socket(plain, server_hostname=address.host) if context else plain
            self._socket.settimeout(seconds)
        except TimeoutError as error:
            plain.close()
            raise WireTimeoutError(
                f"{where} did not finish the TLS handshake in {connect_seconds:g} s", unsent=True
            ) from error
        except OSError as error:
            plain.close()
            reason = getattr(error, "verify_message", None) or error.strerror or str(error)
            raise WireError(f"no TLS connection to {where}: {reason}", unsent=True) from error
        except BaseException:
            plain.close()
            raise
        # Not select(2): it takes no descriptor above 1,023.
        self._watched = select.poll()
        self._watched.register(self._socket, select.POLLIN)
        self._where = where
        self._seconds = seconds
        self._tls = context is not None
        self._early = b""
        self._framing: tuple[str, int] = ("none", 0)
        self.keeps_open = True
        self.answered = False
        """Whether anything came of the reply to the present request."""

    def usable(self) -> bool:
        """False when the peer has closed the idle connection, or said something nobody asked for."""
        try:
            return not self._early and not self._watched.poll(0)
        except OSError:
            return False

    def close(self) -> None:
        self.keeps_open = False
        self._socket.close()

    def exchange(self, head: bytes, body: Buffer | None, method: str) -> tuple[int, dict[str, str]]:
        """Status and headers of the reply; names in lower case."""
        self.answered = False
        try:
            broken = self._send(head, body)
            try:
                return self._reply(method)
            except WireError:
                if broken is None:
                    raise
            # The peer answered nothing before it closed: what it did is told by the failed sending.
            raise WireError(f"{self._where} closed the connection: {broken.strerror or broken}") from broken
        except TimeoutError as error:
            raise WireTimeoutError(f"{self._where} was silent for {self._seconds:g} s") from error
        except OSError as error:
            raise WireError(f"the connection to {self._where} broke: {error.strerror or error}") from error

    def _send(self, head: bytes, body: Buffer | None) -> OSError | None:
        """None, or why not all could be sent: a peer that refuses early answers and closes."""
        try:
            if body is None or len(body) == 0:
                self._socket.sendall(head)
            elif len(body) <= _CONCATENATED_BYTES:
                self._socket.sendall(head + body)
            else:
                self._socket.sendall(head)
                self._socket.sendall(body)
        except (BrokenPipeError, ConnectionResetError) as error:
            return error
        return None

    def _receive(self) -> bytes:
        return self._socket.recv(_HEAD_BYTES)

    def _head(self) -> bytes:
        """The bytes of one head; what came after it is kept."""
        gathered = self._early
        while (end := gathered.find(b"\r\n\r\n")) < 0:
            if len(gathered) > LARGEST_HEAD_BYTES:
                raise WireError(f"{self._where} sent a reply whose head does not end")
            more = self._receive()
            if not more:
                said = "in the middle of a reply" if gathered else "without a reply"
                raise WireError(f"{self._where} closed the connection {said}")
            self.answered = True
            gathered += more
        self._early = gathered[end + 4 :]
        return gathered[:end]

    def _reply(self, method: str) -> tuple[int, dict[str, str]]:
        while True:
            lines = self._head().decode("latin-1").split("\r\n")
            version, _, rest = lines[0].partition(" ")
            if not version.startswith("HTTP/1.") or not rest[:3].isdigit():
                raise WireError(f"{self._where} does not answer in HTTP/1.1")
            status = int(rest[:3])
            if status >= 200:
                break
        headers: dict[str, str] = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise WireError(f"{self._where} sent a header without a name")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        self._frame(version, status, headers, method)
        return status, headers

    def _frame(self, version: str, status: int, headers: dict[str, str], method: str) -> None:
        """How long the body is (RFC 9112 section 6.3), and whether another request may follow."""
        connection = headers.get("connection", "").lower()
        self.keeps_open = "close" not in connection and (version == "HTTP/1.1" or "keep-alive" in connection)
        length = headers.get("content-length")
        if method == "HEAD" or status in (204, 304):
            self._framing = ("none", 0)
        elif "chunked" in headers.get("transfer-encoding", "").lower():
            self._framing = ("chunked", 0)
        elif length is not None:
            if not length.isdigit():
                raise WireError(f"{self._where} sent a content-length that is no number")
            self._framing = ("length", int(length))
        else:
            self.keeps_open = False
            self._framing = ("end", 0)

    def body(self) -> Iterator[memoryview]:
        """The body's chunks. Raises WireError when it ends early."""
        kind, length = self._framing
        try:
            if kind == "length":
                yield from self._exactly(length)
            elif kind == "chunked":
                while size := self._chunk_size():
                    yield from self._exactly(size)
                    self._line()
                while self._line():
                    pass
            elif kind == "end":
                early, self._early = self._early, b""
                if early:
                    yield memoryview(early)
                while more := self._receive():
                    yield memoryview(more)
        except TimeoutError as error:
            raise WireTimeoutError(f"{self._where} was silent for {self._seconds:g} s") from error
        except OSError as error:
            raise WireError(f"the connection to {self._where} broke: {error.strerror or error}") from error

    def _exactly(self, length: int) -> Iterator[memoryview]:
        early = self._early
        if early:
            taken, self._early = early[:length], early[length:]
            length -= len(taken)
            if taken:
                yield memoryview(taken)
        if length <= 0:
            return
        view = memoryview(bytearray(min(length, CHUNK_BYTES)))
        while length:
            # Filled before it is handed on: few large chunks are cheaper for all who follow.
            wanted = min(length, len(view))
            filled = 0
            while filled < wanted:
                got = self._socket.recv_into(view[filled:wanted])
                if got == 0:
                    raise WireError(
                        f"{self._where} closed the connection {length - filled} bytes before the end"
                    )
                filled += got
            length -= wanted
            yield view[:wanted]

    def _line(self) -> bytes:
        while (end := self._early.find(b"\r\n")) < 0:
            if len(self._early) > LARGEST_HEAD_BYTES:
                raise WireError(f"{self._where} sent a chunk without a size")
            more = self._receive()
            if not more:
                raise WireError(f"{self._where} closed the connection in the middle of a reply")
            self._early += more
        line, self._early = self._early[:end], self._early[end + 2 :]
        return line

    def _chunk_size(self) -> int:
        text = self._line().partition(b";")[0].strip()
        try:
            return int(text, 16)
        except ValueError as error:
            raise WireError(f"{self._where} sent a chunk size that is no number") from error
