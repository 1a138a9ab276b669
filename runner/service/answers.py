"""What the service answers when it is asked how things stand."""

from __future__ import annotations

from datetime import datetime

import msgspec

ELSEWHERE = "elsewhere"
"""The code of a refusal: the service works with another configuration."""


class RunningExecution(msgspec.Struct, frozen=True):
    """An execution that runs. Figures are those of its present phase, None before there are any."""

    task: str
    execution_id: str | None
    trigger: str
    started_at: datetime
    phase: str | None = None
    actions_done: int | None = None
    actions_total: int | None = None
    bytes_done: int | None = None
    bytes_total: int | None = None
    failed: int | None = None


class WaitingExecution(msgspec.Struct, frozen=True):
    """An execution that waits, in the queue's order, and for what."""

    task: str
    trigger: str
    since: datetime
    reason: str
    slot: datetime | None = None


class NextStart(msgspec.Struct, frozen=True):
    """When a task starts by itself next, jitter included."""

    task: str
    at: datetime


class ServiceStatus(msgspec.Struct, frozen=True):
    """The service as a whole. `configuration_error`: why the changed file is not in force; None when it is."""

    pid: int
    started_at: datetime
    configuration_file: str
    configuration_loaded_at: datetime
    configuration_error: str | None
    draining: bool
    history_trouble: str | None
    running: tuple[RunningExecution, ...]
    waiting: tuple[WaitingExecution, ...]
    next_starts: tuple[NextStart, ...]


class Accepted(msgspec.Struct, frozen=True):
    """The answer to `run`: it waits or runs under this number."""

    accepted: int
    waits_for: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """The answer to what cannot be done, with the reason; `code` as of an error."""

    error: str
    code: str = "usage"


class Done(msgspec.Struct, frozen=True):
    """The answer to what was done; `count` of what, where that matters."""

    done: str
    count: int = 0
