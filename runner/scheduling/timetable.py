"""A task's timetable: when it is due, when that is after jitter, and when it must not start."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import msgspec

from runner.model.automation import QuietWindow, ScheduleSettings
from runner.model.hashing import blake2b_of_8_bytes
from runner.scheduling.calendars import Calendar, TimesCalendar
from runner.scheduling.civil import DstNote, next_instant, note_of
from runner.scheduling.expressions import cron_calendar
from runner.scheduling.quiet import quiet_end, window_at
from runner.scheduling.zones import FIRST_YEAR, LAST_YEAR

_EPOCH = datetime(1970, 1, 1)
_MILLISECOND = timedelta(milliseconds=1)
_TICK = timedelta(microseconds=1)


class Timetable(msgspec.Struct, frozen=True):
    """When a task is due. Immutable, small, safe to share between threads; instants are aware UTC.

    A slot is a nominal time: it names what was due, whatever happens then. Slots are to the second, those of `every`
    to the millisecond, and no two are equal. `settings` are what it was made of; their `enabled`, `start` and `end`
    are honoured: a schedule that is off, and one that follows other tasks, has no slots.
    """

    settings: ScheduleSettings
    zone: ZoneInfo
    calendar: Calendar | None
    every: timedelta | None
    start: datetime | None
    end: datetime | None

    def next_after(self, instant: datetime) -> datetime | None:
        """The first slot strictly after `instant`, or None when no more will come."""
        after = _naive(instant)
        if not self.settings.enabled or not FIRST_YEAR <= after.year < LAST_YEAR:
            return None
        if self.start is not None and after < self.start:
            after = self.start - _TICK
        slot = None
        if self.every is not None:
            anchor = self.start or _EPOCH
            slot = anchor + ((after - anchor) // self.every + 1) * self.every
        elif self.calendar is not None:
            slot = next_instant(self.calendar, self.zone, after)
        if slot is None or (self.end is not None and slot >= self.end):
            return None
        return slot.replace(tzinfo=UTC)

    def between(self, start: datetime, end: datetime) -> Iterator[datetime]:
        """The slots after `start` and up to `end`, ascending, each made when it is asked for."""
        slot = self.next_after(start)
        while slot is not None and slot <= end:
            yield slot
            slot = self.next_after(slot)

    def delayed(self, slot: datetime, task: str) -> datetime:
        """When a slot is due after jitter: up to `jitter_seconds` later, always the same for a task and slot."""
        jitter = int(self.settings.jitter_seconds * 1000)
        if jitter <= 0:
            return slot
        key = f"{task}\0{_naive(slot).isoformat()}".encode("utf-8", "surrogatepass")
        return slot + int.from_bytes(blake2b_of_8_bytes(key), "big") % jitter * _MILLISECOND

    def quiet(self, instant: datetime) -> QuietWindow | None:
        """The window of `not_between` that holds an instant, by the clock of the schedule's zone, or None."""
        return window_at(self.settings.not_between, self.zone, _naive(instant))

    def quiet_until(self, instant: datetime) -> datetime:
        """The first instant from that one on that no window of `not_between` holds; itself when none does."""
        return quiet_end(self.settings.not_between, self.zone, _naive(instant)).replace(tzinfo=UTC)

    def local(self, instant: datetime) -> datetime:
        """An instant by the clock of the schedule's zone, aware."""
        return instant.astimezone(self.zone)

    def note(self, slot: datetime) -> DstNote | None:
        """What clocks do at a slot that makes it special, or None. An `every` pays no heed to clocks."""
        if self.calendar is None:
            return None
        return note_of(self.calendar, self.zone, _naive(slot))


def timetable_of(settings: ScheduleSettings) -> Timetable:
    """The timetable that settings ask for. Zones and calendars are shared between timetables.

    Raises ValueError or zoneinfo.ZoneInfoNotFoundError for settings that sync.yaml would not take.
    """
    calendar: Calendar | None = None
    if settings.cron is not None:
        calendar = cron_calendar(settings.cron)
    elif settings.at:
        calendar = _times(settings.at)
    every = settings.every_seconds
    return Timetable(
        settings=settings,
        zone=_zone(settings.timezone),
        calendar=calendar,
        # To the millisecond, as slots are written down: one that is read back is equal.
        every=None if every is None else max(1, round(every * 1000)) * _MILLISECOND,
        start=_instant(settings.start),
        end=_instant(settings.end),
    )


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    """zoneinfo itself keeps but eight zones that nobody holds."""
    return ZoneInfo(name)


@lru_cache(maxsize=4096)
def _times(texts: tuple[str, ...]) -> TimesCalendar:
    daily = [(int(text[:2]), int(text[3:])) for text in texts if len(text) == 5]
    once = [datetime.fromisoformat(text) for text in texts if len(text) > 5]
    return TimesCalendar(daily, once)


def _instant(text: str | None) -> datetime | None:
    return None if text is None else _naive(datetime.fromisoformat(text))


def _naive(instant: datetime) -> datetime:
    """Aware -> naive UTC. Raises ValueError for a naive one."""
    if instant.tzinfo is None:
        raise ValueError("an instant has to be aware")
    # Most are UTC already, and to convert those is not free.
    return (instant if instant.tzinfo is UTC else instant.astimezone(UTC)).replace(tzinfo=None)
