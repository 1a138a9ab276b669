"""A plan's frame: the header that says what it was made for, the trailer that sums it up, and its summary."""

from __future__ import annotations

from typing import Any

import msgspec

from runner.model.action import Action
from runner.model.entry import Problem
from runner.model.execution import Counters, Counts, EndpointSummary, GuardVerdict

PLAN_VERSION = 1


class PlanHeader(msgspec.Struct, frozen=True, kw_only=True):
    """First line of a plan file. Holds no time and no random value: the same state gives the same bytes."""

    type: str = "sync-runner plan"
    version: int = PLAN_VERSION
    task: str
    config_digest: str
    filter_digest: str
    source: EndpointSummary
    destination: EndpointSummary
    options: dict[str, Any]


class ActionTotals(msgspec.Struct, frozen=True):
    """What a plan would do, housekeeping apart. Bytes of replaced and deleted are the destination's."""

    folders_to_create: int = 0
    to_copy: int = 0
    to_replace: int = 0
    to_link: int = 0
    to_change_metadata: int = 0
    to_delete: int = 0
    to_quarantine: int = 0
    folders_to_restore_times: int = 0
    bytes_to_copy: int = 0
    bytes_to_replace: int = 0
    bytes_replaced: int = 0
    bytes_to_delete: int = 0
    deletions_withheld: int = 0
    extras_kept: int = 0

    @property
    def changes(self) -> int:
        """Actions that change something a person would name."""
        return (
            self.folders_to_create
            + self.to_copy
            + self.to_replace
            + self.to_link
            + self.to_change_metadata
            + self.to_delete
            + self.to_quarantine
        )

    @property
    def bytes_to_write(self) -> int:
        return self.bytes_to_copy + self.bytes_to_replace


class PlanTrailer(msgspec.Struct, frozen=True, kw_only=True):
    """Last line of a plan file. `digest` is the SHA-256 of all bytes before it; the trailer ends the file."""

    actions: int
    stages: tuple[int, ...]
    totals: ActionTotals
    counters: Counters
    complete: bool
    problems: tuple[Problem, ...]
    problems_total: int
    guards: tuple[GuardVerdict, ...]
    losses: tuple[str, ...]
    destination_entries: Counts
    destination_bytes: int
    digest: str = ""


class PlanSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What `plan` and `check` show: header and trailer, the largest actions and a sample of each kind."""

    header: PlanHeader
    trailer: PlanTrailer
    largest: tuple[Action, ...]
    first: tuple[Action, ...]
    file: str | None = None

    @property
    def refused(self) -> tuple[GuardVerdict, ...]:
        """Guards that refuse and were not accepted."""
        return tuple(verdict for verdict in self.trailer.guards if not verdict.accepted)


class ExplainStep(msgspec.Struct, frozen=True):
    """One question that was asked about a path, in order, and its answer. `decided` marks the one that settled it."""

    question: str
    answer: str
    decided: bool = False


class Explanation(msgspec.Struct, frozen=True):
    """Why a path is (not) copied, changed or deleted. `verdict` is one sentence; `action` what the planner does."""

    task: str
    path: str
    verdict: str
    action: Action | None
    steps: tuple[ExplainStep, ...]
    problem: Problem | None = None
