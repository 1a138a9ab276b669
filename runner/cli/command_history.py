"""status, history, report: what was done."""

from __future__ import annotations

import os
import platform
import re
import shlex
import stat
import tempfile
from argparse import Namespace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec

from runner.cli.output import is_terminal
from runner.cli.session import Session
from runner.cli.show_history import history_lines, next_step, service_lines, slot_lines, status_lines
from runner.cli.show_report import report_text
from runner.cli.text import counted, safe
from runner.errors import ExitCode, UsageError
from runner.history.records import HistoryRow, HistoryStatus, HistoryUnavailable, SlotOutcome, SlotRecord
from runner.history.standing import BY_SERVICE, Rest, read_standing
from runner.history.state import StateDirectory
from runner.model.task import ReportFormat, Task
from runner.service.answers import ServiceStatus
from runner.units import parse_duration

if TYPE_CHECKING:
    from runner.history.store import History

LIMIT = 20
EVERYTHING = 1000
UNMET = (SlotOutcome.SKIPPED, SlotOutcome.MISSED, SlotOutcome.INTERRUPTED)
"""What `--slots --failed` asks for."""
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ].*)?\Z")


class TaskStatus(msgspec.Struct, frozen=True):
    """How a task stands: `last` ended most recently, `running` has not ended; `next_step` is for people."""

    task: str
    enabled: bool
    last: HistoryRow | None
    running: tuple[HistoryRow, ...]
    next_step: str
    rest: Rest | None = None


class StatusList(msgspec.Struct, frozen=True):
    """status --json. `service` is what a running service says of itself, None when none runs."""

    tasks: tuple[TaskStatus, ...]
    service: ServiceStatus | None = None


class SlotList(msgspec.Struct, frozen=True):
    """history --slots --json: the latest first."""

    slots: tuple[SlotRecord, ...]


class Forgotten(msgspec.Struct, frozen=True):
    """history --prune --json: the ids of the executions that are forgotten now, oldest first."""

    forgotten: tuple[str, ...]


class HistoryList(msgspec.Struct, frozen=True):
    """history --json: newest first."""

    executions: tuple[HistoryRow, ...]


def status(session: Session, arguments: Namespace) -> int:
    """`status`: one line a task."""
    history = _fresh_history(session)
    state = session.services.state(session.configuration())
    tasks = tuple(
        _status_of(task, history, state, session.config_flag)
        for task in session.configuration().tasks.values()
    )
    service = _service_status(state)
    if session.output.json:
        session.output.value(StatusList(tasks, service))
    rows = [
        (each.task, each.enabled and each.rest is None, each.last, each.running, each.next_step)
        for each in tasks
    ]
    session.output.result(
        [
            *status_lines(rows, session.clock.now(), session.page),
            *service_lines(service, session.clock.now(), session.page),
        ]
    )
    return ExitCode.DONE


def _service_status(state: StateDirectory) -> ServiceStatus | None:
    if not os.path.exists(state.service_socket):
        return None
    from runner.service.door import Client, Request

    client = Client.connect(state.service_socket)
    if client is None:
        return None
    try:
        answer = next(client.ask(Request("status")), None)
        return None if answer is None else msgspec.convert(answer, ServiceStatus)
    except (OSError, msgspec.ValidationError):
        return None
    finally:
        client.close()


def history(session: Session, arguments: Namespace) -> int:
    """`history [TASK]`: newest first. `history compare A B`, `history --slots` and `history --prune`."""
    is_comparison = arguments.task == "compare" and "compare" not in session.configuration().tasks
    if arguments.id or is_comparison:
        return _compare(session, arguments)
    if arguments.prune:
        return _prune(session, arguments)
    since = parse_since(arguments.since, session.clock.now()) if arguments.since else None
    limit = int(arguments.limit) if arguments.limit else LIMIT
    store = _fresh_history(session)
    if arguments.slots:
        return _slots(session, store, arguments, since, limit)
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


