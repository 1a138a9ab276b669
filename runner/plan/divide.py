"""A big plan made side by side: this process walks the top of the trees, workers plan whole folders below.

The plan is the same, byte for byte, as one walk makes: every folder's actions are put where the walk would have put
them. What concerns more than one folder (hard links, a folder in the place of a file, whatever could not be listed)
cannot be decided so; then NotPlainError is raised, and one walk has to do it all.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from runner.diff.merge import Delegated, Merge, NotPlainError
from runner.diff.tally import Tally
from runner.filters.selection import Selection
from runner.inventory.listing import inventory
from runner.inventory.owners import mapped_owners
from runner.locations.pair import Endpoints
from runner.model.entry import Entry, parent_path
from runner.model.task import DeletedFiles, Limit, Task
from runner.model.wire import encode_line
from runner.plan.build import Planner
from runner.plan.file import PlanWriter
from runner.plan.folder import FolderNames, split_folder_plan
from runner.plan.parts import comparison_of, content_equality, planner_of, scope_of, side_by_side

DIVIDE_AFTER_ENTRIES = 5_000
"""Trees up to here are planned sooner than workers start. The walk goes on until they are there."""
ENTRIES_AT_ONCE = 1_000
"""Entries of both sides that make handing over worth it: small neighbours go together until they are as many."""
FOLDERS_AT_ONCE = 200


class Workers(Protocol):
    """Where folders are planned; answers come as they are ready, each with its request's number."""

    def ready(self) -> bool: ...

    def run(self, job: str, requests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]: ...


def can_be_divided(task: Task, endpoints: Endpoints, selection: Selection) -> bool:
    """False where folders are known to depend on one another, or on what only one process sees."""
    return (
        not endpoints.in_process_only
        and not endpoints.remote
        and endpoints.destination.capabilities.case_sensitive
        and not selection.restricts_deletion
        and not task.filters.delete_excluded
        and task.filters.manifest is None
        and task.options.preserve_deleted_files is not DeletedFiles.QUARANTINE
        and task.guards.max_deletions_per_folder == Limit()
        and endpoints.source.capabilities.sorted_scan
        and endpoints.destination.capabilities.sorted_scan
    )


def divided(
    task: Task,
    endpoints: Endpoints,
    selection: Selection,
    on_listed: Callable[[int, int], None],
    writer: PlanWriter,
    tally: Tally,
    workers: Callable[[], Workers],
) -> Planner:
    """Plan everything; the planner is finished, `tally` and `writer` are complete.

    Raises NotPlainError; then `writer` and `tally` are of no use. Memory: as one walk, and the answers on their way.
    """
    return _Division(task, endpoints, selection, on_listed, writer, tally, workers).run()


class _Sent:
    """A request: where its answer goes in the plan, and what kind of folders it is about."""

    __slots__ = ("depth", "folders", "must_go", "place")

    def __init__(self, place: int, depth: int, must_go: bool) -> None:
        """`must_go`: the folder around them is to be removed, which it cannot be when anything in it stays."""
        self.place = place
        self.depth = depth
        self.must_go = must_go
        self.folders = 0


class _Division:
    def __init__(
        self,
        task: Task,
        endpoints: Endpoints,
        selection: Selection,
        on_listed: Callable[[int, int], None],
        writer: PlanWriter,
        tally: Tally,
        workers: Callable[[], Workers],
    ) -> None:
        self._start = workers
        self._workers: Workers | None = None
        self._selection = selection
        self._on_listed = on_listed
        self._writer = writer
        self._tally = tally
        self._delegated = Delegated(self._takes)
        self._sent: list[_Sent] = []
        self._gathered: list[str] = []
        # By depth: folders that were answered, and entries in them.
        self._told: dict[int, tuple[int, int]] = {}
        self._planner = planner_of(task, endpoints, selection, writer, tally)
        scans = side_by_side(task, endpoints, selection, tally)
        source = inventory(endpoints.source, self._descend, scan=scans and scans[0])
        self._merge = Merge(
            mapped_owners(source, task.options.metadata),
            inventory(endpoints.destination, self._descend, scan=scans and scans[1]),
            comparison_of(task, endpoints),
            scope_of(task, endpoints, selection),
            tally,
            content_equality(task, endpoints),
            delegated=self._delegated,
        )

    def run(self) -> Planner:
        requests = self._requests()
        first = next(requests, None)
        if first is not None:
            assert self._workers is not None
            for number, answer in self._workers.run("plan_folder", itertools.chain((first,), requests)):
                self._place(number, answer)
        self._planner.finish()
        self._on_listed(*self._listed())
        return self._planner

    def _requests(self) -> Iterator[bytes]:
        planner, paths = self._planner, self._delegated.paths
        heard = 0
        passed: str | None = None
        for difference in self._merge.differences():
            if passed is not None:
                # Both walks are behind it.
                paths.discard(passed)
                passed = None
            path = difference.path
            if path not in paths:
                if self._gathered:
                    yield self._handed_over()
                planner.feed(difference)
                heard += 1
                if heard % 2_000 == 0:
                    self._on_listed(*self._listed())
                continue
            passed = path
            if self._gathered and parent_path(self._gathered[0]) != parent_path(path):
                yield self._handed_over()
            planner.pass_by(difference)
            if not self._gathered:
                self._sent.append(_Sent(self._writer.reserve(), path.count("/"), planner.removes_around))
            self._gathered.append(path)
            if len(self._gathered) >= self._at_once(self._sent[-1].depth):
                yield self._handed_over()
        if self._gathered:
            yield self._handed_over()

    def _handed_over(self) -> bytes:
        """The request for the folders that were gathered. What comes next in the plan must not be decided before."""
        request = encode_line(FolderNames(tuple(self._gathered)))
        self._sent[-1].folders = len(self._gathered)
        self._gathered.clear()
        return request

    def _at_once(self, depth: int) -> int:
        """How many folders of that depth to hand over together, as far as is known."""
        folders, entries = self._told.get(depth, (1, ENTRIES_AT_ONCE))
        return max(1, min(FOLDERS_AT_ONCE, ENTRIES_AT_ONCE * folders // max(1, entries)))

    def _takes(self, folder: Entry) -> bool:
        if sum(self._listed()) < DIVIDE_AFTER_ENTRIES or folder.path == "":
            return False
        if self._workers is None:
            self._workers = self._start()
        return self._workers.ready() and self._selection.includes(folder)

    def _descend(self, folder: Entry) -> bool:
        return folder.path not in self._delegated.paths and self._selection.descend(folder)

    def _place(self, number: int, answer: bytes) -> None:
        if not answer:
            raise NotPlainError
        plan, stages = split_folder_plan(answer)
        if not plan.plain:
            raise NotPlainError
        assert plan.planner is not None and plan.tally is not None
        sent = self._sent[number]
        if sent.must_go and plan.tally.kept_files + plan.tally.kept_folders:
            raise NotPlainError
        self._writer.fill(sent.place, stages, plan.counts)
        self._planner.sums.include(plan.planner)
        tally = plan.tally
        self._tally.include(tally)
        folders, entries = self._told.get(sent.depth, (0, 0))
        entries += (
            tally.listed_files + tally.listed_folders + tally.destination_files + tally.destination_folders
        )
        self._told[sent.depth] = folders + sent.folders, entries
        self._on_listed(*self._listed())

    def _listed(self) -> tuple[int, int]:
        tally = self._tally
        return (
            tally.listed_files + tally.listed_folders,
            tally.destination_files + tally.destination_folders,
        )
