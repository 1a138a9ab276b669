"""Retention: what is past its time goes, from the database and from the state folder, and nothing else does."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from history_backends import Backend, opened
from history_project import Project
from history_support import MakesReport, started, store_report

from runner.history.retention import prune_history
from runner.history.started import note_start
from runner.history.state import StateDirectory
from runner.history.store import History
from runner.model.automation import Retention
from runner.model.entry import Phase
from runner.model.task import Configuration
from runner.testing.fake_clock import START, FakeClock


def days_ago(days: float) -> str:
    """The execution id of that time."""
    return f"{int((START - timedelta(days=days)).timestamp()):08x}0001"


def configuration(state: StateDirectory, keep_days: float = 30, keep_last: int = 1) -> Configuration:
    return Configuration("sync.yaml", {}, {}, state.path, retention=Retention(keep_days, keep_last))


def leave(state: StateDirectory, report_of: MakesReport, days: float, **how: object) -> str:
    """An execution's folder, which history has not been told of."""
    report = report_of(days_ago(days), started_at=START - timedelta(days=days), **how)  # type: ignore[arg-type]
    store_report(state, report)
    return report.execution.execution_id


def test_what_history_never_heard_of_keeps_its_place(
    history: History, state: StateDirectory, report_of: MakesReport, clock: FakeClock
) -> None:
    """The database was lost; the last success is in the folders alone."""
    old = leave(state, report_of, 50)
    success = leave(state, report_of, 40)
    failed = leave(state, report_of, 35, status=Phase.ERROR)
    assert prune_history(configuration(state), history, state, clock) == [old]
    assert state.execution_ids() == [success, failed]
    assert [row.execution_id for row in history.list()] == [failed, success]


def test_folders_that_tell_nothing_go_when_they_are_old(
    history: History, state: StateDirectory, report_of: MakesReport, clock: FakeClock
) -> None:
    for days in (40, 20):
        state.execution_folder(days_ago(days), create=True)
    torn = state.execution_folder(days_ago(39), create=True)
    Path(torn, "report.json").write_text('{"torn')
    running = state.execution_folder(days_ago(38), create=True)
    note_start(running, started(days_ago(38), started_at=START - timedelta(days=38)))
    assert prune_history(configuration(state), history, state, clock) == [days_ago(40), days_ago(39)]
    assert state.execution_ids() == [days_ago(38), days_ago(20)]


def test_a_database_that_others_share_stays_theirs_where_the_rule_spares_it(
    history: History, backend: Backend, state: StateDirectory, report_of: MakesReport, clock: FakeClock
) -> None:
    other = opened(backend, clock)
    other.record_end(report_of("000000000001", task="elsewhere"), "/another/state")
    assert prune_history(configuration(state), history, state, clock) == []
    assert [row.task for row in history.list()] == ["elsewhere"]
    other.close()


def test_the_command_says_what_it_forgot(tmp_path: Path) -> None:
    project = Project(tmp_path, None)
    project.configure({"retention": {"keep": "1ms", "keep_last": 1}})
    for _ in range(3):
        assert project.run("run", "photos").code == 0
    ids = [execution_id for execution_id, _ in project.executions()]
    text = project.run("history", "--prune")
    assert text.code == 0
    assert text.out.splitlines()[0].startswith("Forgot 2 executions (older than ")
    assert text.out.splitlines()[1:] == [f"  {ids[2]}", f"  {ids[1]}"]
    assert project.run("history", "--prune", "--json").json == {"forgotten": []}
    assert [execution_id for execution_id, _ in project.executions()] == ids[:1]
    assert project.run("history", "photos", "--prune").code == 2
