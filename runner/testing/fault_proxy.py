"""A TCP proxy on the loopback between a driver and its server, with scripted faults, and the proof that each fired.

    with FaultProxy(server_port, [
        cuts(after_bytes=100_000, nth=2),              # the second connection's answer ends early
        resets(said=b"big.mov", after_bytes=4_096),    # 4 KiB of answer after the client named that file
        refuses(nth=3, times=2),
    ]) as proxy:
        ...                                            # the driver talks to 127.0.0.1:proxy.port
    proxy.assert_all_fired()

The proxy knows nothing of the protocol: `said` works where the client's words cross the wire in the clear. What a
proxy cannot do is done to the server itself: SIGSTOP, SIGKILL, a new start.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType

from runner.testing.fault_link import Link, reset
from runner.testing.network_faults import (
    NetworkEffect,
    NetworkFault,
    NetworkScript,
    cuts,
    flips,
    refuses,
    resets,
    slows,
    swallows,
)

__all__ = ["FaultProxy", "NetworkFault", "cuts", "flips", "refuses", "resets", "slows", "swallows"]

HOST = "127.0.0.1"


class FaultProxy:
    """Listens on a free port of the loopback from the start of the `with` block to its end. Memory: some MiB a
    connection. All methods may be called from any thread; one thread a connection does the work."""

    def __init__(self, server_port: int, faults: Sequence[NetworkFault] = (), host: str = HOST) -> None:
        self.server = (host, server_port)
        self.port = 0
        self.connections = 0
        """Connections accepted so far."""
        self._script = NetworkScript(faults)
        self._lock = threading.Lock()
        self._listener: _Listener | None = None
        self._links: set[threading.Thread] = set()
        self._hang_up = _Signal()
        self._spent: list[_Signal] = []

    def __enter__(self) -> FaultProxy:
        self.open_door()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close_door()
        self._hang_up.give()
        for link in self._open_links():
            link.join()
        for signal in (self._hang_up, *self._spent):
            signal.close()

    def script(self, *faults: NetworkFault) -> None:
        """Add faults that count from now on."""
        self._script.add(faults)

    def close_door(self) -> None:
        """Refuse connections truly: nothing listens on the port until `open_door`. Open ones go on."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def open_door(self) -> None:
        """Listen, on the same port as before."""
        self._listener = _Listener(self)
        self.port = self._listener.port

    @contextlib.contextmanager
    def door_closed(self) -> Iterator[None]:
        self.close_door()
        try:
            yield
        finally:
            self.open_door()

    def reset_all(self) -> None:
        """Reset every connection that is open now."""
        with self._lock:
            spent, self._hang_up = self._hang_up, _Signal()
            self._spent.append(spent)
        spent.give()

    @property
    def fired(self) -> tuple[int, ...]:
        """How often each fault fired, in the order of the script."""
        return self._script.fired

    def assert_all_fired(self) -> None:
        """AssertionError that names each fault that never fired."""
        self._script.assert_all_fired()

    def arrived(self, client: socket.socket) -> None:
        """For the listener: give a client its link, or turn it away."""
        self.connections += 1
        faults = self._script.triggered(b"")
        refusals = [fault for fault in faults if fault.effect is NetworkEffect.REFUSE]
        for fault in refusals:
            self._script.fire(fault)
        try:
            server = None if refusals else socket.create_connection(self.server, timeout=10)
        except OSError:
            server = None
        if server is None:
            reset(client)
            return
        with self._lock:
            link = Link(client, server, self._script, faults, self._hang_up.reading)
            thread = threading.Thread(target=link.run, name="fault-proxy-link")
            self._links = {one for one in self._links if one.is_alive()} | {thread}
            thread.start()

    def _open_links(self) -> list[threading.Thread]:
        with self._lock:
            return list(self._links)


class _Listener:
    """Takes connections until it is closed, in a thread of its own."""

    def __init__(self, proxy: FaultProxy) -> None:
        self._proxy = proxy
        self._socket = socket.create_server((HOST, proxy.port), backlog=128)
        self.port: int = self._socket.getsockname()[1]
        self._closing = _Signal()
        self._thread = threading.Thread(target=self._listen, name="fault-proxy")
        self._thread.start()

    def close(self) -> None:
        self._closing.give()
        self._thread.join()
        self._socket.close()
        self._closing.close()

    def _listen(self) -> None:
        while True:
            readable, _, _ = select.select([self._socket.fileno(), self._closing.reading], [], [])
            if self._socket.fileno() not in readable:
                return  # closing, and nobody waits at the door
            with contextlib.suppress(OSError):
                self._proxy.arrived(self._socket.accept()[0])


class _Signal:
    """A pipe: `reading` becomes readable for everyone who waits for it once the signal is given."""

    def __init__(self) -> None:
        self.reading, self._writing = os.pipe()
        self._given = False

    def give(self) -> None:
        if not self._given:
            self._given = True
            os.close(self._writing)

    def close(self) -> None:
        self.give()
        os.close(self.reading)
