"""One writer per destination: the lock in the state folder, and the one on the destination where it can be held."""

from __future__ import annotations

import os
import socket
import sys

from runner.clock import iso_utc
from runner.errors import LockHeldError
from runner.execution.context import Context
from runner.history.lock import DestinationLock, LockOwner
from runner.history.process import process_key
from runner.locations.protocol import Driver, HoldsLock, Location
from runner.model.task import Task


def destination_lock(task: Task, context: Context, execution_id: str) -> DestinationLock:
    """The lock among executions that share a state folder; a context manager that raises LockHeldError."""
    context.state.prepare()
    driver = context.registry.driver(task.destination.type)
    owner = LockOwner(
        execution_id=execution_id,
        task=task.name,
        host=socket.gethostname(),
        pid=os.getpid(),
        started_at=iso_utc(context.clock.now()),
        command=" ".join(os.path.basename(part) for part in sys.argv[:2]),
        process_key=process_key(os.getpid()),
    )
    return DestinationLock(context.state.locks_folder, destination_key(task, driver), owner)


def destination_key(task: Task, driver: Driver) -> str:
    """Equal for tasks that write to the same place, as far as their settings tell."""
    return f"{task.destination.type} {driver.describe(task.destination)}"


def hold(destination: Location, name: str) -> None:
    """The lock on the destination itself, until it is closed. Raises LockHeldError."""
    if isinstance(destination, HoldsLock) and not destination.lock():
        raise LockHeldError(
            f"another program holds the destination {name!r}",
            remedy="Wait until it has ended. To see executions of this configuration: sync-runner status",
        )
