"""Differences -> actions: a table for every option that decides."""

from __future__ import annotations

import contextlib
from typing import Any

import msgspec
import pytest

from runner.diff.compare import Comparison
from runner.diff.merge import Merge, Scope
from runner.diff.tally import Tally
from runner.errors import EntryCode
from runner.model.action import Action, Stage
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.model.task import Compare, DeletedFiles, MetadataOptions, OverwriteMode, TaskOptions
from runner.model.wire import decode_line
from runner.plan.build import Planner
from runner.plan.file import PlanWriter
from runner.testing.memory import OBJECT_STORE, RICH

Found = Entry | Problem


def d(path: str, mtime_ns: int = 1, **facts: Any) -> Entry:
    return Entry(path, Kind.DIRECTORY, mtime_ns=mtime_ns, **facts)


def f(path: str, size: int = 1, mtime_ns: int = 1, **facts: Any) -> Entry:
    return Entry(path, Kind.FILE, size_bytes=size, mtime_ns=mtime_ns, **facts)


R = d("")
UNLISTED = Problem("z/", Phase.PREPARING, EntryCode.NOT_LISTED, "closed")
PRESERVE = TaskOptions()
REMOVE = TaskOptions(preserve_deleted_files=DeletedFiles.REMOVE)
QUARANTINE = TaskOptions(preserve_deleted_files=DeletedFiles.QUARANTINE)
NEVER = TaskOptions(overwrite_mode=OverwriteMode.NEVER)
IF_NEWER = TaskOptions(overwrite_mode=OverwriteMode.IF_NEWER)
TIMELESS = TaskOptions(metadata=MetadataOptions(mtime=False))


def both(one: TaskOptions, **more: Any) -> TaskOptions:
    return msgspec.structs.replace(one, **more)


class Planned:
    """What a planner made of two listings."""

    def __init__(
        self,
        source: list[Found],
        destination: list[Found],
        options: TaskOptions = PRESERVE,
        protected: tuple[str, ...] = (),
        scope: Scope | None = None,
        capabilities: Any = RICH,
    ) -> None:
        self.tally = Tally()
        comparison = Comparison(options.compare, options.metadata.mtime)
        merge = Merge(iter(source), iter(destination), comparison, scope or Scope(), self.tally)
        with contextlib.closing(PlanWriter()) as writer:
            self.planner = Planner(
                options,
                capabilities,
                writer,
                self.tally,
                lambda entry: entry.path not in protected if protected else True,
            )
            for difference in merge.differences():
                self.planner.feed(difference)
            self.planner.finish()
            self.actions = [decode_line(line, Action) for stage in Stage for line in writer.lines(stage)]

    @property
    def lines(self) -> list[str]:
        """`stage kind path [=leader]`, the restoring of folders' times left out."""
        lines = []
        for action in self.actions:
            if not action.is_housekeeping:
                leader = f" ={action.link_to}" if action.link_to else ""
                lines.append(f"{action.stage.value} {action.kind.value} {action.path or '.'}{leader}")
        return lines

    @property
    def restored(self) -> list[str]:
        return [action.path for action in self.actions if action.is_housekeeping]

    @property
    def problems(self) -> list[tuple[str, str]]:
        return [(problem.path, problem.code.value) for problem in self.tally.problems]


