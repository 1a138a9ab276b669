"""The workers of one execution: how many, where, and how they are told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable

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
    """The workers of one execution, the page they share, and the progress they make.

    Nothing is started before it is asked for. A pool that was started for planning does the rest too.
    """

    def __init__(
        self, task: Task, context: Context, endpoints: Endpoints, execution_id: str, refresh: bool
    ) -> None:
        options = task.options
        self._context = context
        self._in_process_only = endpoints.in_process_only
        self._size = _pool_size(task, endpoints)
        self._page = SharedPage()
        self._bandwidth = Bandwidth(options, context.clock)
        self._order = WorkOrder(
            task=task,
            perform=PerformSettings(
                execution_id,
                options.attempts,
                options.retry_delay_seconds,
                refresh,
                options.metadata.mtime,
                max(options.mtime_tolerance_ns, endpoints.mtime_tolerance_ns),
            ),
            now_ns=int(context.clock.now().timestamp() * 1e9),
        )
        self._pool: WorkerPool | None = None
        self._inline: InlineWorkers | None = None
        self.on_progress: Callable[[], None] = lambda: None

    @property
    def now_ns(self) -> int:
        """The instant from which filters count ages, here and in every worker."""
        return self._order.now_ns

    def pool(self) -> WorkerPool:
        """Worker processes; for locations that others can open."""
        if self._pool is None:
            self._pool = WorkerPool(
                self._order, self._size, self._page, self._bandwidth, self._context.clock, self.tick
            )
        return self._pool

    def inline(self) -> InlineWorkers:
        """This process."""
        if self._inline is None:
            self._inline = InlineWorkers(
                self._order,
                self._context.registry,
                self._context.clock,
                self._page,
                self._bandwidth,
                self.tick,
            )
        return self._inline

    def workers(self, actions: int | None = None, size_bytes: int = 0) -> WorkerPool | InlineWorkers:
        """Who does that much work; None = much."""
        few = actions is not None and actions <= INLINE_ACTIONS and size_bytes <= INLINE_BYTES
        return self.inline() if self._in_process_only or (few and self._pool is None) else self.pool()

    def tick(self) -> None:
        """Called several times a second while work goes on."""
        self._page.stop_level = self._context.cancellation.level
        self.on_progress()

    def stopping(self) -> bool:
        return self._context.cancellation.level > 0

    def bytes_moved(self) -> int:
        return self._page.bytes_moved(self._size)

    def close(self) -> None:
        """All workers are gone afterwards."""
        try:
            for workers in (self._pool, self._inline):
                if workers is not None:
                    workers.close()
        finally:
            self._page.close()


def _pool_size(task: Task, endpoints: Endpoints) -> int:
    allowed = min(
        endpoints.source.capabilities.max_concurrency, endpoints.destination.capabilities.max_concurrency
    )
    wanted = task.options.workers or max(2, len(os.sched_getaffinity(0)))
    return max(1, min(wanted, allowed, SharedPage.slots()))
