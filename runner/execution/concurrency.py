"""How much an execution does at once: where it begins, what bounds it, and what it shares with others."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from runner.agents.concurrency import Bounds, Demand
from runner.agents.shared import MOST_SLOTS
from runner.locations.pair import Endpoints
from runner.locations.protocol import Driver, Location
from runner.model.task import LocationSettings, Task

LOCAL_PROCESSES = 8
"""Worker processes to begin with at most, where nothing waits for a network."""
REMOTE_CONCURRENCY = 32
"""Requests at once to begin with at most, where each waits for a network."""
BULK_CONCURRENCY = 2
"""Batches at once for a driver that copies many files in one go, and has a concurrency of its own."""
PROCESSORS = "processors"


class Shape(msgspec.Struct, frozen=True):
    """A pool: that many processes to begin with (all there will be where they have threads), and threads in each.

    `start` and `most`: places (threads of all processes that may work at once) in the beginning, and at most. `fixed`:
    they do not change.
    """

    processes: int
    threads: int
    start: int
    most: int
    fixed: bool = False

    @property
    def slots(self) -> int:
        """Records of shared memory that its workers need."""
        return max(self.most, self.processes * self.threads)

    @property
    def expected(self) -> int:
        """Places that all shall have work until the end."""
        return max(self.start, self.most // 2)


def pool_shape(task: Task, endpoints: Endpoints) -> Shape:
    """What fits the machine, the drivers and the settings; `workers` fixes it."""
    wanted = task.options.workers
    processors = len(os.sched_getaffinity(0))
    bound = min(_bounds(task, endpoints), default=MOST_SLOTS)
    if not endpoints.remote:
        most = max(1, min(wanted or processors, bound, MOST_SLOTS))
        start = most if wanted else min(most, LOCAL_PROCESSES)
        return Shape(start, 1, start, most, wanted is not None)
    if endpoints.copies_many:
        # One process: both locations have to be the same program's.
        places = max(1, min(wanted or BULK_CONCURRENCY, BULK_CONCURRENCY, bound))
        return Shape(1, places, places, places, fixed=True)
    most = max(1, min(wanted or bound, bound, MOST_SLOTS))
    start = most if wanted else min(most, REMOTE_CONCURRENCY)
    processes = max(1, min(processors, (start + 3) // 4))
    threads = min(-(-most // processes), MOST_SLOTS // processes)
    return Shape(processes, threads, start, most, wanted is not None)


def demands(task: Task, endpoints: Endpoints, shape: Shape) -> list[Demand]:
    """What is shared with other executions: each location that waits for a network or has a bound of its own, and where
    none is waited for, the processors."""
    found = []
    for settings, driver, location in _sides(task, endpoints):
        bound = _bound(settings, location)
        if bound is not None:
            most = bound if shape.fixed else min(bound, shape.most)
            bounds = Bounds(min(shape.start, most), most, doubts_most=location.capabilities.remote)
            found.append(Demand(f"{settings.type} {driver.describe(settings)}", bounds, shape.fixed))
    if not endpoints.remote:
        # Who is told a number takes that many; the others see it.
        most = MOST_SLOTS if shape.fixed else shape.most
        found.append(Demand(PROCESSORS, Bounds(shape.start, most, doubts_most=False), shape.fixed))
    return found


def _bounds(task: Task, endpoints: Endpoints) -> Iterator[int]:
    for settings, _, location in _sides(task, endpoints):
        bound = _bound(settings, location)
        if bound is not None:
            yield bound


def _sides(task: Task, endpoints: Endpoints) -> Iterator[tuple[LocationSettings, Driver, Location]]:
    yield task.source, endpoints.source_driver, endpoints.source
    yield task.destination, endpoints.destination_driver, endpoints.destination


def _bound(settings: LocationSettings, location: Location) -> int | None:
    """How much the location takes at once; None = never what is waited for: a disk with nothing said about it."""
    capabilities = location.capabilities
    if settings.max_concurrency is not None:
        return min(settings.max_concurrency, capabilities.max_concurrency)
    return capabilities.max_concurrency if capabilities.remote else None
