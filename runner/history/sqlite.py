"""History in a SQLite file: durability, private files, and what becomes of a damaged one.

It runs in WAL mode with synchronous=FULL: after a power cut no acknowledged row is missing (WAL with NORMAL lost all
of them). Where WAL is impossible (network file systems) the journal mode stays DELETE with EXTRA.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from contextlib import suppress
from typing import Any

import sqlalchemy
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from runner.history.backend import Recovery, begins_immediately

_CORRUPT = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_HELD = "Another program holds it open: close that program, then run again."
_NOT_OURS = "Make the state folder writable for this user."
_REMEDIES = {
    sqlite3.SQLITE_BUSY: _HELD,
    sqlite3.SQLITE_LOCKED: _HELD,
    sqlite3.SQLITE_FULL: "Free space on that disk.",
    sqlite3.SQLITE_READONLY: _NOT_OURS,
    sqlite3.SQLITE_PERM: _NOT_OURS,
    sqlite3.SQLITE_CANTOPEN: _NOT_OURS,
}


class SqliteFile:
    """A Backend: one file, made 0600 at the first use. A corrupt one is kept aside, and a new one started."""

    def __init__(self, path: str, *, busy_timeout_seconds: float) -> None:
        self.file = os.path.abspath(path)
        self.name = self.file
        self.warnings: list[str] = []
        self._busy_timeout_ms = int(busy_timeout_seconds * 1000)
        self._inode = 0

    @property
    def exists(self) -> bool:
        return os.path.lexists(self.file)

    def new_engine(self) -> Engine:
        url = sqlalchemy.URL.create("sqlite", database=self.file)
        engine = sqlalchemy.create_engine(url, poolclass=NullPool, hide_parameters=True)
        event.listen(engine, "connect", self._on_connect)
        event.listen(engine, "begin", _on_begin)
        return engine

    def is_another(self) -> bool:
        status = _prepare_file(self.file)
        inode, self._inode = self._inode, status.st_ino
        # It was removed or replaced since, or somebody emptied it.
        return status.st_size == 0 or status.st_ino != inode

    def lacks_tables(self, error: DBAPIError) -> bool:
        return _code(error) in (None, sqlite3.SQLITE_ERROR)

    def recover(self, error: DBAPIError) -> Recovery:
        """Rename a corrupt file (with its WAL) so that nothing overwrites it."""
        if _code(error) not in _CORRUPT:
            return Recovery.NONE
        number = 1
        while os.path.lexists(f"{self.file}.corrupt-{number}"):
            number += 1
        aside = f"{self.file}.corrupt-{number}"
        os.rename(self.file, aside)
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.rename(self.file + suffix, aside + suffix)
        self.warnings.append(
            f"the history database was damaged and is kept as {aside}; a new one was started, and executions "
            "whose reports are still there are taken over at the next start"
        )
        return Recovery.NEW_SCHEMA

    def cause(self, error: Exception) -> tuple[str, str | None]:
        code = _code(error)
        cause = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        return cause, None if code is None else _REMEDIES.get(code)

    def _on_connect(self, connection: Any, record: object) -> None:
        # Python's sqlite3 begins transactions late and not before DDL; _on_begin does it instead.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={self._busy_timeout_ms}")
        mode = cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        cursor.execute("PRAGMA synchronous=" + ("FULL" if mode == "wal" else "EXTRA"))
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()


def _on_begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if begins_immediately(connection) else "BEGIN")


def _code(error: BaseException) -> int | None:
    """SQLite's primary result code; None for every other error."""
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
