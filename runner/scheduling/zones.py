"""Where the clocks of a place change: transitions and the stretches of time between them, from zoneinfo.

Instants are naive UTC here and in `civil`: their arithmetic is plain then, and local times are naive anyway.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple
from zoneinfo import ZoneInfo

FIRST_YEAR, LAST_YEAR = 2, 9900
"""Between these years every local time and every neighbouring day can be named; nothing is scheduled outside."""

# zoneinfo does not tell its transitions, so offsets are compared once a day. In all of tzdata no place kept an offset
# for less than four days (95 h, Africa/Freetown 1939).
_STEP = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class Transition(NamedTuple):
    """Clocks change at `at`: local time is `before` ahead of UTC until then, and `after` from then on."""

    at: datetime
    before: timedelta
    after: timedelta


class Stretch(NamedTuple):
    """From `start` on and before `end`, local time is `offset` ahead of UTC."""

    start: datetime
    end: datetime
    offset: timedelta

    @property
    def local_start(self) -> datetime:
        return self.start + self.offset

    @property
    def local_end(self) -> datetime:
        return self.end + self.offset


def offset_at(zone: ZoneInfo, instant: datetime) -> timedelta:
    """How far local time is ahead of UTC at an instant (naive UTC)."""
    offset = instant.replace(tzinfo=UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return offset


@lru_cache(maxsize=4096)
def transitions_of_year(zone: ZoneInfo, year: int) -> tuple[Transition, ...]:
    """The changes of offset after a year's first instant in UTC, up to and with the next year's first instant."""
    found = []
    at, end = datetime(year, 1, 1), datetime(year + 1, 1, 1)
    offset = offset_at(zone, at)
    while at < end:
        following = min(at + _STEP, end)
        after = offset_at(zone, following)
        if after != offset:
            found.append(Transition(_change(zone, at, following, offset), offset, after))
        at, offset = following, after
    return tuple(found)


def _change(zone: ZoneInfo, low: datetime, high: datetime, offset: timedelta) -> datetime:
    """The first second after `low` at which the offset is no longer that; it is another one at `high`."""
    while high - low > _SECOND:
        middle = low + timedelta(seconds=(high - low) // _SECOND // 2)
        if offset_at(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high


def stretches(zone: ZoneInfo, start: datetime, end: datetime) -> list[Stretch]:
    """The stretches of equal offset from `start` to `end`, which cut off the first and the last one."""
    found = []
    offset = None
    for year in range(max(start.year, FIRST_YEAR), min(end.year, LAST_YEAR) + 1):
        for change in transitions_of_year(zone, year):
            if start < change.at < end:
                found.append(Stretch(start, change.at, change.before))
                start, offset = change.at, change.after
    found.append(Stretch(start, end, offset_at(zone, start) if offset is None else offset))
    return found
