"""Markdown: a short summary for a pull request, an issue or a chat."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import BinaryIO

from runner.errors import ExitCode
from runner.model.execution import Report
from runner.model.wire import terminal_safe
from runner.report.rows import describe_difference
from runner.report.words import headline, next_steps
from runner.units import format_duration, format_size

SHOWN_AT_MOST = 50
COUNTER_ROWS = (
    ("Listed", "listed"),
    ("Transferred", "transferred"),
    ("Skipped", "skipped"),
    ("Excluded", "excluded"),
    ("Failed", "failed"),
    ("Verified", "verified"),
    ("Deleted", "deleted"),
    ("Quarantined", "quarantined"),
)


def write_markdown(report: Report, output: BinaryIO) -> None:
    """CommonMark with one GitHub table; problems before figures, SHOWN_AT_MOST problems and findings each."""
    output.write(("\n".join(_lines(report)) + "\n").encode())


def code_span(text: str) -> str:
    """Text in which nothing is markup, a mention or a link: its fence is longer than any in it."""
    shown = terminal_safe(text) or " "
    fence = "`" * (max((len(run) for run in re.findall("`+", shown)), default=0) + 1)
    # CommonMark strips one space on both sides when both are there: needed beside a backtick.
    padding = " " if shown.strip() and (shown[0] in "` " or shown[-1] in "` ") else ""
    return f"{fence}{padding}{shown}{padding}{fence}"


def plain(text: str) -> str:
    """Text of our own making inside a line, with every character escaped that could be markup there."""
    return re.sub(r"([\\`*_\[\]<>&|~])", r"\\\1", terminal_safe(text))


def _lines(report: Report) -> Iterator[str]:
    execution, counters = report.execution, report.counters
    yield f"## sync-runner: {plain(execution.task)} – {plain(headline(execution.exit_code, counters))}"
    yield ""
    yield f"**{plain(execution.summary)}**"
    yield ""
    steps = next_steps(report)
    if steps:
        yield "What to do next:"
        yield ""
        for step in steps:
            yield f"1. {plain(step.text)}" + (f" {code_span(step.command)}" if step.command else "")
        yield ""
    yield from _guards(report)
    yield from _problems(report)
    yield from _findings(report)
    yield "| | Files | Folders |"
    yield "|---|---:|---:|"
    for label, field in COUNTER_ROWS:
        counts = getattr(counters, field)
        if counts.files or counts.folders or field in ("listed", "transferred", "failed"):
            yield f"| {label} | {counts.files:,} | {counts.folders:,} |"
    yield ""
    yield (
        f"{format_size(counters.bytes_transferred)} in {format_duration(execution.duration_seconds)}, from "
        f"{code_span(report.source.description)} to {code_span(report.destination.description)}."
    )
    yield ""
    yield (
        f"Execution {code_span(execution.execution_id)} on {code_span(execution.host)},"
        f" {code_span(execution.started_at)} to {code_span(execution.ended_at)},"
        f" exit code {int(execution.exit_code)}{_meaning(execution.exit_code)}."
    )


def _meaning(exit_code: int) -> str:
    try:
        return f" ({ExitCode(exit_code).name.lower().replace('_', ' ')})"
    except ValueError:
        return ""


def _guards(report: Report) -> Iterator[str]:
    refused = [guard for guard in report.guards if not guard.accepted]
    if refused:
        yield "### Guards that refused"
        yield ""
        yield from (f"- {code_span(guard.guard)}: {code_span(guard.message)}" for guard in refused)
        yield ""


def _problems(report: Report) -> Iterator[str]:
    if not report.problems_total:
        return
    yield f"### Problems ({report.problems_total:,})"
    yield ""
    for problem in report.problems[:SHOWN_AT_MOST]:
        yield f"- {code_span(problem.path or '/')} – {code_span(problem.code)}: {code_span(problem.message)}"
    yield from _more(report.problems_total)
    yield ""


def _findings(report: Report) -> Iterator[str]:
    if not report.findings_total:
        return
    yield f"### Verification found ({report.findings_total:,})"
    yield ""
    for finding in report.findings[:SHOWN_AT_MOST]:
        said = finding.message or describe_difference(finding)
        detail = f": {code_span(said)}" if said else ""
        yield f"- {code_span(finding.path or '/')} – {code_span(finding.verdict)}{detail}"
    yield from _more(report.findings_total)
    yield ""


def _more(total: int) -> Iterator[str]:
    if total > SHOWN_AT_MOST:
        yield f"- … and {total - SHOWN_AT_MOST:,} more, in the CSV and HTML reports"
