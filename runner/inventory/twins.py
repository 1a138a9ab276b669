"""Names that one location can hold and another cannot hold together: `a` beside `a/`, `A` beside `a`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from runner.errors import EntryCode
from runner.model.entry import Entry, Kind, Phase, Problem, path_bytes
from runner.model.wire import decode_line, encode_line

Found = Entry | Problem


def one_kind_a_name(stream: Iterator[Found]) -> Iterator[Found]:
    """A sorted listing in which no name is both a file and a folder: the folder is refused by name, with all in it.

    Object stores hold `a` and `a/b` beside one another. Memory: the names on the way to the present path.
    """
    files: list[str] = []
    refused: str | None = None
    for found in stream:
        path = found.path
        if refused is not None and path.startswith(refused):
            continue
        # The folder `a/` comes after `a`, and all that stands between them starts with `a`.
        while files and not path.startswith(files[-1]):
            files.pop()
        if isinstance(found, Entry) and found.kind is not Kind.DIRECTORY:
            files.append(path)
        elif path.endswith("/") and path[:-1] in files:
            refused = path
            message = f"there is also a file {path[:-1]!r}, and the destination cannot hold both"
            yield found
            yield Problem(path, Phase.PREPARING, EntryCode.NAME_NOT_ALLOWED, message)
            continue
        yield found


def fold_case(path: str) -> str:
    """A path as a case-insensitive file system compares it: each character's simple upper case (NTFS, Samba)."""
    if path.isascii():
        return path.upper()
    return "".join(upper if len(upper := character.upper()) == 1 else character for character in path)


class CaseTwins:
    """Both listings of a task whose destination takes `A` and `a` for one name.

    Both are listed completely first, into unnamed temporary files, because a twin may come at any later place. Then
    `source()` and `destination()` give them again: of source entries that differ by case alone, the one that the
    destination has (else the first) takes part, the others are refused by name; where the destination has a name only
    in another spelling, the source's is refused and the destination's is left out, so that nothing happens to it.
    Memory: the refused names; the rest waits on disk. Close it afterwards.
    """

    def __init__(self, source: Iterator[Found], destination: Iterator[Found]) -> None:
        import sqlite3

        # An empty name is a database on disk that is deleted when it is closed.
        self._names = sqlite3.connect("", isolation_level=None)
        self._names.execute("PRAGMA journal_mode=OFF")
        self._names.execute("CREATE TABLE names (folded BLOB, path BLOB, side INTEGER)")
        self._names.execute("BEGIN")
        self._spools = [self._spool(source, 0), self._spool(destination, 1)]
        self._refused: dict[str, str] = {}
        self._hidden: set[str] = set()
        self._decide()
        self._names.close()

    def source(self) -> Iterator[Found]:
        """The source's listing, with problems in the place of names that are refused."""
        within: str | None = None
        for found in self._replay(0):
            path = found.path
            if within is not None and path.startswith(within):
                continue
            within = None
            message = self._refused.get(path)
            if message is None:
                yield found
                continue
            if path.endswith("/"):
                within = path
                yield found
            yield Problem(path, Phase.PREPARING, EntryCode.NAME_NOT_ALLOWED, message)

    def destination(self) -> Iterator[Found]:
        """The destination's listing, without what is held in another spelling."""
        within: str | None = None
        for found in self._replay(1):
            path = found.path
            if within is not None and path.startswith(within):
                continue
            within = None
            if path in self._hidden:
                within = path if path.endswith("/") else None
                continue
            yield found

    def close(self) -> None:
        for spool in self._spools:
            spool.close()

    def _spool(self, stream: Iterator[Found], side: int) -> IO[bytes]:
        from tempfile import TemporaryFile

        spool = TemporaryFile(prefix="sync-runner-listing-")
        insert = "INSERT INTO names VALUES (?, ?, ?)"
        for found in stream:
            is_problem = isinstance(found, Problem)
            spool.write((b"P" if is_problem else b"E") + encode_line(found) + b"\n")
            if not is_problem and found.path:
                name = found.path.removesuffix("/")
                self._names.execute(insert, (path_bytes(fold_case(name)), path_bytes(found.path), side))
        spool.flush()
        return spool

    def _replay(self, side: int) -> Iterator[Found]:
        spool = self._spools[side]
        spool.seek(0)
        for line in spool:
            yield decode_line(line[1:], Problem) if line[:1] == b"P" else decode_line(line[1:], Entry)

    def _decide(self) -> None:
        groups = self._names.execute(
            "SELECT folded, path, side FROM names WHERE folded IN"
            " (SELECT folded FROM names GROUP BY folded HAVING count(DISTINCT rtrim(path, '/')) > 1)"
            " ORDER BY folded, path, side"
        )
        spellings: tuple[list[str], list[str]] = ([], [])
        current: bytes | None = None
        for folded, path, side in groups:
            if folded != current:
                self._settle(*spellings)
                spellings, current = ([], []), folded
            spellings[side].append(path.decode("utf-8", "surrogateescape"))
        self._settle(*spellings)

    def _settle(self, source: list[str], destination: list[str]) -> None:
        if not source:
            return
        there = {path.removesuffix("/") for path in destination}
        kept = next((path for path in source if path.removesuffix("/") in there), None)
        if kept is None and not destination:
            kept = source[0]
        self._hidden.update(
            path for path in destination if kept is None or path.removesuffix("/") != kept.removesuffix("/")
        )
        other = destination[0] if kept is None else kept
        where = "the destination has it as" if kept is None else "its name differs only by case from"
        for path in source:
            if kept is None or path.removesuffix("/") != kept.removesuffix("/"):
                self._refused[path] = f"{where} {other!r}, and holds one of the two only; rename one of them"
