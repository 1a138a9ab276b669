"""The bandwidth limit of one execution: timetable, live changes, and the bucket that all workers share."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, tzinfo
from zoneinfo import ZoneInfo

from runner.agents.budget import Budget
from runner.clock import Clock
from runner.model.task import TaskOptions
from runner.transfer.bandwidth import TokenBucket, limit_at

LOOK_EVERY_SECONDS = 0.2


class Bandwidth:
    """Bytes pass at the timetable's rate, or at `override()`'s when one is set. Single-threaded."""

    def __init__(
        self,
        options: TaskOptions,
        clock: Clock,
        override: Callable[[], int | None] | None = None,
        budget: Budget | None = None,
    ) -> None:
        """`override` is looked at several times a second: None = the timetable holds, 0 = unlimited.

        `budget` is shared with other executions: its share holds beside either of them.
        """
        self._windows = options.bandwidth
        self._zone: tzinfo = ZoneInfo(options.bandwidth_timezone) if options.bandwidth_timezone else UTC
        self._clock = clock
        self._override = override
        self._budget = budget
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

    def take(self, size_bytes: int) -> float:
        """Take that many bytes; the seconds to wait before moving them."""
        self._look()
        wait = self._bucket.take(size_bytes, self._clock.monotonic())
        if self._budget is not None:
            self._budget.note(size_bytes, wait > 0)
        return wait

    def _look(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked_at >= LOOK_EVERY_SECONDS:
            self._looked_at = now
            wanted = self._wanted()
            if wanted != self._bucket.rate:
                self._bucket.set_rate(wanted, now)

    def _wanted(self) -> int | None:
        limits = [self._own(), None if self._budget is None else self._budget.share()]
        return min((limit for limit in limits if limit is not None), default=None)

    def _own(self) -> int | None:
        override = self._override() if self._override is not None else None
        if override is not None:
            return override or None
        return limit_at(self._windows, self._clock.now(), self._zone) if self._windows else None
