"""What is remembered between executions, in one small SQLite file: facts of objects, uploads begun, features proved.

Everything in it can be worked out again: a file that is damaged, locked or deleted costs time, never correctness.
Several processes use it at once; an object of this class belongs to one thread at a time.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from runner.clock import Clock, SystemClock
from runner.model.entry import path_bytes

from .client import ObjectFacts, Pairs, Upload

SETTLED_NS = 2_000_000_000
"""Facts read sooner than this after the object was written are not kept: a second write within the granularity of
the server's times would go unseen."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (key BLOB PRIMARY KEY, etag TEXT, modified INTEGER, size INTEGER, record BLOB)
  WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (key BLOB, id TEXT, execution TEXT, begun INTEGER, size INTEGER, part INTEGER,
  content TEXT, PRIMARY KEY (key, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS features (name TEXT PRIMARY KEY, record BLOB) WITHOUT ROWID;
"""
_VERSION = 1
NOTES_AT_ONCE = 500
_SECOND = 1_000_000_000


class Record(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a look at an object told beyond its listing."""

    metadata: Pairs
    headers: Pairs
    link_target: str | None = None
    readable: bool = True


class UploadRecord(msgspec.Struct, frozen=True):
    """An upload of ours that was begun: of which content (size, and what tells it from another), in which parts."""

    upload: Upload
    execution_id: str
    size_bytes: int | None
    part_bytes: int
    content: str


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Record)


class Memory:
    """The file for one endpoint, bucket and prefix. Every method does nothing, and finds nothing, where it fails."""

    def __init__(self, directory: str | None, identity: str, clock: Clock | None = None) -> None:
        """`directory` None: nothing is remembered."""
        self._clock = clock or SystemClock()
        self._file: str | None = None
        if directory is not None:
            name = hashlib.sha256(path_bytes(identity)).hexdigest()[:32]
            self._file = os.path.join(directory, f"objects-{name}.sqlite")
        self._connection: sqlite3.Connection | None = None
        self._notes: list[tuple[ObjectFacts, Record]] = []

    @property
    def keeps(self) -> bool:
        return self._file is not None

    # -- facts of objects ----------------------------------------------------------------------------------

    def known(self, page: Sequence[ObjectFacts]) -> dict[str, Record]:
        """Records for the objects of one page (in the order of their keys) that are unchanged since they were read.

        Rows of keys that the page passes over are dropped: those objects are gone.
        """
        found: dict[str, Record] = {}
        if not page or self._file is None:
            return found
        with self._trying() as database:
            if database is None:
                return found
            rows = database.execute(
                "SELECT key, etag, modified, size, record FROM facts WHERE key BETWEEN ? AND ?",
                (path_bytes(page[0].key), path_bytes(page[-1].key)),
            )
            held = {row[0]: row for row in rows}
            if not held:
                return found
            for facts in page:
                row = held.pop(path_bytes(facts.key), None)
                if row is not None and _is_of(row, facts):
                    found[facts.key] = _DECODER.decode(row[4])
            if held:
                with database:
                    database.execute("BEGIN IMMEDIATE")
                    database.executemany("DELETE FROM facts WHERE key = ?", [(key,) for key in held])
        return found

    def note(self, facts: ObjectFacts, record: Record) -> None:
        """As `remember`, for one look: written with others, at the latest by `close`."""
        if self._file is not None:
            self._notes.append((facts, record))
            if len(self._notes) >= NOTES_AT_ONCE:
                self._write_notes()

    def _write_notes(self) -> None:
        notes, self._notes = self._notes, []
        self.remember(notes)

    def remember(self, looked: Iterable[tuple[ObjectFacts, Record]]) -> None:
        """Keep records. The facts are those of the listing or of the look, with the server's time of the look as
        `served_ns`."""
        if self._file is None:
            return
        rows = [
            (path_bytes(facts.key), facts.etag, facts.modified_ns, facts.size_bytes, _ENCODER.encode(record))
            for facts, record in looked
            if facts.modified_ns is not None
            and facts.etag is not None
            and facts.served_ns is not None
            and facts.served_ns - facts.modified_ns >= SETTLED_NS
        ]
        if not rows:
            return
        with self._trying() as database:
            if database is not None:
                with database:
                    database.execute("BEGIN IMMEDIATE")
                    database.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)", rows)

    # -- uploads -------------------------------------------------------------------------------------------

    def note_upload(self, record: UploadRecord) -> None:
        with self._trying() as database:
            if database is not None:
                upload = record.upload
                begun_ns = upload.begun_ns
                if begun_ns is None:
                    begun_ns = int(self._clock.now().timestamp() * 1e9)
                database.execute(
                    "INSERT OR REPLACE INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        path_bytes(upload.key),
                        upload.id,
                        record.execution_id,
                        begun_ns,
                        record.size_bytes,
                        record.part_bytes,
                        record.content,
                    ),
                )

    def forget_upload(self, upload: Upload) -> None:
        with self._trying() as database:
            if database is not None:
                database.execute(
                    "DELETE FROM uploads WHERE key = ? AND id = ?", (path_bytes(upload.key), upload.id)
                )

    def uploads(self, key: str | None = None) -> list[UploadRecord]:
        """Uploads of ours that were begun, of one key or all."""
        records: list[UploadRecord] = []
        with self._trying() as database:
            if database is not None:
                query = "SELECT key, id, execution, begun, size, part, content FROM uploads"
                rows = (
                    database.execute(query)
                    if key is None
                    else database.execute(f"{query} WHERE key = ?", (path_bytes(key),))
                )
                for row in rows:
                    upload = Upload(row[0].decode("utf-8", "surrogateescape"), row[1], row[3])
                    records.append(UploadRecord(upload, row[2], row[4], row[5], row[6]))
        return records

    # -- features ------------------------------------------------------------------------------------------

    def proved(self, name: str) -> bytes | None:
        """What was kept under that name."""
        with self._trying() as database:
            if database is not None:
                row = database.execute("SELECT record FROM features WHERE name = ?", (name,)).fetchone()
                return bytes(row[0]) if row is not None else None
        return None

    def keep_proof(self, name: str, record: bytes) -> None:
        with self._trying() as database:
            if database is not None:
                database.execute("INSERT OR REPLACE INTO features VALUES (?, ?)", (name, record))

    # -- the file ------------------------------------------------------------------------------------------

    def close(self) -> None:
        if self._notes:
            self._write_notes()
        self._drop_connection()

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    @contextlib.contextmanager
    def _trying(self) -> Iterator[sqlite3.Connection | None]:
        """The database, or None. What SQLite cannot do is not done; a file that is none is thrown away."""
        database: sqlite3.Connection | None = None
        with self._forgiving():
            database = self._opened()
        with self._forgiving():
            yield database

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.OperationalError, OSError):
            # Locked, full, read-only: another time.
            self._drop_connection()
        except (sqlite3.DatabaseError, msgspec.DecodeError, UnicodeDecodeError):
            self._drop_connection()
            self._throw_away()

    def _opened(self) -> sqlite3.Connection | None:
        if self._connection is None and self._file is not None:
            os.makedirs(os.path.dirname(self._file), mode=0o700, exist_ok=True)
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600))
            connection = sqlite3.connect(
                self._file, timeout=2.0, isolation_level=None, check_same_thread=False
            )
            try:
                connection.execute("PRAGMA journal_mode=WAL")
                connection.execute("PRAGMA synchronous=OFF")
                (version,) = connection.execute("PRAGMA user_version").fetchone()
                if version not in (0, _VERSION):
                    raise sqlite3.DatabaseError("a file of another version")
                connection.executescript(f"{_SCHEMA} PRAGMA user_version={_VERSION};")
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _throw_away(self) -> None:
        assert self._file is not None
        for suffix in ("", "-wal", "-shm"):
            with contextlib.suppress(OSError):
                os.unlink(self._file + suffix)


def _is_of(row: tuple[bytes, str, int, int, bytes], facts: ObjectFacts) -> bool:
    """Whether a row is of the object as a listing shows it now. A look tells its time in whole seconds, a listing
    perhaps more exactly; a row is only kept when seconds tell it from any later write (SETTLED_NS)."""
    _, etag, modified_ns, size_bytes, _ = row
    if (etag, size_bytes) != (facts.etag, facts.size_bytes) or facts.modified_ns is None:
        return False
    return modified_ns in (facts.modified_ns, facts.modified_ns - facts.modified_ns % _SECOND)