CASES: list[tuple[str, list[Found], list[Found], TaskOptions, list[str]]] = [
    ("new file", [R, f("a")], [R], PRESERVE, ["1 copy a"]),
    ("new file, never overwrite", [R, f("a")], [R], NEVER, ["1 copy a"]),
    (
        "new folder with a file",
        [R, d("a/"), f("a/b")],
        [R],
        PRESERVE,
        ["1 create_directory a/", "1 copy a/b"],
    ),
    ("newer at the source", [R, f("a", 1, 5)], [R, f("a", 2, 4)], IF_NEWER, ["1 replace a"]),
    ("older at the source", [R, f("a", 1, 4)], [R, f("a", 2, 5)], IF_NEWER, []),
    ("as old, another size", [R, f("a", 1, 5)], [R, f("a", 2, 5)], IF_NEWER, ["1 replace a"]),
    ("time unknown", [R, f("a", 1)], [R, Entry("a", Kind.FILE, size_bytes=2)], IF_NEWER, ["1 replace a"]),
    ("never", [R, f("a", 1, 5)], [R, f("a", 2, 4)], NEVER, []),
    ("always", [R, f("a", 1, 4)], [R, f("a", 2, 5)], PRESERVE, ["1 replace a"]),
    (
        "metadata only",
        [R, f("a", attributes=Attributes(mode=1))],
        [R, f("a", attributes=Attributes(mode=2))],
        PRESERVE,
        ["1 set_attributes a"],
    ),
    (
        "metadata of a file with several names waits for the others",
        [R, f("a", attributes=Attributes(mode=1))],
        [R, f("a", attributes=Attributes(mode=2), link_group="7"), f("b", link_group="7")],
        REMOVE,
        ["3 delete b", "4 set_attributes a"],
    ),
    (
        "metadata, never overwrite",
        [R, f("a", attributes=Attributes(mode=1))],
        [R, f("a", attributes=Attributes(mode=2))],
        NEVER,
        [],
    ),
    ("a folder's metadata", [R, d("a/", 2)], [R, d("a/", 1)], PRESERVE, ["4 set_attributes a/"]),
    ("a folder's metadata, never", [R, d("a/", 2)], [R, d("a/", 1)], NEVER, []),
    ("a folder's metadata, newer there", [R, d("a/", 1)], [R, d("a/", 2)], IF_NEWER, []),
    # extras
    ("extra kept", [R], [R, f("a")], PRESERVE, []),
    ("extra removed", [R], [R, f("a")], REMOVE, ["3 delete a"]),
    ("extra quarantined", [R], [R, f("a")], QUARANTINE, ["3 quarantine a"]),
    (
        "extras, inner ones first",
        [R],
        [R, d("a/"), d("a/b/"), f("a/b/c")],
        REMOVE,
        [
            "3 delete a/b/c",
            "3 delete a/b/",
            "3 delete a/",
        ],
    ),
    (
        "extra removed, never overwrite",
        [R],
        [R, f("a")],
        both(REMOVE, overwrite_mode=OverwriteMode.NEVER),
        ["3 delete a"],
    ),
    ("no deletion after an incomplete listing", [R, d("z/"), UNLISTED], [R, f("a"), f("z/x")], REMOVE, []),
    # kind changes
    (
        "file over link",
        [R, f("a")],
        [R, Entry("a", Kind.SYMLINK, link_target="x")],
        PRESERVE,
        ["1 replace a"],
    ),
    (
        "folder over file is made before what goes into it",
        [R, d("a/"), f("a/b")],
        [R, f("a")],
        PRESERVE,
        [
            "0 create_directory a/",
            "1 copy a/b",
        ],
    ),
    ("folder over file, never", [R, d("a/"), d("a/b/"), f("a/b/c")], [R, f("a")], NEVER, []),
    ("folder over newer file, if newer", [R, d("a/", 1), f("a/b")], [R, f("a", 1, 2)], IF_NEWER, []),
    ("file over folder, preserve", [R, f("a")], [R, d("a/"), f("a/b")], PRESERVE, []),
    (
        "file over folder, remove",
        [R, f("a")],
        [R, d("a/"), f("a/b")],
        REMOVE,
        ["0 delete a/b", "0 delete a/", "1 copy a"],
    ),
    (
        "file over folder, quarantine",
        [R, f("a")],
        [R, d("a/"), f("a/b")],
        QUARANTINE,
        [
            "0 quarantine a/b",
            "0 quarantine a/",
            "1 copy a",
        ],
    ),
    (
        "file over folder, never",
        [R, f("a")],
        [R, d("a/")],
        both(REMOVE, overwrite_mode=OverwriteMode.NEVER),
        [],
    ),
    ("file over folder, something not listed", [R, f("a"), d("z/"), UNLISTED], [R, d("a/")], REMOVE, []),
    (
        "folder over file, something not listed",
        [R, d("a/"), d("z/"), UNLISTED],
        [R, f("a")],
        REMOVE,
        ["0 create_directory a/"],
    ),
    # hard links
    (
        "a new group",
        [R, f("a", link_group="1"), f("b", link_group="1")],
        [R],
        PRESERVE,
        ["1 copy a", "2 link b =a"],
    ),
    (
        "the leader is kept: the others get content of their own",
        [R, *(f(name, 1, 5, link_group="1") for name in "abc")],
        [R, f("a", 2, 9)],
        IF_NEWER,
        ["1 copy b", "2 link c =b"],
    ),
    (
        "the leader is kept, another name is older there",
        [R, *(f(name, 1, 5, link_group="1") for name in "ab")],
        [R, f("a", 2, 9), f("b", 2, 4)],
        IF_NEWER,
        ["1 replace b"],
    ),
    (
        "the leader is kept, another name is right already",
        [R, *(f(name, 1, 5, link_group="1") for name in "ab")],
        [R, f("a", 2, 9), f("b", 1, 5)],
        IF_NEWER,
        [],
    ),
    (
        "the leader's name is too long for the destination",
        [R, f("a" * 256, link_group="1"), f("b", link_group="1")],
        [R],
        PRESERVE,
        ["1 copy b"],
    ),
    (
        "a group whose leader only gets other metadata",
        [R, f("a", link_group="1", attributes=Attributes(mode=1)), f("b", link_group="1")],
        [R, f("a", link_group="7", attributes=Attributes(mode=2)), f("c", link_group="7")],
        REMOVE,
        ["2 link b =a", "3 delete c", "4 set_attributes a"],
    ),
]


