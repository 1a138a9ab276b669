"""Keys and paths: one to one, or refused by name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from runner_plugins.objects.keys import (
    check_name,
    fault_of,
    folders_of,
    is_reserved_folder,
    name_rules,
    temporary_execution,
)

from runner.errors import EntryCode, EntryError

RULES = name_rules("photos/")

KEYS = [
    ("a plain file", "a", None),
    ("a folder's marker", "a/b/", None),
    ("dots inside names", "a.b/..c/d..", None),
    ("three dots", "...", None),
    ("an empty name", "a//b", "`//`"),
    ("a slash in front", "/abs", "`//`"),
    ("only a slash", "/", "`//`"),
    ("a marker with two slashes", "a//", "`//`"),
    ("this folder", "./x", "`.` or `..`"),
    ("the folder above", "../y", "`.` or `..`"),
    ("above in the middle", "a/../b", "`.` or `..`"),
    ("above at the end", "a/..", "`.` or `..`"),
    ("a marker above", "a/../", "`.` or `..`"),
    ("a NUL", "a\0b", "NUL"),
    ("a new line", "a\nb", None),
]


@pytest.mark.parametrize(("key", "said"), [row[1:] for row in KEYS], ids=[row[0] for row in KEYS])
def test_a_key_is_a_path_or_says_why_not(key: str, said: str | None) -> None:
    fault = fault_of(key)
    assert (fault is None) == (said is None)
    if said is not None and fault is not None:
        assert said in fault


@given(st.text(min_size=1, max_size=12, alphabet=st.sampled_from("ab./\n\u00e9")))
def test_a_key_that_is_a_path_has_names_everywhere(key: str) -> None:
    names = key.removesuffix("/").split("/")
    assert (fault_of(key) is None) == (not {"", ".", ".."} & set(names))


@given(st.lists(st.sampled_from(["a", "b-c", "\u00e9", "...", "x y"]), min_size=1, max_size=5), st.booleans())
def test_the_folders_of_a_path_are_its_parents(names: list[str], marker: bool) -> None:
    path = "/".join(names) + ("/" if marker else "")
    folders = folders_of(path)
    assert folders == ["/".join(names[: count + 1]) + "/" for count in range(len(names) - (not marker))]


@pytest.mark.parametrize("path", ["x" * 1018, "bad-\udcff", "a//b", "..", "\u00e9" * 509])
def test_paths_without_a_key_are_refused(path: str) -> None:
    with pytest.raises(EntryError) as raised:
        check_name(path, RULES)
    assert raised.value.entry_code is EntryCode.NAME_NOT_ALLOWED


@pytest.mark.parametrize("path", ["x" * 1016, "\u00e9" * 508, "a\nb", "tab\t", "a/b/", ""])
def test_paths_with_a_key_pass(path: str) -> None:
    check_name(path, RULES)


def test_our_own_names_are_known() -> None:
    assert temporary_execution("d/.sync-runner-0123456789ab-c0ffee.part") == "0123456789ab"
    assert temporary_execution("d/.sync-runner-0123456789ab-c0ffee.part.txt") is None
    assert is_reserved_folder(".sync-runner-quarantine/")
    assert not is_reserved_folder("d/.sync-runner-quarantine/")
    assert is_reserved_folder("d/.sync-runner/")
    assert not is_reserved_folder("d/.sync-runner-notes/")
