"""schedule list, schedule simulate, and the fire times that validate shows."""

from __future__ import annotations

import hashlib
import json
import xml.dom.minidom
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cli_fakes import HOSTILE, FakeServices, command, make_configuration, make_report, make_task

from runner.errors import ExitCode
from runner.history.records import HistoryUnavailable
from runner.history.standing import BY_SERVICE, BY_USER, Rest, update_standing
from runner.history.state import StateDirectory
from runner.history.store import open_history
from runner.model.automation import Automation, QuietWindow, ScheduleSettings, ServiceSettings
from runner.model.execution import Counters, Execution, Report
from runner.model.task import BandwidthWindow, TaskOptions
from runner.testing.fake_clock import FakeClock

BERLIN = "Europe/Berlin"
NIGHTLY = ScheduleSettings(cron="30 2 * * *", timezone=BERLIN)


def services(*tasks: Any, state: Path | None = None, **settings: Any) -> FakeServices:
    configuration = make_configuration(*tasks, state=str(state or "/nonexistent/state"))
    return FakeServices(configuration_answer=msgspec.structs.replace(configuration, **settings))


def test_a_task_its_zone_and_what_clocks_do():
    # The clock of these commands stands at 2026-11-22 19:00 UTC.
    schedule = ScheduleSettings(cron="30 2 25-31 3 *", timezone=BERLIN, catch_up=True)
    ran = command("schedule", services=services(make_task(schedule=schedule)))

    assert ran.stdout.splitlines() == [
        "photos: cron 30 2 25-31 3 *, Europe/Berlin, catches up",
        "  Thu 2027-03-25 02:30 +01:00  2027-03-25 01:30 UTC",
        "  Fri 2027-03-26 02:30 +01:00  2027-03-26 01:30 UTC",
        "  Sat 2027-03-27 02:30 +01:00  2027-03-27 01:30 UTC",
        "  Sun 2027-03-28 03:00 +02:00  2027-03-28 01:00 UTC  clocks skip 02:00-03:00: 02:30 runs at 03:00",
        "  Mon 2027-03-29 02:30 +02:00  2027-03-29 00:30 UTC",
    ]
    assert ran.exit_code == ExitCode.DONE


def test_every_kind_of_schedule():
    window = QuietWindow(0, 720)
    tasks = [
        make_task("rate", schedule=ScheduleSettings(every_seconds=86400, jitter_seconds=300, not_between=(window,))),
        make_task("times", schedule=ScheduleSettings(at=("06:00", "2026-11-23T07:00"), end="2026-11-23T12:00:00Z")),
        make_task("chain", schedule=ScheduleSettings(after=("rate", "times"), after_any=True)),
        make_task("past", schedule=ScheduleSettings(cron="cron(0 0 1 1 ? 2020)")),
        make_task("none"),
        make_task("off", schedule=ScheduleSettings(every_seconds=90, enabled=False)),
        make_task("unused", schedule=NIGHTLY, enabled=False),
    ]  # fmt: skip
    lines = command("schedule", "list", services=services(*tasks)).stdout.splitlines()

    assert lines[0] == "rate: every 24 h, UTC, up to 5 min later"
    assert lines[1].startswith("  Mon 2026-11-23 00:00 +00:00  2026-11-23 00:00 UTC  starts ")
    assert lines[1].endswith("later; skipped: falls into not_between")
    assert lines[6:] == [
        "",
        "times: at 06:00, 2026-11-23 07:00, UTC",
        "  Mon 2026-11-23 06:00 +00:00  2026-11-23 06:00 UTC",
        "  Mon 2026-11-23 07:00 +00:00  2026-11-23 07:00 UTC",
        "",
        "chain: after rate or times, however it ended",
        "",
        "past: cron(0 0 1 1 ? 2020), UTC",
        "  ended: no more fire times come",
        "",
        "none: no schedule",
        "",
        "off: every 1 min 30 s, UTC",
        "  disabled: the schedule is disabled in the configuration (schedule.enabled: false)",
        "",
        "unused: cron 30 2 * * *, Europe/Berlin",
        "  disabled: the task is disabled in the configuration (enabled: false)",
    ]


@pytest.mark.parametrize(
    ("by", "state"),
    [(BY_USER, "paused"), (BY_SERVICE, "stopped")],
)
def test_what_rests_is_told_with_the_command_that_goes_on(tmp_path: Path, by: str, state: str):
    clock = FakeClock()
    rest = Rest(by, clock.now(), f"because {HOSTILE}", datetime(2027, 1, 1, tzinfo=UTC))
    update_standing(
        StateDirectory(str(tmp_path)), "a b", lambda standing: msgspec.structs.replace(standing, rest=rest)
    )
    task = make_task("a b", schedule=NIGHTLY)
    ran = command("schedule", "-c", "my.yaml", services=services(task, state=tmp_path))
    listed = json.loads(command("schedule", "--json", services=services(task, state=tmp_path)).stdout)

    lines = ran.stdout.splitlines()
    assert lines[1].startswith(f"  {state}: because evil\\x1b[31m")
    assert lines[1].endswith("; until 2027-01-01T00:00:00.000Z")
    assert lines[2] == "  To go on: sync-runner resume 'a b' -c my.yaml"
    assert [each["state"] for each in listed["schedules"]] == [state]
    assert listed["schedules"][0]["resume"] == "sync-runner resume 'a b'"


