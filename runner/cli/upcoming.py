"""When tasks are due next: the facts behind `schedule list` and `validate`."""

from __future__ import annotations

import enum
import re
import shlex
from datetime import datetime
from itertools import islice

import msgspec

from runner.cli.text import safe
from runner.clock import iso_utc
from runner.history.standing import BY_USER, Rest
from runner.model.task import ScheduleSettings, Task
from runner.scheduling.timetable import Timetable, timetable_of
from runner.units import format_duration

FAR_AHEAD_YEARS = 400


class ScheduleState(enum.StrEnum):
    """Whether a schedule starts its task. PAUSED: by a person; STOPPED: by the service, for it failed too often.
    DISABLED: in the configuration. ENDED: no more fire times come."""

    ACTIVE = "active"
    NONE = "none"
    DISABLED = "disabled"
    PAUSED = "paused"
    STOPPED = "stopped"
    ENDED = "ended"


class FireTime(msgspec.Struct, frozen=True):
    """A slot in UTC and by the clock of the task's zone; `starts_at` is after jitter. `note`: what clocks do then.
    `skipped`: why it will not run."""

    slot: datetime
    local: datetime
    starts_at: datetime
    note: str = ""
    skipped: str = ""


class TaskSchedule(msgspec.Struct, frozen=True):
    """How a task is scheduled, and its next fire times. `timezone` None: no time of its own. `resume` is a command,
    where there is one to go on."""

    task: str
    schedule: str
    timezone: str | None
    jitter_seconds: float
    catch_up: bool
    state: ScheduleState
    reason: str
    resume: str | None
    next: tuple[FireTime, ...]


def upcoming(task: Task, now: datetime, count: int, rest: Rest | None, config_flag: str) -> TaskSchedule:
    """The task's next `count` fire times after `now`, as if nothing rested, and what keeps it from running."""
    settings = task.schedule
    if settings is None:
        return TaskSchedule(task.name, "", None, 0.0, False, ScheduleState.NONE, "no schedule", None, ())
    timetable = timetable_of(settings)
    far = now.replace(year=min(now.year + FAR_AHEAD_YEARS, 9800), day=1)
    slots = () if not task.enabled else tuple(islice(timetable.between(now, far), count))
    state, reason = _state(task, settings, rest, bool(slots), now)
    resume = None
    if state in (ScheduleState.PAUSED, ScheduleState.STOPPED):
        resume = f"sync-runner resume {shlex.quote(safe(task.name))}{config_flag}"
    return TaskSchedule(
        task=task.name,
        schedule=described(settings),
        timezone=None if settings.after else settings.timezone,
        jitter_seconds=settings.jitter_seconds,
        catch_up=settings.catch_up,
        state=state,
        reason=reason,
        resume=resume,
        next=tuple(_fire_time(timetable, slot, task.name) for slot in slots),
    )


def described(settings: ScheduleSettings) -> str:
    """'cron 0 2 * * *', 'every 15 min', 'at 02:00, 18:00', 'after fetch'."""
    if settings.cron is not None:
        return settings.cron if settings.cron.startswith("cron(") else f"cron {settings.cron}"
    if settings.every_seconds is not None:
        return f"every {briefly(settings.every_seconds)}"
    if settings.at:
        return "at " + ", ".join(text.replace("T", " ") for text in settings.at)
    return "after " + " or ".join(settings.after) + (", however it ended" if settings.after_any else "")


def briefly(seconds: float) -> str:
    """A duration without a last part that is nothing: '5 min', '1 h', '1 h 30 min', '1.5 s'."""
    text = re.sub(r"\.0+ s$", " s", format_duration(seconds))
    return re.sub(r"(?<=[a-z]) 0 (s|min|h)$", "", text)


def _state(
    task: Task, settings: ScheduleSettings, rest: Rest | None, has_slots: bool, now: datetime
) -> tuple[ScheduleState, str]:
    if not task.enabled:
        return ScheduleState.DISABLED, "the task is disabled in the configuration (enabled: false)"
    if not settings.enabled:
        return (
            ScheduleState.DISABLED,
            "the schedule is disabled in the configuration (schedule.enabled: false)",
        )
    if rest is not None and (rest.until is None or rest.until > now):
        until = "" if rest.until is None else f"; until {iso_utc(rest.until)}"
        return ScheduleState.PAUSED if rest.by == BY_USER else ScheduleState.STOPPED, rest.reason + until
    if not has_slots and not settings.after:
        return ScheduleState.ENDED, "no more fire times come"
    return ScheduleState.ACTIVE, ""


def _fire_time(timetable: Timetable, slot: datetime, task: str) -> FireTime:
    note = timetable.note(slot)
    starts_at = timetable.delayed(slot, task)
    return FireTime(
        slot=slot,
        local=timetable.local(slot),
        starts_at=starts_at,
        note=note.text if note else "",
        skipped="falls into not_between" if timetable.quiet(starts_at) else "",
    )
