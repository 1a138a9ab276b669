"""status, history, report: what was done."""

from __future__ import annotations

import os
import platform
import re
import stat
import tempfile
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from runner.cli.output import is_terminal
from runner.cli.session import Session
from runner.cli.show_history import history_lines, next_step, status_lines
from runner.cli.show_report import report_text
from runner.cli.text import safe
from runner.errors import ExitCode, UsageError
from runner.history.records import HistoryRow, HistoryStatus, HistoryUnavailable
from runner.model.task import ReportFormat, Task
from runner.units import parse_duration

if TYPE_CHECKING:
    from runner.history.store import History

LIMIT = 20
EVERYTHING = 1000
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?\Z")


class TaskStatus(msgspec.Struct, frozen=True):
    """How a task stands: `last` ended most recently, `running` has not ended; `next_step` is for people."""

    task: str
    enabled: bool
    last: HistoryRow | None
    running: tuple[HistoryRow, ...]
    next_step: str


class StatusList(msgspec.Struct, frozen=True):
    """status --json."""

    tasks: tuple[TaskStatus, ...]


class HistoryList(msgspec.Struct, frozen=True):
    """history --json: newest first."""

    executions: tuple[HistoryRow, ...]


def status(session: Session, arguments: Namespace) -> int:
    """`status`: one line a task."""
    history = _fresh_history(session)
    tasks = tuple(
        _status_of(task, history, session.config_flag) for task in session.configuration().tasks.values()
    )
    if session.output.json:
        session.output.value(StatusList(tasks))
    rows = [(each.task, each.enabled, each.last, each.running, each.next_step) for each in tasks]
    session.output.result(status_lines(rows, session.clock.now(), session.page))
    return ExitCode.DONE


def history(session: Session, arguments: Namespace) -> int:
    """`history [TASK]`: newest first."""
    since = parse_since(arguments.since, session.clock.now()) if arguments.since else None
    limit = int(arguments.limit) if arguments.limit else LIMIT
    store = _fresh_history(session)
    # One more than is shown tells whether there is more.
    rows = store.list(task=arguments.task, limit=limit + 1, failed=arguments.failed, since=since)
    if not rows and arguments.task is not None:
        # Tasks that were removed from the file keep their history, so the name is judged only now.
        session.task(arguments.task)
    if session.output.json:
        session.output.value(HistoryList(tuple(rows[:limit])))
    session.output.result(
        history_lines(rows[:limit], session.clock.now(), session.page, more=len(rows) > limit)
    )
    return ExitCode.DONE


def report(session: Session, arguments: Namespace) -> int:
    """`report [ID]`: for people, or in a format to standard output or a file."""
    state = session.services.state(session.configuration())
    execution_id = state.resolve_execution(arguments.id or "latest")
    folder = state.execution_folder(execution_id)
    target = None if arguments.output in (None, "-") else arguments.output
    report_format = _format(session, arguments.format, target)
    if report_format is None:
        loaded = session.services.load_report(folder)
        page_file = os.path.join(folder, "report.html")
        session.output.result(
            report_text(
                loaded,
                session.page,
                files=[page_file] if os.path.exists(page_file) else [],
                config_flag=session.config_flag,
                shown=EVERYTHING,
            )
        )
        return ExitCode.DONE
    if target is None:
        _refuse_page_on_terminal(session, report_format, execution_id)
        with tempfile.SpooledTemporaryFile(max_size=16 * 1024 * 1024) as spool:
            session.services.render_report(folder, report_format, cast(BinaryIO, spool))
            spool.seek(0)
            while chunk := spool.read(1024 * 1024):
                session.output.raw(chunk)
        return ExitCode.DONE
    _write_file(session, folder, report_format, target)
    if session.output.json:
        session.output.value({"written": os.path.abspath(target)})
    elif not session.output.quiet:
        session.output.result([f"Wrote {safe(target)}."])
    return ExitCode.DONE


def parse_since(text: str, now: datetime) -> datetime:
    """`7d` -> that long before now; `2026-01-31` or an RFC 3339 instant -> then, UTC unless it says more."""
    if _DATE.match(text):
        try:
            instant = datetime.fromisoformat(text)
        except ValueError as error:
            raise UsageError(f"option --since: {text!r} is not a date") from error
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    try:
        return now - min(parse_duration(text), timedelta(days=36500))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"option --since: {text!r} is neither a duration such as 12h or 7d nor a date such as 2026-01-31"
        ) from error


def _fresh_history(session: Session) -> History:
    """The history, after taking over what ended unrecorded and marking what was killed, where it can be."""
    configuration = session.configuration()
    store = session.services.history(configuration, session.clock)
    try:
        store.backfill(session.services.state(configuration))
        store.mark_interrupted(platform.node())
    except HistoryUnavailable as error:
        session.output.tell([f"warning: {safe(error.message)}"])
    for warning in store.warnings:
        session.output.tell([f"warning: {safe(warning)}"])
    return store


def _status_of(task: Task, store: History, config_flag: str) -> TaskStatus:
    rows = store.list(task=task.name, limit=LIMIT)
    running = tuple(row for row in rows if row.status is HistoryStatus.RUNNING)
    last = next((row for row in rows if row.status is not HistoryStatus.RUNNING), None)
    return TaskStatus(
        task.name, task.enabled, last, running, next_step(task.name, last, running, config_flag)
    )


def _format(session: Session, name: str | None, target: str | None) -> ReportFormat | None:
    """The format asked for, or the one that the file's ending or --json says; None = text for people."""
    if name is not None:
        return ReportFormat(name)
    if target is not None:
        ending = os.path.splitext(target)[1].lower()
        by_ending = {
            ".html": ReportFormat.HTML,
            ".htm": ReportFormat.HTML,
            ".json": ReportFormat.JSON,
            ".csv": ReportFormat.CSV,
            ".xml": ReportFormat.JUNIT,
            ".md": ReportFormat.MARKDOWN,
        }
        if ending not in by_ending:
            raise UsageError(
                f"{target!r} does not say which format to write",
                remedy="Add --format html, json, csv, junit or md.",
            )
        return by_ending[ending]
    return ReportFormat.JSON if session.output.json else None


def _refuse_page_on_terminal(session: Session, report_format: ReportFormat, execution_id: str) -> None:
    if report_format is ReportFormat.HTML and is_terminal(session.output.stdout):
        raise UsageError(
            "a page of HTML is not for a terminal",
            remedy=f"To a file: sync-runner report {execution_id}{session.config_flag} -o report.html",
        )


def _write_file(session: Session, folder: str, report_format: ReportFormat, target: str) -> None:
    """The whole report or nothing appears at `target`; a device or a pipe is written to as it is."""
    try:
        if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
            with open(target, "wb") as stream:
                session.services.render_report(folder, report_format, stream)
            return
        parent = os.path.dirname(os.path.abspath(target))
        with tempfile.NamedTemporaryFile(dir=parent, prefix=".sync-runner-report-", delete=False) as draft:
            try:
                session.services.render_report(folder, report_format, cast(BinaryIO, draft))
                draft.flush()
                os.chmod(draft.name, 0o666 & ~_umask())
                os.replace(draft.name, target)
            except BaseException:
                os.unlink(draft.name)
                raise
    except OSError as error:
        raise UsageError(f"{target} cannot be written: {error.strerror or error}") from error


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
