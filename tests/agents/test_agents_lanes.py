"""Executions that use one location: one limit for all of them, divided fairly."""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from agents.simulated_server import TICK_SECONDS, Server, best_rate, simulate

from runner.agents.concurrency import Bounds, Demand, Seen
from runner.agents.lanes import Lane, Own
from runner.agents.rows import ROWS, Row
from runner.testing.fake_clock import FakeClock

BOUNDS = Bounds(32, 128)
BUCKET = Demand("s3 s3://bucket/", BOUNDS)


class Execution:
    """A lane as the simulation steers it. Idle ones do not look."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.idle = False
        self._work = 0.0
        self._operations = self._refusals = 0

    @property
    def limit(self) -> int:
        return 0 if self.idle else self.lane.share

    def observe(self, seen: Seen) -> object:
        self._work += seen.work
        self._operations += seen.operations
        self._refusals += seen.refusals
        if not self.idle:
            self.lane.look(Own(self._work, self._operations, self._refusals, seen.taken))
        return None


def ticking(clock: FakeClock) -> Callable[[float], None]:
    return lambda now: clock.advance(TICK_SECONDS)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize(
    "server",
    [lambda: Server(0.02, 40, 0.02), lambda: Server(0.03, 1000, 0.02, rate=300)],
    ids=["of a capacity", "that refuses"],
)
def test_executions_share_a_server_fairly(tmp_path: Path, server: Callable[[], Server], count: int) -> None:
    clock, table = FakeClock(), str(tmp_path / "concurrency")
    executions = [Execution(Lane(BUCKET, table, clock)) for _ in range(count)]
    course = simulate(server(), executions, 60, ticking(clock))
    rates = [course.rate(20, 60, one) for one in range(count)]
    assert max(rates) <= 1.25 * min(rates)
    best = server().rate or best_rate(server)
    assert sum(rates) >= 0.8 * best


def test_who_comes_later_gets_an_equal_part_and_who_stays_gets_all(tmp_path: Path) -> None:
    clock, table = FakeClock(), str(tmp_path / "concurrency")
    first, second = Execution(Lane(BUCKET, table, clock)), Execution(Lane(BUCKET, table, clock))
    second.idle = True

    def tick(now: float) -> None:
        clock.advance(TICK_SECONDS)
        second.idle = not 30 <= now < 60

    course = simulate(Server(0.02, 40, 0.02), [first, second], 90, tick)
    alone, beside = course.rate(20, 30, 0), course.rate(45, 60, 0)
    assert beside == pytest.approx(course.rate(45, 60, 1), rel=0.2)
    assert beside == pytest.approx(alone / 2, rel=0.25)
    assert course.rate(75, 90, 0) == pytest.approx(alone, rel=0.15)


def test_the_next_goes_on_from_what_was_found(tmp_path: Path) -> None:
    """The one that runs the controller ends; the other keeps the limit, and soon has all of it."""
    clock, table = FakeClock(), str(tmp_path / "concurrency")
    first, second = Execution(Lane(BUCKET, table, clock)), Execution(Lane(BUCKET, table, clock))
    found: list[int] = []

    def tick(now: float) -> None:
        clock.advance(TICK_SECONDS)
        if now >= 30 and not first.idle:
            found.append(first.lane.limit)
            first.idle = True
            first.lane.close()

    simulate(Server(0.03, 1000, 0.005), [first, second], 30.5, tick)
    assert found == [128]
    assert second.lane.share == second.lane.limit == 128


def test_a_location_takes_no_more_from_all_together_than_it_is_said_to(tmp_path: Path) -> None:
    clock, table = FakeClock(), str(tmp_path / "concurrency")
    few = Demand("sftp nas", Bounds(8, 8))
    executions = [Execution(Lane(few, table, clock)) for _ in range(3)]
    course = simulate(Server(0.02, 40, 0.02), executions, 20, ticking(clock))
    late = course.limits[round(5 / TICK_SECONDS) :]
    assert max(sum(limits) for limits in late) <= 8
    assert min(min(limits) for limits in late) >= 1


def test_a_number_that_was_told_is_kept_and_seen_by_the_others(tmp_path: Path) -> None:
    clock, table = FakeClock(), str(tmp_path / "concurrency")
    told = Execution(Lane(Demand(BUCKET.name, Bounds(24, 128), fixed=True), table, clock))
    adapting = Execution(Lane(BUCKET, table, clock))
    course = simulate(Server(0.03, 1000, 0.02, rate=100), [told, adapting], 20, ticking(clock))
    # It was throttled all the time, and halves nothing: that was its wish.
    assert {limits[0] for limits in course.limits} == {24}
    assert course.limit_at(20, 1) <= 8


def test_other_locations_and_the_dead_do_not_count(tmp_path: Path) -> None:
    clock, table = FakeClock(), str(tmp_path / "concurrency")
    hungry = Own(0.0, 0, 0, 32.0)
    other = Lane(Demand("another", BOUNDS), table, clock)
    dead = Lane(BUCKET, table, clock)
    lane = Lane(BUCKET, table, clock)
    assert (other.look(hungry), dead.look(hungry), lane.look(hungry)) == (32, 16, 16)
    clock.advance(3.0)
    assert lane.look(hungry) == 32


def test_who_needs_little_leaves_the_rest(tmp_path: Path) -> None:
    clock, table = FakeClock(), str(tmp_path / "concurrency")
    modest, hungry = Lane(BUCKET, table, clock), Lane(BUCKET, table, clock)
    for _ in range(3):
        clock.advance(0.2)
        modest.look(Own(0.0, 0, 0, 4.0))
        hungry.look(Own(0.0, 0, 0, float(hungry.share)))
    assert (modest.share, hungry.share) == (6, 32 - 6)


def test_without_a_table_nobody_else_is_seen() -> None:
    clock = FakeClock()
    lane = Lane(BUCKET, None, clock)
    course = simulate(Server(0.03, 1000, 0.005), [Execution(lane)], 20, ticking(clock))
    assert course.limit_at(20) == 128
    lane.close()


def test_rows_are_taken_and_given_back(tmp_path: Path) -> None:
    clock, table = FakeClock(), str(tmp_path / "rows")
    rows = [Row(table, "dd", clock, (float(number), math.inf)) for number in range(3)]
    assert [row.number for row in rows] == [0, 1, 2]
    assert [values for _, _, values in rows[1].others()] == [(0.0, math.inf), (2.0, math.inf)]
    rows[0].close()
    assert [number for number, _, _ in rows[1].others()] == [2]
    again = Row(table, "dd", clock, (9.0, 9.0))
    assert again.number == 0
    for row in (*rows[1:], again):
        row.close()


def test_a_file_that_does_not_close_harms_nobody(tmp_path: Path) -> None:
    """What is in it is a courtesy to others: an execution that has done its work must not fail for it."""
    clock, table = FakeClock(), str(tmp_path / "rows")
    row, other = (Row(table, "d", clock, (0.0,)) for _ in range(2))
    os.close(row._handle)
    row.close()
    assert list(other.others()) == []
    other.close()


def test_a_full_table_is_said(tmp_path: Path) -> None:
    clock, table = FakeClock(), str(tmp_path / "rows")
    rows = [Row(table, "d", clock, (0.0,)) for _ in range(ROWS)]
    with pytest.raises(OSError, match="more than 256 executions"):
        Row(table, "d", clock, (0.0,))
    for row in rows:
        row.close()
