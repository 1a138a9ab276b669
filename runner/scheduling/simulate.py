"""What would happen: every fire time of some tasks in a stretch of time, and who would wait for whom. Pure.

It follows the service's own rules: one execution of a task and one writer of a destination at a time, a limit for
every location and for all, higher priority first, then first come, first served (at one instant by name); what falls
into `not_between` is skipped; of one task one execution waits at most. Executions take as long as they used to, and
succeed. One whose past is unknown takes no time: it holds up nobody, and `ends_at` is None.
"""

from __future__ import annotations

import enum
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import msgspec

from runner.model.execution import Trigger
from runner.scheduling.civil import DstKind
from runner.scheduling.timetable import Timetable

FIRES_AT_MOST = 500_000
_TICK = timedelta(microseconds=1)


class Fate(enum.StrEnum):
    """What becomes of a fire time: it runs at once, waits and runs, or is skipped."""

    RUNS = "runs"
    WAITS = "waits"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class SimulatedTask:
    """A task as far as the simulation cares. None = unknown.

    `destination` is equal for equal places; `locations`: what it uses, and how many executions may use that at once.
    `duration_seconds` and `size_bytes` are those of a usual execution. `limit_at` tells the bandwidth limit in bytes
    per second that is in force at an instant; None = unlimited.
    """

    name: str
    timetable: Timetable
    destination: str
    locations: tuple[tuple[str, int | None], ...] = ()
    priority: int = 0
    queueing: bool = True
    duration_seconds: float | None = None
    size_bytes: int | None = None
    limit_at: Callable[[datetime], int | None] = lambda instant: None


class Fire(msgspec.Struct, frozen=True, kw_only=True):
    """One fire time. `slot` is UTC, `local` the same by the clock of the task's zone; `due` is after jitter.

    `after`: the task whose end asked for it; `slot` is that end then. `starts_at` None: it is skipped. `ends_at` None:
    skipped, or nobody knows. `reason`: why it waits or is skipped. `dst_kind` and `dst` tell what clocks do.
    `limit_bytes_per_second`: the bandwidth limit at its start, None = unlimited; `size_bytes`: what it usually moves.
    """

    task: str
    slot: datetime
    local: datetime
    due: datetime
    trigger: Trigger
    fate: Fate
    after: str | None = None
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    wait_seconds: float = 0.0
    reason: str = ""
    dst_kind: DstKind | None = None
    dst: str = ""
    limit_bytes_per_second: int | None = None
    size_bytes: int | None = None


class Simulation(msgspec.Struct, frozen=True):
    """All fire times in the order of their due times. `unknown`: tasks whose duration is not known.

    `complete_until`: where the simulation ended early because there were more than FIRES_AT_MOST; else `end`.
    """

    start: datetime
    end: datetime
    tasks: tuple[str, ...]
    unknown: tuple[str, ...]
    fires: tuple[Fire, ...]
    complete_until: datetime

    def count(self, fate: Fate) -> int:
        """How many fire times came to that."""
        return sum(1 for fire in self.fires if fire.fate is fate)


class Load(msgspec.Struct, frozen=True):
    """From `at` until the next one: how many executions run, and how fast they usually move, all together."""

    at: datetime
    executions: int
    bytes_per_second: float


def simulate(tasks: Sequence[SimulatedTask], start: datetime, end: datetime, executions: int) -> Simulation:
    """Everything that is due from `start` up to but not at `end` (aware); `executions` may run at once."""
    course = _Course({task.name: task for task in tasks}, start, end, executions)
    complete_until = course.run()
    return Simulation(
        start=start,
        end=end,
        tasks=tuple(task.name for task in tasks),
        unknown=tuple(task.name for task in tasks if task.duration_seconds is None),
        fires=tuple(sorted(course.fires, key=lambda fire: (fire.due, fire.slot, fire.task))),
        complete_until=complete_until,
    )


def load_of(fires: Iterable[Fire]) -> list[Load]:
    """How busy it gets, as steps; executions of unknown length leave no trace."""
    changes: dict[datetime, tuple[int, float]] = {}
    for fire in fires:
        if fire.starts_at is None or fire.ends_at is None or fire.ends_at <= fire.starts_at:
            continue
        rate = (fire.size_bytes or 0) / (fire.ends_at - fire.starts_at).total_seconds()
        for at, sign in ((fire.starts_at, 1), (fire.ends_at, -1)):
            count, total = changes.get(at, (0, 0.0))
            changes[at] = (count + sign, total + sign * rate)
    steps, running, moving = [], 0, 0.0
    for at in sorted(changes):
        running, moving = running + changes[at][0], moving + changes[at][1]
        steps.append(Load(at, running, moving if running else 0.0))
    return steps


class _Kind(enum.IntEnum):
    """What happens first at an instant: ends make room for what starts."""

    END = 0
    DUE = 1
    WAKE = 2


@dataclass(slots=True)
class _Wish:
    """An execution that was asked for."""

    number: int
    task: SimulatedTask
    slot: datetime
    due: datetime
    after: str | None
    reason: str = ""


