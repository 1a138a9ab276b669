"""The workers of one execution: how many, where, and how they are told to stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.agents.budget import Budget
from runner.agents.jobs import WorkOrder
from runner.agents.limits import Bandwidth
from runner.agents.shared import SharedPage
from runner.errors import UsageError
from runner.execution.concurrency import Shape, demands, pool_shape
from runner.execution.context import Context
from runner.execution.planning import instant_ns
from runner.locations.pair import Endpoints
from runner.model.activity import Activity, Concurrency
from runner.model.task import Task
from runner.transfer.coordinate import BATCH_ACTIONS, BATCH_ACTIONS_IN_BULK
from runner.transfer.perform import PerformSettings
from runner.verify.whole import PAIRS_PER_BATCH

if TYPE_CHECKING:
    from runner.agents.inline import InlineWorkers
    from runner.agents.lanes import Lane
    from runner.agents.pool import WorkerPool
    from runner.agents.steering import Steering

INLINE_ACTIONS = 32
INLINE_BYTES = 8 << 20
"""Up to this much work is done in this process: starting a pool takes longer."""
REMOTE_INLINE_ACTIONS = 4
ALONE_ACTIONS = 2
"""So few (a file and its folder) are done in this process whatever their size: one worker of a pool would have work."""
EARLY_ENTRIES = 4_000
"""So many entries more at the source than at the destination, in two listings that go side by side, will be work."""
REMOTE_PAIRS = 8


class Crew:
    """The workers of one execution, the page they share, and the progress they make.

    Nothing is started before it is asked for. A pool that was started for planning does the rest too.
    """

    def __init__(
        self,
        task: Task,
        context: Context,
        endpoints: Endpoints,
        execution_id: str,
        refresh: bool,
        told: Callable[[], int | None] | None = None,
        now_ns: int | None = None,
    ) -> None:
        """`told`: a limit that takes the place of the task's own (None = none, 0 = unlimited). `now_ns`: the instant
        from which filters count ages (None = now). For the thread that opened `endpoints`."""
        options = task.options
        self._context = context
        self._in_process_only = endpoints.in_process_only
        self._remote = endpoints.remote
        self._copies_many = endpoints.copies_many
        self._observer = endpoints.observer
        self._shape: Shape = pool_shape(task, endpoints)
        self._demands = demands(task, endpoints, self._shape)
        self._page = SharedPage(slots=self._shape.slots)
        self._budget = _budget(context)
        self._bandwidth = Bandwidth(options, context.clock, told, self._budget)
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
            now_ns=instant_ns(context.clock) if now_ns is None else now_ns,
            threads=self._shape.threads,
            remote=endpoints.remote,
            cache_directory=context.state.cache_folder,
        )
        self._pool: WorkerPool | None = None
        self._inline: InlineWorkers | None = None
        self._steering: Steering | None = None
        self._spent: dict[Activity, float] | None = None
        self._concurrency: Concurrency | None = None
        self.on_progress: Callable[[], None] = lambda: None

    @property
    def now_ns(self) -> int:
        """The instant from which filters count ages, here and in every worker."""
        return self._order.now_ns

    def pool(self) -> WorkerPool:
        """Worker processes; for locations that others can open."""
        if self._pool is None:
            from runner.agents.pool import WorkerPool
            from runner.agents.steering import Steering

            clock = self._context.clock
            lanes = self._lanes()
            places = min(lane.share for lane in lanes)
            self._pool = WorkerPool(
                self._order,
                self._shape.processes if self._shape.threads > 1 else places,
                self._page,
                self._bandwidth,
                clock,
                self.tick,
                places=places,
                forks=not self._remote,
                observer=self._observer,
            )
            self._steering = Steering(lanes, self._page, self._pool.allow, clock, not self._shape.fixed)
        return self._pool

    def _lanes(self) -> list[Lane]:
        from runner.agents.lanes import Lane

        clock, state = self._context.clock, self._context.state
        try:
            state.prepare()
            return [Lane(demand, state.concurrency_file, clock) for demand in self._demands]
        except (OSError, UsageError):
            # A plan can be made where no state can be kept: then nobody is told, and nobody is seen.
            return [Lane(demand, None, clock) for demand in self._demands]

    def listening(self, on_listed: Callable[[int, int], None]) -> Callable[[int, int], None]:
        """`on_listed`, and workers that get ready while listings of a network go on, once there is much for them."""
        if not self._remote or self._in_process_only:
            return on_listed

        def hear(source: int, destination: int) -> None:
            on_listed(source, destination)
            if source - destination >= EARLY_ENTRIES:
                self.pool()

        return hear

    def inline(self) -> InlineWorkers:
        """This process."""
        if self._inline is None:
            from runner.agents.inline import InlineWorkers

            self._inline = InlineWorkers(
                self._order,
                self._context.registry,
                self._context.clock,
                self._page,
                self._bandwidth,
                self.tick,
                self._observer,
            )
        return self._inline

    def workers(self, actions: int | None = None, size_bytes: int = 0) -> WorkerPool | InlineWorkers:
        """Who does that much work; None = much."""
        at_most = REMOTE_INLINE_ACTIONS if self._remote else INLINE_ACTIONS
        at_most = at_most if size_bytes <= INLINE_BYTES else ALONE_ACTIONS
        few = actions is not None and actions <= at_most
        return self.inline() if self._in_process_only or (few and self._pool is None) else self.pool()

    def batch_actions(self, actions: int) -> int:
        """How many of that many actions to hand over at once."""
        if not self._remote:
            return BATCH_ACTIONS
        if self._copies_many:
            return BATCH_ACTIONS_IN_BULK
        # All workers are to be busy until the end: where each action waits long, that needs small batches.
        return max(1, min(BATCH_ACTIONS, actions // (4 * self._shape.expected)))

    @property
    def pairs_at_once(self) -> int:
        """How many files to hand over at once where their number is not known before."""
        return REMOTE_PAIRS if self._remote else PAIRS_PER_BATCH

    def tick(self) -> None:
        """Called several times a second while work goes on."""
        self._page.stop_level = self._context.cancellation.level
        if self._steering is not None:
            self._steering.look()
        self.on_progress()

    def stopping(self) -> bool:
        return self._context.cancellation.level > 0

    def bytes_moved(self) -> int:
        return self._page.bytes_moved(self._page.slots)

    def spent(self) -> dict[Activity, float]:
        """Seconds by activity, of all workers that are processes of their own."""
        if self._spent is None:
            return {activity: self._page.seconds(activity) for activity in Activity}
        return self._spent

    def concurrency(self) -> Concurrency | None:
        """How many worked at once; None where nobody was asked to."""
        return self._concurrency if self._steering is None else self._steering.told()

    def close(self) -> None:
        """All workers are gone afterwards; what they did can still be asked for."""
        try:
            for workers in (self._pool, self._inline):
                if workers is not None:
                    workers.close()
        finally:
            self._spent, self._concurrency = self.spent(), self.concurrency()
            self._page.close()
            # From here on the page cannot be asked any more.
            steering, self._steering = self._steering, None
            if steering is not None:
                steering.close()
            if self._budget is not None:
                self._budget.close()


def _budget(context: Context) -> Budget | None:
    """The bandwidth that this configuration's executions share; None when it declares none."""
    configuration = context.configuration
    if not configuration.bandwidth:
        return None
    context.state.prepare()
    return Budget(
        context.state.budget_file,
        configuration.bandwidth,
        configuration.bandwidth_timezone,
        context.clock,
    )