def _slots(session: Session, store: History, arguments: Namespace, since: datetime | None, limit: int) -> int:
    outcomes = UNMET if arguments.failed else (None,)
    found = [
        record
        for outcome in outcomes
        for record in store.slots(task=arguments.task, since=since, limit=limit + 1, outcome=outcome)
    ]
    records = sorted(found, key=lambda record: record.slot, reverse=True)
    if not records and arguments.task is not None:
        session.task(arguments.task)
    if session.output.json:
        session.output.value(SlotList(tuple(records[:limit])))
    session.output.result(slot_lines(records[:limit], session.page, more=len(records) > limit))
    return ExitCode.DONE


def _prune(session: Session, arguments: Namespace) -> int:
    if arguments.task is not None or arguments.slots or arguments.failed or arguments.since:
        raise UsageError("history --prune goes by settings.retention alone, for all tasks at once")
    configuration = session.configuration()
    store = session.services.history(configuration, session.clock)
    forgotten = session.services.prune_history(
        configuration, store, session.services.state(configuration), session.clock
    )
    for warning in store.warnings:
        session.output.tell([f"warning: {safe(warning)}"])
    if session.output.json:
        session.output.value(Forgotten(tuple(forgotten)))
    retention = configuration.retention
    kept = f"older than {retention.keep_days:g} days, each task's latest {retention.keep_last} and last success kept"
    session.output.result(
        [f"Forgot {counted(len(forgotten), 'execution')} ({kept}).", *(f"  {one}" for one in forgotten)]
    )
    return ExitCode.DONE


def _compare(session: Session, arguments: Namespace) -> int:
    if arguments.task != "compare":
        raise UsageError(
            f"history takes no further word {arguments.id[0]!r}",
            remedy="See: sync-runner help history",
        )
    if len(arguments.id) != 2:
        raise UsageError(
            "history compare needs two executions",
            remedy="For example: sync-runner history compare 6741a2 latest",
        )
    from runner.cli.show_comparison import comparison_lines
    from runner.history.compare import compare_executions

    told = [session.services.told(session.configuration(), one) for one in arguments.id]
    comparison = compare_executions(*told)
    if session.output.json:
        session.output.value(comparison)
    session.output.result(comparison_lines(comparison, session.page))
    return ExitCode.DONE


def report(session: Session, arguments: Namespace) -> int:
    """`report [ID]`: for people, or in a format to standard output or a file. `report --verify-chain TASK`."""
    if arguments.verify_chain is not None:
        from runner.cli.command_chain import verify_chain

        return verify_chain(session, arguments)
    for option in ("allowed_signers", "expect", "since"):
        if getattr(arguments, option) is not None:
            raise UsageError(f"--{option.replace('_', '-')} goes with --verify-chain TASK")
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


def parse_since(text: str, now: datetime, option: str = "--since") -> datetime:
    """`7d` -> that long before now; `2026-01-31` or an RFC 3339 instant -> then, UTC unless it says more."""
    if _DATE.match(text):
        try:
            instant = datetime.fromisoformat(text)
        except ValueError as error:
            raise UsageError(
                f"option {option}: {text!r} is not a date such as 2026-01-31 or 2026-01-31T06:00:00Z"
            ) from error
        return instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    try:
        return now - min(parse_duration(text), timedelta(days=36500))
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"option {option}: {text!r} is neither a duration such as 12h or 7d nor a date such as 2026-01-31"
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


def _status_of(task: Task, store: History, state: StateDirectory, config_flag: str) -> TaskStatus:
    rest = read_standing(state, task.name).rest
    rows = store.list(task=task.name, limit=LIMIT)
    running = tuple(row for row in rows if row.status is HistoryStatus.RUNNING)
    last = next((row for row in rows if row.status is not HistoryStatus.RUNNING), None)
    step = next_step(task.name, last, running, config_flag)
    if rest is not None and not running:
        step = safe(rest.reason)
        if rest.by != BY_SERVICE:
            step += f". To go on: sync-runner resume {shlex.quote(task.name)}{config_flag}"
    return TaskStatus(task.name, task.enabled, last, running, step, rest)


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
