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
from runner.model.entry import Entry
from runner.model.task import DeletedFiles, Limit, Task
from runner.model.wire import encode_line
from runner.plan.build import Planner
from runner.plan.file import PlanWriter
from runner.plan.folder import FolderName, split_folder_plan
from runner.plan.parts import comparison_of, content_equality, planner_of, scope_of, side_by_side

DIVIDE_AFTER_ENTRIES = 5_000
"""Trees up to here are planned sooner than workers start. The walk goes on until they are there."""
WORTHWHILE_ENTRIES = 30
"""Folders smaller than this, on average, cost more to hand over than to plan."""
JUDGED_FOLDERS = 40


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
        self._places: list[int] = []
        self._answered = self._answered_entries = 0
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
        for difference in self._merge.differences():
            if difference.path in paths:
                self._places.append(planner.graft(difference.path, difference.destination is None))
                yield encode_line(FolderName(difference.path))
                continue
            planner.feed(difference)
            heard += 1
            if heard % 2_000 == 0:
                self._on_listed(*self._listed())

    def _takes(self, folder: Entry) -> bool:
        if sum(self._listed()) < DIVIDE_AFTER_ENTRIES or folder.path == "":
            return False
        if self._answered >= JUDGED_FOLDERS and self._answered_entries < WORTHWHILE_ENTRIES * self._answered:
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
        self._writer.fill(self._places[number], stages, plan.counts)
        self._planner.sums.include(plan.planner)
        self._tally.include(plan.tally)
        self._answered += 1
        self._answered_entries += plan.tally.listed_files + plan.tally.listed_folders
        self._on_listed(*self._listed())

    def _listed(self) -> tuple[int, int]:
        tally = self._tally
        return (
            tally.listed_files + tally.listed_folders,
            tally.destination_files + tally.destination_folders,
        )
