"""Listings in canonical order whatever the driver does, owners mapped, content as a digest."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.errors import EntryCode, EntryError
from runner.inventory import listing
from runner.inventory.content import digester
from runner.inventory.listing import inventory, sort_externally
from runner.inventory.owners import owner_mapping
from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem, path_bytes
from runner.model.task import DigestAlgorithm, MetadataOptions
from runner.testing.faults import FaultScript, not_listed
from runner.testing.memory import ROLES, UNSORTED, memory_location
from runner.testing.trees import hostile_tree, tree


class Meter:
    def __init__(self) -> None:
        self.taken = 0

    def take(self, size_bytes: int) -> None:
        self.taken += size_bytes


def test_a_driver_that_lists_in_any_order_is_sorted() -> None:
    built = hostile_tree().memory()
    expected = list(inventory(memory_location(built), None))
    found = list(inventory(memory_location(built, UNSORTED), None))
    assert [one.path for one in found] == [one.path for one in expected]
    assert [one.path for one in found] == sorted((one.path for one in found), key=path_bytes)


@pytest.mark.parametrize("in_order", [True, False])
@pytest.mark.parametrize("path", ["a", "a/"])
def test_a_path_that_comes_twice_is_a_problem(path: str, in_order: bool) -> None:
    """Of the second one it would be said that the other side lacks it."""
    kind = Kind.DIRECTORY if path.endswith("/") else Kind.FILE
    again = [
        Entry("", Kind.DIRECTORY),
        Entry(path, kind),
        Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, ""),
    ]
    promised = msgspec.structs.replace(memory_location(tree({}).memory()).capabilities, sorted_scan=in_order)

    class Liar:
        capabilities = promised

        def __init__(self, found: list[Entry | Problem]) -> None:
            self._found = found

        def scan(self, prefix: str, descend: object) -> Iterator[Entry | Problem]:
            yield from self._found

    assert list(inventory(Liar(again), None)) == again  # type: ignore[arg-type]
    twice = [*again[:2], Entry(path, kind, size_bytes=1)]
    *whole, problem = inventory(Liar(twice), None)  # type: ignore[arg-type]
    assert whole == again[:2]
    assert isinstance(problem, Problem)
    assert (problem.path, problem.code) == (path, EntryCode.NOT_LISTED)


def test_a_driver_that_breaks_its_word_is_stopped() -> None:
    class Liar:
        capabilities = memory_location(tree({}).memory()).capabilities

        def scan(self, prefix: str, descend: object) -> Iterator[Entry]:
            yield from (Entry("", Kind.DIRECTORY), Entry("b", Kind.FILE), Entry("a", Kind.FILE))

    with pytest.raises(EntryError) as stopped:
        list(inventory(Liar(), None))  # type: ignore[arg-type]
    assert stopped.value.entry_code is EntryCode.INTERNAL
    assert "'a' came after 'b'" in stopped.value.message


def test_a_problem_stays_behind_its_folder() -> None:
    built = tree({"a/x": b"", "b/y": b"", "b-c": b""}).memory()
    for capabilities in (memory_location(built).capabilities, UNSORTED):
        script = FaultScript([not_listed("b/")])
        found = list(inventory(script.wrap(memory_location(built, capabilities)), None))
        script.assert_all_fired()
        assert [(type(one), one.path) for one in found] == [
            (Entry, ""),
            (Entry, "a/"),
            (Entry, "a/x"),
            (Entry, "b-c"),
            (Entry, "b/"),
            (Problem, "b/"),
        ]


@settings(max_examples=50, deadline=None)
@given(
    st.sets(st.text(st.sampled_from("ab/\udcffé\U0001f600"), min_size=1, max_size=6), max_size=40),
    st.randoms(),
)
def test_sorting_needs_little_memory(paths: set[str], shuffling: random.Random) -> None:
    """The same values, none lost, in runs of three."""
    found: list[Entry | Problem] = [Entry(path, Kind.FILE, size_bytes=1) for path in paths]
    found += [Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, "closed") for path in paths if "b" in path]
    shuffling.shuffle(found)
    before = listing.SORT_RUN_ENTRIES
    listing.SORT_RUN_ENTRIES = 3
    try:
        ordered = list(sort_externally(iter(found)))
    finally:
        listing.SORT_RUN_ENTRIES = before
    assert ordered == sorted(found, key=lambda one: (path_bytes(one.path), isinstance(one, Problem)))


def test_progress_is_told_now_and_then_and_at_the_end() -> None:
    built = tree({f"{number:04d}": b"" for number in range(4_500)}).memory()
    heard: list[int] = []
    assert len(list(inventory(memory_location(built), None, heard.append))) == 4_501
    assert heard == [2_000, 4_000, 4_501]


def test_descend_is_the_driver_s_to_obey() -> None:
    built = tree({"a/x": b"", "b": b""}).memory()
    found = inventory(memory_location(built), lambda folder: folder.path != "a/")
    assert [one.path for one in found] == ["", "a/", "b"]


@pytest.mark.parametrize("roles", [ROLES, ROLES - {"digest"}], ids=["asked", "read"])
@pytest.mark.parametrize("algorithm", DigestAlgorithm)
def test_a_digest_is_the_same_whoever_works_it_out(roles: frozenset[str], algorithm: DigestAlgorithm) -> None:
    content = bytes(range(256)) * 1000
    location = memory_location(tree({"a": content}).memory(), open_settings=OpenSettings(), roles=roles)
    entry = location.stat("a")
    assert entry is not None
    meter = Meter()
    digest = digester(location)(entry, algorithm, meter)
    assert meter.taken == len(content)
    assert digest.partition(":")[0] == algorithm.value
    if algorithm is DigestAlgorithm.SHA256:
        assert digest == "sha256:" + hashlib.sha256(content).hexdigest()
    other = memory_location(tree({"a": content}).memory(), open_settings=OpenSettings())
    assert digest == digester(other)(entry, algorithm, meter)


OWNERS = [
    ("nothing said about it", Attributes(uid=1, user="a"), Attributes(uid=1, user="a")),
    ("name to name", Attributes(user="alice"), Attributes(user="bob")),
    ("number to number", Attributes(uid=1000, gid=100), Attributes(uid=2000, gid=200)),
    ("number to name", Attributes(uid=5), Attributes(user="five")),
    ("the name comes first", Attributes(uid=1000, user="alice"), Attributes(user="bob")),
    ("name to number", Attributes(group="staff"), Attributes(gid=50)),
    ("nothing known", Attributes(), Attributes()),
]


@pytest.mark.parametrize(("before", "after"), [case[1:] for case in OWNERS], ids=[case[0] for case in OWNERS])
def test_owners_are_mapped(before: Attributes, after: Attributes) -> None:
    mapped = owner_mapping(
        MetadataOptions(
            owner_map=(("alice", "bob"), ("1000", "2000"), ("5", "five")),
            group_map=(("100", "200"), ("staff", "50")),
        )
    )
    assert mapped is not None
    assert mapped(Entry("a", Kind.FILE, attributes=before)) == Entry("a", Kind.FILE, attributes=after)
    assert mapped(Entry("a", Kind.FILE)) == Entry("a", Kind.FILE)


def test_no_map_costs_nothing() -> None:
    assert owner_mapping(MetadataOptions()) is None
