"""The parts a plan is made with, as one task's options set them: comparison, scope, content, planner."""

from __future__ import annotations

from collections.abc import Callable

from runner.diff.compare import Comparison, ContentEqual
from runner.diff.merge import Scope
from runner.diff.tally import Tally
from runner.filters.selection import Selection
from runner.inventory.content import digester
from runner.locations.pair import Endpoints
from runner.locations.protocol import EqualFiles, ListsBeside, Scan
from runner.model.entry import Entry, Kind
from runner.model.task import Compare, Limit, Task, TransferMode
from runner.plan.build import Planner
from runner.plan.file import PlanWriter

SIDE_BY_SIDE_BYTES = 32 << 20
"""Files from here on are read at both sides at once, where content is compared."""


class NoThrottle:
    """Lets everything pass: comparing by checksum is not limited by the transfer's bandwidth."""

    def take(self, size_bytes: int) -> None:
        return


def comparison_of(task: Task, endpoints: Endpoints) -> Comparison:
    """What counts as a difference between these two."""
    options = task.options
    return Comparison(
        compare=options.compare,
        compares_mtime=options.metadata.mtime and endpoints.carries_mtime,
        mtime_tolerance_ns=max(options.mtime_tolerance_ns, endpoints.mtime_tolerance_ns),
        transfer_all=options.transfer_mode is TransferMode.ALL,
        marks_folders=endpoints.destination.capabilities.implicit_directories,
    )


def side_by_side(
    task: Task, endpoints: Endpoints, selection: Selection, tally: Tally
) -> tuple[Scan, Scan] | None:
    """Scans of both locations that settle equal files between them, counted in `tally`; None when that cannot be, or
    when something wants to see each file."""
    options = task.options
    metadata = options.metadata
    destination = endpoints.destination
    if (
        not isinstance(destination, ListsBeside)
        # A network is waited for on both sides at once, each listed ahead by a thread of its own: not these scans.
        or endpoints.source.capabilities.remote
        or destination.capabilities.remote
        or options.transfer_mode is TransferMode.ALL
        # What the filters leave out is not to be read.
        or (options.compare is Compare.CHECKSUM and selection.asks_files)
        or metadata.owner_map
        or metadata.group_map
        or task.filters.delete_excluded
        or task.filters.manifest is not None
        or task.guards.max_deletions_per_folder != Limit()
    ):
        return None
    comparison = comparison_of(task, endpoints)
    equal = EqualFiles(
        endpoints.attributes,
        comparison.mtime_tolerance_ns if comparison.compares_mtime else None,
        tally.settle,
        selection.includes if selection.asks_files else None,
        content=options.compare is Compare.CHECKSUM,
    )
    return destination.lists_beside(endpoints.source, equal)


def scope_of(task: Task, endpoints: Endpoints, selection: Selection) -> Scope:
    """Which of the source's entries take part."""
    options = task.options
    return Scope(
        includes=None if selection.is_trivial else selection.includes,
        # With delete_excluded, what is in a folder left out comes too.
        asks_files=selection.asks_files or task.filters.delete_excluded,
        hides_excluded=task.filters.delete_excluded and not selection.restricts_deletion,
        symlinks=options.symlinks,
        special_files=options.special_files,
        devices=options.devices,
        hard_links=options.hard_links and endpoints.preserves_hard_links,
    )


def content_equality(task: Task, endpoints: Endpoints, *, doubts: bool = False) -> ContentEqual | None:
    """Reads both sides of a pair, for compare: checksum or where there are doubts; None when content is not compared."""
    if task.options.compare is not Compare.CHECKSUM and not doubts:
        return None
    algorithm = task.options.digest
    throttle = NoThrottle()
    source_digest, destination_digest = digester(endpoints.source), digester(endpoints.destination)

    def equal(source: Entry, destination: Entry) -> bool:
        if (source.size_bytes or 0) >= SIDE_BY_SIDE_BYTES:
            from concurrent.futures import ThreadPoolExecutor

            # Each location is still one thread's at a time.
            with ThreadPoolExecutor(1) as other:
                present = other.submit(destination_digest, destination, algorithm, throttle)
                return source_digest(source, algorithm, throttle) == present.result()
        return source_digest(source, algorithm, throttle) == destination_digest(
            destination, algorithm, throttle
        )

    return equal


def planner_of(
    task: Task, endpoints: Endpoints, selection: Selection, writer: PlanWriter, tally: Tally
) -> Planner:
    """The task's planner; what it decides goes to `writer`."""
    return Planner(
        task.options,
        endpoints.destination.capabilities,
        writer,
        tally,
        _may_delete(task, selection),
        selection.includes if task.filters.delete_excluded else None,
    )


def _may_delete(task: Task, selection: Selection) -> Callable[[Entry], bool] | None:
    """Whether an extra is the task's to delete; None = every extra is."""
    if selection.is_trivial:
        return None
    if selection.asks_files or task.filters.delete_excluded:
        return lambda entry: selection.may_delete(entry).included
    # Rules about folders alone: what is in one that is left out is not listed (but with delete_excluded).
    return lambda entry: entry.kind is not Kind.DIRECTORY or selection.may_delete(entry).included
