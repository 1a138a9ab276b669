"""The pairs of location types, the tree that goes through each, and what a pair is seen to do with it."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec
from servers.real_pair import RealPair, capabilities, holding, local, opened

from runner.inventory.twins import fold_case
from runner.locations.pair import asked_attributes
from runner.locations.protocol import Capabilities, wanted_attributes
from runner.locations.registry import GROUP
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.model.execution import Report
from runner.model.task import TaskOptions
from runner.testing.trees import File, Folder, HardLink, Special, Symlink, Tree, hostile_names, tree

SERVERS = Path(__file__).parent.parent / "servers"

FIXTURES: dict[str, tuple[str | None, dict[str, Any]]] = {
    "local": (None, {}),
    "s3": ("ministack", {"type": "s3"}),
    "smb": ("samba", {}),
    "nfs": ("ganesha", {}),
    "hdfs": ("hdfs", {}),
    "sftp": ("openssh", {}),
    "azure_blob": ("azurite", {}),
    "gcs": ("fake_gcs", {}),
    "rclone": ("rclone", {}),
}
"""Location type -> the fixture of its server (module tests/servers/serve_FIXTURE.py), and options for `location()`."""

TYPES = tuple(FIXTURES)


def present_types() -> tuple[str, ...]:
    """The types that have a driver and a server's fixture."""
    drivers = {point.name for point in entry_points(group=GROUP)}
    return tuple(
        name
        for name, (fixture, _) in FIXTURES.items()
        if name in drivers and (fixture is None or (SERVERS / f"serve_{fixture}.py").exists())
    )


MTIME_NS = 1_600_000_000_123_456_789
BIG = bytes(range(256)) * 4096 + b"tail"


def first_tree() -> Tree:
    """What a pair copies first: every hostile name as a file, some as a folder, and everything metadata can be."""
    spec: dict[str, Any] = {f"names/{os.fsdecode(name)}": name for name in hostile_names()}
    for name in hostile_names()[::3]:
        spec[f"folders/{os.fsdecode(name)}/"] = Folder()
        spec[f"folders/{os.fsdecode(name)}/inside"] = b"inside " + name
    return tree(
        {
            **spec,
            "case/Readme": b"one",
            "case/README": b"two",
            "case/Folder/": {"in": b"three"},
            "case/folder/": {"in": b"four"},
            "devices/": {
                name: name.encode() for name in ("nul", "NUL.txt", "com1", "a:b", "a:$DATA", "q?", "p|q")
            },
            "plain/": {
                "big": File(BIG, mtime_ns=MTIME_NS),
                "changes": b"before",
                "changes-not-its-size": b"before",
                "empty": b"",
                "typed": b"typed",
                "goes": b"goes",
                "becomes-a-folder": b"file",
                "becomes-a-file/": {"in": b"in"},
                "setuid": File(b"#!", mode=0o4755),
                "secret": File(b"secret", mode=0o600),
                "xattr": File(b"x", xattrs=(("user.comment", b"\0binary\xff"),)),
                "link": Symlink("big"),
                "dangling": Symlink("/nowhere/at all"),
                "to-folder": Symlink("empty-folder"),
                "pipe": Special(Kind.FIFO),
                "empty-folder/": Folder(mode=0o711, mtime_ns=MTIME_NS),
                "whole-folder-goes/": {"deep/": {"er/": {"file": b"goes too"}}},
            },
            "plain/second-name": HardLink("plain/big"),
        }
    )


def changed_tree() -> Tree:
    """What the source has become: some gone, some changed, some of another kind, something new."""
    kept = {
        path: one
        for path, one in first_tree().declared
        if not path.startswith(
            ("plain/goes", "plain/whole-folder-goes/", "plain/becomes-", "plain/second-name", "folders/new")
        )
        and path != "names/tab\tstop"
    }
    later = MTIME_NS + 60_000_000_000
    return tree(
        {
            **kept,
            "plain/changes": File(b"after!", mtime_ns=later),
            "plain/changes-not-its-size": File(b"after, and longer", mtime_ns=later),
            "plain/becomes-a-folder/": {"in": b"in"},
            "plain/becomes-a-file": File(b"file", mtime_ns=later),
            "plain/new/": {"file": b"new"},
            "plain/big": File(BIG[::-1], mtime_ns=later),
        }
    )


def write(declared: Tree, folder: Path) -> None:
    """The tree on this machine's disk; as root some of it belongs to others."""
    declared.write(str(folder))
    if os.geteuid() == 0:
        for name in ("big", "secret", "empty-folder", "link"):
            if os.path.lexists(folder / "plain" / name):
                os.chown(folder / "plain" / name, 1234, 2345, follow_symlinks=False)


