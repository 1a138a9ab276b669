"""The workers of a plan that may need none: nothing of them is made, or even imported, before they are asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.clock import Clock
from runner.execution.context import Context
from runner.locations.pair import Endpoints
from runner.model.task import Task

if TYPE_CHECKING:
    from runner.agents.pool import WorkerPool
    from runner.execution.crew import Crew

NO_EXECUTION = "000000000000"


class PlanningCrew:
    """What planning asks of a Crew, for a plan that is not carried out here."""

    def __init__(self, task: Task, context: Context, endpoints: Endpoints) -> None:
        self.now_ns = instant_ns(context.clock)
        """The instant from which filters count ages, here and in every worker."""
        self._task = task
        self._context = context
        self._endpoints = endpoints
        self._crew: Crew | None = None

    def pool(self) -> WorkerPool:
        """Worker processes; for locations that others can open."""
        if self._crew is None:
            from runner.execution.crew import Crew

            self._crew = Crew(
                self._task, self._context, self._endpoints, NO_EXECUTION, refresh=False, now_ns=self.now_ns
            )
        return self._crew.pool()

    def close(self) -> None:
        """All workers are gone afterwards."""
        if self._crew is not None:
            self._crew.close()


def instant_ns(clock: Clock) -> int:
    """Now, in nanoseconds since the epoch."""
    return int(clock.now().timestamp() * 1e9)
