"""What the time of an execution goes into."""

from __future__ import annotations

import enum

import msgspec


class Activity(enum.IntEnum):
    """What a thread is at. Their order is that of the story; `word` is how reports call them.

    IDLE         it waits for work, or for others: that is nobody's time
    LISTING      folders and buckets are listed, or their listing is waited for
    PLANNING     what was listed is filtered, compared and decided on
    READING      content is read at the source
    WRITING      content and metadata are written, folders made, entries removed; with what a driver does not tell apart
    HASHING      digests of content on its way
    VERIFYING    what was written is read back and compared; and all of the phase VERIFYING
    BANDWIDTH    it waits until bytes may pass
    RETRIES      it waits before trying again: a storage was overloaded or away
    BOOKKEEPING  plans are read, work is handed out, outcomes are written down
    """

    IDLE = 0
    LISTING = 1
    PLANNING = 2
    READING = 3
    WRITING = 4
    HASHING = 5
    VERIFYING = 6
    BANDWIDTH = 7
    RETRIES = 8
    BOOKKEEPING = 9

    @property
    def word(self) -> str:
        return _WORDS.get(self, self.name.lower())


_WORDS = {Activity.BANDWIDTH: "waiting for bandwidth", Activity.RETRIES: "waiting for retries"}


class TimeSpent(msgspec.Struct, frozen=True):
    """One activity of an execution. `seconds` are summed over all threads of all processes that were at it; `share` is its
    part of the time on the clock: each phase's duration, divided as the time of its threads was."""

    activity: str
    seconds: float
    share: float


class Concurrency(msgspec.Struct, frozen=True):
    """How many places an execution's workers had: worker processes, or requests on their way. `began` with, `least`, `most`
    and at the end. `adapted`: False when the task fixes it. `refusals`: times that a storage was overloaded, silent
    or away."""

    began: int
    least: int
    most: int
    ended: int
    adapted: bool
    refusals: int = 0


def time_spent(phases: list[tuple[float, dict[Activity, float]]]) -> tuple[TimeSpent, ...]:
    """What took time, in the activities' order. `phases`: each with its seconds on the clock, and its threads' seconds by
    activity; of IDLE nothing is told."""
    total = sum(duration for duration, _ in phases)
    seconds: dict[Activity, float] = {}
    shares: dict[Activity, float] = {}
    for duration, spent in phases:
        busy = {
            activity: took for activity, took in spent.items() if took > 0 and activity is not Activity.IDLE
        }
        whole = sum(busy.values())
        for activity, took in busy.items():
            seconds[activity] = seconds.get(activity, 0.0) + took
            shares[activity] = shares.get(activity, 0.0) + duration * took / whole
    return tuple(
        TimeSpent(activity.word, seconds[activity], shares[activity] / total if total else 0.0)
        for activity in Activity
        if activity in seconds
    )
