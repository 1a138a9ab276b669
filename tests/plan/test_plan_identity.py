"""Is it the place it was? Every state of a marker against every memory of one, and what is said about it."""

from __future__ import annotations

import itertools

import pytest

from runner.locations.marker import Marker, SeenMarker, Sighting
from runner.locations.protocol import Identity
from runner.model.task import MarkerMode
from runner.plan.identity import Cause, Objection, Remembered, changed_meanwhile, objection_to

HERE = Identity((("device", "sda1"),))
ELSEWHERE = Identity((("device", "sdb9"),))
OURS = Marker("a" * 32, 5, "65000000abcd", "2026-01-01T00:00:00.000Z")
NEWER = Marker("a" * 32, 6)
OLDER = Marker("a" * 32, 4, "64ffffffabcd", "2025-12-01T00:00:00.000Z")
OTHER = Marker("b" * 32, 9)
ADOPT = "sync-runner locations adopt disk -c sync.yaml"
AUTO, REQUIRED, NONE = MarkerMode.AUTO, MarkerMode.REQUIRED, MarkerMode.NONE


def seen(marker: Marker | None, fault: str | None = None, facts: Identity | None = HERE) -> Sighting:
    return Sighting(facts, SeenMarker(marker, fault))


def judged(
    mode: MarkerMode, remembered: Remembered, sighting: Sighting, side: str = "source"
) -> Objection | None:
    return objection_to(side, "disk", mode, remembered, sighting, ADOPT)


KNOWN = Remembered(HERE.describe(), OURS)
FACTS_ONLY = Remembered(HERE.describe())
NOTHING = Remembered()
CASES: list[tuple[str, MarkerMode, Remembered, Sighting, Cause | None]] = [
    ("the first time", AUTO, NOTHING, seen(None), None),
    ("the first time, at a marked place", AUTO, NOTHING, seen(OTHER), None),
    ("as it was", AUTO, KNOWN, seen(OURS), None),
    ("another task went on with it", AUTO, KNOWN, seen(NEWER), None),
    ("gone", AUTO, KNOWN, seen(None), Cause.GONE),
    ("swapped", AUTO, KNOWN, seen(OTHER), Cause.SWAPPED),
    ("put back", AUTO, KNOWN, seen(OLDER), Cause.PUT_BACK),
    ("unreadable", AUTO, KNOWN, seen(None, "permission denied"), Cause.UNREADABLE),
    ("moved to another device, and its marker with it", AUTO, KNOWN, seen(OURS, facts=ELSEWHERE), None),
    ("gone, at another device", AUTO, KNOWN, seen(None, facts=ELSEWHERE), Cause.GONE),
    ("never marked, another device", AUTO, FACTS_ONLY, seen(None, facts=ELSEWHERE), Cause.CHANGED),
    ("a marker nobody knows, another device", AUTO, FACTS_ONLY, seen(OTHER, facts=ELSEWHERE), Cause.CHANGED),
    ("a marker nobody knows, the same device", AUTO, FACTS_ONLY, seen(OTHER), None),
    ("unreadable, and nothing is remembered", AUTO, NOTHING, seen(None, "denied"), None),
    ("it tells no facts", AUTO, FACTS_ONLY, seen(None, facts=None), None),
    ("required, the first time", REQUIRED, NOTHING, seen(None), Cause.UNMARKED),
    ("required, unreadable", REQUIRED, NOTHING, seen(None, "denied"), Cause.UNMARKED),
    ("required, marked", REQUIRED, NOTHING, seen(OTHER), None),
    ("required, gone", REQUIRED, KNOWN, seen(None), Cause.GONE),
    ("no marker is to be looked for", NONE, KNOWN, Sighting(HERE), None),
    ("nor heeded", NONE, KNOWN, seen(OTHER), None),
    ("no marker, but facts", NONE, KNOWN, Sighting(ELSEWHERE), Cause.CHANGED),
]


@pytest.mark.parametrize(
    ("mode", "remembered", "sighting", "cause"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_the_cause(mode: MarkerMode, remembered: Remembered, sighting: Sighting, cause: Cause | None) -> None:
    for side in ("source", "destination"):
        objection = judged(mode, remembered, sighting, side)
        assert (None if objection is None else objection.cause) is cause


def test_every_cause_is_in_the_table() -> None:
    assert {case[4] for case in CASES} == {None, *Cause}


def test_each_cause_has_words_of_its_own_and_a_safe_way_first() -> None:
    said: dict[Cause, Objection] = {}
    for _, mode, remembered, sighting, cause in CASES:
        objection = judged(mode, remembered, sighting)
        if objection is not None and cause is not None:
            said[cause] = objection
    assert len({objection.message for objection in said.values()}) == len(Cause)
    ways = {cause: objection.way for cause, objection in said.items() if cause is not Cause.CHANGED}
    assert len(set(ways.values())) == len(Cause) - 1
    for way in ways.values():
        assert way is not None and way.endswith(ADOPT)
        assert not way.startswith("sync-runner")


def test_what_a_state_put_back_would_do_depends_on_the_side() -> None:
    source = judged(AUTO, KNOWN, seen(OLDER), "source")
    destination = judged(AUTO, KNOWN, seen(OLDER), "destination")
    assert source is not None and "older files to the destination" in source.message
    assert destination is not None and "missing there" in destination.message


def test_a_remembered_marker_is_never_excused_by_anything_but_itself() -> None:
    """Exhaustive: with a memory of a marker, only that marker, not older, passes; whatever the facts say."""
    markers = [None, OURS, NEWER, OLDER, OTHER]
    for mode, marker, fault, facts, known in itertools.product(
        (AUTO, REQUIRED), markers, (None, "denied"), (HERE, ELSEWHERE, None), (HERE.describe(), None)
    ):
        found = SeenMarker(None if fault else marker, fault)
        objection = judged(mode, Remembered(known, OURS), Sighting(facts, found))
        trusted = fault is None and marker in (OURS, NEWER)
        assert (objection is None) is trusted


MEANWHILE = [
    ("the same", Sighting(HERE), Sighting(HERE), None),
    ("another device", Sighting(HERE), Sighting(ELSEWHERE), "another one took its place"),
    ("no facts before", Sighting(None), Sighting(HERE), None),
    ("the same marker", seen(OURS), seen(OURS), None),
    ("its marker vanished", seen(OURS), seen(None), "is not there any more"),
    ("its marker cannot be read", seen(OURS), seen(None, "denied"), "cannot be read any more"),
    ("another marker", seen(OURS), seen(OTHER), "another one took the place"),
    ("an older one", seen(OURS), seen(OLDER), "older state"),
    ("another execution ended there", seen(OURS), seen(NEWER), None),
    ("it was just marked", seen(None), seen(OURS), None),
]


@pytest.mark.parametrize(
    ("before", "after", "words"), [case[1:] for case in MEANWHILE], ids=[case[0] for case in MEANWHILE]
)
def test_what_changed_while_it_was_listed(before: Sighting, after: Sighting, words: str | None) -> None:
    said = changed_meanwhile("source", "disk", before, after)
    assert (said is None) is (words is None)
    if words is not None:
        assert said is not None and words in said and "the source 'disk'" in said
