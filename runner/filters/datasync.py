"""DataSync's include and exclude patterns (AWS DataSync User Guide, "Filtering data"; API FilterRule).

Patterns are relative to the location's root. `|` stands between the patterns of one string, `*` for any
characters, also `/`. `\\` takes the meaning from `*`, `|` and `\\`, and is ignored elsewhere. Case counts.
`/dir` and `/dir/` are the same and mean the folder and all below it: a pattern is tried on an entry and on
each folder above. A pattern that starts with neither `/` nor `*` is read as if it started with `/`.
"""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from runner.filters.glob import STAR, Glob, Star, Token
from runner.filters.index import NO_MATCH, PatternIndex

TEXT_LIMIT = 102_400
"""DataSync's limit for the characters of one list, its `|` counted."""

_Characters = list[str | Star]


class PathPattern(msgspec.Struct, frozen=True):
    """One pattern between two `|`. `text` is as written.

    `globs` are tried on a path without a leading or trailing slash; one that matches is enough.
    """

    text: str
    characters: tuple[str | Star, ...]

    @property
    def globs(self) -> tuple[Glob, ...]:
        tokens = _anchored(self.characters)
        if not tokens:
            return (Glob([STAR]),)
        if tokens[0] == "/":
            return (Glob(tokens[1:]),)
        # `*/temp` is tried on "/temp": the star may hold nothing, and then the slash is the root's own.
        after_stars = [index for index, token in enumerate(tokens) if not isinstance(token, Star)]
        if after_stars and tokens[after_stars[0]] == "/":
            return (Glob(tokens), Glob(tokens[after_stars[0] + 1 :]))
        return (Glob(tokens),)

    @property
    def literal_start(self) -> str:
        """What stands before the first star, without the leading slash."""
        literals = itertools.takewhile(lambda token: isinstance(token, str), _anchored(self.characters))
        return "".join(str(token) for token in literals).removeprefix("/")


def split_patterns(texts: Iterable[str]) -> Iterator[PathPattern]:
    """The single patterns of a list, in order; empty ones too (`faults` names them)."""
    for text in texts:
        characters: _Characters = []
        start = 0
        position = 0
        while position < len(text):
            character = text[position]
            if character == "\\":
                position += 1
                if position < len(text):
                    characters.append(text[position])
            elif character == "|":
                yield PathPattern(text[start:position], tuple(characters))
                characters, start = [], position + 1
            else:
                characters.append(STAR if character == "*" else character)
            position += 1
        yield PathPattern(text[start:], tuple(characters))


def _anchored(characters: Sequence[str | Star]) -> list[Token]:
    """The pattern with a leading slash unless it starts with a star, and without a trailing one."""
    tokens: list[Token] = list(characters)
    if tokens and tokens[0] != "/" and not isinstance(tokens[0], Star):
        tokens.insert(0, "/")
    if tokens and tokens[-1] == "/":
        tokens.pop()
    return tokens


class PathPatterns:
    """A list of patterns, ready to be asked. Immutable.

    `matches(path)` tells whether any pattern matches this very path (without a trailing slash).
    """

    __slots__ = ("_below", "_index", "_starts", "matches", "patterns")

    def __init__(self, texts: Iterable[str]) -> None:
        self.patterns = tuple(pattern for pattern in split_patterns(texts) if pattern.characters)
        # The index finds the highest number: counting down makes that the first pattern as written.
        numbered = [
            (len(self.patterns) - index, glob)
            for index, pattern in enumerate(self.patterns)
            for glob in pattern.globs
        ]
        self._index = PatternIndex(numbered)
        self._below = PatternIndex([pair for pair in numbered if pair[1].ends_with_star])
        self.matches = self._index.matches
        self._starts = sorted((pattern.literal_start, pattern.text) for pattern in self.patterns)

    def __bool__(self) -> bool:
        return bool(self.patterns)

    def first_text(self, path: str) -> str | None:
        """The first pattern that matches this very path (without a trailing slash), or None."""
        number = self._index.last(path)
        return None if number == NO_MATCH else self.patterns[len(self.patterns) - number].text

    def way_to(self, folder: str) -> str | None:
        """For a folder (`a/`) on the literal way to what a pattern names: that pattern, else None."""
        # The first start not before the folder's path is one that continues it, if any does.
        position = bisect.bisect_left(self._starts, (folder, ""))
        if position < len(self._starts) and self._starts[position][0].startswith(folder):
            return self._starts[position][1]
        return None

    def all_below(self, folder: str) -> bool:
        """True when surely everything below the folder (`a/`) matches, if not the folder itself (`/a/*`)."""
        return self._below.matches(folder)
