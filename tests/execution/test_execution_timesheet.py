"""Where the time went: what is told adds up, and stands under the right name."""

from __future__ import annotations

import json
import os
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.execution.timesheet import Timesheet
from runner.locations.observer import CELLS, NOBODY, SINCE, Observer, Stopwatch, observed, spent
from runner.model.activity import Activity, Concurrency, time_spent
from runner.model.entry import Phase
from runner.report.words import concurrency_words
from runner.testing.fake_clock import FakeClock

SECOND = 1_000_000_000


class Hands:
    """Instants as a test moves them."""

    def __init__(self) -> None:
        self.now_ns = 5 * SECOND

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture
def cells() -> array[int]:
    return array("Q", bytes(8 * CELLS))


def seconds(cells: array[int]) -> dict[str, float]:
    return {activity.name: cells[activity] / SECOND for activity in Activity if cells[activity]}


def test_a_stopwatch_adds_up_what_lies_inside_and_around(hands: Hands, cells: array[int]) -> None:
    watch = Stopwatch(cells, hands)
    hands.now_ns += 1 * SECOND
    with spent(watch, Activity.WRITING):
        hands.now_ns += 2 * SECOND
        with spent(watch, Activity.READING):
            hands.now_ns += 4 * SECOND
        hands.now_ns += 8 * SECOND
        with pytest.raises(KeyError), spent(watch, Activity.RETRIES):
            hands.now_ns += 16 * SECOND
            raise KeyError
    watch.at(Activity.PLANNING)
    hands.now_ns += 32 * SECOND
    watch.at(Activity.IDLE)
    assert seconds(cells) == {"IDLE": 1, "WRITING": 10, "READING": 4, "RETRIES": 16, "PLANNING": 32}


def test_what_compiled_code_told_is_not_counted_twice(hands: Hands, cells: array[int]) -> None:
    watch = Stopwatch(cells, hands)
    watch.at(Activity.BOOKKEEPING)
    hands.now_ns += 10 * SECOND
    cells[Activity.READING] += 4 * SECOND
    cells[SINCE] += 4 * SECOND
    watch.at(Activity.IDLE)
    assert seconds(cells) == {"READING": 4, "BOOKKEEPING": 6}
    # An estimate may exceed what there was: nothing becomes negative.
    cells[SINCE] += 4 * SECOND
    watch.at(Activity.IDLE)
    assert seconds(cells) == {"READING": 4, "BOOKKEEPING": 6}


def test_other_threads_are_not_counted(hands: Hands, cells: array[int]) -> None:
    watch = Stopwatch(cells, hands)

    def meddle() -> None:
        with spent(watch, Activity.WRITING):
            hands.now_ns += SECOND

    other = threading.Thread(target=meddle)
    other.start()
    other.join()
    watch.at(Activity.IDLE)
    assert seconds(cells) == {"IDLE": 1}


def test_values_and_hashers_are_passed_through(hands: Hands, cells: array[int]) -> None:
    watch = Stopwatch(cells, hands)
    closed: list[bool] = []

    def slow() -> Iterator[int]:
        try:
            for number in range(3):
                hands.now_ns += SECOND
                yield number
        finally:
            closed.append(True)

    values = observed(slow(), watch, Activity.LISTING)
    assert next(values) == 0
    hands.now_ns += 5 * SECOND
    assert next(values) == 1
    values.close()  # type: ignore[attr-defined]
    assert closed == [True]
    assert cells[Activity.LISTING] == 2 * SECOND

    class Hasher:
        content = b""

        def update(self, content: bytes) -> None:
            hands.now_ns += 3 * SECOND
            self.content += content

    hasher = watch.hashing(Hasher())
    hasher.update(b"ab")
    assert hasher.content == b"ab"
    assert cells[Activity.HASHING] == 3 * SECOND
    plain = Hasher()
    assert NOBODY.hashing(plain) is plain
    assert Observer().at(Activity.READING) is Activity.READING


