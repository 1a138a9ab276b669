"""DataSync's patterns: the documented examples, then a slow reference on generated patterns and paths."""

from __future__ import annotations

import pytest
from filter_reference import slow_match
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.filters.datasync import PathPatterns, split_patterns
from runner.filters.faults import pattern_faults
from runner.filters.selection import Selection
from runner.model.entry import parent_path
from runner.model.task import FilterSettings

MATCHES = [
    ("anchored folder", "/dir", ["dir/", "dir/a", "dir/a/b/", "dir"], ["dirt", "a/dir/", "a/dir", "di"]),
    ("a trailing slash is the same", "/dir/", ["dir/", "dir/a", "dir"], ["dirt", "a/dir/"]),
    ("deep", "/a/b", ["a/b", "a/b/", "a/b/c"], ["a/", "a/bc", "a/c", "b"]),
    ("several", "/a|/b*", ["a", "a/x", "b", "bc", "bc/d"], ["c", "ab", "c/b"]),
    ("every temp", "*/temp", ["temp", "temp/", "temp/x", "a/temp", "a/b/temp/c"], ["xtemp", "a/tempo"]),
    ("extension", "*.tmp", ["x.tmp", "a/x.tmp", ".tmp", "x.tmp/", "x.tmp/inside"], ["x.tmpx", "tmp"]),
    ("a star crosses slashes", "/a*z", ["az", "a/b/z", "abz/c"], ["a", "b/az", "a/z1"]),
    ("in the middle", "*foo*", ["foo", "a/foo/b", "xfoox"], ["fo", "f/oo"]),
    ("everything", "*", ["a", "a/b"], []),
    ("the root", "/", ["a", "a/b/"], []),
    ("escaped star", r"/a\*b", ["a*b", "a*b/c"], ["ab", "axb", r"a\*b"]),
    ("escaped bar", r"/a\|b", ["a|b"], ["a", "b"]),
    ("escaped backslash", "/a\\\\b", ["a\\b"], ["ab"]),
    ("a backslash elsewhere is ignored", r"/a\bc", ["abc"], [r"a\bc"]),
    ("a backslash at the end is ignored", "/abc\\", ["abc"], ["abc\\"]),
    ("case counts", "/Dir", ["Dir/"], ["dir/", "DIR/"]),
    ("no slash and no star: as if anchored", "temp", ["temp", "temp/x"], ["a/temp"]),
    ("question marks and brackets are plain", "/a?[b]", ["a?[b]"], ["axb"]),
    (
        "names that are not UTF-8, and line breaks",
        "*\udcff\n*",
        ["a\udcff\n", "\udcff\nb/c"],
        ["\udcff", "\n"],
    ),
]


@pytest.mark.parametrize(("what", "pattern", "inside", "outside"), MATCHES, ids=[row[0] for row in MATCHES])
def test_documented_behaviour(what: str, pattern: str, inside: list[str], outside: list[str]) -> None:
    selection = Selection(FilterSettings(exclude=(pattern,)), 0)
    excluded = {path: not selection.path_decision(path).included for path in inside + outside}
    assert excluded == {path: path in inside for path in inside + outside}
    assert {path: slow_match(pattern, path) for path in excluded} == excluded


patterns = st.text("ab/*|\\.", max_size=8)
names = st.sampled_from(["a", "b", "ab", "a.b", "*", "|", "\\", "ba"])
paths = st.builds(
    lambda parts, slash: "/".join(parts) + slash,
    st.lists(names, min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)


@settings(deadline=None)
@given(st.lists(patterns, max_size=3), paths)
def test_patterns_agree_with_a_slow_reference(texts: list[str], path: str) -> None:
    compiled = PathPatterns(texts)
    levels = []
    level = path
    while level:
        levels.append(level.removesuffix("/"))
        level = parent_path(level)
    found = any(compiled.matches(level) for level in levels)
    assert found == any(slow_match(text, path) for text in texts)
    assert found == any(compiled.first_text(level) is not None for level in levels)


@settings(deadline=None)
@given(st.lists(patterns, max_size=3), paths)
def test_all_below_is_never_wrong(texts: list[str], path: str) -> None:
    folder = path.removesuffix("/") + "/"
    if PathPatterns(texts).all_below(folder):
        for below in ("x", "x/", "a.b", "x/y/z"):
            assert any(slow_match(text, folder + below) for text in texts)


def test_the_first_pattern_as_written_is_named() -> None:
    compiled = PathPatterns(["/x|*.tmp", "/a*", "*.tmp|*"])
    assert [compiled.first_text(path) for path in ("a.tmp", "ab", "x", "q")] == ["*.tmp", "/a*", "/x", "*"]


def test_a_list_and_a_joined_text_are_the_same() -> None:
    joined = [pattern.characters for pattern in split_patterns([r"/a|/b\|c|*.d"])]
    assert joined == [pattern.characters for pattern in split_patterns(["/a", r"/b\|c", "*.d"])]


def test_what_is_wrong_with_patterns() -> None:
    filters = FilterSettings(
        include=("*.txt", "/a*b", "/ok*", "/ok", "*", "/a**", r"/star\*s/b"),
        exclude=("", "/a||/b", "/a//b", "/a/../b", "./a", "/nul\0", "*.tmp\n", "*/temp", "/", "/a/", "\\"),
        rules=("*.o", "# comment", "", "[a", "a\\", "!", "/", "a//b", "../a", "[[:nope:]]", "x\0", "a/**/b/"),
    )
    only_last = 'may hold "*" only as its last character'
    expected = [
        ("*.txt", only_last),
        ("/a*b", only_last),
        ("/a**", only_last),
        ("", "is empty"),
        ("/a||/b", 'pattern "" is empty'),
        ("/a//b", "empty name"),
        ("/a/../b", '".."'),
        ("./a", '"."'),
        ("/nul\0", "NUL"),
        ("*.tmp\n", "line break"),
        ("\\", "is empty"),
        ("[a", "[ without its ]"),
        ("a\\", "backslash"),
        ("!", "names nothing"),
        ("/", "names nothing"),
        ("a//b", "empty name"),
        ("../a", '".."'),
        ("[[:nope:]]", "unknown class [:nope:]"),
        ("x\0", "NUL"),
    ]
    faults = pattern_faults(filters)
    assert [pattern for pattern, _ in faults] == [pattern for pattern, _ in expected]
    for (pattern, wrong), (_, part) in zip(faults, expected, strict=True):
        assert part in wrong, pattern


def test_the_advice_for_includes_by_extension_works() -> None:
    ((_, wrong),) = pattern_faults(FilterSettings(include=("*.txt",)))
    assert 'rules: ["*", "!*/", "!*.txt"]' in wrong
    selection = Selection(FilterSettings(rules=("*", "!*/", "!*.txt")), 0)
    answers = {
        path: selection.path_decision(path).included for path in ("a.txt", "d/", "d/b.txt", "d/b.c", "b.c")
    }
    assert answers == {"a.txt": True, "d/": True, "d/b.txt": True, "d/b.c": False, "b.c": False}


def test_the_limit_of_characters_counts_the_bars() -> None:
    half = "/" + "a" * 51_199
    assert pattern_faults(FilterSettings(exclude=(half, half[:-1]))) == []
    ((_, wrong),) = pattern_faults(FilterSettings(exclude=(half, half)))
    assert wrong == "exclude holds 102,401 characters; the limit is 102,400"
