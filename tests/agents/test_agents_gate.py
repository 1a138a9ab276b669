"""Places of a worker's threads: as many as are granted, no more bytes than go with them, and nobody waits for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from runner.agents.gate import FILE_BYTES, PLACE_BYTES, Gate, GatedSeat
from runner.agents.shared import DRAIN, Cell, SharedPage
from runner.agents.steering import LOOK_EVERY_SECONDS, OPERATION_BYTES, Steering
from runner.testing.fake_clock import FakeClock


@pytest.fixture
def page() -> Iterator[SharedPage]:
    page = SharedPage(slots=8)
    yield page
    page.close()


class Worker:
    """A thread that enters, tells, and leaves when it is let go."""

    def __init__(self, enter: Callable[[], None], leave: Callable[[], None]) -> None:
        self.entered, self.go, self.left = threading.Event(), threading.Event(), threading.Event()
        self._enter, self._leave = enter, leave
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        self._enter()
        self.entered.set()
        self.go.wait()
        self._leave()
        self.left.set()

    def end(self) -> None:
        self.go.set()
        self._thread.join(10)
        assert not self._thread.is_alive()


def seat_of(page: SharedPage, slot: int, gate: Gate, size_bytes: int) -> Worker:
    seat = GatedSeat(page, slot, gate)
    return Worker(lambda: seat.enter(size_bytes), seat.leave)


def test_no_more_than_are_granted_work_at_once(page: SharedPage) -> None:
    gate = Gate(page, 0)
    page.set(0, Cell.PLACES, 2)
    workers = [seat_of(page, slot, gate, 0) for slot in range(3)]
    inside = [worker for worker in workers if worker.entered.wait(1)]
    assert len(inside) == 2
    assert page.total(Cell.TAKEN) == 2
    waiting = next(worker for worker in workers if worker not in inside)
    inside[0].go.set()
    assert waiting.entered.wait(10)
    for worker in workers:
        worker.end()
    assert (page.total(Cell.TAKEN), page.total(Cell.OPERATIONS)) == (0, 3)


def test_places_that_are_added_are_noticed(page: SharedPage) -> None:
    gate = Gate(page, 0)
    page.set(0, Cell.PLACES, 1)
    workers = [seat_of(page, slot, gate, 0) for slot in range(2)]
    assert sum(worker.entered.wait(0.5) for worker in workers) == 1
    page.set(0, Cell.PLACES, 2)
    assert all(worker.entered.wait(10) for worker in workers)
    for worker in workers:
        worker.end()


def test_large_files_are_bounded_by_their_bytes(page: SharedPage) -> None:
    """Four places are worth two files of which each has as much in flight as a file may have."""
    gate = Gate(page, 0)
    page.set(0, Cell.PLACES, 4)
    large = 1 << 40
    assert 4 * PLACE_BYTES == 2 * FILE_BYTES
    workers = [seat_of(page, slot, gate, large) for slot in range(3)]
    inside = [worker for worker in workers if worker.entered.wait(0.5)]
    assert len(inside) == 2
    small = seat_of(page, 3, gate, 0)
    assert small.entered.wait(10)
    for worker in (*inside, *workers, small):
        worker.end()


def test_the_first_enters_however_large_it_is(page: SharedPage) -> None:
    gate = Gate(page, 0)
    page.set(0, Cell.PLACES, 1)
    worker = seat_of(page, 0, gate, 1 << 40)
    assert worker.entered.wait(10)
    worker.end()


def test_nobody_waits_where_everything_stops(page: SharedPage) -> None:
    gate = Gate(page, 0)
    worker = seat_of(page, 0, gate, 0)
    assert not worker.entered.wait(0.3)
    page.stop_level = DRAIN
    assert worker.entered.wait(10)
    worker.end()


def test_refusals_are_counted(page: SharedPage) -> None:
    """Whoever tells of them: parts of one file come from several threads."""
    observer = page.observer(2)
    observer.away()
    teller = threading.Thread(target=observer.away)
    teller.start()
    teller.join()
    assert (page.total(Cell.REFUSALS), page.get(2, Cell.REFUSALS)) == (2, 2)


class _Lane:
    def __init__(self, shares: list[int]) -> None:
        self.share = shares[0]
        self._shares = iter(shares[1:])
        self.seen: list[object] = []

    def look(self, own: object) -> int:
        self.seen.append(own)
        self.share = next(self._shares, self.share)
        return self.share

    def close(self) -> None:
        self.share = 0


def test_steering_tells_the_lanes_what_was_done_and_the_pool_what_may_be(page: SharedPage) -> None:
    clock = FakeClock()
    wide, narrow = _Lane([32, 48, 48]), _Lane([40, 40, 12])
    allowed: list[int] = []
    steering = Steering([wide, narrow], page, allowed.append, clock)  # type: ignore[list-item]
    assert steering.places == 32
    page.add(0, Cell.OPERATIONS, 3)
    page.add(1, Cell.BYTES, 500)
    page.add(1, Cell.REFUSALS, 1)
    page.set(0, Cell.TAKEN, 1)
    for _ in range(round(2 * LOOK_EVERY_SECONDS / 0.1)):
        clock.advance(0.1)
        steering.look()
        steering.look()
    assert allowed == [40, 12]
    told = steering.told()
    assert (told.began, told.least, told.most, told.ended, told.adapted) == (32, 12, 40, 12, True)
    assert (told.refusals, steering.places) == (1, 12)
    own = wide.seen[0]
    assert (own.work, own.operations, own.refusals, own.taken) == (500.0 + 3 * OPERATION_BYTES, 3, 1, 1.0)  # type: ignore[attr-defined]
    steering.close()
    assert (wide.share, narrow.share) == (0, 0)
