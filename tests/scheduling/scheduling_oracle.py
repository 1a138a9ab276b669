"""What the DST rule says, worked out the slow way: by watching a clock. Shares nothing with runner.scheduling.

The watcher looks at the wall clock again and again and remembers the latest time it has ever shown. When the clock
shows something later than that, all that the expression names since then is due at this very moment, once; while it
shows times it has shown before, nothing is due.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
NAMES = {
    name: str(number)
    for names, first in (
        ("sun mon tue wed thu fri sat", 0),
        ("jan feb mar apr may jun jul aug sep oct nov dec", 1),
    )
    for number, name in enumerate(names.split(), first)
}
Matches = Callable[[datetime], bool]


def cron_matches(text: str) -> Matches:
    """crontab(5), one minute at a time: the bit tests of Vixie's find_jobs()."""
    minute, hour, day, month, weekday = text.split()
    bits = [
        _bits(minute, 0, 59), _bits(hour, 0, 23), _bits(day, 1, 31), _bits(month, 1, 12), _bits(weekday, 0, 7)
    ]  # fmt: skip
    starred = day[0] == "*" or weekday[0] == "*"

    def matches(local: datetime) -> bool:
        if local.minute not in bits[0] or local.hour not in bits[1] or local.month not in bits[3]:
            return False
        number = local.isoweekday()
        by_day, by_weekday = local.day in bits[2], number in bits[4] or (number == 7 and 0 in bits[4])
        return (by_day and by_weekday) if starred else (by_day or by_weekday)

    return matches


def _bits(field: str, low: int, high: int) -> set[int]:
    field = re.sub("[a-z]{3}", lambda match: NAMES[match[0]], field.lower())
    found = set()
    for piece in field.split(","):
        span, _, step = piece.partition("/")
        first, _, last = (str(low), "-", str(high)) if span == "*" else span.partition("-")
        number = int(first)
        while number <= int(last or first):
            found.add(number)
            number += int(step or 1)
    return found


def changes(zone: ZoneInfo, start: datetime, end: datetime, step: timedelta = HOUR) -> Iterator[datetime]:
    """The first step at which the offset is another one than a step before, for every change; aware UTC."""
    before, at = start.astimezone(zone).utcoffset(), start
    while at < end:
        at += step
        offset = at.astimezone(zone).utcoffset()
        if offset != before:
            yield at
        before = offset


def watch(
    zone: ZoneInfo, start: datetime, end: datetime, step: timedelta = MINUTE
) -> Iterator[tuple[datetime, datetime, datetime]]:
    """(instant, first minute not shown before, local time shown) for each step that shows a minute for the first time."""
    expected = start.astimezone(zone).replace(tzinfo=None, second=0) + MINUTE
    at = start
    while at < end:
        at += step
        shown = at.astimezone(zone).replace(tzinfo=None)
        if shown >= expected:
            yield at, expected, shown
            expected = shown.replace(second=0) + MINUTE


def due(matches: Matches, watched: Iterable[tuple[datetime, datetime, datetime]]) -> list[datetime]:
    """The instants at which something is due, each once."""
    found = []
    for at, local, shown in watched:
        while local <= shown:
            if matches(local):
                found.append(at)
                break
            local += MINUTE
    return found


def plainly_due(
    matches: Matches, zone: ZoneInfo, times: list[tuple[int, int]], start: datetime, end: datetime
) -> list[datetime]:
    """Times of day on every day, by zoneinfo's own arithmetic: right wherever no clock is changed."""
    day = start.astimezone(zone).replace(tzinfo=None) - DAY
    found = []
    while day < end.astimezone(zone).replace(tzinfo=None) + DAY:
        for hour, minute in times:
            local = day.replace(hour=hour, minute=minute, second=0)
            if matches(local):
                instant = local.replace(tzinfo=zone).astimezone(UTC)
                if start < instant <= end:
                    found.append(instant)
        day += DAY
    return found
