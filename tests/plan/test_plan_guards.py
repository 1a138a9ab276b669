"""Each guard: when it fires, when it does not, and that it names the command that goes on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from runner.locations.marker import Marker, SeenMarker, Sighting
from runner.locations.protocol import Identity, Space
from runner.model.plan import ActionTotals
from runner.model.task import FilterSettings, Guards, Limit, LocationSettings, Task, TaskOptions
from runner.plan.guards import GUARD_NAMES, NEVER_ACCEPTED, GuardFacts, Past, evaluate_guards

HERE = Identity((("device", "sda1"),))
ELSEWHERE = Identity((("device", "sdb9"),))


def task_with(guards: Guards) -> Task:
    left = LocationSettings("src", "memory", {}, "/")
    right = LocationSettings("dst", "memory", {}, "/")
    options, filters = TaskOptions(), FilterSettings()
    return Task("photos", left, right, options, filters, guards, None, (), "config", "now")


def facts(**changes: Any) -> GuardFacts:
    usual = GuardFacts(
        totals=ActionTotals(),
        source_entries=100,
        destination_entries=100,
        destination_entries_by_folder={},
        deletions_by_folder={},
        bytes_needed=10,
        entries_needed=1,
        incomplete=False,
        source=Sighting(HERE),
        destination=Sighting(HERE),
    )
    return msgspec.structs.replace(usual, **changes)


def limit(guard: str, **caps: Any) -> Guards:
    return Guards(**{"max_deletions": Limit(), guard: Limit(**caps)})  # type: ignore[arg-type]


def deletes(count: int, size_bytes: int = 0, quarantines: int = 0) -> ActionTotals:
    return ActionTotals(to_delete=count, to_quarantine=quarantines, bytes_to_delete=size_bytes)


D = Guards()
CASES: list[tuple[str, Guards, GuardFacts, list[str]]] = [
    ("nothing to object to", D, facts(), []),
    ("source emptied", D, facts(source_entries=0), ["source_emptied"]),
    ("source emptied, destination empty too", D, facts(source_entries=0, destination_entries=0), []),
    (
        "source and destination empty, but the last run had entries",
        D,
        facts(source_entries=0, destination_entries=0, past=Past(listed_entries=3)),
        ["source_emptied"],
    ),
    ("source emptied, allowed", Guards(allow_empty_source=True), facts(source_entries=0), []),
    ("source not listed is not source emptied", D, facts(source_entries=0, incomplete=True), []),
    ("half is deleted: at the limit", D, facts(totals=deletes(50)), []),
    ("more than half is deleted", D, facts(totals=deletes(51)), ["max_deletions"]),
    ("half counts quarantined ones too", D, facts(totals=deletes(30, quarantines=30)), ["max_deletions"]),
    ("few are few", D, facts(totals=deletes(10), destination_entries=10), []),
    ("no longer few", D, facts(totals=deletes(11), destination_entries=11), ["max_deletions"]),
    ("count at the limit", limit("max_deletions", count=7), facts(totals=deletes(7)), []),
    ("count past the limit", limit("max_deletions", count=7), facts(totals=deletes(8)), ["max_deletions"]),
    ("nothing may go", limit("max_deletions", count=0), facts(totals=deletes(1)), ["max_deletions"]),
    ("bytes at the limit", limit("max_deletions", size_bytes=5), facts(totals=deletes(1, 5)), []),
    (
        "bytes past the limit",
        limit("max_deletions", size_bytes=5),
        facts(totals=deletes(1, 6)),
        ["max_deletions"],
    ),
    ("overwrites unlimited", D, facts(totals=ActionTotals(to_replace=100)), []),
    (
        "overwrites past the count",
        limit("max_overwrites", count=1),
        facts(totals=ActionTotals(to_replace=2)),
        ["max_overwrites"],
    ),
    (
        "overwrites past the percentage",
        limit("max_overwrites", percent=10.0),
        facts(totals=ActionTotals(to_replace=11)),
        ["max_overwrites"],
    ),
    (
        "overwritten bytes past the limit",
        limit("max_overwrites", size_bytes=5),
        facts(totals=ActionTotals(to_replace=1, bytes_replaced=6)),
        ["max_overwrites"],
    ),
    (
        "one folder loses all, the whole little",
        limit("max_deletions_per_folder", percent=80.0),
        facts(totals=deletes(9), deletions_by_folder={"a": 9}, destination_entries_by_folder={"a": 10}),
        ["max_deletions_per_folder"],
    ),
    (
        "spread over folders",
        limit("max_deletions_per_folder", percent=80.0),
        facts(
            totals=deletes(9),
            deletions_by_folder={"a": 5, "b": 4},
            destination_entries_by_folder={"a": 10, "b": 10},
        ),
        [],
    ),
    (
        "files in the root are a folder too",
        limit("max_deletions_per_folder", count=1),
        facts(totals=deletes(2), deletions_by_folder={"": 2}, destination_entries_by_folder={"": 9}),
        ["max_deletions_per_folder"],
    ),
    (
        "withheld deletions do not count",
        limit("max_deletions_per_folder", count=1),
        facts(deletions_by_folder={"": 2}, destination_entries_by_folder={"": 9}),
        [],
    ),
    ("wide root", D, facts(wide_root="it is a home folder"), ["wide_root"]),
    ("wide root, allowed", Guards(allow_wide_root=True), facts(wide_root="it is /"), []),
    ("first run", D, facts(past=Past()), []),
    ("same endpoints", D, facts(past=Past("now", HERE.describe(), HERE.describe())), []),
    ("another source", D, facts(past=Past("now", ELSEWHERE.describe(), HERE.describe())), ["source_changed"]),
    (
        "another destination",
        D,
        facts(past=Past("now", HERE.describe(), ELSEWHERE.describe())),
        ["destination_changed"],
    ),
    (
        "endpoints not looked at",
        Guards(endpoint_identity=False),
        facts(past=Past("now", ELSEWHERE.describe(), ELSEWHERE.describe())),
        [],
    ),
    (
        "the source's marker is gone",
        D,
        facts(past=Past(source_marker=Marker("a" * 32, 1)), source=Sighting(HERE, SeenMarker())),
        ["source_marker"],
    ),
    (
        "the destination's marker is another one",
        D,
        facts(
            past=Past(destination_marker=Marker("a" * 32, 1)),
            destination=Sighting(HERE, SeenMarker(Marker("b" * 32, 1))),
        ),
        ["destination_marker"],
    ),
    (
        "a marker is gone, and nobody is to look",
        Guards(endpoint_identity=False),
        facts(past=Past(source_marker=Marker("a" * 32, 1)), source=Sighting(HERE, SeenMarker())),
        [],
    ),
    ("no identity now", D, facts(past=Past("now", HERE.describe()), source=Sighting()), []),
    ("filters changed, nothing deleted", D, facts(past=Past("before")), []),
    (
        "filters changed and something goes",
        D,
        facts(past=Past("before"), totals=deletes(1)),
        ["filter_changed"],
    ),
    ("filters as before", D, facts(past=Past("now"), totals=deletes(1)), []),
    (
        "filter changes allowed",
        Guards(filter_change=False),
        facts(past=Past("before"), totals=deletes(1)),
        [],
    ),
    ("space for all", D, facts(space=Space(10, 1)), []),
    ("a byte short", D, facts(space=Space(9, 1)), ["free_space"]),
    ("an inode short", D, facts(space=Space(10, 0)), ["free_space"]),
    ("space unknown", D, facts(space=Space(None, None)), []),
    ("space not looked at", Guards(free_space=False), facts(space=Space(0, 0)), []),
    (
        "all that object, in the documented order",
        D,
        facts(
            source_entries=0, totals=deletes(90), wide_root="it is /", space=Space(0, 0), past=Past("before")
        ),
        ["source_emptied", "max_deletions", "wide_root", "filter_changed", "free_space"],
    ),
]


@pytest.mark.parametrize(
    ("guards", "known", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_guards(guards: Guards, known: GuardFacts, expected: list[str]) -> None:
    verdicts = evaluate_guards(task_with(guards), known, frozenset(), "x/sync.yaml")
    assert [verdict.guard for verdict in verdicts] == expected
    for verdict in verdicts:
        assert not verdict.accepted
        assert verdict.message
        accepting = " ".join(f"--accept {guard}" for guard in expected)
        command = f"sync-runner run photos -c x/sync.yaml {accepting}"
        if verdict.guard in NEVER_ACCEPTED:
            location = {"source_marker": "src", "destination_marker": "dst"}[verdict.guard]
            command = f"sync-runner locations adopt {location} -c x/sync.yaml"
        assert verdict.remedy.endswith(command)


def test_an_accepted_guard_is_marked_and_no_other() -> None:
    known = facts(source_entries=0, wide_root="it is /")
    verdicts = evaluate_guards(task_with(D), known, frozenset({"wide_root"}), "sync.yaml")
    assert [(verdict.guard, verdict.accepted) for verdict in verdicts] == [
        ("source_emptied", False),
        ("wide_root", True),
    ]


def test_a_marker_is_never_accepted_in_passing() -> None:
    known = facts(
        past=Past(source_marker=Marker("a" * 32, 1)), source=Sighting(HERE, SeenMarker()), wide_root="it is /"
    )
    verdicts = evaluate_guards(task_with(D), known, frozenset({"wide_root", "source_marker"}), "my sync.yaml")
    assert [(verdict.guard, verdict.accepted) for verdict in verdicts] == [
        ("wide_root", True),
        ("source_marker", False),
    ]
    assert "--accept" not in verdicts[1].remedy
    assert verdicts[1].remedy.endswith("sync-runner locations adopt src -c 'my sync.yaml'")


def test_the_command_that_accepts_names_no_marker() -> None:
    known = facts(
        past=Past(source_marker=Marker("a" * 32, 1)), source=Sighting(HERE, SeenMarker()), wide_root="it is /"
    )
    wide_root, _ = evaluate_guards(task_with(D), known, frozenset(), "sync.yaml")
    assert wide_root.remedy.endswith("--accept wide_root")


def test_every_guard_fires_in_the_table() -> None:
    assert {name for case in CASES for name in case[3]} == set(GUARD_NAMES)


MESSAGES = [
    (
        facts(source_entries=0),
        "the source lists no entry at all, while the destination holds 100; "
        "is it mounted, and is it the right folder?",
    ),
    (
        facts(totals=deletes(1500), destination_entries=2000),
        "the plan deletes 1,500 of 2,000 entries at the destination (75.0 %); the guard allows 50 %",
    ),
    (
        facts(past=Past("now", ELSEWHERE.describe())),
        "the source is not what the last successful run saw: it was device sdb9, it is device sda1; "
        "is everything mounted that should be?",
    ),
    (facts(space=Space(2, 5)), "the plan needs 10 B at the destination, which has 2 B free"),
]


@pytest.mark.parametrize(("known", "message"), MESSAGES, ids=[str(number) for number in range(len(MESSAGES))])
def test_messages_say_how_much(known: GuardFacts, message: str) -> None:
    (verdict,) = evaluate_guards(task_with(D), known, frozenset(), "sync.yaml")
    assert verdict.message == message
