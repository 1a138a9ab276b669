"""What a worker does: opens both locations once, then answers requests of named jobs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import msgspec

from runner.clock import Clock
from runner.locations.protocol import Location, OpenSettings, Throttle
from runner.locations.registry import Registry
from runner.model.task import LocationSettings, MetadataOptions
from runner.transfer.batch import perform_batch
from runner.transfer.perform import Performer, PerformSettings

Job = Callable[[bytes], bytes]
ANY_TIME = 1 << 62
"""A tolerance that makes all modification times equal: for tasks that do not carry them."""


class WorkOrder(msgspec.Struct, frozen=True):
    """Everything a worker has to know, as it crosses the border. Secret values are in it: private channels only."""

    source: LocationSettings
    destination: LocationSettings
    source_open: OpenSettings
    destination_open: OpenSettings
    perform: PerformSettings
    metadata: MetadataOptions


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
    ) -> None:
        self._stack = contextlib.ExitStack()
        self._order = order
        self._registry = registry
        self._clock = clock
        self._throttle = throttle
        self._stopping = stopping
        self._agent = agent
        self._opened: dict[str, Location] = {}
        self._jobs: dict[str, Job] = {}

    def answer(self, job: str, request: bytes) -> bytes:
        """The answer to one request of a named job."""
        if job not in self._jobs:
            self._jobs[job] = self._make(job)
        return self._jobs[job](request)

    def _make(self, job: str) -> Job:
        if job == "transfer":
            return self._transfer()
        if job in ("verify_actions", "verify_pairs"):
            return self._verify(job)
        raise ValueError(f"no job is called {job!r}")

    def _transfer(self) -> Job:
        from runner.inventory.owners import owner_mapping

        performer = Performer(
            self._location("source"),
            self._location("destination"),
            self._order.perform,
            self._throttle,
            self._clock,
            owner_mapping(self._order.metadata),
            self._agent,
        )
        return lambda request: perform_batch(performer, self._stopping, request)

    def _verify(self, job: str) -> Job:
        from runner.inventory.owners import owner_mapping
        from runner.verify.batch import Verifier, VerifySettings

        perform = self._order.perform
        tolerance = perform.mtime_tolerance_ns if perform.sets_mtime else ANY_TIME

        verifier = Verifier(
            self._location("source"),
            self._location("destination"),
            VerifySettings(self._order.destination_open.digest, tolerance, self._agent),
            self._throttle,
            self._stopping,
            owner_mapping(self._order.metadata),
        )
        return verifier.verify_actions if job == "verify_actions" else verifier.verify_pairs

    def _location(self, side: str) -> Location:
        if side not in self._opened:
            settings: LocationSettings = getattr(self._order, side)
            open_settings: OpenSettings = getattr(self._order, f"{side}_open")
            driver = self._registry.driver(settings.type)
            location = driver.open(settings, open_settings, create=side == "destination")
            self._stack.callback(location.close)
            self._opened[side] = location
        return self._opened[side]

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()
