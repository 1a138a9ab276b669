"""Who may start: the queue's order and every limit, pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime

import msgspec

from runner.model.execution import Trigger

QUEUED_AT_MOST = 50
"""Of one task, as DataSync has it."""


class Demands(msgspec.Struct, frozen=True):
    """What an execution of a task takes up. `destination` is equal for equal places to write to.

    `locations`: names of both, with how many executions may use each at once.
    """

    destination: str
    locations: tuple[tuple[str, int | None], ...]
    priority: int = 0
    queueing: bool = True


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An execution that was asked for and has not started. `number` rises with every request.

    `slots` are the scheduled times that it is for: none when somebody asked, several when it makes up for some.
    `request` tells who asked through the socket, so that the answer finds its way.
    """

    number: int
    task: str
    trigger: Trigger
    since: datetime
    slots: tuple[datetime, ...] = ()
    accept: tuple[str, ...] = ()
    request: str | None = None
    after: str | None = None


class Blocked(msgspec.Struct, frozen=True):
    """Why an execution cannot start now, in words, and whether it is only its own turn that is missing."""

    reason: str


def startable(
    waiting: Sequence[Waiting],
    running: Iterable[tuple[str, Demands]],
    demands: Callable[[str], Demands],
    executions: int,
    held_back: Callable[[Waiting], str | None],
) -> tuple[list[Waiting], dict[int, Blocked]]:
    """(those that start now, in that order; why each of the others waits, by number).

    `running` are tasks with what each took up when it started. Higher priority first, then first come, first served;
    one that has to wait for a location does not hold up those behind it that need none of it. `held_back` says why one
    must not start whatever is free (a quiet window), or None.
    """
    used: Counter[str] = Counter()
    destinations: dict[str, str] = {}
    tasks = set()
    count = 0
    for task, needs in running:
        count += 1
        tasks.add(task)
        destinations[needs.destination] = task
        used.update(name for name, _ in needs.locations)
    starting: list[Waiting] = []
    blocked: dict[int, Blocked] = {}
    for one in sorted(waiting, key=lambda each: (-demands(each.task).priority, each.number)):
        if count >= executions:
            # Most of a long queue waits for this: nothing else need be looked at.
            blocked[one.number] = Blocked(f"{count} executions are running, at most {executions} may at once")
            continue
        needs = demands(one.task)
        reason = held_back(one) or _obstacle(one, needs, tasks, destinations, used)
        if reason is not None:
            blocked[one.number] = Blocked(reason)
            continue
        starting.append(one)
        count += 1
        tasks.add(one.task)
        destinations[needs.destination] = one.task
        used.update(name for name, _ in needs.locations)
    return starting, blocked


def _obstacle(
    one: Waiting,
    needs: Demands,
    tasks: set[str],
    destinations: dict[str, str],
    used: Counter[str],
) -> str | None:
    if one.task in tasks:
        return "an execution of this task is running"
    if needs.destination in destinations:
        return f"task {destinations[needs.destination]} writes to the same destination"
    for name, at_most in needs.locations:
        if at_most is not None and used[name] >= at_most:
            return f"location {name} is in use by {used[name]} of at most {at_most} executions"
    return None
