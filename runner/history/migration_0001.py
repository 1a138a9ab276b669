"""Schema version 1: executions, and the findings that failed. Frozen: later changes get modules of their
own."""

from __future__ import annotations

from sqlalchemy import (
    Column,
    Connection,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)


def upgrade(connection: Connection) -> None:
    """Make the tables in an empty database."""
    metadata = MetaData()
    Table("schema_version", metadata, Column("version", Integer, nullable=False))
    Table(
        "executions",
        metadata,
        Column("execution_id", String(12), primary_key=True),
        Column("task", Text, nullable=False),
        Column("trigger", String(20), nullable=False),
        Column("status", String(20), nullable=False),
        Column("exit_code", Integer),
        Column("summary", Text, nullable=False),
        Column("started_at", String(24), nullable=False),
        Column("ended_at", String(24)),
        Column("duration_seconds", Float),
        Column("host", Text, nullable=False),
        Column("pid", Integer),
        Column("process_key", Text),
        Column("runner_version", Text),
        Column("config_file", Text, nullable=False),
        Column("config_digest", Text, nullable=False),
        Column("filter_digest", Text, nullable=False),
        Column("plan_digest", Text),
        Column("source", Text),
        Column("source_identity", Text),
        Column("destination", Text),
        Column("destination_identity", Text),
        Column("counters", Text, nullable=False),
        Column("problems_total", Integer, nullable=False),
        Column("findings_total", Integer, nullable=False),
        Column("folder", Text),
        Index("executions_by_start", "started_at"),
        Index("executions_by_task", "task", "started_at"),
    )
    Table(
        "findings",
        metadata,
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
    metadata.create_all(connection)
