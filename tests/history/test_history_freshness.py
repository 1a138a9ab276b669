"""Freshness: what counts as overdue, from standings alone; the command for cron and for monitors."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from history_project import Project
from history_support import MakesReport, store_report
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.history.freshness import CLOCK_TOLERANCE_SECONDS, judge, span, standings_of
from runner.history.standing import (
    BY_USER,
    Rest,
    Standing,
    after_execution,
    standing_file,
    update_standing,
)
from runner.history.state import StateDirectory
from runner.model.entry import Phase
from runner.model.execution import Trigger
from runner.testing.fake_clock import START

HOUR = 3600.0
NOW = START
HEAVY = (
    "sqlalchemy",
    "psycopg",
    "sqlite3",
    "rich",
    "jsonschema",
    "apscheduler",
    "apprise",
    "multiprocessing",
)


def ago(hours: float) -> datetime:
    return NOW - timedelta(hours=hours)


def succeeded(hours: float) -> Standing:
    return Standing(task="photos", last_success="65a000000001", last_success_at=ago(hours))


@pytest.mark.parametrize(
    ("description", "standing", "spared_until", "overdue", "reason"),
    [
        ("young", succeeded(1), None, False, "succeeded 1 h 0 min ago, no more than 26 h"),
        ("just old enough", succeeded(26), None, False, "succeeded 26 h 0 min ago, no more than 26 h"),
        ("too old", succeeded(27), None, True, "succeeded 27 h 0 min ago, more than 26 h"),
        ("a clock a little behind", succeeded(-0.01), None, False, "succeeded 0.00 s ago, no more than 26 h"),
        (
            "a success in the future",
            succeeded(-100),
            None,
            True,
            "the last success lies 4 d 4 h in the future: a clock was wrong, then or now",
        ),
        ("never", Standing(task="photos"), None, True, "has never succeeded"),
        ("new", Standing(task="photos"), ago(-1), False, "has never succeeded, but is new"),
        ("no longer new", Standing(task="photos"), ago(0), True, "has never succeeded"),
        ("grace does not spare an old success", succeeded(27), ago(-1), True, "succeeded 27 h 0 min ago, more than 26 h"),
        (
            "never, and failing",
            Standing(task="photos", failures_in_a_row=1, last_summary="A location could not be opened."),
            None,
            True,
            "has never succeeded; failed once since (A location could not be opened)",
        ),
        (
            "failing since",
            Standing(
                task="photos", last_success_at=ago(30), failures_in_a_row=3, last_summary="Done in part."
            ),
            None,
            True,
            "succeeded 30 h 0 min ago, more than 26 h; failed 3 times in a row since (Done in part)",
        ),
        ("failing, yet fresh", Standing(task="photos", last_success_at=ago(1), failures_in_a_row=3), None, False,
         "succeeded 1 h 0 min ago, no more than 26 h"),
        (
            "paused",
            Standing(task="photos", last_success_at=ago(30), rest=Rest(BY_USER, ago(40), "moving house")),
            None,
            True,
            "succeeded 30 h 0 min ago, more than 26 h; its schedule is paused",
        ),
    ],
)  # fmt: skip
def test_what_counts_as_overdue(
    description: str, standing: Standing, spared_until: datetime | None, overdue: bool, reason: str
) -> None:
    judged = judge(standing, 26 * HOUR, NOW, spared_until)
    assert (judged.overdue, judged.reason) == (overdue, reason), description


@given(
    age=st.floats(-1e6, 1e8, allow_nan=False),
    max_age=st.floats(1, 1e8, allow_nan=False),
    later=st.floats(0, 1e7, allow_nan=False),
)
def test_one_that_is_overdue_stays_so_until_it_succeeds(age: float, max_age: float, later: float) -> None:
    """Except for a success in the future, which time catches up with."""
    standing = Standing(task="t", last_success_at=NOW - timedelta(seconds=age))
    now, then = (judge(standing, max_age, NOW + timedelta(seconds=wait)) for wait in (0.0, later))
    if age >= -CLOCK_TOLERANCE_SECONDS:
        assert then.overdue or not now.overdue
    assert (
        now.overdue == (not -CLOCK_TOLERANCE_SECONDS <= round(age, 6) <= max_age) or abs(age - max_age) < 1e-3
    )


def test_all_that_a_monitor_may_want_is_told() -> None:
    standing = Standing(
        task="photos",
        last_execution="65a000000002",
        last_status=Phase.ERROR,
        last_success="65a000000001",
        last_success_at=ago(30),
        failures_in_a_row=2,
        rest=Rest(BY_USER, ago(40), "moving house"),
    )
    judged = judge(standing, HOUR, NOW)
    assert (judged.task, judged.max_age_seconds, judged.age_seconds) == ("photos", HOUR, 30 * HOUR)
    assert (judged.last_success, judged.last_success_at) == ("65a000000001", ago(30))
    assert (judged.last_execution, judged.last_status) == ("65a000000002", Phase.ERROR)
    assert (judged.failures_in_a_row, judged.paused) == (2, "moving house")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (30, "30.0 s"),
        (300, "5 min"),
        (93600, "26 h"),
        (93660, "26 h 1 min"),
        (86400 * 7, "7 d"),
        (90, "1 min 30 s"),
    ],
)
def test_spans_are_short(seconds: float, text: str) -> None:
    assert span(seconds) == text


# -- where it is known from ----------------------------------------------------------------------------------


def end(state: StateDirectory, report_of: MakesReport, number: int, hours: float, **how: object) -> None:
    report = report_of(f"65a00000000{number}", started_at=ago(hours), **how)  # type: ignore[arg-type]
    store_report(state, report)
    if report.execution.trigger is not Trigger.VERIFY:
        update_standing(state, report.execution.task, lambda before: after_execution(before, report))


def test_standings_tell_of_the_last_success(state: StateDirectory, report_of: MakesReport) -> None:
    end(state, report_of, 1, 9)
    end(state, report_of, 2, 5, status=Phase.ERROR)
    end(state, report_of, 3, 4, task="music")
    found = standings_of(state, ["photos", "music", "none"])
    assert {task: (one.last_success, one.failures_in_a_row) for task, one in found.items()} == {
        "photos": ("65a000000001", 1),
        "music": ("65a000000003", 0),
        "none": (None, 0),
    }


def test_lost_standings_are_made_up_for_by_reports(state: StateDirectory, report_of: MakesReport) -> None:
    for number, how in enumerate(
        (
            {},
            {"status": Phase.CANCELLED},
            {"status": Phase.ERROR},
            {"trigger": Trigger.VERIFY},
            {"task": "music"},
        ),
        1,
    ):
        end(state, report_of, number, 10 - number, **how)
    Path(state.execution_folder("65a000000009", create=True), "report.json").write_text('{"torn')
    shutil.rmtree(os.path.dirname(standing_file(state, "photos")))
    end(state, report_of, 6, 1, status=Phase.ERROR)
    found = standings_of(state, ["photos", "music", "none"])
    assert {task: one.last_success for task, one in found.items()} == {
        "photos": "65a000000001",
        "music": "65a000000005",
        "none": None,
    }
    assert found["photos"].last_success_at == ago(9) + timedelta(seconds=90)
    assert found["photos"].failures_in_a_row == 1


def test_a_damaged_standing_is_made_up_for_too(state: StateDirectory, report_of: MakesReport) -> None:
    end(state, report_of, 1, 9)
    Path(standing_file(state, "photos")).write_bytes(b"\0" * 64)
    assert standings_of(state, ["photos"])["photos"].last_success == "65a000000001"


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_a_state_folder_of_somebody_else_is_no_false_alarm(tmp_path: Path, report_of: MakesReport) -> None:
    state = StateDirectory(str(tmp_path / "state"))
    state.prepare()
    end(state, report_of, 1, 1)
    for folder in (tmp_path, *tmp_path.parents):
        if folder.owner() == "root" and os.access(folder, os.W_OK) and "pytest" in str(folder):
            os.chmod(folder, 0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(UsageError, match="cannot be read") as caught:
            standings_of(state, ["photos"])
    finally:
        os.seteuid(0)
    assert "as the user" in str(caught.value)


# -- the command ---------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path, None, max_age="26h")


def set_success(project: Project, task: str, hours: float) -> None:
    """As an execution that ended so long ago, by the machine's own clock, would have left it."""
    state = StateDirectory(str(project.folder / ".sync-runner"))
    state.prepare()
    when = datetime.fromtimestamp(os.stat(project.folder).st_mtime).astimezone() - timedelta(hours=hours)
    update_standing(
        state,
        task,
        lambda before: Standing(task=task, last_success="65a000000001", last_success_at=when),
    )


