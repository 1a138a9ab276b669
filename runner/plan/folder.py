"""Some folders and all below them, compared and planned on their own: what a worker does of a big plan.

Bytes in, bytes out. A request is a FolderNames line. An answer is a FolderPlan line, then each stage's action lines one
after another.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from runner.diff.merge import Merge
from runner.diff.tally import Tally, TallySums
from runner.errors import EntryError
from runner.filters.selection import Selection
from runner.inventory.listing import inventory
from runner.inventory.owners import mapped_owners
from runner.locations.pair import Endpoints
from runner.locations.protocol import Location, Sweeps
from runner.model.action import Stage
from runner.model.difference import Reason
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import Task
from runner.model.wire import decode_line, encode_line
from runner.plan.build import Planner
from runner.plan.file import PlanWriter
from runner.plan.parts import comparison_of, content_equality, planner_of, scope_of, side_by_side
from runner.plan.sums import PlannerSums


class FolderPlan(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was decided in these folders. `plain` False: it cannot be decided on its own, and nothing else is told."""

    plain: bool
    counts: tuple[int, ...] = ()
    lengths: tuple[int, ...] = ()
    planner: PlannerSums | None = None
    tally: TallySums | None = None


class FolderNames(msgspec.Struct, frozen=True):
    """A request: folders of one parent, in canonical order."""

    paths: tuple[str, ...]


class _NotPlainError(Exception):
    """Hard links, changes of kind and whatever could not be listed concern more than one folder."""


class FolderPlanner:
    """Plans folders of one task between two open locations. Holds one answer at a time."""

    def __init__(self, task: Task, endpoints: Endpoints, now_ns: int) -> None:
        self._task = task
        self._endpoints = endpoints
        self._selection = Selection(task.filters, now_ns)
        metadata = task.options.metadata
        self._takes_everything = (
            not self._selection.asks_files and not metadata.owner_map and not metadata.group_map
        )

    def plan(self, request: bytes) -> bytes:
        """The answer to one request."""
        paths = decode_line(request, FolderNames).paths
        writer = PlanWriter()
        try:
            return self._planned(paths, writer)
        except (_NotPlainError, EntryError):
            return encode_line(FolderPlan(False)) + b"\n"
        finally:
            writer.close()

    def _planned(self, paths: tuple[str, ...], writer: PlanWriter) -> bytes:
        endpoints = self._endpoints
        tally = Tally()
        planner = planner_of(self._task, endpoints, self._selection, writer, tally)
        for path in paths:
            standing = endpoints.destination.stat(path.removesuffix("/"))
            if standing is not None and not standing.is_directory:
                raise _NotPlainError
            if standing is None and self._takes_everything:
                self._plan_new(path, planner, tally)
            else:
                self._compare(path, planner, tally)
        planner.finish()
        if tally.problems_total or _has_leftovers(endpoints.destination):
            raise _NotPlainError
        stages = [writer.stage_lines(stage) for stage in Stage]
        answer = FolderPlan(
            True, writer.counts, tuple(len(lines) for lines in stages), planner.sums.value(), tally.sums()
        )
        return b"".join([encode_line(answer), b"\n", *stages])

    def _plan_new(self, path: str, planner: Planner, tally: Tally) -> None:
        """The destination has nothing there: everything is new, and nothing need be compared."""
        task, endpoints, selection = self._task, self._endpoints, self._selection
        carries = scope_of(task, endpoints, selection).carries
        feed_new, list_source = planner.feed_new, tally.list_source
        descend = None if selection.is_trivial else selection.descend
        for found in _plain(inventory(endpoints.source, descend, prefix=path)):
            list_source(found)
            if found.kind is Kind.DIRECTORY and not selection.includes(found):
                tally.exclude(found)
            elif carries(found):
                feed_new(found)
            else:
                tally.skip(found)

    def _compare(self, path: str, planner: Planner, tally: Tally) -> None:
        task, endpoints, selection = self._task, self._endpoints, self._selection
        descend = None if selection.is_trivial else selection.descend
        scans = side_by_side(task, endpoints, selection, tally)
        source = inventory(endpoints.source, descend, prefix=path, scan=scans and scans[0])
        destination = inventory(endpoints.destination, descend, prefix=path, scan=scans and scans[1])
        merge = Merge(
            _plain(mapped_owners(source, task.options.metadata)),
            _plain(destination),
            comparison_of(task, endpoints),
            scope_of(task, endpoints, selection),
            tally,
            content_equality(task, endpoints),
        )
        for difference in merge.differences():
            if Reason.KIND in difference.reasons:
                raise _NotPlainError
            planner.feed(difference)


def _plain(listing: Iterator[Entry | Problem]) -> Iterator[Entry]:
    for found in listing:
        if isinstance(found, Problem) or found.link_group is not None:
            raise _NotPlainError
        yield found


def _has_leftovers(destination: Location) -> bool:
    """Temporary files of a dead execution: the process that removes them has to see them itself."""
    return isinstance(destination, Sweeps) and any(destination.leftovers())


def split_folder_plan(answer: bytes) -> tuple[FolderPlan, list[bytes]]:
    """The summary, and each stage's lines."""
    first, _, rest = answer.partition(b"\n")
    plan = decode_line(first, FolderPlan)
    stages, offset = [], 0
    for length in plan.lengths:
        stages.append(rest[offset : offset + length])
        offset += length
    return plan, stages
