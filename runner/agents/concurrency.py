"""How many requests at once a storage is worth: found by trying, like a network's congestion window. Pure; time comes in.

Additive increase while more places bring more throughput; a smaller limit, by a factor, when they do not; half when the
storage throttles, times out or refuses. What is found is held for a while before it is doubted again, longer each time
the doubt was in vain: a controller that has found its place moves rarely.
"""

from __future__ import annotations

import enum
import math

import msgspec

LEAST_SECONDS = 0.75
"""A limit is judged by what was done in so long, at least: one sample says little where latencies vary."""
LEAST_ROUNDS = 16
"""and by so many rounds of work in each place,"""
MOST_SECONDS = 6.0
"""but not longer than this, however slow the storage is."""
SETTLE_SECONDS = 0.25
"""After a change, work that began before it is not counted."""
WARM_SECONDS = 1.0
"""In the beginning connections are made and workers wake up."""
FULL = 0.8
"""Places taken, of those there are, from which on more of them could help."""
WORTH = 0.2
"""More places are worth it when throughput grows by this part of what they grow by."""
AS_GOOD = 0.95
"""Fewer places are as good when they bring this part of the throughput."""
SHRINK = 0.75
THROTTLED = 0.02
"""Refusals among requests that mean the storage wants less. Now and then one is lost on any network."""
HALVE_AGAIN_SECONDS = 1.0
"""Refusals of what was on its way when the limit was halved are no reason to halve it again."""
HOLD_LEAST, HOLD_MOST = 4, 32
"""Judgements that a limit is held for before it is doubted."""


class Step(enum.Enum):
    """What the controller is doing: staying, or trying more or fewer places."""

    HOLD = "hold"
    MORE = "more"
    FEWER = "fewer"


class Seen(msgspec.Struct, frozen=True):
    """What happened since the last look.

    `work`: what was done, in one unit for all looks. `operations` ended well, `refusals` did not and mean that the
    storage is overloaded or away. `taken`: places in use, on average.
    """

    seconds: float
    work: float
    operations: int
    refusals: int
    taken: float


