"""One pass over the rows of an execution: states, sizes, largest and slowest files, throughput over time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from runner.model.action import ActionKind, Outcome, OutcomeStatus
from runner.model.entry import Phase
from runner.model.execution import Report
from runner.report.rows import Row, RowState

SIZE_BOUNDS: tuple[tuple[int, str], ...] = (
    (0, "empty"),
    (1024, "up to 1 KiB"),
    (16 * 1024, "1 – 16 KiB"),
    (256 * 1024, "16 – 256 KiB"),
    (4 * 1024**2, "256 KiB – 4 MiB"),
    (64 * 1024**2, "4 – 64 MiB"),
    (1024**3, "64 MiB – 1 GiB"),
)
LAST_SIZE_LABEL = "over 1 GiB"
TOP = 7
THROUGHPUT_SLOTS = 80
_CONTENT_KINDS = frozenset({ActionKind.COPY, ActionKind.REPLACE})


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
    kinds: dict[ActionKind, int]
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
    kinds: Counter[ActionKind] = Counter()
    files = [0] * (len(SIZE_BOUNDS) + 1)
    sizes = [0] * (len(SIZE_BOUNDS) + 1)
    largest: list[tuple[float, int, Measured]] = []
    slowest: list[tuple[float, int, Measured]] = []
    throughput = _Throughput(report)
    count = 0
    for count, row in enumerate(rows, start=1):
        states[row.state] += 1
        outcome = row.outcome
        if outcome is None:
            continue
        kinds[outcome.kind] += 1
        if outcome.kind not in _CONTENT_KINDS or outcome.status is not OutcomeStatus.DONE:
            continue
        index = _size_index(outcome.bytes)
        files[index] += 1
        sizes[index] += outcome.bytes
        throughput.add(outcome)
        measured = Measured(row.path, outcome.bytes, outcome.duration_seconds)
        # The row's number breaks ties in favour of the earlier row and keeps the result reproducible.
        _keep_top(largest, (outcome.bytes, -count, measured))
        _keep_top(slowest, (outcome.duration_seconds, -count, measured))
    labels = [label for _, label in SIZE_BOUNDS] + [LAST_SIZE_LABEL]
    return Statistics(
        rows=count,
        states={state: states[state] for state in RowState if states[state]},
        kinds={kind: kinds[kind] for kind in ActionKind if kinds[kind]},
        sizes=tuple(SizeClass(*values) for values in zip(labels, files, sizes, strict=True)),
        largest=tuple(measured for _, _, measured in sorted(largest, reverse=True)),
        slowest=tuple(measured for _, _, measured in sorted(slowest, reverse=True)),
        throughput=throughput.rates(),
        throughput_seconds=throughput.seconds,
    )


def _size_index(size_bytes: int) -> int:
    for index, (bound, _) in enumerate(SIZE_BOUNDS):
        if size_bytes <= bound:
            return index
    return len(SIZE_BOUNDS)


def _keep_top(heap: list[tuple[float, int, Measured]], ranked: tuple[float, int, Measured]) -> None:
    if len(heap) < TOP:
        heapq.heappush(heap, ranked)
    elif ranked > heap[0]:
        heapq.heapreplace(heap, ranked)


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
