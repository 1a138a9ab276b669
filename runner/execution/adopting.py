"""Taking what stands at a location for the right place from now on: its marker, its facts, and who remembers them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

import msgspec

from runner.clock import iso_utc
from runner.errors import EntryCode, EntryError, UsageError
from runner.execution.context import Context
from runner.execution.locking import destination_lock, hold
from runner.execution.marking import put_marker
from runner.execution.past import read_past, write_past
from runner.locations.marker import MARKER_PATH, NO_MARKER, Marker, SeenMarker, read_marker
from runner.locations.patience import IMPATIENT
from runner.locations.protocol import Driver, Identifies, Location, OpenSettings
from runner.locations.registry import check_installed
from runner.model.entry import Entry
from runner.model.task import LocationSettings, MarkerMode, Task
from runner.plan.guards import Past

NO_EXECUTION = "000000000000"
_NOT_OURS = frozenset({EntryCode.PERMISSION_DENIED, EntryCode.READ_ONLY})


class Adopted(msgspec.Struct, frozen=True):
    """A location that was adopted. `facts` are what the driver tells of it; `marker` is what stands there now, None =
    none; `written`: it was written just now; `tasks` are those that will trust it."""

    location: str
    type: str
    address: str
    facts: str | None
    marker: Marker | None
    written: bool
    tasks: tuple[str, ...]


class _Use(msgspec.Struct, frozen=True):
    """One task that uses the location at one end, and what it remembers of that end."""

    task: Task
    side: str
    past: Past

    @property
    def marker(self) -> Marker | None:
        return self.past.source_marker if self.side == "source" else self.past.destination_marker


def adopt(
    settings: LocationSettings,
    context: Context,
    *,
    accept_empty: bool = False,
    new_id: Callable[[], str] = lambda: os.urandom(16).hex(),
) -> Adopted:
    """Write a marker where one is wanted and missing, and let every task of the configuration that uses the location
    remember this endpoint as the right one. Nothing else is written; the next plan is judged by all other guards.

    Raises UsageError when it lists nothing while something else is remembered: an absent mount looks like that.
    LocationUnavailableError, LockHeldError, EntryError.
    """
    driver = context.registry.driver(settings.type)
    check_installed(driver)
    uses = tuple(_uses(settings, context))
    is_written = any(use.side == "destination" for use in uses)
    open_settings = OpenSettings(execution_id=NO_EXECUTION, cache_directory=context.state.cache_folder)
    with contextlib.ExitStack() as stack:
        for task in _written_by(uses):
            stack.enter_context(destination_lock(task, context, NO_EXECUTION))
        location = driver.open(settings, open_settings, create=is_written)
        stack.callback(location.close)
        if is_written:
            hold(location, settings.name)
        if not accept_empty and any(_is_remembered(use) for use in uses) and _is_empty(location):
            raise UsageError(
                f"{settings.name!r} lists nothing at all, but executions saw something else there: an absent mount "
                "looks like that",
                remedy="Mount it. If it is empty, and the right place: add --empty",
            )
        seen = NO_MARKER if settings.marker is MarkerMode.NONE else read_marker(location, IMPATIENT)
        if seen.fault is not None and seen.entry is None:
            raise UsageError(
                f"the marker {MARKER_PATH} of {settings.name!r} cannot be read: {seen.fault}",
                remedy="Make it readable for the runner, and try again.",
            )
        marker = _wanted(settings, uses, seen, iso_utc(context.clock.now()), new_id)
        written = marker is not None and marker != seen.marker
        if marker is not None and written:
            written = _write(driver, settings, open_settings, location, marker, seen)
            marker = marker if written else seen.marker
        facts = location.identity().describe() if isinstance(location, Identifies) else None
        for use in uses:
            write_past(context.state, use.task.name, _remembering(use, facts, marker))
    return Adopted(
        settings.name,
        settings.type,
        driver.describe(settings),
        facts,
        marker,
        written,
        tuple(dict.fromkeys(use.task.name for use in uses)),
    )


def _uses(settings: LocationSettings, context: Context) -> Iterator[_Use]:
    for task in context.configuration.tasks.values():
        past = read_past(context.state, task.name)
        for side, used in (("source", task.source), ("destination", task.destination)):
            if used.name == settings.name:
                yield _Use(task, side, past)


def _written_by(uses: tuple[_Use, ...]) -> Iterator[Task]:
    """One task for the lock of the destination: all of them have the same."""
    for use in uses:
        if use.side == "destination":
            yield use.task
            return


def _is_remembered(use: _Use) -> bool:
    return use.marker is not None or (use.side == "source" and bool(use.past.listed_entries))


def _is_empty(location: Location) -> bool:
    found = location.scan("", lambda folder: folder.path == "")
    return not any(not isinstance(one, Entry) or one.path for one in found)


def _wanted(
    settings: LocationSettings,
    uses: tuple[_Use, ...],
    seen: SeenMarker,
    written_at: str,
    new_id: Callable[[], str],
) -> Marker | None:
    """The marker that is to stand there; None where none is and none is wanted."""
    if settings.marker is MarkerMode.NONE:
        return None
    if seen.marker is None:
        is_wanted = settings.marker is MarkerMode.REQUIRED or any(use.marker is not None for use in uses)
        return Marker(new_id(), 1, "", written_at) if is_wanted else None
    newest = max(
        (use.marker.generation for use in uses if use.marker is not None and use.marker.id == seen.marker.id),
        default=0,
    )
    if newest <= seen.marker.generation:
        return seen.marker
    # Who still remembers the newer state elsewhere must not take this one for it: it goes on from there.
    return Marker(seen.marker.id, newest + 1, "", written_at)


def _write(
    driver: Driver,
    settings: LocationSettings,
    open_settings: OpenSettings,
    location: Location,
    marker: Marker,
    seen: SeenMarker,
) -> bool:
    """False where the location cannot be written to and need not be: a source that is mounted read-only."""
    try:
        put_marker(driver, settings, open_settings, location, marker, seen)
    except EntryError as error:
        if error.entry_code in _NOT_OURS and (
            settings.marker is not MarkerMode.REQUIRED or seen.marker is not None
        ):
            return False
        raise
    return True


def _remembering(use: _Use, facts: str | None, marker: Marker | None) -> Past:
    if use.side == "source":
        return msgspec.structs.replace(use.past, source_identity=facts, source_marker=marker)
    return msgspec.structs.replace(use.past, destination_identity=facts, destination_marker=marker)
