"""One pass over the rows of an execution: states, sizes, largest and slowest files, throughput over time."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from runner.model.action import ActionKind, Outcome, OutcomeStatus
from runner.model.entry import Phase
from runner.model.execution import Report
from runner.report.rows import Piece, Row, RowState

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

# Asked of every outcome: a member costs five times as much to look up through its class.
_DONE = OutcomeStatus.DONE
_COPY = ActionKind.COPY
_REPLACE = ActionKind.REPLACE


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


def gather_statistics(pieces: Iterable[Piece], report: Report) -> Statistics:
    """Reads `pieces` to their end; holds counters and the TOP largest and slowest files, however many rows."""
    states: Counter[RowState] = Counter()
    sizes = _Sizes()
    largest, slowest = _Top(), _Top()
    throughput = _Throughput(report)
    done = 0
    for piece in pieces:
        if isinstance(piece, Row):
            states[piece.state] += 1
            outcomes = [] if piece.outcome is None else [piece.outcome]
        else:
            done += len(piece)
            outcomes = piece
        written = [
            outcome
            for outcome in outcomes
            if outcome.status is _DONE and (outcome.kind is _COPY or outcome.kind is _REPLACE)
        ]
        if written:
            sizes.add([outcome.bytes for outcome in written])
            largest.add([outcome.bytes for outcome in written], written)
            slowest.add([outcome.duration_seconds for outcome in written], written)
            throughput.add(written)
    states[RowState.DONE] += done
    return Statistics(
        rows=sum(states.values()),
        states={state: states[state] for state in RowState if states[state]},
        sizes=sizes.classes(),
        largest=largest.files(),
        slowest=slowest.files(),
        throughput=throughput.rates(),
        throughput_seconds=throughput.seconds,
    )


class _Sizes:
    """Counts files and bytes of each class of SIZE_BOUNDS."""

    def __init__(self) -> None:
        self._files = [0] * len(SIZE_LABELS)
        self._bytes = [0] * len(SIZE_LABELS)

    def add(self, sizes: list[int]) -> None:
        sizes.sort()
        start = 0
        for index in range(len(SIZE_LABELS)):
            end = bisect_right(sizes, SIZE_BOUNDS[index]) if index < len(SIZE_BOUNDS) else len(sizes)
            self._files[index] += end - start
            self._bytes[index] += sum(sizes[start:end])
            start = end

    def classes(self) -> tuple[SizeClass, ...]:
        return tuple(SizeClass(*values) for values in zip(SIZE_LABELS, self._files, self._bytes, strict=True))


class _Top:
    """The TOP outcomes of the highest rank; among equals the earlier one: the result is reproducible."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Outcome]] = []
        self._added = 0

    def add(self, ranks: Sequence[float], outcomes: list[Outcome]) -> None:
        floor = self._heap[0][0] if len(self._heap) == TOP else -1.0
        for index in [index for index, rank in enumerate(ranks) if rank > floor]:
            ranked = (ranks[index], -self._added - index, outcomes[index])
            if len(self._heap) < TOP:
                heapq.heappush(self._heap, ranked)
            elif ranked[0] > self._heap[0][0]:
                heapq.heapreplace(self._heap, ranked)
        self._added += len(ranks)

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

    def add(self, outcomes: list[Outcome]) -> None:
        if self.seconds <= 0:
            return
        start, slot_seconds, slots = self._start, self.seconds / THROUGHPUT_SLOTS, self._slots
        for outcome in outcomes:
            begin = (outcome.started_at - start) / slot_seconds
            end = begin + outcome.duration_seconds / slot_seconds
            first = int(begin)
            if first == int(end) and 0 <= first < THROUGHPUT_SLOTS:  # as nearly all
                slots[first] += outcome.bytes
                continue
            first = min(max(first, 0), THROUGHPUT_SLOTS - 1)
            last = min(max(int(end), first), THROUGHPUT_SLOTS - 1)
            if first == last:
                slots[first] += outcome.bytes
                continue
            for slot in range(first, last + 1):
                share = min(end, slot + 1) - max(begin, slot)
                slots[slot] += outcome.bytes * max(share, 0.0) / (end - begin)

    def rates(self) -> tuple[float, ...]:
        if self.seconds <= 0 or not any(self._slots):
            return ()
        slot_seconds = self.seconds / THROUGHPUT_SLOTS
        return tuple(slot / slot_seconds for slot in self._slots)
