"""Hours in which nothing starts, by the clock on the wall: across midnight, and whatever clocks do."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

from runner.model.automation import QuietWindow
from runner.scheduling.zones import offset_at, stretches

_DAY = timedelta(days=1)
_MINUTES = 24 * 60
_WEEK = 7 * _MINUTES
_LONGEST = timedelta(days=15)


def window_at(windows: Sequence[QuietWindow], zone: ZoneInfo, instant: datetime) -> QuietWindow | None:
    """The first window that holds an instant (naive UTC), or None. A window holds its first minute, not its last."""
    if not windows:
        return None
    local = instant + offset_at(zone, instant)
    return next((window for window in windows if _begun(window, local) is not None), None)


def quiet_end(windows: Sequence[QuietWindow], zone: ZoneInfo, instant: datetime) -> datetime:
    """The first instant from that one on (naive UTC) that no window holds; a fortnight later where there is none."""
    at, last = instant, instant + _LONGEST
    while at < last:
        local = at + offset_at(zone, at)
        ends = [
            begun + timedelta(minutes=_length(window))
            for window in windows
            if (begun := _begun(window, local)) is not None
        ]
        if not ends:
            return at
        # When clocks change before the window's end, where they then stand decides anew.
        stretch = stretches(zone, at, at + 2 * _DAY)[0]
        at = min(max(ends) - stretch.offset, stretch.end)
    return last


def covers_all(windows: Sequence[QuietWindow]) -> bool:
    """Whether no minute of any week is left to start in."""
    if sum(_length(window) * len(window.days or range(7)) for window in windows) < _WEEK:
        return False
    quiet = bytearray(_WEEK)
    for window in windows:
        for day in window.days or range(7):
            for minute in range(_length(window)):
                quiet[(day * _MINUTES + window.start_minute + minute) % _WEEK] = 1
    return all(quiet)


def _begun(window: QuietWindow, local: datetime) -> datetime | None:
    """When the window that holds a local time began, by the clock; None when it does not hold it."""
    minute = local.hour * 60 + local.minute
    day = local.date()
    if window.start_minute < window.end_minute:
        inside = window.start_minute <= minute < window.end_minute
    else:
        inside = minute >= window.start_minute or minute < window.end_minute
        if minute < window.end_minute:
            day -= _DAY
    if not inside or (window.days and day.weekday() not in window.days):
        return None
    return datetime.combine(day, time()) + timedelta(minutes=window.start_minute)


def _length(window: QuietWindow) -> int:
    """Minutes by the clock; start and end at the same minute are a whole day."""
    return (window.end_minute - window.start_minute) % _MINUTES or _MINUTES
