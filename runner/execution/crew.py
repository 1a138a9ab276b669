"""The workers of one execution: how many, where, and how they are told to stop."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator

from runner.agents.inline import InlineWorkers
from runner.agents.jobs import WorkOrder
from runner.agents.limits import Bandwidth
from runner.agents.pool import WorkerPool
from runner.agents.shared import SharedPage
from runner.execution.context import Context
from runner.locations.pair import Endpoints
from runner.model.task import Task
from runner.transfer.perform import PerformSettings

INLINE_ACTIONS = 32
INLINE_BYTES = 8 << 20
"""Up to this much work is done in this process: starting a pool takes longer."""


class Crew:
    """Workers, the page they share, and the progress they make."""

    def __init__(self, context: Context, page: SharedPage) -> None:
        self._context = context
        self._page = page
        self.workers: WorkerPool | InlineWorkers
        self.on_progress: Callable[[], None] = lambda: None

    def tick(self) -> None:
        """Called several times a second while work goes on."""
        self._page.stop_level = self._context.cancellation.level
        self.on_progress()

    def stopping(self) -> bool:
        return self._context.cancellation.level > 0

    def bytes_moved(self) -> int:
        return self._page.bytes_moved(self.workers.slots)


@contextlib.contextmanager
def crew(
    task: Task,
    context: Context,
    endpoints: Endpoints,
    *,
    execution_id: str,
    refresh: bool,
    actions: int | None = None,
    size_bytes: int = 0,
) -> Iterator[Crew]:
    """Workers for that many actions and bytes (None = many). They are gone when the block ends."""
    page = SharedPage()
    crewed = Crew(context, page)
    options = task.options
    bandwidth = Bandwidth(options, context.clock)
    order = WorkOrder(
        source=task.source,
        destination=task.destination,
        source_open=endpoints.source_open,
        destination_open=endpoints.destination_open,
        perform=PerformSettings(
            execution_id,
            options.attempts,
            options.retry_delay_seconds,
            refresh,
            options.metadata.mtime,
            max(options.mtime_tolerance_ns, endpoints.mtime_tolerance_ns),
        ),
        metadata=options.metadata,
    )
    few = actions is not None and actions <= INLINE_ACTIONS and size_bytes <= INLINE_BYTES
    try:
        if endpoints.in_process_only or few:
            crewed.workers = InlineWorkers(
                order, context.registry, context.clock, page, bandwidth, crewed.tick
            )
        else:
            size = _pool_size(task, endpoints)
            crewed.workers = WorkerPool(order, size, page, bandwidth, context.clock, crewed.tick)
        try:
            yield crewed
        finally:
            crewed.workers.close()
    finally:
        page.close()


def _pool_size(task: Task, endpoints: Endpoints) -> int:
    allowed = min(
        endpoints.source.capabilities.max_concurrency, endpoints.destination.capabilities.max_concurrency
    )
    wanted = task.options.workers or max(2, len(os.sched_getaffinity(0)))
    return max(1, min(wanted, allowed, SharedPage.slots()))
