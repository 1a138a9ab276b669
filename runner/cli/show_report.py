"""A finished execution as a calm summary: outcome, problems, counters, what next, where the report is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.cli.show_plan import endpoint, guard_lines, problem_lines
from runner.cli.text import (
    Page,
    Style,
    advice,
    cell_width,
    counted,
    number,
    safe,
    shortened,
    table,
    wrapped,
)
from runner.errors import EntryCode, ExitCode
from runner.model.action import Finding
from runner.model.execution import Counters, Counts, Report
from runner.units import format_duration, format_rate, format_size

SHOWN = 10


def report_text(
    report: Report, page: Page, *, files: Sequence[str] = (), config_flag: str = "", shown: int = SHOWN
) -> list[str]:
    """What a person wants to know after an execution. `files` are paths of the reports that were written."""
    from runner.report.words import headline, next_steps

    execution = report.execution
    good = execution.exit_code == ExitCode.DONE
    style = Style.GOOD if good else Style.BAD
    title = page.paint(f"{headline(execution.exit_code, report.counters)}.", style, Style.HEADING)
    lines = [f"{page.paint(safe(execution.task) + ':', Style.HEADING)} {title}"]
    lines += wrapped(safe(execution.summary), page, first="  ", rest="  ")
    route = f"  {endpoint(report.source)} -> {endpoint(report.destination)}"
    lines.append(page.paint(f"{route}, {format_duration(execution.duration_seconds)}", Style.DIM))
    if report.guards:
        lines += ["", *guard_lines(report.guards, page)]
    # What was never begun after Ctrl-C is a number, not a list that hides the true problems.
    problems = [problem for problem in report.problems if problem.code is not EntryCode.CANCELLED]
    cancelled = len(report.problems) - len(problems)
    total = report.problems_total - cancelled
    if cancelled:
        lines += ["", f"{counted(cancelled, 'action')} cancelled before they began."]
    if total:
        lines += ["", page.paint(f"{counted(total, 'problem')}:", Style.BAD, Style.HEADING)]
        lines += problem_lines(problems, total, page, shown)
    if report.findings_total:
        title = f"Verification found {counted(report.findings_total, 'difference')}:"
        lines += ["", page.paint(title, Style.BAD, Style.HEADING)]
        lines += _finding_lines(report.findings, report.findings_total, page, shown)
    counters = counter_rows(report.counters)
    if counters:
        lines += ["", *_counter_table(counters, report, page)]
    lines += _time_lines(report, page)
    said = {verdict.remedy for verdict in report.guards}
    told = f"code {EntryCode.CANCELLED}:"
    steps = [step for step in next_steps(report) if step.text not in said and told not in step.text]
    if steps and not good:
        lines += ["", page.paint("What to do:", Style.HEADING)]
        for step in dict.fromkeys(steps[:shown]):
            lines += _step_lines(step.text, step.command, page)
    lines += ["", *_where(report, files, page, config_flag, shown)]
    return lines


def counter_rows(counters: Counters) -> list[tuple[str, Counts, int | None]]:
    """(words, files and folders, bytes or None) of every counter that says something."""
    rows: list[tuple[str, Counts, int | None]] = [
        ("listed", counters.listed, counters.bytes_listed),
        ("excluded", counters.excluded, None),
        ("left as they are", counters.skipped, None),
        ("transferred", counters.transferred, counters.bytes_transferred),
        ("verified", counters.verified, counters.bytes_verified),
        ("deleted", counters.deleted, counters.bytes_deleted),
        ("quarantined", counters.quarantined, None),
        ("extras kept", counters.kept, None),
        ("failed", counters.failed, None),
        ("of these stale", counters.stale, None),
        ("failed to delete", counters.failed_delete, None),
        ("failed verification", counters.failed_verify, None),
    ]
    return [row for row in rows if row[1].files or row[1].folders]


def _counter_table(
    rows: Sequence[tuple[str, Counts, int | None]], report: Report, page: Page
) -> Iterator[str]:
    cells = [
        (words, number(counts.files), number(counts.folders), format_size(size) if size else "")
        for words, counts, size in rows
    ]
    bad = ("failed", "of these stale", "failed to delete", "failed verification")
    styles = [[Style.BAD if words in bad else None] * 4 for words, _, _ in rows]
    yield from table(("", "files", "folders", "size"), cells, page, right=frozenset({1, 2, 3}), styles=styles)
    transferring = next((timing for timing in report.phases if timing.phase.value == "TRANSFERRING"), None)
    size = report.counters.bytes_transferred
    if transferring is not None and size and transferring.duration_seconds >= 1:
        rate = format_rate(size / transferring.duration_seconds)
        yield page.paint(
            f"  {format_size(size)} in {format_duration(transferring.duration_seconds)}: {rate}", Style.DIM
        )


def _time_lines(report: Report, page: Page) -> Iterator[str]:
    """What a second or more went into, the most first: where a report of a moment would only tell of noise."""
    if report.execution.duration_seconds < 1:
        return
    parts = sorted((spent for spent in report.time if spent.share >= 0.01), key=lambda spent: -spent.share)
    if parts:
        words = ", ".join(f"{spent.activity} {spent.share:.0%}" for spent in parts)
        yield from (
            page.paint(line, Style.DIM) for line in wrapped(f"time: {words}", page, first="  ", rest="  ")
        )


def _finding_lines(findings: Sequence[Finding], total: int, page: Page, shown: int) -> Iterator[str]:
    for finding in findings[:shown]:
        code = page.paint(f"[{finding.verdict.value}]", Style.BAD)
        yield f"  {page.paint('!', Style.BAD)} {safe(finding.path) or '(the root)'} {code}"
        expected, actual = dict(finding.expected), dict(finding.actual)
        for field in dict.fromkeys([*expected, *actual]):
            side = f"{safe(expected.get(field, 'nothing'))}, found {safe(actual.get(field, 'nothing'))}"
            yield shortened(f"      {safe(field)}: expected {side}", page.width)
        if finding.message:
            yield from wrapped(safe(finding.message), page, first="      ", rest="      ")
    if total > len(findings[:shown]):
        yield f"    and {number(total - len(findings[:shown]))} more"


def _step_lines(text: str, command: str, page: Page) -> list[str]:
    """The step as a paragraph; its command is never broken, so that it can be copied."""
    lines = advice(safe(text), page, first="  -> ", rest="     ")
    if command:
        shown = safe(command)
        if cell_width(lines[-1]) + 1 + cell_width(shown) <= page.width:
            lines[-1] += " " + page.paint(shown, Style.COMMAND)
        else:
            lines.append("     " + page.paint(shown, Style.COMMAND))
    return lines


def _where(report: Report, files: Sequence[str], page: Page, config_flag: str, shown: int) -> Iterator[str]:
    for path in files:
        yield f"Report: {safe(path)}"
    command = f"sync-runner report {safe(report.execution.execution_id)}{config_flag}"
    if report.problems_total > shown or report.findings_total > shown:
        yield f"Everything: {page.paint(command + ' --format csv', Style.COMMAND)}"
    elif not files:
        yield f"Again later: {page.paint(command, Style.COMMAND)}"
