"""The DST rule in every time zone, against an oracle that watches the clock."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta
from functools import cache
from math import gcd
from typing import NamedTuple
from zoneinfo import ZoneInfo

import pytest
from scheduling_oracle import DAY, HOUR, changes, cron_matches, due, plainly_due, watch

from runner.model.automation import ScheduleSettings
from runner.scheduling.timetable import Timetable, timetable_of

SECOND = timedelta(seconds=1)
DAILY = ("30 2 * * *", [(2, 30)]), ("0 0,12 */2 * mon-fri", [(0, 0), (12, 0)])
AROUND = (
    "*/20 * * * *",
    "0 * * * *",
    "15 0-3,22,23 * * *",
    "59 1 * * *",
    "0,30 0,2 1-15 * sun",
    "1 3 28-31 3,10 fri,sat",
)
NIGHTS = "*/10 0-6,23 * * *"
# Where clocks did something odd: name, the change, what it was.
ODD = [
    ("Pacific/Apia", "2011-12-30", "a whole day skipped, over the date line"),
    ("Pacific/Fakaofo", "2011-12-30", "a whole day skipped, over the date line"),
    ("Pacific/Kwajalein", "1993-08-21", "a whole day skipped, over the date line"),
    ("Pacific/Enderbury", "1994-12-31", "a whole day skipped, over the date line"),
    ("America/Juneau", "1867-10-18", "a whole day repeated, over the date line"),
    ("Asia/Manila", "1844-12-31", "a whole day skipped, with seconds in the offset"),
    ("Australia/Lord_Howe", "2026-10-03", "half an hour forward"),
    ("Australia/Lord_Howe", "2026-04-04", "half an hour back"),
    ("Antarctica/Troll", "2026-03-29", "two hours forward"),
    ("Antarctica/Troll", "2026-10-25", "two hours back"),
    ("America/Caracas", "2007-12-09", "half an hour back, for good"),
    ("Asia/Pyongyang", "2018-05-04", "half an hour forward, for good"),
    ("Asia/Kathmandu", "1985-12-31", "a quarter of an hour"),
    ("Africa/Monrovia", "1972-01-07", "44 minutes and 30 seconds"),
    ("Europe/Amsterdam", "1937-07-01", "28 seconds"),
    ("Africa/Freetown", "1939-09-01", "20 minutes, forth and back within four days"),
    ("America/Godthab", "2024-03-31", "at 23:00, into the next day"),
    ("America/Sao_Paulo", "2018-11-04", "midnight skipped"),
    ("Africa/Casablanca", "2026-02-15", "backwards for Ramadan"),
    ("Europe/Dublin", "2026-03-29", "summer is standard time there"),
    ("Antarctica/Casey", "2010-03-04", "three hours back"),
    ("Asia/Gaza", "2040-10-20", "four changes in an autumn"),
]


def timetable(text: str, zone: str) -> Timetable:
    return timetable_of(ScheduleSettings(cron=text, timezone=zone))


@pytest.mark.parametrize(("zone", "day", "what"), ODD, ids=[f"{zone} {day}" for zone, day, _ in ODD])
def test_where_clocks_did_something_odd(zone: str, day: str, what: str) -> None:
    there, middle = ZoneInfo(zone), datetime.fromisoformat(day + "T12:00Z")
    change = next(changes(there, middle - 2 * DAY, middle + 2 * DAY))
    start, end = change - 30 * HOUR, change + 30 * HOUR
    watched = list(watch(there, start, end, _step(there, start, end)))
    for text in (*AROUND, "* * * * *", "30 12 * * *"):
        assert list(timetable(text, zone).between(start, end)) == due(cron_matches(text), watched), text


@pytest.mark.parametrize(
    "zone",
    ["Europe/Berlin", "America/New_York", "Asia/Kolkata", "Africa/El_Aaiun", "Pacific/Chatham", "UTC"],
)
def test_two_years_of_some_zones(zone: str) -> None:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    _compare(zone, start, datetime(2028, 1, 1, tzinfo=UTC))


@pytest.mark.slow
def test_ten_years_of_every_zone() -> None:
    start, end = datetime(2021, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)
    zones = sorted(zoneinfo.available_timezones())
    assert len(zones) > 400
    for zone in zones:
        _compare(zone, start, end)


@pytest.mark.slow
def test_every_change_of_sixty_years() -> None:
    start, end, compared = datetime(1970, 1, 1, tzinfo=UTC), datetime(2030, 1, 1, tzinfo=UTC), 0
    # A third of the names: most share their past with a neighbour.
    for zone in sorted(zoneinfo.available_timezones())[::3]:
        for low, high, expected in _expected_at_changes(_behaviour(zone, start, end, 12 * HOUR)):
            compared += 1
            assert list(timetable(NIGHTS, zone).between(low, high)) == expected, (zone, low)
    assert compared > 3_000


def _compare(zone: str, start: datetime, end: datetime) -> None:
    """Times of day over the whole time; dense expressions around every change."""
    daily, around = _expected(_behaviour(zone, start, end), start, end)
    for text, expected in daily:
        assert list(timetable(text, zone).between(start, end)) == expected, (zone, text)
    for text, low, high, expected in around:
        assert list(timetable(text, zone).between(low, high)) == expected, (zone, text, low)


class Behaviour(NamedTuple):
    """How clocks behave for some years. Names of zones with the same behaviour have the same slots."""

    offset: timedelta | None
    changes: tuple[tuple[datetime, timedelta | None], ...]
    name: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Behaviour) and self[:2] == other[:2]

    def __hash__(self) -> int:
        return hash(self[:2])


def _behaviour(name: str, start: datetime, end: datetime, step: timedelta = HOUR) -> Behaviour:
    zone = ZoneInfo(name)
    moments = tuple((at, at.astimezone(zone).utcoffset()) for at in changes(zone, start, end, step))
    return Behaviour(start.astimezone(zone).utcoffset(), moments, name)


@cache
def _expected(
    behaviour: Behaviour, start: datetime, end: datetime
) -> tuple[list[tuple[str, list[datetime]]], list[tuple[str, datetime, datetime, list[datetime]]]]:
    """(per text: all slots; per text and window around a change: the slots)."""
    there = ZoneInfo(behaviour.name)
    windows = [(max(start, at - 30 * HOUR), min(end, at + 30 * HOUR)) for at, _ in behaviour.changes]
    watched = [list(watch(there, low, high)) for low, high in windows]
    daily, around = [], []
    for text, times in DAILY:
        matches = cron_matches(text)
        expected = set(plainly_due(matches, there, times, start, end))
        for (low, high), seen in zip(windows, watched, strict=True):
            expected = {at for at in expected if not low < at <= high}.union(due(matches, seen))
        daily.append((text, sorted(expected)))
    for text in AROUND:
        matches = cron_matches(text)
        around += [(text, *window, due(matches, seen)) for window, seen in zip(windows, watched, strict=True)]
    return daily, around


@cache
def _expected_at_changes(behaviour: Behaviour) -> list[tuple[datetime, datetime, list[datetime]]]:
    """(window around a change, the slots of NIGHTS in it) for every change."""
    there, matches, found = ZoneInfo(behaviour.name), cron_matches(NIGHTS), []
    offset = behaviour.offset or timedelta()
    for at, changed in behaviour.changes:
        assert changed is not None
        # The change lies in the twelve hours before `at`; what it moves lies as far from it as clocks are moved.
        reach = abs(changed - offset) + 8 * HOUR
        low, high, offset = at - 12 * HOUR - reach, at + reach, changed
        found.append((low, high, due(matches, watch(there, low, high, _step(there, low, high)))))
    return found


def _step(zone: ZoneInfo, *instants: datetime) -> timedelta:
    """The longest step that meets every full minute of local time: shorter than one where offsets have seconds."""
    seconds = 60
    for instant in instants:
        offset = instant.astimezone(zone).utcoffset()
        assert offset is not None
        seconds = gcd(seconds, int(offset.total_seconds()))
    return seconds * SECOND
