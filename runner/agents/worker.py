"""A worker process: reads its order, then requests, from one inherited socket, until the socket ends.

Frames are a one-byte type, a four-byte length and that many bytes:
parent -> worker   O order, R request (job name, newline, payload), G bytes granted
worker -> parent   H ready, A answer, T bytes wanted, E the worker could not start (text)
"""

from __future__ import annotations

import collections
import ctypes
import gc
import os
import signal
import socket
import struct
import sys

from runner.agents.jobs import Jobs, WorkOrder
from runner.agents.orders import decode_order
from runner.agents.shared import SharedPage, check_not_stopped
from runner.clock import SystemClock
from runner.errors import RunnerError
from runner.locations.registry import Registry

_PR_SET_PDEATHSIG = 1
TOKENS_AT_ONCE = 256 << 10


class Channel:
    """Frames over a stream socket."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb", buffering=1 << 16)
        self._early: collections.deque[tuple[bytes, bytes]] = collections.deque()

    def send(self, frame_type: bytes, payload: bytes = b"") -> None:
        self._connection.sendall(frame_type + struct.pack("<I", len(payload)) + payload)

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next frame; None when the parent is gone."""
        return self._early.popleft() if self._early else self._read()

    def receive_grant(self) -> bool:
        """Wait for leave to move bytes; requests that come first wait their turn. False: the parent is gone."""
        while (frame := self._read()) is not None:
            if frame[0] == b"G":
                return True
            self._early.append(frame)
        return False

    def _read(self) -> tuple[bytes, bytes] | None:
        head = self._reader.read(5)
        if len(head) < 5:
            return None
        (length,) = struct.unpack("<I", head[1:])
        payload = self._reader.read(length)
        return (head[:1], payload) if len(payload) == length else None


class WorkerThrottle:
    """Counts bytes into the shared page; asks the parent for leave only while a limit holds."""

    def __init__(self, page: SharedPage, slot: int, channel: Channel) -> None:
        self._page = page
        self._slot = slot
        self._channel = channel

    def take(self, size_bytes: int) -> None:
        page = self._page
        if page.stop_level or page.limited:
            self._take_slowly(size_bytes)
        page.add_bytes(self._slot, size_bytes)

    def _take_slowly(self, size_bytes: int) -> None:
        check_not_stopped(self._page)
        remaining = size_bytes
        while remaining > 0 and self._page.limited:
            wanted = min(remaining, TOKENS_AT_ONCE)
            self._channel.send(b"T", struct.pack("<I", wanted))
            if not self._channel.receive_grant():
                raise SystemExit(1)
            check_not_stopped(self._page)
            remaining -= wanted


def main() -> None:
    """Entry point of the process: arguments are the socket's and the page's handles and the slot number."""
    handle, page_handle, slot, parent = (int(text) for text in sys.argv[1:5])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A worker never outlives its parent: nothing may be written once the lock's owner is gone.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)
    page = SharedPage(page_handle)
    channel = Channel(socket.socket(fileno=handle))
    frame = channel.receive()
    if frame is None or frame[0] != b"O":
        raise SystemExit(1)
    order: WorkOrder = decode_order(frame[1])
    throttle = WorkerThrottle(page, slot, channel)
    try:
        with Jobs(
            order, Registry(), SystemClock(), throttle, lambda: page.stop_level > 0, f"worker-{slot}"
        ) as jobs:
            # What is imported and opened by now lives as long as the process: no collector need look at it.
            gc.freeze()
            gc.set_threshold(100_000, 20, 20)
            channel.send(b"H")
            while (frame := channel.receive()) is not None:
                job, _, request = frame[1].partition(b"\n")
                channel.send(b"A", jobs.answer(job.decode("ascii"), request))
    except RunnerError as error:
        channel.send(b"E", str(error).encode("utf-8", "replace"))
    except (BrokenPipeError, ConnectionResetError):
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
