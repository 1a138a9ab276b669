"""A pool of local worker processes, driven by one thread: no locks, no queues, nothing shared but one page.

Each worker has one socket pair. How many places there are in all (processes, or threads of them) is told while they
work: `allow`. Few requests wait at a worker, so a slow one does not hoard: two, or where it works in threads, half as many
again as it has places. A worker that dies takes nothing with it but the requests it held: those fail, the others go on.
"""

from __future__ import annotations

import selectors
import socket
import struct
import subprocess
from collections.abc import Callable, Iterable, Iterator

from runner.agents.jobs import WorkOrder
from runner.agents.limits import Bandwidth
from runner.agents.orders import encode_order
from runner.agents.processes import WorkerProcess, forked, spawned
from runner.agents.shared import Cell, SharedPage
from runner.clock import Clock
from runner.errors import LocationUnavailableError
from runner.locations.observer import NOBODY, Observer, spent
from runner.model.activity import Activity
from runner.transfer.bandwidth import remaining_wait

_NUMBER = struct.Struct("<I")
TICK_SECONDS = 0.1


class _Worker:
    def __init__(self, slot: int, process: WorkerProcess, connection: socket.socket) -> None:
        self.slot = slot
        self.process = process
        self.connection = connection
        self.received = bytearray()
        self.to_send = bytearray()
        self.requests: list[int] = []
        self.ready = False
        self.places = 0


