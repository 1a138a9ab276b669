"""What is due, what waits, what starts: decided here. No clock is read, nothing is started, no file is touched but
the ledger: time comes in as arguments, starts go out through a callable. So a year can be tried out in a minute.

Every scheduled time of every task gets exactly one outcome. Which times are past is worked out from the ledger, not
from what this process happened to see: kills, suspended machines and clocks that jump change nothing about it.
"""

from __future__ import annotations

import hashlib
import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

import msgspec

from runner.clock import iso_utc
from runner.history.records import SlotOutcome, SlotRecord
from runner.history.standing import Rest
from runner.model.execution import Trigger
from runner.model.task import Task
from runner.scheduling.timetable import Timetable, timetable_of
from runner.service.ledger import Ledger
from runner.service.queue import QUEUED_AT_MOST, Blocked, Demands, Waiting, startable

GRACE = timedelta(seconds=90)
"""A slot that is seen so late is still met; what is later was missed."""
CLOCK_WENT_BACK = timedelta(hours=25)
"""When what is decided lies so far ahead, the clock was wrong then: schedules begin again from now."""
SLOTS_AT_MOST = 10_000
"""Of one task, that are written down one by one after a long rest of the service; the newest."""

_log = logging.getLogger(__name__)


class Running(msgspec.Struct, frozen=True):
    """An execution that was started. `execution_id` is known a moment later."""

    waiting: Waiting
    demands: Demands
    started_at: datetime
    execution_id: str | None = None


class _Scheduled:
    """A task with its times. `next_start` is when its next slot is to start, jitter included."""

    __slots__ = ("demands", "fingerprint", "next_slot", "next_start", "task", "timetable")

    def __init__(self, task: Task, demands: Demands) -> None:
        self.task = task
        self.demands = demands
        scheduled = task.enabled and task.schedule is not None and task.schedule.enabled
        self.timetable: Timetable | None = (
            timetable_of(task.schedule) if scheduled and task.schedule else None
        )
        text = "" if task.schedule is None else repr(msgspec.to_builtins(task.schedule)) + str(task.enabled)
        self.fingerprint = hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]
        self.next_slot: datetime | None = None
        self.next_start: datetime | None = None

    @property
    def catches_up(self) -> bool:
        return self.task.schedule is not None and self.task.schedule.catch_up