@pytest.mark.parametrize(
    ("source", "destination", "options", "expected"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_actions(
    source: list[Found], destination: list[Found], options: TaskOptions, expected: list[str]
) -> None:
    planned = Planned(source, destination, options)
    assert planned.lines == expected
    counters = planned.planner.sums.counters()
    assert counters.listed == counters.prepared + counters.skipped + counters.failed + counters.excluded


PROBLEMS: list[tuple[str, list[Found], list[Found], TaskOptions, list[tuple[str, str]]]] = [
    ("file over folder, preserve", [R, f("a")], [R, d("a/"), f("a/b")], PRESERVE, [("a", "kind_conflict")]),
    ("folder over file, never", [R, d("a/"), f("a/b")], [R, f("a")], NEVER, [("a/", "kind_conflict")]),
    (
        "file over folder, something not listed",
        [R, f("a"), d("z/"), UNLISTED],
        [R, d("a/")],
        REMOVE,
        [("z/", "not_listed"), ("a", "kind_conflict")],
    ),
    ("name too long", [R, f("é" * 128)], [R], PRESERVE, [("é" * 128, "name_not_allowed")]),
]


@pytest.mark.parametrize(
    ("source", "destination", "options", "expected"),
    [case[1:] for case in PROBLEMS],
    ids=[case[0] for case in PROBLEMS],
)
def test_problems(
    source: list[Found], destination: list[Found], options: TaskOptions, expected: list[tuple[str, str]]
) -> None:
    planned = Planned(source, destination, options)
    assert planned.problems == expected
    counters = planned.planner.sums.counters()
    assert counters.listed == counters.prepared + counters.skipped + counters.failed + counters.excluded


def test_what_the_destination_cannot_hold_is_a_problem() -> None:
    planned = Planned([R, Entry("a", Kind.SYMLINK), f("b")], [R], capabilities=OBJECT_STORE)
    assert planned.lines == ["1 copy b"]
    assert planned.problems == [("a", "kind_not_supported")]


def test_a_destination_without_folders_is_given_none_and_relieved_of_none() -> None:
    source: list[Found] = [R, d("a/"), f("a/b"), d("empty/"), d("was a file/"), f("was a file/x")]
    destination: list[Found] = [R, d("gone/"), f("gone/x"), f("was a file")]
    planned = Planned(source, destination, REMOVE, capabilities=OBJECT_STORE)
    assert planned.lines == ["0 delete was a file", "1 copy a/b", "1 copy was a file/x", "3 delete gone/x"]
    assert planned.restored == []
    counters = planned.planner.sums.counters()
    assert (counters.skipped.folders, counters.prepared.folders) == (4, 0)
    assert counters.listed == counters.prepared + counters.skipped + counters.failed + counters.excluded


def test_a_protected_extra_keeps_its_folders_and_nothing_else() -> None:
    destination: list[Found] = [R, d("a/"), d("a/b/"), f("a/b/kept"), f("a/b/x"), f("a/y"), d("c/")]
    planned = Planned([R], destination, REMOVE, protected=("a/b/kept",))
    assert planned.lines == ["3 delete a/b/x", "3 delete a/y", "3 delete c/"]
    counters = planned.planner.sums.counters()
    assert (counters.kept.files, counters.kept.folders) == (1, 2)


def test_a_protected_entry_in_the_way_keeps_the_file_out() -> None:
    destination: list[Found] = [R, d("a/"), f("a/kept"), f("a/x")]
    planned = Planned([R, f("a")], destination, REMOVE, protected=("a/kept",))
    # What is extra goes as any extra does; the file is not even tried.
    assert planned.lines == ["0 delete a/x"]
    assert planned.problems == [("a", "kind_conflict")]


def test_a_folder_that_may_not_be_deleted_keeps_the_file_out() -> None:
    planned = Planned([R, f("a")], [R, d("a/")], REMOVE, protected=("a/",))
    assert planned.lines == []
    assert planned.problems == [("a", "kind_conflict")]


def test_excluded_extras_say_so() -> None:
    scope = Scope(includes=lambda entry: not entry.path.startswith("x"), hides_excluded=True)
    planned = Planned([R, f("x1")], [R, f("x1"), f("y")], REMOVE, scope=scope)
    assert [(action.path, [reason.value for reason in action.reasons]) for action in planned.actions[:2]] == [
        ("x1", ["excluded"]),
        ("y", ["extra"]),
    ]


def test_withheld_deletions_are_counted_and_not_shown() -> None:
    destination: list[Found] = [R, f("a", 7), d("b/"), f("b/c", 3)]
    planned = Planned([R, d("z/"), UNLISTED], destination, REMOVE)
    totals = planned.planner.sums.totals()
    assert (totals.to_delete, totals.bytes_to_delete, totals.deletions_withheld) == (0, 0, 3)
    assert planned.planner.sums.first() == planned.planner.sums.largest() == ()
    counters = planned.planner.sums.counters()
    assert (counters.kept.files, counters.kept.folders) == (2, 1)


RESTORED: list[tuple[str, list[Found], list[Found], TaskOptions, list[str]]] = [
    ("nothing changes", [R, d("a/"), f("a/b")], [R, d("a/"), f("a/b")], PRESERVE, []),
    ("a file comes", [R, d("a/"), f("a/b")], [R, d("a/")], PRESERVE, ["a/"]),
    ("a file goes", [R, d("a/")], [R, d("a/"), f("a/b")], REMOVE, ["a/"]),
    (
        "a file goes to quarantine: the root gets a folder",
        [R, d("a/")],
        [R, d("a/"), f("a/b")],
        QUARANTINE,
        ["a/", ""],
    ),
    ("a folder comes", [R, d("a/"), d("a/b/")], [R, d("a/")], PRESERVE, ["a/b/", "a/"]),
    ("a file over a folder", [R, d("c/"), f("c/a")], [R, d("c/"), d("c/a/")], REMOVE, ["c/"]),
    (
        "only metadata in it",
        [R, d("a/"), f("a/b", mtime_ns=2)],
        [R, d("a/"), f("a/b")],
        both(PRESERVE, compare=Compare.SIZE_ONLY),
        [],
    ),
    ("times are not carried", [R, d("a/"), f("a/b")], [R, d("a/")], TIMELESS, []),
    ("a new folder gets its mode even so", [R, d("a/"), f("a/b")], [R], TIMELESS, ["a/"]),
]


@pytest.mark.parametrize(
    ("source", "destination", "options", "expected"),
    [case[1:] for case in RESTORED],
    ids=[case[0] for case in RESTORED],
)
def test_folders_are_finished(
    source: list[Found], destination: list[Found], options: TaskOptions, expected: list[str]
) -> None:
    assert Planned(source, destination, options).restored == expected


def test_a_folder_that_overwrite_mode_keeps_gets_its_own_time_back() -> None:
    mode = Attributes(mode=0o700)
    source: list[Found] = [R, d("a/", 5, attributes=mode), f("a/b")]
    destination: list[Found] = [R, d("a/", 9, attributes=Attributes(mode=0o755))]
    (finish,) = [action for action in Planned(source, destination, NEVER).actions if action.is_housekeeping]
    assert finish.source == Entry("a/", Kind.DIRECTORY, mtime_ns=9)


def test_folders_are_finished_from_the_inside() -> None:
    planned = Planned([R, d("a/"), d("a/b/"), f("a/b/c")], [], PRESERVE)
    assert planned.lines == [
        "1 create_directory .",
        "1 create_directory a/",
        "1 create_directory a/b/",
        "1 copy a/b/c",
    ]
    assert planned.restored == ["a/b/", "a/", ""]


def test_space_needed_counts_new_bytes_less_those_replaced() -> None:
    source: list[Found] = [R, f("a", 100), f("b", 50), f("c", 10, allocated_bytes=4)]
    planner = Planned(source, [R, f("b", 30)]).planner
    assert planner.sums.bytes_needed == 100 + 50 - 30 + 4
    assert planner.sums.entries_needed == 3


def test_deletions_are_counted_by_top_level_folder() -> None:
    destination: list[Found] = [R, f("a"), d("b/"), f("b/c"), d("b/d/"), f("b/d/e")]
    planner = Planned([R], destination, REMOVE).planner
    assert planner.sums.deletions_by_folder == {"": 1, "b": 4}


def test_largest_and_first() -> None:
    files = [f(f"{number:03d}", size=number // 2) for number in range(300)]
    planner = Planned([R, *files], [R]).planner
    assert [(action.path, action.size_bytes) for action in planner.sums.largest()] == [
        ("298", 149), ("299", 149), ("296", 148), ("297", 148), ("294", 147),
        ("295", 147), ("292", 146), ("293", 146), ("290", 145), ("291", 145),
    ]  # fmt: skip
    assert [action.path for action in planner.sums.first()] == [f"{number:03d}" for number in range(20)]


def test_ties_among_thousands_go_to_the_earlier_path() -> None:
    planner = Planned([R, *(f(f"{number:04d}", size=7) for number in range(2500))], [R]).planner
    assert [action.path for action in planner.sums.largest()] == [f"{number:04d}" for number in range(10)]