def test_a_rest_that_is_over_is_none(tmp_path: Path):
    now = FakeClock().now()
    rest = Rest(BY_USER, now - timedelta(days=2), "paused", now - timedelta(days=1))
    update_standing(
        StateDirectory(str(tmp_path)), "photos", lambda standing: msgspec.structs.replace(standing, rest=rest)
    )
    ran = command("schedule", "--json", services=services(make_task(schedule=NIGHTLY), state=tmp_path))

    assert json.loads(ran.stdout)["schedules"][0]["state"] == "active"


def test_the_list_as_json():
    ran = command("schedule", "list", "photos", "--json", services=services(make_task(schedule=NIGHTLY)))

    [found] = json.loads(ran.stdout)["schedules"]
    assert len(found["next"]) == 5
    assert found["next"][0] == {
        "slot": "2026-11-23T01:30:00Z",
        "local": "2026-11-23T02:30:00+01:00",
        "starts_at": "2026-11-23T01:30:00Z",
        "note": "",
        "skipped": "",
    }
    assert {key: found[key] for key in ("task", "schedule", "timezone", "state", "catch_up")} == {
        "task": "photos",
        "schedule": "cron 30 2 * * *",
        "timezone": BERLIN,
        "state": "active",
        "catch_up": False,
    }


def test_validate_shows_the_next_fire_time_and_five_with_v():
    tasks = [make_task(schedule=NIGHTLY), make_task("chain", schedule=ScheduleSettings(after=("photos",)))]
    ran = command("validate", services=services(*tasks))
    verbose = command("validate", "-v", services=services(*tasks)).stdout.splitlines()
    as_json = json.loads(command("validate", "--json", services=services(*tasks)).stdout)

    assert ran.stdout.splitlines()[1:] == [
        "  next: photos  Mon 2026-11-23 02:30 +01:00 Europe/Berlin  2026-11-23 01:30 UTC",
        "  next: chain   after photos",
    ]
    assert len(verbose) == 1 + 5 + 1
    assert [each["task"] for each in as_json["schedules"]] == ["photos", "chain"]
    assert len(command("validate", services=services()).stdout.splitlines()) == 1
    assert command("validate", "-q", services=services(*tasks)).stdout == ""


