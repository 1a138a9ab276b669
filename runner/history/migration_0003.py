"""Schema version 3: the digest of each execution's report. Frozen: later changes get modules of their own."""

from __future__ import annotations

from sqlalchemy import Connection, text


def upgrade(connection: Connection) -> None:
    """Add the column to version 2; of executions before it the digest is unknown."""
    connection.execute(text("ALTER TABLE executions ADD COLUMN report_digest TEXT"))
