"""A manifest: a list of paths that restricts a task (AWS DataSync User Guide, "Transferring specific files or
objects by using a manifest").

We go beyond DataSync: a path that ends with `/` is a folder and means all below it, JSON Lines are read too,
and names that are not UTF-8 can be listed (as their very bytes in CSV, as `path_b64` in JSON Lines).
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TypeVar

import msgspec

from runner.errors import ConfigurationError, Diagnostic
from runner.model import wire

PATH_LIMIT = 4096
"""Characters of one path (DataSync's limit)."""

_LINE_LIMIT = 256 * 1024
_FAULTS_SHOWN = 50

Line = TypeVar("Line", str, bytes)

_Listed = tuple[int, str, str | None]
"""(line, path as written, version)"""


class Manifest:
    """Paths that a task is restricted to, in file order, with the version asked for (None: the present one).

    Paths are as in Entry.path: no leading slash, a listed folder ends with `/`. Memory: all paths, about 200
    bytes each beside their text. Immutable.
    """

    __slots__ = ("_versions", "containers", "has_folders")

    def __init__(self, listed: Iterable[tuple[str, str | None]]) -> None:
        self._versions = dict(listed)
        containers: set[str] = set()
        self.has_folders = False
        for path in self._versions:
            self.has_folders = self.has_folders or path.endswith("/")
            end = path.rfind("/", 0, -1)
            while end >= 0 and path[: end + 1] not in containers:
                containers.add(path[: end + 1])
                end = path.rfind("/", 0, end)
        self.containers = frozenset(containers)

    def __len__(self) -> int:
        return len(self._versions)

    def __iter__(self) -> Iterator[str]:
        return iter(self._versions)

    def __contains__(self, path: object) -> bool:
        return path in self._versions

    def version(self, path: str) -> str | None:
        """The version listed for this very path, None when none was given."""
        return self._versions.get(path)


class _Line(msgspec.Struct, frozen=True):
    """One line of a JSON Lines manifest. Other keys are left alone: reports and listings can be fed in."""

    path: str
    version: str | None = None


class _Fault(ValueError):
    """What is wrong with one line. Never echoes the file: it may have been named by mistake."""


def read_manifest(stream: BinaryIO, format: str, name: str = "manifest") -> Manifest:
    """Read a manifest to its end. `format`: csv or jsonl. `name` stands in error messages.

    CSV: no header; path, or path and version; fields parted by commas, quoted with `"` where they hold
    commas, quotes (doubled) or line breaks; lines end in LF, CR or CRLF. JSON Lines: {"path": ..., "version":
    ...}. A UTF-8 byte-order mark and blank lines are left out. A leading `/` or `./` of a path means the
    root. Memory: as Manifest, half as much again while reading. The stream is left open.

    Raises: ConfigurationError with one Diagnostic a fault (the first 50), in file order.
    """
    readers: dict[str, Callable[[BinaryIO, Callable[[int, str], None]], Iterator[_Listed]]] = {
        "csv": _read_csv,
        "jsonl": _read_jsonl,
    }
    faults: list[Diagnostic] = []
    found = 0

    def report(line: int, message: str) -> None:
        nonlocal found
        found += 1
        if found <= _FAULTS_SHOWN:
            faults.append(Diagnostic(file=name, line=line, column=1, message=message))

    if format not in readers:
        raise ConfigurationError([Diagnostic(name, 1, 1, "unknown manifest format", expected="csv or jsonl")])
    lines: dict[str, int] = {}
    versions: dict[str, str | None] = {}
    for line, written, version in readers[format](stream, report):
        try:
            path = _normalised(written)
        except _Fault as fault:
            report(line, str(fault))
            continue
        if path in lines:
            report(line, f"the same path as in line {lines[path]}; list each path once")
            continue
        lines[path] = line
        versions[path] = version
    if found > _FAULTS_SHOWN:
        more = f"{found - _FAULTS_SHOWN} more faults in this manifest"
        faults.append(Diagnostic(file=name, line=faults[-1].line, column=1, message=more))
    if faults:
        raise ConfigurationError(faults)
    return Manifest(versions.items())


def _normalised(written: str) -> str:
    """A listed path as Entry.path has it. Raises _Fault."""
    if len(written) > PATH_LIMIT:
        raise _Fault(f"a path of {len(written)} characters; the limit is {PATH_LIMIT}")
    if "\0" in written:
        raise _Fault("a NUL character; no path can hold one (is this file UTF-16?)")
    path = written.removeprefix("/") if written.startswith("/") else written.removeprefix("./")
    if path in ("", "."):
        raise _Fault("the root itself; leave the manifest out to transfer everything")
    names = path.removesuffix("/").split("/")
    if ".." in names:
        raise _Fault('".." in a path; paths are relative to the root and stay below it')
    if "." in names or "" in names:
        raise _Fault('an empty name or "." in a path; write folder/file')
    if not path.isascii():
        try:
            path.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            raise _Fault("a lone surrogate in a path; no name can hold one") from None
    return path


def _read_csv(stream: BinaryIO, report: Callable[[int, str], None]) -> Iterator[_Listed]:
    import csv

    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        reader = csv.reader(_bounded(text.readline), strict=True)
        while True:
            line = reader.line_num + 1
            try:
                fields = next(reader, None)
            except (csv.Error, _Fault) as error:
                # Where the next record starts cannot be known any more.
                report(line, f"not readable as CSV: {error}; the rest of the file was not read")
                return
            if fields is None:
                return
            if len(fields) > 2:
                report(
                    line,
                    f"{len(fields)} fields, where a path or a path and a version are expected; "
                    'put a path that holds commas between "',
                )
            elif fields:
                yield line, fields[0], fields[1] or None if len(fields) == 2 else None
    finally:
        text.detach()


def _read_jsonl(stream: BinaryIO, report: Callable[[int, str], None]) -> Iterator[_Listed]:
    number = 0
    lines = _bounded(stream.readline)
    while True:
        number += 1
        try:
            line = next(lines, None)
        except _Fault as fault:
            report(number, f"not readable as JSON Lines: {fault}; the rest of the file was not read")
            return
        if line is None:
            return
        content = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if not content.strip():
            continue
        try:
            listed = wire.decode_line(content, _Line)
        except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
            report(number, 'not a JSON object with a "path" (text) and, if wanted, a "version" (text)')
            continue
        yield number, listed.path, listed.version


def _bounded(readline: Callable[[int], Line]) -> Iterator[Line]:
    """The lines of a stream. Raises _Fault for one too long to be a path, before it fills the memory."""
    while line := readline(_LINE_LIMIT):
        if len(line) == _LINE_LIMIT:
            raise _Fault(f"a line of more than {_LINE_LIMIT:,} characters")
        yield line
