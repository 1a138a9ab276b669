"""What a kind of database has to tell: how it is reached, and what its errors mean. sqlite and postgres are two."""

from __future__ import annotations

import enum
from typing import Protocol

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

IMMEDIATE = "sync_runner_immediate"
"""The execution option of a transaction that excludes other writers."""


class Recovery(enum.Enum):
    """What to do about an error, once: nothing, the same again, or the same in what may have no tables."""

    NONE = "none"
    AGAIN = "again"
    NEW_SCHEMA = "new_schema"


class Backend(Protocol):
    """One database. `name` is for people and holds no password. `warnings`: what a person should hear."""

    name: str
    warnings: list[str]

    @property
    def exists(self) -> bool:
        """False only when it is surely not there: reading would find nothing."""
        ...

    def new_engine(self) -> Engine:
        """An engine that pools nothing and begins its transactions as IMMEDIATE says. Connects to nothing yet.

        Raises MissingExtraError, UsageError.
        """
        ...

    def is_another(self) -> bool:
        """Whether it is surely not the database of the last call, so that its tables are not known. Raises OSError."""
        ...

    def lacks_tables(self, error: DBAPIError) -> bool:
        """Whether a query failed because its table is not there."""
        ...

    def recover(self, error: DBAPIError) -> Recovery:
        """What to do about this error; whatever has to be moved out of the way has been. Raises OSError."""
        ...

    def cause(self, error: Exception) -> tuple[str, str | None]:
        """An error in a line, without secrets, and what a person can do about it."""
        ...


def begins_immediately(connection: Connection) -> bool:
    """Whether the transaction that begins now is to exclude other writers."""
    return bool(connection.get_execution_options().get(IMMEDIATE, False))
