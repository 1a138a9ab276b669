"""Is an endpoint the one it was? Pure: from what is remembered and what was seen to an objection, or none.

What decides, in this order: the marker, where one is remembered or required; else the facts that the driver tells
(file system, device, bucket). A marker that is as remembered also speaks for an endpoint whose facts changed: the same
disk at another port, a share that moved.
"""

from __future__ import annotations

import enum

import msgspec

from runner.locations.marker import MARKER_PATH, Marker, SeenMarker, Sighting
from runner.model.task import MarkerMode


class Cause(enum.StrEnum):
    """What is wrong with an endpoint."""

    GONE = "gone"
    SWAPPED = "swapped"
    PUT_BACK = "put_back"
    UNREADABLE = "unreadable"
    UNMARKED = "unmarked"
    CHANGED = "changed"


class Remembered(msgspec.Struct, frozen=True):
    """What the last execution saw of an endpoint. None = unknown."""

    facts: str | None = None
    marker: Marker | None = None


class Objection(msgspec.Struct, frozen=True):
    """Why an endpoint is not trusted. `way` is how to go on, beginning with what is safe; None: the guard's own
    command is."""

    cause: Cause
    message: str
    way: str | None = None


NOTHING_REMEMBERED = Remembered()


def objection_to(
    side: str, name: str, mode: MarkerMode, remembered: Remembered, seen: Sighting, adopt: str
) -> Objection | None:
    """What speaks against an endpoint; None when it may be taken for the one it was. `adopt`: the command that takes
    it for the right one from now on."""
    place = f"the {side} {name!r}"
    marker = seen.marker if seen.marker is not None and mode is not MarkerMode.NONE else None
    if marker is not None and remembered.marker is not None:
        return _against_remembered(side, place, remembered.marker, marker, adopt)
    if marker is not None and mode is MarkerMode.REQUIRED:
        objection = _unmarked(place, marker, adopt)
        if objection is not None:
            return objection
    now = seen.identity.describe() if seen.identity is not None else None
    if remembered.facts is None or now is None or remembered.facts == now:
        return None
    return Objection(
        Cause.CHANGED,
        f"the {side} is not what the last successful run saw: it was {remembered.facts}, it is {now}; "
        "is everything mounted that should be?",
    )


def changed_meanwhile(side: str, name: str, before: Sighting, after: Sighting) -> str | None:
    """What shows that an endpoint was not the same one before and after it was listed; None when nothing does."""
    place = f"the {side} {name!r}"
    if before.identity is not None and after.identity is not None and before.identity != after.identity:
        return (
            f"{place} went away, or another one took its place, while it was listed: it was "
            f"{before.identity.describe()}, it is {after.identity.describe()}"
        )
    was = before.marker.marker if before.marker is not None else None
    if was is None or after.marker is None:
        return None
    now = after.marker.marker
    if now is None:
        lost = "cannot be read any more" if after.marker.fault else "is not there any more"
        return f"{place} went away while it was listed: its marker {MARKER_PATH} {lost}"
    if now.id != was.id:
        return f"another one took the place of {place} while it was listed: it was {was.describe()}, it is {now.describe()}"
    if now.generation < was.generation:
        return f"{place} was put back to an older state while it was listed: it was {was.describe()}, it is {now.describe()}"
    return None


def _against_remembered(side: str, place: str, was: Marker, seen: SeenMarker, adopt: str) -> Objection | None:
    if seen.fault is not None:
        return Objection(
            Cause.UNREADABLE,
            f"{place} has a marker that cannot be read ({seen.fault}); the last execution saw {was.describe()}",
            f"Make {MARKER_PATH} readable for the runner. If it is damaged, and this is the right place: {adopt}",
        )
    now = seen.marker
    if now is None:
        return Objection(
            Cause.GONE,
            f"{place} has lost its marker: {MARKER_PATH} is not there, and the last execution saw {was.describe()}. "
            "Most likely what belongs there is not mounted, or the path leads elsewhere",
            "Mount it, or correct the path, and run again. Do not put a marker there by hand. Only if this is the "
            f"right place and nothing but the file is lost: {adopt}",
        )
    if now.id != was.id:
        return Objection(
            Cause.SWAPPED,
            f"{place} is another one than before: it has {now.describe()}, the last execution saw {was.describe()}",
            f"Bring back the one that belongs there, and run again. If this one takes its place on purpose: {adopt}",
        )
    if now.generation < was.generation:
        consequence = (
            "a run would carry its older files to the destination"
            if side == "source"
            else "what was copied since then is missing there"
        )
        return Objection(
            Cause.PUT_BACK,
            f"{place} was put back to an older state (a restored backup or snapshot, or a copy of the right one): it "
            f"has {now.describe()}, the last execution saw {was.describe()}; {consequence}",
            f"Bring back the newer state, and run again. If the older one is what you want: {adopt}",
        )
    return None


def _unmarked(place: str, seen: SeenMarker, adopt: str) -> Objection | None:
    if seen.marker is not None:
        return None
    why = f"its marker cannot be read ({seen.fault})" if seen.fault else f"it has no marker {MARKER_PATH}"
    return Objection(
        Cause.UNMARKED,
        f"{place} is not known to be the right place: {why}, and the configuration says marker: required",
        f"Look that it is mounted and is what you mean. Then: {adopt}",
    )
