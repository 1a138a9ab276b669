"""What is due, what waits, what starts: told as stories, with the outcome of every slot."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from service_support import HOUR, MINUTE, START, Desk, at, cron, task

from runner.history.records import SlotOutcome, SlotRecord
from runner.history.standing import Rest
from runner.model.automation import Automation, QuietWindow, ScheduleSettings
from runner.model.execution import Trigger
from runner.model.task import Task
from runner.scheduling.timetable import timetable_of
from runner.service.dispatcher import GRACE
from runner.service.queue import Waiting


def test_a_slot_is_met_when_it_is_due(tmp_path: Path) -> None:
    desk = Desk(tmp_path, task("a", cron("0 2 * * *")))
    assert desk.dispatcher.next_due() == at("2026-01-01 02:00")
    assert desk.advance(at("2026-01-01 01:59")) == []
    assert desk.advance(at("2026-01-01 02:00")) == ["a"]
    assert desk.started[0].trigger is Trigger.SCHEDULE
    assert desk.outcomes("a") == [("2026-01-01 02:00", "QUEUED", "")]
    desk.end("a", at("2026-01-01 02:10"))
    assert desk.outcomes("a") == [("2026-01-01 02:00", "RAN", "")]
    assert desk.advance(at("2026-01-01 02:11")) == []


def test_a_new_task_has_missed_nothing(tmp_path: Path) -> None:
    desk = Desk(tmp_path, task("a", cron("0 2 * * *", catch_up=True)), now=at("2026-01-01 05:00"))
    assert desk.advance(at("2026-01-01 05:00")) == []
    assert desk.outcomes("a") == []


@pytest.mark.parametrize(
    ("description", "catch_up", "expected", "started"),
    [
        (
            "without catch_up what was missed is noted",
            False,
            [(hour, "MISSED", "nothing ran at the time, and catch_up is off") for hour in ("01", "02", "03")],
            [],
        ),
        (
            "with it, one run makes up for all",
            True,
            [(hour, "CAUGHT_UP", "") for hour in ("01", "02", "03")],
            ["a"],
        ),
    ],
)
def test_slots_while_the_service_was_down(
    tmp_path: Path, description: str, catch_up: bool, expected: list[tuple[str, str, str]], started: list[str]
) -> None:
    tasks = task("a", cron("0 * * * *", catch_up=catch_up))
    desk = Desk(tmp_path, tasks)
    desk.restart()
    desk.configure(tasks, now=at("2026-01-01 03:30"))
    assert desk.advance(at("2026-01-01 03:30")) == started
    if started:
        assert desk.started[0].trigger is Trigger.CATCH_UP
        desk.end("a", at("2026-01-01 03:31"))
    assert desk.outcomes("a") == [(f"2026-01-01 {hour}:00", outcome, why) for hour, outcome, why in expected]
    assert desk.dispatcher.next_due() == at("2026-01-01 04:00")


def test_a_little_late_is_still_met(tmp_path: Path) -> None:
    desk = Desk(tmp_path, task("a", cron("0 2 * * *")))
    assert desk.advance(at("2026-01-01 02:00") + GRACE) == ["a"]


def test_one_writer_a_destination_and_the_others_wait(tmp_path: Path) -> None:
    schedule = cron("0 2 * * *")
    desk = Desk(tmp_path, task("a", schedule, destination="nas"), task("b", schedule, destination="nas"))
    assert desk.advance(at("2026-01-01 02:00")) == ["a"]
    (blocked,) = desk.dispatcher.blocked.values()
    assert blocked.reason == "task a writes to the same destination"
    assert desk.end("a", at("2026-01-01 02:30")) == ["b"]
    desk.end("b", at("2026-01-01 02:40"))
    assert desk.outcomes("b") == [("2026-01-01 02:00", "RAN", "")]


def test_a_location_takes_only_so_many(tmp_path: Path) -> None:
    schedule = cron("0 2 * * *")
    tasks = [task(name, schedule, source_limit=2) for name in "abc"]
    desk = Desk(tmp_path, *tasks)
    assert desk.advance(at("2026-01-01 02:00")) == ["a", "b"]
    (blocked,) = desk.dispatcher.blocked.values()
    assert blocked.reason == "location source is in use by 2 of at most 2 executions"
    assert desk.end("a", at("2026-01-01 02:01")) == ["c"]


def test_so_many_at_once_by_priority_then_first_come(tmp_path: Path) -> None:
    schedule = cron("0 2 * * *")
    tasks = [task(name, schedule) for name in "abc"] + [
        task("d", schedule, automation=Automation(priority=5))
    ]
    desk = Desk(tmp_path, *tasks, executions=1)
    desk.advance(at("2026-01-01 01:00"))
    for name in "abcd":
        desk.dispatcher.request(name, at("2026-01-01 01:00"))
    assert [one.task for one in desk.started] == ["a"]
    assert desk.end("a", at("2026-01-01 01:10")) == ["d"]
    assert desk.end("d", at("2026-01-01 01:20")) == ["b"]
    assert desk.end("b", at("2026-01-01 01:30")) == ["c"]


def test_without_queueing_it_is_refused(tmp_path: Path) -> None:
    schedule = cron("0 2 * * *")
    proud = task("b", schedule, destination="nas", automation=Automation(queueing=False))
    desk = Desk(tmp_path, task("a", schedule, destination="nas"), proud)
    desk.advance(at("2026-01-01 02:00"))
    why = "task a writes to the same destination, and the task does not queue (queueing: false)"
    assert desk.outcomes("b") == [("2026-01-01 02:00", "SKIPPED", why)]
    assert desk.dispatcher.request("b", at("2026-01-01 02:01")) == why
    assert desk.dispatcher.waiting == []


def test_the_next_slot_of_a_task_that_runs_long_waits_and_the_one_after_is_skipped(tmp_path: Path) -> None:
    desk = Desk(tmp_path, task("a", cron("0 * * * *")))
    assert desk.advance(at("2026-01-01 01:00")) == ["a"]
    assert desk.advance(at("2026-01-01 02:00")) == []
    assert desk.advance(at("2026-01-01 03:00")) == []
    assert desk.end("a", at("2026-01-01 03:30")) == ["a"]
    desk.end("a", at("2026-01-01 03:40"))
    assert desk.outcomes("a") == [
        ("2026-01-01 01:00", "RAN", ""),
        ("2026-01-01 02:00", "RAN", ""),
        ("2026-01-01 03:00", "SKIPPED", "an execution of this task waits in the queue already"),
    ]


def test_quiet_hours_skip_slots_and_hold_back_what_waits(tmp_path: Path) -> None:
    quiet = (QuietWindow(8 * 60, 18 * 60),)
    desk = Desk(
        tmp_path,
        task("a", cron("0 7,12 * * *", not_between=quiet), destination="nas"),
        task("b", cron("30 6 * * *"), destination="nas"),
    )
    assert desk.advance(at("2026-01-01 06:30")) == ["b"]
    assert desk.advance(at("2026-01-01 07:00")) == []
    assert desk.end("b", at("2026-01-01 09:00")) == []
    assert "not_between" in next(iter(desk.dispatcher.blocked.values())).reason
    assert desk.advance(at("2026-01-01 12:00")) == []
    assert desk.advance(at("2026-01-01 18:00")) == ["a"]
    desk.end("a", at("2026-01-01 18:30"))
    assert [row[:2] for row in desk.outcomes("a")] == [
        ("2026-01-01 07:00", "RAN"),
        ("2026-01-01 12:00", "SKIPPED"),
    ]


def test_after_another_task(tmp_path: Path) -> None:
    desk = Desk(
        tmp_path,
        task("fetch", cron("0 2 * * *")),
        task("pack", ScheduleSettings(after=("fetch",))),
        task("clean", ScheduleSettings(after=("fetch",), after_any=True)),
    )
    desk.advance(at("2026-01-01 02:00"))
    assert desk.end("fetch", at("2026-01-01 02:10"), success=False) == ["clean"]
    desk.end("clean", at("2026-01-01 02:20"))
    desk.advance(at("2026-01-02 02:00"))
    assert sorted(desk.end("fetch", at("2026-01-02 02:10"))) == ["clean", "pack"]
    assert desk.started[-1].after == "fetch"


def test_a_rest_skips_slots_until_it_is_over(tmp_path: Path) -> None:
    desk = Desk(tmp_path, task("a", cron("0 * * * *")))
    desk.rests["a"] = Rest("user", START, "paused by ada", until=at("2026-01-01 02:30"))
    assert desk.advance(at("2026-01-01 01:00")) == []
    assert desk.advance(at("2026-01-01 02:00")) == []
    assert desk.advance(at("2026-01-01 03:00")) == ["a"]
    assert desk.outcomes("a")[:2] == [
        ("2026-01-01 01:00", "SKIPPED", "paused by ada"),
        ("2026-01-01 02:00", "SKIPPED", "paused by ada"),
    ]
    assert not isinstance(desk.dispatcher.request("a", at("2026-01-01 03:00")), str)


def test_a_changed_schedule_begins_now_and_an_unchanged_one_goes_on(tmp_path: Path) -> None:
    desk = Desk(tmp_path, task("a", cron("0 2 * * *", catch_up=True)), task("b", cron("0 3 * * *")))
    desk.configure(
        task("a", cron("0 9 * * *", catch_up=True)),
        task("b", cron("0 3 * * *"), automation=Automation(priority=1)),
        now=at("2026-01-01 10:00"),
    )
    assert [row[:2] for row in desk.outcomes("b")] == [("2026-01-01 03:00", "MISSED")]
    assert [row[:2] for row in desk.outcomes("a")] == [("2026-01-01 02:00", "QUEUED")]
    assert desk.dispatcher.next_start("a") == at("2026-01-02 09:00")


def test_a_task_that_is_gone_waits_no_longer(tmp_path: Path) -> None:
    schedule = cron("0 2 * * *")
    first = task("a", schedule, destination="nas")
    desk = Desk(tmp_path, first, task("b", schedule, destination="nas"))
    desk.advance(at("2026-01-01 02:00"))
    desk.configure(first, now=at("2026-01-01 02:05"))
    why = "the task is not in the configuration any more"
    assert desk.outcomes("b") == [("2026-01-01 02:00", "SKIPPED", why)]
    assert desk.end("a", at("2026-01-01 02:30")) == []


def test_what_waited_at_a_kill_goes_on_or_is_missed(tmp_path: Path) -> None:
    tasks = (
        task("busy", cron("0 2 * * *"), destination="nas"),
        task("patient", cron("0 2 * * *", catch_up=True), destination="nas"),
        task("strict", cron("0 2 * * *"), destination="nas"),
    )
    desk = Desk(tmp_path, *tasks)
    desk.advance(at("2026-01-01 02:00"))
    number = next(iter(desk.dispatcher.running))
    desk.dispatcher.started(number, "aaaaaaaaaaaa", at("2026-01-01 02:00"))
    desk.restart()
    desk.configure(*tasks, now=at("2026-01-01 04:00"))
    desk.dispatcher.recover(lambda record: None, ["aaaaaaaaaaaa"], at("2026-01-01 04:00"))
    desk.advance(at("2026-01-01 04:00"))
    assert [row[:2] for row in desk.outcomes("busy")] == [("2026-01-01 02:00", "INTERRUPTED")]
    assert [row[:2] for row in desk.outcomes("strict")] == [("2026-01-01 02:00", "MISSED")]
    assert desk.started[-1].task == "patient"
    assert desk.started[-1].trigger is Trigger.CATCH_UP


def test_a_clock_that_goes_back_runs_nothing_twice(tmp_path: Path) -> None:
    desk = Desk(tmp_path, task("a", cron("0 * * * *")))
    for hour in range(1, 6):
        desk.advance(START + hour * HOUR)
        desk.end("a", START + hour * HOUR + MINUTE)
    desk.dispatcher.mind_the_clock(START + 2 * HOUR)
    for hour in range(2, 6):
        assert desk.advance(START + hour * HOUR) == []
    assert desk.advance(START + 6 * HOUR) == ["a"]
    assert len(desk.outcomes("a")) == 6


def test_a_clock_that_was_years_ahead_does_not_stop_a_schedule(tmp_path: Path) -> None:
    one = task("a", cron("0 * * * *"))
    desk = Desk(tmp_path, one, now=at("2030-01-01 00:00"))
    desk.advance(at("2030-01-01 01:00"))
    desk.end("a", at("2030-01-01 01:01"))
    desk.dispatcher.mind_the_clock(START)
    assert desk.advance(START + HOUR) == ["a"]


EXECUTIONS = 30


class Year:
    """A service's life: executions that take a while, kills, clocks that jump, reloads. Seeded."""

    def __init__(self, folder: Path, tasks: int, days: int, seed: int, trouble: int = 1) -> None:
        self.trouble = trouble
        self.random = random.Random(seed)
        self.tasks = {one.name: one for one in (self._task(number) for number in range(tasks))}
        self.until = START + timedelta(days=days)
        self.now = self.latest = START
        self.running: dict[int, tuple[datetime, Waiting]] = {}
        self.executions = 0
        self.ended: dict[str, bool] = {}
        self.met: dict[tuple[str, datetime], str] = {}
        self.desk = Desk(folder, *self.tasks.values(), executions=EXECUTIONS)
        self.seen = 0
        self.kills = self.jumps = self.reloads = 0

    def _task(self, number: int) -> Task:
        pick = self.random.choice
        expression = pick(
            [f"{number % 60} {number % 24} * * *", f"{number % 60} */12 * * *", "30 2 * * 1-5", "0 4 1 * *"]
        )
        schedule = cron(
            expression,
            timezone=pick(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
            catch_up=pick([True, False]),
            jitter_seconds=pick([0.0, 600.0]),
        )
        automation = Automation(priority=pick([0, 0, 5]), queueing=pick([True, True, True, False]))
        return task(f"t{number}", schedule, destination=f"nas{number // 3}", automation=automation)

    def live(self) -> None:
        while self.now < self.until:
            following = [end for end, _ in self.running.values()]
            due = self.desk.dispatcher.next_due()
            self.now = max(self.now, min([*following, *([] if due is None else [due]), self.now + 6 * HOUR]))
            self._end_what_has_ended()
            self.desk.advance(self.now)
            self._take_starts()
            self._disturb()
            self.latest = max(self.latest, self.now)
        self.desk.dispatcher.drain()
        for number in sorted(self.running):
            self._end(number)

    def _disturb(self) -> None:
        luck = self.random.random() / self.trouble
        if luck < 0.0005:
            self._kill()
        elif luck < 0.0008:
            self.jumps += 1
            self.now += timedelta(minutes=self.random.randint(-180, 600))
            self.desk.dispatcher.mind_the_clock(self.now)
        elif luck < 0.0011:
            self.reloads += 1
            name = self.random.choice(sorted(self.tasks))
            automation = Automation(priority=self.random.randint(-5, 5))
            self.tasks[name] = msgspec.structs.replace(self.tasks[name], automation=automation)
            self.desk.configure(*self.tasks.values(), now=self.now, executions=EXECUTIONS)
            self._take_starts()

    def _kill(self) -> None:
        """Nothing of the process survives; executions die with it, some before they had an id."""
        self.kills += 1
        cut_off = [f"{self._life()}{number:08x}" for number in self.running]
        self.running.clear()
        self.desk.restart()
        self.seen = len(self.desk.started)
        self.now += timedelta(minutes=self.random.randint(0, 900))
        self.desk.configure(*self.tasks.values(), now=self.now, executions=EXECUTIONS)
        self._take_starts()
        self.desk.dispatcher.recover(self._execution_of, cut_off, self.now)
        self.desk.advance(self.now)
        self._take_starts()

    def _life(self) -> str:
        return f"{self.kills:04x}"

    def _execution_of(self, record: SlotRecord) -> tuple[str, bool] | None:
        met = self.met.get((record.task, record.slot))
        return None if met is None else (met, self.ended.get(met, False))

    def _take_starts(self) -> None:
        for waiting in self.desk.started[self.seen :]:
            # Never two executions in one destination at once.
            assert self._place(waiting) not in {self._place(other) for _, other in self.running.values()}
            assert len(self.running) < EXECUTIONS
            self.executions += 1
            duration = timedelta(minutes=self.random.choice([1, 5, 20, 90]))
            self.running[waiting.number] = (self.now + duration, waiting)
            if waiting.number in self.desk.dispatcher.running and self.random.random() < 0.95:
                execution_id = f"{self._life()}{waiting.number:08x}"
                if waiting.slots:
                    self.met[waiting.task, waiting.slots[-1]] = execution_id
                self.desk.dispatcher.started(waiting.number, execution_id, self.now)
        self.seen = len(self.desk.started)

    def _end_what_has_ended(self) -> None:
        for number, (end, _) in sorted(self.running.items()):
            if end <= self.now:
                self._end(number)

    def _end(self, number: int) -> None:
        del self.running[number]
        running = self.desk.dispatcher.running[number]
        if running.execution_id is not None:
            self.ended[running.execution_id] = True
        self.desk.dispatcher.ended(number, self.now, success=True)
        self._take_starts()

    def _place(self, waiting: Waiting) -> str:
        return self.tasks[waiting.task].destination.name


def check_year(year: Year) -> int:
    """Each slot has exactly one outcome, which is final unless it still waits; how many slots there were."""
    slots = 0
    year.desk.ledger.flush()
    records = {(one.task, one.slot): one for one in year.desk.ledger.unpublished(10**7)}
    for name, one in year.tasks.items():
        assert one.schedule is not None
        expected = set(timetable_of(one.schedule).between(START, year.latest))
        # A slot whose delayed start lies beyond the end is not decided yet.
        decided = {slot for task_name, slot in records if task_name == name}
        late = {
            slot
            for slot in expected - decided
            if timetable_of(one.schedule).delayed(slot, name) > year.until - HOUR
        }
        assert decided == expected - late
        slots += len(decided)
    waiting = {(one.task, slot) for one in year.desk.dispatcher.waiting for slot in one.slots}
    unfinished = {key for key, record in records.items() if record.outcome is SlotOutcome.QUEUED}
    assert unfinished <= waiting
    ends = {record.outcome for record in records.values()}
    assert ends >= {SlotOutcome.RAN, SlotOutcome.CAUGHT_UP, SlotOutcome.MISSED}
    return slots


@pytest.mark.parametrize("seed", range(3))
def test_a_month_of_thirty_tasks_with_kills_jumps_and_reloads(tmp_path: Path, seed: int) -> None:
    year = Year(tmp_path, tasks=30, days=30, seed=seed, trouble=30)
    year.live()
    assert check_year(year) > 500


@pytest.mark.slow
def test_a_year_of_500_tasks_with_kills_jumps_and_reloads(tmp_path: Path) -> None:
    year = Year(tmp_path, tasks=500, days=365, seed=7)
    year.live()
    assert check_year(year) > 100_000
    assert min(year.kills, year.jumps, year.reloads) > 20
