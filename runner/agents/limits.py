"""The bandwidth limit of one execution: timetable, live changes, and the bucket that all workers share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from runner.clock import Clock
from runner.model.task import TaskOptions
from runner.transfer.bandwidth import TokenBucket, limit_at

LOOK_EVERY_SECONDS = 1.0


class Bandwidth:
    """Bytes pass at the timetable's rate, or at `override()`'s when one is set. Single-threaded."""

    def __init__(
        self, options: TaskOptions, clock: Clock, override: Callable[[], int | None] | None = None
    ) -> None:
        """`override` is looked at once a second: None = the timetable holds, 0 = unlimited."""
        self._windows = options.bandwidth
        self._zone: tzinfo = ZoneInfo(options.bandwidth_timezone) if options.bandwidth_timezone else UTC
        self._clock = clock
        self._override = override
        self._looked_at = clock.monotonic()
        self._bucket = TokenBucket(self._wanted(), self._looked_at)

    @property
    def limited(self) -> bool:
        """Whether a limit is in force now."""
        return self.rate is not None

    @property
    def rate(self) -> int | None:
        """Bytes per second that may pass now; None = unlimited."""
        self._look()
        return self._bucket.rate

    @property
    def may_ever_limit(self) -> bool:
        return bool(self._windows) or self._override is not None

    def take(self, size_bytes: int) -> float:
        """Take that many bytes; the seconds to wait before moving them."""
        self._look()
        return self._bucket.take(size_bytes, self._clock.monotonic())

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_EVERY_SECONDS:
            self._looked_at = now
            wanted = self._wanted()
            if wanted != self._bucket.rate:
                self._bucket.set_rate(wanted, now)

    def _wanted(self) -> int | None:
        override = self._override() if self._override is not None else None
        if override is not None:
            return override or None
        return limit_at(self._windows, self._clock.now(), self._zone) if self._windows else None
