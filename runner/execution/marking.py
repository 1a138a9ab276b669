"""Markers after a transfer: where the task keeps them, they say who was there last; and what is remembered of them."""

from __future__ import annotations

import os
from collections.abc import Callable

import msgspec

from runner.errors import EntryCode, EntryError
from runner.locations.marker import Marker, SeenMarker, read_marker, write_marker
from runner.locations.pair import Endpoints
from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.entry import Phase, Problem
from runner.model.task import Durability, LocationSettings, MarkerMode, Task
from runner.plan.guards import Past

_ATTEMPTS = 3
_NOT_OURS = frozenset({EntryCode.PERMISSION_DENIED, EntryCode.READ_ONLY})


class Marked(msgspec.Struct, frozen=True):
    """The markers to remember, and what went wrong with keeping them."""

    source: Marker | None = None
    destination: Marker | None = None
    warnings: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Keeping(msgspec.Struct, frozen=True):
    """One end of a task, and what its marker is to say."""

    settings: LocationSettings
    location: Location
    side: str
    remembered: Marker | None


def mark(
    task: Task,
    endpoints: Endpoints,
    past: Past,
    execution_id: str,
    written_at: str,
    changed: bool,
    new_id: Callable[[], str] = lambda: os.urandom(16).hex(),
) -> Marked:
    """Write the markers that the task keeps; the generation grows when the execution `changed` anything.

    A first marker, and any at a source, is written only where the location says `marker: required`: every other place
    stays exactly what was synchronised.
    """
    warnings: list[str] = []
    problems: list[Problem] = []
    remembered: list[Marker | None] = []
    for keeping, driver, open_settings in _both(task, endpoints, past):
        required = keeping.settings.marker is MarkerMode.REQUIRED
        try:
            remembered.append(
                _kept(keeping, endpoints, driver, open_settings, (execution_id, written_at, changed), new_id)
            )
        except EntryError as error:
            remembered.append(keeping.remembered)
            if error.entry_code in _NOT_OURS and keeping.side == "source":
                continue  # it may be mounted read-only: then its id alone has to do
            if required:
                problems.append(Problem.from_error(error, Phase.TRANSFERRING, keeping.side))
            else:
                warnings.append(
                    f"the marker of the {keeping.side} {keeping.settings.name!r} was not written: {error.message}. "
                    "To do without one, say marker: none in its location"
                )
    return Marked(remembered[0], remembered[1], tuple(warnings), tuple(problems))


def _both(
    task: Task, endpoints: Endpoints, past: Past
) -> tuple[tuple[_Keeping, Driver, OpenSettings], tuple[_Keeping, Driver, OpenSettings]]:
    source = _Keeping(task.source, endpoints.source, "source", past.source_marker)
    destination = _Keeping(task.destination, endpoints.destination, "destination", past.destination_marker)
    return (
        (source, endpoints.source_driver, endpoints.source_open),
        (destination, endpoints.destination_driver, endpoints.destination_open),
    )


def _kept(
    keeping: _Keeping,
    endpoints: Endpoints,
    driver: Driver,
    open_settings: OpenSettings,
    by: tuple[str, str, bool],
    new_id: Callable[[], str],
) -> Marker | None:
    """The marker to remember, written where it is to be. Raises EntryError when it cannot be."""
    if keeping.settings.marker is MarkerMode.NONE:
        return None
    execution_id, written_at, changed = by
    for attempt in range(_ATTEMPTS):
        seen = read_marker(keeping.location, endpoints.patience)
        present = seen.marker
        if seen.fault is not None or (present is None and keeping.remembered is not None):
            return keeping.remembered  # the next execution refuses; nobody is to be reassured by a new one
        required = keeping.settings.marker is MarkerMode.REQUIRED
        updates = required or (present is not None and keeping.side == "destination")
        if not updates or (present is not None and not changed):
            return present
        marker = Marker(
            present.id if present is not None else new_id(),
            present.generation + 1 if present is not None else 1,
            execution_id,
            written_at,
        )
        try:
            put_marker(driver, keeping.settings, open_settings, keeping.location, marker, seen)
        except EntryError as error:
            if error.entry_code is EntryCode.STALE and attempt + 1 < _ATTEMPTS:
                continue  # an execution on another host was there at the same moment
            if present is not None and error.entry_code in _NOT_OURS:
                return present
            raise
        return marker
    raise AssertionError("the last attempt returns or raises")


def put_marker(
    driver: Driver,
    settings: LocationSettings,
    open_settings: OpenSettings,
    location: Location,
    marker: Marker,
    seen: SeenMarker,
) -> None:
    """Write a marker so that it is still there after a power cut where that is known to be possible: one that fell back
    to the state before would look like an endpoint that was put back. Raises EntryError."""
    if location.capabilities.remote or open_settings.durability is Durability.FULL:
        write_marker(location, marker, seen)
        return
    durable = msgspec.structs.replace(open_settings, durability=Durability.FULL)
    fresh = driver.open(settings, durable, create=True)
    try:
        write_marker(fresh, marker, seen)
    finally:
        fresh.close()
