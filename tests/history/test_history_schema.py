"""History's schema: made once, brought forward, never back; a later one is left alone."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest
from history_backends import Backend, engine, opened
from history_support import started
from sqlalchemy import Connection, inspect, text

from runner.history import migrate as migrate_module
from runner.history.records import HistoryUnavailable
from runner.history.store import History
from runner.history.tables import METADATA
from runner.model.execution import Counters, Counts
from runner.testing.fake_clock import FakeClock


def columns_of(backend: Backend) -> dict[str, list[object]]:
    inspector = inspect(engine(backend))
    return {
        table: [
            *[
                (column["name"], str(column["type"]), bool(column["nullable"]))
                for column in inspector.get_columns(table)
            ],
            inspector.get_pk_constraint(table)["constrained_columns"],
            sorted((index["name"], tuple(index["column_names"])) for index in inspector.get_indexes(table)),
        ]
        for table in sorted(inspector.get_table_names())
    }


def test_migrating_from_nothing_gives_todays_tables(history: History, backend: Backend) -> None:
    history.record_start(started("65a000000001"))
    today = backend.another()
    METADATA.create_all(engine(today))
    assert columns_of(backend) == columns_of(today)


def test_steps_run_in_order_once_and_from_every_older_version(backend: Backend) -> None:
    ran: list[int] = []

    def step(version: int) -> migrate_module.Upgrade:
        return lambda connection: ran.append(version)

    upgrades = {2: step(2), 3: step(3)}
    for present in (0, 1, 2, 3):
        database = engine(backend)
        with database.begin() as connection:
            METADATA.drop_all(connection)
        if present:
            with database.begin() as connection:
                migrate_module.migrate(connection, target=present, upgrades=upgrades)
        ran.clear()
        with database.begin() as connection:
            migrate_module.migrate(connection, target=3, upgrades=upgrades)
            assert migrate_module.stored_version(connection) == 3
        assert ran == list(range(max(present, 1) + 1, 4))


def test_every_version_ships_its_module() -> None:
    for version in range(1, migrate_module.CURRENT_VERSION + 1):
        assert callable(migrate_module.shipped(version))


def test_what_version_1_held_is_there_in_todays(backend: Backend, clock: FakeClock) -> None:
    with engine(backend).begin() as connection:
        migrate_module.migrate(connection, target=1)
        connection.execute(
            text(
                "INSERT INTO executions (execution_id, task, trigger, status, summary, started_at, host,"
                " config_file, config_digest, filter_digest, counters, problems_total, findings_total) VALUES"
                " ('65a000000001', 'photos', 'manual', 'SUCCESS', '', '2026-03-01T12:00:00.000Z', 'nas', 'f', 'c',"
                " 'd', '{}', 0, 0)"
            )
        )
    history = opened(backend, clock)
    assert [row.execution_id for row in history.list()] == ["65a000000001"]
    assert history.slots() == []
    assert backend.execute("SELECT version FROM schema_version") == [(migrate_module.CURRENT_VERSION,)]
    history.close()


def test_a_step_that_fails_leaves_the_old_schema(history: History, backend: Backend) -> None:
    history.record_start(started("65a000000001"))

    def broken(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE half (x INTEGER)"))
        raise OSError("power")

    before = columns_of(backend)
    after = migrate_module.CURRENT_VERSION + 1
    with pytest.raises(HistoryUnavailable, match="power"):
        history._database.write(
            lambda connection: migrate_module.migrate(connection, target=after, upgrades={after: broken})
        )
    assert columns_of(backend) == before
    assert len(history.list()) == 1


def test_a_current_schema_loads_no_migration(history: History, backend: Backend) -> None:
    history.record_start(started("65a000000001"))
    code = (
        "import sys\nfrom runner.clock import SystemClock\nfrom runner.history.store import open_history\n"
        f"print(len(open_history({backend.url!r}, SystemClock()).list()))\n"
        "print([name for name in sys.modules if 'migration_' in name or 'alembic' in name])"
    )
    seen = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert seen.stdout == "1\n[]\n"


def test_a_later_schema_is_left_alone(history: History, backend: Backend, clock: FakeClock) -> None:
    history.record_start(started("65a000000001"))
    backend.execute("UPDATE schema_version SET version = 99")
    later = opened(backend, clock)
    with pytest.raises(HistoryUnavailable, match="schema version 99") as caught:
        later.list()
    assert "Upgrade sync-runner" in str(caught.value)
    with pytest.raises(HistoryUnavailable, match="Upgrade sync-runner"):
        later.record_start(started("65a000000002"))
    assert backend.execute("SELECT count(*) FROM executions") == [(1,)]


def test_counters_of_an_older_row_take_todays_defaults(history: History, backend: Backend) -> None:
    history.record_start(started("65a000000001"))
    backend.execute("""UPDATE executions SET counters = '{"listed": {"files": 7}, "gone": 1}'""")
    row = history.get("65a000000001")
    assert row is not None and row.counters == msgspec.structs.replace(Counters(), listed=Counts(files=7))


FIRST_USE = """
import sys
from runner.clock import SystemClock
from runner.history.store import open_history
history = open_history(sys.argv[1], SystemClock())
sys.stdin.read(1)
print(len(history.list()), history.warnings)
"""


def test_the_first_use_by_several_processes_makes_the_schema_once(backend: Backend, clock: FakeClock) -> None:
    """All of them wait at the line, with everything imported."""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, backend.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    if os.path.sep == backend.url[0]:
        # Reading makes no file, so that there has to be one.
        open(backend.url, "wb").close()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate() for process in processes] == [("0 ()\n", "")] * 3
    assert backend.execute("SELECT version FROM schema_version") == [(migrate_module.CURRENT_VERSION,)]
