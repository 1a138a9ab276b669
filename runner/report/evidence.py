"""What a report proves about what it was made from: Merkle roots of both sides, digests of the files beside it.

The contract is docs/evidence.md. An *entry* is one action of the plan, in the plan's order: its kind, the digest of
the content as it was read from the source (empty where this program read none), its path, each ended by a NUL byte. A
leaf holds ENTRIES_PER_LEAF entries, the last leaf what is left. The source's tree is over all actions; the
destination's over those that were done and that verification had no objection to. So the roots are equal when, and
only when, everything that was planned is there.
"""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import msgspec

from runner.durable import read_whole
from runner.model.action import ActionKind, Finding, OutcomeStatus
from runner.model.execution import Evidence, SideRoot
from runner.model.wire import decode_line
from runner.report.merkle import MerkleTree
from runner.report.stored import FINDINGS_FILE, OUTCOMES_FILE, PROBLEMS_FILE

ENTRIES_PER_LEAF = 16
"""A leaf an entry would cost twice the time; entries of one leaf are neighbours in the plan."""
PIECE_BYTES = 1 << 20
FILES = (OUTCOMES_FILE, PROBLEMS_FILE, FINDINGS_FILE)
_DONE_ALONE = frozenset({OutcomeStatus.DONE.value})
_MAYBE_ESCAPED = "\ufffd"


class Slice(NamedTuple):
    """Whole lines of a journal whose actions follow one another. Offset and length in bytes."""

    first_id: int
    offset: int
    length: int


if TYPE_CHECKING:
    KindName = str
    StatusName = str
else:
    # Words of a list are decoded without making a new string each time: a third less time for a line.
    KindName = Literal[tuple(kind.value for kind in ActionKind)]
    StatusName = Literal[tuple(status.value for status in OutcomeStatus)]


class _Row(msgspec.Struct, gc=False):
    """What an entry is made of, of an outcome's line."""

    kind: KindName
    path: str
    status: StatusName
    digest: str | None = None


class _Numbered(msgspec.Struct, gc=False):
    action_id: int


_ROWS = msgspec.json.Decoder(_Row)
_NUMBERS = msgspec.json.Decoder(_Numbered)


def evidence_of(folder: str, slices: Sequence[Slice] | None, findings: Iterable[Finding]) -> Evidence:
    """The evidence for a report about to be written into `folder`, whose other files are complete.

    `slices` index outcomes.jsonl, in any order; None where no transfer came to its end: then there are no roots.
    Memory: the slices and one of them at a time. Raises OSError.
    """
    source = destination = None
    if slices is not None:
        objected = {finding.path for finding in findings}
        with open(os.path.join(folder, OUTCOMES_FILE), "rb", buffering=0) as journal:
            source, destination = side_roots(_in_order(journal.fileno(), slices), objected)
    return Evidence(source=source, destination=destination, files=file_digests(folder))


def file_digests(folder: str) -> dict[str, str]:
    """SHA-256 (64 hex digits) of each of FILES that is there. Raises OSError."""
    digests = {}
    for name in FILES:
        try:
            with open(os.path.join(folder, name), "rb", buffering=0) as file:
                digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
                if file.tell() != os.fstat(file.fileno()).st_size:
                    raise OSError(errno.EIO, f"{name} could not be read to its end")
        except FileNotFoundError:
            continue
    return digests


def stored_roots(folder: str, findings: Iterable[Finding]) -> tuple[SideRoot, SideRoot]:
    """The roots of an execution that ended long ago, from its files alone: what `evidence_of` worked out then.

    Reads outcomes.jsonl twice. Memory: three numbers for each run of actions that follow one another.
    Raises OSError, msgspec.MsgspecError, ValueError.
    """
    objected = {finding.path for finding in findings}
    with open(os.path.join(folder, OUTCOMES_FILE), "rb") as journal:
        slices = list(_slices(journal))
        return side_roots(_in_order(journal.fileno(), slices), objected)


def side_roots(pieces: Iterable[bytes], objected: Collection[str]) -> tuple[SideRoot, SideRoot]:
    """Both roots of outcome lines in the order of their actions; `objected` are paths that verification found wrong.

    The destination's tree is one with the source's for as long as nothing is missing from it.
    """
    source = _Side()
    destination: _Side | None = None
    for piece in pieces:
        rows = _ROWS.decode_lines(piece)
        entries = _entries(rows)
        if _MAYBE_ESCAPED in "".join(entries):
            # Names that are not UTF-8: their true bytes stand beside them.
            rows = [decode_line(line, _Row) for line in piece.splitlines()]
            entries = _entries(rows)
        if destination is None and not objected and _DONE_ALONE.issuperset([row.status for row in rows]):
            source.add(entries)
            continue
        destination = destination or source.copy()
        source.add(entries)
        destination.add(
            [
                entry
                for entry, row in zip(entries, rows, strict=True)
                if row.status in _DONE_ALONE and row.path not in objected
            ]
        )
    of_source = source.root()
    return of_source, of_source if destination is None else destination.root()


class _Side:
    """One side's tree, and the entries that do not fill a leaf yet."""

    def __init__(self) -> None:
        self._tree = MerkleTree()
        self._waiting: list[str] = []
        self._entries = 0

    def add(self, entries: list[str]) -> None:
        self._entries += len(entries)
        waiting = self._waiting + entries if self._waiting else entries
        whole = len(waiting) - len(waiting) % ENTRIES_PER_LEAF
        add = self._tree.add
        for start in range(0, whole, ENTRIES_PER_LEAF):
            add(_bytes(waiting[start : start + ENTRIES_PER_LEAF]))
        self._waiting = waiting[whole:]

    def copy(self) -> _Side:
        copy = _Side()
        copy._tree, copy._waiting, copy._entries = self._tree.copy(), self._waiting.copy(), self._entries
        return copy

    def root(self) -> SideRoot:
        tree = self._tree
        if self._waiting:
            tree = tree.copy()
            tree.add(_bytes(self._waiting))
        return SideRoot(tree.root().hex(), self._entries)


def _bytes(entries: list[str]) -> bytes:
    return "".join(entries).encode("utf-8", "surrogateescape")


def _entries(rows: list[_Row]) -> list[str]:
    return [f"{row.kind}\0{row.digest or ''}\0{row.path}\0" for row in rows]


def _in_order(journal: int, slices: Iterable[Slice]) -> Iterator[bytes]:
    for piece in sorted(slices):
        yield read_whole(journal, piece.offset, piece.length)


def _slices(lines: Iterable[bytes]) -> Iterator[Slice]:
    """Where in a journal actions follow one another; a slice is at most about PIECE_BYTES long."""
    offset = start = first = expected = 0
    for line in lines:
        number = _NUMBERS.decode(line).action_id
        if (number != expected or offset - start >= PIECE_BYTES) and offset > start:
            yield Slice(first, start, offset - start)
            start = offset
        if offset == start:
            first = number
        expected = number + 1
        offset += len(line)
    if offset > start:
        yield Slice(first, start, offset - start)
