"""Progress as events: the engine publishes, the command line (or a service) subscribes. Never a log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.model.entry import Phase


@dataclass(frozen=True, slots=True)
class PhaseStarted:
    task: str
    execution_id: str
    phase: Phase


@dataclass(frozen=True, slots=True)
class Listed:
    """While PREPARING: entries seen so far; totals are not known yet."""

    source_entries: int
    destination_entries: int


@dataclass(frozen=True, slots=True)
class Planned:
    """The end of PREPARING: how many changes a person would name will be made, and the bytes they write."""

    actions: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Progressed:
    """While TRANSFERRING or VERIFYING: sums since the phase started. Bytes within big files count."""

    phase: Phase
    actions_done: int
    actions_total: int
    bytes_done: int
    bytes_total: int
    failed: int
    current_path: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """Something a person should know while it happens; `level` is info or warning."""

    level: str
    text: str


@dataclass(frozen=True, slots=True)
class Ended:
    """The execution is over and its report is written."""

    task: str
    execution_id: str
    status: Phase


Event = PhaseStarted | Listed | Planned | Progressed | Message | Ended
Subscriber = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """The subscriber of those who do not listen."""
