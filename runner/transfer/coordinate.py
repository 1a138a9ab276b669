"""Carries out a whole plan: stage after stage, in batches, with a journal of every outcome.

A stage begins when the one before has ended. Within a stage, batches are slices of the plan in its own order,
so a worker mostly stays in one folder. Where something is removed, a folder comes after what is in it: in the same
batch, or when the batches before have ended.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple, Protocol

import msgspec

from runner.model.action import Outcome, Stage
from runner.model.execution import Counts
from runner.plan.file import PlanReader
from runner.transfer.batch import BatchSummary, cancel_lines, lost_lines, split_answer

BATCH_ACTIONS = 128
BATCH_ACTIONS_IN_BULK = 256
BATCH_BYTES = 32 << 20
REMOVALS_AT_LEAST = 16
"""Removals in a batch, so that few folders have to wait for other batches."""
ATTENTION_AT_MOST = 10_000
_SIZES = re.compile(rb'"size_bytes":(\d+)')
"""In a line of JSON: a quote inside of a text is written with a backslash, so no name looks like this."""
_BOTTOM_UP = frozenset({Stage.MAKE_WAY, Stage.REMOVE})


class Journals(Protocol):
    """Where outcome lines go; what was written before a `flush` outlives this process."""

    def write(self, lines: bytes, /) -> object: ...

    def flush(self) -> None: ...


class Workers(Protocol):
    """Where batches run. Answers come as they are ready, each with its request's number."""

    def run(self, job: str, requests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]: ...


class _Slim(msgspec.Struct, frozen=True):
    """What dispatching needs to know of an action line."""

    id: int
    path: str
    size_bytes: int = 0

    def holds(self, path: str) -> bool:
        """True for a folder that holds what stands at `path`."""
        return self.path.endswith("/") and path.startswith(self.path)


_SLIM = msgspec.json.Decoder(_Slim)


class JournalledBatch(msgspec.Struct, frozen=True):
    """Where the outcomes of one batch stand in the journal."""

    first_id: int
    actions: int
    offset: int
    length: int


class Transferred(msgspec.Struct, frozen=True):
    """The end of a transfer: sums, what did not go well (at most ATTENTION_AT_MOST), and the journal's index."""

    sums: BatchSummary
    attention: tuple[Outcome, ...]
    attention_total: int
    batches: tuple[JournalledBatch, ...]
    aborted: bool


class _Sums:
    def __init__(self) -> None:
        self.summary = BatchSummary()
        self.attention: list[Outcome] = []
        self.attention_total = 0

    def add(self, summary: BatchSummary) -> None:
        before = self.summary
        changed = {}
        for name in BatchSummary.__struct_fields__:
            value = getattr(summary, name)
            if isinstance(value, bool):
                changed[name] = value or getattr(before, name)
            elif isinstance(value, (int, Counts)):
                changed[name] = getattr(before, name) + value
        self.summary = msgspec.structs.replace(before, last_path=summary.last_path, **changed)
        self.attention_total += len(summary.attention)
        room = ATTENTION_AT_MOST - len(self.attention)
        self.attention.extend(summary.attention[:room])


def carry_out(
    reader: PlanReader,
    workers: Workers,
    journal: Journals,
    stopping: Callable[[], bool],
    on_batch: Callable[[BatchSummary], None],
    batch_actions: int = BATCH_ACTIONS,
) -> Transferred:
    """Carry out every action of a plan; each gets exactly one outcome line in `journal`.

    When `stopping` or a batch says that going on is pointless (no space, read-only), what was not begun is
    recorded as cancelled. Memory: the batches in flight, and 4 numbers a batch.
    """
    coordinator = _Coordinator(journal, stopping, on_batch)
    for stage in _stages(reader, batch_actions):
        coordinator.carry_out(stage, workers)
    return coordinator.transferred()


