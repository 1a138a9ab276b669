"""A database that is killed with its writer, locked, read-only, gone or of no known kind: loud, never harmful."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest
from history_backends import Backend, SqliteBackend, opened
from history_support import MakesReport, started, store_report

from runner.errors import MissingExtraError, UsageError
from runner.history.records import HistoryUnavailable
from runner.history.state import StateDirectory
from runner.history.store import History, open_history
from runner.testing.fake_clock import FakeClock


def start(history: History, execution_id: str) -> None:
    history.record_start(started(execution_id))


WRITER = """
import os, sys
from datetime import UTC, datetime
from runner.clock import SystemClock
from runner.history.started import Started
from runner.history.store import open_history
from runner.model.execution import Trigger
history = open_history(sys.argv[1], SystemClock())
start = datetime(2026, 3, 1, tzinfo=UTC)
number = 0
while True:
    name = f"{number:012x}"
    history.record_start(Started(name, "photos", Trigger.MANUAL, "f", "c", "d", "nas", os.getpid(), None, start))
    os.write(1, b"%012x\\n" % number)
    number += 1
"""


@pytest.mark.parametrize("rows", [1, 5, 12])
def test_kill_9_loses_no_acknowledged_row(backend: Backend, clock: FakeClock, rows: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, backend.url], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline() for _ in range(rows)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += writer.communicate()[0].splitlines(keepends=True)
    whole = [line.decode().strip() for line in acknowledged if line.endswith(b"\n")]
    if isinstance(backend, SqliteBackend):
        assert backend.execute("PRAGMA integrity_check") == [("ok",)]
    history = open_history(backend.url, clock)
    kept = {row.execution_id for row in history.list(limit=100_000)}
    assert len(whole) >= rows
    assert set(whole) - kept == set()
    marked = history.mark_interrupted("nas")
    assert {row.execution_id for row in marked} == kept


def test_a_locked_database_is_reported_and_caught_up(
    history: History, backend: Backend, state: StateDirectory, report_of: MakesReport
) -> None:
    start(history, "65a000000001")
    report = report_of("65a000000001")
    with backend.locked():
        with pytest.raises(HistoryUnavailable) as caught:
            history.record_end(report, store_report(state, report))
        assert [row.status.value for row in history.list()] == ["RUNNING"]
    assert "lock" in caught.value.message
    assert caught.value.remedy is not None and "close that program" in caught.value.remedy
    assert history.backfill(state) == ["65a000000001"]
    assert [row.status.value for row in history.list()] == ["SUCCESS"]


def test_a_read_only_database_is_reported_and_still_read(history: History, backend: Backend) -> None:
    start(history, "65a000000001")
    with backend.read_only():
        with pytest.raises(HistoryUnavailable, match=r"readonly database|read-only transaction") as caught:
            start(history, "65a000000002")
        assert caught.value.remedy is not None
        assert len(history.list()) == 1
    start(history, "65a000000002")
    assert len(history.list()) == 2


def test_a_history_that_vanishes_while_open_starts_anew(history: History, backend: Backend) -> None:
    start(history, "65a000000001")
    backend.vanish()
    start(history, "65a000000002")
    assert [row.execution_id for row in history.list()] == ["65a000000002"]


def test_a_history_that_vanishes_is_read_as_empty(history: History, backend: Backend) -> None:
    start(history, "65a000000001")
    backend.vanish()
    assert history.list() == []


def test_two_processes_write_at_once(backend: Backend, clock: FakeClock) -> None:
    code = WRITER.replace('f"{number:012x}"', 'sys.argv[2] + f"{number:011x}"').replace(
        "while True", "for _ in range(15)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, backend.url, letter], stdout=subprocess.DEVNULL)
        for letter in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(opened(backend, clock).list(limit=100)) == 30


def test_another_database_needs_its_extra(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    # None stands for a package that is not installed (the import system's own convention).
    monkeypatch.setitem(sys.modules, "psycopg", None)
    history = open_history("postgresql+psycopg://user:secret@host/db", clock)
    with pytest.raises(MissingExtraError) as caught:
        history.list()
    assert "psycopg" in str(caught.value) and "sync-runner[postgres]" in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "nosuchdatabase://user:canary@host/db",
        "mysql://user:canary@host/db",
        "postgresql+psycopg2://user:canary@host/db",
        "postgresql://user:ca:nary@host:canary/db",
        "postgresql://user:canary@host:port@canary:99/db",
        "://canary",
        "sqlite://",
        "sqlite:///:memory:",
    ],
)
def test_what_is_no_database_url_is_a_usage_error(clock: FakeClock, url: str) -> None:
    with pytest.raises(UsageError, match="not a database URL") as caught:
        open_history(url, clock).list()
    shown: BaseException | None = caught.value
    while shown is not None:
        assert "canary" not in str(shown)
        shown = shown.__cause__ or (None if shown.__suppress_context__ else shown.__context__)


def test_a_file_may_be_named_by_a_url(clock: FakeClock, state: StateDirectory) -> None:
    """With all that holds of one named by its path."""
    history = open_history(f"sqlite:///{state.history_file}", clock)
    start(history, "65a000000001")
    modes = history._database.read(
        lambda connection: connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
    )
    assert modes == "wal"
    assert opened(SqliteBackend(state.history_file), clock).list() == history.list()