def test_a_run_makes_a_task_fresh(project: Project) -> None:
    before = project.command("freshness")
    assert (before.code, "has never succeeded" in before.out, before.err) == (9, True, "")
    assert "photos: sync-runner run photos" in before.out
    assert project.run("run", "photos").code == 0
    after = project.run("freshness")
    assert (after.code, after.err) == (0, "")
    assert after.out.splitlines()[1].split()[:2] == ["photos", "fresh"]


def test_an_overdue_task_is_told_in_every_way(project: Project) -> None:
    set_success(project, "photos", 30)
    text = project.run("freshness")
    assert (text.code, text.out.splitlines()[1].split()[:2]) == (9, ["photos", "overdue"])
    value = project.run("freshness", "photos", "--json")
    assert value.code == 9
    assert value.json["overdue"] == 1
    (task,) = value.json["tasks"]
    assert (task["task"], task["overdue"], task["max_age_seconds"]) == ("photos", True, 93600.0)
    assert 30 * HOUR - 5 < task["age_seconds"] < 30 * HOUR + 300
    nagios = project.run("freshness", "--nagios")
    assert nagios.code == 2
    assert re.fullmatch(
        r"SYNC-RUNNER CRITICAL - 1 of 1 task overdue: photos succeeded 30 h [0-5] min ago, more than 26 h"
        r" \| overdue=1;;0;0;1 oldest=108\d\d\ds;;;0\n",
        nagios.out,
    )


