"""What became of scheduled times: written once or often, in any order, it comes to the same."""

from __future__ import annotations

import os
from datetime import datetime, timedelta

import msgspec
import pytest
from history_support import MakesReport, started, store_report

from runner.history.records import SlotOutcome, SlotRecord
from runner.history.state import StateDirectory
from runner.history.store import History
from runner.model.entry import Phase
from runner.testing.fake_clock import START, FakeClock


def slot(
    hours: float,
    outcome: SlotOutcome = SlotOutcome.RAN,
    *,
    task: str = "photos",
    reason: str = "",
    execution_id: str | None = None,
    decided_at: datetime = START,
) -> SlotRecord:
    return SlotRecord(
        task=task,
        slot=START + timedelta(hours=hours),
        outcome=outcome,
        reason=reason,
        execution_id=execution_id,
        decided_at=decided_at,
    )


def test_every_outcome_comes_back_as_it_was(history: History) -> None:
    records = [
        slot(
            number, outcome, reason=f"because of {outcome} b64:\udcff\0", execution_id=f"65a00000000{number}"
        )
        for number, outcome in enumerate(SlotOutcome)
    ]
    history.record_slots(records)
    assert history.slots() == records[::-1]


def test_listing_is_latest_first_and_takes_questions(history: History) -> None:
    records = [
        slot(
            number,
            SlotOutcome.RAN if number % 2 else SlotOutcome.MISSED,
            task="photos" if number < 4 else "music",
        )
        for number in range(6)
    ]
    history.record_slots(iter(records))

    def hours(found: list[SlotRecord]) -> list[float]:
        return [(one.slot - START) / timedelta(hours=1) for one in found]

    assert hours(history.slots()) == [5, 4, 3, 2, 1, 0]
    assert hours(history.slots(limit=2)) == [5, 4]
    assert hours(history.slots("photos")) == [3, 2, 1, 0]
    assert hours(history.slots(since=START + timedelta(hours=4))) == [5, 4]
    assert hours(history.slots(outcome=SlotOutcome.RAN)) == [5, 3, 1]
    assert hours(history.slots("music", START, 10, SlotOutcome.MISSED)) == [4]
    assert history.slots("none") == []


def test_two_tasks_may_have_the_same_time(history: History) -> None:
    history.record_slots([slot(1), slot(1, task="music")])
    assert [one.task for one in history.slots()] == ["music", "photos"]


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0, 2, 1)])
def test_the_last_word_stays_in_whatever_order_it_comes(history: History, order: tuple[int, ...]) -> None:
    words = [
        slot(1, SlotOutcome.QUEUED, decided_at=START),
        slot(
            1, SlotOutcome.INTERRUPTED, execution_id="65a000000001", decided_at=START + timedelta(seconds=1)
        ),
        slot(1, SlotOutcome.CAUGHT_UP, execution_id="65a000000002", decided_at=START + timedelta(seconds=2)),
    ]
    for number in order:
        history.record_slots([words[number]])
    assert history.slots() == [words[2]]
    history.record_slots([words[number] for number in order])
    assert history.slots() == [words[2]]


def test_many_are_written_at_once(history: History) -> None:
    records = [slot(number / 60) for number in range(2000)]
    history.record_slots(records)
    history.record_slots(msgspec.structs.replace(one, reason="again") for one in records)
    assert history.slots(limit=5000) == [
        msgspec.structs.replace(one, reason="again") for one in reversed(records)
    ]


def test_nothing_to_write_touches_nothing(history: History, state: StateDirectory) -> None:
    history.record_slots([])
    assert not os.path.exists(state.history_file)


def test_old_ones_are_forgotten_with_their_executions(
    history: History, state: StateDirectory, report_of: MakesReport, clock: FakeClock
) -> None:
    for number, days in enumerate((100, 90, 5), 1):
        report = report_of(
            f"65a00000000{number}", status=Phase.ERROR, started_at=START - timedelta(days=days)
        )
        history.record_end(report, store_report(state, report))
    history.record_start(started("65a000000009"))
    day = 24
    records = [
        slot(-100 * day, execution_id="65a000000001"),
        slot(-90 * day, execution_id="65a000000002"),
        slot(-80 * day, SlotOutcome.MISSED),
        slot(-70 * day, SlotOutcome.QUEUED),
        slot(-29 * day, SlotOutcome.SKIPPED),
        slot(-5 * day, execution_id="65a000000003"),
    ]
    history.record_slots(records)
    assert history.prune(30, 3, state) == ["65a000000001"]
    assert history.slots() == [records[5], records[4], records[3], records[1]]
    assert history.prune(30, 3, state) == []
