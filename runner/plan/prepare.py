"""PREPARING, from two open locations to a decided plan: list, filter, compare, decide, guard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from runner.diff.merge import Merge, NotPlainError
from runner.diff.tally import LISTED_PROBLEMS, Tally
from runner.errors import EntryCode, LocationUnavailableError
from runner.filters.selection import Selection
from runner.inventory.both import both_listings
from runner.locations.marker import Sighting
from runner.locations.pair import Endpoints
from runner.locations.protocol import Identifies, Location, Space
from runner.model.action import Action
from runner.model.difference import Difference
from runner.model.entry import Entry, Phase, Problem
from runner.model.execution import Counts, EndpointSummary
from runner.model.plan import PlanHeader, PlanTrailer
from runner.model.task import Limit, Task
from runner.plan.build import Planner
from runner.plan.divide import Workers, can_be_divided, divided
from runner.plan.file import PlanWriter
from runner.plan.guards import GuardFacts, Past, evaluate_guards
from runner.plan.identity import changed_meanwhile
from runner.plan.parts import comparison_of, content_equality, planner_of, scope_of, side_by_side

Found = Entry | Problem
Tap = Callable[[Iterator[Found]], Iterator[Found]]


class Taps(msgspec.Struct, frozen=True):
    """Lets `explain` look on while a plan is made; what passes is never changed."""

    source: Tap
    destination: Tap
    difference: Callable[[Difference], None]


class Prepared(msgspec.Struct, frozen=True):
    """A decided plan, not written yet."""

    writer: PlanWriter
    header: PlanHeader
    trailer: PlanTrailer
    largest: tuple[Action, ...]
    first: tuple[Action, ...]
    planner: Planner
    still_doubted: frozenset[str] = frozenset()
    """Files in doubt that the filters left out: nobody has looked at them."""


class Circumstances(msgspec.Struct, frozen=True):
    """What planning is told from outside: settings as plain JSON for the header, the past, accepted guards, and files in
    doubt, which are compared by content."""

    described: dict[str, Any]
    past: Past
    accepted: frozenset[str]
    config_file: str
    on_listed: Callable[[int, int], None] = lambda source, destination: None
    doubted: frozenset[str] = frozenset()


def prepare(
    task: Task,
    endpoints: Endpoints,
    selection: Selection,
    circumstances: Circumstances,
    writer: PlanWriter,
    taps: Taps | None = None,
    workers: Callable[[], Workers] | None = None,
) -> Prepared:
    """List both sides and decide; actions go to `writer`, which the caller closes. No location is written to.

    With `workers` (asked for once, when there is much to do), folders are planned side by side; the plan is the same,
    byte for byte. Raises EntryError when a listing breaks its promises. Memory: one directory's names a level, link
    groups, the writer's spool. Raises LocationUnavailableError when an endpoint was not the same one all the time.
    """
    endpoints.sightings()  # as they are before anything is listed
    # Doubts are few and rare: one walk sees to them.
    alone = taps is not None or bool(circumstances.doubted)
    if workers is not None and not alone and can_be_divided(task, endpoints, selection):
        tally = Tally()
        try:
            planner = divided(task, endpoints, selection, circumstances.on_listed, writer, tally, workers)
        except NotPlainError:
            # Something in one folder concerns another: only one walk over all of it can decide.
            writer.clear()
        else:
            return _concluded(task, endpoints, circumstances, tally, planner, writer, {})
    return _prepared_in_one_walk(task, endpoints, selection, circumstances, writer, taps)


def _prepared_in_one_walk(
    task: Task,
    endpoints: Endpoints,
    selection: Selection,
    circumstances: Circumstances,
    writer: PlanWriter,
    taps: Taps | None,
) -> Prepared:
    tally = Tally()
    progress = [0, 0]

    def listed(side: int) -> Callable[[int], None]:
        def hear(count: int) -> None:
            progress[side] = count
            circumstances.on_listed(progress[0], progress[1])

        return hear

    doubted = circumstances.doubted
    scans = side_by_side(task, endpoints, selection, tally) if taps is None and not doubted else None
    source, destination = both_listings(
        task, endpoints, selection, listed(0), listed(1), scans, reads=bool(doubted)
    )
    shares: dict[str, int] = {}
    if task.guards.max_deletions_per_folder != Limit():
        destination = _counted_by_folder(destination, shares)
    met: dict[str, Entry] = {}
    if doubted:
        source = _remembering(source, doubted, met)
    if taps is not None:
        source, destination = taps.source(source), taps.destination(destination)
    merge = Merge(
        source,
        destination,
        msgspec.structs.replace(comparison_of(task, endpoints), doubted=doubted),
        scope_of(task, endpoints, selection),
        tally,
        content_equality(task, endpoints, doubts=bool(doubted)),
    )
    planner = planner_of(task, endpoints, selection, writer, tally)
    for difference in merge.differences():
        if taps is not None:
            taps.difference(difference)
        planner.feed(difference)
    _note_missing(selection, tally)
    planner.finish()
    prepared = _concluded(task, endpoints, circumstances, tally, planner, writer, shares)
    left_out = (path for path in doubted if not _takes_part(path, met.get(path), selection))
    return msgspec.structs.replace(prepared, still_doubted=frozenset(left_out))


def _remembering(listing: Iterator[Found], paths: frozenset[str], met: dict[str, Entry]) -> Iterator[Found]:
    for found in listing:
        if found.path in paths and isinstance(found, Entry):
            met[found.path] = found
        yield found


def _takes_part(path: str, entry: Entry | None, selection: Selection) -> bool:
    """Whether the filters let it in; of what was not met, what the rules about paths say."""
    return selection.path_decision(path).included if entry is None else selection.includes(entry)


def _concluded(
    task: Task,
    endpoints: Endpoints,
    circumstances: Circumstances,
    tally: Tally,
    planner: Planner,
    writer: PlanWriter,
    shares: dict[str, int],
) -> Prepared:
    totals = planner.sums.totals()
    source, destination = _the_same_ones(task, endpoints)
    facts = GuardFacts(
        totals=totals,
        source_entries=max(0, tally.listed_files + tally.listed_folders - 1),
        destination_entries=max(0, tally.destination_files + tally.destination_folders - 1),
        destination_entries_by_folder=shares,
        deletions_by_folder=planner.sums.deletions_by_folder,
        bytes_needed=planner.sums.bytes_needed,
        entries_needed=planner.sums.entries_needed,
        incomplete=tally.incomplete,
        source=source,
        destination=destination,
        space=_space(endpoints.destination),
        wide_root=endpoints.destination_driver.wide_root(task.destination),
        past=circumstances.past,
    )
    trailer = PlanTrailer(
        actions=sum(writer.counts),
        stages=writer.counts,
        totals=totals,
        counters=planner.sums.counters(),
        complete=not tally.incomplete,
        problems=tuple(tally.problems[:LISTED_PROBLEMS]),
        problems_total=tally.problems_total,
        guards=evaluate_guards(task, facts, circumstances.accepted, circumstances.config_file),
        losses=endpoints.losses,
        destination_entries=Counts(tally.destination_files, tally.destination_folders),
        destination_bytes=tally.destination_bytes,
    )
    header = PlanHeader(
        task=task.name,
        config_digest=task.config_digest,
        filter_digest=task.filter_digest,
        source=endpoint_summary(endpoints, task, "source"),
        destination=endpoint_summary(endpoints, task, "destination"),
        options=circumstances.described,
    )
    return Prepared(writer, header, trailer, planner.sums.largest(), planner.sums.first(), planner)


def endpoint_summary(endpoints: Endpoints, task: Task, side: str) -> EndpointSummary:
    """A location as plans and reports show it."""
    settings = task.source if side == "source" else task.destination
    driver = endpoints.source_driver if side == "source" else endpoints.destination_driver
    seen = endpoints.sightings()[0 if side == "source" else 1]
    return EndpointSummary(
        settings.name,
        settings.type,
        driver.describe(settings),
        seen.identity.describe() if seen.identity else None,
        seen.marker.marker.id if seen.marker and seen.marker.marker else None,
    )


def _the_same_ones(task: Task, endpoints: Endpoints) -> tuple[Sighting, Sighting]:
    """Both endpoints as they are after they were listed. A listing of what was not there all the time proves nothing."""
    before, after = endpoints.sightings(), endpoints.look_again()
    for side, settings, then, now in (
        ("source", task.source, before[0], after[0]),
        ("destination", task.destination, before[1], after[1]),
    ):
        changed = changed_meanwhile(side, settings.name, then, now)
        if changed is not None:
            raise LocationUnavailableError(
                f"{changed}. Nothing was written or deleted",
                remedy="Mount it, or bring it back, and run again.",
            )
    return after


def _space(destination: Location) -> Space | None:
    return destination.space() if isinstance(destination, Identifies) else None


def _note_missing(selection: Selection, tally: Tally) -> None:
    """A path that the manifest names and the source has not is a problem of that path."""
    for path in selection.missing():
        tally.listed_files += 1
        tally.failed_files += 1
        message = "the manifest names this path, but the source has nothing there"
        tally.note(Problem(path, Phase.PREPARING, EntryCode.NOT_FOUND, message, side="source"))


def _counted_by_folder(listing: Iterator[Found], shares: dict[str, int]) -> Iterator[Found]:
    for found in listing:
        if isinstance(found, Entry) and found.path:
            top = found.path.split("/", 1)[0] if "/" in found.path else ""
            shares[top] = shares.get(top, 0) + 1
        yield found