@dataclass(slots=True)
class _Course:
    """The state of a simulation: what waits, what runs, what comes."""

    tasks: dict[str, SimulatedTask]
    start: datetime
    end: datetime
    executions: int
    fires: list[Fire] = field(default_factory=list)
    waiting: list[_Wish] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    events: list[tuple[datetime, _Kind, str]] = field(default_factory=list)
    next_slot: dict[str, datetime] = field(default_factory=dict)
    followers: dict[str, list[SimulatedTask]] = field(default_factory=dict)
    number: int = 0

    def run(self) -> datetime:
        """Play it through; returns up to where."""
        for name, task in self.tasks.items():
            settings = task.timetable.settings
            for other in settings.after if settings.enabled else ():
                self.followers.setdefault(other, []).append(task)
            self._look_ahead(name, task.timetable.next_after(self.start - _TICK))
        while self.events:
            now = self.events[0][0]
            if len(self.fires) >= FIRES_AT_MOST:
                return now
            # What happens at one instant happens together: the queue's order decides, not the order of arrival.
            while self.events and self.events[0][0] == now:
                _, kind, name = heapq.heappop(self.events)
                if kind is _Kind.END:
                    self._ended(name, now)
                elif kind is _Kind.DUE:
                    self._due(self.tasks[name], now)
            self._start_ready(now)
        return self.end

    def _push(self, at: datetime, kind: _Kind, name: str) -> None:
        heapq.heappush(self.events, (at, kind, name))

    def _look_ahead(self, name: str, slot: datetime | None) -> None:
        self.next_slot.pop(name, None)
        if slot is not None and slot < self.end:
            self.next_slot[name] = slot
            self._push(self.tasks[name].timetable.delayed(slot, name), _Kind.DUE, name)

    def _due(self, task: SimulatedTask, now: datetime) -> None:
        slots = []
        slot: datetime | None = self.next_slot[task.name]
        # Where jitter is longer than the interval, a later slot may be due sooner.
        while slot is not None and slot < self.end and task.timetable.delayed(slot, task.name) <= now:
            slots.append(slot)
            slot = task.timetable.next_after(slot)
        self._look_ahead(task.name, slot)
        for earlier in slots[:-1]:
            self._skip(_Wish(0, task, earlier, now, None), "the next one is due as well")
        wish = _Wish(0, task, slots[-1], now, None)
        if task.timetable.quiet(now) is not None:
            self._skip(wish, "it falls into not_between")
        elif self._waits(task.name):
            self._skip(wish, "an execution of this task waits already")
        else:
            self._wait(wish)
            if not task.queueing:
                self._start_ready(now)
                if wish in self.waiting:
                    self.waiting.remove(wish)
                    self._skip(wish, f"{wish.reason}, and the task does not queue")

    def _ended(self, name: str, now: datetime) -> None:
        self.running.remove(name)
        if now >= self.end:
            return
        for follower in self.followers.get(name, ()):
            if not self._waits(follower.name):
                self._wait(_Wish(0, follower, now, now, name))

    def _waits(self, name: str) -> bool:
        return any(wish.task.name == name for wish in self.waiting)

    def _wait(self, wish: _Wish) -> None:
        self.number += 1
        wish.number = self.number
        self.waiting.append(wish)

    def _start_ready(self, now: datetime) -> None:
        if not self.waiting:
            return
        busy = Counter(name for running in self.running for name, _ in self.tasks[running].locations)
        for wish in sorted(self.waiting, key=lambda each: (-each.task.priority, each.number)):
            reason = self._obstacle(wish, busy, now)
            if reason is not None:
                wish.reason = wish.reason or reason
                continue
            self.waiting.remove(wish)
            self.running.append(wish.task.name)
            busy.update(name for name, _ in wish.task.locations)
            self._begin(wish, now)

    def _obstacle(self, wish: _Wish, busy: Counter[str], now: datetime) -> str | None:
        """Why an execution cannot start now, in words; None when it can."""
        task = wish.task
        if task.timetable.quiet(now) is not None:
            self._push(task.timetable.quiet_until(now), _Kind.WAKE, task.name)
            return "not_between"
        if task.name in self.running:
            return "the execution before it still runs"
        other = next(
            (name for name in self.running if self.tasks[name].destination == task.destination), None
        )
        if other is not None:
            return f"{other} writes to the same destination"
        for name, at_most in task.locations:
            if at_most is not None and busy[name] >= at_most:
                return f"location {name} takes {at_most} at once"
        if len(self.running) >= self.executions:
            return f"{self.executions} run at once at most"
        return None

    def _begin(self, wish: _Wish, now: datetime) -> None:
        task = wish.task
        known = task.duration_seconds is not None
        ends_at = now + timedelta(seconds=task.duration_seconds or 0.0)
        self._push(ends_at, _Kind.END, task.name)
        self._tell(wish, starts_at=now, ends_at=ends_at if known else None)

    def _skip(self, wish: _Wish, reason: str) -> None:
        wish.reason = reason
        self._tell(wish, None, None)

    def _tell(self, wish: _Wish, starts_at: datetime | None, ends_at: datetime | None) -> None:
        task = wish.task
        note = None if wish.after else task.timetable.note(wish.slot)
        waited = (starts_at - wish.due).total_seconds() if starts_at is not None else 0.0
        fate = Fate.SKIPPED if starts_at is None else Fate.WAITS if waited else Fate.RUNS
        self.fires.append(
            Fire(
                task=task.name,
                slot=wish.slot,
                local=task.timetable.local(wish.slot),
                due=wish.due,
                trigger=Trigger.AFTER if wish.after else Trigger.SCHEDULE,
                fate=fate,
                after=wish.after,
                starts_at=starts_at,
                ends_at=ends_at,
                wait_seconds=waited,
                reason="" if fate is Fate.RUNS else wish.reason,
                dst_kind=note.kind if note else None,
                dst=note.text if note else "",
                limit_bytes_per_second=None if starts_at is None else task.limit_at(starts_at),
                size_bytes=None if starts_at is None else task.size_bytes,
            )
        )
