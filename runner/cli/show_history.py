"""Past executions and the state of tasks as tables."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime

from runner.cli.text import Page, Style, safe, table
from runner.errors import ExitCode
from runner.history.records import HistoryRow, HistoryStatus, SlotOutcome, SlotRecord
from runner.service.answers import ServiceStatus
from runner.units import format_duration, format_size

StatusRow = tuple[str, bool, HistoryRow | None, tuple[HistoryRow, ...], str]

OUTCOME_WORDS: dict[HistoryStatus, str] = {
    HistoryStatus.RUNNING: "running",
    HistoryStatus.SUCCESS: "success",
    HistoryStatus.ERROR: "error",
    HistoryStatus.CANCELLED: "cancelled",
}
OUTCOME_STYLES: dict[HistoryStatus, Style] = {
    HistoryStatus.RUNNING: Style.COMMAND,
    HistoryStatus.SUCCESS: Style.GOOD,
    HistoryStatus.ERROR: Style.BAD,
    HistoryStatus.CANCELLED: Style.CHANGE,
}


SLOT_STYLES: dict[SlotOutcome, Style] = {
    SlotOutcome.QUEUED: Style.COMMAND,
    SlotOutcome.RAN: Style.GOOD,
    SlotOutcome.CAUGHT_UP: Style.GOOD,
    SlotOutcome.SKIPPED: Style.CHANGE,
    SlotOutcome.MISSED: Style.BAD,
    SlotOutcome.INTERRUPTED: Style.BAD,
}


def history_lines(rows: Sequence[HistoryRow], now: datetime, page: Page, *, more: bool) -> list[str]:
    """One line an execution, newest first; times are local."""
    if not rows:
        return ["No execution yet."]
    cells = [
        (
            safe(row.execution_id),
            safe(row.task),
            local_time(row.started_at),
            "" if row.duration_seconds is None else format_duration(row.duration_seconds),
            OUTCOME_WORDS[row.status] + (f" ({row.exit_code})" if row.exit_code else ""),
            safe(row.summary),
        )
        for row in rows
    ]
    styles = [[None, None, None, None, OUTCOME_STYLES[row.status], Style.DIM] for row in rows]
    headings = ("execution", "task", "started", "took", "outcome", "summary")
    lines = table(headings, cells, page, right=frozenset({3}), styles=styles, indent="")
    if more:
        lines.append("There are more: --limit NUMBER shows them.")
    return lines


def slot_lines(records: Sequence[SlotRecord], page: Page, *, more: bool) -> list[str]:
    """One line a scheduled time, the latest first; times are local."""
    if not records:
        return ["No scheduled time yet."]
    cells = [
        (
            safe(record.task),
            local_time(record.slot),
            record.outcome.value.lower().replace("_", " "),
            safe(record.execution_id or ""),
            safe(record.reason),
        )
        for record in records
    ]
    styles = [[None, None, SLOT_STYLES[record.outcome], None, Style.DIM] for record in records]
    headings = ("task", "scheduled", "outcome", "execution", "reason")
    lines = table(headings, cells, page, styles=styles, indent="")
    if more:
        lines.append("There are more: --limit NUMBER shows them.")
    return lines


def status_lines(rows: Sequence[StatusRow], now: datetime, page: Page) -> list[str]:
    """One line a task, with what to do next below where there is something to do."""
    if not rows:
        return ["No task is declared."]
    cells, styles = [], []
    for name, enabled, last, running, _ in rows:
        shown = running[0] if running else last
        outcome = "never run" if shown is None else OUTCOME_WORDS[shown.status]
        cells.append(
            (
                safe(name) + ("" if enabled else " (disabled)"),
                outcome,
                "" if shown is None else ago(shown.started_at, now),
                "" if shown is None else safe(shown.execution_id),
                "" if shown is None else safe(shown.summary),
            )
        )
        style = Style.DIM if shown is None else OUTCOME_STYLES[shown.status]
        styles.append([None, style, None, None, Style.DIM])
    lines = table(
        ("task", "outcome", "started", "execution", "summary"), cells, page, styles=styles, indent=""
    )
    steps = [(name, step) for name, _, _, _, step in rows if step]
    if steps:
        lines += ["", "Next:"]
        lines += [f"  {safe(name)}: {step}" for name, step in steps]
    return lines


def service_lines(service: ServiceStatus | None, now: datetime, page: Page) -> list[str]:
    """What a running service does and is about to do; nothing when none runs."""
    if service is None:
        return []
    title = f"Service: process {service.pid}, since {local_time(service.started_at)}"
    lines = ["", page.paint(title, Style.HEADING)]
    if service.draining:
        lines.append("  It is being stopped: nothing more is started.")
    if service.configuration_error is not None:
        lines.append(f"  The changed configuration is not in force: {safe(service.configuration_error)}")
    if service.history_trouble is not None:
        lines.append(f"  History is behind: {safe(service.history_trouble)}")
    for one in service.running:
        figures = ""
        if one.actions_total and one.actions_done is not None and one.bytes_done is not None:
            figures = (
                f", {one.actions_done:,} of {one.actions_total:,} actions, {format_size(one.bytes_done)}"
            )
        phase = (one.phase or "starting").lower()
        lines.append(
            f"  {safe(one.task)} runs ({one.trigger}): {phase}{figures}, started {ago(one.started_at, now)}"
        )
    for waits in service.waiting:
        lines.append(f"  {safe(waits.task)} waits since {local_time(waits.since)}: {safe(waits.reason)}")
    for following in sorted(service.next_starts, key=lambda each: each.at)[:5]:
        lines.append(f"  {safe(following.task)} starts at {local_time(following.at)}")
    return lines


def next_step(task: str, last: HistoryRow | None, running: Sequence[HistoryRow], config_flag: str) -> str:
    """What to do about a task, as a command where there is one; empty when all is well."""
    name = shlex.quote(safe(task))
    if running:
        return f"running on {safe(running[0].host)}, process {running[0].pid}"
    if last is None:
        return f"sync-runner plan {name}{config_flag}"
    if last.status is HistoryStatus.SUCCESS:
        return ""
    if last.exit_code in (None, ExitCode.INTERRUPTED, ExitCode.LOCK_HELD, ExitCode.LOCATION_UNAVAILABLE):
        return f"sync-runner run {name}{config_flag}"
    return f"sync-runner report {safe(last.execution_id)}{config_flag}"


def local_time(instant: datetime) -> str:
    """An instant as a person's clock shows it: 2026-11-22 19:57."""
    return f"{instant.astimezone():%Y-%m-%d %H:%M}"


def ago(instant: datetime, now: datetime) -> str:
    """'3 min ago', '5 h ago', '2 d ago'; the local time when it lies further back."""
    seconds = (now - instant).total_seconds()
    if seconds < 0 or seconds >= 7 * 86400:
        return local_time(instant)
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{int(seconds // size)} {unit} ago"
    return "just now"
