"""Selection: which rule decides, what may be deleted, and agreement of all answers with a slow reference."""

from __future__ import annotations

from pathlib import Path

import pytest
from filter_reference import facts_pass, is_built_in, path_included
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import UsageError
from runner.filters.describe import describe
from runner.filters.facts import RuleKind
from runner.filters.manifest import Manifest
from runner.filters.selection import BUILT_IN, Decision, Selection
from runner.model.entry import Entry, Kind
from runner.model.task import FilterSettings, ManifestSettings

NOW_NS = 1_700_000_000_000_000_000
DAY_NS = 86_400_000_000_000


def entry(
    path: str, size_bytes: int | None = 10, mtime_ns: int | None = NOW_NS, kind: Kind = Kind.FILE
) -> Entry:
    if path.endswith("/") or not path:
        return Entry(path=path, kind=Kind.DIRECTORY, mtime_ns=mtime_ns)
    return Entry(
        path=path, kind=kind, size_bytes=size_bytes if kind is Kind.FILE else None, mtime_ns=mtime_ns
    )


def yes(rule: str, code: RuleKind, by_ancestor: str | None = None) -> Decision:
    return Decision(True, rule, code, by_ancestor)


def no(rule: str, code: RuleKind, by_ancestor: str | None = None) -> Decision:
    return Decision(False, rule, code, by_ancestor)


