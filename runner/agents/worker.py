"""A worker process: reads its order, then requests, from one inherited socket, until the socket ends.

Frames are a one-byte type, a four-byte length and that many bytes:
parent -> worker   O order, R request (number, job name, newline, payload), G bytes granted
worker -> parent   H ready, A answer (number, payload), T bytes wanted, E the worker could not start (text)

An order for one thread is worked off by the process's only thread. For more (locations that wait for a network), the
main thread reads frames, and each other thread opens locations of its own and answers requests. Threads are started as
there is work for them; how many of them may work at once stands in the shared page, and changes.
"""

from __future__ import annotations

import collections
import ctypes
import gc
import os
import queue
import resource
import signal
import socket
import struct
import sys
import threading
import traceback

from runner.agents.gate import Gate, GatedSeat
from runner.agents.jobs import Jobs, WorkOrder
from runner.agents.orders import decode_order
from runner.agents.shared import Cell, SharedPage, check_not_stopped
from runner.clock import SystemClock
from runner.errors import RunnerError
from runner.locations.observer import Observer, spent
from runner.locations.registry import Registry
from runner.model.activity import Activity

_PR_SET_PDEATHSIG = 1
_NUMBER = struct.Struct("<I")
TOKENS_AT_ONCE = 256 << 10
DESCRIPTORS_A_THREAD = 256
"""A local location keeps up to 200 folders open, a remote one a few connections."""


