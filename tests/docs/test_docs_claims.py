"""Pages that claim something and name the test that shows it: no row is missing, and every named test is there."""

from __future__ import annotations

import ast
import functools
import re

import pytest
from docs_support import ROOT

CLAIMS = {
    "docs/security.md": ("S", 30),
    "docs/promises.md": ("I", 20),
    "docs/stories.md": ("T", 25),
    "docs/faults-matrix.md": ("F", 47),
}
"""Each page, the letter of its rows, and how many there are."""


@functools.cache
def names_in(path: str) -> frozenset[str]:
    """The names of the tests in a file, without importing it; none when there is no such file."""
    file = ROOT / path
    if not file.is_file():
        return frozenset()
    nodes = ast.walk(ast.parse(file.read_bytes()))
    return frozenset(
        node.name
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    )


def faults(text: str, letter: str, count: int) -> list[str]:
    """What is wrong with the table of a page."""
    rows = re.findall(rf"^\| ({letter}\d+) \|(.*)$", text, re.MULTILINE)
    found = []
    if [name for name, _ in rows] != [f"{letter}{number}" for number in range(1, count + 1)]:
        found.append(f"the rows are {[name for name, _ in rows]}")
    for name, row in rows:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
        if not named and not re.search(r"Not shown[^|]{20,}", row):
            found.append(f"{name}: neither a test nor a reason")
        if row.count("::") != len(named):
            found.append(f"{name}: a test whose name cannot be read")
        found += [f"{name}: no test {path}::{test}" for path, test in named if test not in names_in(path)]
    return found


@pytest.mark.parametrize("page", CLAIMS)
def test_every_claim_names_a_test_that_exists(page: str) -> None:
    assert faults((ROOT / page).read_text("utf-8"), *CLAIMS[page]) == []


HERE = "tests/docs/test_docs_claims.py"
GOOD = f"`{HERE}::test_what_is_missing_is_seen`"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (f"| X1 | a | {GOOD} |\n", "the rows are"),
        (f"| X2 | a | {GOOD} |\n| X1 | b | {GOOD} |\n", "the rows are"),
        (f"| X1 | a | {GOOD} |\n| X2 | b | — |\n", "X2: neither"),
        (f"| X1 | a | {GOOD} |\n| X2 | Not shown: why | — |\n", "X2: neither"),
        (f"| X1 | a | {GOOD} |\n| X2 | b | `{HERE}::test_of_nothing` |\n", "X2: no test"),
        (f"| X1 | a | {GOOD} |\n| X2 | b | `tests/none.py::test_of_nothing` |\n", "X2: no test"),
        (f"| X1 | a | {GOOD} |\n| X2 | b | {GOOD}, `odd name.py::test_a` |\n", "X2: a test whose"),
    ],
)
def test_what_is_missing_is_seen(text: str, fault: str) -> None:
    assert [line for line in faults(text, "X", 2) if line.startswith(fault)]


def test_what_is_whole_is_left_alone() -> None:
    reason = "Not shown: there is nothing of this sort here"
    assert faults(f"| X1 | a | {GOOD} |\n| X2 | {reason} | — |\n", "X", 2) == []
