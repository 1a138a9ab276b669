"""A document as nodes that know where they stand, and the collector of faults found in it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from runner.errors import ConfigurationError, Diagnostic

EXCERPT_LIMIT = 200
"""A longer source line is shown without its text: nobody finds a caret in a one-line JSON file."""

_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")

Value = str | int | float | bool | None


class Source:
    """One file that was read: its name for people, its folder, its place in reading order, and its lines."""

    __slots__ = ("_lines", "_masked", "directory", "name", "order", "path", "text")

    def __init__(self, path: str, text: str, order: int) -> None:
        self.name = path
        self.path = os.path.realpath(path)
        self.directory = os.path.dirname(os.path.abspath(path))
        self.text = text
        self.order = order
        self._lines: list[str] | None = None
        self._masked: dict[int, list[tuple[int, int]]] = {}

    def mask(self, place: Place) -> None:
        """What stands there is a secret somebody wrote out: no excerpt and no message shows it."""
        self._masked.setdefault(place.line, []).append((place.column - 1, place.width))

    def is_masked(self, place: Place) -> bool:
        return any(start == place.column - 1 for start, _ in self._masked.get(place.line, ()))

    def raw_line(self, number: int) -> str | None:
        """The line (counted from 1) as it is; None when there is none."""
        if self._lines is None:
            self._lines = re.split("\r\n|[\n\r\x85\u2028\u2029]", self.text)
        return self._lines[number - 1] if 0 < number <= len(self._lines) else None

    def line(self, number: int) -> str | None:
        """The line as people may see it: secrets masked, control characters blank. None when too long."""
        line = self.raw_line(number)
        if line is None or len(line) > EXCERPT_LIMIT:
            return None
        for start, width in self._masked.get(number, ()):
            end = min(len(line), start + width)
            line = line[:start] + "*" * (end - start) + line[end:]
        return _UNPRINTABLE.sub(" ", line)


class Place(msgspec.Struct, frozen=True, gc=False):
    """A stretch of one source line. Line and column count from 1; width in characters.

    Nodes cannot form cycles, so the collector need not visit them: a fifth of the time of a large file.
    """

    source: Source
    line: int
    column: int
    width: int


class Scalar(Place, frozen=True, gc=False):
    """One value. `template` holds the source text when the value was rendered; `whole` says that nothing but
    one expression stood in it; `secret` that it must not be shown."""

    value: Value
    plain: bool = True
    template: str | None = None
    whole: bool = False
    secret: bool = False


class Sequence(Place, frozen=True, gc=False):
    children: tuple[Node, ...]


class Member(msgspec.Struct, frozen=True, gc=False):
    """A key with its place, and its value."""

    key: Scalar
    node: Node


class Mapping(Place, frozen=True, gc=False):
    """Members by key, in file order. Never changed after it was made."""

    members: dict[str, Member]

    def get(self, key: str) -> Node | None:
        member = self.members.get(key)
        return None if member is None else member.node

    def with_members(self, members: dict[str, Member]) -> Mapping:
        """The same place with other members."""
        return Mapping(self.source, self.line, self.column, self.width, members)


Node = Scalar | Sequence | Mapping


def plain(node: Node) -> Any:
    """The node as Python's own types. Secret text is in it: for validation and building only."""
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Mapping):
        return {key: plain(member.node) for key, member in node.members.items()}
    return [plain(child) for child in node.children]


def scalar_at(place: Place, value: Value) -> Scalar:
    """A value of our own that stands where `place` is."""
    return Scalar(place.source, place.line, place.column, place.width, value)


def text_of(node: Node | None) -> str | None:
    """The text of a scalar that is text, else None."""
    return node.value if isinstance(node, Scalar) and isinstance(node.value, str) else None


def shown(node: Node) -> str:
    """What a message may quote: a template's source, never what it became; long values are cut."""
    if isinstance(node, Mapping):
        return "a map"
    if isinstance(node, Sequence):
        return "a list"
    value = node.template if node.template is not None else node.value
    if node.source.is_masked(node):
        return "***"
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    return quoted(value)


def quoted(text: str) -> str:
    """A text in quotes for a message: escapes visible, at most about 60 characters."""
    return repr(text if len(text) <= 60 else text[:57] + "...")


def close_match(word: str, candidates: Iterable[str]) -> str | None:
    """`did you mean 'x'?` for the nearest candidate, or None."""
    import difflib

    by_fold = {candidate.casefold(): candidate for candidate in candidates}
    found = difflib.get_close_matches(word.casefold(), by_fold, n=1, cutoff=0.6)
    return f"did you mean {by_fold[found[0]]!r}?" if found else None


class Faults:
    """Collects faults; knows their file order. The first `limit` are shown, the rest is counted."""

    def __init__(self, limit: int = 100) -> None:
        self._found: dict[tuple[int, int, int, str], tuple[Place, Diagnostic]] = {}
        self._silenced: set[tuple[int, int, int]] = set()
        self._limit = limit

    def __len__(self) -> int:
        return len(self._found)

    def add(
        self,
        place: Place,
        message: str,
        *,
        expected: str | None = None,
        suggestion: str | None = None,
        pointer: str = "",
    ) -> None:
        """Note one fault. The same fault at the same place counts once (an anchor used twice)."""
        source = place.source
        rank = (source.order, place.line, place.column, message)
        if rank in self._found or rank[:3] in self._silenced:
            return
        self._found[rank] = (
            place,
            Diagnostic(
                file=source.name,
                line=place.line,
                column=place.column,
                message=message,
                expected=expected,
                suggestion=suggestion,
                pointer=pointer,
            ),
        )

    def silence(self, place: Place) -> None:
        """Ignore what is noted there from now on: it only follows from what was noted before."""
        self._silenced.add((place.source.order, place.line, place.column))

    def diagnostics(self) -> Iterator[Diagnostic]:
        """In file order: the main file first, then its includes as they were read.

        Excerpts are taken here, when every secret that was written out is known and masked.
        """
        for rank in sorted(self._found)[: self._limit]:
            place, diagnostic = self._found[rank]
            excerpt = place.source.line(place.line)
            width = place.width
            if excerpt is not None:
                width = max(1, min(width, len(excerpt) - place.column + 1))
            yield msgspec.structs.replace(diagnostic, excerpt=excerpt, width=width)

    def raise_if_any(self) -> None:
        """Raises ConfigurationError when anything was noted."""
        if not self._found:
            return
        found = list(self.diagnostics())
        omitted = len(self._found) - len(found)
        if omitted:
            last = found[-1]
            found.append(Diagnostic(last.file, last.line, last.column, f"and {omitted} more faults"))
        raise ConfigurationError(found)
