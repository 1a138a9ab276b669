"""The generated pages are what was recorded, and nothing was edited by hand."""

from __future__ import annotations

from matrix_pages import METADATA_PAGE, PAIR_PAGE, metadata_page, pair_page, recorded
from matrix_support import present_types


def test_the_pages_say_what_the_pairs_were_seen_to_do() -> None:
    known = recorded()
    assert PAIR_PAGE.read_text() == pair_page(known)
    assert METADATA_PAGE.read_text() == metadata_page(known)


def test_every_pair_of_types_was_observed() -> None:
    types = present_types()
    assert sorted(recorded()) == sorted(f"{left}->{right}" for left in types for right in types)
