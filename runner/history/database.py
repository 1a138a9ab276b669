"""The connection to history's database: durability, schema, and what becomes of every fault.

SQLite runs in WAL mode with synchronous=FULL: after a power cut no acknowledged row is missing (WAL with
NORMAL lost all of them). Where WAL is impossible (network file systems) the journal mode stays DELETE with
EXTRA.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import sqlalchemy
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from runner.errors import MissingExtraError, UsageError
from runner.history.migrate import CURRENT_VERSION, migrate, refuse_later
from runner.history.records import HistoryUnavailable

T = TypeVar("T")

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_REMEDIES = {
    sqlite3.SQLITE_BUSY: "Another program holds it open: close that program, then run again.",
    sqlite3.SQLITE_LOCKED: "Another program holds it open: close that program, then run again.",
    sqlite3.SQLITE_FULL: "Free space on that disk.",
    sqlite3.SQLITE_READONLY: "Make the state folder writable for this user.",
    sqlite3.SQLITE_PERM: "Make the state folder writable for this user.",
    sqlite3.SQLITE_CANTOPEN: "Make the state folder writable for this user.",
}
_IMMEDIATE = "sync_runner_immediate"


class Database:
    """Runs operations in transactions. One connection per operation: safe for threads and after a fork.

    `warnings` collects what a person should hear, such as a corrupt file that was kept aside.
    """

    def __init__(self, url_or_path: str, *, busy_timeout_seconds: float) -> None:
        self.file = None if "://" in url_or_path else os.path.abspath(url_or_path)
        self.warnings: list[str] = []
        self._url = url_or_path
        self._busy_timeout_ms = int(busy_timeout_seconds * 1000)
        self._engine: Engine | None = None
        self._schema_is_current = False
        self._inode = 0

    @property
    def name(self) -> str:
        """The database for people: a path, or a URL without its password."""
        if self.file is not None:
            return self.file
        return sqlalchemy.make_url(self._url).render_as_string(hide_password=True)

    @property
    def exists(self) -> bool:
        """False only when it is a file that is not there: reading would find nothing."""
        return self.file is None or os.path.lexists(self.file)

    def read(self, operation: Callable[[Connection], T]) -> T:
        """Run `operation` in a transaction that sees one state. Raises HistoryUnavailable."""
        return self._run(operation, immediate=False)

    def write(self, operation: Callable[[Connection], T]) -> T:
        """Run `operation` in a transaction that excludes other writers; committed and on the disk on return.

        Raises HistoryUnavailable; nothing was written then. May run `operation` twice, never committed twice.
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
            if not self._keep_aside_if_corrupt(error):
                raise self._unavailable(error) from error
        except (SQLAlchemyError, OSError) as error:
            raise self._unavailable(error) from error
        try:
            return self._attempt(operation, immediate=immediate)
        except (SQLAlchemyError, OSError) as error:
            raise self._unavailable(error) from error

    def _attempt(self, operation: Callable[[Connection], T], *, immediate: bool) -> T:
        engine = self._connected()
        if not self._schema_is_current:
            self._bring_schema_up(engine)
        with engine.connect().execution_options(**{_IMMEDIATE: immediate}) as connection, connection.begin():
            return operation(connection)

    def _bring_schema_up(self, engine: Engine) -> None:
        """One query when the schema is current; migrations only when it is behind."""
        with engine.connect() as connection:
            try:
                present = int(connection.execute(text("SELECT version FROM schema_version")).scalar_one())
            except DBAPIError as error:
                if _sqlite_code(error) not in (None, sqlite3.SQLITE_ERROR):
                    raise
                present = 0
            except sqlalchemy.exc.NoResultFound:
                present = 0
        refuse_later(present)
        if present < CURRENT_VERSION:
            with engine.connect().execution_options(**{_IMMEDIATE: True}) as connection, connection.begin():
                migrate(connection)
        self._schema_is_current = True

    def _connected(self) -> Engine:
        if self.file is not None:
            status = _prepare_file(self.file)
            if status.st_size == 0 or status.st_ino != self._inode:
                # Not the file of the last time (it was removed or replaced): its tables are not known.
                self._schema_is_current = False
            self._inode = status.st_ino
        if self._engine is None:
            self._engine = self._new_engine()
        return self._engine

    def _new_engine(self) -> Engine:
        if self.file is None:
            try:
                return sqlalchemy.create_engine(self._url, poolclass=NullPool, hide_parameters=True)
            except ImportError as error:
                raise MissingExtraError(
                    f"history: {self.name} needs the package {error.name!r}, which is not installed",
                    remedy="Install it: pip install 'sync-runner[postgres]'",
                ) from error
            except SQLAlchemyError as error:
                raise UsageError(f"history: {self.name} is not a database URL: {error}") from error
        url = sqlalchemy.URL.create("sqlite", database=self.file)
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, hide_parameters=True)
        event.listen(engine, "connect", self._on_connect)
        event.listen(engine, "begin", _on_begin)
        return engine

    def _on_connect(self, connection: Any, record: object) -> None:
        # Python's sqlite3 begins transactions late and not before DDL; _on_begin does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        cursor.execute("PRAGMA synchronous=" + ("FULL" if mode == "wal" else "EXTRA"))
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    def _keep_aside_if_corrupt(self, error: DBAPIError) -> bool:
        """Rename a corrupt SQLite file (with its WAL) so that nothing overwrites it; False when it is not
        that."""
        if self.file is None or _sqlite_code(error) not in _CORRUPT:
            return False
        self.close()
        self._schema_is_current = False
        number = 1
        while os.path.lexists(f"{self.file}.corrupt-{number}"):
            number += 1
        aside = f"{self.file}.corrupt-{number}"
        try:
            os.rename(self.file, aside)
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    os.rename(self.file + suffix, aside + suffix)
        except OSError as failure:
            raise self._unavailable(failure) from failure
        self.warnings.append(
            f"the history database was damaged and is kept as {aside}; a new one was started, and executions "
            "whose reports are still there are taken over at the next start"
        )
        return True

    def _unavailable(self, error: Exception) -> HistoryUnavailable:
        code = _sqlite_code(error)
        cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        return HistoryUnavailable(
            f"history {self.name} cannot be used: {cause}",
            remedy=None if code is None else _REMEDIES.get(code),
        )


def _on_begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get(_IMMEDIATE, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


def _sqlite_code(error: BaseException) -> int | None:
    """SQLite's primary result code; None for every other database or error."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", None)
    return None if code is None else int(code) & 0xFF


def _prepare_file(path: str) -> os.stat_result:
    """Make the file 0600 before SQLite makes it with the umask's mode; -wal and -shm take its mode over."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(descriptor)
        if stat.S_IMODE(status.st_mode) & 0o077 and status.st_uid == os.geteuid():
            os.fchmod(descriptor, 0o600)
        return status
    finally:
        os.close(descriptor)
