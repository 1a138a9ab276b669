"""One wildcard pattern over one text, without backtracking.

A pattern is cut at its stars into pieces of fixed width. The first piece must stand at the start of the text,
the last at its end, and each one between is looked for from where the one before ended: the leftmost place is
always a right one, because a star may hold anything. So a match costs at most one search a piece.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Sequence

import msgspec


class Star(enum.Enum):
    """The wildcard that stands for any number of characters."""

    STAR = "*"


class OneOf(msgspec.Struct, frozen=True):
    """One character out of a set, given as a regular expression that always matches exactly one character."""

    expression: str


ANY_ONE = OneOf(".")
STAR = Star.STAR

Token = str | OneOf | Star
"""A literal (of any length), one character out of a set, or the star."""


class Piece:
    """A run of literals and one-character sets: always of the same width.

    `stands_at(text, position)` is true (not always True) when the piece stands there. `literal` is its text,
    None when it holds a set.
    """

    __slots__ = ("_regex", "literal", "stands_at", "width")

    def __init__(self, tokens: Sequence[str | OneOf]) -> None:
        literals = [token for token in tokens if isinstance(token, str)]
        literal = "".join(literals) if len(literals) == len(tokens) else None
        self.literal = literal
        self.width = sum(len(token) if isinstance(token, str) else 1 for token in tokens)
        self._regex: re.Pattern[str] | None = None
        self.stands_at: Callable[[str, int], object]
        if literal is not None:
            self.stands_at = lambda text, position: text.startswith(literal, position)
        else:
            # No quantifier ever gets in here: a fixed-width expression cannot backtrack.
            source = "".join(re.escape(t) if isinstance(t, str) else t.expression for t in tokens)
            self._regex = re.compile(source, re.DOTALL)
            self.stands_at = self._regex.match

    def find(self, text: str, start: int, end: int) -> int:
        """The leftmost place of this piece wholly inside text[start:end], or -1."""
        if self._regex is None:
            return text.find(self.literal or "", start, end)
        found = self._regex.search(text, start, end)
        return -1 if found is None else found.start()


class Glob:
    """A compiled pattern. Exactly one of the shapes below tells an index how it can be looked up.

    exact       the only text that matches
    prefix      all that starts so (`abc*`); `suffix` all that ends so (`*abc`)
    everything  `*`
    None of these: `matches` has to be asked.
    """

    __slots__ = ("_head", "_middles", "_tail", "_width", "everything", "exact", "prefix", "suffix")

    def __init__(self, tokens: Sequence[Token]) -> None:
        runs: list[list[str | OneOf]] = [[]]
        for token in tokens:
            if isinstance(token, Star):
                runs.append([])
            else:
                runs[-1].append(token)
        pieces = [Piece(run) for run in runs]
        self._head = pieces[0]
        self._tail = pieces[-1] if len(pieces) > 1 else None
        self._middles = tuple(piece for piece in pieces[1:-1] if piece.width)
        self._width = sum(piece.width for piece in pieces)
        simple = self._tail is not None and not self._middles
        head, tail = self._head.literal, None if self._tail is None else self._tail.literal
        self.exact = head if self._tail is None else None
        self.everything = simple and head == "" and tail == ""
        self.prefix = head if simple and head and tail == "" else None
        self.suffix = tail if simple and head == "" and tail else None

    def matches(self, text: str) -> bool:
        """True when the whole of `text` is as the pattern says."""
        tail, length = self._tail, len(text)
        if tail is None:
            return length == self._width and bool(self._head.stands_at(text, 0))
        if length < self._width or (self._head.width and not self._head.stands_at(text, 0)):
            return False
        end = length - tail.width
        if tail.width and not tail.stands_at(text, end):
            return False
        position = self._head.width
        for piece in self._middles:
            found = piece.find(text, position, end)
            if found < 0:
                return False
            position = found + piece.width
        return True

    @property
    def ends_with_star(self) -> bool:
        """True when all that continues a matching text matches too."""
        return self._tail is not None and self._tail.width == 0
