"""The only door to time: instants are aware UTC datetimes, durations are float seconds.

Code takes a `Clock` as an argument; `runner.testing.FakeClock` replaces it in tests.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for people, monotonic time for durations, and a wait."""

    def now(self) -> datetime:
        """The present instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed point; never goes backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait that long."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    # Asked once or twice for each file.
    monotonic = staticmethod(time.monotonic)

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


monotonic_ns: Callable[[], int] = time.monotonic_ns
"""CLOCK_MONOTONIC in nanoseconds, for what is measured thousands of times a second and never tested by waiting."""


def iso_utc(instant: datetime) -> str:
    """An aware instant as RFC 3339 in UTC with milliseconds: 2026-11-22T18:57:34.120Z."""
    return instant.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
