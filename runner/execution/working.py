"""TRANSFERRING and VERIFYING of one execution: plans and trees through workers, with progress."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from runner.diff.compare import Comparison
from runner.diff.merge import Merge
from runner.diff.tally import Tally
from runner.execution.circumstances import read_selection
from runner.execution.context import Context
from runner.execution.crew import Crew
from runner.execution.journal import Journal, JournalReader
from runner.inventory.both import both_listings
from runner.locations.pair import Endpoints
from runner.model.entry import Entry, Phase
from runner.model.events import Listed, Progressed
from runner.model.task import Compare, Task
from runner.plan.file import PlanReader
from runner.plan.parts import comparison_of, scope_of
from runner.transfer.batch import BatchSummary
from runner.transfer.coordinate import Transferred, carry_out
from runner.verify.batch import VerifySummary
from runner.verify.whole import Verified, WholeTree, verify_transferred


class _Meter:
    """Turns batches and ticks into Progressed events."""

    def __init__(self, context: Context, crew: Crew, phase: Phase, actions: int, size_bytes: int) -> None:
        self._context = context
        self._crew = crew
        self._phase = phase
        self._actions = actions
        self._size_bytes = size_bytes
        self._base = crew.bytes_moved()
        self._done = self._failed = 0
        self._path: str | None = None
        crew.on_progress = self.publish

    def add(self, done: int, failed: int, path: str | None) -> None:
        self._done += done
        self._failed += failed
        self._path = path
        self.publish()

    def publish(self) -> None:
        moved = self._crew.bytes_moved() - self._base
        self._context.subscriber(
            Progressed(
                self._phase, self._done, self._actions, moved, self._size_bytes, self._failed, self._path
            )
        )


def transfer(reader: PlanReader, context: Context, crew: Crew, journal: Journal) -> Transferred:
    """Carry out a plan; every action's outcome is in `journal` afterwards."""
    trailer = reader.trailer
    meter = _Meter(context, crew, Phase.TRANSFERRING, trailer.actions, trailer.totals.bytes_to_write)

    def on_batch(summary: BatchSummary) -> None:
        cancelled = summary.cancelled.files + summary.cancelled.folders
        meter.add(summary.actions, max(0, len(summary.attention) - cancelled), summary.last_path)
        crew.tick()

    workers = crew.workers(trailer.actions, trailer.totals.bytes_to_write)
    return carry_out(reader, workers, journal, crew.stopping, on_batch, crew.batch_actions(trailer.actions))


def verify_what_was_transferred(
    reader: PlanReader, transferred: Transferred, journal_path: str, context: Context, crew: Crew
) -> Verified:
    """Re-read at the destination what was done, against the digests taken at the source."""
    totals = reader.trailer.totals
    meter = _Meter(context, crew, Phase.VERIFYING, transferred.sums.done, totals.bytes_to_write)

    def on_batch(summary: VerifySummary) -> None:
        checked = summary.verified + summary.failed
        meter.add(checked.files + checked.folders, len(summary.findings), None)
        crew.tick()

    workers = crew.workers(reader.trailer.actions, totals.bytes_to_write)
    return verify_transferred(workers, _with_outcomes(reader, transferred, journal_path, crew), on_batch)


def _with_outcomes(
    reader: PlanReader, transferred: Transferred, journal_path: str, crew: Crew
) -> Iterator[bytes]:
    """Each action line followed by its outcome line, batch by batch as they were carried out."""
    lines = reader.lines()
    with JournalReader(journal_path) as journal:
        for batch in transferred.batches:
            if crew.stopping():
                return
            outcomes = journal.piece(batch.offset, batch.length).splitlines()
            request = []
            for outcome in outcomes:
                request += [next(lines).rstrip(b"\n"), outcome]
            yield b"\n".join(request)


def verify_everything(
    task: Task, context: Context, endpoints: Endpoints, crew: Crew, *, allows_extras: bool
) -> tuple[Verified, Tally]:
    """Both trees completely. The tally holds what was listed and what could not be."""
    selection = read_selection(task, context)
    tally = Tally()
    comparison = comparison_of(task, endpoints)
    seen = [0, 0]

    def hear_source(count: int) -> None:
        seen[0] = count
        context.subscriber(Listed(*seen))

    def hear_destination(count: int) -> None:
        seen[1] = count
        context.subscriber(Listed(*seen))

    source, destination = both_listings(task, endpoints, selection, hear_source, hear_destination)
    merge = Merge(
        source,
        destination,
        # Content is read by the workers, for every file; here only presence and metadata are looked at.
        msgspec.structs.replace(comparison, compare=Compare.SIZE_ONLY, transfer_all=False),
        scope_of(task, endpoints, selection),
        tally,
        reports_equal=True,
    )
    meter = _Meter(context, crew, Phase.VERIFYING, 0, 0)

    def on_batch(summary: VerifySummary) -> None:
        checked = summary.verified + summary.failed
        meter.add(checked.files + checked.folders, len(summary.findings), None)
        crew.tick()

    may_be_extra = None if selection.is_trivial else (lambda entry: selection.may_delete(entry).included)
    holds = endpoints.destination.capabilities

    def can_be_there(entry: Entry) -> bool:
        return entry.kind in holds.kinds and (holds.empty_directories or not entry.is_directory)

    tree = WholeTree(
        merge.differences(),
        _tolerance(comparison),
        allows_extras,
        may_be_extra,
        can_be_there,
        crew.pairs_at_once,
    )
    return tree.run(crew.workers(), on_batch), tally


def _tolerance(comparison: Comparison) -> int:
    return comparison.mtime_tolerance_ns if comparison.compares_mtime else 1 << 62
