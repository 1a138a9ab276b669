"""What PostgreSQL alone can do to a history: end sessions, refuse rights, run full, rot, and keep silent."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator

import pytest
from history_backends import PostgresBackend, opened
from history_support import MakesReport, started, store_report
from servers.process import free_port
from servers.serve_postgres import Postgres, serve_postgres
from sqlalchemy import Connection, text

from runner.history.postgres import CONNECT_SECONDS, PostgresDatabase
from runner.history.records import HistoryUnavailable
from runner.history.state import StateDirectory
from runner.history.store import History, open_history
from runner.testing.fake_clock import FakeClock

CANARY = "canary/4711@"
ROWS = "SELECT execution_id FROM executions ORDER BY execution_id"


@pytest.fixture
def database(postgres: Postgres) -> Iterator[PostgresBackend]:
    backend = PostgresBackend(postgres)
    yield backend
    backend.drop()


@pytest.fixture
def kept(database: PostgresBackend, clock: FakeClock) -> Iterator[History]:
    """A history with one execution in it."""
    history = opened(database, clock)
    history.record_start(started("65a000000001"))
    yield history
    history.close()


@pytest.mark.servers
def test_a_session_ended_in_the_middle_has_one_more_try(kept: History, database: PostgresBackend) -> None:
    ended: list[int] = []

    def operation(connection: Connection) -> None:
        connection.execute(text("UPDATE executions SET summary = summary || 'x'"))
        if not ended:
            ended.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
            database.execute(f"SELECT pg_terminate_backend({ended[0]})")
            connection.execute(text("SELECT 1"))

    kept._database.write(operation)
    assert len(ended) == 1
    assert database.execute("SELECT summary FROM executions") == [("x",)]


@pytest.mark.servers
def test_sessions_that_are_ended_each_time_are_given_up(kept: History, database: PostgresBackend) -> None:
    tries: list[int] = []

    def operation(connection: Connection) -> None:
        tries.append(connection.execute(text("SELECT pg_backend_pid()")).scalar_one())
        database.execute(f"SELECT pg_terminate_backend({tries[-1]})")
        connection.execute(text("SELECT 1"))

    with pytest.raises(HistoryUnavailable, match="terminat"):
        kept._database.write(operation)
    assert len(set(tries)) == 2


@pytest.mark.servers
def test_a_conflict_has_one_more_try(kept: History) -> None:
    tries: list[int] = []

    def operation(connection: Connection) -> int:
        tries.append(1)
        if len(tries) == 1:
            connection.execute(
                text("DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = 'serialization_failure'; END $$")
            )
        return len(tries)

    assert kept._database.write(operation) == 2


@pytest.mark.servers
def test_a_dropped_database_is_told_and_filled_again_when_it_is_back(
    kept: History, database: PostgresBackend, state: StateDirectory, report_of: MakesReport
) -> None:
    server, name = database.server, database.database
    report = report_of("65a000000001")
    folder = store_report(state, report)
    server.drop(name)
    with pytest.raises(HistoryUnavailable, match="does not exist"):
        kept.record_end(report, folder)
    server.execute("postgres", f'CREATE DATABASE "{name}"')
    assert kept.backfill(state) == ["65a000000001"]
    assert database.execute(ROWS) == [("65a000000001",)]


@pytest.mark.servers
def test_a_user_who_may_make_no_tables_is_told_what_to_grant(
    database: PostgresBackend, clock: FakeClock
) -> None:
    """Since version 15 nobody but the owner may, in the schema `public`."""
    server, role = database.server, f"role_{database.database}"
    database.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
    history = open_history(server.url(database.database, user=role, password="x"), clock)
    with pytest.raises(HistoryUnavailable, match="permission denied") as caught:
        history.list()
    assert caught.value.remedy is not None and "GRANT USAGE, CREATE ON SCHEMA public" in caught.value.remedy
    database.execute(f"GRANT USAGE, CREATE ON SCHEMA public TO {role}")
    assert history.list() == []
    database.execute(f"DROP OWNED BY {role}")
    database.execute(f"DROP ROLE {role}")


@pytest.mark.servers
def test_a_statement_that_takes_too_long_is_ended(
    kept: History, monkeypatch: pytest.MonkeyPatch, database: PostgresBackend, clock: FakeClock
) -> None:
    monkeypatch.setattr("runner.history.postgres.STATEMENT_SECONDS", 0.1)
    with pytest.raises(HistoryUnavailable, match="statement timeout") as caught:
        kept._database.read(lambda connection: connection.execute(text("SELECT pg_sleep(60)")))
    assert caught.value.remedy is not None and "slow or busy" in caught.value.remedy


@pytest.mark.servers
def test_one_writes_at_a_time(kept: History, database: PostgresBackend, clock: FakeClock) -> None:
    other = opened(database, clock)

    def operation(connection: Connection) -> None:
        assert [row.execution_id for row in other.list()] == ["65a000000001"]
        with pytest.raises(HistoryUnavailable, match="lock timeout"):
            other.record_start(started("65a000000002"))

    kept._database.write(operation)
    other.record_start(started("65a000000002"))
    assert len(kept.list()) == 2


@pytest.mark.servers
def test_a_reader_sees_one_state(kept: History, database: PostgresBackend) -> None:
    def operation(connection: Connection) -> list[int]:
        counts = []
        for _ in range(2):
            counts.append(connection.execute(text("SELECT count(*) FROM executions")).scalar_one())
            database.execute("DELETE FROM executions")
        return counts

    assert kept._database.read(operation) == [1, 1]


@pytest.mark.servers
def test_the_unix_socket_will_do(database: PostgresBackend, clock: FakeClock) -> None:
    history = open_history(database.server.url(database.database, socket=True), clock)
    history.record_start(started("65a000000001"))
    assert database.execute(ROWS) == [("65a000000001",)]


@pytest.mark.servers
def test_what_the_url_says_is_respected(database: PostgresBackend, clock: FakeClock) -> None:
    history = open_history(database.url + "?application_name=mine&options=-csearch_path%3Dother", clock)
    database.execute("CREATE SCHEMA other")
    history.record_start(started("65a000000001"))
    assert database.execute(ROWS.replace("executions", "other.executions")) == [("65a000000001",)]
    name = history._database.read(
        lambda connection: connection.execute(text("SHOW application_name")).scalar_one()
    )
    assert name == "mine"


# -- a server that is full, and one that rots ----------------------------------------------------------------


@pytest.fixture(scope="module")
def fragile() -> Iterator[Postgres]:
    with serve_postgres() as server:
        yield server


@pytest.mark.servers
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small file system")
def test_a_full_disk_is_told_and_caught_up(
    fragile: Postgres, clock: FakeClock, state: StateDirectory, report_of: MakesReport
) -> None:
    small = fragile.folder / "small"
    small.mkdir()
    options = f"size=16M,mode=700,uid={fragile.data.stat().st_uid}"
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(small)], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    name = "history_small"
    try:
        fragile.execute("postgres", f"CREATE TABLESPACE small LOCATION '{small}'")
        fragile.execute("postgres", f"CREATE DATABASE {name} TABLESPACE small STRATEGY file_copy")
        history = open_history(fragile.url(name), clock)
        history.record_start(started("65a000000001"))
        ballast = small / "ballast"
        with pytest.raises(OSError), ballast.open("wb", buffering=0) as stream:
            while True:
                stream.write(b"\0" * 4096)
        report = report_of("65a000000001", config_file=os.urandom(1_000_000).hex())
        with pytest.raises(HistoryUnavailable, match="No space left") as caught:
            history.record_end(report, store_report(state, report))
        assert caught.value.remedy == "Free space on the database's disk."
        assert [row.status.value for row in history.list()] == ["RUNNING"]
        ballast.unlink()
        assert history.backfill(state) == ["65a000000001"]
        history.close()
    finally:
        fragile.drop(name)
        with contextlib.suppress(Exception):
            fragile.execute("postgres", "DROP TABLESPACE small")
        subprocess.run(["umount", "-l", str(small)], check=True)


@pytest.mark.servers
@pytest.mark.slow
def test_a_damaged_table_is_told_and_left_alone(fragile: Postgres, clock: FakeClock) -> None:
    name = fragile.new_database()
    history = open_history(fragile.url(name), clock)
    history.record_start(started("65a000000001"))
    ((file,),) = fragile.execute(name, "SELECT pg_relation_filepath('executions')")
    fragile.execute(name, "CHECKPOINT")
    fragile.kill()
    path = fragile.data / file
    with path.open("r+b") as stream:
        stream.seek(100)
        stream.write(b"\xa5" * 4000)
    damaged = path.read_bytes()
    fragile.start()
    for operation in (history.list, lambda: history.record_start(started("65a000000001"))):
        with pytest.raises(HistoryUnavailable, match="invalid page") as caught:
            operation()
        assert caught.value.remedy is not None and "damaged" in caught.value.remedy
    assert path.read_bytes() == damaged


# -- nobody there, and nothing that may be seen --------------------------------------------------------------


def test_a_connection_that_is_refused_is_told_at_once(clock: FakeClock) -> None:
    history = open_history(f"postgresql://user@127.0.0.1:{free_port()}/db", clock)
    with pytest.raises(HistoryUnavailable, match="refused") as caught:
        history.list()
    assert caught.value.remedy is not None and "See that the server runs" in caught.value.remedy
    assert "\n" not in caught.value.message


@pytest.mark.slow
def test_one_that_never_answers_is_waited_for_briefly(clock: FakeClock) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as hole:
        history = open_history(f"postgresql://user@127.0.0.1:{hole.getsockname()[1]}/db", clock)
        began = time.monotonic()
        with pytest.raises(HistoryUnavailable, match="timeout"):
            history.record_start(started("65a000000001"))
        assert time.monotonic() - began < CONNECT_SECONDS + 3


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://user:{0}@127.0.0.1:{1}/db",
        "postgresql://user@127.0.0.1:{1}/db?password={0}",
        "postgresql://user:{0}@127.0.0.1:{1}/db?host=nosuchhost.invalid",
        "postgresql://user:{0}@/db?host=/nonexistent&port={1}&sslpassword={0}",
        "postgresql://user:{0}@127.0.0.1:{1}/db?nosuchoption={0}",
    ],
)
def test_no_message_holds_the_password(clock: FakeClock, url: str) -> None:
    quoted = "canary%2F4711%40"
    history = open_history(url.format(quoted, free_port()), clock)
    with pytest.raises(HistoryUnavailable) as caught:
        history.list()
    shown = f"{caught.value} {caught.value!r} {caught.value.remedy} {history._database.backend.name}"
    assert not [secret for secret in (CANARY, quoted, "4711") if secret in shown], shown


def test_a_password_that_a_server_repeats_is_hidden() -> None:
    import sqlalchemy

    backend = PostgresDatabase(
        sqlalchemy.make_url("postgresql://user:canary%2F4711%40@host/db"), busy_timeout_seconds=1
    )
    for told in (f"no such thing: {CANARY}\nhere", "no such thing: canary%2F4711%40 here"):
        assert backend.cause(ValueError(told)) == ("no such thing: *** here", None)
    assert backend.name == "postgresql+psycopg://user:***@host/db"
