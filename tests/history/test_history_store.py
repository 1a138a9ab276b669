"""What history remembers and how it answers, on real SQLite files."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from history_support import MakesReport, started, store_report

from runner.history.records import FailedFinding, HistoryRow, HistoryStatus
from runner.history.started import STARTED_FILE, note_start
from runner.history.state import StateDirectory
from runner.history.store import History
from runner.history.tables import AnyText
from runner.model.action import Finding, Verdict
from runner.model.entry import Phase
from runner.model.execution import Counters, Counts
from runner.testing.fake_clock import START, FakeClock


def start(
    history: History, execution_id: str, *, pid: int = 1, task: str = "photos", host: str = "nas"
) -> None:
    history.record_start(started(execution_id, task=task, host=host, pid=pid))


def test_an_execution_from_start_to_end(history: History, report_of: MakesReport) -> None:
    start(history, "65a000000001", pid=os.getpid())
    running = history.get("65a000000001")
    assert running is not None
    assert (running.status, running.pid, running.exit_code) == (HistoryStatus.RUNNING, os.getpid(), None)
    history.record_end(report_of("65a000000001"), "/state/executions/65a000000001")
    assert history.get("65a000000001") == HistoryRow(
        execution_id="65a000000001",
        task="photos",
        trigger="manual",
        status=HistoryStatus.SUCCESS,
        exit_code=0,
        summary="SUCCESS of photos",
        started_at=START,
        ended_at=START + timedelta(seconds=90),
        duration_seconds=90.0,
        host="nas",
        pid=os.getpid(),
        process_key=running.process_key,
        runner_version="0.1.0",
        config_file="/etc/sync.yaml",
        config_digest="c0ffee",
        filter_digest="f11",
        plan_digest="9a1",
        source="/data/photos",
        source_identity="device 8:1",
        destination="/mnt/photos",
        destination_identity="device 8:2",
        counters=Counters(listed=Counts(files=12, folders=3), bytes_transferred=4096),
        folder="/state/executions/65a000000001",
    )


def test_an_end_whose_start_was_not_recorded_is_recorded(history: History, report_of: MakesReport) -> None:
    history.record_end(report_of("65a000000001"), "/folder")
    row = history.get("65a000000001")
    assert row is not None and (row.status, row.pid) == (HistoryStatus.SUCCESS, None)


def test_reading_a_history_that_is_not_there_makes_none(history: History, state: StateDirectory) -> None:
    answers = (
        history.list(),
        history.get("65a000000001"),
        history.failed_findings("65a000000001"),
        history.mark_interrupted("nas"),
        history.prune(0, 0),
        history.backfill(state),
    )
    assert answers == ([], None, [], [], [], [])
    # A file is not made by reading.
    assert not os.path.exists(state.history_file)


def test_listing_is_newest_first_and_takes_questions(history: History, report_of: MakesReport) -> None:
    for number in range(5):
        history.record_end(
            report_of(
                f"65a00000000{number}",
                task="photos" if number % 2 else "music",
                status=[Phase.SUCCESS, Phase.ERROR, Phase.CANCELLED][number % 3],
                started_at=START + timedelta(days=number),
            ),
            "/folder",
        )
    start(history, "65a000000009")

    def ids(rows: list[HistoryRow]) -> list[str]:
        return [row.execution_id[-1] for row in rows]

    assert ids(history.list()) == ["4", "3", "2", "1", "9", "0"]
    assert ids(history.list(limit=2)) == ["4", "3"]
    assert ids(history.list(task="photos")) == ["3", "1", "9"]
    assert ids(history.list(failed=True)) == ["4", "2", "1"]
    assert ids(history.list(since=START + timedelta(days=3))) == ["4", "3"]
    assert ids(history.list(task="music", failed=True, since=START + timedelta(days=3))) == ["4"]
    assert history.list(task="none") == []


def test_names_in_any_bytes_come_back(history: History, report_of: MakesReport) -> None:
    finding = Finding(
        "dir/invalid-\udcff\udcfe\n", Verdict.CHECKSUM_FAILURE, expected=(("digest", "a"), ("mode", "b"))
    )
    history.record_end(
        report_of("65a000000001", findings=(finding,), task="b64:ZmFrZQ==", config_file="/x/\udcff.yaml"),
        "/state/\udcfe",
    )
    row = history.get("65a000000001")
    assert row is not None
    assert (row.task, row.config_file, row.folder) == ("b64:ZmFrZQ==", "/x/\udcff.yaml", "/state/\udcfe")
    assert history.failed_findings("65a000000001") == [
        FailedFinding("dir/invalid-\udcff\udcfe\n", "checksum_failure", ("digest", "mode"))
    ]
    assert history.list(task="b64:ZmFrZQ==") == [row]


def test_a_text_that_others_damaged_is_shown_as_it_stands() -> None:
    assert AnyText().process_result_value("b64:Y*W8=", None) == "b64:Y*W8="
    assert AnyText().process_result_value("b64:/w==", None) == "\udcff"


def test_recording_an_end_again_changes_nothing(history: History, report_of: MakesReport) -> None:
    report = report_of("65a000000001", findings=(Finding("a", Verdict.FILE_ADDED),))
    history.record_end(report, "/folder")
    before = history.list(), history.failed_findings("65a000000001")
    history.record_end(report, "/folder")
    assert (history.list(), history.failed_findings("65a000000001")) == before


def test_rows_of_dead_processes_are_closed(history: History, clock: FakeClock) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    start(history, "65a000000001", pid=child.pid)
    start(history, "65a000000002", pid=os.getpid())
    start(history, "65a000000003", pid=child.pid, host="elsewhere")
    assert history.mark_interrupted("nas") == []
    child.kill()
    child.communicate()
    clock.advance(60)
    marked = history.mark_interrupted("nas")
    assert [(row.execution_id, row.status, row.summary) for row in marked] == [
        (
            "65a000000001",
            HistoryStatus.ERROR,
            f"Interrupted: process {child.pid} ended without a report.",
        )
    ]
    assert marked == [history.get("65a000000001")]
    assert marked[0].ended_at == START + timedelta(seconds=60)
    assert history.mark_interrupted("nas") == []
    assert {row.execution_id[-1]: row.status.value for row in history.list()} == {
        "1": "ERROR",
        "2": "RUNNING",
        "3": "RUNNING",
    }


def test_an_end_recorded_meanwhile_is_not_overwritten(history: History, report_of: MakesReport) -> None:
    start(history, "65a000000001", pid=4711)

    def gone(pid: int, key: str | None) -> bool:
        history.record_end(report_of("65a000000001"), "/folder")
        return True

    history.mark_interrupted("nas", gone)
    row = history.get("65a000000001")
    assert row is not None and row.status is HistoryStatus.SUCCESS


def test_reports_that_history_missed_are_taken_over(
    history: History, state: StateDirectory, report_of: MakesReport
) -> None:
    history.record_end(report_of("65a000000001"), store_report(state, report_of("65a000000001")))
    start(history, "65a000000002")
    store_report(state, report_of("65a000000002", status=Phase.ERROR))
    store_report(state, report_of("65a000000003", findings=(Finding("a", Verdict.FILE_REMOVED),)))
    state.execution_folder("65a000000004", create=True)
    with open(os.path.join(state.execution_folder("65a000000005", create=True), "report.json"), "w") as file:
        file.write('{"torn')
    assert history.backfill(state) == ["65a000000002", "65a000000003"]
    assert [(row.execution_id[-1], row.status.value) for row in history.list()] == [
        ("3", "SUCCESS"),
        ("2", "ERROR"),
        ("1", "SUCCESS"),
    ]
    assert history.failed_findings("65a000000003") == [FailedFinding("a", "file_removed", ())]
    assert len(history.warnings) == 1 and "65a000000005" in history.warnings[0]
    assert history.backfill(state) == []


def test_a_report_in_a_foreign_folder_is_not_taken_over(
    history: History, state: StateDirectory, report_of: MakesReport
) -> None:
    os.rename(store_report(state, report_of("65a000000001")), state.execution_folder("65a000000002"))
    assert history.backfill(state) == []


def test_pruning_keeps_the_young_the_latest_the_last_success_and_the_running(
    history: History, state: StateDirectory, clock: FakeClock, report_of: MakesReport
) -> None:
    days = [
        ("65a000000001", 100, Phase.SUCCESS),
        ("65a000000002", 90, Phase.SUCCESS),
        ("65a000000003", 80, Phase.ERROR),
        ("65a000000004", 70, Phase.ERROR),
        ("65a000000005", 5, Phase.ERROR),
    ]
    for execution_id, age, status in days:
        report = report_of(
            execution_id,
            status=status,
            started_at=START - timedelta(days=age),
            findings=(Finding("a", Verdict.FILE_ADDED),),
        )
        history.record_end(report, store_report(state, report))
    history.record_start(started("65a000000000", started_at=START - timedelta(days=200)))
    assert history.prune(30, 2, state) == ["65a000000001", "65a000000003"]
    assert [row.execution_id[-1] for row in history.list()] == ["5", "4", "2", "0"]
    assert state.execution_ids() == ["65a000000002", "65a000000004", "65a000000005"]
    assert history.failed_findings("65a000000001") == []
    assert history.prune(30, 2, state) == []
    assert history.backfill(state) == []


# -- what execution folders say ------------------------------------------------------------------------------


def test_a_start_noted_in_its_folder_is_taken_over_once(history: History, state: StateDirectory) -> None:
    state.prepare()
    folder = state.execution_folder("65a000000001", create=True)
    note_start(folder, started("65a000000001", pid=os.getpid()))
    assert history.backfill(state) == []
    row = history.get("65a000000001")
    assert row is not None and (row.status, row.pid) == (HistoryStatus.RUNNING, os.getpid())
    assert history.mark_interrupted("nas") == []
    assert [one.status for one in history.mark_interrupted("nas", lambda pid, key: True)] == [
        HistoryStatus.ERROR
    ]
    assert history.backfill(state) == []
    assert len(history.list()) == 1


def test_a_torn_start_is_no_execution(history: History, state: StateDirectory) -> None:
    state.prepare()
    folder = state.execution_folder("65a000000001", create=True)
    Path(folder, STARTED_FILE).write_bytes(b'{"execution_id":"65a0')
    assert history.backfill(state) == []
    assert history.list() == []
