"""Quarantine: what goes there keeps its path, comes back as it was, and is gone when its time is over."""

from __future__ import annotations

import pytest

from runner.errors import EntryCode
from runner.locations.protocol import OpenSettings
from runner.testing.faults import FaultScript, not_listed, raises
from runner.testing.memory import MemoryLocation, memory_location
from runner.testing.trees import File, Folder, HardLink, Symlink, tree
from runner.transfer.quarantine import (
    announce,
    purge,
    purged_executions,
    quarantine_path,
    quarantined,
    quarantined_executions,
    restore,
)
from runner.transfer.quarantine_note import QUARANTINE

FIRST = "65000000abcd"
SECOND = "65000001abcd"
DAY = 86_400


class NoThrottle:
    def take(self, size_bytes: int) -> None:
        return


def opened(spec: dict[str, object]) -> MemoryLocation:
    return memory_location(tree(spec).memory(), open_settings=OpenSettings(), create=True)  # type: ignore[arg-type]


def quarantine(execution: str, spec: dict[str, object]) -> dict[str, object]:
    return {quarantine_path(execution, path): one for path, one in spec.items()}


LOST = {
    "a": b"a",
    "closed/": Folder(mode=0o500, mtime_ns=7),
    "closed/x": File(b"x", mode=0o600, mtime_ns=8),
    "closed/y": HardLink(quarantine_path(FIRST, "closed/x")),
    "link": Symlink("a"),
}


def in_quarantine(location: MemoryLocation) -> list[str]:
    return [path for path in location.tree.paths() if path.startswith(QUARANTINE)]


def test_executions_are_found_oldest_first() -> None:
    location = opened({**quarantine(SECOND, {"b/c": b""}), **quarantine(FIRST, {"a": b""}), "other": b""})
    assert quarantined_executions(location) == [FIRST, SECOND]
    assert [found.path for found in quarantined(location, SECOND)] == [
        quarantine_path(SECOND, "b/"),
        quarantine_path(SECOND, "b/c"),
    ]
    assert quarantined_executions(opened({"a": b""})) == []


def test_all_comes_back_as_it_was() -> None:
    location = opened({**quarantine(FIRST, dict(LOST)), "stays": b""})
    restored, problems = restore(location, FIRST, [], NoThrottle())
    assert problems == []
    assert restored == ["a", "closed/", "closed/x", "closed/y", "link"]
    expected = tree({**LOST, "closed/y": HardLink("closed/x"), "stays": b""}).memory().snapshot()
    found = location.tree.snapshot()
    del found[QUARANTINE]
    for path in ("closed/",):
        assert (found[path].mtime_ns, found[path].attributes.mode) == (7, 0o500)
    assert {
        path: (seen.kind, seen.content, seen.link_target, seen.group) for path, seen in found.items()
    } == {path: (seen.kind, seen.content, seen.link_target, seen.group) for path, seen in expected.items()}
    assert found["closed/x"] == expected["closed/x"]


def test_nothing_is_overwritten() -> None:
    location = opened(
        {**quarantine(FIRST, {"a": b"old", "d/b": b"b"}), "a": b"new", "d/": Folder(mtime_ns=3)}
    )
    restored, problems = restore(location, FIRST, [], NoThrottle())
    assert restored == ["d/b"]
    assert [(problem.path, problem.code.value) for problem in problems] == [("a", "stale")]
    assert "exists again" in problems[0].message
    assert location.tree.node("a").content == b"new"
    assert in_quarantine(location) == [QUARANTINE, quarantine_path(FIRST, ""), quarantine_path(FIRST, "a")]


PATHS = [
    (["a"], ["a"]),
    (["d"], ["d/", "d/b"]),
    (["d/"], ["d/", "d/b"]),
    (["d/b"], ["d/b"]),
    (["d", "a"], ["a", "d/", "d/b"]),
]


@pytest.mark.parametrize(("paths", "expected"), PATHS, ids=[",".join(paths) for paths, _ in PATHS])
def test_only_what_was_asked_for(paths: list[str], expected: list[str]) -> None:
    location = opened(quarantine(FIRST, {"a": b"a", "d/b": b"b", "dd": b"c"}))
    assert restore(location, FIRST, paths, NoThrottle()) == (expected, [])
    assert set(expected) <= set(location.tree.paths())


def test_what_cannot_be_listed_is_named_and_the_rest_comes_back() -> None:
    location = opened(quarantine(FIRST, {"a": b"a", "d/b": b"b"}))
    script = FaultScript([not_listed(quarantine_path(FIRST, "d/"))])
    restored, problems = restore(script.wrap(location), FIRST, [], NoThrottle())
    script.assert_all_fired()
    assert "a" in restored
    assert [problem.path for problem in problems] == [quarantine_path(FIRST, "d/")]
    assert quarantine_path(FIRST, "d/b") in location.tree.paths()