K = RuleKind
F = FilterSettings
DECISIONS = [
    ("no rules", F(), entry("a/b"), yes("no rule", K.DEFAULT)),
    ("the root", F(exclude=("*",)), entry(""), yes("the root", K.DEFAULT)),
    ("exclude", F(exclude=("*.tmp",)), entry("a/b.tmp"), no('exclude "*.tmp"', K.EXCLUDE)),
    ("exclude above", F(exclude=("/a",)), entry("a/b/c"), no('exclude "/a"', K.EXCLUDE, "a/")),
    ("exclude on the folder", F(exclude=("/a",)), entry("a/"), no('exclude "/a"', K.EXCLUDE)),
    ("one of several", F(exclude=("/x|/a|*",)), entry("a"), no('exclude "/a"', K.EXCLUDE)),
    ("include", F(include=("/a",)), entry("a"), yes('include "/a"', K.INCLUDE)),
    ("include above", F(include=("/a",)), entry("a/b/c"), yes('include "/a"', K.INCLUDE, "a/")),
    ("not included", F(include=("/a/b",)), entry("a/c"), no("no include pattern matches", K.INCLUDE)),
    ("below that", F(include=("/a/b",)), entry("c/d"), no("no include pattern matches", K.INCLUDE, "c/")),
    ("container", F(include=("/a/b",)), entry("a/"), yes('on the way to include "/a/b"', K.INCLUDE)),
    (
        "container of a star",
        F(include=("/a/b/*",)),
        entry("a/b/"),
        yes('on the way to include "/a/b/*"', K.INCLUDE),
    ),
    ("a file is no container", F(include=("/a/b",)), entry("a"), no("no include pattern matches", K.INCLUDE)),
    ("exclude wins", F(include=("/a",), exclude=("/a/b",)), entry("a/b"), no('exclude "/a/b"', K.EXCLUDE)),
    ("rule", F(rules=("*.o",)), entry("a/x.o"), no('rule "*.o"', K.RULE)),
    ("rule above", F(rules=("a/",)), entry("x/a/y"), no('rule "a/"', K.RULE, "x/a/")),
    ("taken back", F(rules=("*.o", "!x.o")), entry("x.o"), yes('rule "!x.o"', K.RULE)),
    (
        "taken back is not included",
        F(include=("/a",), rules=("!x",)),
        entry("x"),
        no("no include pattern matches", K.INCLUDE),
    ),
    (
        "exclude is not taken back",
        F(exclude=("*.o",), rules=("!x.o",)),
        entry("x.o"),
        no('exclude "*.o"', K.EXCLUDE),
    ),
    (
        "topmost folder first",
        F(exclude=("/a/b/c",), rules=("b/",)),
        entry("a/b/c"),
        no('rule "b/"', K.RULE, "a/b/"),
    ),
    ("built in", F(), entry(".snapshot/hourly/x"), no('built in ".snapshot/"', K.BUILT_IN, ".snapshot/")),
    ("built in, a folder only", F(), entry(".snapshot"), yes("no rule", K.DEFAULT)),
    (
        "quarantine",
        F(),
        entry(".sync-runner-quarantine/"),
        no('built in "/.sync-runner-quarantine/"', K.BUILT_IN),
    ),
    ("too large", F(max_size_bytes=9), entry("a"), no("max_size 9 B", K.SIZE)),
    ("just not too large", F(max_size_bytes=10), entry("a"), yes("no rule", K.DEFAULT)),
    ("too small", F(min_size_bytes=4 << 30), entry("a"), no("min_size 4.0 GiB", K.SIZE)),
    ("size unknown", F(min_size_bytes=5), entry("a", None), yes("no rule", K.DEFAULT)),
    ("a link has no size", F(min_size_bytes=5), entry("a", kind=Kind.SYMLINK), yes("no rule", K.DEFAULT)),
    ("a folder has no size", F(min_size_bytes=5), entry("a/"), yes("no rule", K.DEFAULT)),
    ("too young", F(older_than_seconds=60.0), entry("a"), no("older_than 1 min 0 s", K.AGE)),
    (
        "just old enough",
        F(older_than_seconds=60.0),
        entry("a", mtime_ns=NOW_NS - 60 * 10**9),
        yes("no rule", K.DEFAULT),
    ),
    (
        "too old",
        F(newer_than_seconds=60.0),
        entry("a", mtime_ns=NOW_NS - 60 * 10**9 - 1),
        no("newer_than 1 min 0 s", K.AGE),
    ),
    ("age unknown", F(newer_than_seconds=60.0), entry("a", mtime_ns=None), yes("no rule", K.DEFAULT)),
    ("folders have no age", F(newer_than_seconds=60.0), entry("a/", mtime_ns=0), yes("no rule", K.DEFAULT)),
    (
        "links have",
        F(newer_than_seconds=60.0),
        entry("a", mtime_ns=0, kind=Kind.SYMLINK),
        no("newer_than 1 min 0 s", K.AGE),
    ),
    (
        "before",
        F(modified_before_ns=NOW_NS),
        entry("a"),
        no("modified_before 2023-11-14T22:13:20.000Z", K.AGE),
    ),
    (
        "after",
        F(modified_after_ns=NOW_NS + 1),
        entry("a"),
        no("modified_after 2023-11-14T22:13:20.000Z", K.AGE),
    ),
    ("at", F(modified_after_ns=NOW_NS), entry("a"), yes("no rule", K.DEFAULT)),
    (
        "kind",
        F(kinds=(Kind.SYMLINK, Kind.FILE)),
        entry("a", kind=Kind.FIFO),
        no("kinds file, symlink", K.KIND),
    ),
    ("wanted kind", F(kinds=(Kind.FILE,)), entry("a"), yes("no rule", K.DEFAULT)),
    ("folders always", F(kinds=(Kind.FILE,)), entry("a/"), yes("no rule", K.DEFAULT)),
]


@pytest.mark.parametrize(
    ("what", "filters", "asked", "expected"), DECISIONS, ids=[row[0] for row in DECISIONS]
)
def test_which_rule_decides(what: str, filters: FilterSettings, asked: Entry, expected: Decision) -> None:
    selection = Selection(filters, NOW_NS)
    assert selection.decide(asked) == expected
    assert selection.includes(asked) == expected.included


DESCENTS = [
    ("no rules", F(), "a/", True),
    ("excluded", F(exclude=("/a",)), "a/", False),
    ("below an excluded one", F(exclude=("/a",)), "a/b/", False),
    ("all inside is excluded", F(exclude=("/a/*",)), "a/", False),
    ("some inside is excluded", F(exclude=("/a/b*",)), "a/", True),
    ("a rule", F(rules=("a/",)), "x/a/", False),
    ("on the way to an include", F(include=("/a/b",)), "a/", True),
    ("beside the way", F(include=("/a/b",)), "b/", False),
    ("the root", F(include=("/a/b",)), "", True),
    ("built in", F(), "x/.snapshot/", False),
    ("sizes say nothing about folders", F(min_size_bytes=1, kinds=(Kind.FIFO,)), "a/", True),
]


