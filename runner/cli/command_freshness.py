"""freshness: which tasks have had no success for too long."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from runner.cli.session import Session
from runner.cli.show_history import ago
from runner.cli.text import Page, Style, counted, safe, safe_lines, table
from runner.errors import ExitCode, RunnerError, UsageError
from runner.history.freshness import Freshness, judge, span, standings_of
from runner.units import parse_duration

NAGIOS_OK, NAGIOS_CRITICAL = 0, 2
_NAMED_AT_MOST = 10


class FreshnessList(msgspec.Struct, frozen=True):
    """freshness --json."""

    overdue: int
    tasks: tuple[Freshness, ...]


def freshness(session: Session, arguments: Namespace) -> int:
    """`freshness [TASK...]`: from small files alone; opens no location and no database."""
    code = _freshness(session, arguments)
    # A monitor that is asked later sees what is seen now, also when nothing runs any more.
    warning = session.export_metrics()
    if warning is not None:
        session.output.tell([f"warning: {line}" for line in safe_lines(warning)])
    return code


def _freshness(session: Session, arguments: Namespace) -> int:
    if not arguments.nagios:
        judged = _judged(session, arguments)
        if session.output.json:
            session.output.value(FreshnessList(sum(one.overdue for one in judged), tuple(judged)))
        # Quiet is for cron: silence means that all is well.
        shown = [one for one in judged if one.overdue or not session.output.quiet]
        session.output.result(freshness_lines(shown, session.clock.now(), session.page) if shown else [])
        return ExitCode.OVERDUE if any(one.overdue for one in judged) else ExitCode.DONE
    if session.output.json:
        raise UsageError("--nagios and --json are two answers to one question", remedy="Choose one of them.")
    try:
        judged = _judged(session, arguments)
    except RunnerError as error:
        # A monitor shows what stands on standard output, and nothing else.
        session.output.text(f"SYNC-RUNNER CRITICAL - {_one_line(error.message)}\n")
        raise
    session.output.text(nagios_line(judged) + "\n")
    return NAGIOS_CRITICAL if any(one.overdue for one in judged) else NAGIOS_OK


def freshness_lines(judged: Sequence[Freshness], now: datetime, page: Page) -> list[str]:
    """A line a task, the overdue ones first."""
    ordered = sorted(judged, key=lambda one: not one.overdue)
    cells = [
        (
            safe(one.task),
            "overdue" if one.overdue else "fresh",
            "never" if one.last_success_at is None else ago(one.last_success_at, now),
            span(one.max_age_seconds),
            safe(one.reason),
        )
        for one in ordered
    ]
    styles = [[None, Style.BAD if one.overdue else Style.GOOD, None, None, Style.DIM] for one in ordered]
    headings = ("task", "is", "last success", "may be", "because it")
    lines = table(headings, cells, page, right=frozenset({3}), styles=styles, indent="")
    steps = [one for one in ordered if one.overdue]
    if steps:
        lines += ["", "Next:"]
        lines += [f"  {safe(one.task)}: {_next_step(one)}" for one in steps]
    return lines


def nagios_line(judged: Sequence[Freshness]) -> str:
    """One line as monitoring plugins print it: a verdict, who is overdue, and figures behind the bar."""
    overdue = [one for one in judged if one.overdue]
    if overdue:
        named = "; ".join(f"{safe(one.task)} {_one_line(one.reason)}" for one in overdue[:_NAMED_AT_MOST])
        more = f"; and {len(overdue) - _NAMED_AT_MOST} more" if len(overdue) > _NAMED_AT_MOST else ""
        verdict = f"CRITICAL - {len(overdue)} of {counted(len(judged), 'task')} overdue: {named}{more}"
    else:
        verdict = f"OK - {counted(len(judged), 'task')} fresh"
    ages = [one.age_seconds for one in judged if one.age_seconds is not None]
    oldest = f" oldest={max(ages):.0f}s;;;0" if ages else ""
    return f"SYNC-RUNNER {verdict} | overdue={len(overdue)};;0;0;{len(judged)}{oldest}"


def _judged(session: Session, arguments: Namespace) -> list[Freshness]:
    configuration = session.configuration()
    named = [session.task(name) for name in dict.fromkeys(arguments.task)]
    for task in named:
        if task.automation.max_age_seconds is None:
            raise UsageError(
                f"task {task.name!r} declares no max_age",
                remedy=f"Say how old its last success may be, in {session.config_file}: max_age: 26h",
            )
    tasks = named or [task for task in configuration.tasks.values() if task.enabled]
    limits = {
        task.name: task.automation.max_age_seconds
        for task in tasks
        if task.automation.max_age_seconds is not None
    }
    if not limits:
        # "All fresh" would be true, and nobody would ever hear that nothing is watched.
        raise UsageError(
            f"no enabled task in {session.config_file} declares max_age: there is nothing to watch",
            remedy="Say how old a task's last success may be: max_age: 26h",
        )
    now = session.clock.now()
    spared_until = _spared_until(arguments.grace, configuration.files or (configuration.file,))
    standings = standings_of(session.services.state(configuration), list(limits))
    return [judge(standings[name], limit, now, spared_until) for name, limit in limits.items()]


def _spared_until(grace: str | None, files: Sequence[str]) -> datetime | None:
    """How long a task that never succeeded counts as new: nobody knows when it was declared, only that it was not
    after the last change of the configuration."""
    if grace is None:
        return None
    try:
        span = min(parse_duration(grace), timedelta(days=36500))
    except ValueError as error:
        raise UsageError(f"option --grace: {error}") from error
    changed = max(os.stat(file).st_mtime for file in files)
    return datetime.fromtimestamp(changed, UTC) + span


def _next_step(one: Freshness) -> str:
    if one.paused is not None:
        return f"sync-runner resume {safe(one.task)}"
    if one.last_execution is not None and one.failures_in_a_row:
        return f"sync-runner report {safe(one.last_execution)}"
    return f"sync-runner run {safe(one.task)}"


def _one_line(text: str) -> str:
    """For a monitor: the bar starts its figures."""
    return safe(" ".join(text.split())).replace("|", "/")
