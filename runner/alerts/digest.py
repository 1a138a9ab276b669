"""The digest: a regular summary of all tasks, so that silence is noticed.

How tasks stand comes from small files and is always known; how often they ran comes from history, and is left out when
history cannot be read.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from runner.alerts.facts import instant_text
from runner.alerts.messages import Message, Template, compose
from runner.alerts.notify import Sent, send_to
from runner.clock import Clock
from runner.history.freshness import judge, span, standings_of
from runner.history.records import HistoryRow, HistoryStatus
from runner.history.standing import Standing
from runner.history.state import StateDirectory
from runner.model.automation import DigestSettings, ScheduleSettings
from runner.model.execution import Trigger
from runner.model.task import Configuration, Task
from runner.model.wire import terminal_safe
from runner.scheduling.timetable import timetable_of
from runner.units import format_duration, format_size

ROWS_AT_MOST = 100_000
_WEEK = timedelta(days=7)
_LOOKED_BACK = tuple(timedelta(days=days) for days in (2, 15, 63, 800))


def digest_period(settings: DigestSettings | None, now: datetime) -> timedelta:
    """What a digest looks back on: the time between two of them, a week when it is sent only by hand."""
    if settings is None:
        return _WEEK
    timetable = timetable_of(ScheduleSettings(cron=settings.cron, timezone=settings.timezone))
    for looked_back in _LOOKED_BACK:
        slots = list(timetable.between(now - looked_back, now))
        if len(slots) > 1:
            return slots[-1] - slots[-2]
    return _WEEK


def digest_message(
    configuration: Configuration,
    standings: Mapping[str, Standing],
    rows: Sequence[HistoryRow] | None,
    now: datetime,
    since: datetime,
    warn: Callable[[str], None] = lambda text: None,
) -> Message:
    """The digest of all enabled tasks. `rows`: the executions that began since then; None = history cannot be read."""
    tasks = [task for task in configuration.tasks.values() if task.enabled]
    told = [
        _task_facts(task, standings.get(task.name, Standing(task.name)), rows or (), now) for task in tasks
    ]
    told.sort(key=lambda facts: facts["well"])
    troubled = sum(not facts["well"] for facts in told)
    noun = "task is" if len(told) == 1 else "tasks are"
    facts = {
        "host": terminal_safe(socket.gethostname()),
        "config_file": terminal_safe(configuration.file),
        "since": instant_text(since),
        "until": instant_text(now),
        "history": rows is not None,
        "headline": (
            f"{troubled} of {len(told)} {'task needs' if len(told) == 1 else 'tasks need'} a look"
            if troubled
            else f"{'all ' if len(told) != 1 else ''}{len(told)} {noun} well"
        ),
        "troubled": troubled,
        "tasks": told,
    }
    return compose(Template.DIGEST, facts, configuration.notifications.templates, warn)


def current_digest(
    configuration: Configuration,
    rows: Sequence[HistoryRow] | None,
    now: datetime,
    since: datetime,
    warn: Callable[[str], None] = lambda text: None,
) -> Message:
    """The digest of how the tasks stand now. Raises UsageError when the state folder cannot be read."""
    state = StateDirectory(configuration.state_directory)
    return digest_message(
        configuration, standings_of(state, list(configuration.tasks)), rows, now, since, warn
    )


def send_digest(
    configuration: Configuration, message: Message, clock: Clock, channels: Sequence[str] | None = None
) -> list[Sent]:
    """Send it to the channels that notifications.digest names, or to these. Waits half a minute at most."""
    settings = configuration.notifications
    names = channels if channels is not None else settings.digest.to if settings.digest else ()
    return send_to(names, settings.channels, message, "info", clock)


def _task_facts(task: Task, standing: Standing, rows: Sequence[HistoryRow], now: datetime) -> dict[str, Any]:
    ended = [
        row
        for row in rows
        if row.task == task.name and row.status is not HistoryStatus.RUNNING and row.trigger != Trigger.VERIFY
    ]
    limit = task.automation.max_age_seconds
    judged = None if limit is None else judge(standing, limit, now)
    size = sum(row.counters.bytes_transferred for row in ended)
    failing = standing.failures_in_a_row
    succeeded_at = standing.last_success_at
    verdict = "well"
    if judged is not None and judged.overdue:
        verdict = f"OVERDUE: it {judged.reason}"
    elif failing:
        verdict = f"FAILING: {'the last run' if failing == 1 else f'the last {failing} runs'} failed"
    elif standing.rest is not None:
        verdict = "RESTING: it is not started by its schedule"
    elif standing.last_execution is None:
        verdict = "it has never run"
    return {
        "task": terminal_safe(task.name),
        "description": terminal_safe(task.description),
        "well": verdict == "well",
        "verdict": terminal_safe(verdict),
        "overdue": judged is not None and judged.overdue,
        "runs": len(ended),
        "failures": sum(row.status is HistoryStatus.ERROR for row in ended),
        "size": format_size(size) if size else "",
        "last_success_at": "" if succeeded_at is None else instant_text(succeeded_at),
        "last_success_age": ""
        if succeeded_at is None
        else format_duration(max(0.0, (now - succeeded_at).total_seconds())),
        "max_age": "" if limit is None else span(limit),
        "failures_in_a_row": failing,
        "last_problem": terminal_safe(standing.last_summary) if failing else "",
        "resting": terminal_safe(standing.rest.reason) if standing.rest is not None else "",
    }
