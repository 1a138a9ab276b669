"""Two listings -> differences: described cases, and a naive comparison as the judge of random ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.diff.compare import Comparison
from runner.diff.merge import Merge, Scope
from runner.diff.tally import Tally
from runner.errors import EntryCode, EntryError
from runner.model.difference import Difference, Reason
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem, path_bytes
from runner.model.task import Compare, SymlinkMode

Found = Entry | Problem


def d(path: str, **facts: Any) -> Entry:
    return Entry(path, Kind.DIRECTORY, mtime_ns=facts.pop("mtime_ns", 1), **facts)


def f(path: str, size: int = 1, mtime_ns: int = 1, **facts: Any) -> Entry:
    return Entry(path, Kind.FILE, size_bytes=size, mtime_ns=mtime_ns, **facts)


def link(path: str, target: str = "t") -> Entry:
    return Entry(path, Kind.SYMLINK, mtime_ns=1, link_target=target)


def unlisted(path: str) -> Problem:
    return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, "closed")


def broken(path: str) -> Problem:
    return Problem(path, Phase.PREPARING, EntryCode.LINK_BROKEN, "dangling")


def merged(
    source: list[Found], destination: list[Found], scope: Scope | None = None, **options: Any
) -> tuple[list[Difference], Tally]:
    tally = Tally()
    content_equal = options.pop("content_equal", None)
    merge = Merge(
        iter(source), iter(destination), Comparison(**options), scope or Scope(), tally, content_equal
    )
    return list(merge.differences()), tally


def shown(differences: list[Difference]) -> list[str]:
    """Each difference in one word: `path reasons [=leader] [!]`; equal folders left out."""
    lines = []
    for one in differences:
        if not one.reasons:
            continue
        sides = ("s" if one.source else "") + ("d" if one.destination else "")
        words = [one.path or ".", sides, "+".join(reason.value for reason in one.reasons)]
        if one.attributes:
            words.append("(" + ",".join(one.attributes) + ")")
        if one.link_to:
            words.append("=" + one.link_to)
        if one.make_way:
            words.append("!")
        lines.append(" ".join(words))
    return lines


def without(*names: str, hides: bool = False, **more: Any) -> Scope:
    """A scope that excludes these paths and what is below them."""
    return Scope(
        includes=lambda entry: (
            not any(entry.path == name or entry.path.startswith(name.rstrip("/") + "/") for name in names)
        ),
        hides_excluded=hides,
        **more,
    )


R = d("")
CASES: list[tuple[str, list[Found], list[Found], dict[str, Any], list[str]]] = [
    ("equal", [R, f("a")], [R, f("a")], {}, []),
    ("missing", [R, f("a")], [R], {}, ["a s missing"]),
    ("extra", [R], [R, f("a")], {}, ["a d extra"]),
    ("destination's root is missing", [R, f("a")], [], {}, [". s missing", "a s missing"]),
    ("size", [R, f("a", 1)], [R, f("a", 2)], {}, ["a sd size"]),
    ("mtime", [R, f("a", mtime_ns=1)], [R, f("a", mtime_ns=2)], {}, ["a sd mtime"]),
    ("within tolerance", [R, f("a", mtime_ns=1)], [R, f("a", mtime_ns=3)], {"mtime_tolerance_ns": 2}, []),
    (
        "past tolerance",
        [R, f("a", mtime_ns=1)],
        [R, f("a", mtime_ns=4)],
        {"mtime_tolerance_ns": 2},
        ["a sd mtime"],
    ),
    ("mtime not carried", [R, f("a", mtime_ns=1)], [R, f("a", mtime_ns=9)], {"compares_mtime": False}, []),
    (
        "mtime is metadata when size decides",
        [R, f("a", mtime_ns=1)],
        [R, f("a", mtime_ns=2)],
        {"compare": Compare.SIZE_ONLY},
        ["a sd attributes (mtime)"],
    ),
    (
        "content differs",
        [R, f("a")],
        [R, f("a")],
        {"compare": Compare.CHECKSUM, "content_equal": lambda left, right: False},
        ["a sd digest"],
    ),
    (
        "all is all files",
        [R, f("a"), link("l")],
        [R, f("a"), link("l")],
        {"transfer_all": True},
        ["a sd all"],
    ),
    (
        "mode",
        [R, f("a", attributes=Attributes(mode=0o600))],
        [R, f("a", attributes=Attributes(mode=0o644))],
        {},
        ["a sd attributes (mode)"],
    ),
    (
        "unknown metadata is no difference",
        [R, f("a", attributes=Attributes(mode=0o600))],
        [R, f("a", attributes=Attributes())],
        {},
        [],
    ),
    ("folder's time", [R, d("a/", mtime_ns=1)], [R, d("a/", mtime_ns=2)], {}, ["a/ sd attributes (mtime)"]),
    ("link target", [R, link("a", "x")], [R, link("a", "y")], {}, ["a sd link_target"]),
    ("file to link", [R, link("a")], [R, f("a")], {}, ["a sd kind"]),
    ("link to file", [R, f("a")], [R, link("a")], {}, ["a sd kind"]),
    (
        "device number",
        [R, Entry("a", Kind.BLOCK_DEVICE, attributes=Attributes(device=1))],
        [R, Entry("a", Kind.BLOCK_DEVICE, attributes=Attributes(device=2))],
        {"scope": Scope(devices=True)},
        ["a sd kind"],
    ),
    ("file becomes folder", [R, d("a/"), f("a/x")], [R, f("a")], {}, ["a/ sd kind", "a/x s missing"]),
    ("link becomes folder", [R, d("a/")], [R, link("a")], {}, ["a/ sd kind"]),
    (
        "folder becomes file",
        [R, f("a")],
        [R, d("a/"), f("a/x")],
        {},
        ["a sd kind", "a/ d extra !", "a/x d extra !"],
    ),
    ("folder becomes link", [R, link("a")], [R, d("a/")], {}, ["a sd kind", "a/ d extra !"]),
    (
        "names between a and a/, file becomes folder",
        [R, f("a!"), f("a-b"), f("a.txt"), d("a/")],
        [R, f("a"), f("a-b"), f("a.txt"), f("a0")],
        {},
        ["a! s missing", "a/ sd kind", "a0 d extra"],
    ),
    (
        "names between a and a/, folder becomes file",
        [R, f("a"), f("a-b"), f("a0")],
        [R, f("a!"), d("a-c/"), d("a/"), f("a/a")],
        {},
        [
            "a! d extra",
            "a-b s missing",
            "a-c/ d extra",
            "a sd kind",
            "a/ d extra !",
            "a/a d extra !",
            "a0 s missing",
        ],
    ),
    (
        "no folder comes: the held ones are released",
        [R, f("a"), f("b")],
        [R, f("a!"), f("a-b")],
        {},
        ["a! d extra", "a-b d extra", "a s missing", "b s missing"],
    ),
    (
        "twins in twins",
        [R, f("a"), d("a!/"), f("a!/a")],
        [R, f("a!"), d("a/"), f("a/x")],
        {},
        ["a!/ sd kind", "a!/a s missing", "a sd kind", "a/ d extra !", "a/x d extra !"],
    ),
    (
        "what is held in a folder comes before what is held around it",
        [R, f("a"), d("a!/"), f("a!/a")],
        [R, d("a!/"), d("a!/a!/"), f("a0")],
        {},
        ["a!/a!/ d extra", "a!/a s missing", "a s missing", "a0 d extra"],
    ),
    (
        "names that are no UTF-8",
        [R, f("b\udcff"), f("é")],
        [R, f("b\udcff"), f("é", 9), f("\U0001f600")],
        {},
        ["é sd size", "\U0001f600 d extra"],
    ),
    (
        "byte order, not code point order",
        [R, f("\ue000"), f("\U0001f600")],
        [R, f("\U0001f600")],
        {},
        ["\ue000 s missing"],
    ),
    # hard links
    (
        "a new group: the first name leads",
        [R, f("a", link_group="1"), f("b", link_group="1")],
        [R],
        {},
        ["a s missing", "b s missing =a"],
    ),
    (
        "the same groups",
        [R, f("a", link_group="1"), f("b", link_group="1")],
        [R, f("a", link_group="7"), f("b", link_group="7")],
        {},
        [],
    ),
    (
        "not linked at the destination",
        [R, f("a", link_group="1"), f("b", link_group="1")],
        [R, f("a"), f("b")],
        {},
        ["b sd link_group =a"],
    ),
    (
        "linked at the destination only: one keeps the file, the other gets its own",
        [R, f("a"), f("b")],
        [R, f("a", link_group="7"), f("b", link_group="7")],
        {},
        ["b sd link_group"],
    ),
    (
        "groups crossed",
        [R, f("a", link_group="1"), f("b", link_group="2"), f("c", link_group="1"), f("d", link_group="2")],
        [R, f("a", link_group="7"), f("b", link_group="7"), f("c", link_group="8"), f("d", link_group="8")],
        {},
        ["b sd link_group", "c sd link_group =a", "d sd link_group =b"],
    ),
    (
        "the leader is written anew: its names follow",
        [R, f("a", 1, link_group="1"), f("b", 1, link_group="1")],
        [R, f("a", 2, link_group="7"), f("b", 2, link_group="7")],
        {},
        ["a sd size", "b sd link_group+size =a"],
    ),
    (
        "only the leader's metadata differs: its names have it already",
        [R, f("a", link_group="1", attributes=Attributes(mode=1)), f("b", link_group="1")],
        [R, f("a", link_group="7", attributes=Attributes(mode=2)), f("b", link_group="7")],
        {},
        ["a sd attributes (mode)"],
    ),
    (
        "hard links not wanted: each a file of its own",
        [R, f("a", link_group="1"), f("b", link_group="1")],
        [R, f("a", link_group="7"), f("b", link_group="7")],
        {"scope": Scope(hard_links=False)},
        ["b sd link_group"],
    ),
    (
        "an excluded name does not lead",
        [R, f("a", link_group="1"), f("b", link_group="1"), f("c", link_group="1")],
        [R],
        {"scope": without("a")},
        ["b s missing", "c s missing =b"],
    ),
    # what is unknown
    (
        "source folder closed",
        [R, d("a/"), unlisted("a/"), f("b")],
        [R, d("a/"), f("a/x")],
        {},
        ["b s missing"],
    ),
    ("source closed altogether", [R, unlisted("")], [R, f("a"), d("b/"), f("b/x")], {}, []),
    (
        "closed only where the destination has a file",
        [R, d("a/"), unlisted("a/")],
        [R, f("a")],
        {},
        ["a d extra"],
    ),
    (
        "a name like the closed folder's",
        [R, d("a/"), unlisted("a/")],
        [R, d("a/"), f("a/x"), f("a0")],
        {},
        ["a0 d extra"],
    ),
    ("source link broken: what stands there stays", [R, broken("a")], [R, d("a/"), f("a/x")], {}, []),
    ("destination folder closed", [R, d("a/"), f("a/x")], [R, d("a/"), unlisted("a/")], {}, []),
    ("destination closed altogether", [R, f("a")], [R, unlisted("")], {}, []),
    ("destination's child unknown", [R, f("a"), f("b")], [R, broken("a")], {}, ["b s missing"]),
    # what takes no part
    ("excluded at the source", [R, f("a"), f("b")], [R, f("a", 9)], {"scope": without("a")}, ["b s missing"]),
    (
        "excluded counts as absent",
        [R, f("a")],
        [R, f("a")],
        {"scope": without("a", hides=True)},
        ["a d excluded"],
    ),
    (
        "excluded folder counts as absent",
        [R, d("a/")],
        [R, d("a/"), f("a/x")],
        {"scope": without("a/", hides=True)},
        ["a/ d excluded", "a/x d extra"],
    ),
    (
        "excluded folder, a file there",
        [R, d("a/")],
        [R, f("a")],
        {"scope": without("a/", hides=True)},
        ["a d excluded"],
    ),
    ("excluded file, a folder there", [R, f("a")], [R, d("a/"), f("a/x")], {"scope": without("a")}, []),
    ("excluded folder, a file there stays", [R, d("a/")], [R, f("a")], {"scope": without("a/")}, []),
    (
        "skipped link, a folder there stays",
        [R, link("a")],
        [R, f("a!"), d("a/"), f("a/x"), f("a0")],
        {"scope": Scope(symlinks=SymlinkMode.SKIP)},
        ["a! d extra", "a0 d extra"],
    ),
    (
        "skipped link, a link there stays",
        [R, link("a")],
        [R, link("a", "x")],
        {"scope": Scope(symlinks=SymlinkMode.SKIP)},
        [],
    ),
    ("skipped kind", [R, Entry("a", Kind.FIFO)], [R], {"scope": Scope(special_files=False)}, []),
    ("skipped device", [R, Entry("a", Kind.CHARACTER_DEVICE)], [R], {}, []),
    ("an excluded broken link is nobody's problem", [R, broken("a")], [R], {"scope": without("a")}, []),
]


@pytest.mark.parametrize(
    ("source", "destination", "options", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_differences(
    source: list[Found], destination: list[Found], options: dict[str, Any], expected: list[str]
) -> None:
    differences, _ = merged(source, destination, **options)
    assert shown(differences) == expected


COUNTED: list[tuple[str, list[Found], list[Found], Scope, dict[str, tuple[int, int]]]] = [
    (
        "one of each",
        [R, f("a", 5), f("b"), d("c/"), f("x")],
        [R, f("a", 5), f("x"), f("y"), d("z/")],
        without("x"),
        {"listed": (3, 2), "excluded": (1, 0), "skipped": (1, 0), "failed": (0, 0), "kept": (1, 0)},
    ),
    (
        "a closed folder has failed, and keeps what stands there",
        [R, d("a/"), unlisted("a/")],
        [R, d("a/"), f("a/x")],
        Scope(),
        {"listed": (0, 2), "excluded": (0, 0), "skipped": (0, 0), "failed": (0, 1), "kept": (1, 1)},
    ),
    (
        "an unreadable entry has failed",
        [R, broken("a")],
        [R],
        Scope(),
        {"listed": (1, 1), "excluded": (0, 0), "skipped": (0, 0), "failed": (1, 0), "kept": (0, 0)},
    ),
    (
        "an unreadable entry that is excluded is excluded",
        [R, broken("a")],
        [R],
        without("a"),
        {"listed": (1, 1), "excluded": (1, 0), "skipped": (0, 0), "failed": (0, 0), "kept": (0, 0)},
    ),
    (
        "below what the destination does not show all has failed",
        [R, d("a/"), d("a/b/"), f("a/b/c")],
        [R, d("a/"), unlisted("a/")],
        Scope(),
        {"listed": (1, 3), "excluded": (0, 0), "skipped": (0, 0), "failed": (1, 1), "kept": (0, 0)},
    ),
]


@pytest.mark.parametrize(
    ("source", "destination", "scope", "expected"),
    [case[1:] for case in COUNTED],
    ids=[case[0] for case in COUNTED],
)
def test_counts(
    source: list[Found], destination: list[Found], scope: Scope, expected: dict[str, tuple[int, int]]
) -> None:
    counters = merged(source, destination, scope)[1].counters()
    found = {name: getattr(counters, name) for name in expected}
    assert {name: (counts.files, counts.folders) for name, counts in found.items()} == expected


def test_problems_say_their_side_and_only_the_unlisted_make_a_listing_incomplete() -> None:
    _, tally = merged([R, broken("a")], [R, broken("b")])
    assert [(problem.path, problem.side) for problem in tally.problems] == [
        ("a", "source"),
        ("b", "destination"),
    ]
    assert not tally.incomplete
    _, tally = merged([R], [R, d("b/"), unlisted("b/")])
    assert tally.incomplete


def test_content_that_cannot_be_read_is_a_problem_of_that_path() -> None:
    def unreadable(source: Entry, destination: Entry) -> bool:
        raise EntryError(EntryCode.PERMISSION_DENIED, source.path, "closed")

    source: list[Found] = [R, f("a", link_group="1"), f("b", link_group="1")]
    destination: list[Found] = [R, f("a")]
    differences, tally = merged(source, destination, compare=Compare.CHECKSUM, content_equal=unreadable)
    # What "a" holds is unknown: "b" must not become another name of it.
    assert shown(differences) == ["b s missing"]
    assert [(problem.path, problem.code) for problem in tally.problems] == [
        ("a", EntryCode.PERMISSION_DENIED)
    ]
    assert (tally.failed_files, tally.skipped_files) == (1, 0)


def test_equal_files_come_when_asked_for() -> None:
    merge = Merge(iter([R, f("a")]), iter([R, f("a")]), Comparison(), Scope(), Tally(), reports_equal=True)
    assert [(one.path, one.reasons) for one in merge.differences()] == [("", ()), ("a", ())]


def test_only_first_problems_are_kept_in_full() -> None:
    tally = Tally()
    for number in range(10_050):
        tally.note(broken(f"{number}"))
    assert (len(tally.problems), tally.problems_total) == (10_000, 10_050)


def test_memory_is_constant() -> None:
    """200,000 names that all start alike, and nothing piles up."""

    def names() -> Iterator[Found]:
        yield R
        for number in range(200_000):
            yield Entry(f"a{number:06d}", Kind.FILE, 1, 1)

    merge = Merge(names(), iter([R, f("a"), f("a1")]), Comparison(), Scope(), Tally())
    most, count = 0, 0
    for _ in merge.differences():
        count += 1
        most = max(most, len(merge._held))
    assert count == 200_003
    assert most <= 2


# -- against a naive comparison ------------------------------------------------------------------------------

NAMES = ("a", "a!", "a-", "a.txt", "a0", "b", "b\udcff", "é", "\ue000", "\U0001f600")
_leaf = st.one_of(
    st.builds(lambda size, mtime: ("file", size, mtime), st.integers(0, 1), st.integers(1, 2)),
    st.just(("folder",)),
    st.builds(lambda target: ("link", target), st.sampled_from("xy")),
)


@st.composite
def listings(draw: st.DrawFn) -> list[Entry]:
    """A sorted listing of a random tree."""
    entries: dict[str, Entry] = {"": R}
    files: set[str] = set()
    for names, leaf in draw(
        st.lists(st.tuples(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), _leaf), max_size=12)
    ):
        parents = ["/".join(names[:depth]) for depth in range(1, len(names))]
        path = "/".join(names)
        if path in files or path + "/" in entries or any(parent in files for parent in parents):
            continue
        for parent in parents:
            entries.setdefault(parent + "/", d(parent + "/"))
        if leaf[0] == "folder":
            entries[path + "/"] = d(path + "/")
            continue
        files.add(path)
        entries[path] = f(path, leaf[1], leaf[2]) if leaf[0] == "file" else link(path, leaf[1])
    return [entries[path] for path in sorted(entries, key=path_bytes)]


def naive(source: list[Entry], destination: list[Entry]) -> set[tuple[str, bool, bool, tuple[Reason, ...]]]:
    """The same comparison with both sides in memory: by name, whatever the kind."""
    left, right = {entry.path: entry for entry in source}, {entry.path: entry for entry in destination}
    found: set[tuple[str, bool, bool, tuple[Reason, ...]]] = set()
    for path, entry in left.items():
        other = right.get(path)
        twin = right.get(path[:-1] if path.endswith("/") else path + "/") if path else None
        if other is None:
            found.add(
                (path, True, twin is not None, (Reason.KIND,) if twin is not None else (Reason.MISSING,))
            )
        elif entry.kind is not other.kind:
            found.add((path, True, True, (Reason.KIND,)))
        elif entry.kind is Kind.SYMLINK and entry.link_target != other.link_target:
            found.add((path, True, True, (Reason.LINK_TARGET,)))
        elif entry.size_bytes != other.size_bytes:
            late = (Reason.ATTRIBUTES,) if entry.mtime_ns != other.mtime_ns else ()
            found.add((path, True, True, (Reason.SIZE, *late)))
        elif entry.mtime_ns != other.mtime_ns:
            found.add((path, True, True, (Reason.MTIME,)))
    for path in right:
        if path not in left and not (not path.endswith("/") and path + "/" in left):
            found.add((path, False, True, (Reason.EXTRA,)))
    return found


@settings(max_examples=200, deadline=None)
@given(listings(), listings())
def test_merge_agrees_with_a_naive_comparison(source: list[Entry], destination: list[Entry]) -> None:
    differences, tally = merged(list(source), list(destination))
    found = [
        (one.path, one.source is not None, one.destination is not None, one.reasons)
        for one in differences
        if one.reasons
    ]
    assert len(found) == len(set(found))
    assert set(found) == naive(source, destination)
    counters = tally.counters()
    assert counters.listed.files + counters.listed.folders == len(source)
    assert counters.listed_at_destination.files + counters.listed_at_destination.folders == len(destination)
    # Every folder is left before the walk goes on elsewhere: the planner's stack relies on it.
    stack: list[str] = []
    left: set[str] = set()
    for one in differences:
        while stack and not one.path.startswith(stack[-1]):
            left.add(stack.pop())
        assert one.path not in left
        if one.path.endswith("/") or one.path == "":
            stack.append(one.path)


@settings(max_examples=200, deadline=None)
@given(listings(), listings(), st.data())
def test_what_is_unknown_is_never_a_difference(
    source: list[Entry], destination: list[Entry], data: st.DataObject
) -> None:
    side = data.draw(st.sampled_from((0, 1)))
    sides: list[list[Found]] = [list(source), list(destination)]
    folders = [entry.path for entry in (source, destination)[side] if entry.kind is Kind.DIRECTORY]
    closed = data.draw(st.sampled_from(folders))
    seen = [found for found in sides[side] if found.path == closed or not found.path.startswith(closed)]
    seen.insert([found.path for found in seen].index(closed) + 1, unlisted(closed))
    sides[side] = seen
    differences, tally = merged(sides[0], sides[1])
    assert tally.incomplete
    assert [
        one.path for one in differences if one.reasons and one.path.startswith(closed) and one.path != closed
    ] == []
    for one in differences:
        # Below a closed source folder nothing is called extra, and not the folder itself either.
        assert side == 1 or one.path != closed or one.source is not None
