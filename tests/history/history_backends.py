"""The databases that history's tests run against: a SQLite file, and a database of a real PostgreSQL."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from typing import Any, Protocol

import sqlalchemy
from servers.serve_postgres import Postgres
from sqlalchemy import Engine
from sqlalchemy.pool import NullPool

from runner.clock import Clock
from runner.history.store import History, open_history


class Backend(Protocol):
    """A database of the test's own. `url` is what settings.history would say, or a path."""

    url: str

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement past the program."""
        ...

    def another(self) -> Backend:
        """A fresh one beside it."""
        ...

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Somebody else holds the executions: they can be read, not written."""
        ...

    def read_only(self) -> contextlib.AbstractContextManager[None]: ...

    def vanish(self) -> None:
        """All that is in it is gone."""
        ...


class SqliteBackend:
    def __init__(self, file: str) -> None:
        self.url = file

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        with contextlib.closing(sqlite3.connect(self.url, isolation_level=None)) as connection:
            return connection.execute(statement).fetchall()

    def another(self) -> Backend:
        return SqliteBackend(self.url + "-another")

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with contextlib.closing(sqlite3.connect(self.url, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        # Root may write any file, so SQLite refuses here.
        def refuse(connection: sqlite3.Connection, record: object) -> None:
            connection.execute("PRAGMA query_only=ON")

        sqlalchemy.event.listen(Engine, "connect", refuse)
        try:
            yield
        finally:
            sqlalchemy.event.remove(Engine, "connect", refuse)

    def vanish(self) -> None:
        os.remove(self.url)


class PostgresBackend:
    def __init__(self, server: Postgres) -> None:
        self.server = server
        self.database = server.new_database()
        self.url = server.url(self.database)
        self.others: list[PostgresBackend] = []

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        return self.server.execute(self.database, statement)

    def another(self) -> Backend:
        self.others.append(PostgresBackend(self.server))
        return self.others[-1]

    def drop(self) -> None:
        for backend in (self, *self.others):
            self.server.drop(backend.database)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        with contextlib.closing(self.server.connect(self.database)) as other, other.transaction():
            other.execute("LOCK TABLE executions IN EXCLUSIVE MODE")
            yield

    @contextlib.contextmanager
    def read_only(self) -> Iterator[None]:
        self.execute(f'ALTER DATABASE "{self.database}" SET default_transaction_read_only = on')
        try:
            yield
        finally:
            self.server.execute("postgres", f'ALTER DATABASE "{self.database}" RESET ALL')

    def vanish(self) -> None:
        self.execute("DROP SCHEMA public CASCADE")
        self.execute("CREATE SCHEMA public")


def engine(backend: Backend) -> Engine:
    """A plain engine, without the program's own settings."""
    url = backend.url if "://" in backend.url else f"sqlite:///{backend.url}"
    return sqlalchemy.create_engine(url, poolclass=NullPool)


def opened(backend: Backend, clock: Clock) -> History:
    """History in it; waits for nobody."""
    return open_history(backend.url, clock, busy_timeout_seconds=0.05)