class WorkerPool:
    """Worker processes for one execution. Start it early: they get ready while the listing runs."""

    # Eight public methods and properties: what a crew asks of workers, and what steers them.

    def __init__(
        self,
        order: WorkOrder,
        size: int,
        page: SharedPage,
        bandwidth: Bandwidth,
        clock: Clock,
        on_tick: Callable[[], None],
        *,
        places: int | None = None,
        forks: bool = False,
        observer: Observer = NOBODY,
    ) -> None:
        """Begins with `size` processes and `places`; None = as many as they have threads. `forks`: workers begin as
        copies of this process; for locations of this machine only (see processes.py). `observer`: of the thread that
        drives it; hears when that waits for workers."""
        self._forks = forks
        self._observer = observer
        self._order = encode_order(order)
        self._threads = order.threads
        self._page = page
        self._bandwidth = bandwidth
        self._clock = clock
        self._on_tick = on_tick
        self._selector = selectors.DefaultSelector()
        self._grants: list[tuple[float, _Worker]] = []
        self._rate = bandwidth.rate
        self._started = 0
        self._workers: list[_Worker] = []
        self._lost = False
        self._places = size * order.threads if places is None else places
        self._start_up_to(size)
        self._share_out()

    @property
    def slots(self) -> int:
        """How many records of the shared page its workers have used."""
        return self._started * self._threads

    def allow(self, places: int) -> None:
        """So many threads of all processes may work at once from now on, at least one; processes are started as they
        are needed. What is being worked on goes on: only nothing new is begun while more are at it."""
        self._places = max(1, places)
        self._start_up_to(-(-self._places // self._threads))
        self._share_out()

    def _start_up_to(self, processes: int) -> None:
        # One that was lost (out of memory?) is not replaced, nor are there more of them then.
        while self._started < min(processes, self._page.slots // self._threads) and not self._lost:
            self._workers.append(self._start(self._started))
            self._started += 1

    def _share_out(self) -> None:
        """Places go evenly to all workers. One that holds requests keeps one place until it is done with them."""
        left, workers = self._places, len(self._workers)
        for number, worker in enumerate(self._workers):
            worker.places = min(self._threads, -(-left // (workers - number)))
            left -= worker.places
            granted = max(worker.places, 1 if worker.requests else 0)
            self._page.set(worker.slot * self._threads, Cell.PLACES, granted)

    def _room(self, worker: _Worker) -> int:
        """How many requests it may hold."""
        if self._threads == 1:
            return 2 if worker.places else 0
        return worker.places + (worker.places + 1) // 2

    def run(self, job: str, requests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        """Answers as they come. A request whose worker died is answered with b'' and nothing else; so are all
        that follow when no worker is left.

        Raises LocationUnavailableError when the workers cannot open the locations.
        """
        source = enumerate(requests)
        exhausted = False
        head = job.encode("ascii") + b"\n"
        answers: list[tuple[int, bytes]] = []
        try:
            while True:
                while not exhausted and (worker := self._idlest()) is not None:
                    following = next(source, None)
                    if following is None:
                        exhausted = True
                        break
                    number, request = following
                    worker.requests.append(number)
                    self._queue(worker, b"R", _NUMBER.pack(number) + head + request)
                if exhausted and not any(worker.requests for worker in self._workers):
                    return
                if not self._workers:
                    # Nobody is left to do it. Each request is answered, so that whoever counts can count.
                    yield from ((number, b"") for number, _ in source)
                    return
                self._wait(answers)
                yield from answers
                answers.clear()
        finally:
            # Whoever loses interest leaves no answers behind for the next job.
            while any(worker.requests for worker in self._workers):
                self._wait([])

    def ready(self, wait: bool = False) -> bool:
        """True once every worker has said that it is there. `wait`: until that is so, or none is left."""
        while True:
            if all(worker.ready for worker in self._workers):
                return True
            for key, _ in self._selector.select(None if wait else 0):
                self._read(key.data, [])
            if not wait:
                return all(worker.ready for worker in self._workers)

    def close(self) -> None:
        """End the workers: they leave when their socket ends. Waits for each."""
        for worker in self._workers:
            self._selector.unregister(worker.connection)
            worker.connection.close()
        for worker in self._workers:
            try:
                worker.process.wait(10)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
        self._workers = []
        self._selector.close()

    # -- the loop ------------------------------------------------------------------------------------------

    def _start(self, slot: int) -> _Worker:
        ours, theirs = socket.socketpair()
        process = (forked if self._forks else spawned)(theirs, self._page, slot)
        theirs.close()
        ours.setblocking(False)
        worker = _Worker(slot, process, ours)
        self._selector.register(ours, selectors.EVENT_READ, worker)
        self._queue(worker, b"O", self._order)
        return worker

    def _idlest(self) -> _Worker | None:
        """The worker with the fewest waiting requests, None when all have enough."""
        free = [worker for worker in self._workers if len(worker.requests) < self._room(worker)]
        return min(free, key=lambda worker: (len(worker.requests), worker.slot), default=None)

    def _queue(self, worker: _Worker, frame_type: bytes, payload: bytes) -> None:
        worker.to_send += frame_type + struct.pack("<I", len(payload)) + payload
        self._flush(worker)

    def _flush(self, worker: _Worker) -> None:
        while worker.to_send:
            try:
                sent = worker.connection.send(worker.to_send)
            except BlockingIOError:
                break
            except (BrokenPipeError, ConnectionResetError):
                return
            del worker.to_send[:sent]
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.to_send else 0)
        self._selector.modify(worker.connection, events, worker)

    def _wait(self, answers: list[tuple[int, bytes]]) -> None:
        timeout = TICK_SECONDS
        now = self._clock.monotonic()
        before, self._rate = self._rate, self._bandwidth.rate
        self._page.limited = self._rate is not None
        if before != self._rate:
            self._grants = [
                (now + remaining_wait(at - now, before, self._rate), worker) for at, worker in self._grants
            ]
        if self._grants:
            timeout = max(0.0, min(timeout, min(at for at, _ in self._grants) - now))
        with spent(self._observer, Activity.IDLE):
            selected = self._selector.select(timeout)
        for key, events in selected:
            worker: _Worker = key.data
            if events & selectors.EVENT_WRITE:
                self._flush(worker)
            if events & selectors.EVENT_READ:
                self._read(worker, answers)
        self._grant()
        self._on_tick()

    def _grant(self) -> None:
        if not self._grants:
            return
        now = self._clock.monotonic()
        stopped = self._page.stop_level > 1
        waiting = []
        for at, worker in self._grants:
            if at <= now or stopped:
                self._queue(worker, b"G", b"")
            else:
                waiting.append((at, worker))
        self._grants = waiting

    def _read(self, worker: _Worker, answers: list[tuple[int, bytes]]) -> None:
        try:
            chunk = worker.connection.recv(1 << 18)
        except BlockingIOError:
            return
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self._lose(worker, answers)
            return
        worker.received += chunk
        while len(worker.received) >= 5:
            (length,) = struct.unpack_from("<I", worker.received, 1)
            if len(worker.received) < 5 + length:
                break
            frame_type = bytes(worker.received[:1])
            payload = bytes(worker.received[5 : 5 + length])
            del worker.received[: 5 + length]
            self._take(worker, frame_type, payload, answers)

    def _take(
        self, worker: _Worker, frame_type: bytes, payload: bytes, answers: list[tuple[int, bytes]]
    ) -> None:
        if frame_type == b"A":
            (number,) = _NUMBER.unpack_from(payload)
            worker.requests.remove(number)
            answers.append((number, payload[_NUMBER.size :]))
        elif frame_type == b"T":
            (wanted,) = struct.unpack("<I", payload)
            self._grants.append((self._clock.monotonic() + self._bandwidth.take(wanted), worker))
        elif frame_type == b"H":
            worker.ready = True
        elif frame_type == b"E":
            raise LocationUnavailableError(payload.decode("utf-8", "replace"))

    def _lose(self, worker: _Worker, answers: list[tuple[int, bytes]]) -> None:
        """A worker's socket ended: what it held is answered with nothing."""
        self._selector.unregister(worker.connection)
        worker.connection.close()
        worker.process.wait()
        self._workers.remove(worker)
        self._lost = True
        self._share_out()
        self._grants = [(at, other) for at, other in self._grants if other is not worker]
        answers.extend((number, b"") for number in worker.requests)
