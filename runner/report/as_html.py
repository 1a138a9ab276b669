"""HTML: one self-contained page that can be forwarded, opened from a disk and printed.

Nothing is loaded from anywhere: style and script stand inside and are allowed by their SHA-256 in a content
security policy that allows nothing else. Every value passes `terminal_safe` (control, format and undecodable
characters become visible escapes) and Jinja2's autoescape; the file table's rows are
JSON in which `<` is an escape (page_rows.py), so no name can end the element that holds them.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.resources
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

import jinja2
from markupsafe import Markup

from runner.clock import iso_utc
from runner.model.action import SYMBOLS, ActionKind
from runner.model.entry import Phase
from runner.model.execution import Report
from runner.model.wire import encode_line, terminal_safe
from runner.report import charts
from runner.report.page_rows import RowTable
from runner.report.rows import Row, stream_pieces
from runner.report.statistics import Statistics, gather_statistics
from runner.report.words import concurrency_words, headline, next_steps
from runner.units import format_duration, format_rate, format_size

LISTED_IN_PAGE = 500

ACTION_WORDS: dict[ActionKind, str] = {
    ActionKind.CREATE_DIRECTORY: "create folder",
    ActionKind.COPY: "copy",
    ActionKind.REPLACE: "replace",
    ActionKind.SET_ATTRIBUTES: "metadata",
    ActionKind.LINK: "hard link",
    ActionKind.DELETE: "delete",
    ActionKind.QUARANTINE: "quarantine",
}
_COUNTER_ROWS = (
    ("Listed at the source", "listed"),
    ("Excluded by filters", "excluded"),
    ("Skipped", "skipped"),
    ("Planned", "prepared"),
    ("Transferred", "transferred"),
    ("Failed", "failed"),
    ("Stale", "stale"),
    ("Verified", "verified"),
    ("Verification failed", "failed_verify"),
    ("Listed at the destination", "listed_at_destination"),
    ("Deleted", "deleted"),
    ("Quarantined", "quarantined"),
    ("Extra, kept", "kept"),
)
_ALWAYS_COUNTED = frozenset({"listed", "excluded", "skipped", "transferred", "failed"})


def write_html(folder: str, report: Report, output: BinaryIO) -> None:
    """Reads the stored streams once, gathering figures and table, then writes the page.

    Memory: what `stream_pieces` and `RowTable` hold, and the report's own lists; the number of outcomes does
    not matter. The page holds at most ROWS_AT_MOST rows, those that are not simply done first, and says where
    the others are.
    """
    with RowTable(report) as table:
        statistics = gather_statistics(table.gather(stream_pieces(folder, report)), report)
        template = _environment().get_template("template.html.j2")
        for piece in template.generate(_context(report, statistics, table)):
            output.write(piece.encode())


def _environment() -> jinja2.Environment:
    """Autoescape on, undefined names are errors, and no text reaches the page with invisible characters."""
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(_resource),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _visible(value: Any) -> Any:
    return terminal_safe(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _resource(name: str) -> str:
    return importlib.resources.files("runner.report").joinpath(name).read_text(encoding="utf-8")


def _embedded(name: str) -> tuple[Markup, str]:
    """A script or style of ours as it stands in the page, and its source expression for the policy."""
    text = "\n" + _resource(name)
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704 - our own file, shipped in this package


def _context(report: Report, statistics: Statistics, table: RowTable) -> dict[str, Any]:
    execution, counters = report.execution, report.counters
    style, style_source = _embedded("style.css")
    script, script_source = _embedded("page.js")
    return {
        "report": report,
        "execution": execution,
        "counters": counters,
        "statistics": statistics,
        "style": style,
        "script": script,
        "policy": f"default-src 'none'; style-src {style_source}; script-src {script_source}; "
        "base-uri 'none'; form-action 'none'",
        "tone": _tone(report),
        "headline": headline(execution.exit_code, counters),
        "steps": next_steps(report),
        "figures": _figures(report),
        "phases": charts.phase_bars(report),
        "time_bars": charts.time_bars(report),
        "concurrency": None if report.concurrency is None else concurrency_words(report.concurrency),
        "segments": charts.listed_segments(counters),
        "destination_bars": charts.destination_bars(counters),
        "size_bars": charts.size_bars(statistics),
        "largest": charts.largest_bars(statistics.largest),
        "slowest": charts.slowest_bars(statistics.slowest),
        "throughput": charts.throughput_area(statistics),
        "counter_rows": _counter_rows(report),
        "problems": report.problems[:LISTED_IN_PAGE],
        "findings": report.findings[:LISTED_IN_PAGE],
        "settings": tuple(_flatten(report.settings)),
        "static_rows": tuple(_static_row(row) for row in table.static_rows),
        "shown_rows": table.shown,
        "row_words": table.words(),
        "row_lines": table.lines(),
        "readable_utc": _readable_utc,
    }


def _tone(report: Report) -> str:
    """The colour of the outcome: good, warn (nothing is broken, but somebody must decide), or bad."""
    if report.execution.exit_code == 0:
        return "good"
    if report.execution.status is Phase.CANCELLED or report.execution.exit_code in (3, 6, 8):
        return "warn"
    return "bad"


def _figures(report: Report) -> tuple[tuple[str, str, str], ...]:
    """(label, value, small print) of the key figures."""
    execution, counters = report.execution, report.counters
    seconds = next(
        (timing.duration_seconds for timing in report.phases if timing.phase is Phase.TRANSFERRING), 0.0
    )
    transferred, verified = counters.transferred.files, counters.verified.files
    problems, findings = report.problems_total, report.findings_total
    moved = seconds > 0 and transferred > 0
    rate = format_rate(counters.bytes_transferred / seconds) if moved else "–"
    per_second = transferred / seconds if moved else 0.0
    files_rate = f"{per_second:,.{1 if per_second < 10 else 0}f} files/s" if moved else "nothing to move"
    listed_size = format_size(counters.bytes_listed)
    return (
        ("Files transferred", f"{transferred:,}", f"of {counters.listed.files:,} listed"),
        ("Data written", format_size(counters.bytes_transferred), f"of {listed_size} listed"),
        ("Duration", format_duration(execution.duration_seconds), "from start to end"),
        ("Rate", rate, files_rate),
        (
            "Files verified",
            f"{verified:,}" if verified else "–",
            f"{format_size(counters.bytes_verified)} read again" if verified else "not verified",
        ),
        ("Need attention", f"{problems + findings:,}", f"{problems:,} problems, {findings:,} findings"),
    )


def _counter_rows(report: Report) -> tuple[tuple[str, int, int], ...]:
    rows = []
    for label, field in _COUNTER_ROWS:
        counts = getattr(report.counters, field)
        if counts.files or counts.folders or field in _ALWAYS_COUNTED:
            rows.append((label, counts.files, counts.folders))
    return tuple(rows)


def _flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Nested settings as (dotted key, value) pairs, in their own order; lists on one line."""
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{name}.")
        else:
            yield name, value if isinstance(value, str) else encode_line(value).decode()


def _static_row(row: Row) -> dict[str, str]:
    outcome = row.outcome
    return {
        "state": row.state,
        "action": "" if outcome is None else f"{SYMBOLS[outcome.kind]} {ACTION_WORDS[outcome.kind]}",
        "path": row.path or "/",
        "size": "" if outcome is None else format_size(outcome.bytes),
        "duration": "" if outcome is None else format_duration(outcome.duration_seconds),
        "started": _readable_utc(iso_utc(datetime.fromtimestamp(outcome.started_at, UTC)))
        if outcome is not None and outcome.started_at
        else "",
        "message": " ".join(piece for piece in (row.code, row.message) if piece),
    }


def _readable_utc(instant: str) -> str:
    """'2026-11-22T18:57:34.120Z' -> '2026-11-22 18:57:34 UTC'; other text stays as it is."""
    try:
        moment = datetime.fromisoformat(instant)
    except ValueError:
        return instant
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