@pytest.mark.parametrize(("what", "filters", "path", "expected"), DESCENTS, ids=[row[0] for row in DESCENTS])
def test_where_a_scan_goes_down(what: str, filters: FilterSettings, path: str, expected: bool) -> None:
    assert Selection(filters, NOW_NS).descend(entry(path)) == expected


OLD_NS = NOW_NS - 10 * DAY_NS
DELETIONS = [
    ("no rules", F(), entry("a"), yes("no rule", K.DEFAULT)),
    ("the root", F(delete_excluded=True), entry(""), no("the root is never deleted", K.BUILT_IN)),
    ("excluded", F(exclude=("*.tmp",)), entry("a.tmp"), no('exclude "*.tmp"', K.EXCLUDE)),
    ("excluded above", F(rules=("cache/",)), entry("cache/a"), no('rule "cache/"', K.RULE, "cache/")),
    ("too large to be ours", F(max_size_bytes=5), entry("a"), no("max_size 5 B", K.SIZE)),
    (
        "too old to be ours",
        F(newer_than_seconds=60.0),
        entry("a", mtime_ns=OLD_NS),
        no("newer_than 1 min 0 s", K.AGE),
    ),
    ("of no wanted kind", F(kinds=(Kind.FILE,)), entry("a", kind=Kind.FIFO), no("kinds file", K.KIND)),
    ("unknown size is kept", F(max_size_bytes=5), entry("a", None), no("max_size 5 B", K.SIZE)),
    (
        "unknown age is kept",
        F(older_than_seconds=1.0),
        entry("a", mtime_ns=None),
        no("older_than 1.00 s", K.AGE),
    ),
    (
        "unknown facts nobody asks about",
        F(max_size_bytes=50),
        entry("a", mtime_ns=None),
        yes("no rule", K.DEFAULT),
    ),
    ("folders are ours", F(max_size_bytes=5), entry("a/"), yes("no rule", K.DEFAULT)),
    (
        "delete_excluded",
        F(exclude=("*",), max_size_bytes=1, delete_excluded=True),
        entry("a"),
        yes("delete_excluded", K.DEFAULT),
    ),
    (
        "but not built-in folders",
        F(delete_excluded=True),
        entry(".zfs/a"),
        no('built in "/.zfs/"', K.BUILT_IN, ".zfs/"),
    ),
    (
        "nor inside excluded ones",
        F(exclude=("/a",), delete_excluded=True),
        entry("a/.snapshot/"),
        no('built in ".snapshot/"', K.BUILT_IN),
    ),
]


@pytest.mark.parametrize(
    ("what", "filters", "asked", "expected"), DELETIONS, ids=[row[0] for row in DELETIONS]
)
def test_what_may_be_deleted(what: str, filters: FilterSettings, asked: Entry, expected: Decision) -> None:
    assert Selection(filters, NOW_NS).may_delete(asked) == expected


def test_a_manifest_restricts_everything() -> None:
    manifest = Manifest([("a/b", None), ("d/", None), ("gone", None), ("x/y/z.tmp", None), ("e/f", None)])
    selection = Selection(F(exclude=("*.tmp",), delete_excluded=True), NOW_NS, manifest)
    asked = ["a/", "a/b", "a/c", "d/", "d/e/", "d/e/f", "x/", "x/y/", "x/y/z.tmp", "e/", "e/f/", "e/f/g", "q"]
    assert [path for path in asked if selection.includes(entry(path))] == [
        "a/", "a/b", "d/", "d/e/", "d/e/f", "x/", "x/y/", "e/", "e/f/",
    ]  # fmt: skip
    assert selection.decide(entry("a/c")) == no("not in the manifest", K.MANIFEST)
    assert selection.decide(entry("a/b")) == yes("manifest", K.MANIFEST)
    assert selection.may_delete(entry("d/e/f")).included is False
    assert selection.restricts_deletion is True
    assert (selection.descend(entry("d/e/")), selection.descend(entry("q/"))) == (True, False)
    assert list(selection.missing()) == ["gone"]