def test_shares_are_parts_of_the_clock_and_seconds_of_all_threads() -> None:
    told = time_spent(
        [
            (2.0, {Activity.LISTING: 1.0, Activity.PLANNING: 1.0, Activity.IDLE: 50.0}),
            (8.0, {Activity.READING: 12.0, Activity.WRITING: 4.0, Activity.HASHING: 0.0}),
            (0.0, {}),
        ]
    )
    assert [(one.activity, one.seconds, one.share) for one in told] == [
        ("listing", 1.0, 0.1),
        ("planning", 1.0, 0.1),
        ("reading", 12.0, pytest.approx(0.6)),
        ("writing", 4.0, pytest.approx(0.2)),
    ]
    assert time_spent([]) == ()
    assert Activity.BANDWIDTH.word == "waiting for bandwidth"


def test_phases_are_told_apart_and_workers_added() -> None:
    clock = FakeClock()
    sheet = Timesheet(clock)
    workers = {Activity.WRITING: 0.0}
    sheet.of_workers = lambda: dict(workers)
    clock.advance(100)  # before the first phase: nobody's
    sheet.enter(Phase.PREPARING)
    clock.advance(2)
    sheet.enter(Phase.TRANSFERRING)
    clock.advance(8)
    workers[Activity.WRITING] = 14.0
    sheet.end()
    told = {one.activity: one for one in sheet.spent()}
    assert told["writing"].seconds == 14.0
    # Measured by the true clock, which hardly moved meanwhile.
    assert set(told) == {"planning", "bookkeeping", "writing"}
    assert told["writing"].share == pytest.approx(0.8, abs=0.01)
    assert sum(one.share for one in told.values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (Concurrency(2, 2, 2, 2, True), "2 worked side by side."),
        (Concurrency(4, 4, 4, 4, False), "4 worked side by side, as the task says."),
        (Concurrency(32, 8, 48, 12, True, 3),
         "8 to 48 worked side by side, 12 at the end; the storage was overloaded or away 3 times."),
    ],
)  # fmt: skip
def test_concurrency_in_words(told: Concurrency, words: str) -> None:
    assert concurrency_words(told) == words


def _run(folder: Path, options: dict[str, object]) -> dict[str, object]:
    """The report of a run from `src` to `dst` by the installed command."""
    import subprocess
    import sys

    locations = {name: {"type": "local", "path": f"./{name}"} for name in ("src", "dst")}
    task = {"source": "src", "destination": "dst", "reports": ["json"], "options": options}
    (folder / "sync.yaml").write_text(
        json.dumps({"version": 1, "locations": locations, "tasks": {"t": task}})
    )
    ran = subprocess.run(
        [sys.executable, "-m", "runner", "run", "-q"], cwd=folder, capture_output=True, text=True, timeout=120
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    (path,) = (folder / ".sync-runner").rglob("report.json")
    report: dict[str, object] = json.loads(path.read_text())
    return report


@pytest.mark.parametrize("pure", ["0", "1"])
def test_a_local_copy_tells_what_it_did(tmp_path: Path, pure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if pure == "1":
        monkeypatch.setenv("SYNC_RUNNER_PURE_PYTHON", "1")
    for number in range(300):
        path = tmp_path / "src" / f"d{number % 7}" / f"f{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(40_000))
    report = _run(tmp_path, {})
    told = {one["activity"]: one for one in report["time"]}  # type: ignore[index, attr-defined]
    assert {"listing", "planning", "reading", "writing", "hashing", "verifying", "bookkeeping"} <= set(told)
    assert sum(one["share"] for one in told.values()) == pytest.approx(1, abs=0.02)
    assert not any(name.startswith("waiting") for name in told)


def test_waiting_for_bandwidth_is_told(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    for number in range(3):
        (tmp_path / "src" / f"f{number}").write_bytes(os.urandom(400_000))
    report = _run(tmp_path, {"bandwidth": "1 MB/s", "verify_mode": "none"})
    told = {one["activity"]: one for one in report["time"]}  # type: ignore[index, attr-defined]
    waiting = told["waiting for bandwidth"]
    assert waiting["seconds"] > 0.1
    assert waiting["share"] > max(
        one["share"] for name, one in told.items() if name in ("reading", "writing")
    )
