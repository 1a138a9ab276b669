"""Batches in this very process: for little work, and for locations that live in this process's memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from runner.agents.jobs import Jobs, WorkOrder
from runner.agents.limits import Bandwidth
from runner.agents.shared import SharedPage, check_not_stopped
from runner.clock import Clock
from runner.locations.observer import NOBODY, Observer, spent
from runner.locations.registry import Registry
from runner.model.activity import Activity
from runner.transfer.bandwidth import remaining_wait


class InlineThrottle:
    """Waits by the clock until the bytes may pass."""

    def __init__(
        self,
        page: SharedPage,
        bandwidth: Bandwidth,
        clock: Clock,
        on_bytes: Callable[[], None],
        observer: Observer = NOBODY,
    ) -> None:
        self._page = page
        self._bandwidth = bandwidth
        self._clock = clock
        self._on_bytes = on_bytes
        self._observer = observer

    def take(self, size_bytes: int) -> None:
        # Nobody else looks whether the user wants to stop while a big file is on its way.
        self._on_bytes()
        check_not_stopped(self._page)
        remaining = self._bandwidth.take(size_bytes)
        rate = self._bandwidth.rate
        while remaining > 0:
            # Short naps, so that a stop and a changed limit are seen.
            with spent(self._observer, Activity.BANDWIDTH):
                self._clock.sleep(min(remaining, 0.2))
            before, rate = rate, self._bandwidth.rate
            remaining = remaining_wait(remaining - 0.2, before, rate)
            self._on_bytes()
            check_not_stopped(self._page)
        self._page.add_bytes(0, size_bytes)


class InlineWorkers:
    """Runs each request when its answer is asked for."""

    def __init__(
        self,
        order: WorkOrder,
        registry: Registry,
        clock: Clock,
        page: SharedPage,
        bandwidth: Bandwidth,
        on_tick: Callable[[], None],
        observer: Observer = NOBODY,
    ) -> None:
        """`observer`: of this very thread."""
        throttle = InlineThrottle(page, bandwidth, clock, on_tick, observer)
        self._jobs = Jobs(
            order, registry, clock, throttle, lambda: page.stop_level > 0, "inline", observer=observer
        )
        self.slots = 1

    def run(self, job: str, requests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        for number, request in enumerate(requests):
            yield number, self._jobs.answer(job, request)

    def close(self) -> None:
        self._jobs.__exit__()
