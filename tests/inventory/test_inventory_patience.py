"""Folders that cannot be listed now are asked for again; names that cannot stand together are refused by name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.errors import EntryCode, EntryError
from runner.inventory.ahead import ahead
from runner.inventory.listing import inventory
from runner.inventory.patience import patient_scan
from runner.inventory.twins import CaseTwins, fold_case, one_kind_a_name
from runner.locations.patience import IMPATIENT, Patience
from runner.model.entry import Entry, Kind, Phase, Problem, path_bytes
from runner.testing.memory import UNSORTED, memory_location
from runner.testing.trees import tree

Found = Entry | Problem


class Shaky:
    """A location whose folders fail to be listed for their first so many times, after so many of their entries."""

    def __init__(
        self, files: list[str], failures: dict[str, tuple[int, int]], *, raising: bool = False
    ) -> None:
        self.inner = memory_location(tree(dict.fromkeys(files, b"")).memory())
        self.capabilities = self.inner.capabilities
        self.failures = dict(failures)
        self.raising = raising
        self.scans: list[str] = []

    def scan(self, prefix: str, descend: Callable[[Entry], bool] | None) -> Iterator[Found]:
        self.scans.append(prefix)
        broken: str | None = None
        left = 0
        for found in self.inner.scan(prefix, descend):
            if broken is not None and found.path.startswith(broken):
                if left:
                    left -= 1
                    yield found
                continue
            if broken is not None:
                yield self._problem(broken)
                broken = None
            yield found
            times, after = self.failures.get(found.path, (0, 0))
            if times:
                self.failures[found.path] = (times - 1, after)
                broken, left = found.path, after
        if broken is not None:
            yield self._problem(broken)

    def _problem(self, path: str) -> Problem:
        if self.raising:
            raise EntryError(EntryCode.TIMEOUT, path, "no answer")
        return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, "lost the connection", retryable=True)


def scanned(location: Any, attempts: int = 4) -> tuple[list[Found], list[float]]:
    sleeps: list[float] = []
    found = list(patient_scan(location, "", None, Patience(attempts, 1.0, sleeps.append)))
    return found, sleeps


FILES = ["a/x", "a/y", "b/c/1", "b/c/2", "b/d", "b-e", "z"]


@pytest.mark.parametrize("folder", ["", "a/", "b/", "b/c/"])
@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_folder_that_is_listed_at_last_leaves_no_trace(folder: str, after: int) -> None:
    whole = list(Shaky(FILES, {}).scan("", None))
    shaky = Shaky(FILES, {folder: (3, after)})
    found, sleeps = scanned(shaky)
    assert found == whole
    assert sleeps == [1.0, 2.0, 4.0]
    assert shaky.scans == ["", folder, folder, folder]


class Hidden(Shaky):
    """One name in it cannot be looked at: not by the listing, and not by the next so many looks at it alone."""

    def __init__(
        self, path: str, looks: int, *, error: EntryCode = EntryCode.IO_ERROR, gone: bool = False
    ) -> None:
        super().__init__(FILES, {})
        self.path, self.looks, self.error, self.gone = path, looks, error, gone

    def scan(self, prefix: str, descend: Callable[[Entry], bool] | None) -> Iterator[Found]:
        for found in super().scan(prefix, descend):
            yield self._problem(found.path) if found.path == self.path else found

    def stat(self, path: str) -> Entry | None:
        assert path == self.path
        if self.looks:
            self.looks -= 1
            raise EntryError(self.error, path, "input/output error")
        return None if self.gone else self.inner.stat(path)


@pytest.mark.parametrize("path", ["a/x", "a/y", "b/c/1", "z"])
@pytest.mark.parametrize(("looks", "sleeps"), [(0, [1.0]), (2, [1.0, 2.0, 4.0])])
def test_a_name_that_is_looked_at_at_last_leaves_no_trace(path: str, looks: int, sleeps: list[float]) -> None:
    hidden = Hidden(path, looks)
    assert scanned(hidden) == (list(Shaky(FILES, {}).scan("", None)), sleeps)
    assert hidden.scans == [""]


@pytest.mark.parametrize(
    ("description", "hidden", "sleeps"),
    [
        ("for good", Hidden("a/y", 99), [1.0, 2.0, 4.0]),
        ("what will not pass", Hidden("a/y", 1, error=EntryCode.PERMISSION_DENIED), [1.0]),
        ("gone, or said to be", Hidden("a/y", 0, gone=True), [1.0]),
    ],
)
def test_a_name_that_was_seen_and_cannot_be_looked_at_is_never_taken_for_absent(
    description: str, hidden: Hidden, sleeps: list[float]
) -> None:
    found, slept = scanned(hidden)
    assert [one.path for one in found] == [one.path for one in Shaky(FILES, {}).scan("", None)], description
    assert [one.path for one in found if isinstance(one, Problem)] == ["a/y"]
    assert slept == sleeps


def test_patience_ends_with_the_problem_and_goes_on_behind_it() -> None:
    found, sleeps = scanned(Shaky(FILES, {"b/": (99, 1)}))
    assert [(one.path, isinstance(one, Problem)) for one in found] == [
        ("", False), ("a/", False), ("a/x", False), ("a/y", False), ("b-e", False),
        ("b/", False), ("b/c/", False), ("b/", True), ("z", False),
    ]  # fmt: skip
    assert sleeps == [1.0, 2.0, 4.0]


def remote(shaky: Shaky) -> Shaky:
    shaky.capabilities = msgspec.structs.replace(shaky.capabilities, remote=True)
    return shaky


def test_a_server_that_is_dead_is_not_asked_for_every_folder() -> None:
    """Patience is for the first folder; two more are looked at once; then all the rest is unknown."""
    folders = {f"d{number}/": (99, 0) for number in range(10)}
    shaky = remote(Shaky([f"{folder}x" for folder in folders], folders))
    found, sleeps = scanned(shaky)
    assert [one.path for one in found if isinstance(one, Problem)] == ["d0/", "d1/", "d2/", ""]
    assert sleeps == [1.0, 2.0, 4.0]
    assert found[-1].path == ""
    assert [one.path for one in inventory(shaky, None, patience=IMPATIENT)][-1] == "d9/"  # type: ignore[arg-type]
    dead = remote(Shaky(["a/x", "b/x", "c/x", "d/x"], {f"{one}/": (99, 0) for one in "abc"}))
    whole = list(inventory(dead, None, patience=Patience(2, 0.0, lambda seconds: None)))  # type: ignore[arg-type]
    assert [one.path for one in whole] == ["", "a/", "a/", "b/", "b/", "c/", "c/", ""]


def test_a_server_that_came_back_is_trusted_again() -> None:
    files = [f"{folder}/x" for folder in "abcdefg"]
    shaky = remote(Shaky(files, {"a/": (99, 0), "b/": (99, 0), "d/": (99, 0), "e/": (1, 0)}))
    found, sleeps = scanned(shaky, attempts=2)
    assert [one.path for one in found if isinstance(one, Problem)] == ["a/", "b/", "d/", "e/"]
    assert sleeps == [1.0, 1.0]
    assert found[-1].path == "g/x"


def test_two_folders_in_trouble_each_have_their_own_patience() -> None:
    found, sleeps = scanned(Shaky(FILES, {"b/": (2, 1), "b/c/": (2, 1)}))
    assert found == list(Shaky(FILES, {}).scan("", None))
    assert sorted(sleeps) == [1.0, 1.0, 2.0, 2.0]


def test_a_listing_that_raises_what_may_pass_is_asked_again() -> None:
    found, sleeps = scanned(Shaky(FILES, {"": (2, 3)}, raising=True))
    assert found == list(Shaky(FILES, {}).scan("", None))
    assert sleeps == [1.0, 2.0]


def test_what_will_not_pass_is_asked_for_once() -> None:
    class Closed(Shaky):
        def _problem(self, path: str) -> Problem:
            return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, "permission denied")

    found, sleeps = scanned(Closed(FILES, {"b/": (99, 0)}))
    assert [one.path for one in found if isinstance(one, Problem)] == ["b/"]
    assert sleeps == []


def test_no_patience_and_no_order_mean_one_look() -> None:
    assert isinstance(list(patient_scan(Shaky(FILES, {"": (1, 0)}), "", None, IMPATIENT))[-1], Problem)  # type: ignore[arg-type]
    unsorted = memory_location(tree({"a": b""}).memory(), UNSORTED)
    assert len(list(patient_scan(unsorted, "", None, Patience(3, 0.0, lambda seconds: None)))) == 2


def test_ahead_gives_the_same_values_and_the_same_error() -> None:
    assert list(ahead(iter(range(5_000)))) == list(range(5_000))

    def broken() -> Iterator[int]:
        yield from range(1_000)
        raise EntryError(EntryCode.TIMEOUT, "a", "no answer")

    seen = []
    with pytest.raises(EntryError, match="no answer"):
        for value in ahead(broken()):
            seen.append(value)
    assert seen == list(range(1_000))


def test_ahead_ends_its_thread_when_nobody_listens_any_more() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.set()

    stream = ahead(endless())
    assert next(stream) == 1
    stream.close()  # type: ignore[attr-defined]
    assert closed.is_set()
    assert not [thread for thread in threading.enumerate() if thread.name == "listing"]


def entries(*paths: str) -> list[Found]:
    found: list[Found] = []
    for path in paths:
        found.append(Entry(path, Kind.DIRECTORY if path.endswith("/") else Kind.FILE))
    return sorted(found, key=lambda one: path_bytes(one.path))


def test_a_folder_beside_a_file_of_its_name_is_refused_with_all_in_it() -> None:
    found = list(
        one_kind_a_name(iter(entries("a", "a-b", "a/", "a/x", "a0", "b/", "b/a", "b/a/", "b/a/y", "c")))
    )
    assert [(one.path, isinstance(one, Problem)) for one in found] == [
        ("a", False), ("a-b", False), ("a/", False), ("a/", True), ("a0", False),
        ("b/", False), ("b/a", False), ("b/a/", False), ("b/a/", True), ("c", False),
    ]  # fmt: skip
    assert [one.code for one in found if isinstance(one, Problem)] == [EntryCode.NAME_NOT_ALLOWED] * 2


NAMES = st.lists(
    st.sampled_from(["a", "a/", "a-", "a/b", "a/b/", "a/b/c", "b", "a!", "a!/", "a!/x"]), unique=True
)


@given(NAMES)
def test_no_name_is_two_kinds_afterwards(paths: list[str]) -> None:
    whole = {parent for path in paths for parent in _parents(path)} | set(paths)
    kept = [one.path for one in one_kind_a_name(iter(entries(*whole))) if isinstance(one, Entry)]
    problems = {one.path for one in one_kind_a_name(iter(entries(*whole))) if isinstance(one, Problem)}
    assert problems == {path for path in kept if path.endswith("/") and path[:-1] in kept}
    lost = whole - set(kept)
    assert all(any(path.startswith(problem) for problem in problems) for path in lost)


def _parents(path: str) -> list[str]:
    names = path.rstrip("/").split("/")[:-1]
    return ["/".join(names[: depth + 1]) + "/" for depth in range(len(names))]


CASE_TABLE = [
    ("nothing alike", ["a", "b"], ["a", "c"], [], ["a", "b"], ["a", "c"]),
    ("two at the source: the first takes part", ["A", "a"], [], ["a"], ["A"], []),
    ("the destination has one of them: that one takes part", ["A", "a"], ["a"], ["A"], ["a"], ["a"]),
    ("the destination has another spelling: nothing happens", ["Read"], ["READ", "x"], ["Read"], [], ["x"]),
    ("folders, with all in them", ["D/", "D/x", "d/", "d/y"], [], ["d/"], ["D/", "D/x", "d/"], []),
    ("a folder in another spelling at the destination", ["d/", "d/x"], ["D/", "D/y"], ["d/"], ["d/"], []),
    ("beyond ASCII", ["\xe9", "\xc9"], [], ["\xe9"], ["\xc9"], []),
    ("sharp s has no simple upper case", ["stra\xdfe", "strasse"], [], [], ["stra\xdfe", "strasse"], []),
    ("extras that differ by case alone stay extras", [], ["a", "A"], [], [], ["A", "a"]),
]


@pytest.mark.parametrize("row", CASE_TABLE, ids=[row[0] for row in CASE_TABLE])
def test_names_that_differ_by_case(
    row: tuple[str, list[str], list[str], list[str], list[str], list[str]],
) -> None:
    _, source, destination, refused, left, right = row
    twins = CaseTwins(iter(entries(*source)), iter(entries(*destination)))
    found = list(twins.source())
    assert sorted(one.path for one in found if isinstance(one, Problem)) == refused
    assert sorted(one.path for one in found if isinstance(one, Entry)) == sorted(left)
    assert sorted(one.path for one in twins.destination()) == sorted(right)
    for one in found:
        if isinstance(one, Problem):
            assert one.code is EntryCode.NAME_NOT_ALLOWED and "rename" in one.message
    twins.close()


@given(st.text())
def test_folding_is_stable_and_keeps_lengths(text: str) -> None:
    assert fold_case(fold_case(text)) == fold_case(text)
    assert len(fold_case(text)) == len(text)
