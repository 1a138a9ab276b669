"""History in a SQLite file: durable, private, and what becomes of one that is corrupt, full, planted or closed."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from history_support import MakesReport, started, store_report
from sqlalchemy import event

from runner.history.records import HistoryUnavailable
from runner.history.state import StateDirectory
from runner.history.store import History, open_history
from runner.testing.fake_clock import FakeClock


def start(history: History, execution_id: str) -> None:
    history.record_start(started(execution_id))


def test_durability_is_as_promised(file_history: History, state: StateDirectory) -> None:
    start(file_history, "65a000000001")
    seen = file_history._database.read(
        lambda connection: [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    )
    assert seen == ["wal", 2, 1, 50]


def test_database_files_are_private_under_umask_000(file_history: History, state: StateDirectory) -> None:
    old = os.umask(0)
    try:
        start(file_history, "65a000000001")
        # The -wal and -shm files exist while a connection is open.
        modes = file_history._database.read(
            lambda connection: {
                name: stat.S_IMODE(os.stat(os.path.join(state.path, name)).st_mode)
                for name in os.listdir(state.path)
                if name.startswith("history") and connection.exec_driver_sql("SELECT 1").scalar_one()
            }
        )
    finally:
        os.umask(old)
    assert modes == {"history.sqlite": 0o600, "history.sqlite-wal": 0o600, "history.sqlite-shm": 0o600}


def test_a_database_that_others_could_read_is_closed(file_history: History, state: StateDirectory) -> None:
    Path(state.history_file).touch(0o644)
    os.chmod(state.history_file, 0o644)
    start(file_history, "65a000000001")
    assert stat.S_IMODE(os.stat(state.history_file).st_mode) == 0o600


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
    file_history: History, state: StateDirectory, report_of: MakesReport, how: str
) -> None:
    for number in range(3):
        report = report_of(f"65a00000000{number}")
        file_history.record_end(report, store_report(state, report))
    damage(state.history_file, how)
    damaged = Path(state.history_file).read_bytes()
    file_history.record_end(report_of("65a000000009"), store_report(state, report_of("65a000000009")))
    assert Path(state.history_file + ".corrupt-1").read_bytes() == damaged
    assert len(file_history.warnings) == 1 and f"{state.history_file}.corrupt-1" in file_history.warnings[0]
    assert file_history.backfill(state) == ["65a000000000", "65a000000001", "65a000000002"]
    assert len(file_history.list()) == 4


def test_each_corrupt_file_is_kept(file_history: History, state: StateDirectory) -> None:
    for number in (1, 2):
        Path(state.history_file).write_bytes(b"garbage %d" % number * 100)
        assert file_history.list() == []
    kept = sorted(name for name in os.listdir(state.path) if "corrupt" in name)
    assert kept == ["history.sqlite.corrupt-1", "history.sqlite.corrupt-2"]
    assert Path(state.path, kept[0]).read_bytes() == b"garbage 1" * 100
    assert stat.S_IMODE(os.stat(state.history_file).st_mode) == 0o600


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

    event.listen(history._database._engine, "connect", limited)
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
def test_an_unwritable_folder_is_reported(file_history: History, immutable: str) -> None:
    with pytest.raises(HistoryUnavailable) as caught:
        start(file_history, "65a000000001")
    assert "history.sqlite" in caught.value.message
    assert file_history.list() == []


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
@pytest.mark.parametrize("owner", [0, 65534])
def test_a_folder_that_this_user_may_not_write_is_reported(
    file_history: History, state: StateDirectory, owner: int, report_of: MakesReport
) -> None:
    """Another user's private folder, and a read-only one of the user's own with a database in it."""
    start(file_history, "65a000000001")
    report = report_of("65a000000001")
    folder = store_report(state, report)
    for path in (state.path, state.history_file):
        os.chown(path, owner, owner)
    os.chmod(state.path, 0o500)
    # The parents made by pytest are root's alone.
    here = os.open(".", os.O_RDONLY)
    os.chdir(state.path)
    relative = open_history("history.sqlite", FakeClock())
    relative._database.backend.file = "history.sqlite"
    os.seteuid(65534)
    try:
        with pytest.raises(HistoryUnavailable) as caught:
            relative.record_end(report, folder)
    finally:
        os.seteuid(0)
        os.fchdir(here)
        os.close(here)
    assert "history.sqlite" in caught.value.message
    assert [row.status.value for row in file_history.list()] == ["RUNNING"]
    assert file_history.backfill(state) == ["65a000000001"]


def test_a_planted_link_is_not_followed(file_history: History, state: StateDirectory, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"")
    os.symlink(victim, state.history_file)
    with pytest.raises(HistoryUnavailable, match="symbolic links"):
        start(file_history, "65a000000001")
    assert victim.read_bytes() == b""
