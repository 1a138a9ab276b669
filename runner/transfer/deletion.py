"""Deletion in two phases, as a small machine: an entry is moved aside, waits until its time is over, and goes for good.

Pure: every decision about an entry that leaves the destination is made here; who performs, purges and restores asks
`decide`, carries the step out, and does nothing else. A step is one write of a storage, which happens or does not, and
the stage is read from the storage again each time (`stage_of`): a crash leaves a stage that the table knows.
"""

from __future__ import annotations

import enum

DAY_SECONDS = 86_400


class Stage(enum.StrEnum):
    """Where an entry is. STANDING: at its place, or never taken from it. ASIDE: in quarantine, untouchable. CONDEMNED: in
    quarantine, and it was written down that its time is over. PURGED: written down, and not there any more."""

    STANDING = "standing"
    ASIDE = "aside"
    CONDEMNED = "condemned"
    PURGED = "purged"


class Event(enum.StrEnum):
    """What is found out about it. EXTRA, RETURNED: a run is about to take it away, and the source lacks it, or has it again.
    RUNS, OVER, NEEDED: its time is looked at, and runs, or is over, or is over while the source has it again and the
    destination has nothing there. RESTORE, OCCUPIED: somebody wants it back, and its place is free, or is not."""

    EXTRA = "extra"
    RETURNED = "returned"
    RUNS = "runs"
    OVER = "over"
    NEEDED = "needed"
    RESTORE = "restore"
    OCCUPIED = "occupied"


class Step(enum.StrEnum):
    """What is done about it, one write or none: a REFUSE_* is said to the user."""

    KEEP = "keep"
    MOVE_ASIDE = "move_aside"
    CONDEMN = "condemn"
    REMOVE = "remove"
    MOVE_BACK = "move_back"
    REFUSE_RETURNED = "refuse_returned"
    REFUSE_OCCUPIED = "refuse_occupied"
    REFUSE_PURGED = "refuse_purged"


_STEPS = {
    (Stage.STANDING, Event.EXTRA): Step.MOVE_ASIDE,
    (Stage.STANDING, Event.RETURNED): Step.REFUSE_RETURNED,
    (Stage.STANDING, Event.OCCUPIED): Step.REFUSE_OCCUPIED,
    (Stage.ASIDE, Event.OVER): Step.CONDEMN,
    (Stage.ASIDE, Event.RESTORE): Step.MOVE_BACK,
    (Stage.ASIDE, Event.OCCUPIED): Step.REFUSE_OCCUPIED,
    (Stage.CONDEMNED, Event.OVER): Step.REMOVE,
    (Stage.CONDEMNED, Event.RESTORE): Step.MOVE_BACK,
    (Stage.CONDEMNED, Event.OCCUPIED): Step.REFUSE_OCCUPIED,
    (Stage.PURGED, Event.RESTORE): Step.REFUSE_PURGED,
    (Stage.PURGED, Event.OCCUPIED): Step.REFUSE_PURGED,
}
_LEADS_TO = {
    Step.MOVE_ASIDE: Stage.ASIDE,
    Step.CONDEMN: Stage.CONDEMNED,
    Step.REMOVE: Stage.PURGED,
    Step.MOVE_BACK: Stage.STANDING,
}


def decide(stage: Stage, event: Event) -> Step:
    """What is to be done; KEEP where nothing is."""
    return _STEPS.get((stage, event), Step.KEEP)


def after(stage: Stage, step: Step) -> Stage:
    """The stage once the step was carried out."""
    return _LEADS_TO.get(step, stage)


def stage_of(*, is_aside: bool, is_condemned: bool) -> Stage:
    """The stage from what the storage shows: the entry in quarantine, the note that its execution is condemned."""
    if is_aside:
        return Stage.CONDEMNED if is_condemned else Stage.ASIDE
    return Stage.PURGED if is_condemned else Stage.STANDING


def time_event(*, since_seconds: float, keep_days: float, now_seconds: float, is_needed: bool) -> Event:
    """RUNS until more than `keep_days` have passed; a clock that stands before `since_seconds` ends nothing."""
    if now_seconds - since_seconds <= keep_days * DAY_SECONDS:
        return Event.RUNS
    return Event.NEEDED if is_needed else Event.OVER


def kept_days(*, own: bool, recorded_days: float, task_days: float) -> float:
    """How long is kept what an execution moved aside: as its task says now; another task's never shorter than that one
    said then."""
    return task_days if own else max(recorded_days, task_days)
