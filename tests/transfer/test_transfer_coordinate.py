"""A whole plan: stage after stage, every action one outcome in the journal, whatever the workers do."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from runner.errors import EntryCode
from runner.model.action import Action, ActionKind, Outcome, OutcomeStatus, Stage
from runner.model.difference import Reason
from runner.model.entry import Entry, Kind, Phase, Problem
from runner.model.execution import Counters, Counts, EndpointSummary
from runner.model.plan import ActionTotals, PlanHeader, PlanTrailer
from runner.model.wire import decode_line, encode_line
from runner.plan.file import PlanReader, PlanWriter, write_plan_file
from runner.transfer import coordinate
from runner.transfer.batch import BatchSummary, SummaryBuilder
from runner.transfer.coordinate import Transferred, carry_out

HEADER = PlanHeader(
    task="t",
    config_digest="",
    filter_digest="",
    source=EndpointSummary("src", "memory", ""),
    destination=EndpointSummary("dst", "memory", ""),
    options={},
)
TRAILER = PlanTrailer(
    actions=0,
    stages=(),
    totals=ActionTotals(),
    counters=Counters(),
    complete=True,
    problems=(),
    problems_total=0,
    guards=(),
    losses=(),
    destination_entries=Counts(),
    destination_bytes=0,
)


def planned(folder: Path, stages: dict[Stage, int], size_bytes: int = 1) -> PlanReader:
    """A plan with so many actions a stage."""
    with contextlib.closing(PlanWriter()) as writer:
        for stage, count in stages.items():
            for number in range(count):
                path = f"{stage.name}-{number:03d}"
                entry = Entry(path, Kind.FILE, size_bytes=size_bytes)
                writer.add(
                    Action(0, ActionKind.COPY, stage, path, entry, None, (Reason.MISSING,), size_bytes)
                )
        write_plan_file(str(folder / "plan"), writer, HEADER, TRAILER)
    return PlanReader(str(folder / "plan"))


class Workers:
    """Takes all requests of a stage, then answers them backwards. `outcome_of` decides; None = no answer."""

    def __init__(self, outcome_of: Callable[[Action], Outcome | None], in_flight: int = 3) -> None:
        self._outcome_of = outcome_of
        self._in_flight = in_flight
        self.stages: list[list[Stage]] = []

    def run(self, job: str, requests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        assert job == "transfer"
        seen: list[Stage] = []
        self.stages.append(seen)
        waiting: list[tuple[int, bytes]] = []
        for number, request in enumerate(requests):
            actions = [decode_line(line, Action) for line in request.splitlines()]
            seen += {action.stage for action in actions}
            waiting.append((number, self._answer(actions)))
            if len(waiting) == self._in_flight:
                yield from reversed(waiting)
                waiting.clear()
        yield from reversed(waiting)

    def _answer(self, actions: list[Action]) -> bytes:
        builder = SummaryBuilder()
        lines = []
        for action in actions:
            outcome = self._outcome_of(action)
            if outcome is None:
                return b""
            builder.add(action, outcome)
            lines.append(encode_line(outcome))
        return b"\n".join([encode_line(builder.summary()), *lines]) + b"\n"


def done(action: Action) -> Outcome:
    return Outcome(action.id, action.kind, action.path, OutcomeStatus.DONE, bytes=action.size_bytes)


def failed(action: Action, code: EntryCode) -> Outcome:
    problem = Problem(action.path, Phase.TRANSFERRING, code, "scripted")
    return Outcome(action.id, action.kind, action.path, OutcomeStatus.FAILED, problem=problem)


def carried(
    reader: PlanReader,
    workers: Workers,
    stopping: Callable[[], bool] = lambda: False,
    batch_actions: int = coordinate.BATCH_ACTIONS,
) -> tuple[Transferred, list[Outcome], list[BatchSummary]]:
    journal = io.BytesIO()
    heard: list[BatchSummary] = []
    transferred = carry_out(reader, workers, journal, stopping, heard.append, batch_actions)
    content = journal.getvalue()
    # The journal's index leads to every batch, in the plan's order.
    lines: list[bytes] = []
    for batch in transferred.batches:
        slice_ = content[batch.offset : batch.offset + batch.length].splitlines()
        assert len(slice_) == batch.actions
        assert decode_line(slice_[0], Outcome).action_id == batch.first_id
        lines += slice_
    outcomes = [decode_line(line, Outcome) for line in lines]
    assert [outcome.action_id for outcome in outcomes] == list(range(1, reader.trailer.actions + 1))
    assert sum(len(line) + 1 for line in lines) == len(content)
    return transferred, outcomes, heard


ALL = {Stage.MAKE_WAY: 1, Stage.WRITE: 300, Stage.LINK: 2, Stage.REMOVE: 130, Stage.FINISH_FOLDERS: 3}


def test_stage_after_stage(tmp_path: Path) -> None:
    workers = Workers(done)
    transferred, outcomes, heard = carried(planned(tmp_path, ALL), workers)
    assert [set(stage) for stage in workers.stages] == [{stage} for stage in ALL]
    assert {outcome.status for outcome in outcomes} == {OutcomeStatus.DONE}
    assert (transferred.sums.actions, transferred.sums.done, transferred.sums.bytes) == (436, 436, 436)
    assert (transferred.aborted, transferred.attention_total) == (False, 0)
    assert sum(summary.actions for summary in heard) == 436


def test_an_empty_plan(tmp_path: Path) -> None:
    transferred, outcomes, _ = carried(planned(tmp_path, {}), Workers(done))
    assert (outcomes, transferred.batches, transferred.sums) == ([], (), BatchSummary())


def test_batches_are_bounded_by_count_and_by_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    transferred, _, _ = carried(planned(tmp_path, {Stage.WRITE: 300}), Workers(done))
    assert max(batch.actions for batch in transferred.batches) <= coordinate.BATCH_ACTIONS
    monkeypatch.setattr(coordinate, "BATCH_BYTES", 10)
    transferred, _, _ = carried(planned(tmp_path, {Stage.WRITE: 9}, size_bytes=4), Workers(done))
    assert [batch.actions for batch in transferred.batches] == [2, 2, 2, 2, 1]
    transferred, _, _ = carried(planned(tmp_path, {Stage.WRITE: 3}, size_bytes=40), Workers(done))
    assert [batch.actions for batch in transferred.batches] == [1, 1, 1]


def test_an_end_of_space_cancels_what_was_not_begun(tmp_path: Path) -> None:

    def outcome_of(action: Action) -> Outcome:
        return failed(action, EntryCode.NO_SPACE) if action.path == "WRITE-004" else done(action)

    transferred, outcomes, _ = carried(
        planned(tmp_path, {Stage.WRITE: 20, Stage.REMOVE: 5}),
        Workers(outcome_of, in_flight=1),
        batch_actions=2,
    )
    statuses = [outcome.status.value for outcome in outcomes]
    assert statuses[:6] == ["done"] * 4 + ["failed", "done"]
    assert set(statuses[6:]) == {"cancelled"}
    assert transferred.aborted
    message = next(outcome.problem for outcome in outcomes if outcome.status is OutcomeStatus.CANCELLED)
    assert message is not None and message.message == "not begun: the destination takes no more"


def test_a_stop_cancels_what_was_not_begun(tmp_path: Path) -> None:
    looks = iter([False, False, True])
    transferred, outcomes, _ = carried(
        planned(tmp_path, {Stage.WRITE: 10, Stage.LINK: 1}), Workers(done), lambda: next(looks, True), 2
    )
    assert [outcome.status.value for outcome in outcomes] == ["done"] * 4 + ["cancelled"] * 7
    assert (transferred.sums.done, transferred.sums.cancelled.files, transferred.aborted) == (4, 7, False)


def test_a_lost_batch_is_failed_and_the_rest_goes_on(tmp_path: Path) -> None:
    transferred, outcomes, _ = carried(
        planned(tmp_path, {Stage.WRITE: 9, Stage.LINK: 1}),
        Workers(lambda action: None if action.path == "WRITE-004" else done(action)),
        batch_actions=3,
    )
    assert [outcome.status.value for outcome in outcomes] == ["done"] * 3 + ["failed"] * 3 + ["done"] * 4
    assert transferred.sums.failed_transfer == Counts(3, 0)
    assert {outcome.problem.code for outcome in transferred.attention if outcome.problem} == {
        EntryCode.INTERNAL
    }


def test_only_the_first_that_need_attention_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coordinate, "ATTENTION_AT_MOST", 5)
    transferred, _, _ = carried(
        planned(tmp_path, {Stage.WRITE: 300}), Workers(lambda action: failed(action, EntryCode.LOCKED))
    )
    assert (len(transferred.attention), transferred.attention_total) == (5, 300)
    assert transferred.sums.failed_transfer == Counts(300, 0)


def removals(folder: Path, paths: list[str]) -> PlanReader:
    """A plan that removes these, in this order."""
    with contextlib.closing(PlanWriter()) as writer:
        for path in paths:
            kind = Kind.DIRECTORY if path.endswith("/") else Kind.FILE
            entry = Entry(path, kind)
            writer.add(Action(0, ActionKind.DELETE, Stage.REMOVE, path, None, entry, (Reason.EXTRA,)))
        write_plan_file(str(folder / "plan"), writer, HEADER, TRAILER)
    return PlanReader(str(folder / "plan"))


class Batches(Workers):
    """Notes, for each path, when it was worked at: the number of its `run`, and of its batch."""

    def __init__(self) -> None:
        super().__init__(done)
        self.at: dict[str, tuple[int, int]] = {}
        self._batch = 0

    def _answer(self, actions: list[Action]) -> bytes:
        self._batch += 1
        self.at |= {action.path: (len(self.stages), self._batch) for action in actions}
        return super()._answer(actions)


@pytest.mark.parametrize("batch_actions", [1, 16, 20, 128])
@pytest.mark.parametrize(
    "paths",
    [
        [*(f"wide/{number:03d}" for number in range(300)), "wide/"],
        [
            path
            for number in range(100)
            for path in (f"d/{number:02d}/a", f"d/{number:02d}/b", f"d/{number:02d}/")
        ]
        + ["d/", "e"],
        ["/".join("x" * depth) + "/" for depth in range(90, 0, -1)],
        [
            *(f"d/f{number:02d}\udcff" for number in range(40)),
            "d/",
            *(f"d-{number:02d}/" for number in range(40)),
        ],
    ],
    ids=["one wide folder", "many small folders", "a deep chain", "names that are not UTF-8"],
)
def test_a_folder_is_removed_after_all_that_is_in_it(
    paths: list[str], batch_actions: int, tmp_path: Path
) -> None:
    workers = Batches()
    _, outcomes, _ = carried(removals(tmp_path, paths), workers, batch_actions=batch_actions)
    assert [outcome.path for outcome in outcomes] == paths
    for folder in (path for path in paths if path.endswith("/")):
        for path in paths:
            if path != folder and path.startswith(folder):
                before, after = workers.at[path], workers.at[folder]
                assert before[0] < after[0] or before[1] == after[1], f"{folder} is removed beside {path}"


def test_few_folders_wait_for_other_batches(tmp_path: Path) -> None:
    paths = [
        path for number in range(640) for path in (f"{number:03d}/a", f"{number:03d}/b", f"{number:03d}/")
    ]
    workers = Batches()
    carried(removals(tmp_path, paths), workers, batch_actions=16)
    assert len(workers.stages) == 1
