"""Servers that die, hang, restart or talk nonsense: a classified error in bounded time, and the object goes on."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers.process import free_port
from servers.serve_openssh import OpenSsh, append, signal_sessions, started
from sftp_support import NOON_NS, opened, put, read, refusal

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.entry import Entry, Kind, Problem
from runner.testing.conformance_base import Meter
from runner.testing.fault_proxy import FaultProxy, cuts

pytestmark = pytest.mark.servers

BIG = bytes(range(256)) * 40_000


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OpenSsh]:
    """A server of its own, for it is going to be killed."""
    with started(tmp_path, free_port()) as own:
        yield own


def temporary(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.endswith(".part")]


def test_a_server_killed_while_it_is_written_to(server: OpenSsh) -> None:
    """UNAVAILABLE, to be tried again; nothing is published; the next use connects anew and removes what was left."""
    root = server.new_root()
    root.mkdir()
    entry = Entry("big", Kind.FILE, size_bytes=len(BIG), mtime_ns=NOON_NS)

    def content() -> Iterator[bytes]:
        yield BIG[: len(BIG) // 2]
        signal_sessions(server.process, signal.SIGKILL)
        yield BIG[len(BIG) // 2 :]

    with opened(server.options(root)) as location:
        with pytest.raises(EntryError) as caught:
            location.put(entry, content(), None, Meter())
        assert caught.value.entry_code is EntryCode.UNAVAILABLE
        assert caught.value.disposition is Disposition.RETRY
        assert len(temporary(root)) == 1 and not (root / "big").exists()
        location.put(entry, [BIG], None, Meter())
        assert (root / "big").read_bytes() == BIG
        assert temporary(root) == []


def test_a_server_killed_while_it_is_read(server: OpenSsh) -> None:
    """A file that ends early is an error, never a short file."""
    root = server.new_root()
    with opened(server.options(root)) as location:
        entry = put(location, "big", BIG)
        stream = location.read(entry)
        next(stream)
        signal_sessions(server.process, signal.SIGKILL)
        with pytest.raises(EntryError) as caught:
            list(stream)
        assert caught.value.disposition is Disposition.RETRY
        assert read(location, "big") == BIG


def test_a_server_that_was_restarted_is_found_again(tmp_path: Path) -> None:
    """While it is away: UNAVAILABLE at once; an idle connection that ended is made anew without an error."""
    port = free_port()
    with started(tmp_path, port) as server:
        root = server.new_root()
        location = opened(server.options(root)).__enter__()
        put(location, "a", b"before")
    with pytest.raises(EntryError) as caught:
        location.stat("a")
    assert caught.value.disposition is Disposition.RETRY
    with pytest.raises(EntryError) as caught:
        location.stat("a")
    assert caught.value.entry_code is EntryCode.UNAVAILABLE
    with started(tmp_path, port):
        assert read(location, "a") == b"before"
        location.close()


def test_a_stopped_server_is_a_timeout_in_bounded_time(server: OpenSsh) -> None:
    root = server.new_root()
    options = {**server.options(root), "timeout": "1s", "connect_timeout": "1s"}
    with opened(options) as location:
        put(location, "a", b"before")
        server.process.send_signal(signal.SIGSTOP)
        signal_sessions(server.process, signal.SIGSTOP)
        began = time.monotonic()
        for _ in range(2):  # the open connection, then one that cannot be made
            with pytest.raises(EntryError) as caught:
                location.stat("a")
            assert caught.value.entry_code is EntryCode.TIMEOUT
            assert caught.value.disposition is Disposition.RETRY
        assert time.monotonic() - began < 8
        assert "did not answer within 1 s" in refusal(options).message
        signal_sessions(server.process, signal.SIGCONT)
        server.process.send_signal(signal.SIGCONT)
        assert location.stat("a") is not None


def test_a_listing_that_breaks_is_problems_and_does_not_wait_for_each(server: OpenSsh) -> None:
    """Each folder that was not listed is named, and none of them looks empty."""
    root = server.new_root()
    for name in ("a", "b", "c"):
        (root / name).mkdir(parents=True)
        (root / name / "inside").touch()
    with FaultProxy(server.port) as proxy:
        known = server.known_hosts.read_text().replace(str(server.port), str(proxy.port))
        (server.folder / "proxied").write_text(known)
        options = {
            **server.options(root),
            "port": proxy.port,
            "known_hosts": str(server.folder / "proxied"),
        }
        with opened(options) as location:
            found = []
            for one in location.scan():
                found.append(one)
                if one.path == "a/inside":
                    proxy.close_door()
                    proxy.reset_all()
            assert [(type(one), one.path) for one in found] == [
                (Entry, ""),
                (Entry, "a/"),
                (Entry, "a/inside"),
                (Entry, "b/"),
                (Problem, "b/"),
                (Entry, "c/"),
                (Problem, "c/"),
            ]
            assert all(one.retryable for one in found if isinstance(one, Problem))
            proxy.open_door()
            assert [one.path for one in location.scan("b/")] == ["b/", "b/inside"]


def test_a_connection_cut_in_the_middle_of_an_answer(server: OpenSsh) -> None:
    root = server.new_root()
    root.mkdir()
    (root / "big").write_bytes(BIG)
    with FaultProxy(server.port, [cuts(after_bytes=1_000_000, nth=1)]) as proxy:
        known = server.known_hosts.read_text().replace(str(server.port), str(proxy.port))
        (server.folder / "proxied").write_text(known)
        options = {
            **server.options(root),
            "port": proxy.port,
            "known_hosts": str(server.folder / "proxied"),
        }
        with opened(options) as location:
            with pytest.raises(EntryError) as caught:
                read(location, "big")
            assert caught.value.disposition is Disposition.RETRY
            assert read(location, "big") == BIG
        proxy.assert_all_fired()


def test_a_port_where_no_ssh_is_spoken(server: OpenSsh) -> None:
    """Bounded, whatever it says or does not say."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            for _ in range(2):
                client, _ = listener.accept()
                with client:
                    client.sendall(b"220 ftp.example.org FTP ready\r\n")
                    client.settimeout(10)
                    while client.recv(1000):
                        pass

        thread = threading.Thread(target=answer)
        thread.start()
        options = {**server.options(server.new_root()), "port": listener.getsockname()[1]}
        for _ in range(2):
            assert refusal({**options, "connect_timeout": "1s"}).message
        thread.join()


def test_the_host_key_may_not_change_between_connections(tmp_path: Path) -> None:
    """Also when both keys are in known_hosts: this is not the server that the plan was made for."""
    port = free_port()
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    other.mkdir()
    with started(one, port) as server:
        location = opened(server.options(server.new_root())).__enter__()
        put(location, "a", b"x")
    with started(other, port) as server:
        append(one / "known_hosts", server.known_hosts.read_text())
        append(other / "authorized_keys", (one / "user.pub").read_text())
        with pytest.raises(EntryError):
            location.stat("a")
        with pytest.raises(EntryError) as caught:
            location.stat("a")
        assert caught.value.disposition is Disposition.ABORT
        assert "another host key" in caught.value.message
    location.close()