def test_a_fresh_task_in_one_line(project: Project) -> None:
    set_success(project, "photos", 2)
    nagios = project.run("freshness", "--nagios")
    assert nagios.code == 0
    assert re.fullmatch(
        r"SYNC-RUNNER OK - 1 task fresh \| overdue=0;;0;0;1 oldest=7\d\d\ds;;;0\n", nagios.out
    )


def test_grace_spares_what_is_new(project: Project) -> None:
    assert project.run("freshness", "--grace", "1h").code == 0
    an_hour_ago = os.stat(project.folder / "sync.yaml").st_mtime - 3700
    os.utime(project.folder / "sync.yaml", (an_hour_ago, an_hour_ago))
    assert project.run("freshness", "--grace", "1h").code == 9
    assert project.run("freshness", "--grace", "2h").code == 0
    assert project.run("freshness", "--grace", "soon").code == 2


def test_disabled_tasks_are_watched_only_by_name(project: Project) -> None:
    project.configure(max_age="26h", enabled=False)
    assert project.run("freshness", "photos").code == 9
    nothing = project.run("freshness")
    assert (nothing.code, "nothing to watch" in nothing.err) == (2, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["photos"], "declares no max_age"),
        ([], "nothing to watch"),
        (["music"], "there is no task 'music'"),
        (["--nagios", "--json"], "two answers"),
    ],
)
def test_what_cannot_be_judged_ends_with_2(project: Project, words: list[str], message: str) -> None:
    project.configure()
    ran = project.run("freshness", *words)
    assert (ran.code, message in ran.err + ran.out) == (2, True), ran.err


def test_an_unreadable_configuration_is_critical_in_one_line(project: Project) -> None:
    (project.folder / "sync.yaml").write_text("version: [")
    ran = project.run("freshness", "--nagios")
    assert ran.code == 2
    assert ran.out.startswith("SYNC-RUNNER CRITICAL - ") and ran.out.count("\n") == 1 and "|" not in ran.out
    plain = project.run("freshness")
    assert (plain.code, plain.out) == (2, "")


def test_it_needs_no_database_and_loads_nothing_heavy(project: Project) -> None:
    set_success(project, "photos", 1)
    code = (
        "import sys; sys.argv[1:] = ['freshness', '--json']\n"
        "from runner.__main__ import main\n"
        "code = main()\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=project.folder)
    assert ran.returncode == 0
    assert set(ran.stderr.splitlines()) & set(HEAVY) == set()
    assert not (project.folder / ".sync-runner" / "history.sqlite").exists()


def test_a_history_that_is_down_changes_nothing(project: Project) -> None:
    project.history = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    project.configure(max_age="26h")
    set_success(project, "photos", 1)
    assert project.run("freshness").code == 0