class Bounds(msgspec.Struct, frozen=True):
    """`start` at which limit, at most `most`. `doubts_most`: whether fewer places are tried where `most` is reached."""

    start: int
    most: int
    least: int = 1
    doubts_most: bool = True

    @property
    def step(self) -> int:
        """Places that are added at once."""
        return max(1, self.start // 4)


class Demand(msgspec.Struct, frozen=True):
    """What an execution asks of what is called `name`: places within `bounds`. `fixed`: `bounds.start` of them, whatever
    that brings; `bounds.most` is then what all executions may use together."""

    name: str
    bounds: Bounds
    fixed: bool = False


class _Window:
    """What was seen since the limit changed, after things have settled."""

    def __init__(self, settling: float = SETTLE_SECONDS) -> None:
        self.settling = settling
        self.seconds = self.work = self.taken_seconds = 0.0
        self.operations = 0

    def add(self, seen: Seen) -> None:
        if self.settling > 0:
            self.settling -= seen.seconds
            return
        self.seconds += seen.seconds
        self.work += seen.work
        self.operations += seen.operations
        self.taken_seconds += seen.taken * seen.seconds

    def says_enough(self, limit: int) -> bool:
        if self.seconds < LEAST_SECONDS:
            return False
        return self.operations >= LEAST_ROUNDS * limit or self.seconds >= MOST_SECONDS

    @property
    def rate(self) -> float:
        return self.work / self.seconds

    @property
    def taken(self) -> float:
        return self.taken_seconds / self.seconds


class Controller:
    """The limit of one storage. Tell it several times a second what was seen; `limit` is what may be used now."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self.limit = max(bounds.least, min(bounds.start, bounds.most))
        self.step = Step.HOLD
        self._window = _Window(WARM_SECONDS)
        self._base_limit = self.limit
        """The limit that others are held against, and its throughput:"""
        self._base_rate = 0.0
        self._held = 0
        self._patience = HOLD_LEAST
        self._eager = True
        """Whether the present limit is a guess, to be doubted at once."""
        self._ceiling = bounds.most + 1
        """Where the storage refused: stay below for a while."""
        self._opening = True
        """Until more brought nothing, or was refused, for the first time: the start may be far off."""
        self._double_below = 0
        self._since_halved = math.inf
        self._halvings = 0

    def observe(self, seen: Seen) -> int:
        """The limit that holds from now on."""
        if seen.seconds <= 0:
            return self.limit
        self._since_halved += seen.seconds
        if seen.refusals > THROTTLED * (seen.operations + seen.refusals):
            if self._since_halved >= HALVE_AGAIN_SECONDS:
                self._halve()
            return self.limit
        self._window.add(seen)
        if self._window.says_enough(self.limit):
            window, self._window = self._window, _Window()
            self._halvings = 0
            self._judge(window.rate, window.taken >= FULL * self.limit)
        return self.limit

    def adopt(self, limit: int) -> None:
        """Another has found this limit: go on from there."""
        if limit != self.limit:
            self._stay(limit)

    # -- decisions -----------------------------------------------------------------------------------------

    def _halve(self) -> None:
        self._opening = False
        if self._halvings == 0:
            # What follows without a pause is the same trouble: a storage that is away refuses at any limit.
            self._ceiling = max(self.limit, self._bounds.least + 1)
            self._double_below = self.limit // 2
        self._halvings += 1
        self._since_halved = 0.0
        self._patience = min(HOLD_MOST, self._patience * 2)
        self._stay(self.limit // 2)
        self._eager = True

    def _judge(self, rate: float, full: bool) -> None:
        if self.step is Step.MORE:
            self._judge_more(rate, full)
        elif self.step is Step.FEWER:
            self._judge_fewer(rate)
        else:
            self._hold(rate, full)

    def _hold(self, rate: float, full: bool) -> None:
        # An average over the time it is held, of which the latest part counts most: loads change.
        self._base_rate = rate if self._held == 0 else (self._base_rate + rate) / 2
        self._base_limit = self.limit
        self._held += 1
        # Nothing has changed that would have to settle.
        self._window.settling = 0.0
        if not full:
            # Something else is waited for: more places would stay empty, and fewer would tell nothing.
            self._held = 1
        elif self._eager or self._held >= self._patience:
            self._doubt()

    def _doubt(self) -> None:
        more = self._more()
        if not self._eager and more == self.limit < self._bounds.most:
            # Held below where it was refused for long enough.
            self._ceiling = self._bounds.most + 1
            more = self._more()
        self._eager = False
        if more > self.limit:
            self._try(more, Step.MORE)
        elif self._bounds.doubts_most and self._fewer() < self.limit:
            self._try(self._fewer(), Step.FEWER)
        else:
            self._held = 0

    def _judge_more(self, rate: float, full: bool) -> None:
        gain = WORTH * (self.limit / self._base_limit - 1)
        if full and rate >= self._base_rate * (1 + gain):
            self._base_rate, self._base_limit = rate, self.limit
            self._patience = HOLD_LEAST
            more = self._more()
            if more > self.limit:
                self._try(more, Step.MORE)
            else:
                self._stay(self.limit)
            return
        self._opening = False
        if not full:
            self._stay(self._base_limit)
            return
        # No more throughput: perhaps there were too many places before, too.
        self._patience = min(HOLD_MOST, self._patience * 2)
        self.limit = self._base_limit
        self._try(self._fewer(), Step.FEWER)

    def _judge_fewer(self, rate: float) -> None:
        if rate < AS_GOOD * self._base_rate:
            self._patience = min(HOLD_MOST, self._patience * 2)
            self._stay(self._base_limit)
            return
        self._base_limit = self.limit
        fewer = self._fewer()
        if fewer < self.limit:
            self._try(fewer, Step.FEWER)
        else:
            self._stay(self.limit)

    def _more(self) -> int:
        """The next limit to try, the present one when there is none."""
        half = max(1, self.limit // 2)
        step = half if self._opening else min(self._bounds.step, half)
        more = self.limit * 2 if self.limit * 2 <= self._double_below else self.limit + step
        return max(self.limit, min(more, self._ceiling - 1, self._bounds.most))

    def _fewer(self) -> int:
        return max(self._bounds.least, math.floor(self.limit * SHRINK))

    def _try(self, limit: int, step: Step) -> None:
        self.limit, self.step = limit, step
        self._window = _Window()

    def _stay(self, limit: int) -> None:
        self.limit = max(self._bounds.least, min(limit, self._bounds.most))
        self.step = Step.HOLD
        self._held = 0
        self._window = _Window()
