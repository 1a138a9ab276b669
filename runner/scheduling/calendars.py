"""Calendars: which local times come, whatever the clocks of a place do then. Local times are naive, to the minute."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from datetime import MAXYEAR, datetime, timedelta
from typing import Protocol

import msgspec

_MINUTE = timedelta(minutes=1)
YEARS_AHEAD = 400
"""The Gregorian calendar repeats after so many years: what has not come by then never will."""
_COMMON_LENGTHS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SATURDAY, _SUNDAY = 5, 6


class Calendar(Protocol):
    """Local times, to the minute."""

    def next_local(self, after: datetime) -> datetime | None:
        """The first one strictly after `after` (naive); None when there is none."""
        ...


class DayRule(Protocol):
    """Which days of a month fit. Weekdays are counted from Monday = 0."""

    def of_month(self, first_weekday: int, length: int) -> tuple[int, ...]:
        """The days of a month of that length that starts on that weekday, ascending."""
        ...


class CronDays(msgspec.Struct, frozen=True):
    """cron(8)'s two day fields. `both_fit`: a day has to fit both of them; otherwise one that fits is enough."""

    days: frozenset[int]
    weekdays: frozenset[int]
    both_fit: bool

    def of_month(self, first_weekday: int, length: int) -> tuple[int, ...]:
        fitting = []
        for day in range(1, length + 1):
            by_day, by_weekday = day in self.days, (first_weekday + day - 1) % 7 in self.weekdays
            if (by_day and by_weekday) if self.both_fit else (by_day or by_weekday):
                fitting.append(day)
        return tuple(fitting)


class EventBridgeDays(msgspec.Struct, frozen=True):
    """EventBridge's day of month or day of week: whatever fits any of these. Empty = none that way.

    days: 15. before_last: L, L-3 as 0, 3. last_workday: LW. nearest: 15W. weekdays: FRI. last_weekdays: FRIL.
    nth_weekdays: FRI#3 as (4, 3).
    """

    days: frozenset[int] = frozenset()
    before_last: frozenset[int] = frozenset()
    last_workday: bool = False
    nearest: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    last_weekdays: frozenset[int] = frozenset()
    nth_weekdays: frozenset[tuple[int, int]] = frozenset()

    def of_month(self, first_weekday: int, length: int) -> tuple[int, ...]:
        fitting = {day for day in self.days if day <= length}
        fitting.update(length - days for days in self.before_last if days < length)
        if self.last_workday:
            fitting.add(_workday_near(length, first_weekday, length))
        # The 31W of a month of 30 days does not exist, as its 31 does not.
        fitting.update(_workday_near(day, first_weekday, length) for day in self.nearest if day <= length)
        for day in range(1, length + 1):
            weekday, nth = (first_weekday + day - 1) % 7, (day - 1) // 7 + 1
            if (
                weekday in self.weekdays
                or (weekday in self.last_weekdays and day + 7 > length)
                or (weekday, nth) in self.nth_weekdays
            ):
                fitting.add(day)
        return tuple(sorted(fitting))


def _workday_near(day: int, first_weekday: int, length: int) -> int:
    """The day from Monday to Friday nearest to `day` that lies in the same month."""
    weekday = (first_weekday + day - 1) % 7
    if weekday == _SATURDAY:
        return day - 1 if day > 1 else day + 2
    if weekday == _SUNDAY:
        return day + 1 if day < length else day - 2
    return day


class CronCalendar:
    """What a cron expression means. Values never change; what was worked out about months is kept (28 at most)."""

    __slots__ = ("_days", "hours", "minutes", "months", "rule", "years")

    def __init__(
        self,
        minutes: Iterable[int],
        hours: Iterable[int],
        rule: DayRule,
        months: Iterable[int],
        years: Iterable[int] | None = None,
    ) -> None:
        """`years` None = every year."""
        self.minutes = tuple(sorted(minutes))
        self.hours = tuple(sorted(hours))
        self.rule = rule
        self.months = tuple(sorted(months))
        self.years = None if years is None else tuple(sorted(years))
        self._days: dict[tuple[int, int], tuple[int, ...]] = {}

    def next_local(self, after: datetime) -> datetime | None:
        """The first fitting minute strictly after `after`, by leaps from field to field."""
        if after.year >= MAXYEAR:
            return None
        first = after.replace(second=0, microsecond=0) + _MINUTE
        last_year = min(first.year + YEARS_AHEAD, MAXYEAR - 1)
        month = self._month_from(first.year, first.month)
        while month is not None and month[0] <= last_year:
            year, number = month
            at_start = (year, number) == (first.year, first.month)
            for day in self._days_of(year, number):
                if at_start and day < first.day:
                    continue
                time: tuple[int, int] | None = (self.hours[0], self.minutes[0])
                if at_start and day == first.day:
                    time = self._time_from(first.hour, first.minute)
                if time is not None:
                    return datetime(year, number, day, *time)
            month = self._month_from(year, number + 1)
        return None

    def _days_of(self, year: int, month: int) -> tuple[int, ...]:
        leap = month == 2 and year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
        key = (datetime(year, month, 1).weekday(), _COMMON_LENGTHS[month - 1] + leap)
        found = self._days.get(key)
        if found is None:
            found = self._days[key] = self.rule.of_month(*key)
        return found

    def _month_from(self, year: int, month: int) -> tuple[int, int] | None:
        """The first month of the calendar that is not before that one; month 13 is the next year's first."""
        position = bisect_left(self.months, month)
        if position == len(self.months):
            year, position = year + 1, 0
        if self.years is not None:
            at = bisect_left(self.years, year)
            if at == len(self.years):
                return None
            if self.years[at] != year:
                year, position = self.years[at], 0
        return year, self.months[position]

    def _time_from(self, hour: int, minute: int) -> tuple[int, int] | None:
        """The first time of a day that is not before that one."""
        position = bisect_left(self.hours, hour)
        if position == len(self.hours):
            return None
        if self.hours[position] == hour:
            at = bisect_left(self.minutes, minute)
            if at < len(self.minutes):
                return hour, self.minutes[at]
            position += 1
            if position == len(self.hours):
                return None
        return self.hours[position], self.minutes[0]


class TimesCalendar:
    """Times of day that come every day, and local dates with times that come once."""

    __slots__ = ("daily", "once")

    def __init__(self, daily: Iterable[tuple[int, int]], once: Iterable[datetime]) -> None:
        """`daily`: (hour, minute); `once`: naive local times."""
        self.daily = tuple(sorted(set(daily)))
        self.once = tuple(sorted(set(once)))

    def next_local(self, after: datetime) -> datetime | None:
        """The first time strictly after `after`."""
        single = next((time for time in self.once if time > after), None)
        if not self.daily or after.year >= MAXYEAR:
            return single
        midnight = after.replace(hour=0, minute=0, second=0, microsecond=0)
        times = (
            midnight + timedelta(days=days, hours=h, minutes=m) for days in (0, 1) for h, m in self.daily
        )
        daily = next(time for time in times if time > after)
        return daily if single is None else min(daily, single)
