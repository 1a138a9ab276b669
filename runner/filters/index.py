"""Many patterns over one text at once: the common shapes are found by hash, not one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runner.filters.glob import Glob

NO_MATCH = -1

_LastMatch = Callable[[str], int]
_Affixes = dict[str, int]

# str.endswith with a tuple beats a table a length as long as the tuple is about this short.
_TUPLE_LIMIT = 48


class PatternIndex:
    """Answers: which is the last pattern, by number, that matches this text?

    `last(text)` is that number or NO_MATCH. Exact texts, prefixes and suffixes cost one look-up a length,
    however many there are; other shapes are tried one by one, highest number first. Immutable.
    """

    __slots__ = ("is_empty", "last")

    def __init__(self, numbered: Iterable[tuple[int, Glob]]) -> None:
        exact: dict[str, int] = {}
        prefixes: _Affixes = {}
        suffixes: _Affixes = {}
        others: list[tuple[int, Glob]] = []
        everything = NO_MATCH
        self.is_empty = True
        for number, glob in sorted(numbered, key=lambda pair: pair[0]):
            self.is_empty = False
            if glob.exact is not None:
                exact[glob.exact] = number
            elif glob.everything:
                everything = number
            elif glob.prefix is not None:
                prefixes[glob.prefix] = number
            elif glob.suffix is not None:
                suffixes[glob.suffix] = number
            else:
                others.append((number, glob))
        others.reverse()
        self.last: _LastMatch = _last_match(everything, exact, prefixes, suffixes, tuple(others))


def _last_match(
    everything: int,
    exact: dict[str, int],
    prefixes: _Affixes,
    suffixes: _Affixes,
    others: tuple[tuple[int, Glob], ...],
) -> _LastMatch:
    """A closure over what is needed: its variables are found faster than attributes, a million times."""
    last_prefix = _last_affix(prefixes, at_end=False)
    last_suffix = _last_affix(suffixes, at_end=True)
    few_suffixes = tuple(suffixes) if len(suffixes) <= _TUPLE_LIMIT else ()
    few_prefixes = tuple(prefixes) if len(prefixes) <= _TUPLE_LIMIT else ()

    def last(text: str) -> int:
        best = everything
        if exact and text in exact and exact[text] > best:
            best = exact[text]
        if suffixes and (not few_suffixes or text.endswith(few_suffixes)):
            best = max(best, last_suffix(text))
        if prefixes and (not few_prefixes or text.startswith(few_prefixes)):
            best = max(best, last_prefix(text))
        for number, glob in others:
            if number < best:
                break
            if glob.matches(text):
                return number
        return best

    return last


def _last_affix(affixes: _Affixes, *, at_end: bool) -> _LastMatch:
    """The highest number among the affixes of a text: one look-up for each different length of an affix."""
    tables: dict[int, dict[str, int]] = {}
    for affix, number in affixes.items():
        tables.setdefault(len(affix), {})[affix] = number
    by_length = tuple(tables.items())

    def last(text: str) -> int:
        best = NO_MATCH
        for length, table in by_length:
            number = table.get(text[-length:] if at_end else text[:length], NO_MATCH)
            if number > best:
                best = number
        return best

    return last
