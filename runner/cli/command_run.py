"""run, apply, verify, restore: executions, and what is shown when they end."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from runner.cli.command_plan import check_guard_names
from runner.cli.endings import gravest
from runner.cli.main import report_error
from runner.cli.session import Session
from runner.cli.show_plan import problem_lines
from runner.cli.show_report import report_text
from runner.cli.signals import draining
from runner.cli.text import Style, counted, safe, table
from runner.errors import ExitCode, UsageError
from runner.model.events import Message
from runner.model.execution import Report
from runner.model.task import Task

if TYPE_CHECKING:
    from runner.pipeline import Cancellation, Context


def run(session: Session, arguments: Namespace) -> int:
    """`run [TASK...]`: each task in turn; the exit code is the gravest. A request to stop ends the row."""
    check_guard_names(arguments.accept)
    session.set_bandwidth(arguments.bandwidth)
    tasks = session.tasks(arguments.task)
    cancellation = session.services.cancellation()
    endings: list[tuple[str, int, str]] = []
    for position, task in enumerate(tasks):
        if cancellation.level:
            endings += [(left.name, ExitCode.INTERRUPTED, "not started") for left in tasks[position:]]
            break
        if position and not session.output.quiet:
            session.output.result([""])
        try:
            report = _run(session, task, cancellation, arguments)
        except KeyboardInterrupt:
            raise
        except Exception as error:
            code = report_error(error, session.output, session.environment, session.state_folder)
            endings.append((task.name, code, "see the error above"))
        else:
            endings.append((task.name, report.execution.exit_code, report.execution.summary))
    if len(tasks) > 1 and not session.output.quiet:
        session.output.result(["", *_overview(session, endings)])
    return gravest(code for _, code, _ in endings)


def apply(session: Session, arguments: Namespace) -> int:
    """`apply PLAN`: exactly that plan."""
    check_guard_names(arguments.accept)
    session.set_bandwidth(arguments.bandwidth)
    report = _executed(
        session,
        session.services.cancellation(),
        arguments.accept,
        lambda context: session.services.apply_plan(arguments.plan, context),
    )
    return report.execution.exit_code


def verify(session: Session, arguments: Namespace) -> int:
    """`verify TASK`: read both sides again."""
    session.set_bandwidth(arguments.bandwidth)
    task = session.task(arguments.task)
    report = _executed(
        session,
        session.services.cancellation(),
        (),
        lambda context: session.services.verify_task(task, context),
    )
    return report.execution.exit_code


def restore(session: Session, arguments: Namespace) -> int:
    """`restore TASK [PATH...]`: back from quarantine."""
    task = session.task(arguments.task)
    as_of = None
    if arguments.as_of is not None:
        from runner.cli.command_history import parse_since

        if arguments.execution is not None:
            raise UsageError(
                "--as-of and --execution ask for different things",
                remedy="--execution for what one execution moved aside, --as-of for what stood there at a moment.",
            )
        as_of = parse_since(arguments.as_of, session.clock.now(), "--as-of")
    with session.watching() as display:
        context = session.context(subscriber=display)
        result = session.services.restore(
            task, context, arguments.execution, arguments.path, arguments.list, as_of
        )
    if session.output.json:
        session.output.value(result)
    lines = [f"  {'  ' if arguments.list else '+ '}{safe(path)}" for path in result.entries]
    if result.executions:
        lines = [
            f"{line}  (moved aside by {execution})"
            for line, execution in zip(lines, result.executions, strict=True)
        ]
    if arguments.list:
        lines.append(f"{counted(len(result.entries), 'entry', 'entries')} can be restored.")
    elif not session.output.quiet:
        lines.append(f"{counted(result.restored, 'entry', 'entries')} restored.")
    if as_of is not None and not session.output.quiet:
        lines.append("Files replaced since then keep their present content: no run keeps what it replaces.")
    if result.problems:
        title = f"{counted(len(result.problems), 'problem')}:"
        lines += ["", session.page.paint(title, Style.BAD, Style.HEADING)]
        lines += problem_lines(result.problems, len(result.problems), session.page)
    session.output.result(lines)
    return ExitCode.ACTIONS_FAILED if result.problems else ExitCode.DONE


def _run(session: Session, task: Task, cancellation: Cancellation, arguments: Namespace) -> Report:
    """One task: by the service that works with this state folder, or else in this process."""
    if not arguments.here and task.filters.manifest is None and _serves(session):
        from runner.cli.command_service import parse_limit
        from runner.cli.through_service import run_in_service, service_client

        client = service_client(session)
        if client is not None:
            limit = None if arguments.bandwidth is None else parse_limit(arguments.bandwidth)
            try:
                report = run_in_service(session, client, task.name, arguments.accept, limit)
            finally:
                client.close()
            if report is not None:
                if report.execution.exit_code == ExitCode.INTERRUPTED:
                    # Ctrl-C ends the row of tasks, too.
                    cancellation.request()
                return _shown(session, report)
    return _executed(
        session, cancellation, arguments.accept, lambda context: session.services.run_task(task, context)
    )


def _serves(session: Session) -> bool:
    """Whether a service may be there: its socket is. Asking costs nothing where none ever was."""
    return os.path.exists(session.services.state(session.configuration()).service_socket)


def report_files(session: Session, report: Report) -> list[str]:
    """The report to open: the page if this execution wrote one, else what there is."""
    folder = session.services.state(session.configuration()).execution_folder(report.execution.execution_id)
    for name in ("report.html", "report.md", "report.json"):
        path = os.path.join(folder, name)
        if os.path.exists(path):
            return [path]
    return []


def _executed(
    session: Session,
    cancellation: Cancellation,
    accept: Sequence[str],
    execute: Callable[[Context], Report],
) -> Report:
    """Run one execution under the display and the signal handlers, and show its report."""
    with session.watching() as display, draining(cancellation, display.notice):
        context = session.context(subscriber=display, cancellation=cancellation, accept=accept)
        report = execute(context)
        warning = session.export_metrics()
        if warning is not None:
            display(Message("warning", warning))
    return _shown(session, report)


def _shown(session: Session, report: Report) -> Report:
    """Show how an execution ended; the report again."""
    if session.output.json:
        session.output.value(report)
    elif not session.output.quiet:
        session.output.result(
            report_text(
                report, session.page, files=report_files(session, report), config_flag=session.config_flag
            )
        )
    elif report.execution.exit_code != ExitCode.DONE:
        # Quiet is for cron: silence means success, so a failure has to speak.
        session.output.tell([f"{safe(report.execution.task)}: {safe(report.execution.summary)}"])
    return report


def _overview(session: Session, endings: Sequence[tuple[str, int, str]]) -> list[str]:
    good = sum(code == ExitCode.DONE for _, code, _ in endings)
    page = session.page
    rows = [(safe(name), str(code), safe(words)) for name, code, words in endings]
    styles = [[None, Style.GOOD if code == ExitCode.DONE else Style.BAD, Style.DIM] for _, code, _ in endings]
    title = f"{counted(len(endings), 'task')}, {good} without trouble:"
    return [
        page.paint(title, Style.HEADING),
        *table(("task", "code", "outcome"), rows, page, right=frozenset({1}), styles=styles),
    ]
