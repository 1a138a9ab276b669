"""CSV: one row a path, RFC 4180, for spreadsheets that must not run what a file name says."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import BinaryIO

from runner.clock import iso_utc
from runner.model.entry import path_bytes
from runner.model.wire import display, terminal_safe
from runner.report.rows import Row

COLUMNS = (
    "path",
    "status",
    "action",
    "bytes",
    "attempts",
    "started_at",
    "duration_seconds",
    "digest",
    "verdict",
    "code",
    "phase",
    "side",
    "message",
    "agent",
    "path_b64",
)

# What a spreadsheet takes for the start of a formula (OWASP "CSV Injection"), full-width twins included.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def write_csv(rows: Iterable[Row], output: BinaryIO) -> None:
    """UTF-8 without a byte order mark, CRLF line ends. Holds one row.

    A text cell that starts like a formula gets a leading apostrophe; control, format and line-end characters
    are visible escapes; bytes that are not UTF-8 become U+FFFD. Wherever that changed the path, `path_b64`
    holds its true bytes.
    """
    text = io.TextIOWrapper(output, encoding="utf-8", newline="", write_through=False)
    try:
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(COLUMNS)
        writer.writerows(_cells(row) for row in rows)
        text.flush()
    finally:
        text.detach()


def cell(text: str) -> str:
    """One text value as a spreadsheet may see it."""
    if text.isascii() and text.isprintable() and not text.startswith(_FORMULA_STARTS):
        return text
    shown = terminal_safe(display(text))
    return "'" + shown if text.startswith(_FORMULA_STARTS) else shown


def _cells(row: Row) -> tuple[str | int, ...]:
    outcome, finding, problem = row.outcome, row.finding, row.problem
    path = cell(row.path)
    done: tuple[str | int, ...] = ("", "", "", "", "", "", "")
    if outcome is not None:
        done = (
            outcome.status.value,
            outcome.kind.value,
            outcome.bytes,
            outcome.attempts,
            _instant(outcome.started_at) if outcome.started_at else "",
            f"{outcome.duration_seconds:.6f}",
            cell(outcome.digest or ""),
        )
    return (
        path,
        *done,
        "" if finding is None else finding.verdict.value,
        "" if problem is None else problem.code.value,
        "" if problem is None else problem.phase.value,
        cell(problem.side or "") if problem is not None else "",
        cell(row.message),
        cell(outcome.agent or "") if outcome is not None else "",
        "" if path == row.path else base64.b64encode(path_bytes(row.path)).decode("ascii"),
    )


def _instant(seconds_since_epoch: float) -> str:
    return iso_utc(datetime.fromtimestamp(seconds_since_epoch, UTC))
