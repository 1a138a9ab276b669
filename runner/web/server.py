"""Sockets and threads of the small HTTP server. One request a connection; everything is bounded: connections, threads,
sizes, times. Whoever holds a connection without asking makes room for the next client."""

from __future__ import annotations

import contextlib
import logging
import socket
import threading

from runner.clock import Clock, SystemClock
from runner.errors import UsageError
from runner.web.request import HEAD_BYTES_AT_MOST, Refusal, Request, is_ours, parse_request
from runner.web.respond import Answers, Response, encode, respond

CONNECTIONS_AT_MOST = 32
HEAD_SECONDS = 5.0
"""From being accepted to the end of the headers."""
ANSWER_SECONDS = 10.0
"""For the client to take the answer."""
LINGER_SECONDS = 0.5
_LINGER_BYTES = 1 << 16
_REST_SECONDS = 0.1
_BACKLOG = 64

_log = logging.getLogger(__name__)


class HttpServer:
    """Listens from the start; `close` ends it. `address` is what it is bound to, `port` its port."""

    def __init__(self, listener: socket.socket, host: str, answers: Answers, clock: Clock) -> None:
        """`host`: as configured. Takes the listener over."""
        self.address, self.port = listener.getsockname()[:2]
        self._listener = listener
        self._host = host
        self._private = self.address in ("127.0.0.1", "::1") or self.address.startswith("127.")
        self._answers = answers
        self._clock = clock
        self._free = threading.BoundedSemaphore(CONNECTIONS_AT_MOST)
        self._lock = threading.Lock()
        self._open: dict[socket.socket, bool] = {}
        """Oldest first, and whether its request is complete."""
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._accept, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening and cut off who is connected."""
        self._closing.set()
        # Closing alone does not wake accept(2).
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        with self._lock:
            for connection in self._open:
                _cut(connection)

    # -- accepting -----------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError as error:
                if not self._closing.is_set():
                    # Out of descriptors, say: what is open ends soon.
                    _log.warning("no connection can be accepted: %s", error)
                    self._closing.wait(_REST_SECONDS)
                continue
            if self._make_room():
                self._start(connection)
            else:
                connection.close()

    def _make_room(self) -> bool:
        """Take a place. When none is free the oldest goes, first of all of those that have not asked for anything."""
        if self._free.acquire(blocking=False):
            return True
        with self._lock:
            silent = (connection for connection, asked in self._open.items() if not asked)
            oldest = next(silent, None) or next(iter(self._open), None)
            if oldest is not None:
                del self._open[oldest]
                _cut(oldest)
        return self._free.acquire(timeout=LINGER_SECONDS)

    def _start(self, connection: socket.socket) -> None:
        with self._lock:
            self._open[connection] = False
        try:
            threading.Thread(
                target=self._serve, args=(connection,), name="http-connection", daemon=True
            ).start()
        except RuntimeError:
            # The machine has no thread to give.
            self._end(connection)

    def _end(self, connection: socket.socket) -> None:
        with self._lock:
            self._open.pop(connection, None)
            connection.close()
        self._free.release()

    # -- one connection ------------------------------------------------------------------------------------

    def _serve(self, connection: socket.socket) -> None:
        try:
            request = self._read(connection)
            with self._lock:
                if connection in self._open:
                    self._open[connection] = True
            if request is not None:
                self._write(connection, request, respond(self._checked(request), self._answers))
        except OSError:
            # The client is gone, or too slow for us.
            return
        except Exception:
            _log.exception("a request could not be served")
        finally:
            self._end(connection)

    def _read(self, connection: socket.socket) -> Request | Refusal | None:
        """The request; None when the client leaves without one."""
        end = self._clock.monotonic() + HEAD_SECONDS
        head = b""
        while b"\r\n\r\n" not in head:
            left = end - self._clock.monotonic()
            if left <= 0:
                return Refusal(408, "The request took too long.")
            connection.settimeout(left)
            try:
                piece = connection.recv(HEAD_BYTES_AT_MOST)
            except TimeoutError:
                return Refusal(408, "The request took too long.")
            if not piece:
                return None
            head += piece
            if len(head) > HEAD_BYTES_AT_MOST:
                return Refusal(431, "The request's headers are too large.")
        return parse_request(head[: head.index(b"\r\n\r\n") + 4])

    def _checked(self, request: Request | Refusal) -> Request | Refusal:
        if isinstance(request, Request) and self._private and not is_ours(request.host, self._host):
            return Refusal(421, "This server is not known by that name.")
        return request

    def _write(self, connection: socket.socket, request: Request | Refusal, response: Response) -> None:
        wants_body = not isinstance(request, Request) or request.method != "HEAD"
        connection.settimeout(ANSWER_SECONDS)
        connection.sendall(encode(response, self._clock.now(), body=wants_body))
        connection.shutdown(socket.SHUT_WR)
        # What the client still sends (a body, say) would make the kernel reset the connection, answer and all.
        end, taken = self._clock.monotonic() + LINGER_SECONDS, 0
        while taken < _LINGER_BYTES and (left := end - self._clock.monotonic()) > 0:
            connection.settimeout(left)
            piece = connection.recv(4096)
            if not piece:
                return
            taken += len(piece)


def serve_http(listen: str, answers: Answers, clock: Clock | None = None) -> HttpServer:
    """Listen at `host:port` or `[address]:port`, there and nowhere else; port 0 = any free one.

    A name is bound at the first address it stands for. Raises UsageError when that is not possible.
    """
    host, _, port = listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                # [::] is not 0.0.0.0, too.
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind(address)
            listener.listen(_BACKLOG)
        except BaseException:
            listener.close()
            raise
    except (OSError, ValueError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(
            f"nothing can listen at {listen}: {reason}",
            remedy="Choose another place, or off, in sync.yaml: settings.service.http",
        ) from error
    return HttpServer(listener, host, answers, clock or SystemClock())


def _cut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
