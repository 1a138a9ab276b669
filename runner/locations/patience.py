"""How long a location that fails for a passing reason is waited for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

LONGEST_PAUSE_SECONDS = 30.0


class Patience(msgspec.Struct, frozen=True):
    """How often, and after which pauses, something that failed for a passing reason is tried again.

    The pause doubles from attempt to attempt, up to LONGEST_PAUSE_SECONDS.
    """

    attempts: int
    first_pause_seconds: float
    sleep: Callable[[float], None]

    def pause(self, attempt: int) -> None:
        """Wait after the attempt of that number (from 1)."""
        self.sleep(min(self.first_pause_seconds * 2.0 ** (attempt - 1), LONGEST_PAUSE_SECONDS))


IMPATIENT = Patience(1, 0.0, lambda seconds: None)