class _Coordinator:
    """Sends batches and settles their answers."""

    def __init__(
        self, journal: Journals, stopping: Callable[[], bool], on_batch: Callable[[BatchSummary], None]
    ) -> None:
        self._journal = journal
        self._stopping = stopping
        self._on_batch = on_batch
        self._sums = _Sums()
        self._batches: list[JournalledBatch] = []
        self._offset = 0
        self._sent: dict[int, _Batch] = {}

    def carry_out(self, stage: Iterator[_Batch], workers: Workers) -> None:
        """All batches of one stage; what is not sent any more is recorded as cancelled."""
        for number, answer in workers.run("transfer", self._requests(stage)):
            batch = self._sent.pop(number)
            self._settle(batch, answer or lost_lines(batch.lines))
        aborted = self._sums.summary.abort
        message = "not begun: the destination takes no more" if aborted else "cancelled"
        for batch in stage:
            self._settle(batch, cancel_lines(batch.lines, message))

    def transferred(self) -> Transferred:
        self._batches.sort(key=lambda batch: batch.first_id)
        sums = self._sums
        return Transferred(
            sums.summary,
            tuple(sums.attention),
            sums.attention_total,
            tuple(self._batches),
            sums.summary.abort,
        )

    def _requests(self, stage: Iterator[_Batch]) -> Iterator[bytes]:
        for number in itertools.count():
            if self._stopping() or self._sums.summary.abort:
                return
            batch = next(stage, None)
            if batch is None:
                return
            self._sent[number] = batch
            yield b"".join(batch.lines)

    def _settle(self, batch: _Batch, answer: bytes) -> None:
        summary, lines = split_answer(answer)
        self._journal.write(lines)
        # What is done is on record, whatever happens to this process next.
        self._journal.flush()
        self._batches.append(JournalledBatch(batch.first_id, len(batch.lines), self._offset, len(lines)))
        self._offset += len(lines)
        self._sums.add(summary)
        self._on_batch(summary)


class _Batch(NamedTuple):
    """A slice of the plan: the id of its first action, and its lines."""

    first_id: int
    lines: list[bytes]


def _stages(reader: PlanReader, batch_actions: int) -> Iterator[Iterator[_Batch]]:
    """Iterators of batches; each must be exhausted, and its batches have ended, before the next is asked for. One a
    stage, or several where a folder can be removed only when batches before it have ended."""
    lines = reader.lines()
    for stage, count in zip(Stage, reader.trailer.stages, strict=True):
        of_stage = itertools.islice(lines, count)
        if stage in _BOTTOM_UP:
            yield from _bottom_up(of_stage, max(batch_actions, REMOVALS_AT_LEAST))
        elif count:
            yield _forward(of_stage, batch_actions)


def _forward(lines: Iterator[bytes], at_most: int) -> Iterator[_Batch]:
    """Slices of a stage whose actions do not wait for one another."""
    while gathered := list(itertools.islice(lines, at_most)):
        # Sizes stand up to three times in a line: who has little by this count has little, and need not be looked at.
        if sum(map(int, _SIZES.findall(b"".join(gathered)))) <= BATCH_BYTES:
            yield _Batch(_SLIM.decode(gathered[0]).id, gathered)
        else:
            yield from _by_size(gathered)


def _by_size(lines: list[bytes]) -> Iterator[_Batch]:
    gathered: list[bytes] = []
    first_id = size = 0
    for line in lines:
        slim = _SLIM.decode(line)
        if gathered and size + slim.size_bytes > BATCH_BYTES:
            yield _Batch(first_id, gathered)
            gathered, size = [], 0
        if not gathered:
            first_id = slim.id
        gathered.append(line)
        size += slim.size_bytes
    yield _Batch(first_id, gathered)


def _bottom_up(lines: Iterator[bytes], at_most: int) -> Iterator[Iterator[_Batch]]:
    """Slices of a stage in which a folder comes after what is in it."""
    pending: list[tuple[bytes, _Slim]] = []

    def advance() -> None:
        following = next(lines, None)
        if following is not None:
            pending.append((following, _SLIM.decode(following)))

    def batches() -> Iterator[_Batch]:
        gathered: list[bytes] = []
        first_id = 0
        last_path = last_sent = ""
        while pending:
            line, slim = pending[0]
            full = False
            if len(gathered) >= at_most:
                # A batch that ends with a folder, and not inside of a small one: then nothing has to wait for it.
                whole = last_path.endswith("/") and not slim.holds(last_path)
                full = whole or (len(gathered) >= 2 * at_most and not slim.holds(last_path))
            if full:
                yield _Batch(first_id, gathered)
                gathered, last_sent = [], last_path
            if last_sent and slim.holds(last_sent):
                break
            pending.pop()
            if not gathered:
                first_id = slim.id
            gathered.append(line)
            last_path = slim.path
            advance()
        if gathered:
            yield _Batch(first_id, gathered)

    advance()
    while pending:
        yield batches()