def test_missing_counts_a_listed_folder_as_met_by_what_is_below_it() -> None:
    manifest = Manifest([("a/", None), ("a/b/", None), ("c/", None), ("d", None), ("cut/x", None)])
    selection = Selection(F(exclude=("/cut",)), NOW_NS, manifest)
    assert list(selection.missing()) == ["a/", "a/b/", "c/", "d"]
    selection.path_decision("d")
    selection.may_delete(entry("d"))
    selection.descend(entry("c/"))
    assert list(selection.missing()) == ["a/", "a/b/", "c/", "d"]
    selection.includes(entry("a/b/x"))
    selection.decide(entry("d"))
    assert list(selection.missing()) == ["c/"]


def test_settings_that_cannot_be_meant() -> None:
    with pytest.raises(UsageError, match=r'filter "\*\.txt" may hold'):
        Selection(F(include=("*.txt",)), NOW_NS)
    with pytest.raises(UsageError, match="names nothing"):
        Selection(F(rules=("!",)), NOW_NS)
    with pytest.raises(ValueError, match="manifest"):
        Selection(F(manifest=ManifestSettings("list.csv")), NOW_NS)


def test_trivial_means_that_nothing_is_ever_left_out() -> None:
    assert Selection(F(delete_excluded=True), NOW_NS, built_in=()).is_trivial is True
    rules = [
        F(include=("/a",)), F(exclude=("/a",)), F(rules=("a",)), F(min_size_bytes=1), F(max_size_bytes=1),
        F(older_than_seconds=1.0), F(newer_than_seconds=1.0), F(modified_before_ns=1), F(modified_after_ns=1),
        F(kinds=(Kind.FILE,)),
    ]  # fmt: skip
    assert [Selection(each, NOW_NS, built_in=()).is_trivial for each in rules] == [False] * len(rules)
    assert Selection(F(), NOW_NS).is_trivial is False
    assert Selection(F(), NOW_NS, Manifest([]), built_in=()).is_trivial is False


def test_very_deep_and_very_many_folders() -> None:
    selection = Selection(F(rules=("**/cut/",), exclude=("*/end",)), NOW_NS)
    deep = "d/" * 5000
    assert selection.includes(entry(deep + "file")) is True
    assert selection.includes(entry(deep + "cut/file")) is False
    assert selection.includes(entry(deep + "end")) is False
    for number in range(3000):
        assert selection.includes(entry(f"{number}/cut/x")) is False
        assert selection.includes(entry(f"{number}/x")) is True


def test_filters_in_words() -> None:
    filters = F(
        include=("/a|/b*",), exclude=("*.tmp",), rules=("# none", "*.o  ", "", "!x.o"), min_size_bytes=1024,
        max_size_bytes=4 << 30, older_than_seconds=86400.0, newer_than_seconds=604800.0,
        modified_before_ns=NOW_NS, modified_after_ns=0, kinds=(Kind.FILE, Kind.SYMLINK),
        manifest=ManifestSettings(None, "jsonl"), delete_excluded=True,
    )  # fmt: skip
    assert describe(filters) == (
        "manifest standard input (jsonl): only listed paths, nothing is deleted",
        'exclude "*.tmp"',
        'rule "*.o"',
        'rule "!x.o"',
        'include "/a"',
        'include "/b*"',
        "min_size 1.0 KiB",
        "max_size 4.0 GiB",
        "older_than 24 h 0 min",
        "newer_than 7 d 0 h",
        "modified_before 2023-11-14T22:13:20.000Z",
        "modified_after 1970-01-01T00:00:00.000Z",
        "kinds file, symlink",
        "delete_excluded: what the filters exclude is deleted at the destination, too",
    )
    assert describe(F()) == ()


def test_the_manual_names_each_built_in_folder_and_each_sort_of_rule() -> None:
    manual = (Path(__file__).parents[2] / "docs" / "filters.md").read_text(encoding="utf-8")
    words = {f"`{rule.strip('/')}`" for rule in BUILT_IN} | {f"`{kind.value}`" for kind in RuleKind}
    assert {word for word in words if word not in manual} == {"`default`"}