def note(location: MemoryLocation, execution: str, task: str = "t", keep_days: float = 30.0) -> None:
    announce(location, execution, task, keep_days, int(execution[:8], 16))


def bare(spec: dict[str, object]) -> MemoryLocation:
    return opened({**spec, QUARANTINE: Folder(mode=0o700)})


PURGES = [
    ("at its last moment it stays", 0x65000000 + 30 * DAY, 30.0, 0, [FIRST, SECOND]),
    ("a second later it is gone", 0x65000000 + 30 * DAY + 1, 30.0, 3, [SECOND]),
    ("both are over", 0x65000001 + 30 * DAY + 1, 30.0, 6, []),
    ("kept for no time", 0x65000002, 0.0, 6, []),
    ("the clock stands before", 5, 30.0, 0, [FIRST, SECOND]),
]


@pytest.mark.parametrize(
    ("now", "days", "removed", "left"), [case[1:] for case in PURGES], ids=[case[0] for case in PURGES]
)
def test_purging(now: int, days: float, removed: int, left: list[str]) -> None:
    location = opened({**quarantine(FIRST, {"d/a": b""}), **quarantine(SECOND, {"d/a": b""}), "live": b""})
    note(location, FIRST)
    note(location, SECOND)
    assert purge(location, None, "t", now, days) == removed
    assert quarantined_executions(location) == left
    assert set(purged_executions(location)) == {FIRST, SECOND} - set(left)
    assert "live" in location.tree.paths()


KEEPS = [
    ("another task's shorter time ends nothing", "other", 30.0, 1.0, 1),
    ("nor does its own record when the other keeps longer", "other", 1.0, 30.0, 1),
    ("another task's is purged when both times are over", "other", 1.0, 2.0, 0),
    ("its own task may shorten it", "t", 30.0, 1.0, 0),
    ("and lengthen it", "t", 1.0, 30.0, 1),
]


@pytest.mark.parametrize(
    ("owner", "recorded", "task_days", "left"), [case[1:] for case in KEEPS], ids=[case[0] for case in KEEPS]
)
def test_whose_time_counts(owner: str, recorded: float, task_days: float, left: int) -> None:
    location = opened(quarantine(FIRST, {"a": b""}))
    note(location, FIRST, owner, recorded)
    purge(location, None, "t", 0x65000000 + 5 * DAY, task_days)
    assert len(quarantined_executions(location)) == left


@pytest.mark.parametrize(
    "damage", [b"", b"{}", b'{"task":"t","since_seconds":-1,"keep_days":1}', b"x" * 70_000]
)
def test_a_note_that_says_nothing_is_written_anew_and_the_time_begins(damage: bytes) -> None:
    location = opened({**quarantine(FIRST, {"a": b""}), f"{QUARANTINE}{FIRST}.json": damage})
    now = 0x65000000 + 90 * DAY
    assert purge(location, None, "t", now, 30.0) == 0
    assert purge(location, None, "t", now + 30 * DAY, 30.0) == 0
    assert purge(location, None, "t", now + 30 * DAY + 1, 30.0) == 2


def test_a_note_goes_when_nothing_came_and_a_year_after_all_was_purged() -> None:
    location = bare({})
    note(location, FIRST)
    purge(location, None, "t", 0x65000000, 30.0)
    assert location.tree.paths() == [QUARANTINE]
    location = opened(quarantine(FIRST, {"a": b""}))
    note(location, FIRST)
    gone = 0x65000000 + 31 * DAY
    assert purge(location, None, "t", gone, 30.0) == 2
    purge(location, None, "t", gone + 366 * DAY, 30.0)
    assert list(purged_executions(location)) == [FIRST]
    purge(location, None, "t", gone + 366 * DAY + 1, 30.0)
    assert location.tree.paths() == [QUARANTINE]


def test_what_the_source_cannot_say_stays() -> None:
    location = opened(quarantine(FIRST, {"d/a": b"", "d/b": b""}))
    note(location, FIRST)
    script = FaultScript([raises("stat", EntryCode.IO_ERROR, path="d/a")])
    source = script.wrap(opened({}))
    assert purge(location, source, "t", 0x65000000 + 31 * DAY, 30.0) == 1
    script.assert_all_fired()
    assert in_quarantine(location)[-1] == quarantine_path(FIRST, "d/a")


def test_what_is_no_execution_is_left_alone() -> None:
    location = opened({f"{QUARANTINE}notes/a": b"", f"{QUARANTINE}zz": b"", f"{QUARANTINE}zz.json": b"mine"})
    assert purge(location, None, "t", 1e12, 0.0) == 0
    assert {f"{QUARANTINE}notes/a", f"{QUARANTINE}zz", f"{QUARANTINE}zz.json"} <= set(location.tree.paths())


def test_an_entry_keeps_its_path() -> None:
    assert quarantine_path(FIRST, "a/b\udcff") == f".sync-runner-quarantine/{FIRST}/a/b\udcff"
