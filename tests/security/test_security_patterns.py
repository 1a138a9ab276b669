"""Schemas and regular expressions: nothing is fetched, and no text, however hostile, makes one of them go on for ages."""

from __future__ import annotations

import ast
import functools
import itertools
import json
import re
import re._parser as parser
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from runner.locations.registry import Registry

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = Registry()
LENGTH = 3_000
SECONDS = 1.0


def schemas() -> Iterator[tuple[str, Any]]:
    """Every schema that a document of somebody's is held against."""
    for path in sorted((ROOT / "schemas").glob("*.json")):
        yield path.name, json.loads(path.read_bytes())
    for location_type in REGISTRY.types():
        yield location_type, REGISTRY.driver(location_type).options_schema()


def values(node: Any, key: str) -> Iterator[Any]:
    """All values of a key, anywhere."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from values(value, key)
    elif isinstance(node, list | tuple):
        for each in node:
            yield from values(each, key)


def test_schemas_refer_to_nothing_outside_themselves() -> None:
    references = {(name, one) for name, schema in schemas() for one in values(schema, "$ref")}
    assert references
    assert {(name, one) for name, one in references if not str(one).startswith("#/")} == set()
    assert [name for name, schema in schemas() if list(values(schema, "$dynamicRef"))] == []


def schema_patterns() -> set[str]:
    found = {one for _, schema in schemas() for one in values(schema, "pattern") if isinstance(one, str)}
    for _, schema in schemas():
        for properties in values(schema, "patternProperties"):
            found |= set(properties)
    return found


def source_patterns() -> set[str]:
    """What sources hand to `re`, written out as one constant."""
    found = set()
    for folder in ("runner", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text("utf-8")
            if "re." not in text:
                continue
            for node in ast.walk(ast.parse(text)):
                if (
                    isinstance(node, ast.Call)
                    and isinstance(node.func, ast.Attribute)
                    and ast.unparse(node.func).startswith("re.")
                    and node.args
                    and isinstance(node.args[0], ast.Constant)
                    and isinstance(node.args[0].value, str)
                ):
                    found.add(node.args[0].value)
    return found


def members(pattern: str) -> list[str]:
    """A few characters for each class or letter that a pattern names: what its parts can be filled with."""
    found: set[str] = set()

    def walk(parsed: Any) -> None:
        if isinstance(parsed, tuple) and len(parsed) == 2 and str(parsed[0]) in ("LITERAL", "NOT_LITERAL"):
            found.add(chr(parsed[1]))
        elif isinstance(parsed, tuple) and len(parsed) == 2 and str(parsed[0]) == "RANGE":
            found.add(chr(parsed[1][0]))
        elif isinstance(parsed, list | tuple | parser.SubPattern):
            for each in parsed:
                walk(each)

    walk(parser.parse(pattern))
    return sorted({*found, "a", "1", " "})


class TooSlow(Exception):
    """A match that had not ended in time."""


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Whether work ends in time: `re` looks for signals while it searches."""

    def late(number: int, frame: FrameType | None) -> None:
        raise TooSlow

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        work()
    except TooSlow:
        return False
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return True


def is_quick(pattern: str, seconds: float = SECONDS) -> bool:
    """Whether long runs of one or two of its own characters, with an end that does not fit, are told apart quickly."""
    compiled = re.compile(pattern)
    letters = members(pattern)
    units = [*letters, *map("".join, itertools.permutations(letters[:12], 2))]
    for unit, before in itertools.product(units, ("", "a")):
        text = before + unit * (LENGTH // len(unit)) + "\x00"
        if not within(seconds, functools.partial(_try, compiled, text)):
            return False
    return True


def _try(compiled: re.Pattern[str], text: str) -> None:
    compiled.match(text)
    compiled.fullmatch(text)


def test_no_pattern_of_a_schema_can_be_kept_busy() -> None:
    assert len(schema_patterns()) > 30
    assert [pattern for pattern in sorted(schema_patterns()) if not is_quick(pattern)] == []


@pytest.mark.slow
def test_no_pattern_of_a_source_can_be_kept_busy() -> None:
    assert len(source_patterns()) > 50
    assert [pattern for pattern in sorted(source_patterns()) if not is_quick(pattern)] == []


@pytest.mark.parametrize("pattern", [r"^(a+)+$", r"^[\w.+@]+([ -]+[\w.+@-]+)*$", r"(x|x)*y"])
def test_one_that_can_is_found_out(pattern: str) -> None:
    assert not is_quick(pattern, 0.2)
