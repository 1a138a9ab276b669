"""Tasks and dispatchers for the service's tests, without files or processes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from runner.history.standing import Rest
from runner.model.automation import Automation, ScheduleSettings
from runner.model.task import FilterSettings, Guards, LocationSettings, Task, TaskOptions
from runner.service.dispatcher import Dispatcher
from runner.service.ledger import Ledger
from runner.service.queue import Demands, Waiting

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    """`2026-01-01 02:00` as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def task(
    name: str,
    schedule: ScheduleSettings | None = None,
    *,
    destination: str | None = None,
    automation: Automation | None = None,
    source_limit: int | None = None,
) -> Task:
    source = LocationSettings("source", "local", {}, "/", source_limit)
    target = LocationSettings(destination or f"to-{name}", "local", {}, "/")
    return Task(
        name,
        source,
        target,
        TaskOptions(),
        FilterSettings(),
        Guards(),
        schedule,
        (),
        "",
        "",
        automation=automation or Automation(),
    )


def cron(expression: str, **settings: object) -> ScheduleSettings:
    return msgspec.structs.replace(ScheduleSettings(cron=expression), **settings)


def demands_of(one: Task) -> Demands:
    return Demands(
        destination=one.destination.name,
        locations=tuple((side.name, side.max_executions) for side in (one.source, one.destination)),
        priority=one.automation.priority,
        queueing=one.automation.queueing,
    )


class Desk:
    """A dispatcher with its ledger; what it starts is written down in `started`."""

    def __init__(self, folder: Path, *tasks: Task, now: datetime = START, executions: int = 4) -> None:
        self.path = folder / "ledger.sqlite"
        self.rests: dict[str, Rest] = {}
        self.started: list[Waiting] = []
        self.ledger = Ledger(str(self.path), durable=False)
        self.dispatcher = self._new()
        self.configure(*tasks, now=now, executions=executions)

    def configure(self, *tasks: Task, now: datetime, executions: int = 4) -> None:
        self.dispatcher.configure({one.name: one for one in tasks}, executions, now)

    def restart(self) -> None:
        """The service was killed: all that is left is the ledger, as far as it was flushed."""
        self.ledger.flush()
        self.ledger.close()
        self.ledger = Ledger(str(self.path), durable=False)
        self.dispatcher = self._new()

    def advance(self, now: datetime) -> list[str]:
        """The tasks that start now."""
        before = len(self.started)
        self.dispatcher.advance(now)
        return [one.task for one in self.started[before:]]

    def end(self, name: str, now: datetime, *, success: bool = True) -> list[str]:
        """The task's execution is over; the tasks that start because of it."""
        before = len(self.started)
        number = next(key for key, one in self.dispatcher.running.items() if one.waiting.task == name)
        self.dispatcher.started(number, f"{number:012x}", now)
        self.dispatcher.ended(number, now, success=success)
        return [one.task for one in self.started[before:]]

    def outcomes(self, name: str) -> list[tuple[str, str, str]]:
        """(slot, outcome, reason) of a task, oldest first."""
        self.ledger.flush()
        found = [one for one in self.ledger.unpublished(10**6) if one.task == name]
        return [
            (f"{one.slot:%Y-%m-%d %H:%M}", one.outcome.value, one.reason)
            for one in sorted(found, key=lambda one: one.slot)
        ]

    def _new(self) -> Dispatcher:
        begin: Callable[[Waiting], None] = self.started.append
        return Dispatcher(self.ledger, begin, self.rests.get, demands_of)


HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
