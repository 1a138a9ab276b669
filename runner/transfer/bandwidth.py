"""Bandwidth: a token bucket that many share, and the timetable that sets its rate. Pure; time comes in."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, tzinfo

from runner.model.task import BandwidthWindow

BURST_SECONDS = 0.25


class TokenBucket:
    """Bytes per second over time. `rate` None = unlimited; it may change at any moment.

    The bucket may go into debt: a chunk larger than the burst passes at once and the next one waits for it.
    """

    def __init__(self, rate_bytes_per_second: int | None, now: float) -> None:
        self._rate = rate_bytes_per_second
        self._tokens = 0.0
        self._at = now

    @property
    def rate(self) -> int | None:
        return self._rate

    def set_rate(self, rate_bytes_per_second: int | None, now: float) -> None:
        """What was earned so far stays in seconds; what is owed is paid at whichever rate is done with it sooner."""
        self._refill(now)
        if self._rate and rate_bytes_per_second:
            in_seconds = self._tokens * rate_bytes_per_second / self._rate
            self._tokens = max(in_seconds, self._tokens) if self._tokens < 0 else in_seconds
        else:
            self._tokens = 0.0
        self._rate = rate_bytes_per_second

    def take(self, size_bytes: int, now: float) -> float:
        """Take that many; returns the seconds the caller has to wait before it moves them."""
        if self._rate is None:
            return 0.0
        self._refill(now)
        wait = max(0.0, -self._tokens / self._rate)
        self._tokens -= size_bytes
        return wait

    def _refill(self, now: float) -> None:
        if self._rate is not None:
            earned = (now - self._at) * self._rate
            self._tokens = min(self._rate * BURST_SECONDS, self._tokens + earned)
        self._at = now


def remaining_wait(seconds: float, before: int | None, after: int | None) -> float:
    """What is left of a wait when the rate has changed meanwhile: shorter when it rose, never longer."""
    if after is None:
        return 0.0
    return seconds if before is None else seconds * min(1.0, before / after)


def fair_share(limit: float, own: float, others: Sequence[float]) -> float:
    """What one of several may use of `limit`, when `own` and `others` are what each could use (infinite: all of it).

    Max-min fair: who wants less than an equal part gets what it wants, the rest is divided equally among those who want
    more. The shares of all never exceed the limit together while somebody wants more than there is.
    """
    wanted = sorted([own, *others])
    left, level = limit, 0.0
    for number, want in enumerate(wanted):
        level = left / (len(wanted) - number)
        if want > level:
            break
        left -= want
        level = float("inf")
    return max(0.0, limit - sum(min(want, level) for want in others))


def limit_at(windows: Sequence[BandwidthWindow], now: datetime, zone: tzinfo) -> int | None:
    """The limit in force at an aware instant: the first window that holds it, else the one without hours.

    A window whose end is not after its start crosses midnight. None = unlimited.
    """
    local = now.astimezone(zone)
    minute = local.hour * 60 + local.minute
    otherwise: int | None = None
    for window in windows:
        if window.start_minute is None or window.end_minute is None:
            otherwise = window.limit_bytes_per_second
            continue
        start, end = window.start_minute, window.end_minute
        inside = start <= minute < end if start < end else minute >= start or minute < end
        if inside:
            return window.limit_bytes_per_second
    return otherwise
