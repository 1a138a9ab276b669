"""A report in the format asked for: into an execution's folder, or from a stored one onto a stream."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import BinaryIO

from runner.durable import write_whole
from runner.errors import StateUnavailableError
from runner.model.execution import Report
from runner.model.task import ReportFormat
from runner.report.as_csv import write_csv
from runner.report.as_json import write_json
from runner.report.as_junit import write_junit
from runner.report.as_markdown import write_markdown
from runner.report.rows import stream_rows
from runner.report.stored import REPORT_FILE, load_report

__all__ = ["FILE_NAMES", "load_report", "render", "write_report"]

FILE_NAMES: dict[ReportFormat, str] = {
    ReportFormat.JSON: REPORT_FILE,
    ReportFormat.HTML: "report.html",
    ReportFormat.CSV: "report.csv",
    ReportFormat.JUNIT: "report.junit.xml",
    ReportFormat.MARKDOWN: "report.md",
}


def write_report(folder: str, report: Report, formats: Iterable[ReportFormat]) -> list[str]:
    """Writes report.json, always and first, then each other format once; returns the paths in that order.

    outcomes.jsonl, findings.jsonl and problems.jsonl must be complete. Each file appears at once (temporary
    name, fsync, rename) with mode 0600. Memory: see `stream_rows` and `as_html`.

    Raises:
        RunnerError: a file cannot be written; those written before stay.
    """
    return [publish(folder, report, ReportFormat.JSON), *write_formats(folder, report, formats)]


def write_formats(folder: str, report: Report, formats: Iterable[ReportFormat]) -> list[str]:
    """As `write_report`, without report.json, which is there already."""
    return [
        publish(folder, report, format)
        for format in dict.fromkeys(formats)
        if format is not ReportFormat.JSON
    ]


def render(folder: str, format: ReportFormat, output: BinaryIO) -> None:
    """The report of the execution stored in `folder`, in that format, onto `output`, which stays open.

    Raises:
        UsageError: no report there, or a damaged one.
    """
    _write(folder, load_report(folder), format, output)


def _write(folder: str, report: Report, format: ReportFormat, output: BinaryIO) -> None:
    if format is ReportFormat.JSON:
        write_json(report, output)
    elif format is ReportFormat.CSV:
        write_csv(stream_rows(folder, report), output)
    elif format is ReportFormat.JUNIT:
        write_junit(report, output)
    elif format is ReportFormat.MARKDOWN:
        write_markdown(report, output)
    else:
        # Jinja2 costs more to import than all other formats together, so only HTML pays for it.
        from runner.report.as_html import write_html

        write_html(folder, report, output)


def publish(folder: str, report: Report, format: ReportFormat, content: bytes | None = None) -> str:
    """Write one format and return its path; see `write_report`. `content`: its bytes, where they are known already."""
    path = os.path.join(folder, FILE_NAMES[format])
    try:
        write_whole(
            path,
            lambda output: (
                _write(folder, report, format, output) if content is None else output.write(content)
            ),
            # The others can be made again from it.
            durable=format is ReportFormat.JSON,
        )
    except OSError as error:
        raise StateUnavailableError(
            f"{path}: cannot write the report: {error.strerror or error}",
            remedy=f"The execution itself has ended. Put that right, then: sync-runner report "
            f"{report.execution.execution_id} --format {format}",
        ) from error
    return path
