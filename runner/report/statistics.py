"""One pass over the rows of an execution: states, sizes, largest and slowest files, throughput over time."""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from runner.model.action import ActionKind, Outcome, OutcomeStatus
from runner.model.entry import Phase
from runner.model.execution import Report
from runner.report.rows import Row, RowState

SIZE_BOUNDS = (0, 1024, 16 * 1024, 256 * 1024, 4 * 1024**2, 64 * 1024**2, 1024**3)
SIZE_LABELS = (
    "empty",
    "up to 1 KiB",
    "1 – 16 KiB",
    "16 – 256 KiB",
    "256 KiB – 4 MiB",
    "4 – 64 MiB",
    "64 MiB – 1 GiB",
    "over 1 GiB",
)
TOP = 7
THROUGHPUT_SLOTS = 80


class SizeClass(NamedTuple):
    """How many files of a range of sizes were written, and their bytes."""

    label: str
    files: int
    size_bytes: int


class Measured(NamedTuple):
    """A written file with its size and the time it took."""

    path: str
    size_bytes: int
    duration_seconds: float


class Statistics(NamedTuple):
    """What one pass found. `throughput` is bytes per second in equal slots of `throughput_seconds` in all."""

    rows: int
    states: dict[RowState, int]
    sizes: tuple[SizeClass, ...]
    largest: tuple[Measured, ...]
    slowest: tuple[Measured, ...]
    throughput: tuple[float, ...]
    throughput_seconds: float


def seconds_since_epoch(instant: str) -> float:
    """RFC 3339 text as seconds since 1970; 0.0 for text that is no instant."""
    try:
        return datetime.fromisoformat(instant).timestamp()
    except ValueError:
        return 0.0


def gather_statistics(rows: Iterable[Row], report: Report) -> Statistics:
    """Reads `rows` to their end; holds counters and the TOP largest and slowest files, however many rows."""
    states: Counter[RowState] = Counter()
    files = [0] * (len(SIZE_BOUNDS) + 1)
    sizes = [0] * (len(SIZE_BOUNDS) + 1)
    largest, slowest = _Top(), _Top()
    throughput = _Throughput(report)
    done = 0
    for row in rows:
        if row.state is RowState.DONE:
            done += 1
        else:
            states[row.state] += 1
        outcome = row.outcome
        if outcome is None or outcome.status is not OutcomeStatus.DONE:
            continue
        if outcome.kind is not ActionKind.COPY and outcome.kind is not ActionKind.REPLACE:
            continue
        index = bisect_left(SIZE_BOUNDS, outcome.bytes)
        files[index] += 1
        sizes[index] += outcome.bytes
        throughput.add(outcome)
        largest.add(outcome.bytes, outcome)
        slowest.add(outcome.duration_seconds, outcome)
    states[RowState.DONE] = done
    return Statistics(
        rows=sum(states.values()),
        states={state: states[state] for state in RowState if states[state]},
        sizes=tuple(SizeClass(*values) for values in zip(SIZE_LABELS, files, sizes, strict=True)),
        largest=largest.files(),
        slowest=slowest.files(),
        throughput=throughput.rates(),
        throughput_seconds=throughput.seconds,
    )


class _Top:
    """The TOP outcomes of the highest rank; among equals the earlier one: the result is reproducible."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Outcome]] = []
        self._added = 0

    def add(self, rank: float, outcome: Outcome) -> None:
        self._added += 1
        if len(self._heap) < TOP:
            heapq.heappush(self._heap, (rank, -self._added, outcome))
        elif rank > self._heap[0][0]:
            heapq.heapreplace(self._heap, (rank, -self._added, outcome))

    def files(self) -> tuple[Measured, ...]:
        return tuple(
            Measured(outcome.path, outcome.bytes, outcome.duration_seconds)
            for _, _, outcome in sorted(self._heap, reverse=True)
        )


class _Throughput:
    """Bytes over the time of TRANSFERRING, in equal slots; a file's bytes are spread over its time."""

    def __init__(self, report: Report) -> None:
        self.seconds = 0.0
        self._start = 0.0
        for timing in report.phases:
            if timing.phase is Phase.TRANSFERRING:
                self._start = seconds_since_epoch(timing.started_at)
                self.seconds = timing.duration_seconds
        self._slots = [0.0] * THROUGHPUT_SLOTS

    def add(self, outcome: Outcome) -> None:
        if self.seconds <= 0 or outcome.bytes == 0:
            return
        slot_seconds = self.seconds / THROUGHPUT_SLOTS
        begin = (outcome.started_at - self._start) / slot_seconds
        end = begin + outcome.duration_seconds / slot_seconds
        first = min(max(int(begin), 0), THROUGHPUT_SLOTS - 1)
        last = min(max(int(end), first), THROUGHPUT_SLOTS - 1)
        if first == last:
            self._slots[first] += outcome.bytes
            return
        for slot in range(first, last + 1):
            share = min(end, slot + 1) - max(begin, slot)
            self._slots[slot] += outcome.bytes * max(share, 0.0) / (end - begin)

    def rates(self) -> tuple[float, ...]:
        if self.seconds <= 0 or not any(self._slots):
            return ()
        slot_seconds = self.seconds / THROUGHPUT_SLOTS
        return tuple(slot / slot_seconds for slot in self._slots)
