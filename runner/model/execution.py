"""One run of a task: its phases, counters, and the report that others rely on."""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from runner.model.action import Finding
from runner.model.activity import Concurrency, TimeSpent
from runner.model.entry import Phase, Problem


class Trigger(enum.StrEnum):
    """Who started an execution."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    CATCH_UP = "catch_up"
    AFTER = "after"
    APPLY = "apply"
    VERIFY = "verify"


class PhaseTiming(msgspec.Struct, frozen=True):
    """One phase that took place. `started_at` is RFC 3339 UTC; status is SUCCESS, ERROR or CANCELLED."""

    phase: Phase
    started_at: str
    duration_seconds: float
    status: Phase


class Counts(msgspec.Struct, frozen=True):
    """Files (everything that is not a folder) and folders, apart."""

    files: int = 0
    folders: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(self.files + other.files, self.folders + other.folders)


class Counters(msgspec.Struct, frozen=True):
    """DataSync's counters. For files and for folders: listed = transferred + skipped + failed + excluded, exactly.

    listed      seen at the source, the excluded included; an excluded folder counts once, unseen what is below it
    excluded    left out by a filter
    skipped     equal already, kept by overwrite_mode, or of a kind that the options leave out
    transferred content or metadata written; for folders created or changed
    failed      could not be listed, prepared or transferred, or stale, or cancelled
    prepared    planned to be transferred
    failed_*    per phase; verify counts findings
    kept        extras at the destination that stay because of preserve or a withheld deletion
    """

    listed: Counts = Counts()
    listed_at_destination: Counts = Counts()
    excluded: Counts = Counts()
    prepared: Counts = Counts()
    transferred: Counts = Counts()
    skipped: Counts = Counts()
    failed: Counts = Counts()
    failed_prepare: Counts = Counts()
    failed_transfer: Counts = Counts()
    failed_verify: Counts = Counts()
    failed_delete: Counts = Counts()
    verified: Counts = Counts()
    deleted: Counts = Counts()
    quarantined: Counts = Counts()
    kept: Counts = Counts()
    stale: Counts = Counts()
    actions_planned: int = 0
    actions_done: int = 0
    actions_failed: int = 0
    bytes_listed: int = 0
    bytes_planned: int = 0
    bytes_transferred: int = 0
    bytes_deleted: int = 0
    bytes_verified: int = 0


class GuardVerdict(msgspec.Struct, frozen=True):
    """A guard that refused, or would have: `accepted` by the user. `message` says what, `remedy` how to go on."""

    guard: str
    message: str
    remedy: str
    accepted: bool = False


class EndpointSummary(msgspec.Struct, frozen=True):
    """A location as a report shows it: no secrets. `identity`: facts that tell it from others at the same address;
    `marker`: the id of the marker in it."""

    name: str
    type: str
    description: str
    identity: str | None = None
    marker: str | None = None


class Execution(msgspec.Struct, frozen=True):
    """Who, when, what and how it ended. `status` is SUCCESS, ERROR or CANCELLED; `summary` is one sentence."""

    execution_id: str
    task: str
    trigger: Trigger
    status: Phase
    exit_code: int
    summary: str
    started_at: str
    ended_at: str
    duration_seconds: float
    host: str
    runner_version: str
    config_file: str
    config_digest: str
    filter_digest: str
    plan_digest: str | None = None


class SideRoot(msgspec.Struct, frozen=True):
    """A Merkle root (SHA-256, 64 hex digits) over so many entries; docs/evidence.md says which and how."""

    root: str
    entries: int


class PreviousReport(msgspec.Struct, frozen=True):
    """The report that came before in the task's chain: its execution, and the SHA-256 of its report.json."""

    execution_id: str
    report: str


class Evidence(msgspec.Struct, frozen=True):
    """What lets others see that a report and the files beside it are as they were written (docs/evidence.md).

    source, destination  roots over the plan's actions, and over those whose result stands; None when no transfer ended
    files                SHA-256 of the files beside the report, by name
    sequence             the report's link in its task's chain, from 1; None when the chain could not be continued
    previous             None for the first report of a chain
    chain                the chain's value before this report, which stands for all that came before; None at the start
    """

    source: SideRoot | None = None
    destination: SideRoot | None = None
    files: dict[str, str] = {}
    sequence: int | None = None
    previous: PreviousReport | None = None
    chain: str | None = None


class Report(msgspec.Struct, frozen=True):
    """One finished execution. `findings` holds everything that is not OK; `problems` all that could not be done.

    Both lists are capped at `LISTED_AT_MOST`; problems_total and findings_total count all. Outcomes, one per
    action, stand beside it in outcomes.jsonl (`outcomes_file`), all problems in problems.jsonl and findings.jsonl.
    `time` says where the time of its phases went; `concurrency` is None where no workers were asked for.
    """

    version: int
    execution: Execution
    source: EndpointSummary
    destination: EndpointSummary
    settings: dict[str, Any]
    phases: tuple[PhaseTiming, ...]
    counters: Counters
    guards: tuple[GuardVerdict, ...]
    problems: tuple[Problem, ...]
    problems_total: int
    findings: tuple[Finding, ...]
    findings_total: int
    outcomes_file: str | None = None
    evidence: Evidence | None = None
    time: tuple[TimeSpent, ...] = ()
    concurrency: Concurrency | None = None


LISTED_AT_MOST = 10_000
NOT_BY_A_PERSON = "stopped: "
"""How the reason begins for which an execution was cancelled by a time limit, not by a person."""
