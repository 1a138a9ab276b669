"""What is handed over together: files of one folder, in their order, not too much at once."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.model.entry import parent_path
from runner.transfer.quickly import BYTES_AT_ONCE, of_one_folder


@pytest.mark.parametrize(
    ("rows", "together"),
    [
        ([], 0),
        ([("a", 1)], 1),
        ([("a", 1), ("b", 1), ("c/d", 1), ("e", 1)], 2),
        ([("c/a", 1), ("c/b", 1), ("c/b/d", 1), ("c/e", 1)], 2),
        ([("c/a", 1), ("ca", 1)], 1),
        ([("a", BYTES_AT_ONCE), ("b", 0), ("c", 1), ("d", 0)], 2),
        ([("a", 100 * BYTES_AT_ONCE), ("b", 0)], 1),
        ([("a", 1), ("b", BYTES_AT_ONCE)], 1),
    ],
)
def test_what_goes_together(rows: list[tuple[str, int]], together: int) -> None:
    paths = [path for path, _ in rows]
    assert of_one_folder((path, size, path) for path, size in rows) == paths[:together]


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a"]), st.integers(0, BYTES_AT_ONCE))))
def test_rows_go_together_as_long_as_they_may(rows: list[tuple[str, int]]) -> None:
    """All of them in such pieces, one after another: in order, each of one folder, none longer than it may be."""
    left = list(rows)
    pieces = []
    while left:
        piece = of_one_folder((path, size, (path, size)) for path, size in left)
        assert piece == left[: len(piece)]
        assert len({parent_path(path) for path, _ in piece}) == 1
        assert sum(size for _, size in piece) <= BYTES_AT_ONCE
        left = left[len(piece) :]
        pieces.append(piece)
    for before, after in itertools.pairwise(pieces):
        fits = sum(size for _, size in before) + after[0][1] <= BYTES_AT_ONCE
        assert not (fits and parent_path(before[0][0]) == parent_path(after[0][0]))
