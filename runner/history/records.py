"""What history answers with. No SQL here: importing this is cheap."""

from __future__ import annotations

import enum
from datetime import datetime

import msgspec

from runner.errors import ExitCode, RunnerError
from runner.model.execution import Counters


class HistoryUnavailable(RunnerError):
    """History cannot be read or written now. A transfer goes on: its report stands in its folder and is taken
    over by `History.backfill` at a later start."""

    code = "history_unavailable"
    exit_code = ExitCode.LOCATION_UNAVAILABLE


class HistoryStatus(enum.StrEnum):
    """RUNNING, or how it ended."""

    RUNNING = "RUNNING"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One execution as history knows it. None = unknown (yet). Instants are aware UTC."""

    execution_id: str
    task: str
    trigger: str
    status: HistoryStatus
    exit_code: int | None = None
    summary: str = ""
    started_at: datetime
    ended_at: datetime | None = None
    duration_seconds: float | None = None
    host: str
    pid: int | None = None
    process_key: str | None = None
    runner_version: str | None = None
    config_file: str
    config_digest: str
    filter_digest: str
    plan_digest: str | None = None
    source: str | None = None
    source_identity: str | None = None
    destination: str | None = None
    destination_identity: str | None = None
    counters: Counters = Counters()
    problems_total: int = 0
    findings_total: int = 0
    folder: str | None = None
    report_digest: str | None = None


class FailedFinding(msgspec.Struct, frozen=True):
    """A finding that history keeps: which path, the verdict's code, the fields that differ."""

    path: str
    verdict: str
    fields: tuple[str, ...]


class SlotOutcome(enum.StrEnum):
    """What became of a scheduled time. Each has one outcome in the end; QUEUED is on its way to another."""

    QUEUED = "QUEUED"
    RAN = "RAN"
    CAUGHT_UP = "CAUGHT_UP"
    SKIPPED = "SKIPPED"
    MISSED = "MISSED"
    INTERRUPTED = "INTERRUPTED"


class SlotRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One scheduled time of a task and what became of it. `slot` is the nominal time, without jitter, aware UTC.

    RAN and CAUGHT_UP (it ran later, because nothing ran at the time) name the execution; several times that were
    missed may be made up for by one. SKIPPED and MISSED say why. `decided_at`: when the last word was said.
    """

    task: str
    slot: datetime
    outcome: SlotOutcome
    reason: str = ""
    execution_id: str | None = None
    decided_at: datetime
