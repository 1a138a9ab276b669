"""The short answer about names never contradicts the long one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runner.locations.names import NameRules

limits = st.one_of(st.none(), st.integers(1, 300))
rules = st.builds(
    NameRules,
    max_name_bytes=limits,
    max_name_units=limits,
    max_path_bytes=limits,
    max_path_units=limits,
    max_depth=st.one_of(st.none(), st.integers(1, 4)),
    utf8=st.booleans(),
    forbidden=st.sampled_from(("", ":")),
    controls=st.booleans(),
    forbidden_end=st.sampled_from(("", ". ")),
    reserved_exactly=st.sampled_from((frozenset(), frozenset({"a"}))),
    reserved=st.sampled_from((frozenset(), frozenset({"A"}))),
)


@given(rules, st.text(st.sampled_from("a:. /\x01é\U0001f600\udcff"), min_size=1, max_size=80))
def test_what_is_surely_held_is_never_refused(names: NameRules, path: str) -> None:
    if len(path) <= names.held_up_to:
        assert names.refusal(path) is None


def test_a_file_system_of_this_machine_is_asked_about_long_paths_only() -> None:
    assert NameRules(max_name_bytes=255).held_up_to == 63
    assert NameRules(max_name_bytes=255, forbidden=":").held_up_to == 0
