"""Progress as events: the engine publishes, the command line (or a service) subscribes. Never a log."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from runner.model.entry import Phase


class PhaseStarted(msgspec.Struct, frozen=True):
    task: str
    execution_id: str
    phase: Phase


class Listed(msgspec.Struct, frozen=True):
    """While PREPARING: entries seen so far; totals are not known yet."""

    source_entries: int
    destination_entries: int


class Planned(msgspec.Struct, frozen=True):
    """The end of PREPARING: how many changes a person would name will be made, and the bytes they write."""

    actions: int
    size_bytes: int


class Progressed(msgspec.Struct, frozen=True):
    """While TRANSFERRING or VERIFYING: sums since the phase started. Bytes within big files count."""

    phase: Phase
    actions_done: int
    actions_total: int
    bytes_done: int
    bytes_total: int
    failed: int
    current_path: str | None = None


class Message(msgspec.Struct, frozen=True):
    """Something a person should know while it happens; `level` is info or warning."""

    level: str
    text: str


class Ended(msgspec.Struct, frozen=True):
    """The execution is over and its report is written."""

    task: str
    execution_id: str
    status: Phase


Event = PhaseStarted | Listed | Planned | Progressed | Message | Ended
Subscriber = Callable[[Event], None]


def ignore_events(event: Event) -> None:
    """The subscriber of those who do not listen."""