class Channel:
    """Frames over a stream socket. Sending is safe from several threads; receiving belongs to one.

    Once `shared`, the receiving thread passes grants on to the threads that wait for them, first come, first served.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._reader = connection.makefile("rb", buffering=1 << 16)
        self._early: collections.deque[tuple[bytes, bytes]] = collections.deque()
        self._sending = threading.Lock()
        self._asking = threading.Lock()
        self._waiting: collections.deque[threading.Event] = collections.deque()
        self._gone = False
        self.shared = False

    def send(self, frame_type: bytes, payload: bytes = b"") -> None:
        with self._sending:
            self._connection.sendall(frame_type + struct.pack("<I", len(payload)) + payload)

    def receive(self) -> tuple[bytes, bytes] | None:
        """The next frame; None when the parent is gone."""
        return self._early.popleft() if self._early else self._read()

    def ask(self, wanted: int) -> bool:
        """Ask for leave to move bytes and wait for it. False: the parent is gone."""
        if not self.shared:
            self.send(b"T", struct.pack("<I", wanted))
            return self._receive_grant()
        granted = threading.Event()
        with self._asking:
            self._waiting.append(granted)
            self.send(b"T", struct.pack("<I", wanted))
        granted.wait()
        return not self._gone

    def grant(self) -> None:
        """The parent has granted what was asked for first."""
        self._waiting.popleft().set()

    def give_up(self) -> None:
        """The parent is gone: nobody waits any more."""
        self._gone = True
        while self._waiting:
            self._waiting.popleft().set()

    def _receive_grant(self) -> bool:
        # Requests that come first wait their turn.
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

    def __init__(self, page: SharedPage, slot: int, channel: Channel, observer: Observer) -> None:
        self._page = page
        self._slot = slot
        self._channel = channel
        self._observer = observer

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
            with spent(self._observer, Activity.BANDWIDTH):
                granted = self._channel.ask(wanted)
            if not granted:
                raise SystemExit(1)
            check_not_stopped(self._page)
            remaining -= wanted


def main() -> None:
    """Entry point of a new interpreter: arguments as those of `serve`."""
    handle, page_handle, slot, parent = (int(text) for text in sys.argv[1:5])
    serve(handle, page_handle, slot, parent)


def serve(handle: int, page_handle: int, slot: int, parent: int) -> None:
    """Work until the socket ends: its and the page's descriptors, the slot number, the parent's process number."""
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
    try:
        if order.threads == 1:
            _work_alone(order, page, slot, channel)
        else:
            _work_in_threads(order, page, slot, channel)
    except RunnerError as error:
        channel.send(b"E", str(error).encode("utf-8", "replace"))
    except (BrokenPipeError, ConnectionResetError):
        raise SystemExit(1) from None


def _jobs(
    order: WorkOrder, page: SharedPage, slot: int, channel: Channel, registry: Registry, gate: Gate | None
) -> Jobs:
    """For the thread that calls it."""
    observer = page.observer(slot)
    return Jobs(
        order,
        registry,
        SystemClock(),
        WorkerThrottle(page, slot, channel, observer),
        lambda: page.stop_level > 0,
        f"worker-{slot}",
        GatedSeat(page, slot, gate, observer) if order.remote else None,
        observer,
    )


def _answer(jobs: Jobs, payload: bytes) -> bytes:
    """The payload of an answer frame for that of a request frame."""
    job, _, request = payload[_NUMBER.size :].partition(b"\n")
    return payload[: _NUMBER.size] + jobs.answer(job.decode("ascii"), request)


def _work_alone(order: WorkOrder, page: SharedPage, slot: int, channel: Channel) -> None:
    with _jobs(order, page, slot, channel, Registry(), None) as jobs:
        # What is imported and opened by now lives as long as the process: no collector need look at it.
        gc.freeze()
        gc.set_threshold(100_000, 20, 20)
        channel.send(b"H")
        while (frame := channel.receive()) is not None:
            page.set(slot, Cell.TAKEN, 1)
            answer = _answer(jobs, frame[1])
            page.set(slot, Cell.TAKEN, 0)
            if not order.remote:
                # Places that wait for nothing are not counted one by one.
                page.add(slot, Cell.OPERATIONS, answer.count(b"\n"))
            channel.send(b"A", answer)


def _working_threads(wanted: int) -> int:
    """How many threads there are descriptors for. The soft limit is raised as far as this user may: it is low for
    programs that call select(2), which none here does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted * DESCRIPTORS_A_THREAD
    if 0 <= soft < needed:
        soft = needed if hard < 0 else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return wanted if soft < 0 else max(1, min(wanted, soft // DESCRIPTORS_A_THREAD))


class _Threads:
    """The threads of a worker: as many as there is work for, `count` at most."""

    def __init__(self, order: WorkOrder, page: SharedPage, slot: int, channel: Channel) -> None:
        self._order = order
        self._page = page
        self._first = slot * order.threads
        self._channel = channel
        self._count = _working_threads(order.threads)
        self._gate = Gate(page, self._first)
        self._registry = Registry()
        # Both drivers are imported here, once: threads that import at the same time wait for one another.
        self._registry.driver(order.task.source.type)
        self._registry.driver(order.task.destination.type)
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._changing = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._unanswered = 0
        self._out_of_work = 0

    def take(self, payload: bytes) -> None:
        """A request: answered by a thread that has nothing to do, or by one more."""
        with self._changing:
            self._unanswered += 1
            working = len(self._threads) - self._out_of_work
            if working < self._unanswered and self._out_of_work == 0:
                self._start_one()
        self._waiting.put(payload)

    def end(self) -> None:
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join(5)

    def _start_one(self) -> None:
        if len(self._threads) < self._count:
            slot = self._first + len(self._threads)
            thread = threading.Thread(target=self._work, args=(slot,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self, slot: int) -> None:
        payload: bytes | None = None
        try:
            with _jobs(self._order, self._page, slot, self._channel, self._registry, self._gate) as jobs:
                while (payload := self._waiting.get()) is not None:
                    answer = _answer(jobs, payload)
                    with self._changing:
                        self._unanswered -= 1
                    self._channel.send(b"A", answer)
                    self._gate.rest()
        except RunnerError as error:
            self._leave(error)
            self._waiting.put(payload)
        except (BrokenPipeError, ConnectionResetError, SystemExit):
            return
        except BaseException:
            # A defect: the parent learns of it as of any worker that ended, and waits for no answer.
            traceback.print_exc()
            os._exit(1)

    def _leave(self, error: RunnerError) -> None:
        """A server may grant fewer connections than were asked for: then those that have one do the work, and no
        more are asked for. Where none has one, all are tried before this worker gives up."""
        with self._changing:
            self._out_of_work += 1
            if self._out_of_work < len(self._threads):
                return
            if len(self._threads) == self._count:
                self._channel.send(b"E", str(error).encode("utf-8", "replace"))
                os._exit(1)
            self._start_one()


def _work_in_threads(order: WorkOrder, page: SharedPage, slot: int, channel: Channel) -> None:
    threads = _Threads(order, page, slot, channel)
    channel.shared = True
    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    channel.send(b"H")
    while (frame := channel.receive()) is not None:
        if frame[0] == b"G":
            channel.grant()
        else:
            threads.take(frame[1])
    channel.give_up()
    threads.end()


if __name__ == "__main__":
    main()