class TestSimulate:
    def run(self, *words: str, **more: Any) -> Any:
        return command("schedule", "simulate", *words, **more)

    def test_a_table_and_what_it_comes_to(self, tmp_path: Path):
        slow = BandwidthWindow(1024**2, 0, 360)
        tasks = [
            make_task("photos", schedule=NIGHTLY, options=TaskOptions(bandwidth=(slow,), bandwidth_timezone=BERLIN)),
            make_task("homes", schedule=ScheduleSettings(cron="0 3 29 3 *", timezone=BERLIN)),
            make_task("after", schedule=ScheduleSettings(after=("homes",), timezone=BERLIN),
                      automation=Automation(queueing=False), destination=make_task().source),
        ]  # fmt: skip
        with_past(tmp_path, "photos", [600.0, 1200.0, 60000.0], size_bytes=600 * 1024**2)
        with_past(tmp_path, "homes", [60.0])
        ran = self.run("--from", "2026-03-28", "--days", "2", services=services(*tasks, state=tmp_path))

        assert ran.stdout.splitlines() == [
            "local                        UTC               task    what",
            "Sat 2026-03-28 02:30 +01:00  2026-03-28 01:30  photos  takes ~20 min, moves ~600.0 MiB, at most 1.0 MiB/s",
            "Sun 2026-03-29 03:00 +02:00  2026-03-29 01:00  homes   takes ~1 min",
            "Sun 2026-03-29 03:00 +02:00  2026-03-29 01:00  photos  "
            "waits ~1 min: homes writes to the same destination, takes ~20 min, moves ~600.0 MiB, at most 1.0 MiB/s; "
            "clocks skip 02:00-03:00: 02:30 runs at 03:00",
            "Sun 2026-03-29 03:01 +02:00  2026-03-29 01:01  after   after homes",
            "",
            "4 fire times of 3 tasks: 3 run at once, 1 wait (longest ~1 min, photos at Sun 2026-03-29 03:00 +02:00), "
            "0 skipped, 1 where clocks change.",
            "At most 1 at once, first at 2026-03-28 01:30 UTC; usually at most 512.0 KiB/s together, first at "
            "2026-03-28 01:30 UTC.",
            "How long these take is not known, so they hold up nobody here: after.",
        ]

    def test_json_and_a_drawing(self, tmp_path: Path):
        names = [f"task {number}" for number in range(3)] + ["<b>&\"' ]]>"]
        tasks = [make_task(name, schedule=NIGHTLY) for name in names]
        target = tmp_path / "drawing.svg"
        for name in names:
            with_past(tmp_path, name, [3600.0], size_bytes=10**9)
        chosen = services(*tasks, state=tmp_path, service=ServiceSettings(executions=2))
        ran = self.run(
            "--from", "2026-03-20T00:00Z", "--days", "400", "--json", "--svg", str(target), services=chosen
        )

        simulation = json.loads(ran.stdout)["simulation"]
        assert len(simulation["fires"]) == 400 * 4
        assert simulation["start"] == "2026-03-20T00:00:00Z"
        assert [fire["task"] for fire in simulation["fires"][:4]] == sorted(names)
        assert [fire["wait_seconds"] for fire in simulation["fires"][:4]] == [0, 3600, 7200, 10800]
        assert simulation["fires"][1]["starts_at"] == "2026-03-20T02:30:00Z"
        assert len([fire for fire in simulation["fires"] if fire["dst_kind"] == "gap"]) == 2 * 4
        drawing = xml.dom.minidom.parse(str(target))
        texts = [node.firstChild.data for node in drawing.getElementsByTagName("text")]
        assert set(names) <= set(texts)
        assert "clocks change (12)" in texts
        assert not {"script", "image", "use", "a"} & {
            node.tagName for node in drawing.getElementsByTagName("*")
        }
        assert "href" not in target.read_text()

    def test_only_the_tasks_that_are_named(self):
        tasks = [make_task("a", schedule=NIGHTLY), make_task("b", schedule=ScheduleSettings(after=("a",)))]
        ran = self.run("b", "--json", services=services(*tasks))

        assert json.loads(ran.stdout)["simulation"]["tasks"] == ["b"]
        assert json.loads(ran.stdout)["notes"] == ["b runs after a, which is not simulated"]
        assert "note: b runs after a, which is not simulated" in ran.stderr

    def test_it_begins_now_and_takes_thirty_days(self):
        simulation = json.loads(self.run("--json", services=services(make_task(schedule=NIGHTLY))).stdout)[
            "simulation"
        ]

        assert (simulation["start"], simulation["end"]) == ("2026-11-22T19:00:00Z", "2026-12-22T19:00:00Z")
        assert len(simulation["fires"]) == 30

    def test_without_history_durations_are_unknown(self):
        class NoHistory(FakeServices):
            def history(self, configuration: Any, clock: Any) -> Any:
                class Down:
                    def list(self, **wanted: Any) -> Any:
                        raise HistoryUnavailable("the database is down")

                    def close(self) -> None: ...

                return Down()

        chosen = NoHistory(configuration_answer=make_configuration(make_task(schedule=NIGHTLY)))
        ran = self.run("--days", "1", services=chosen)

        assert ran.exit_code == ExitCode.DONE
        assert "note: how long executions take is not known: the database is down" in ran.stderr
        assert "How long these take is not known" in ran.stdout

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--from", "soon"], "option --from: 'soon' is not a date such as 2026-03-29"),
            (["--from", "9999-01-01"], "the year has to be from 1900 to 2900"),
            (["--days", "0"], "option --days: '0' is not a number above zero"),
            (["--days", "40000"], "option --days: at most 36,500"),
            (["nobody"], "there is no task 'nobody'"),
            (["--svg", "/nonexistent/x.svg"], "/nonexistent/x.svg cannot be written"),
        ],
    )
    def test_what_is_refused(self, words: list[str], message: str):
        ran = self.run(*words, services=services(make_task(schedule=NIGHTLY)))

        assert ran.exit_code == ExitCode.USAGE
        assert message in ran.stderr

    def test_nothing_to_simulate(self):
        off = ScheduleSettings(cron="0 2 * * *", enabled=False)
        ran = self.run(services=services(make_task("a"), make_task("b", schedule=off)))

        assert ran.exit_code == ExitCode.USAGE
        assert "no task to simulate" in ran.stderr


def test_options_of_simulate_belong_to_simulate():
    ran = command("schedule", "--days", "3", services=services(make_task(schedule=NIGHTLY)))

    assert ran.exit_code == ExitCode.USAGE
    assert "option --days belongs to schedule simulate" in ran.stderr


def with_past(state: Path, task: str, durations: list[float], size_bytes: int = 0) -> None:
    """Executions of a task that succeeded and took that long."""
    history = open_history(str(state / "history.sqlite"), FakeClock())
    for number, seconds in enumerate(durations):
        ended = datetime(2026, 1, 1 + number, tzinfo=UTC) + timedelta(seconds=seconds)
        report: Report = make_report(task, counters=Counters(bytes_transferred=size_bytes))
        execution: Execution = msgspec.structs.replace(
            report.execution,
            execution_id=hashlib.sha256(f"{task} {number}".encode()).hexdigest()[:12],
            started_at=f"2026-01-{1 + number:02}T00:00:00.000Z",
            ended_at=ended.isoformat().replace("+00:00", "Z"),
            duration_seconds=seconds,
        )
        history.record_end(msgspec.structs.replace(report, execution=execution), str(state))
    history.close()
