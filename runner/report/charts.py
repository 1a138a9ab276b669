"""Geometry of the HTML report's charts: everything in percent, so that the template only draws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from runner.model.execution import Counters, Report
from runner.report.statistics import Measured, Statistics, seconds_since_epoch
from runner.units import format_duration, format_rate, format_size

# A sliver still has to be seen: what is not zero is at least this wide.
_LEAST_WIDTH = 0.6
_LONGEST_PATH = 36


class Segment(NamedTuple):
    """One part of a bar. `tone` is a class of style.css."""

    label: str
    value: str
    start: float
    width: float
    tone: str


class Bar(NamedTuple):
    """One labelled bar of a chart; `second` is a thinner bar below it (bytes beside counts), None = none;
    `title` is the label in full."""

    label: str
    value: str
    start: float
    width: float
    tone: str
    second: float | None = None
    title: str = ""


def phase_bars(report: Report) -> tuple[Bar, ...]:
    """A Gantt chart: each phase at its place in the execution's time."""
    if not report.phases:
        return ()
    begins = [seconds_since_epoch(timing.started_at) for timing in report.phases]
    origin = min(begins)
    ends = [begin + timing.duration_seconds for begin, timing in zip(begins, report.phases, strict=True)]
    total = max(max(ends) - origin, 1e-9)
    bars = []
    for begin, timing in zip(begins, report.phases, strict=True):
        start = min((begin - origin) / total * 100, 100 - _LEAST_WIDTH)
        width = min(max(timing.duration_seconds / total * 100, _LEAST_WIDTH), 100 - start)
        tone = {"SUCCESS": "accent", "ERROR": "bad"}.get(timing.status, "warn")
        bars.append(Bar(timing.phase, format_duration(timing.duration_seconds), start, width, tone))
    return tuple(bars)


def time_bars(report: Report) -> tuple[Bar, ...]:
    """What the time went into: parts of the time on the clock, with the seconds of all workers together."""
    return tuple(
        Bar(
            spent.activity,
            f"{spent.share:.0%} · {format_duration(spent.seconds)}",
            0.0,
            min(max(spent.share * 100, _LEAST_WIDTH), 100.0),
            "warn" if spent.activity.startswith("waiting") else "accent",
        )
        for spent in report.time
    )


def listed_segments(counters: Counters) -> tuple[Segment, ...]:
    """What became of the files listed at the source: the parts sum up to listed, exactly."""
    parts = (
        ("transferred", counters.transferred.files, "accent"),
        ("skipped", counters.skipped.files, "quiet"),
        ("excluded by filters", counters.excluded.files, "faint"),
        ("failed", counters.failed.files, "bad"),
    )
    total = sum(count for _, count, _ in parts)
    segments = []
    start = 0.0
    for label, count, tone in parts:
        width = count / total * 100 if total else 0.0
        segments.append(Segment(label, f"{count:,}", start, width, tone))
        start += width
    return tuple(segments)


def destination_bars(counters: Counters) -> tuple[Bar, ...]:
    """What became of entries that only the destination has."""
    parts = (
        ("deleted", counters.deleted, "remove"),
        ("quarantined", counters.quarantined, "warn"),
        ("kept", counters.kept, "quiet"),
    )
    most = max(counts.files + counts.folders for _, counts, _ in parts)
    return tuple(
        Bar(
            label,
            f"{counts.files + counts.folders:,}",
            0.0,
            _share(counts.files + counts.folders, most),
            tone,
        )
        for label, counts, tone in parts
        if counts.files + counts.folders
    )


def size_bars(statistics: Statistics) -> tuple[Bar, ...]:
    """Histogram of the written files' sizes: counts, bytes as second bar; no empty classes at its ends."""
    used = [index for index, size_class in enumerate(statistics.sizes) if size_class.files]
    if not used:
        return ()
    classes = statistics.sizes[used[0] : used[-1] + 1]
    most_files = max(size_class.files for size_class in classes)
    most_bytes = max(size_class.size_bytes for size_class in classes)
    return tuple(
        Bar(
            size_class.label,
            f"{size_class.files:,} · {format_size(size_class.size_bytes)}",
            0.0,
            _share(size_class.files, most_files),
            "accent",
            _share(size_class.size_bytes, most_bytes),
        )
        for size_class in classes
    )


def largest_bars(files: Sequence[Measured]) -> tuple[Bar, ...]:
    """One bar a file, in the order given, as long as its size."""
    most = max((measured.size_bytes for measured in files), default=0)
    return tuple(
        _file_bar(measured.path, format_size(measured.size_bytes), _share(measured.size_bytes, most))
        for measured in files
    )


def slowest_bars(files: Sequence[Measured]) -> tuple[Bar, ...]:
    """One bar a file, in the order given, as long as it took."""
    most = max((measured.duration_seconds for measured in files), default=0.0)
    return tuple(
        _file_bar(
            measured.path,
            format_duration(measured.duration_seconds),
            _share(measured.duration_seconds, most),
        )
        for measured in files
    )


def _file_bar(path: str, value: str, width: float) -> Bar:
    return Bar(_shortened(path), value, 0.0, width, "accent", title=path)


class Throughput(NamedTuple):
    """An area over 0..100 x 0..100 (y grows downward) with the words for its axes."""

    area: str
    line: str
    peak: str
    duration: str


def throughput_area(statistics: Statistics) -> Throughput | None:
    """None when nothing was transferred, or too fast for a curve to mean anything."""
    rates = statistics.throughput
    if not rates or statistics.throughput_seconds < 1:
        return None
    peak = max(rates)
    step = 100 / len(rates)
    points = [(step * (index + 0.5), 100 - rate / peak * 96) for index, rate in enumerate(rates)]
    points = [(0.0, points[0][1]), *points, (100.0, points[-1][1])]
    line = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return Throughput(
        area=f"0,100 {line} 100,100",
        line=line,
        peak=format_rate(peak),
        duration=format_duration(statistics.throughput_seconds),
    )


def _shortened(path: str) -> str:
    """The path with its middle left out when it is long: folder and name tell it apart, both at the ends."""
    if len(path) <= _LONGEST_PATH:
        return path
    half = (_LONGEST_PATH - 1) // 2
    return f"{path[:half]}…{path[-half:]}"


def _share(value: float, most: float) -> float:
    if value <= 0 or most <= 0:
        return 0.0
    return max(value / most * 100, _LEAST_WIDTH)
