"""Many patterns over one text at once: the common shapes are found by hash, not one after another."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runner.filters.glob import Glob

NO_MATCH = -1

_Affixes = dict[str, int]

# str.endswith with a tuple beats a table a length as long as the tuple is about this short.
_TUPLE_LIMIT = 48


class PatternIndex:
    """Answers: does any of these patterns match this text, and which is the last one, by number, that does?

    `matches(text)` is the quick question, `last(text)` that number or NO_MATCH. Exact texts, prefixes and
    suffixes cost one look-up a length, however many there are; other shapes are tried one by one, highest
    number first. Immutable.
    """

    __slots__ = ("is_empty", "last", "matches")

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
        starts = _AffixTable(prefixes, at_end=False)
        ends = _AffixTable(suffixes, at_end=True)
        self.last: Callable[[str], int] = _last_match(everything, exact, starts, ends, tuple(others))
        self.matches: Callable[[str], bool] = (
            (lambda text: True) if everything != NO_MATCH else _any_match(exact, starts, ends, tuple(others))
        )


class _AffixTable:
    """Prefixes (or suffixes) with their numbers, found by one look-up for each different length of them."""

    __slots__ = ("_at_end", "_by_length", "few")

    def __init__(self, affixes: _Affixes, *, at_end: bool) -> None:
        tables: dict[int, _Affixes] = {}
        for affix, number in affixes.items():
            tables.setdefault(len(affix), {})[affix] = number
        self._by_length = tuple(tables.items())
        self._at_end = at_end
        self.few = tuple(affixes) if len(affixes) <= _TUPLE_LIMIT else ()

    def __bool__(self) -> bool:
        return bool(self._by_length)

    def last(self, text: str) -> int:
        """The highest number among the affixes of `text`, or NO_MATCH."""
        best = NO_MATCH
        for length, table in self._by_length:
            number = table.get(text[-length:] if self._at_end else text[:length], NO_MATCH)
            if number > best:
                best = number
        return best


def _last_match(
    everything: int,
    exact: dict[str, int],
    starts: _AffixTable,
    ends: _AffixTable,
    others: tuple[tuple[int, Glob], ...],
) -> Callable[[str], int]:
    affixes = tuple(table.last for table in (starts, ends) if table)

    def last(text: str) -> int:
        best = max(everything, exact.get(text, NO_MATCH))
        for last_affix in affixes:
            best = max(best, last_affix(text))
        for number, glob in others:
            if number < best:
                break
            if glob.matches(text):
                return number
        return best

    return last


def _any_match(
    exact: dict[str, int], starts: _AffixTable, ends: _AffixTable, others: tuple[tuple[int, Glob], ...]
) -> Callable[[str], bool]:
    """A closure over what is there: asked a million times, it must not look at what is not."""
    few_starts, many_starts = starts.few, None if starts.few or not starts else starts.last
    few_ends, many_ends = ends.few, None if ends.few or not ends else ends.last
    tests = tuple(glob.matches for _, glob in others)

    def matches(text: str) -> bool:
        if exact and text in exact:
            return True
        if few_ends and text.endswith(few_ends):
            return True
        if few_starts and text.startswith(few_starts):
            return True
        if many_ends is not None and many_ends(text) != NO_MATCH:
            return True
        if many_starts is not None and many_starts(text) != NO_MATCH:
            return True
        for test in tests:  # noqa: SIM110  any() with a generator costs more than the tests
            if test(text):
                return True
        return False

    return matches
