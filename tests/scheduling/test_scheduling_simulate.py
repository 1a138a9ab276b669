"""The simulation: who runs, who waits for whom and how long, who is skipped and why."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from runner.model.automation import QuietWindow, ScheduleSettings
from runner.model.execution import Trigger
from runner.scheduling import simulate as simulation
from runner.scheduling.civil import DstKind
from runner.scheduling.simulate import Fate, Fire, Load, SimulatedTask, load_of, simulate
from runner.scheduling.timetable import timetable_of

TICK = timedelta(microseconds=1)
START, END = datetime(2026, 11, 23, tzinfo=UTC), datetime(2026, 11, 24, tzinfo=UTC)


def task(name: str, cron: str | None = None, minutes: float | None = None, **more: Any) -> SimulatedTask:
    own = {key: more.pop(key) for key in list(more) if key in SimulatedTask.__slots__}
    schedule = ScheduleSettings(cron=cron, **more)
    settings = {"destination": f"/to/{name}", "duration_seconds": None if minutes is None else minutes * 60}
    return SimulatedTask(name, timetable_of(schedule), **(settings | own))


def told(
    *tasks: SimulatedTask, executions: int = 4, start: datetime = START, end: datetime = END
) -> list[str]:
    return [_line(fire) for fire in simulate(tasks, start, end, executions).fires]


def _line(fire: Fire) -> str:
    words = [fire.task, f"{fire.due:%H:%M}", fire.fate.value]
    if fire.fate is Fate.WAITS:
        words.append(f"{fire.wait_seconds / 60:g} min")
    words += [f"after {fire.after}"] * bool(fire.after) + [f"({fire.reason})"] * bool(fire.reason)
    return " ".join(words)


@pytest.mark.parametrize(
    ("description", "tasks", "executions", "expected"),
    [
        ("alone", [task("a", "0 2,4 * * *", 10)], 4, ["a 02:00 runs", "a 04:00 runs"]),
        ("the first instant counts, the last does not", [task("a", "0 0 * * *", 10)], 4, ["a 00:00 runs"]),
        ("side by side", [task("a", "0 2 * * *", 10), task("b", "5 2 * * *", 10)], 4,
         ["a 02:00 runs", "b 02:05 runs"]),
        ("one destination", [task("a", "0 2 * * *", 17, destination="x"), task("b", "5 2 * * *", 10, destination="x")],
         4, ["a 02:00 runs", "b 02:05 waits 12 min (a writes to the same destination)"]),
        ("all at once", [task("a", "0 2 * * *", 10), task("b", "0 2 * * *", 20), task("c", "5 2 * * *", 1)], 2,
         ["a 02:00 runs", "b 02:00 runs", "c 02:05 waits 5 min (2 run at once at most)"]),
        ("a location", [task("a", "0 2 * * *", 10, locations=(("nas", 1), ("x", None))),
                        task("b", "0 2 * * *", 10, locations=(("y", None), ("nas", 1)))], 4,
         ["a 02:00 runs", "b 02:00 waits 10 min (location nas takes 1 at once)"]),
        ("priority", [task("a", "0 2 * * *", 10), task("b", "1 2 * * *", 10),
                      task("c", "2 2 * * *", 10, priority=5)], 1,
         ["a 02:00 runs", "b 02:01 waits 19 min (1 run at once at most)",
          "c 02:02 waits 8 min (1 run at once at most)"]),
        ("what must wait holds up nobody else",
         [task("a", "0 2 * * *", 10, destination="x"), task("b", "1 2 * * *", 10, destination="x"),
          task("c", "2 2 * * *", 10)], 2,
         ["a 02:00 runs", "b 02:01 waits 9 min (a writes to the same destination)", "c 02:02 runs"]),
        ("longer than its interval", [task("a", "0,15,30,45 2 * * *", 40)], 4,
         ["a 02:00 runs", "a 02:15 waits 25 min (the execution before it still runs)",
          "a 02:30 skipped (an execution of this task waits already)",
          "a 02:45 waits 35 min (the execution before it still runs)"]),
        ("no queueing", [task("a", "0 2 * * *", 10, destination="x"),
                         task("b", "5,15 2 * * *", 1, destination="x", queueing=False)], 4,
         ["a 02:00 runs", "b 02:05 skipped (a writes to the same destination, and the task does not queue)",
          "b 02:15 runs"]),
        ("quiet hours", [task("a", "0 7,12,18 * * *", 10, not_between=(QuietWindow(480, 1080),))], 4,
         ["a 07:00 runs", "a 12:00 skipped (it falls into not_between)", "a 18:00 runs"]),
        ("waiting through quiet hours",
         [task("a", "50 7 * * *", 20), task("b", "55 7 * * *", 5, not_between=(QuietWindow(480, 540),))], 1,
         ["a 07:50 runs", "b 07:55 waits 65 min (1 run at once at most)"]),
        ("one after the other", [task("a", "0 2 * * *", 10), task("b", minutes=20, after=("a",)),
                                 task("c", minutes=1, after=("a", "b"))], 4,
         ["a 02:00 runs", "b 02:10 runs after a", "c 02:10 runs after a", "c 02:30 runs after b"]),
        ("after quiet hours", [task("a", "0 2 * * *", 10),
                               task("b", minutes=1, after=("a",), not_between=(QuietWindow(120, 180),))], 4,
         ["a 02:00 runs", "b 02:10 waits 50 min after a (not_between)"]),
        ("nobody knows how long", [task("a", "0 2 * * *", destination="x"), task("b", "0 2 * * *", destination="x"),
                                   task("c", after=("b",))], 1,
         ["a 02:00 runs", "b 02:00 runs", "c 02:00 runs after b"]),
        ("off", [task("a", "0 2 * * *", 10, enabled=False), task("b", after=("a",), enabled=False)], 4, []),
    ],
)  # fmt: skip
def test_who_runs_and_who_waits(
    description: str, tasks: list[SimulatedTask], executions: int, expected: list[str]
) -> None:
    assert told(*tasks, executions=executions) == expected


def test_a_night_without_half_past_two() -> None:
    berlin = task("a", "30 2 * * *", 5, timezone="Europe/Berlin", limit_at=lambda instant: 1000, size_bytes=7)
    (fire,) = simulate(
        [berlin], datetime(2026, 3, 29, tzinfo=UTC), datetime(2026, 3, 30, tzinfo=UTC), 4
    ).fires
    assert fire == Fire(
        task="a",
        slot=datetime(2026, 3, 29, 1, tzinfo=UTC),
        local=datetime(2026, 3, 29, 1, tzinfo=UTC),
        due=datetime(2026, 3, 29, 1, tzinfo=UTC),
        trigger=Trigger.SCHEDULE,
        fate=Fate.RUNS,
        starts_at=datetime(2026, 3, 29, 1, tzinfo=UTC),
        ends_at=datetime(2026, 3, 29, 1, 5, tzinfo=UTC),
        dst_kind=DstKind.GAP,
        dst="clocks skip 02:00-03:00: 02:30 runs at 03:00",
        limit_bytes_per_second=1000,
        size_bytes=7,
    )
    assert fire.local.isoformat() == "2026-03-29T03:00:00+02:00"


def test_jitter_longer_than_the_interval_runs_the_last_of_them() -> None:
    jittery = task("a", "* 2 * * *", 0, jitter_seconds=600)
    found = simulate([jittery], START, END, 4)
    assert len(found.fires) == 60
    assert len({fire.slot for fire in found.fires}) == 60
    assert found.count(Fate.SKIPPED) > 0
    assert {fire.reason for fire in found.fires if fire.fate is Fate.SKIPPED} == {
        "the next one is due as well"
    }
    assert all(fire.due >= jittery.timetable.delayed(fire.slot, "a") for fire in found.fires)


def test_it_ends_early_rather_than_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(simulation, "FIRES_AT_MOST", 100)
    found = simulate([task("a", "* * * * *", 0)], START, END, 4)
    assert len(found.fires) == 100
    assert f"{found.complete_until:%H:%M}" == "01:39"
    assert simulate([task("a", "0 * * * *", 0)], START, END, 4).complete_until == END


def test_how_busy_it_gets() -> None:
    found = simulate(
        [task("a", "0 2 * * *", 10, size_bytes=6000), task("b", "5 2 * * *", 10, size_bytes=600), task("c", "6 2 * * *")],
        START,
        END,
        4,
    )  # fmt: skip
    minutes = [datetime(2026, 11, 23, 2, minute, tzinfo=UTC) for minute in (0, 5, 10, 15)]
    assert load_of(found.fires) == [
        Load(minutes[0], 1, 10.0),
        Load(minutes[1], 2, 11.0),
        Load(minutes[2], 1, pytest.approx(1.0)),
        Load(minutes[3], 0, 0.0),
    ]
    assert found.unknown == ("c",)


@effort(deadline=None, max_examples=60)
@given(
    tasks=st.lists(
        st.builds(
            lambda every, minutes, place, priority, queueing, jitter: (
                {"every_seconds": every * 60.0, "jitter_seconds": jitter},
                {
                    "duration_seconds": minutes * 60.0,
                    "destination": place,
                    "priority": priority,
                    "queueing": queueing,
                    "locations": ((place, 2),),
                },
            ),
            st.integers(5, 300),
            st.integers(0, 200),
            st.sampled_from("xyz"),
            st.integers(0, 2),
            st.booleans(),
            st.sampled_from((0.0, 600.0)),
        ),
        min_size=1,
        max_size=6,
    ),
    executions=st.integers(1, 4),
)
def test_no_rule_is_ever_broken(tasks: list[tuple[dict, dict]], executions: int) -> None:
    simulated = [
        SimulatedTask(f"t{number}", timetable_of(ScheduleSettings(**schedule)), **own)
        for number, (schedule, own) in enumerate(tasks)
    ]
    found = simulate(simulated, START, END, executions)
    for each in simulated:
        slots = [fire.slot for fire in found.fires if fire.task == each.name]
        assert sorted(slots) == list(each.timetable.between(START - TICK, END - TICK))
    places = {each.name: each.destination for each in simulated}
    running = [fire for fire in found.fires if fire.starts_at is not None]
    for at in {fire.starts_at for fire in running}:
        now = [fire for fire in running if fire.starts_at <= at < fire.ends_at]
        assert len(now) <= executions
        assert len({places[fire.task] for fire in now}) == len(now)
    for fire in running:
        assert fire.starts_at >= fire.due >= fire.slot
        assert (fire.fate is Fate.WAITS) == (fire.starts_at > fire.due)


def test_a_year_of_many_tasks_in_seconds() -> None:
    tasks = [task(f"t{number}", f"{number % 60} {number % 24} * * *", 30) for number in range(20)]
    started = time.process_time()
    found = simulate(tasks, datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC), 4)
    assert len(found.fires) == 20 * 364
    assert time.process_time() - started < 10