def test_a_pattern_of_very_many_folders_costs_no_more_than_its_length() -> None:
    selection = Selection(F(include=("/a" * 51_200,)), NOW_NS)
    assert [selection.descend(entry("a/" * depth)) for depth in (1, 2, 700)] == [True, True, True]
    assert selection.descend(entry("a/b/")) is False


NAMES = ["a", "b", "ab", "a.b", ".snapshot", ".zfs"]
any_path = st.builds(
    lambda names, slash: "/".join(names) + slash,
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=4),
    st.sampled_from(["", "/"]),
)
joined = st.lists(
    st.sampled_from(["a", "b", "ab", "*", "a*", "*b", "?", "[ab]", "**", "a.*"]), min_size=1, max_size=3
)
any_rule = st.builds(
    lambda bang, start, names, end: bang + start + "/".join(names) + end,
    st.sampled_from(["", "", "!"]), st.sampled_from(["", "", "/"]), joined, st.sampled_from(["", "", "/"]),
).filter(lambda rule: "**" not in rule.strip("!/").split("/") or "/" in rule.strip("!/"))  # fmt: skip
any_exclude = st.sampled_from(
    ["/a", "/a/b/", "*b", "*/ab", "/a*b", "*a/b*", "/b|/ab", "*.b", "/a/*", "a/b", "*.*"]
)
any_include = st.sampled_from(["/a", "/a/b", "/ab*", "/a/b/a*", "b", "/a/*", "*", "/b/|/a.b/a"])
any_filters = st.builds(
    FilterSettings,
    include=st.lists(any_include, max_size=2).map(tuple),
    exclude=st.lists(any_exclude, max_size=2).map(tuple),
    rules=st.lists(any_rule, max_size=4).map(tuple),
    min_size_bytes=st.sampled_from([None, None, 5]),
    max_size_bytes=st.sampled_from([None, None, 10]),
    older_than_seconds=st.sampled_from([None, None, 0.0, 86400.0]),
    newer_than_seconds=st.sampled_from([None, None, 86400.0]),
    modified_before_ns=st.sampled_from([None, None, NOW_NS]),
    modified_after_ns=st.sampled_from([None, None, NOW_NS - DAY_NS]),
    kinds=st.sampled_from([(), (), (Kind.FILE,), (Kind.FILE, Kind.SYMLINK)]),
    delete_excluded=st.booleans(),
)
any_entry = st.builds(
    entry,
    any_path,
    st.sampled_from([None, 0, 5, 10, 11]),
    st.sampled_from([None, NOW_NS, NOW_NS - DAY_NS, NOW_NS - DAY_NS - 1, NOW_NS + 1]),
    st.sampled_from([Kind.FILE, Kind.FILE, Kind.SYMLINK, Kind.FIFO]),
)
any_manifest = st.none() | st.lists(any_path, max_size=4, unique=True)


@settings(deadline=None, max_examples=300)
@given(any_filters, st.lists(any_entry, min_size=1, max_size=8), any_manifest)
def test_all_answers_agree_with_the_reference(
    filters: FilterSettings, entries: list[Entry], listed: list[str] | None
) -> None:
    manifest = None if listed is None else Manifest((path, None) for path in listed)
    # One object for all entries, in any order: nothing it remembers may change an answer.
    selection = Selection(filters, NOW_NS, manifest)
    for asked in entries:
        by_path = path_included(filters, asked.path, listed, BUILT_IN)
        expected = by_path and facts_pass(filters, NOW_NS, asked, unknown=True)
        assert selection.includes(asked) == expected
        assert selection.decide(asked).included == expected
        assert selection.path_decision(asked.path).included == by_path
        deletable = listed is None and not is_built_in(asked.path)
        if not filters.delete_excluded:
            deletable = deletable and by_path and facts_pass(filters, NOW_NS, asked, unknown=False)
        assert selection.may_delete(asked).included == deletable
        if asked.is_directory and not selection.descend(asked):
            for name in NAMES:
                for below in (asked.path + name, asked.path + name + "/", asked.path + "a/" + name):
                    assert selection.path_decision(below).included is False
        ancestor = selection.decide(asked).by_ancestor
        assert ancestor is None or (
            ancestor.endswith("/") and asked.path.startswith(ancestor) and ancestor != asked.path
        )
