"""The connection to history's database: its schema, transactions, and what becomes of every fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from runner.errors import UsageError
from runner.history.backend import IMMEDIATE, Backend, Recovery
from runner.history.migrate import CURRENT_VERSION, migrate, refuse_later
from runner.history.records import HistoryUnavailable

T = TypeVar("T")


def backend_of(url_or_path: str, *, busy_timeout_seconds: float) -> Backend:
    """The kind of database that a path or a URL names: SQLite or PostgreSQL. Nothing is touched.

    Raises:
        UsageError: it is neither; the message repeats nothing that may be a password.
    """
    from runner.history.sqlite import SqliteFile

    if "://" not in url_or_path:
        return SqliteFile(url_or_path, busy_timeout_seconds=busy_timeout_seconds)
    remedy = "Write sqlite:////absolute/path or postgresql+psycopg://user@host/database."
    try:
        url = sqlalchemy.make_url(url_or_path)
    except (SQLAlchemyError, ValueError):
        # Without a cause: it may quote a part of the password.
        raise UsageError("settings.history is not a database URL", remedy=remedy) from None
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        return SqliteFile(str(url.database), busy_timeout_seconds=busy_timeout_seconds)
    if url.drivername in ("postgresql", "postgresql+psycopg"):
        from runner.history.postgres import PostgresDatabase

        return PostgresDatabase(url, busy_timeout_seconds=busy_timeout_seconds)
    raise UsageError(
        f"settings.history is not a database URL for SQLite or PostgreSQL: it starts with {url.drivername}",
        remedy=remedy,
    )


class Database:
    """Runs operations in transactions. One connection per operation: safe for threads and after a fork.

    `warnings` collects what a person should hear, such as a corrupt file that was kept aside.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.warnings = backend.warnings
        self._engine: Engine | None = None
        self._schema_is_current = False

    @property
    def exists(self) -> bool:
        """False only when it is a file that is not there: reading would find nothing."""
        return self.backend.exists

    def read(self, operation: Callable[[Connection], T]) -> T:
        """Run `operation` in a transaction that sees one state. Raises HistoryUnavailable."""
        return self._run(operation, immediate=False)

    def write(self, operation: Callable[[Connection], T]) -> T:
        """Run `operation` in a transaction that excludes other writers; committed and on the disk on return.

        Raises HistoryUnavailable; nothing was written then, unless the connection broke during the commit. May run
        `operation` twice, so that it has to come to the same when it was committed before.
        """
        return self._run(operation, immediate=True)

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def _run(self, operation: Callable[[Connection], T], *, immediate: bool) -> T:
        try:
            return self._attempt(operation, immediate=immediate)
        except DBAPIError as error:
            if not self._recovered(error):
                raise self._unavailable(error) from error
        except (SQLAlchemyError, OSError) as error:
            raise self._unavailable(error) from error
        try:
            return self._attempt(operation, immediate=immediate)
        except (SQLAlchemyError, OSError) as error:
            raise self._unavailable(error) from error

    def _attempt(self, operation: Callable[[Connection], T], *, immediate: bool) -> T:
        if self.backend.is_another():
            self._schema_is_current = False
        if self._engine is None:
            self._engine = self.backend.new_engine()
        if not self._schema_is_current:
            self._bring_schema_up(self._engine)
        return _transact(self._engine, operation, immediate=immediate)

    def _bring_schema_up(self, engine: Engine) -> None:
        """One query when the schema is current; migrations only when it is behind."""
        try:
            present = _transact(engine, _version, immediate=False)
        except DBAPIError as error:
            if not self.backend.lacks_tables(error):
                raise
            present = 0
        refuse_later(present)
        if present < CURRENT_VERSION:
            # Reads the version again: whoever came first has done it.
            _transact(engine, migrate, immediate=True)
        self._schema_is_current = True

    def _recovered(self, error: DBAPIError) -> bool:
        """Whether it is worth another try."""
        try:
            recovery = self.backend.recover(error)
        except OSError as failure:
            raise self._unavailable(failure) from failure
        if recovery is Recovery.NEW_SCHEMA:
            self.close()
            self._schema_is_current = False
        return recovery is not Recovery.NONE

    def _unavailable(self, error: Exception) -> HistoryUnavailable:
        cause, remedy = self.backend.cause(error)
        return HistoryUnavailable(f"history {self.backend.name} cannot be used: {cause}", remedy=remedy)


def _transact(engine: Engine, operation: Callable[[Connection], T], *, immediate: bool) -> T:
    with engine.connect().execution_options(**{IMMEDIATE: immediate}) as connection, connection.begin():
        return operation(connection)


def _version(connection: Connection) -> int:
    """The schema version; 0 when none is written down."""
    found = connection.execute(text("SELECT version FROM schema_version")).scalar_one_or_none()
    return 0 if found is None else int(found)