class Endpoints:
    """Makes locations of each type: fresh ones, and the two sources, which all pairs of a session share and nobody
    changes."""

    def __init__(self, folder: Path, fixture: Callable[[str], Any]) -> None:
        self._folder = folder
        self._fixture = fixture
        self._numbers = itertools.count(1)
        self._sources: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {}

    def new_folder(self) -> Path:
        folder = self._folder / f"f{next(self._numbers)}"
        folder.mkdir()
        return folder

    def fresh(self, location_type: str) -> dict[str, Any]:
        """An empty location."""
        fixture, options = FIXTURES[location_type]
        if fixture is None:
            return local(self.new_folder() / "root")
        made: dict[str, Any] = self._fixture(fixture).location(**options)
        return made

    def sources(self, location_type: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """A location that holds the first tree, and one that holds the changed one: as much as this type can hold."""
        if location_type not in self._sources:
            made = []
            for declared in (first_tree(), changed_tree()):
                folder = self.new_folder() / "tree"
                write(declared, folder)
                filled = local(folder)
                if location_type != "local":
                    filled = self.fresh(location_type)
                    RealPair(self.new_folder(), local(folder), filled).run()
                    _decorate(filled)
                made.append(filled)
            self._sources[location_type] = (made[0], made[1])
        return self._sources[location_type]


_NOT_OF_A_DISK = Attributes(
    tags=(("project", "sync"), ("stage", "test")),
    content_headers=(("cache-control", "max-age=60"), ("content-type", "text/x-test")),
    user_metadata=(("colour", "blue"),),
    created_ns=MTIME_NS - 1_000_000_000_000,
    dos_attributes=0x02 | 0x20,
)
"""Metadata that a local folder cannot hold; DOS: hidden, archive."""


def _decorate(filled: dict[str, Any]) -> None:
    """Give one file the metadata that this type of location has and a local folder has not."""
    fields = capabilities(filled).attributes & {
        name for name in Attributes.__struct_fields__ if getattr(_NOT_OF_A_DISK, name) is not None
    }
    if not fields:
        return
    with opened(filled, attributes=fields) as location:
        standing = location.stat("plain/typed")
        assert standing is not None
        location.put(
            msgspec.structs.replace(standing, attributes=wanted_attributes(_NOT_OF_A_DISK, fields)),
            [b"typed"],
            standing,
            FakeThrottle(),
        )


class FakeThrottle:
    """Lets everything pass."""

    def take(self, size_bytes: int) -> None:
        return


class Observed(msgspec.Struct, frozen=True):
    """What a pair was seen to do with the tree."""

    files: int
    folders: int
    symlinks: int
    hard_links: int
    specials: int
    carried: tuple[str, ...]
    lost: tuple[str, ...]
    times: str
    empty_folders: bool
    refused: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class Judged:
    """A destination after a run, compared with its source by the drivers' own listings and every byte read."""

    source: dict[str, Any]
    destination: dict[str, Any]

    def check(self, problems: tuple[Problem, ...]) -> Observed:
        """Each source entry is there with its content, or was refused by name; nothing else is there."""
        left, right = capabilities(self.source), capabilities(self.destination)
        shared = left.attributes & right.attributes & asked_attributes(TaskOptions())
        given, arrived = holding(self.source, shared), holding(self.destination, shared)
        refused = {problem.path: problem for problem in problems if problem.code != "attributes_refused"}
        unset = attributes_refused(problems)
        below = tuple(path for path in refused if path.endswith("/"))
        expected = {path for path in given if path not in refused and not path.startswith(below or ("\0",))}
        needed = {path for path in expected if self._is_needed(given[path].entry, expected, right)}
        strangers = sorted(set(arrived) - expected)
        assert strangers == [], "the destination holds what the source has not, or what was refused"
        absent = sorted(needed - set(arrived))
        assert absent == [], "neither arrived nor refused by name"
        self._check_refusals(refused, given, right)
        pairs = [(given[path], arrived[path]) for path in sorted(needed)]
        for ours, theirs in pairs:
            assert theirs.entry.kind is ours.entry.kind, ours.entry.path
            assert theirs.content == ours.content, f"{ours.entry.path!r} holds other bytes"
            assert theirs.entry.link_target == ours.entry.link_target, ours.entry.path
        entries = [(ours.entry, theirs.entry) for ours, theirs in pairs]
        kinds = Counter(theirs.kind for _, theirs in entries)
        lost = (left.attributes - right.attributes) & (asked_attributes(TaskOptions()) | {"mtime"})
        return Observed(
            files=kinds[Kind.FILE],
            folders=kinds[Kind.DIRECTORY],
            symlinks=kinds[Kind.SYMLINK],
            hard_links=sum(theirs.link_group is not None for _, theirs in entries),
            specials=kinds[Kind.FIFO],
            carried=tuple(sorted(_carried(shared - {"mtime", "device"}, entries, unset))),
            lost=tuple(sorted(lost - {"device"})),
            times=_times(entries, left, right),
            empty_folders="plain/empty-folder/" in arrived,
            refused=tuple(sorted(Counter(_reason(problem) for problem in problems).items())),
        )

    @staticmethod
    def _is_needed(entry: Entry, expected: set[str], right: Capabilities) -> bool:
        """Folders need not be there where folders without content cannot be, or are not told."""
        if entry.kind is not Kind.DIRECTORY:
            return True
        holds_something = any(path.startswith(entry.path) and path[-1:] != "/" for path in expected)
        if holds_something:
            return True
        return right.empty_directories and not (right.implicit_directories and entry.mtime_ns is None)

    @staticmethod
    def _check_refusals(refused: dict[str, Problem], given: dict[str, Any], right: Capabilities) -> None:
        """Whatever was refused cannot be held by what the capabilities say, or is a twin of what is."""
        folded = Counter(fold_case(path.removesuffix("/")) for path in given)
        for path, problem in refused.items():
            assert problem.message
            twin = not right.case_sensitive and folded[fold_case(path.removesuffix("/"))] > 1
            beside = path.endswith("/") and path[:-1] in given and not right.file_beside_folder
            kind = given[path].entry.kind not in right.kinds if path in given else False
            assert right.names.refusal(path) or twin or beside or kind, f"{path!r}: {problem.message}"


def _carried(fields: frozenset[str], entries: list[tuple[Entry, Entry]], unset: set[str]) -> set[str]:
    """The metadata that both promise to carry, and that did arrive; AssertionError where it is another without
    having been reported (`unset`)."""
    seen = set()
    for ours, theirs in entries:
        if ours.path in unset:
            continue
        for name in fields:
            wanted, present = getattr(ours.attributes, name, None), getattr(theirs.attributes, name, None)
            if wanted is None:
                continue
            if present is None and (theirs.kind is Kind.DIRECTORY or theirs.kind is Kind.SYMLINK):
                continue  # a kind that has no place for it there
            assert present == wanted, f"{ours.path!r}: {name} is {present!r}, not {wanted!r}"
            seen.add(name)
    return seen


def _times(entries: list[tuple[Entry, Entry]], left: Capabilities, right: Capabilities) -> str:
    """How exactly times arrive; AssertionError where that is worse than promised."""
    if "mtime" not in left.attributes & right.attributes or None in (
        left.mtime_resolution_ns,
        right.mtime_resolution_ns,
    ):
        return "not carried"
    resolution = max(left.mtime_resolution_ns or 1, right.mtime_resolution_ns or 1)
    for ours, theirs in entries:
        if ours.mtime_ns is None or theirs.mtime_ns is None:
            continue
        apart = abs(ours.mtime_ns - theirs.mtime_ns)
        assert apart < resolution or apart == 0, f"{ours.path!r}: the time is {apart} ns off"
    return _RESOLUTIONS.get(resolution, f"to {resolution} ns")


_RESOLUTIONS = {
    1: "exactly",
    100: "to 100 ns",
    1_000: "to 1 µs",
    1_000_000: "to 1 ms",
    1_000_000_000: "to 1 s",
}


def _reason(problem: Problem) -> str:
    """A refusal without the name it is about."""
    message = problem.message
    if "its name differs only by case" in message:
        return "a name that differs from another only by case"
    if message.startswith("there is also a file"):
        return "a folder beside a file of the same name"
    for known, told in _REASONS.items():
        if known in message:
            return told
    return message


_REASONS = {
    "the destination refused mode": "permissions with setuid, of a file that arrived",
    "is not valid UTF-8": "a name that is not UTF-8",
    "control character": "a name with a control character",
    "the name ends with": "a name that ends with a dot or a space",
    "reserves this name": "a name of a device (NUL, COM1)",
    "the name is longer": "a name that is too long",
    "the path is longer": "a path that is too long",
    "cannot hold a symlink": "a symbolic link",
    "cannot hold a fifo": "a FIFO",
    "the name holds": "a name with a character that the destination does not allow",
}


def attributes_refused(problems: tuple[Problem, ...]) -> set[str]:
    """Paths whose content arrived, and whose metadata the destination did not take completely."""
    return {problem.path for problem in problems if problem.code == "attributes_refused"}


def only_refusals(report: Report) -> None:
    """Nothing went wrong but what the plan refused by name."""
    allowed = ("name_not_allowed", "kind_not_supported", "attributes_refused")
    unexpected = [
        problem
        for problem in report.problems
        if problem.code not in allowed
        or (problem.code != "attributes_refused" and problem.phase is not Phase.PREPARING)
    ]
    assert unexpected == []
    assert report.findings == ()
    assert report.counters.actions_failed == len(attributes_refused(report.problems))
