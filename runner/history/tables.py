"""History's tables as they are today. A change here needs a migration module; a test compares the two."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)

from runner.clock import iso_utc

_ENCODED = "b64:"


class AnyText(TypeDecorator[str]):
    """Text that may hold undecodable names (surrogateescape), which no database takes, or NUL.

    Such a value, and one that looks like it, is stored as "b64:" and base64 of its bytes: nothing is lost.
    """

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Any) -> str | None:
        if value is None:
            return None
        raw = value.encode("utf-8", "surrogateescape")
        plain = not value.startswith(_ENCODED) and "\0" not in value and _is_utf8(raw)
        return value if plain else _ENCODED + base64.b64encode(raw).decode("ascii")

    def process_result_value(self, value: str | None, dialect: Any) -> str | None:
        if value is None or not value.startswith(_ENCODED):
            return value
        try:
            raw = base64.b64decode(value.removeprefix(_ENCODED), validate=True)
        except ValueError:
            # Somebody else wrote it: shown as it stands, not as a guess.
            return value
        return raw.decode("utf-8", "surrogateescape")


class Instant(TypeDecorator[datetime]):
    """An aware instant as RFC 3339 UTC text with milliseconds: sorts by time, reads well, fits every
    database."""

    impl = String(24)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> str | None:
        return None if value is None else iso_utc(value)

    def process_result_value(self, value: str | None, dialect: Any) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value).astimezone(UTC)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


METADATA = MetaData()

SCHEMA_VERSION = Table(
    "schema_version",
    METADATA,
    Column("version", Integer, nullable=False),
)

EXECUTIONS = Table(
    "executions",
    METADATA,
    Column("execution_id", String(12), primary_key=True),
    Column("task", AnyText, nullable=False),
    Column("trigger", String(20), nullable=False),
    Column("status", String(20), nullable=False),
    Column("exit_code", Integer),
    Column("summary", AnyText, nullable=False),
    Column("started_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("duration_seconds", Float),
    Column("host", AnyText, nullable=False),
    Column("pid", Integer),
    Column("process_key", Text),
    Column("runner_version", Text),
    Column("config_file", AnyText, nullable=False),
    Column("config_digest", Text, nullable=False),
    Column("filter_digest", Text, nullable=False),
    Column("plan_digest", Text),
    Column("source", AnyText),
    Column("source_identity", AnyText),
    Column("destination", AnyText),
    Column("destination_identity", AnyText),
    Column("counters", Text, nullable=False),
    Column("problems_total", Integer, nullable=False),
    Column("findings_total", Integer, nullable=False),
    Column("folder", AnyText),
    Column("report_digest", Text),
    Index("executions_by_start", "started_at"),
    Index("executions_by_task", "task", "started_at"),
)

FINDINGS = Table(
    "findings",
    METADATA,
    Column(
        "execution_id",
        String(12),
        ForeignKey("executions.execution_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("number", Integer, primary_key=True),
    Column("path", LargeBinary, nullable=False),
    Column("verdict", String(40), nullable=False),
    Column("fields", Text, nullable=False),
)

SLOTS = Table(
    "slots",
    METADATA,
    Column("task", AnyText, primary_key=True),
    Column("slot", Instant, primary_key=True),
    Column("outcome", String(20), nullable=False),
    Column("reason", AnyText, nullable=False),
    Column("execution_id", String(12)),
    Column("decided_at", Instant, nullable=False),
    Index("slots_by_time", "slot"),
)
