"""What every call of the pipeline is given, and how it is told to stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import BinaryIO

import msgspec

from runner.clock import Clock
from runner.errors import InterruptedByUserError
from runner.history.state import StateDirectory
from runner.locations.registry import Registry
from runner.model.events import Subscriber, ignore_events
from runner.model.task import Configuration


class Cancellation:
    """A request to stop, in two steps. Safe to call from a signal handler or another thread."""

    def __init__(self) -> None:
        self.level = 0
        self.reason = ""

    def request(self) -> int:
        """First call: finish the files in flight. Second: stop now, undo what is in flight. Returns the level."""
        self.level = min(2, self.level + 1)
        return self.level

    def stop(self, level: int, reason: str) -> None:
        """Raise the level to this one, never lower it; the first reason that is given is kept."""
        self.reason = self.reason or reason
        self.level = max(self.level, min(2, level))

    def check(self) -> None:
        """Raises InterruptedByUserError when asked to stop: for phases that have nothing in flight."""
        if self.level:
            raise InterruptedByUserError("interrupted before anything was written")


class Context(msgspec.Struct, frozen=True):
    """What every call needs besides its task. `accept` are names of guards that the user accepts this once.

    `standard_input` is read for a manifest named `-`. `slot` is the scheduled time (RFC 3339 UTC) that is being met.
    `environment` is the process's own: a little of it goes on to hooks, and pings find their proxy there.
    """

    configuration: Configuration
    registry: Registry
    clock: Clock
    subscriber: Subscriber = ignore_events
    accept: frozenset[str] = frozenset()
    cancellation: Cancellation = msgspec.field(default_factory=Cancellation)
    standard_input: BinaryIO | None = None
    slot: str | None = None
    environment: Mapping[str, str] = msgspec.field(default_factory=dict)

    @property
    def state(self) -> StateDirectory:
        return StateDirectory(self.configuration.state_directory)
