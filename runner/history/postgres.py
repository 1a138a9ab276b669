"""History in PostgreSQL 15 or later: bounded waits, one writer at a time, and errors told without the password.

Every limit is set inside its transaction, and nothing is prepared on the server, so that a connection pooler between
may hand out another session each time.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, quote_plus

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from runner.errors import MissingExtraError, UsageError
from runner.history.backend import Recovery, begins_immediately

CONNECT_SECONDS = 3
STATEMENT_SECONDS = 15

_DRIVER = "postgresql+psycopg"
_WRITERS = 0x73796E632D72756E
"""The advisory lock of whoever writes history ("sync-run" in ASCII): also the first, who makes the tables."""

# A server that is gone without a word is noticed in about ten seconds, not in two hours.
_CONNECTION: dict[str, Any] = {
    "connect_timeout": CONNECT_SECONDS,
    "application_name": "sync-runner",
    "client_encoding": "utf8",
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "prepare_threshold": None,
}

# SQLSTATEs (PostgreSQL manual, appendix A).
_UNDEFINED_TABLE = "42P01"
_SAME_AGAIN = frozenset({"40001", "40P01", "57P01", "57P02"})
_REMEDIES = {
    "25006": "Let the database be written: it, its server or this user's sessions are read-only.",
    "3D000": "Make it, as an administrator: createdb --owner USER NAME",
    "42501": "Let the user of settings.history make tables there: GRANT USAGE, CREATE ON SCHEMA public TO user.",
    "53100": "Free space on the database's disk.",
    "53300": "Let the server take more connections (max_connections), or run fewer programs that use it.",
    "55P03": "Another program holds its tables locked: close that program, then run again.",
    "57014": "The server is slow or busy: see what it does (pg_stat_activity), then run again.",
    "XX001": "The server's data is damaged: restore the database, or take a new one.",
    "XX002": "The server's data is damaged: REINDEX, or restore the database.",
}
_NO_CONNECTION = "See that the server runs and that address, user and password in settings.history are right."


class PostgresDatabase:
    """A Backend: one database of a server. `url`: of SQLAlchemy, with postgresql:// or postgresql+psycopg://."""

    exists = True

    def __init__(self, url: URL, *, busy_timeout_seconds: float) -> None:
        self._url = url.set(drivername=_DRIVER)
        # A query may hold a password, too.
        self.name = self._url.set(query={}).render_as_string(hide_password=True)
        self.warnings: list[str] = []
        self._lock_timeout_ms = max(1, int(busy_timeout_seconds * 1000))

    def new_engine(self) -> Engine:
        arguments = {name: value for name, value in _CONNECTION.items() if name not in self._url.query}
        try:
            engine = sqlalchemy.create_engine(
                self._url,
                poolclass=NullPool,
                hide_parameters=True,
                use_native_hstore=False,
                connect_args=arguments,
            )
        except ImportError as error:
            raise MissingExtraError(
                f"history: {self.name} needs the package {error.name or 'psycopg'!r}, which is not installed",
                remedy="Install it: pip install 'sync-runner[postgres]'",
            ) from error
        except SQLAlchemyError as error:
            raise UsageError(f"settings.history: {self.name} cannot be used: {self._safe(error)}") from None
        event.listen(engine, "begin", self._on_begin)
        return engine

    def is_another(self) -> bool:
        return False

    def lacks_tables(self, error: DBAPIError) -> bool:
        return _state(error) == _UNDEFINED_TABLE

    def recover(self, error: DBAPIError) -> Recovery:
        """A connection that broke and a conflict have one more try; tables that were dropped are made anew."""
        if _state(error) == _UNDEFINED_TABLE:
            return Recovery.NEW_SCHEMA
        # Never true of a connection that did not come about: waiting for that twice would help nobody.
        if error.connection_invalidated or _state(error) in _SAME_AGAIN:
            return Recovery.AGAIN
        return Recovery.NONE

    def cause(self, error: Exception) -> tuple[str, str | None]:
        state = _state(error)
        if state is None and isinstance(error, sqlalchemy.exc.OperationalError):
            return self._safe(error), _NO_CONNECTION
        return self._safe(error), None if state is None else _REMEDIES.get(state)

    def _on_begin(self, connection: Connection) -> None:
        steps = [
            f"SET LOCAL statement_timeout = {STATEMENT_SECONDS * 1000}",
            f"SET LOCAL lock_timeout = {self._lock_timeout_ms}",
            f"SET LOCAL idle_in_transaction_session_timeout = {STATEMENT_SECONDS * 1000}",
        ]
        if begins_immediately(connection):
            steps.append(f"SELECT pg_advisory_xact_lock({_WRITERS})")
        else:
            # What its queries see is one state; it has to come before every query.
            steps.insert(0, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        connection.exec_driver_sql("; ".join(steps))

    def _safe(self, error: Exception) -> str:
        """What the error says, in one line and without the password."""
        original = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
        diagnosis = getattr(original, "diag", None)
        text = " ".join(str(getattr(diagnosis, "message_primary", None) or original).split())
        query = [word for name in ("password", "sslpassword") for word in _words(self._url.query.get(name))]
        for secret in [*_words(self._url.password), *query]:
            text = text.replace(secret, "***")
        return text


def _words(secret: object) -> list[str]:
    """A secret as it may stand in a message: as it is, and as a URL has it."""
    if isinstance(secret, tuple):
        return [word for one in secret for word in _words(one)]
    text = str(secret) if secret else ""
    return [text, quote(text, safe=""), quote_plus(text)] if text else []


def _state(error: BaseException) -> str | None:
    """The SQLSTATE; None when the server did not say any: there was no connection."""
    original = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(original, "sqlstate", None)
    return None if state is None else str(state)
