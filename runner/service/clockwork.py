"""APScheduler, in memory: one job for each task's next time, and one that wakes the service twice a minute.

A job only says that it is time to look: what is due is worked out by the dispatcher. So a job that fires twice, late
or not at all (suspended machines, clocks that jump) does no harm; the regular wake-up finds what it missed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from apscheduler.executors.debug import DebugExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger

WAKE_EVERY_SECONDS = 30
_WAKE = "wake"


class NextStart(BaseTrigger):  # type: ignore[misc]
    """Fires when a task's next slot is to start, as the dispatcher knows it."""

    def __init__(self, task: str, next_start: Callable[[str], datetime | None]) -> None:
        self._task = task
        self._next_start = next_start

    def get_next_fire_time(self, previous_fire_time: datetime | None, now: datetime) -> datetime | None:
        """The start that lies ahead. One that has just fired and is not decided yet does not fire again."""
        start = self._next_start(self._task)
        if start is not None and previous_fire_time is not None and start <= previous_fire_time:
            return None
        return start


class Clockwork:
    """`due` is called from APScheduler's thread whenever it is time to look."""

    def __init__(self, due: Callable[[], None], next_start: Callable[[str], datetime | None]) -> None:
        self._due = due
        self._next_start = next_start
        self._scheduler: Any = BackgroundScheduler(
            # The jobs only ring a bell: APScheduler's own thread does that.
            executors={"default": DebugExecutor()},
            jobstores={"default": MemoryJobStore()},
            job_defaults={"coalesce": True, "misfire_grace_time": None, "max_instances": 10},
            timezone=UTC,
        )

    def start(self) -> None:
        """Start the thread."""
        self._scheduler.add_job(
            self._due, "interval", seconds=WAKE_EVERY_SECONDS, id=_WAKE, replace_existing=True
        )
        self._scheduler.start()

    def arm(self, tasks: Iterable[str]) -> None:
        """These tasks' next times are new: they are taken over, those without one are forgotten."""
        for task in tasks:
            job = f"task:{task}"
            if self._next_start(task) is not None:
                trigger = NextStart(task, self._next_start)
                self._scheduler.add_job(self._due, trigger, id=job, replace_existing=True)
            elif self._scheduler.get_job(job) is not None:
                self._scheduler.remove_job(job)

    def wake(self) -> None:
        """The clock was set: look again at what comes next."""
        self._scheduler.wakeup()

    def stop(self) -> None:
        """End the thread."""
        self._scheduler.shutdown(wait=False)