class Dispatcher:
    """The state of the service's schedule and queue. Single-threaded.

    More than eight methods: one for each thing that can happen to a service.
    """

    def __init__(
        self,
        ledger: Ledger,
        start: Callable[[Waiting], None],
        rest_of: Callable[[str], Rest | None],
        demands_of: Callable[[Task], Demands],
    ) -> None:
        """`start` begins an execution and returns at once; `started` and `ended` are called when it has."""
        self._ledger = ledger
        self._start = start
        self._rest_of = rest_of
        self._demands_of = demands_of
        self._scheduled: dict[str, _Scheduled] = {}
        self._due: list[tuple[datetime, str]] = []
        self._followers: dict[str, list[str]] = {}
        self._number = 0
        self._executions = 1
        self._draining = False
        self._moved: set[str] = set()
        self.waiting: list[Waiting] = []
        self.running: dict[int, Running] = {}
        self.blocked: dict[int, Blocked] = {}
        self.outcomes: Counter[SlotOutcome] = Counter()
        """How many slots came to which end since this service began; a slot that came to two counts for both."""

    # -- configuration -------------------------------------------------------------------------------------

    def configure(self, tasks: Mapping[str, Task], executions: int, now: datetime) -> set[str]:
        """Take over a configuration; returns the tasks whose times are new, changed or gone.

        What waits goes on waiting, unless its task is gone; what runs is not touched.
        """
        # What fell due until now is decided by the schedule that held until now.
        self.advance(now)
        self._executions = executions
        changed = set(self._scheduled) - set(tasks)
        for name in changed:
            del self._scheduled[name]
        self._moved |= changed
        for name, task in tasks.items():
            known = self._scheduled.get(name)
            if known is not None and known.task == task:
                continue
            scheduled = _Scheduled(task, self._demands_of(task))
            self._scheduled[name] = scheduled
            if known is None or known.fingerprint != scheduled.fingerprint:
                changed.add(name)
            if self._ledger.decided_until(name, scheduled.fingerprint) is None:
                # A task or a schedule that is new has missed nothing.
                self._ledger.decide_until(name, now, scheduled.fingerprint)
            self._look_ahead(name, scheduled)
        self._followers = {}
        for name, scheduled in self._scheduled.items():
            settings = scheduled.task.schedule
            for leader in settings.after if settings is not None and scheduled.timetable is not None else ():
                self._followers.setdefault(leader, []).append(name)
        self._due = [entry for entry in self._due if self._is_next(*entry)]
        heapq.heapify(self._due)
        for one in [one for one in self.waiting if one.task not in self._scheduled]:
            self._drop(one, SlotOutcome.SKIPPED, "the task is not in the configuration any more", now)
        return changed

    def take_moved(self) -> set[str]:
        """Tasks whose next start is another than at the last call."""
        moved, self._moved = self._moved, set()
        return moved

    @property
    def next_number(self) -> int:
        """The number that the next request gets."""
        return self._number + 1

    def next_start(self, task: str) -> datetime | None:
        """When the task's next slot is to start, jitter included; None when there is none."""
        scheduled = self._scheduled.get(task)
        return None if scheduled is None else scheduled.next_start

    def next_due(self) -> datetime | None:
        """When something is to be started next."""
        while self._due and not self._is_next(*self._due[0]):
            heapq.heappop(self._due)
        return self._due[0][0] if self._due else None

    # -- what happens --------------------------------------------------------------------------------------

    def recover(
        self,
        execution_of: Callable[[SlotRecord], tuple[str, bool] | None],
        interrupted: Iterable[str],
        now: datetime,
    ) -> None:
        """After a start: settle what the last service left. Call it once, after `configure`.

        `execution_of` a slot is (its id, whether it ended with a report), None when it never began. `interrupted` are
        executions that ended without a report.
        """
        met: dict[str, tuple[str, bool]] = {}
        for record in reversed(self._ledger.unfinished()):
            # An execution that makes up for several slots is known by the last of them.
            began = execution_of(record) or met.get(record.task)
            if began is not None:
                met[record.task] = began
            scheduled = self._scheduled.get(record.task)
            if began is not None:
                outcome = SlotOutcome.RAN if began[1] else SlotOutcome.INTERRUPTED
                self._note(record.task, record.slot, outcome, now, execution_id=began[0])
            elif scheduled is None:
                self._note(record.task, record.slot, SlotOutcome.SKIPPED, now, "the task is gone")
            elif self._waits(record.task):
                why = "the service ended while it waited, and a later one waits now"
                self._note(record.task, record.slot, SlotOutcome.MISSED, now, why)
            elif scheduled.catches_up or now - record.slot <= GRACE:
                trigger = Trigger.SCHEDULE if now - record.slot <= GRACE else Trigger.CATCH_UP
                self._wait(record.task, trigger, now, (record.slot,))
            else:
                why = "the service ended while it waited, and catch_up is off"
                self._note(record.task, record.slot, SlotOutcome.MISSED, now, why)
        for execution_id in interrupted:
            for record in self._ledger.of_execution(execution_id):
                if record.outcome in (SlotOutcome.RAN, SlotOutcome.CAUGHT_UP):
                    self._note(
                        record.task, record.slot, SlotOutcome.INTERRUPTED, now, execution_id=execution_id
                    )
                    scheduled = self._scheduled.get(record.task)
                    if scheduled is not None and scheduled.catches_up and not self._waits(record.task):
                        self._wait(record.task, Trigger.CATCH_UP, now, ())

    def advance(self, now: datetime) -> None:
        """Everything that is due by now is decided, and what can start is started. Call it as often as you like."""
        while self._due and self._due[0][0] <= now:
            _, name = heapq.heappop(self._due)
            scheduled = self._scheduled.get(name)
            if scheduled is not None and scheduled.next_start is not None and scheduled.next_start <= now:
                self._decide(name, scheduled, now)
        self.start_ready(now)

    def mind_the_clock(self, now: datetime) -> None:
        """After the clock was set: schedules that are decided far into the future begin again from now."""
        for name, scheduled in self._scheduled.items():
            until = self._ledger.decided_until(name, scheduled.fingerprint)
            if until is not None and until - now > CLOCK_WENT_BACK:
                _log.warning("task %s: the clock went back from %s; its schedule begins again", name, until)
                self._ledger.decide_until(name, now, scheduled.fingerprint)
                self._look_ahead(name, scheduled)

    def request(
        self, task: str, now: datetime, accept: tuple[str, ...] = (), request: str | None = None
    ) -> Waiting | str:
        """Somebody wants the task to run: what waits now, or why it is refused."""
        if sum(one.task == task for one in self.waiting) >= QUEUED_AT_MOST:
            return f"{QUEUED_AT_MOST} executions of task {task} wait already"
        one = self._wait(task, Trigger.MANUAL, now, (), accept=accept, request=request)
        self.start_ready(now)
        if one in self.waiting and not self._scheduled[task].demands.queueing:
            self.waiting.remove(one)
            blocked = self.blocked.pop(one.number)
            return f"{blocked.reason}, and the task does not queue (queueing: false)"
        return one

    def started(self, number: int, execution_id: str, now: datetime) -> None:
        """The execution has an id, and meets its slots."""
        running = self.running[number]
        self.running[number] = msgspec.structs.replace(running, execution_id=execution_id)
        caught_up = running.waiting.trigger is Trigger.CATCH_UP
        for slot in running.waiting.slots:
            outcome = SlotOutcome.CAUGHT_UP if caught_up else SlotOutcome.RAN
            self._note(running.waiting.task, slot, outcome, now, execution_id=execution_id)

    def ended(self, number: int, now: datetime, *, success: bool, reported: bool = True) -> Running:
        """The execution is over; tasks that run after it are asked for. `reported` False: it ended without a report."""
        running = self.running.pop(number)
        task = running.waiting.task
        if not reported or running.execution_id is None:
            for slot in running.waiting.slots:
                why = "the execution ended without a report"
                self._note(task, slot, SlotOutcome.INTERRUPTED, now, why, running.execution_id)
        for name in self._followers.get(task, ()):
            settings = self._scheduled[name].task.schedule
            assert settings is not None
            if (success or settings.after_any) and not self._waits(name) and self._resting(name, now) is None:
                self._wait(name, Trigger.AFTER, now, (), after=task)
        self.start_ready(now)
        return running

    def withdraw(self, task: str, now: datetime) -> int:
        """Take everything of a task out of the queue; how many."""
        found = [one for one in self.waiting if one.task == task]
        for one in found:
            self._drop(one, SlotOutcome.SKIPPED, "cancelled while it waited", now)
        return len(found)

    def drain(self) -> None:
        """Start nothing more. What waits stays in the ledger, for the next service."""
        self._draining = True

    def start_ready(self, now: datetime) -> None:
        """Start what can start."""
        if self._draining:
            return
        running = [(one.waiting.task, one.demands) for one in self.running.values()]
        starting, self.blocked = startable(
            self.waiting,
            running,
            lambda task: self._scheduled[task].demands,
            self._executions,
            lambda one: self._held_back(one, now),
        )
        for one in starting:
            self.waiting.remove(one)
            self.running[one.number] = Running(one, self._scheduled[one.task].demands, now)
            self._start(one)

    # -- parts ---------------------------------------------------------------------------------------------

    def _decide(self, name: str, scheduled: _Scheduled, now: datetime) -> None:
        """All of a task's slots that are due by now: the last one is met or missed, those before it were missed."""
        timetable = scheduled.timetable
        assert timetable is not None
        due: list[datetime] = []
        slot = scheduled.next_slot
        while slot is not None and timetable.delayed(slot, name) <= now:
            due.append(slot)
            if len(due) > 2 * SLOTS_AT_MOST:
                del due[:SLOTS_AT_MOST]
            slot = timetable.next_after(slot)
        if due:
            self._ledger.decide_until(name, due[-1], scheduled.fingerprint)
        self._look_ahead(name, scheduled)
        due = [slot for slot in due[-SLOTS_AT_MOST:] if not self._ledger.knows(name, slot)]
        if not due:
            return
        rest = self._resting(name, now)
        if rest is not None:
            for slot in due:
                self._note(name, slot, SlotOutcome.SKIPPED, now, rest.reason)
            return
        late = [slot for slot in due if now - timetable.delayed(slot, name) > GRACE]
        on_time = due[len(late) :]
        if late and scheduled.catches_up:
            self._meet(name, scheduled, Trigger.CATCH_UP, tuple(due), now)
            return
        for slot in late:
            why = "nothing ran at the time, and catch_up is off"
            self._note(name, slot, SlotOutcome.MISSED, now, why)
        for slot in on_time[:-1]:
            later = iso_utc(on_time[-1])
            self._note(name, slot, SlotOutcome.SKIPPED, now, f"the next one, {later}, was due as well")
        if on_time:
            self._meet(name, scheduled, Trigger.SCHEDULE, (on_time[-1],), now)

    def _meet(
        self, name: str, scheduled: _Scheduled, trigger: Trigger, slots: tuple[datetime, ...], now: datetime
    ) -> None:
        """Ask for an execution that meets these slots, or say why there is none."""
        assert scheduled.timetable is not None
        refused = None
        quiet = scheduled.timetable.quiet(now)
        if quiet is not None and trigger is Trigger.SCHEDULE:
            until = iso_utc(scheduled.timetable.quiet_until(now))
            refused = f"it falls into hours in which the task does not start (not_between), until {until}"
        elif self._waits(name):
            refused = "an execution of this task waits in the queue already"
        if refused is None:
            one = self._wait(name, trigger, now, slots)
            self.start_ready(now)
            if scheduled.demands.queueing or one not in self.waiting or self._draining:
                return
            self.waiting.remove(one)
            refused = f"{self.blocked.pop(one.number).reason}, and the task does not queue (queueing: false)"
        for slot in slots:
            self._note(name, slot, SlotOutcome.SKIPPED, now, refused)

    def _wait(
        self,
        task: str,
        trigger: Trigger,
        now: datetime,
        slots: tuple[datetime, ...],
        accept: tuple[str, ...] = (),
        request: str | None = None,
        after: str | None = None,
    ) -> Waiting:
        self._number += 1
        one = Waiting(
            number=self._number,
            task=task,
            trigger=trigger,
            since=now,
            slots=slots,
            accept=accept,
            request=request,
            after=after,
        )
        self.waiting.append(one)
        for slot in slots:
            self._note(task, slot, SlotOutcome.QUEUED, now)
        return one

    def _drop(self, one: Waiting, outcome: SlotOutcome, reason: str, now: datetime) -> None:
        self.waiting.remove(one)
        self.blocked.pop(one.number, None)
        for slot in one.slots:
            self._note(one.task, slot, outcome, now, reason)

    def _note(
        self,
        task: str,
        slot: datetime,
        outcome: SlotOutcome,
        now: datetime,
        reason: str = "",
        execution_id: str | None = None,
    ) -> None:
        if outcome is not SlotOutcome.QUEUED:
            self.outcomes[outcome] += 1
        self._ledger.note(
            SlotRecord(
                task=task,
                slot=slot,
                outcome=outcome,
                reason=reason,
                execution_id=execution_id,
                decided_at=now,
            )
        )

    def _look_ahead(self, name: str, scheduled: _Scheduled) -> None:
        """Find the task's next slot."""
        self._moved.add(name)
        scheduled.next_slot = scheduled.next_start = None
        until = self._ledger.decided_until(name, scheduled.fingerprint)
        if scheduled.timetable is None or until is None:
            return
        slot = scheduled.timetable.next_after(until)
        if slot is not None:
            scheduled.next_slot = slot
            scheduled.next_start = scheduled.timetable.delayed(slot, name)
            heapq.heappush(self._due, (scheduled.next_start, name))

    def _is_next(self, start: datetime, name: str) -> bool:
        scheduled = self._scheduled.get(name)
        return scheduled is not None and scheduled.next_start == start

    def _waits(self, task: str) -> bool:
        return any(one.task == task and one.trigger is not Trigger.MANUAL for one in self.waiting)

    def _resting(self, task: str, now: datetime) -> Rest | None:
        rest = self._rest_of(task)
        return None if rest is None or (rest.until is not None and rest.until <= now) else rest

    def _held_back(self, one: Waiting, now: datetime) -> str | None:
        """Why something must not start now, however free everything is: only for what nobody asked for by hand."""
        if one.trigger is Trigger.MANUAL:
            return None
        rest = self._resting(one.task, now)
        if rest is not None:
            return rest.reason
        timetable = self._scheduled[one.task].timetable
        if timetable is not None and timetable.quiet(now) is not None:
            return f"hours in which the task does not start (not_between), until {iso_utc(timetable.quiet_until(now))}"
        return None
