"""The server on a real socket, with clients that behave and clients that do not."""

from __future__ import annotations

import http.client
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from runner.errors import MissingExtraError, UsageError
from runner.web import server as server_module
from runner.web.respond import Answers
from runner.web.server import CONNECTIONS_AT_MOST, HttpServer, serve_http

ANSWERS = Answers(
    metrics=lambda: (b"a 1\n", "text/plain; version=0.0.4"),
    health=lambda: (True, "alive"),
    ready=lambda: (False, "the configuration is being loaded"),
)
PATIENCE_SECONDS = 20.0


@pytest.fixture
def serve() -> Iterator[Callable[..., HttpServer]]:
    servers: list[HttpServer] = []

    def start(answers: Answers = ANSWERS, listen: str = "127.0.0.1:0") -> HttpServer:
        servers.append(serve_http(listen, answers))
        return servers[-1]

    yield start
    for one in servers:
        one.close()


def fetch(
    port: int, path: str, method: str = "GET", host: str = "127.0.0.1", **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(host, port, timeout=PATIENCE_SECONDS)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def raw(port: int, sent: bytes) -> bytes:
    """Everything that comes back until the server closes."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(sent)
        got = b""
        while piece := connection.recv(65536):
            got += piece
        return got


def test_what_is_served(serve: Callable[..., HttpServer]) -> None:
    port = serve().port
    status, body, headers = fetch(port, "/metrics")
    assert (status, body, headers["Content-Type"]) == (200, b"a 1\n", "text/plain; version=0.0.4")
    assert fetch(port, "/healthz")[:2] == (200, b"alive\n")
    assert fetch(port, "/readyz")[:2] == (503, b"the configuration is being loaded\n")
    status, body, _ = fetch(port, "/")
    assert status == 200
    assert b"/metrics" in body and b"/healthz" in body and b"/readyz" in body


@pytest.mark.parametrize(
    "path",
    [
        "/nothing",
        "/metrics/",
        "/metrics/..",
        "//metrics",
        "/../metrics",
        "/..%2f..%2fetc%2fpasswd",
        "/metricsx",
    ],
)
def test_nothing_else_is(serve: Callable[..., HttpServer], path: str) -> None:
    assert fetch(serve().port, path)[:2] == (404, b"There is nothing here.\n")


def test_no_header_tells_who_serves(serve: Callable[..., HttpServer]) -> None:
    _, _, headers = fetch(serve().port, "/metrics")
    assert "Server" not in headers
    assert "Python" not in str(headers)
    assert headers["Connection"] == "close"
    assert headers["Cache-Control"] == "no-store"


def test_head_has_the_same_headers_and_no_body(serve: Callable[..., HttpServer]) -> None:
    port = serve().port
    status, body, headers = fetch(port, "/metrics", "HEAD")
    assert (status, body, headers["Content-Length"]) == (200, b"", "4")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "BREW"])
def test_other_methods_are_refused(serve: Callable[..., HttpServer], method: str) -> None:
    status, _, headers = fetch(serve().port, "/metrics", method)
    assert (status, headers["Allow"]) == (405, "GET, HEAD")


def test_a_body_that_nobody_wants_does_not_lose_the_answer(serve: Callable[..., HttpServer]) -> None:
    port = serve().port
    body = b"x" * 50_000
    head = b"POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000\r\n\r\n"
    assert raw(port, head + body).startswith(b"HTTP/1.1 405 ")


def test_one_request_a_connection(serve: Callable[..., HttpServer]) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\n\r\n"
    assert raw(serve().port, request * 3).count(b"HTTP/1.1 200") == 1


@pytest.mark.parametrize(
    ("description", "sent", "status"),
    [
        ("a huge header", b"GET / HTTP/1.1\r\nX: " + b"a" * 9000, b"431"),
        ("many headers", b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 2000, b"431"),
        ("an endless request line", b"GET /" + b"a" * 9000, b"431"),
        ("nonsense", b"\0\1\2\r\n\r\n", b"400"),
        ("HTTP/0.9", b"GET /metrics\r\n\r\n", b"400"),
        ("a name that points here", b"GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", b"421"),
    ],
)
def test_hostile_requests(
    serve: Callable[..., HttpServer], description: str, sent: bytes, status: bytes
) -> None:
    port = serve().port
    answer = raw(port, sent)
    assert answer.split(b" ")[1] == status
    assert b"a 1" not in answer
    assert fetch(port, "/healthz")[0] == 200


def test_a_client_that_sends_slowly_is_sent_away(
    serve: Callable[..., HttpServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server_module, "HEAD_SECONDS", 0.3)
    port = serve().port
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        # A byte at a time, each well within any time limit for one read.
        stop = threading.Event()

        def drip() -> None:
            while not stop.wait(0.02):
                try:
                    connection.send(b"X")
                except OSError:
                    return

        thread = threading.Thread(target=drip)
        thread.start()
        answer = connection.recv(65536)
        stop.set()
        thread.join()
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - began < 10


def test_connections_that_ask_for_nothing_do_not_keep_others_out(serve: Callable[..., HttpServer]) -> None:
    port = serve().port
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * CONNECTIONS_AT_MOST)]
    try:
        assert fetch(port, "/healthz")[:2] == (200, b"alive\n")
        assert (
            sum(thread.name == "http-connection" for thread in threading.enumerate())
            <= CONNECTIONS_AT_MOST + 1
        )
    finally:
        for one in silent:
            one.close()


def test_clients_that_do_not_take_their_answer_do_not_keep_others_out(
    serve: Callable[..., HttpServer],
) -> None:
    large = b"a 1\n" * 2_000_000
    port = serve(replace(ANSWERS, metrics=lambda: (large, "text/plain"))).port
    deaf = []
    try:
        for _ in range(CONNECTIONS_AT_MOST):
            one = socket.socket()
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            one.connect(("127.0.0.1", port))
            one.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            deaf.append(one)
        assert fetch(port, "/healthz")[0] == 200
        status, body, _ = fetch(port, "/metrics")
        assert (status, len(body)) == (200, len(large))
    finally:
        for one in deaf:
            one.close()


def test_many_at_once(serve: Callable[..., HttpServer]) -> None:
    port = serve().port
    statuses: list[int] = []

    def ask() -> None:
        statuses.extend(fetch(port, "/metrics")[0] for _ in range(10))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 80


def test_a_defect_is_a_500_that_tells_nothing_and_a_line_in_the_log(
    serve: Callable[..., HttpServer], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("runner"), "propagate", True)

    def broken() -> tuple[bytes, str]:
        raise RuntimeError("a secret detail")

    status, body, _ = fetch(serve(replace(ANSWERS, metrics=broken)).port, "/metrics")
    assert (status, b"secret" in body) == (500, False)
    assert "a secret detail" in caplog.text


def test_what_is_not_installed_is_said(serve: Callable[..., HttpServer]) -> None:
    def missing() -> tuple[bytes, str]:
        raise MissingExtraError(
            "metrics need a package", remedy="Install it: pip install 'sync-runner[monitoring]'"
        )

    port = serve(replace(ANSWERS, metrics=missing)).port
    status, body, _ = fetch(port, "/metrics")
    assert (status, body) == (
        503,
        b"metrics need a package. Install it: pip install 'sync-runner[monitoring]'\n",
    )
    assert fetch(port, "/healthz")[0] == 200


def test_bound_to_what_was_asked_for_and_nothing_else(serve: Callable[..., HttpServer]) -> None:
    one = serve(listen="127.0.0.1:0")
    assert one.address == "127.0.0.1"
    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", one.port), timeout=PATIENCE_SECONDS):
        pass


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6(serve: Callable[..., HttpServer]) -> None:
    one = serve(listen="[::1]:0")
    assert fetch(one.port, "/healthz", host="::1")[0] == 200
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE_SECONDS):
        pass


def test_a_taken_port_is_said(serve: Callable[..., HttpServer]) -> None:
    listen = f"127.0.0.1:{serve().port}"
    with pytest.raises(UsageError, match=f"nothing can listen at {listen}: Address already in use"):
        serve(listen=listen)


def test_an_address_of_another_machine_is_said(serve: Callable[..., HttpServer]) -> None:
    with pytest.raises(UsageError, match="nothing can listen at"):
        serve(listen="192.0.2.1:0")


def test_after_close_nobody_listens_and_nothing_is_left() -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    one = serve_http("127.0.0.1:0", ANSWERS)
    waiting = socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE_SECONDS)
    assert fetch(one.port, "/healthz")[0] == 200
    one.close()
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", one.port), timeout=PATIENCE_SECONDS)
    assert waiting.recv(10) == b""
    waiting.close()
    for thread in threading.enumerate():
        if thread.name == "http-connection":
            thread.join(PATIENCE_SECONDS)
    assert len(os.listdir("/proc/self/fd")) == descriptors
    again = serve_http(f"127.0.0.1:{one.port}", ANSWERS)
    again.close()
