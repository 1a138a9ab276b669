"""Local times -> instants: the DST rule.

A local time that the clocks show runs when they show it first. One that they skip runs at the very instant of the
skip, right after the gap; what falls on one instant then is one slot. This holds for every change of offset, whatever
its size and reason. Instants are naive UTC here.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import NamedTuple
from zoneinfo import ZoneInfo

from runner.scheduling.calendars import Calendar
from runner.scheduling.zones import FIRST_YEAR, LAST_YEAR, Stretch, stretches

_REACH = timedelta(days=3)
"""Further apart, one instant's local time cannot be another's: no clock was ever moved by more than a day."""
_TICK = timedelta(microseconds=1)
_TIMES_TOLD = 100


class DstKind(enum.StrEnum):
    """What clocks do at a slot."""

    GAP = "gap"
    REPEAT = "repeat"


class DstNote(NamedTuple):
    """What is special about a slot. GAP: `times` are skipped and run at the slot; the gap is from `start` to `end`.
    REPEAT: `times` is the slot's local time, which comes again later. All are naive local times."""

    kind: DstKind
    times: tuple[datetime, ...]
    start: datetime
    end: datetime

    @property
    def text(self) -> str:
        """For people: 'clocks skip 02:00-03:00: 02:30 runs at 03:00'."""
        if self.kind is DstKind.REPEAT:
            return f"{self.start:%H:%M} comes twice: runs the first time"
        form = "%H:%M" if self.start.date() == self.end.date() else "%Y-%m-%d %H:%M"
        dash = "-" if form == "%H:%M" else " to "
        gap = f"clocks skip {_clock(self.start, form)}{dash}{_clock(self.end, form)}"
        if len(self.times) == 1:
            return f"{gap}: {self.times[0].strftime(form)} runs at {_clock(self.end, form)}"
        return f"{gap}: what was due then runs once, at {_clock(self.end, form)}"


def next_instant(calendar: Calendar, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first slot strictly after `after`; None when there is none before the year LAST_YEAR."""
    if after.year <= FIRST_YEAR:
        after = datetime(FIRST_YEAR + 1, 1, 1)
    cursor = after
    while cursor.year < LAST_YEAR:
        horizon = cursor + _REACH
        around = stretches(zone, cursor - _REACH, horizon + _REACH)
        found = _first_slot(calendar, around, cursor, horizon)
        if found is not None:
            return found
        # Local times lie within a day of UTC, and a gap or a repetition moves a slot by a day at most.
        following = calendar.next_local(horizon - timedelta(days=2))
        if following is None:
            return None
        cursor = max(horizon, following - timedelta(days=2))
    return None


def _first_slot(
    calendar: Calendar, around: Sequence[Stretch], after: datetime, horizon: datetime
) -> datetime | None:
    for position, stretch in enumerate(around):
        if stretch.end <= after:
            continue
        if stretch.start > horizon:
            break
        if position and stretch.start > after and next(_skipped(calendar, around, position), None):
            return stretch.start
        low = after + stretch.offset if stretch.start <= after else stretch.local_start - _TICK
        local = calendar.next_local(low)
        while local is not None and local < stretch.local_end:
            shown = next((each for each in around[:position] if _shows(each, local)), None)
            if shown is None:
                found = local - stretch.offset
                return found if found <= horizon else None
            local = calendar.next_local(shown.local_end - _TICK)
    return None


def note_of(calendar: Calendar, zone: ZoneInfo, slot: datetime) -> DstNote | None:
    """What clocks do at a slot, or None when they do nothing special."""
    around = stretches(zone, slot - _REACH, slot + _REACH)
    if len(around) == 1:
        return None
    position = next(at for at, stretch in enumerate(around) if stretch.start <= slot < stretch.end)
    here = around[position]
    if position and here.start == slot:
        times = tuple(islice(_skipped(calendar, around, position), _TIMES_TOLD))
        if times:
            return DstNote(DstKind.GAP, times, around[position - 1].local_end, here.local_start)
    local = slot + here.offset
    if any(_shows(later, local) for later in around[position + 1 :]):
        return DstNote(DstKind.REPEAT, (local,), local, local)
    return None


def _skipped(calendar: Calendar, around: Sequence[Stretch], position: int) -> Iterator[datetime]:
    """The calendar's times that clocks skip where that stretch begins, and never show otherwise."""
    gap_start, gap_end = around[position - 1].local_end, around[position].local_start
    local = calendar.next_local(gap_start - _TICK) if gap_start < gap_end else None
    while local is not None and local < gap_end:
        if not any(_shows(stretch, local) for stretch in around) and not _was_skipped(
            around[:position], local
        ):
            yield local
        local = calendar.next_local(local)


def _was_skipped(around: Sequence[Stretch], local: datetime) -> bool:
    return any(one.local_end <= local < following.local_start for one, following in pairwise(around))


def _clock(local: datetime, form: str) -> str:
    """A time of day to the minute, and to the second where clocks changed within a minute."""
    return local.strftime(form) + (f":{local:%S}" if local.second else "")


def _shows(stretch: Stretch, local: datetime) -> bool:
    return stretch.local_start <= local < stretch.local_end
