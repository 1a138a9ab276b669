"""Two executions side by side, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from runner.cli.show_history import local_time
from runner.cli.text import Page, Style, counted, number, safe, table
from runner.history.compare import Comparison, CounterPair
from runner.model.execution import Execution
from runner.model.wire import encode_line
from runner.units import format_duration, format_size

SHOWN = 20
"""So many problems or findings of a sort; --json holds more."""
_ALWAYS = frozenset({"listed.files", "transferred.files", "bytes_transferred"})


def comparison_lines(comparison: Comparison, page: Page) -> list[str]:
    """What both were, then what differs: times, counters, settings, problems, findings."""
    a, b = comparison.a, comparison.b
    lines = table(
        ("", safe(a.execution_id), safe(b.execution_id)),
        _facts(a, b),
        page,
        indent="  ",
        styles=_facts_styles(a, b),
    )
    if a.task != b.task:
        lines.append("  They are executions of two tasks.")
    times = [
        (
            pair.phase.value,
            _seconds(pair.a_seconds),
            _seconds(pair.b_seconds),
            _factor(pair.a_seconds, pair.b_seconds),
        )
        for pair in comparison.phases
    ]
    lines += _section("Times", ("phase", "A", "B", ""), times, page)
    counters = [
        (
            pair.counter.replace("_", " ").replace(".", ": "),
            _count(pair, pair.a),
            _count(pair, pair.b),
            _change(pair),
        )
        for pair in comparison.counters
        if pair.a != pair.b or pair.counter in _ALWAYS
    ]
    lines += _section("Counted", ("counter", "A", "B", "change"), counters, page)
    # Digests follow from the settings: alone they say that something differs which no report shows.
    told = [pair for pair in comparison.settings if not pair.setting.endswith("_digest")]
    settings = [(safe(pair.setting), _value(pair.a), _value(pair.b)) for pair in told or comparison.settings]
    if settings:
        lines += ["", page.paint("Settings that differ", Style.HEADING)]
        for name, before, after in settings:
            lines += [f"  {name}", f"    A {before}", f"    B {after}"]
    else:
        lines += ["", "The settings are the same."]
    for title, sign, listed, total in (
        ("Problems that are new", "+", comparison.problems_new, comparison.problems_new_total),
        ("Problems that are gone", "-", comparison.problems_gone, comparison.problems_gone_total),
    ):
        lines += _named(
            title, total, [f"{sign} {_path(one.path)}  {one.code.value}" for one in listed[:SHOWN]], page
        )
    for title, sign, found, total in (
        ("Findings that are new", "+", comparison.findings_new, comparison.findings_new_total),
        ("Findings that are gone", "-", comparison.findings_gone, comparison.findings_gone_total),
    ):
        lines += _named(
            title, total, [f"{sign} {_path(one.path)}  {one.verdict.value}" for one in found[:SHOWN]], page
        )
    return lines


def _facts(a: Execution, b: Execution) -> list[tuple[str, str, str]]:
    return [
        ("task", safe(a.task), safe(b.task)),
        ("outcome", _outcome(a), _outcome(b)),
        ("started", _started(a), _started(b)),
        ("took", format_duration(a.duration_seconds), format_duration(b.duration_seconds)),
        ("trigger", a.trigger.value, b.trigger.value),
    ]


def _facts_styles(a: Execution, b: Execution) -> list[list[Style | None]]:
    styles = [Style.GOOD if one.exit_code == 0 else Style.BAD for one in (a, b)]
    return [[None, *(styles if row == 1 else [None, None])] for row in range(5)]


def _outcome(execution: Execution) -> str:
    return execution.status.value.lower() + (f" ({execution.exit_code})" if execution.exit_code else "")


def _started(execution: Execution) -> str:
    return local_time(datetime.fromisoformat(execution.started_at))


def _section(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], page: Page) -> list[str]:
    if not rows:
        return []
    return ["", page.paint(title, Style.HEADING), *table(headings, rows, page, right=frozenset({1, 2, 3}))]


def _named(title: str, total: int, listed: Iterable[str], page: Page) -> list[str]:
    if total == 0:
        return []
    lines = ["", page.paint(f"{title}: {number(total)}", Style.HEADING), *(f"  {line}" for line in listed)]
    return lines + ([f"  and {counted(total - SHOWN, 'more', 'more')}: --json"] if total > SHOWN else [])


def _seconds(seconds: float | None) -> str:
    return "-" if seconds is None else format_duration(seconds)


def _factor(a: float | None, b: float | None) -> str:
    """How many times as long B took, where that says something."""
    if a is None or b is None or min(a, b) < 0.01:
        return ""
    return f"x {b / a:.1f}"


def _count(pair: CounterPair, value: int) -> str:
    return format_size(value) if pair.counter.startswith("bytes_") else number(value)


def _change(pair: CounterPair) -> str:
    change = pair.b - pair.a
    if change == 0:
        return "="
    return ("+" if change > 0 else "-") + _count(pair, abs(change))


def _value(value: Any) -> str:
    """A setting as it stands in a report; nothing for one that was not set."""
    if value is None:
        return "-"
    return safe(value if isinstance(value, str) else encode_line(value).decode("utf-8"))


def _path(path: str) -> str:
    return safe(path) or "(the root)"
