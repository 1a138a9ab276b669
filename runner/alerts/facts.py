"""A report as the values that message templates see: plain texts and numbers, each text safe to show on one line.

docs/notifications.md explains every name; a test holds it to this module.
"""

from __future__ import annotations

import os
import shlex
from datetime import datetime
from typing import Any

from runner.history.standing import Standing
from runner.model.execution import Counts, Report
from runner.model.task import Task
from runner.model.wire import terminal_safe
from runner.report.words import headline, next_steps
from runner.units import format_duration, format_size

LISTED_AT_MOST = 10
Facts = dict[str, Any]
"""What a template is rendered with: names -> texts, numbers, or lists and maps of these."""


def facts_of(
    task: Task, report: Report, folder: str, before: Standing, after: Standing, disabled: bool
) -> Facts:
    """All that is told of one execution. `folder` is the execution's own."""
    execution, counters = report.execution, report.counters
    quoted_task = shlex.quote(task.name)
    config = f" -c {shlex.quote(execution.config_file)}"
    return {
        "task": _safe(task.name),
        "description": _safe(task.description),
        "execution": _safe(execution.execution_id),
        "status": execution.status.value,
        "exit_code": execution.exit_code,
        "headline": headline(execution.exit_code, counters),
        "summary": _safe(execution.summary),
        "trigger": execution.trigger.value,
        "host": _safe(execution.host),
        "started_at": instant_text(datetime.fromisoformat(execution.started_at)),
        "ended_at": instant_text(datetime.fromisoformat(execution.ended_at)),
        "duration": format_duration(execution.duration_seconds),
        "source": _safe(f"{report.source.name} ({report.source.type}): {report.source.description}"),
        "destination": _safe(
            f"{report.destination.name} ({report.destination.type}): {report.destination.description}"
        ),
        "config_file": _safe(execution.config_file),
        "folder": _safe(folder),
        "report_file": _safe(os.path.join(folder, "report.json")),
        "figures": _figures(report),
        "guards": [
            {
                "name": _safe(verdict.guard),
                "message": _safe(verdict.message),
                "remedy": _safe(verdict.remedy),
            }
            for verdict in report.guards
            if not verdict.accepted
        ],
        "problems": [
            {
                "path": _safe(problem.path),
                "code": problem.code.value,
                "message": _safe(problem.message),
            }
            for problem in report.problems[:LISTED_AT_MOST]
        ],
        "problems_total": report.problems_total,
        "findings": [
            {
                "path": _safe(finding.path),
                "verdict": finding.verdict.value,
                "fields": _safe(", ".join(finding.fields)),
            }
            for finding in report.findings[:LISTED_AT_MOST]
        ],
        "findings_total": report.findings_total,
        "steps": [_safe(step.line) for step in next_steps(report)],
        "commands": {
            "report": _safe(f"sync-runner report {execution.execution_id}{config}"),
            "history": _safe(f"sync-runner history {quoted_task}{config}"),
            "run": _safe(f"sync-runner run {quoted_task}{config}"),
            "resume": _safe(f"sync-runner resume {quoted_task}{config}"),
        },
        "failures_before": before.failures_in_a_row,
        "failures_in_a_row": after.failures_in_a_row,
        "same_error_in_a_row": after.same_error_in_a_row,
        "last_success_before": instant_text(before.last_success_at),
        "disabled": disabled,
        "disabled_reason": _safe(after.rest.reason) if disabled and after.rest is not None else "",
    }


def _figures(report: Report) -> list[dict[str, str]]:
    """Counters that say something, as `name` and `text`."""
    counters = report.counters
    rows = [
        ("transferred", counters.transferred, counters.bytes_transferred),
        ("deleted", counters.deleted, counters.bytes_deleted),
        ("moved to quarantine", counters.quarantined, 0),
        ("failed", counters.failed, 0),
        ("could not be deleted", counters.failed_delete, 0),
        ("failed verification", counters.failed_verify, 0),
        ("verified", counters.verified, counters.bytes_verified),
        ("left as they are", counters.skipped, 0),
        ("listed at the source", counters.listed, counters.bytes_listed),
    ]
    return [
        {"name": name, "text": counted(counts) + (f", {format_size(size)}" if size else "")}
        for name, counts, size in rows
        if counts.files or counts.folders
    ]


def counted(counts: Counts) -> str:
    """'1 file and 2 folders', without what there is none of."""
    pieces = [
        f"{count:,} {noun if count == 1 else noun + 's'}"
        for count, noun in ((counts.files, "file"), (counts.folders, "folder"))
        if count
    ]
    return " and ".join(pieces) or "nothing"


def _safe(text: str) -> str:
    return terminal_safe(text)


def instant_text(instant: datetime | None) -> str:
    """`2026-03-01 02:00:05 UTC`; "" when there is none."""
    return "" if instant is None else f"{instant:%Y-%m-%d %H:%M:%S} UTC"
