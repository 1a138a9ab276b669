"""The HTML report's file table as JSON: which rows a page holds, and each of them on one compact line."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from markupsafe import Markup

from runner.model.action import ActionKind
from runner.model.execution import Report
from runner.model.wire import terminal_safe
from runner.report.rows import Row, RowState, stream_rows
from runner.report.statistics import Statistics, seconds_since_epoch

ROWS_AT_MOST = 200_000

STATE_INDEX = {state: index for index, state in enumerate(RowState)}
KIND_INDEX = {kind: index for index, kind in enumerate(ActionKind)}


def chosen_rows(folder: str, report: Report, statistics: Statistics, at_most: int) -> Iterator[Row]:
    """The rows of a page that has room for `at_most`, in stream order: those that are not done go first."""
    done_total = statistics.states.get(RowState.DONE, 0)
    room_for_done = max(0, at_most - (statistics.rows - done_total))
    attention = 0
    done = 0
    for row in stream_rows(folder, report):
        if row.state is RowState.DONE:
            done += 1
            if done <= room_for_done:
                yield row
        elif attention < at_most:
            attention += 1
            yield row


def row_lines(rows: Iterator[Row], report: Report) -> Iterator[Markup]:
    """Each row as a JSON array, the commas between them included.

    [characters shared with the path before, the rest of the path, state, kind (-1 = no action), bytes,
    milliseconds, start in milliseconds after the execution's, attempts, digest, code, message, agent];
    empty cells at the end are left out. Sharing what neighbours have in common halves the page.
    """
    origin = seconds_since_epoch(report.execution.started_at)
    previous = ""
    separator = ""
    for row in rows:
        path = terminal_safe(row.path) or "/"
        shared = _shared_ascii(previous, path)
        previous = path
        cells: list[str | int | float] = [shared, path[shared:], STATE_INDEX[row.state]]
        outcome = row.outcome
        if outcome is None:
            cells += [-1, 0, 0, 0, 0, ""]
        else:
            begin = round((outcome.started_at - origin) * 1000) if outcome.started_at else 0
            duration_ms = round(outcome.duration_seconds * 1000, 1)
            digest = terminal_safe(outcome.digest or "")
            cells += [KIND_INDEX[outcome.kind], outcome.bytes, duration_ms, begin, outcome.attempts, digest]
        cells += [terminal_safe(row.code), terminal_safe(row.message)]
        cells.append(terminal_safe(outcome.agent or "") if outcome is not None else "")
        while cells[-1] == "":
            cells.pop()
        yield Markup(separator) + _embedded_json(cells)  # noqa: S704 - a constant
        separator = ",\n"


def row_words(report: Report) -> Markup:
    """What the numbers in the rows stand for, as JSON."""
    return _embedded_json(
        {
            "states": list(RowState),
            "kinds": list(ActionKind),
            "origin_ms": round(seconds_since_epoch(report.execution.started_at) * 1000),
        }
    )


def _shared_ascii(left: str, right: str) -> int:
    """How many characters both start with; stops at the first that is not ASCII, for JavaScript counts UTF-16
    units and Python code points: only ASCII counts alike."""
    for count, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other or one > "\x7f":
            return count
    return min(len(left), len(right))


def _embedded_json(value: object) -> Markup:
    """JSON for a script element: `<` cannot end it, nor open a comment in it (HTML, 4.12.1.3)."""
    text = msgspec.json.encode(value).decode().replace("<", "\\u003c")
    return Markup(text)  # noqa: S704 - the one character that matters was just replaced
