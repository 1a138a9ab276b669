"""Connections that are kept, and peers that close one at the wrong moment. Real sockets."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest
from runner_plugins.s3.wire import Address, Wire, WireError

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"


class Peer:
    """Answers the first request of a connection; what it does with a second one is `ending`: that is how a server looks
    that gave up a connection while a request was on its way."""

    def __init__(self, ending: str) -> None:
        self._ending = ending
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.port = self._listener.getsockname()[1]
        self.heard: list[str] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with connection:
                connection.settimeout(10)
                self._hear(connection)
                connection.sendall(ANSWER)
                if not self._hear(connection):
                    continue
                if self._ending == "half":
                    connection.sendall(ANSWER[:12])
                elif self._ending == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _hear(self, connection: socket.socket) -> bool:
        heard = b""
        while b"\r\n\r\n" not in heard:
            more = connection.recv(4096)
            if not more:
                return False
            heard += more
        self.heard.append(heard.split(b" ", 1)[0].decode())
        return True

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)


@pytest.fixture
def peer(request: pytest.FixtureRequest) -> Iterator[Peer]:
    made = Peer(request.param)
    yield made
    made.close()


def _two_requests(peer: Peer, method: str) -> int:
    """The status of the second, on the connection of the first."""
    wire = Wire(Address("127.0.0.1", peer.port, False), None, connect_seconds=10, timeout_seconds=10)
    try:
        wire.exchange("HEAD", "/", {}).body()
        reply = wire.exchange(method, "/", {})
        reply.body()
        return reply.status
    finally:
        wire.close()


@pytest.mark.parametrize("peer", ["close", "reset"], indirect=True)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_connection_that_was_given_up_just_then_is_replaced(peer: Peer, method: str) -> None:
    assert _two_requests(peer, method) == 200
    assert peer.heard == ["HEAD", method, method]


@pytest.mark.parametrize("peer", ["close", "reset"], indirect=True)
@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_what_may_have_been_done_is_not_sent_twice(peer: Peer, method: str) -> None:
    with pytest.raises(WireError):
        _two_requests(peer, method)
    assert peer.heard == ["HEAD", method]


@pytest.mark.parametrize("peer", ["half"], indirect=True)
def test_a_reply_that_breaks_off_is_an_error(peer: Peer) -> None:
    with pytest.raises(WireError, match="in the middle of a reply"):
        _two_requests(peer, "GET")
    assert peer.heard == ["HEAD", "GET"]
