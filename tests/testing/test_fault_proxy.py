"""Each scripted fault of the network does what it says, exactly where it says, and a silent one fails the test."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from runner.testing.fault_proxy import FaultProxy, cuts, flips, refuses, resets, slows, swallows
from runner.testing.network_faults import NetworkFault

BLOB = bytes(range(256)) * 1024


class Parrot:
    """A server that answers each line `get N` with N bytes of BLOB, and takes lines in pieces."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve)]
        self._open: list[socket.socket] = []
        self._threads[0].start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        for one in (*self._open, self._socket):
            one.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            self._threads.append(threading.Thread(target=self._answer, args=(connection,)))
            self._threads[-1].start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection.makefile("rb") as lines:
            for line in lines:
                connection.sendall(BLOB[: int(line.split()[1])])


@pytest.fixture
def parrot() -> Iterator[Parrot]:
    server = Parrot()
    yield server
    server.close()


@contextlib.contextmanager
def talking(proxy: FaultProxy) -> Iterator[socket.socket]:
    connection = socket.create_connection(("127.0.0.1", proxy.port), timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def ask(connection: socket.socket, size: int, more: bytes = b"") -> None:
    connection.sendall(b"get %d %s\n" % (size, more))


def take(connection: socket.socket, size: int) -> bytes:
    taken = b""
    while len(taken) < size:
        chunk = connection.recv(size - len(taken))
        if not chunk:
            break
        taken += chunk
    return taken


def answer(proxy: FaultProxy, size: int, more: bytes = b"") -> bytes:
    with talking(proxy) as connection:
        ask(connection, size, more)
        return take(connection, size)


def test_without_a_fault_everything_passes_in_both_directions(parrot: Parrot) -> None:
    with FaultProxy(parrot.port) as proxy, talking(proxy) as one, talking(proxy) as other:
        ask(one, 200_000)
        ask(other, 3)
        assert take(other, 3) == BLOB[:3]
        assert take(one, 200_000) == BLOB[:200_000]
        assert proxy.connections == 2


def test_the_answer_ends_where_it_is_cut_and_only_there(parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [cuts(after_bytes=70_001, nth=2)]) as proxy:
        sizes = [len(answer(proxy, 200_000)) for _ in range(3)]
    assert sizes == [200_000, 70_001, 200_000]
    proxy.assert_all_fired()


def test_a_reset_is_seen_as_a_reset(parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [resets(after_bytes=1000)]) as proxy:
        with pytest.raises(ConnectionResetError):
            answer(proxy, 200_000)
        assert answer(proxy, 10) == BLOB[:10]
    proxy.assert_all_fired()


def test_a_reset_while_the_client_sends(parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [resets(after_bytes=5, upward=True)]) as proxy:
        with pytest.raises(ConnectionResetError):
            answer(proxy, 10)
    assert proxy.fired == (1,)


def test_words_of_the_client_trigger_also_when_they_arrive_in_pieces(parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [cuts(said=b"big.mov", nth=2, after_bytes=7)]) as proxy:
        with talking(proxy) as connection:
            ask(connection, 20, b"big.mov")
            assert take(connection, 20) == BLOB[:20]
            connection.sendall(b"get 20 big.")
            with talking(proxy) as other:  # proves that the piece is through: links are served at once
                ask(other, 5, b"mov")
                assert take(other, 5) == BLOB[:5]
            connection.sendall(b"mov\n")
            assert take(connection, 20) == BLOB[:7]
    assert proxy.fired == (1,)


def test_refused_connections_never_reach_the_server(parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [refuses(nth=2, times=2)]) as proxy:
        outcomes = []
        for _ in range(4):
            try:
                outcomes.append(answer(proxy, 4) == BLOB[:4])
            except OSError:
                outcomes.append(False)
    assert outcomes == [True, False, False, True]
    proxy.assert_all_fired()


def test_a_closed_door_refuses_truly_and_opens_on_the_same_port(parrot: Parrot) -> None:
    with FaultProxy(parrot.port) as proxy:
        port = proxy.port
        with talking(proxy) as connection, proxy.door_closed():
            with pytest.raises(ConnectionRefusedError):
                answer(proxy, 1)
            ask(connection, 3)
            assert take(connection, 3) == BLOB[:3]
        assert (proxy.port, answer(proxy, 2)) == (port, BLOB[:2])


def test_a_black_hole_keeps_the_connection_and_gives_nothing(parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [swallows(after_bytes=100)]) as proxy, talking(proxy) as connection:
        ask(connection, 300)
        assert take(connection, 100) == BLOB[:100]
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        ask(connection, 300)
        with pytest.raises(TimeoutError):
            connection.recv(1)
    proxy.assert_all_fired()


@pytest.mark.parametrize(
    "fault", [slows(delay_seconds=0.3), slows(bytes_per_second=100_000, after_bytes=170_000)]
)
def test_a_slow_connection_gives_everything_late(fault: NetworkFault, parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [fault]) as proxy:
        started = time.monotonic()
        assert answer(proxy, 200_000) == BLOB[:200_000]
        assert 0.29 < time.monotonic() - started < 5
    proxy.assert_all_fired()


def test_one_bit_is_flipped(parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [flips(after_bytes=65_536)]) as proxy:
        got = answer(proxy, 100_000)
    assert [position for position in range(100_000) if got[position] != BLOB[position]] == [65_536]
    proxy.assert_all_fired()


def test_all_connections_of_now_are_reset(parrot: Parrot) -> None:
    with FaultProxy(parrot.port) as proxy, talking(proxy) as connection:
        ask(connection, 1)
        assert take(connection, 1) == BLOB[:1]
        proxy.reset_all()
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        assert answer(proxy, 2) == BLOB[:2]


def test_faults_added_later_count_from_then(parrot: Parrot) -> None:
    with FaultProxy(parrot.port) as proxy:
        assert len(answer(proxy, 10)) == 10
        proxy.script(cuts(after_bytes=3))
        assert [len(answer(proxy, 10)) for _ in range(2)] == [3, 10]


def test_a_server_that_is_not_there_resets(parrot: Parrot) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with FaultProxy(port) as proxy, pytest.raises(OSError):
        answer(proxy, 1)


def test_a_fault_that_never_fired_fails_the_test(parrot: Parrot) -> None:
    with FaultProxy(parrot.port, [cuts(after_bytes=10, nth=7), slows(said=b"x", delay_seconds=1)]) as proxy:
        answer(proxy, 20)
    with pytest.raises(AssertionError, match=r"cut after 10 bytes at connection number 7; slow after 0"):
        proxy.assert_all_fired()


@pytest.mark.parametrize("wrong", [{"nth": 0}, {"times": 0}, {"after_bytes": -1}])
def test_counts_that_make_no_sense(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError):
        cuts(**wrong)
