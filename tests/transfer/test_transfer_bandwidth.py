"""Bandwidth: never more than the rate over any time, and the limit that holds at an instant of local time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.agents.inline import InlineThrottle
from runner.agents.limits import Bandwidth
from runner.agents.shared import DRAIN, STOP, SharedPage
from runner.errors import EntryCode, EntryError
from runner.model.task import BandwidthWindow, TaskOptions
from runner.testing.fake_clock import FakeClock
from runner.transfer.bandwidth import BURST_SECONDS, TokenBucket, limit_at, remaining_wait

MIB = 1 << 20
BERLIN = ZoneInfo("Europe/Berlin")


@settings(deadline=None)
@given(
    st.integers(1, 10_000),
    st.lists(st.tuples(st.integers(1, 5_000), st.floats(0, 3)), min_size=1, max_size=40),
)
def test_never_more_than_rate_times_time_plus_burst(rate: int, chunks: list[tuple[int, float]]) -> None:
    """Over every span between two moments at which bytes moved; the first chunk of a span is in debt."""
    bucket = TokenBucket(rate, 0.0)
    now = 0.0
    moved: list[tuple[float, int]] = []
    for size, pause in chunks:
        now += pause
        now += bucket.take(size, now)
        moved.append((now, size))
    for first in range(len(moved)):
        total = 0
        for last in range(first, len(moved)):
            since = moved[last][0] - moved[first][0]
            # What the last chunk owes is paid by the one after it.
            assert total <= rate * (since + BURST_SECONDS) + 1e-6 * rate
            total += moved[last][1]


@settings(deadline=None)
@given(st.integers(1, 1000), st.lists(st.integers(1, 100), min_size=1, max_size=50))
def test_a_busy_taker_gets_all_of_the_rate(rate: int, chunks: list[int]) -> None:
    bucket = TokenBucket(rate, 0.0)
    now = 0.0
    for size in [*chunks, 1]:
        now += bucket.take(size, now)
    assert now == pytest.approx(sum(chunks) / rate)


def test_unlimited_waits_for_nobody() -> None:
    bucket = TokenBucket(None, 0.0)
    assert [bucket.take(10 * MIB, 0.0) for _ in range(3)] == [0.0, 0.0, 0.0]


CHANGES = [
    ("faster: what is owed is paid sooner", 100, 1000, 0.1),
    ("slower: what is owed takes no longer", 1000, 100, 0.1),
    ("as before", 100, 100, 1.0),
]


@pytest.mark.parametrize(
    ("before", "after", "expected"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES]
)
def test_a_changed_rate(before: int, after: int, expected: float) -> None:
    bucket = TokenBucket(before, 0.0)
    assert bucket.take(100, 0.0) == 0.0
    bucket.set_rate(after, 0.0)
    assert bucket.rate == after
    assert bucket.take(1, 0.0) == pytest.approx(expected)


WAITS = [
    ("ten times as fast", 100, 1000, 0.5),
    ("half as fast", 100, 50, 5.0),
    ("lifted", 100, None, 0.0),
    ("newly limited", None, 100, 5.0),
]


@pytest.mark.parametrize(
    ("before", "after", "expected"), [case[1:] for case in WAITS], ids=[case[0] for case in WAITS]
)
def test_what_is_left_of_a_wait(before: int | None, after: int | None, expected: float) -> None:
    assert remaining_wait(5.0, before, after) == pytest.approx(expected)


def test_a_lifted_limit_ends_a_wait_in_this_process() -> None:
    clock, page = FakeClock(), SharedPage()
    wanted: list[int | None] = [None]
    bandwidth = Bandwidth(options(window(10)), clock, lambda: wanted[0])
    ticks = []

    def tick() -> None:
        ticks.append(clock.monotonic())
        if len(ticks) == 8:
            wanted[0] = 0

    throttle = InlineThrottle(page, bandwidth, clock, tick)
    throttle.take(10_000)
    began = clock.monotonic()
    throttle.take(1)
    assert clock.monotonic() - began < 5
    page.close()


def test_a_lifted_limit_lets_all_pass_and_a_new_one_starts_afresh() -> None:
    bucket = TokenBucket(100, 0.0)
    bucket.take(10_000, 0.0)
    bucket.set_rate(None, 0.0)
    assert bucket.take(MIB, 0.0) == 0.0
    bucket.set_rate(100, 5.0)
    assert bucket.take(100, 5.0) == 0.0
    assert bucket.take(1, 5.0) == pytest.approx(1.0)


def test_nothing_is_saved_up_while_idle() -> None:
    bucket = TokenBucket(100, 0.0)
    assert bucket.take(int(100 * BURST_SECONDS), 1000.0) == 0.0
    assert bucket.take(100, 1000.0) == 0.0
    assert bucket.take(1, 1000.0) == pytest.approx(1.0)


def window(limit: int | None, start: str | None = None, end: str | None = None) -> BandwidthWindow:
    def minutes(text: str | None) -> int | None:
        return None if text is None else int(text[:2]) * 60 + int(text[3:])

    return BandwidthWindow(limit, minutes(start), minutes(end))


OFFICE = (window(20, "08:00", "19:00"), window(None))
NIGHT = (window(5, "22:00", "06:00"), window(50))
LUNCH = (window(1, "12:00", "13:00"), *OFFICE)
ALL_DAY = (window(7, "00:00", "00:00"),)

WINDOWS = [
    ("no windows", (), "2026-03-01T12:00", None),
    ("inside", OFFICE, "2026-03-01T12:00", 20),
    ("at its first minute", OFFICE, "2026-03-01T08:00", 20),
    ("a second before", OFFICE, "2026-03-01T07:59:59", None),
    ("its last second", OFFICE, "2026-03-01T18:59:59", 20),
    ("at its end", OFFICE, "2026-03-01T19:00", None),
    ("outside, the window without hours", NIGHT, "2026-03-01T12:00", 50),
    ("before midnight", NIGHT, "2026-03-01T23:59:59", 5),
    ("at midnight", NIGHT, "2026-03-02T00:00", 5),
    ("after midnight", NIGHT, "2026-03-02T05:59:59", 5),
    ("at the end after midnight", NIGHT, "2026-03-02T06:00", 50),
    ("the first window that holds it decides", LUNCH, "2026-03-01T12:30", 1),
    ("and no other one", LUNCH, "2026-03-01T13:00", 20),
    ("from midnight to midnight is all day", ALL_DAY, "2026-03-01T00:00", 7),
    ("to its last minute", ALL_DAY, "2026-03-01T23:59", 7),
    # Clocks go forward at 02:00 on 29 March 2026, and back at 03:00 on 25 October.
    ("summer time: eight o'clock is an hour earlier", OFFICE, "2026-03-29T08:00", 20),
    ("the hour that does not exist", (window(3, "02:00", "03:00"), window(9)), "2026-03-29T03:00", 9),
    ("across the hour that does not exist", (window(3, "01:30", "03:30"), window(9)), "2026-03-29T03:15", 3),
    ("across the hour that comes twice", (window(3, "02:30", "03:00"), window(9)), "2026-10-25T02:45", 3),
]


@pytest.mark.parametrize(
    ("windows", "local", "expected"), [case[1:] for case in WINDOWS], ids=[case[0] for case in WINDOWS]
)
def test_the_limit_in_force(windows: tuple[BandwidthWindow, ...], local: str, expected: int | None) -> None:
    now = datetime.fromisoformat(local).replace(tzinfo=BERLIN).astimezone(UTC)
    assert limit_at(windows, now, BERLIN) == expected


def test_the_hour_that_comes_twice_is_limited_twice() -> None:
    windows = (window(3, "02:30", "03:00"), window(9))
    start = datetime(2026, 10, 25, 0, 0, tzinfo=UTC)
    limits = [limit_at(windows, start + timedelta(minutes=30 * step), BERLIN) for step in range(5)]
    # 02:00 and 02:30 in summer time, 02:00 and 02:30 in winter time, 03:00.
    assert limits == [9, 3, 9, 3, 9]


def options(*windows: BandwidthWindow) -> TaskOptions:
    return TaskOptions(bandwidth=windows, bandwidth_timezone="Europe/Berlin")


def test_the_timetable_is_followed_while_running() -> None:
    clock = FakeClock(datetime(2026, 3, 2, 17, 59, 30, tzinfo=UTC))
    bandwidth = Bandwidth(options(*OFFICE), clock)
    assert bandwidth.limited
    bandwidth.take(20)
    assert bandwidth.take(20) == pytest.approx(1.0)
    clock.advance(31)
    assert not bandwidth.limited
    assert bandwidth.take(MIB) == 0.0


def test_an_override_wins_within_a_second_and_zero_lifts_the_limit() -> None:
    clock = FakeClock()
    wanted: list[int | None] = [None]
    bandwidth = Bandwidth(options(window(100)), clock, lambda: wanted[0])
    assert bandwidth.take(100) == 0.0
    wanted[0] = 0
    clock.advance(1.0)
    assert not bandwidth.limited
    wanted[0] = 10
    clock.advance(1.0)
    assert bandwidth.take(10) == 0.0
    assert bandwidth.take(1) == pytest.approx(1.0)
    wanted[0] = None
    clock.advance(1.0)
    assert bandwidth.limited


def test_a_task_without_limit_can_be_limited() -> None:
    assert not Bandwidth(TaskOptions(), FakeClock()).limited
    assert Bandwidth(TaskOptions(), FakeClock(), lambda: 5).limited


@pytest.mark.parametrize("level", [0, DRAIN, STOP])
def test_waiting_in_this_process_ends_when_everything_stops(level: int) -> None:
    clock, page = FakeClock(), SharedPage()
    throttle = InlineThrottle(page, Bandwidth(options(window(10)), clock), clock, lambda: None)
    throttle.take(100)
    looks = []

    def press_control_c() -> None:
        looks.append(clock.monotonic())
        if len(looks) == 3:
            page.stop_level = level

    throttle = InlineThrottle(page, Bandwidth(options(window(10)), clock), clock, press_control_c)
    throttle.take(100)
    began = clock.monotonic()
    if level == STOP:
        with pytest.raises(EntryError) as stopped:
            throttle.take(1)
        assert stopped.value.entry_code is EntryCode.CANCELLED
        assert clock.monotonic() - began < 1
    else:
        throttle.take(1)
        assert clock.monotonic() - began == pytest.approx(10.0)
        assert page.bytes_moved(1) == 201
    page.close()
