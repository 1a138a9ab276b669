"""Schema version 2: what became of every scheduled time. Frozen: later changes get modules of their own."""

from __future__ import annotations

from sqlalchemy import Column, Connection, Index, MetaData, String, Table, Text


def upgrade(connection: Connection) -> None:
    """Add the table of slots to version 1."""
    metadata = MetaData()
    Table(
        "slots",
        metadata,
        Column("task", Text, primary_key=True),
        Column("slot", String(24), primary_key=True),
        Column("outcome", String(20), nullable=False),
        Column("reason", Text, nullable=False),
        Column("execution_id", String(12)),
        Column("decided_at", String(24), nullable=False),
        Index("slots_by_time", "slot"),
    )
    metadata.create_all(connection)
