"""Quiet windows: by the clock on the wall, across midnight and changes of clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.model.automation import QuietWindow, ScheduleSettings
from runner.scheduling.quiet import covers_all
from runner.scheduling.timetable import Timetable, timetable_of

DAY = QuietWindow(8 * 60, 18 * 60)
NIGHT = QuietWindow(22 * 60, 6 * 60)
WORK = QuietWindow(8 * 60, 18 * 60, (0, 1, 2, 3, 4))
FRIDAY_NIGHT = QuietWindow(22 * 60, 6 * 60, (4,))
EVENING = QuietWindow(18 * 60, 0)


def quiet(*windows: QuietWindow, zone: str = "UTC") -> Timetable:
    return timetable_of(ScheduleSettings(every_seconds=60, timezone=zone, not_between=windows))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text + "Z")


@pytest.mark.parametrize(
    ("description", "timetable", "instant", "until"),
    [
        ("no windows", quiet(), "2026-11-23T12:00", "2026-11-23T12:00"),
        ("before it", quiet(DAY), "2026-11-23T07:59:59", "2026-11-23T07:59:59"),
        ("its first minute", quiet(DAY), "2026-11-23T08:00", "2026-11-23T18:00"),
        ("its last second", quiet(DAY), "2026-11-23T17:59:59", "2026-11-23T18:00"),
        ("its end", quiet(DAY), "2026-11-23T18:00", "2026-11-23T18:00"),
        ("before midnight", quiet(NIGHT), "2026-11-23T23:00", "2026-11-24T06:00"),
        ("after midnight", quiet(NIGHT), "2026-11-24T05:59", "2026-11-24T06:00"),
        ("until midnight", quiet(EVENING), "2026-11-23T23:59", "2026-11-24T00:00"),
        ("one after the other", quiet(DAY, EVENING), "2026-11-23T09:00", "2026-11-24T00:00"),
        ("overlapping", quiet(DAY, QuietWindow(17 * 60, 20 * 60)), "2026-11-23T17:30", "2026-11-23T20:00"),
        ("a working day", quiet(WORK), "2026-11-27T09:00", "2026-11-27T18:00"),
        ("a weekend", quiet(WORK), "2026-11-28T09:00", "2026-11-28T09:00"),
        ("begun on Friday", quiet(FRIDAY_NIGHT), "2026-11-28T03:00", "2026-11-28T06:00"),
        ("begun on Thursday", quiet(FRIDAY_NIGHT), "2026-11-27T03:00", "2026-11-27T03:00"),
        ("local time", quiet(DAY, zone="Asia/Tokyo"), "2026-11-23T00:00", "2026-11-23T09:00"),
        ("a short night", quiet(NIGHT, zone="Europe/Berlin"), "2026-03-28T21:00", "2026-03-29T04:00"),
        ("a long night", quiet(NIGHT, zone="Europe/Berlin"), "2026-10-24T20:00", "2026-10-25T05:00"),
        (
            "its end is skipped",
            quiet(QuietWindow(60, 150), zone="Europe/Berlin"),
            "2026-03-29T00:30",
            "2026-03-29T01:00",
        ),
        (
            "its end comes twice, so it comes twice",
            quiet(QuietWindow(60, 150), zone="Europe/Berlin"),
            "2026-10-25T01:00",
            "2026-10-25T01:30",
        ),
        (
            "a whole day that is skipped",
            quiet(QuietWindow(0, 1439, (4,)), zone="Pacific/Apia"),
            "2011-12-30T09:59",
            "2011-12-30T09:59",
        ),
        (
            "the day before a skipped day",
            quiet(QuietWindow(600, 540, (3,)), zone="Pacific/Apia"),
            "2011-12-30T09:59",
            "2011-12-30T10:00",
        ),
    ],
)
def test_windows(description: str, timetable: Timetable, instant: str, until: str) -> None:
    assert timetable.quiet_until(at(instant)) == at(until)
    assert (timetable.quiet(at(instant)) is not None) == (until != instant)


windows = st.lists(
    st.builds(
        QuietWindow,
        st.integers(0, 1439),
        st.integers(0, 1439),
        st.sets(st.integers(0, 6)).map(lambda days: tuple(sorted(days))),
    ),
    max_size=4,
)


@settings(deadline=None, max_examples=60)
@given(
    chosen=windows,
    zone=st.sampled_from(("UTC", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns")),
    start=st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
)
def test_quiet_hours_end_with_their_first_loud_minute(chosen, zone: str, start: datetime) -> None:
    timetable = quiet(*chosen, zone=zone)
    end = timetable.quiet_until(start)
    assert end >= start
    minute = start.replace(second=0, microsecond=0) + timedelta(minutes=1)
    if end > start:
        assert timetable.quiet(start) is not None
        while minute < min(end, start + timedelta(days=1)):
            assert timetable.quiet(minute) is not None
            minute += timedelta(minutes=1)
    assert timetable.quiet(end) is None or covers_all(chosen)


@pytest.mark.parametrize(
    ("chosen", "all_of_it"),
    [
        ((), False),
        ((DAY,), False),
        ((QuietWindow(0, 720), QuietWindow(720, 0)), True),
        ((QuietWindow(0, 720), QuietWindow(721, 0)), False),
        ((QuietWindow(60, 60),), True),
        ((QuietWindow(60, 60, (0, 1, 2, 3, 4, 5)),), False),
        ((QuietWindow(60, 60, (0, 1, 2, 3, 4, 5)), QuietWindow(60, 60, (6,))), True),
    ],
)
def test_whether_any_minute_is_left(chosen: tuple[QuietWindow, ...], all_of_it: bool) -> None:
    assert covers_all(chosen) == all_of_it
