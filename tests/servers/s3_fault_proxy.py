"""An HTTP proxy that understands S3's requests, between a driver and a real server, with scripted lies and faults.

    with S3FaultProxy(ministack.port, [slow_down("PutObject", nth=2, times=3), cuts_body(1000, key="big")]) as proxy:
        options = ministack.location(endpoint_url=proxy.endpoint)
        ...
    proxy.assert_all_fired()

The Host header is passed on as the client sent and signed it: signatures stay valid.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from servers.s3_faults import Asked, S3Fault, S3Script

_HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade"})
_STEP = 262_144


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request that came, and the status that was answered; None = the connection was reset."""

    asked: Asked
    status: int | None


class S3FaultProxy:
    """Listens on a free port of the loopback from the start of the `with` block to its end."""

    def __init__(
        self, server_port: int, faults: Sequence[S3Fault] = (), *, keys_a_page: int | None = None
    ) -> None:
        """`keys_a_page`: listings give no more at once, whatever was asked for (and signed: for servers that do not
        check signatures)."""
        self._server_port = server_port
        self.keys_a_page = keys_a_page
        self.script = S3Script(faults)
        self._log: list[Exchange] = []
        self._lock = threading.Lock()
        self._http: _Server | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> S3FaultProxy:
        self._http = _Server(self, self._server_port)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,), name="s3-fault-proxy")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._http is not None and self._thread is not None
        self._http.shutdown()
        self._thread.join()
        self._http.hang_up()
        self._http.server_close()

    @property
    def port(self) -> int:
        assert self._http is not None
        port: int = self._http.server_address[1]
        return port

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def add(self, *faults: S3Fault) -> None:
        """Add faults that count from now on."""
        self.script.add(faults)

    @property
    def log(self) -> tuple[Exchange, ...]:
        with self._lock:
            return tuple(self._log)

    def counts(self) -> Counter[str]:
        """Requests by operation so far."""
        return Counter(exchange.asked.operation for exchange in self.log)

    def assert_all_fired(self) -> None:
        self.script.assert_all_fired()

    def note(self, asked: Asked, status: int | None) -> None:
        with self._lock:
            self._log.append(Exchange(asked, status))


class _Server(http.server.ThreadingHTTPServer):
    # The threads are joined by server_close: all connections have been closed then.
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, proxy: S3FaultProxy, server_port: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.proxy = proxy
        self.upstream_port = server_port
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()

    def keep(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.add(connection)

    def forget(self, connection: socket.socket) -> None:
        with self._open_lock:
            self._open.discard(connection)

    def hang_up(self) -> None:
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves is no fault of the proxy's."""


class _Reset(Exception):
    """The connection has to be reset."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.keep(self.connection)
        self._upstream = http.client.HTTPConnection("127.0.0.1", self.server.upstream_port, timeout=120)

    def finish(self) -> None:
        self._upstream.close()
        self.server.forget(self.connection)
        super().finish()

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing: the exchanges are kept in the proxy's log."""

    def _any(self) -> None:
        asked = Asked.of(self.command, self.path, self.headers, self._body())
        due = self.server.proxy.script.due(asked)
        try:
            self._answer(asked, due)
        except (_Reset, OSError, http.client.HTTPException):
            self.server.proxy.note(asked, None)
            self.close_connection = True
            linger = struct.pack("ii", 1, 0)
            with contextlib.suppress(OSError):
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def _body(self) -> bytes:
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return body
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _answer(self, asked: Asked, due: list[S3Fault]) -> None:
        fire = self.server.proxy.script.fire
        for fault in due:
            fire(fault)
            if fault.before is not None:
                fault.before()
        refused = next((fault for fault in due if fault.instead is not None or fault.lost), None)
        if refused is not None:
            if refused.carried_out:
                self._ask(asked).read()
            if refused.instead is None:
                raise _Reset
            instead = refused.instead
            self._send(asked, instead.status, dict(instead.headers), instead.body)
            return
        reply = self._ask(asked)
        headers = {name: value for name, value in reply.getheaders() if name.lower() not in _HOP_BY_HOP}
        body = reply.read()
        for fault in due:
            if fault.edit is not None:
                body = fault.edit(body)
            changed = {name.lower() for name in fault.headers}
            headers = {name: value for name, value in headers.items() if name.lower() not in changed}
            headers |= fault.headers
        self._send(asked, reply.status, headers, body, due)

    def _ask(self, asked: Asked) -> http.client.HTTPResponse:
        """Pass the request on exactly as it came, but for the framing of its body."""
        upstream = self._upstream
        target = self.path
        keys = self.server.proxy.keys_a_page
        if asked.operation == "ListObjectsV2" and keys is not None:
            target = re.sub(r"[?&]max-keys=\d+", "", target) + f"&max-keys={keys}"
        upstream.putrequest(self.command, target, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _HOP_BY_HOP and name.lower() not in ("content-length", "expect"):
                upstream.putheader(name, value)
        if asked.body or self.command in ("PUT", "POST"):
            upstream.putheader("Content-Length", str(len(asked.body)))
        upstream.endheaders(asked.body or None)
        return upstream.getresponse()

    def _send(
        self,
        asked: Asked,
        status: int,
        headers: dict[str, str],
        body: bytes,
        due: Sequence[S3Fault] = (),
    ) -> None:
        announced = len(body) + sum(fault.announced for fault in due)
        sent = body[: max(0, announced)]
        cut = min((fault.cut_at for fault in due if fault.cut_at is not None), default=None)
        if cut is not None:
            sent = sent[:cut]
        self.send_response_only(status)
        # The length that a HEAD tells is the object's; every other length is that of this very answer.
        own_length = self.command != "HEAD" and status not in (204, 304)
        for name, value in headers.items():
            if not (own_length and name.lower() == "content-length"):
                self.send_header(name, value)
        if own_length:
            self.send_header("Content-Length", str(max(0, announced)))
        if len(sent) < announced:
            self.close_connection = True
        self.end_headers()
        self.server.proxy.note(asked, status)
        if self.command == "HEAD":
            return
        for start in range(0, len(sent), _STEP):
            self.wfile.write(sent[start : start + _STEP])
