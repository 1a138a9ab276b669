"""What a worker does: opens both locations once, then answers requests of named jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from runner.agents.admitted import AdmittedPerformer, seated, taking_turns
from runner.agents.gate import Seat
from runner.clock import Clock
from runner.locations.observer import NOBODY, Observer, spent
from runner.locations.pair import Endpoints
from runner.locations.protocol import Throttle
from runner.locations.registry import Registry
from runner.model.activity import Activity
from runner.model.task import Task
from runner.transfer.batch import perform_batch
from runner.transfer.perform import Performer, PerformSettings

Job = Callable[[bytes], bytes]
JOBS = {
    "transfer": Activity.BOOKKEEPING,
    "verify_actions": Activity.VERIFYING,
    "verify_pairs": Activity.VERIFYING,
    "plan_folder": Activity.PLANNING,
}
"""What a worker is at while it does one of them, unless something in it is told apart."""
ANY_TIME = 1 << 62
"""A tolerance that makes all modification times equal: for tasks that do not carry them."""


class WorkOrder(msgspec.Struct, frozen=True):
    """Everything a worker has to know, as it crosses the border. Secret values are in it: private channels only.

    `now_ns` is the instant from which filters count ages: the same for all workers. `threads` is how many requests
    a worker process answers at once at most, each with locations of its own. `remote`: operations wait for a network, and
    for a place. `cache_directory` is for drivers.
    """

    task: Task
    perform: PerformSettings
    now_ns: int
    threads: int = 1
    remote: bool = False
    cache_directory: str | None = None


class Jobs(contextlib.AbstractContextManager["Jobs"]):
    """Open locations and the jobs that use them. Close it to close them."""

    def __init__(
        self,
        order: WorkOrder,
        registry: Registry,
        clock: Clock,
        throttle: Throttle,
        stopping: Callable[[], bool],
        agent: str,
        seat: Seat | None = None,
        observer: Observer = NOBODY,
    ) -> None:
        """`seat`: where each operation has to wait for a place; None = nowhere. `observer` hears what takes time."""
        self._stack = contextlib.ExitStack()
        self._order = order
        self._registry = registry
        self._clock = clock
        self._throttle = throttle
        self._stopping = stopping
        self._agent = agent
        self._seat = seat
        self._observer = observer
        self._endpoints: Endpoints | None = None
        self._jobs: dict[str, Job] = {}

    def answer(self, job: str, request: bytes) -> bytes:
        """The answer to one request of a named job."""
        with spent(self._observer, JOBS.get(job, Activity.BOOKKEEPING)):
            if job not in self._jobs:
                self._jobs[job] = self._make(job)
            return self._jobs[job](request)

    def _make(self, job: str) -> Job:
        if job == "transfer":
            return self._transfer()
        if job in ("verify_actions", "verify_pairs"):
            return self._verify(job)
        if job == "plan_folder":
            return self._plan()
        raise ValueError(f"no job is called {job!r}")

    def _transfer(self) -> Job:
        from runner.inventory.owners import owner_mapping

        endpoints = self._opened()
        arguments = (
            endpoints.source,
            endpoints.destination,
            self._order.perform,
            self._throttle,
            self._clock,
            owner_mapping(self._order.task.options.metadata),
            self._agent,
        )
        seat = self._seat
        performer = Performer(*arguments) if seat is None else AdmittedPerformer(seat, *arguments)
        performer.observer = self._observer
        return lambda request: perform_batch(performer, self._stopping, request)

    def _verify(self, job: str) -> Job:
        from runner.inventory.owners import owner_mapping
        from runner.verify.batch import Verifier, VerifySettings

        perform = self._order.perform
        tolerance = perform.mtime_tolerance_ns if perform.sets_mtime else ANY_TIME
        options = self._order.task.options
        endpoints = self._opened()
        seat = self._seat
        stopping = self._stopping if seat is None else taking_turns(seat, self._stopping)
        verifier = Verifier(
            endpoints.source,
            endpoints.destination,
            VerifySettings(options.digest, tolerance, self._agent),
            self._throttle,
            stopping,
            owner_mapping(options.metadata),
        )
        verify = verifier.verify_actions if job == "verify_actions" else verifier.verify_pairs
        return verify if seat is None else seated(seat, verify)

    def _plan(self) -> Job:
        from runner.plan.folder import FolderPlanner

        return FolderPlanner(self._order.task, self._opened(), self._order.now_ns).plan

    def _opened(self) -> Endpoints:
        if self._endpoints is None:
            order = self._order
            self._endpoints = self._stack.enter_context(
                Endpoints(
                    order.task,
                    self._registry,
                    order.perform.execution_id,
                    order.cache_directory,
                    self._clock,
                    self._observer,
                )
            )
        return self._endpoints

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()
