"""What became of every scheduled time, in a small database of the service's own.

It is the truth of exactly-once: a slot that stands here is never decided again, whatever clocks and kills do. History
is told from here when it can be reached. A disk that takes nothing keeps nobody from running: what could not be
written stays in memory and is tried again.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from runner.clock import iso_utc
from runner.history.records import SlotOutcome, SlotRecord

_SCHEMA = """
CREATE TABLE IF NOT EXISTS slots (
    task TEXT NOT NULL, slot TEXT NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL, execution_id TEXT,
    decided_at TEXT NOT NULL, published INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (task, slot)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS slots_unpublished ON slots (published) WHERE published = 0;
CREATE TABLE IF NOT EXISTS decided (task TEXT PRIMARY KEY, until TEXT NOT NULL, schedule TEXT NOT NULL) WITHOUT ROWID;
"""
_ROWS_AT_ONCE = 1000


class Ledger:
    """Slots by task and time. Single-threaded. `note` and `decide_until` are on the disk after `flush`."""

    def __init__(self, path: str, *, durable: bool = True) -> None:
        """A file that is damaged is kept beside a new one; `warnings` says so. Raises OSError, sqlite3.Error."""
        self.path = path
        self.warnings: list[str] = []
        self._durable = durable
        self._pending: dict[tuple[str, str], SlotRecord] = {}
        self._advanced: dict[str, tuple[str, str]] = {}
        try:
            self._connection = self._opened()
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) not in (
                sqlite3.SQLITE_CORRUPT,
                sqlite3.SQLITE_NOTADB,
            ):
                raise
            self._keep_aside()
            self._connection = self._opened()
        self._decided: dict[str, tuple[str, str]] = {
            task: (until, schedule)
            for task, until, schedule in self._connection.execute("SELECT task, until, schedule FROM decided")
        }

    def decided_until(self, task: str, schedule: str) -> datetime | None:
        """Every slot of the task up to then has been decided; None for a task that is new, or has another schedule."""
        until, known = self._decided.get(task, ("", ""))
        return _instant(until) if until and known == schedule else None

    def decide_until(self, task: str, until: datetime, schedule: str) -> None:
        """All slots of that schedule up to then are decided. May go back: what stands here stays decided."""
        self._decided[task] = self._advanced[task] = (iso_utc(until), schedule)

    def note(self, record: SlotRecord) -> None:
        """Write down what became of a slot, in place of what was known of it."""
        self._pending[record.task, iso_utc(record.slot)] = record

    def knows(self, task: str, slot: datetime) -> bool:
        """Whether anything was ever decided about that slot."""
        key = (task, iso_utc(slot))
        if key in self._pending:
            return True
        query = "SELECT 1 FROM slots WHERE task = ? AND slot = ?"
        return self._connection.execute(query, key).fetchone() is not None

    @property
    def has_news(self) -> bool:
        """Whether `flush` would write anything."""
        return bool(self._pending or self._advanced)

    def flush(self) -> str | None:
        """Write everything down in one transaction; None, or why it could not be: it is kept for the next time."""
        if not self._pending and not self._advanced:
            return None
        rows = [
            (
                record.task,
                slot,
                record.outcome.value,
                record.reason,
                record.execution_id,
                iso_utc(record.decided_at),
            )
            for (_, slot), record in self._pending.items()
        ]
        try:
            with self._connection:
                self._connection.executemany(
                    "INSERT OR REPLACE INTO slots (task, slot, outcome, reason, execution_id, decided_at, published)"
                    " VALUES (?, ?, ?, ?, ?, ?, 0)",
                    rows,
                )
                self._connection.executemany(
                    "INSERT OR REPLACE INTO decided VALUES (?, ?, ?)",
                    [(task, *decided) for task, decided in self._advanced.items()],
                )
        except sqlite3.Error as error:
            return f"the ledger of scheduled times {self.path} cannot be written: {error}"
        self._pending.clear()
        self._advanced.clear()
        return None

    def unfinished(self) -> list[SlotRecord]:
        """Slots that wait, or run as far as the ledger knows it, oldest first. For a service that starts."""
        return list(self._select("outcome = 'QUEUED' ORDER BY slot"))

    def of_execution(self, execution_id: str) -> list[SlotRecord]:
        """The slots that this execution met."""
        return list(self._select("execution_id = ? ORDER BY slot", execution_id))

    def unpublished(self, at_most: int = _ROWS_AT_ONCE) -> list[SlotRecord]:
        """Slots that history has not been told of. Only what is flushed."""
        return list(self._select("published = 0 LIMIT ?", at_most))

    def mark_published(self, records: Iterable[SlotRecord]) -> None:
        """History knows these, as they are. One that has changed since is told again."""
        with self._connection:
            self._connection.executemany(
                "UPDATE slots SET published = 1 WHERE task = ? AND slot = ? AND outcome = ? AND decided_at = ?",
                [
                    (record.task, iso_utc(record.slot), record.outcome.value, iso_utc(record.decided_at))
                    for record in records
                ],
            )

    def count(self) -> dict[SlotOutcome, int]:
        """How many slots came to which end."""
        query = "SELECT outcome, count(*) FROM slots GROUP BY outcome"
        return {SlotOutcome(outcome): number for outcome, number in self._connection.execute(query)}

    def forget(self, before: datetime) -> int:
        """Remove slots that are older, published and decided; how many."""
        with self._connection:
            return self._connection.execute(
                "DELETE FROM slots WHERE slot < ? AND published = 1 AND outcome != 'QUEUED'",
                (iso_utc(before),),
            ).rowcount

    def close(self) -> None:
        self.flush()
        self._connection.close()

    def _select(self, where: str, *values: object) -> Iterator[SlotRecord]:
        self.flush()
        # `where` is one of the literals above; values are bound.
        query = "SELECT task, slot, outcome, reason, execution_id, decided_at FROM slots WHERE " + where  # noqa: S608
        for task, slot, outcome, reason, execution_id, decided_at in self._connection.execute(query, values):
            yield SlotRecord(
                task=task,
                slot=_instant(slot),
                outcome=SlotOutcome(outcome),
                reason=reason,
                execution_id=execution_id,
                decided_at=_instant(decided_at),
            )

    def _opened(self) -> sqlite3.Connection:
        # Before SQLite makes it with the umask's mode; -wal and -shm take its mode over.
        os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self.path, timeout=5.0)
        try:
            mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
            level = ("FULL" if mode == "wal" else "EXTRA") if self._durable else "OFF"
            connection.execute(f"PRAGMA synchronous={level}")
            connection.executescript(_SCHEMA)
            connection.execute("SELECT count(*) FROM slots").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _keep_aside(self) -> None:
        number = 1
        while os.path.lexists(f"{self.path}.corrupt-{number}"):
            number += 1
        aside = f"{self.path}.corrupt-{number}"
        os.rename(self.path, aside)
        for suffix in ("-wal", "-shm"):
            if os.path.lexists(self.path + suffix):
                os.rename(self.path + suffix, aside + suffix)
        self.warnings.append(
            f"the ledger of scheduled times was damaged and is kept as {aside}; a new one was started"
        )


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
