"""A database that is killed, corrupt, locked, full, read-only, planted or gone: loud, never harmful."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_support import MakesReport, started, store_report
from sqlalchemy import event

from runner.errors import MissingExtraError, UsageError
from runner.history.records import HistoryUnavailable
from runner.history.state import StateDirectory
from runner.history.store import History, open_history
from runner.testing.fake_clock import FakeClock


def start(history: History, execution_id: str) -> None:
    history.record_start(started(execution_id))


def test_durability_is_as_promised(history: History, state: StateDirectory) -> None:
    start(history, "65a000000001")
    seen = history._database.read(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    )
    assert seen == ["wal", 2, 1, 50]


def test_database_files_are_private_under_umask_000(history: History, state: StateDirectory) -> None:
    old = os.umask(0)
    try:
        start(history, "65a000000001")
        # The -wal and -shm files exist while a connection is open.
        modes = history._database.read(
            lambda connection: {
                name: stat.S_IMODE(os.stat(os.path.join(state.path, name)).st_mode)
                for name in os.listdir(state.path)
                if name.startswith("history") and connection.exec_driver_sql("SELECT 1").scalar_one()
            }
        )
    finally:
        os.umask(old)
    assert modes == {"history.sqlite": 0o600, "history.sqlite-wal": 0o600, "history.sqlite-shm": 0o600}


def test_a_database_that_others_could_read_is_closed(history: History, state: StateDirectory) -> None:
    Path(state.history_file).touch(0o644)
    os.chmod(state.history_file, 0o644)
    start(history, "65a000000001")
    assert stat.S_IMODE(os.stat(state.history_file).st_mode) == 0o600


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
def test_kill_9_loses_no_acknowledged_row(state: StateDirectory, clock: FakeClock, rows: int) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, state.history_file], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    acknowledged = [writer.stdout.readline() for _ in range(rows)]
    writer.send_signal(signal.SIGKILL)
    acknowledged += writer.communicate()[0].splitlines(keepends=True)
    whole = [line.decode().strip() for line in acknowledged if line.endswith(b"\n")]
    with sqlite3.connect(state.history_file) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()
    history = open_history(state.history_file, clock)
    kept = {row.execution_id for row in history.list(limit=100_000)}
    assert len(whole) >= rows
    assert set(whole) - kept == set()
    marked = history.mark_interrupted("nas")
    assert {row.execution_id for row in marked} == kept


def damage(path: str, how: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        if how == "header":
            file.write(b"this is not a database at all")
        elif how == "truncated":
            file.truncate(size // 2)
        elif how == "page":
            file.seek(4096)
            file.write(b"\xa5" * (size - 4096))


@pytest.mark.parametrize("how", ["header", "truncated", "page"])
def test_a_corrupt_file_is_kept_aside_and_refilled(
    history: History, state: StateDirectory, report_of: MakesReport, how: str
) -> None:
    for number in range(3):
        report = report_of(f"65a00000000{number}")
        history.record_end(report, store_report(state, report))
    damage(state.history_file, how)
    damaged = Path(state.history_file).read_bytes()
    history.record_end(report_of("65a000000009"), store_report(state, report_of("65a000000009")))
    assert Path(state.history_file + ".corrupt-1").read_bytes() == damaged
    assert len(history.warnings) == 1 and f"{state.history_file}.corrupt-1" in history.warnings[0]
    assert history.backfill(state) == ["65a000000000", "65a000000001", "65a000000002"]
    assert len(history.list()) == 4


def test_each_corrupt_file_is_kept(history: History, state: StateDirectory) -> None:
    for number in (1, 2):
        Path(state.history_file).write_bytes(b"garbage %d" % number * 100)
        assert history.list() == []
    kept = sorted(name for name in os.listdir(state.path) if "corrupt" in name)
    assert kept == ["history.sqlite.corrupt-1", "history.sqlite.corrupt-2"]
    assert Path(state.path, kept[0]).read_bytes() == b"garbage 1" * 100
    assert stat.S_IMODE(os.stat(state.history_file).st_mode) == 0o600


def test_a_locked_database_is_reported_and_caught_up(
    history: History, state: StateDirectory, report_of: MakesReport
) -> None:
    start(history, "65a000000001")
    other = sqlite3.connect(state.history_file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    report = report_of("65a000000001")
    with pytest.raises(HistoryUnavailable) as caught:
        history.record_end(report, store_report(state, report))
    assert "database is locked" in caught.value.message
    assert caught.value.remedy is not None
    assert [row.status.value for row in history.list()] == ["RUNNING"]
    other.execute("ROLLBACK")
    other.close()
    assert history.backfill(state) == ["65a000000001"]
    assert [row.status.value for row in history.list()] == ["SUCCESS"]


def test_a_full_database_is_reported_and_what_was_there_stays(
    state: StateDirectory, clock: FakeClock, report_of: MakesReport
) -> None:
    history = open_history(state.history_file, clock)
    start(history, "65a000000001")
    pages = history._database.read(
        lambda connection: connection.exec_driver_sql("PRAGMA page_count").scalar()
    )

    def limited(connection: sqlite3.Connection, record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(history._database._connected(), "connect", limited)
    big = report_of("65a000000002", config_file="x" * 500_000)
    with pytest.raises(HistoryUnavailable, match="database or disk is full"):
        history.record_end(big, store_report(state, big))
    assert [row.execution_id for row in history.list()] == ["65a000000001"]
    assert open_history(state.history_file, clock).backfill(state) == ["65a000000002"]


@pytest.fixture
def immutable(state: StateDirectory) -> Iterator[str]:
    done = subprocess.run(["chattr", "+i", state.path], capture_output=True)
    if done.returncode != 0:
        pytest.skip("chattr +i does not work here")
    yield state.path
    subprocess.run(["chattr", "-i", state.path], check=True)


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="makes a folder immutable")
def test_an_unwritable_folder_is_reported(history: History, immutable: str) -> None:
    with pytest.raises(HistoryUnavailable) as caught:
        start(history, "65a000000001")
    assert "history.sqlite" in caught.value.message
    assert history.list() == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("owner", [0, 65534])
def test_a_folder_that_this_user_may_not_write_is_reported(
    history: History, state: StateDirectory, owner: int, report_of: MakesReport
) -> None:
    """Another user's private folder, and a read-only one of the user's own with a database in it."""
    start(history, "65a000000001")
    report = report_of("65a000000001")
    folder = store_report(state, report)
    for path in (state.path, state.history_file):
        os.chown(path, owner, owner)
    os.chmod(state.path, 0o500)
    # The parents made by pytest are root's alone.
    here = os.open(".", os.O_RDONLY)
    os.chdir(state.path)
    relative = open_history("history.sqlite", FakeClock())
    relative._database.file = "history.sqlite"
    os.seteuid(65534)
    try:
        with pytest.raises(HistoryUnavailable) as caught:
            relative.record_end(report, folder)
    finally:
        os.seteuid(0)
        os.fchdir(here)
        os.close(here)
    assert "history.sqlite" in caught.value.message
    assert [row.status.value for row in history.list()] == ["RUNNING"]
    assert history.backfill(state) == ["65a000000001"]


def test_a_read_only_file_is_reported(history: History, state: StateDirectory) -> None:
    """Root may write any file, so SQLite refuses here."""
    start(history, "65a000000001")

    def read_only(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA query_only=ON")

    event.listen(history._database._connected(), "connect", read_only)
    with pytest.raises(HistoryUnavailable, match="readonly database"):
        start(history, "65a000000002")
    assert len(history.list()) == 1


def test_a_planted_link_is_not_followed(history: History, state: StateDirectory, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    os.symlink(victim, state.history_file)
    with pytest.raises(HistoryUnavailable, match="symbolic links"):
        start(history, "65a000000001")
    assert victim.read_bytes() == b""


def test_a_history_that_vanishes_while_open_starts_anew(history: History, state: StateDirectory) -> None:
    start(history, "65a000000001")
    os.remove(state.history_file)
    start(history, "65a000000002")
    assert [row.execution_id for row in history.list()] == ["65a000000002"]


def test_two_processes_write_at_once(state: StateDirectory, clock: FakeClock) -> None:
    code = WRITER.replace('f"{number:012x}"', 'sys.argv[2] + f"{number:011x}"').replace(
        "while True", "for _ in range(15)"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", code, state.history_file, letter], stdout=subprocess.DEVNULL)
        for letter in "ab"
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(open_history(state.history_file, clock).list(limit=100)) == 30


def test_another_database_needs_its_extra(clock: FakeClock) -> None:
    history = open_history("postgresql+psycopg://user:secret@host/db", clock)
    try:
        import psycopg  # type: ignore[import-not-found] # noqa: F401
    except ImportError:
        with pytest.raises(MissingExtraError) as caught:
            history.list()
        assert "psycopg" in str(caught.value) and "secret" not in str(caught.value)


def test_what_is_no_database_url_is_a_usage_error(clock: FakeClock) -> None:
    with pytest.raises(UsageError, match="not a database URL"):
        open_history("nosuchdatabase://host/db", clock).list()
