"""Globs and indexes: right by comparison with a slow matcher, and linear by counted steps."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.filters.glob import ANY_ONE, STAR, Glob, OneOf, Star, Token
from runner.filters.index import NO_MATCH, PatternIndex


def slow_match(tokens: tuple[Token, ...], text: str) -> bool:
    """By the definition of each token, with every place a star could end tried."""
    if not tokens:
        return not text
    first, rest = tokens[0], tokens[1:]
    if isinstance(first, Star):
        return any(slow_match(rest, text[end:]) for end in range(len(text) + 1))
    if isinstance(first, OneOf):
        allowed = {".": lambda c: True, "[ab]": lambda c: c in "ab", "[^ab]": lambda c: c not in "ab"}
        return bool(text) and allowed[first.expression](text[0]) and slow_match(rest, text[1:])
    return text.startswith(first) and slow_match(rest, text[len(first) :])


tokens = st.lists(
    st.sampled_from(["a", "b", "ab", "/", ".", STAR, STAR, ANY_ONE, OneOf("[ab]"), OneOf("[^ab]")]),
    max_size=7,
).map(tuple)
texts = st.text("ab/.\n\udcff", max_size=8)


@settings(deadline=None)
@given(tokens, texts)
def test_a_glob_matches_as_the_definition_says(pattern: tuple[Token, ...], text: str) -> None:
    assert Glob(pattern).matches(text) == slow_match(pattern, text)


@settings(deadline=None)
@given(st.lists(tokens, max_size=6), texts)
def test_an_index_finds_the_last_match(patterns: list[tuple[Token, ...]], text: str) -> None:
    matching = [number for number, pattern in enumerate(patterns) if slow_match(pattern, text)]
    index = PatternIndex(enumerate(map(Glob, patterns)))
    assert index.last(text) == (matching[-1] if matching else NO_MATCH)
    assert index.matches(text) == bool(matching)
    assert index.is_empty == (not patterns)


def test_an_index_of_many_affixes_answers_like_one_of_few() -> None:
    globs = [Glob([f"p{number}", STAR]) for number in range(200)]
    globs += [Glob([STAR, f".e{number}"]) for number in range(200)]
    globs += [Glob([f"name{number}"]) for number in range(200)]
    index = PatternIndex(enumerate(globs))
    cases = {
        "p7x": 7,
        "x.e9": 209,
        "p199.e199": 399,
        "name5": 405,
        "p12.e3": 203,
        "x": NO_MATCH,
        "": NO_MATCH,
    }
    assert {text: index.last(text) for text in cases} == cases
    assert {text: index.matches(text) for text in cases} == {t: n != NO_MATCH for t, n in cases.items()}


class CountingText(str):
    """A text that counts how often it is searched or compared."""

    steps = 0

    def find(self, *arguments: object) -> int:  # type: ignore[override]
        type(self).steps += 1
        return super().find(*arguments)  # type: ignore[arg-type]

    def startswith(self, *arguments: object) -> bool:  # type: ignore[override]
        type(self).steps += 1
        return super().startswith(*arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("stars", [1, 10, 1000])
def test_a_bomb_costs_at_most_one_search_a_star(stars: int) -> None:
    glob = Glob(["a", STAR] * stars + ["b"])
    CountingText.steps = 0
    assert glob.matches(CountingText("a" * 4000)) is False
    assert CountingText.steps <= stars + 2
    CountingText.steps = 0
    assert glob.matches(CountingText("a" * 4000 + "b")) is True
    assert CountingText.steps <= stars + 2


def test_a_bomb_of_sets_ends() -> None:
    # With backtracking this would outlive the machine.
    glob = Glob([OneOf("[ab]"), STAR] * 60 + ["c", STAR, "d"])
    assert glob.matches("ab" * 2000 + "d") is False
    assert glob.matches("ab" * 2000 + "c" + "d") is True
