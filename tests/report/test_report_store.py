"""Writing and reading an execution's folder: whole and private files, damage named, torn ends forgiven."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import pytest
from report_stories import Story, calm_story, hostile_story, make_outcome, make_report, store, troubled_story

from runner.errors import EntryCode, RunnerError, UsageError
from runner.model.action import Finding, OutcomeStatus, Verdict
from runner.model.entry import Phase, Problem
from runner.model.task import ReportFormat
from runner.model.wire import encode_line
from runner.report import rows as rows_module
from runner.report.render import FILE_NAMES, load_report, render, write_report
from runner.report.rows import RowState, stream_rows
from runner.report.stored import PIECE_BYTES, stream_outcomes

Stored = Callable[[Story], str]


def test_writes_json_always_and_first_then_what_is_asked_for(stored: Stored) -> None:
    folder = stored(calm_story())
    wanted = [ReportFormat.HTML, ReportFormat.CSV, ReportFormat.JSON, ReportFormat.HTML]
    paths = write_report(folder, calm_story().report, wanted)
    assert paths == [os.path.join(folder, name) for name in ("report.json", "report.html", "report.csv")]
    assert [oct(os.stat(path).st_mode & 0o777) for path in paths] == ["0o600"] * 3
    assert sorted(os.listdir(folder)) == [
        "findings.jsonl",
        "outcomes.jsonl",
        "problems.jsonl",
        "report.csv",
        "report.html",
        "report.json",
    ]


@pytest.mark.parametrize("story", [calm_story(), troubled_story(), hostile_story()])
def test_what_was_written_is_read_back_and_rendered_alike(story: Story, stored: Stored) -> None:
    folder = stored(story)
    write_report(folder, story.report, ReportFormat)
    assert load_report(folder) == story.report
    for format, name in FILE_NAMES.items():
        output = io.BytesIO()
        render(folder, format, output)
        assert output.getvalue() == Path(folder, name).read_bytes(), format


def test_a_report_replaces_the_one_before_only_when_it_is_whole(stored: Stored) -> None:
    folder = stored(calm_story())
    write_report(folder, calm_story().report, [ReportFormat.CSV])
    before = Path(folder, "report.csv").read_bytes()
    Path(folder, "outcomes.jsonl").write_bytes(b'{"action_id":1}\n')
    with pytest.raises(UsageError):
        write_report(folder, calm_story().report, [ReportFormat.CSV])
    assert Path(folder, "report.csv").read_bytes() == before
    assert [name for name in os.listdir(folder) if name.startswith(".")] == []


def test_a_folder_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunnerError) as caught:
        write_report(str(tmp_path / "gone"), calm_story().report, [])
    assert caught.value.message == (
        f"{tmp_path}/gone/report.json: cannot write the report: No such file or directory"
    )
    assert caught.value.remedy is not None
    assert caught.value.remedy.endswith("sync-runner report 20261122T170300Z-7f3a --format json")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "this execution has no report"),
        (b"", "not a readable report"),
        (b'{"version":1}', "not a readable report"),
        (b'{"x_b64":"!"}', "not a readable report"),
        (b"\xff\xfe", "not a readable report"),
        (encode_line(make_report(version=2)), "a report of version 2, this sync-runner reads up to 1"),
    ],
)
def test_unreadable_reports_are_named(content: bytes | None, expected: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "report.json").write_bytes(content)
    with pytest.raises(UsageError) as caught:
        load_report(str(tmp_path))
    assert caught.value.message.startswith(f"{tmp_path}/report.json: {expected}")


def test_half_a_last_line_is_forgiven_and_damage_before_is_not(tmp_path: Path) -> None:
    first, second = encode_line(make_outcome(1, "a")), encode_line(make_outcome(2, "b"))
    report = make_report()
    (tmp_path / "outcomes.jsonl").write_bytes(first + b"\n" + second[:-4])
    assert [outcome.path for outcome in chain.from_iterable(stream_outcomes(str(tmp_path), report))] == ["a"]
    (tmp_path / "outcomes.jsonl").write_bytes(first[:-4] + b"\n" + second + b"\n")
    with pytest.raises(UsageError) as caught:
        list(stream_outcomes(str(tmp_path), report))
    assert caught.value.message.startswith(f"{tmp_path}/outcomes.jsonl:1: damaged line (")


def test_damage_is_named_by_its_line_however_far_in(tmp_path: Path) -> None:
    lines = [encode_line(make_outcome(number, f"f{number}")) + b"\n" for number in range(1, 5001)]
    lines[4000] = lines[4000][:-3] + b"\n"
    assert sum(map(len, lines[:4000])) > PIECE_BYTES
    (tmp_path / "outcomes.jsonl").write_bytes(b"".join(lines))
    read = []
    with pytest.raises(UsageError) as caught:
        for outcomes in stream_outcomes(str(tmp_path), make_report()):
            read += [outcome.path for outcome in outcomes]
    assert caught.value.message.startswith(f"{tmp_path}/outcomes.jsonl:4001: damaged line (")
    assert read == [f"f{number}" for number in range(1, 4001)]


def test_a_report_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.jsonl").write_bytes(encode_line(make_outcome(1, "secret")) + b"\n")
    folder = tmp_path / "execution"
    folder.mkdir()
    report = make_report(outcomes_file="../secret.jsonl")
    assert list(stream_outcomes(str(folder), report)) == []


def test_rows_join_outcome_finding_and_problem(stored: Stored) -> None:
    story = troubled_story()
    rows = list(stream_rows(stored(story), story.report))
    assert [(row.path, row.state, row.code) for row in rows] == [
        ("2026/beach.jpg", RowState.DIFFERS, "checksum_failure"),
        ("2026/hills.jpg", RowState.DIFFERS, "metadata_failure"),
        ("locked.db", RowState.FAILED, "locked"),
        ("moved.txt", RowState.STALE, ""),
        ("old.txt", RowState.DONE, ""),
        ("stranger.txt", RowState.DIFFERS, "file_added"),
        ("private/", RowState.PROBLEM, "not_listed"),
    ]


def test_beyond_the_bound_nothing_is_lost(monkeypatch: pytest.MonkeyPatch, stored: Stored) -> None:
    monkeypatch.setattr(rows_module, "JOINED_AT_MOST", 2)
    outcomes = tuple(make_outcome(number, f"f{number}", status=OutcomeStatus.FAILED) for number in range(4))
    findings = tuple(Finding(f"f{number}", Verdict.FILE_REMOVED) for number in range(4))
    problems = tuple(
        Problem(f"f{number}", Phase.TRANSFERRING, EntryCode.IO_ERROR, "broken") for number in range(4)
    )
    story = Story(make_report(), outcomes, findings, problems)
    rows = list(stream_rows(stored(story), story.report))
    assert [(row.path, row.finding is not None, row.problem is not None) for row in rows] == [
        ("f0", True, True),
        ("f1", True, True),
        ("f2", False, False),
        ("f3", False, False),
        ("f2", True, False),
        ("f3", True, False),
        ("f2", False, True),
        ("f3", False, True),
    ]


def test_findings_that_are_fine_are_no_rows(stored: Stored) -> None:
    story = Story(make_report(), findings=(Finding("a", Verdict.OK),))
    assert list(stream_rows(stored(story), story.report)) == []


def test_without_side_files_the_reports_own_lists_serve(tmp_path: Path) -> None:
    story = troubled_story()
    folder = store(str(tmp_path), story.report)
    assert [row.path for row in stream_rows(folder, story.report)] == [
        "2026/beach.jpg",
        "2026/hills.jpg",
        "stranger.txt",
        "private/",
        "locked.db",
    ]


def test_only_html_pays_for_the_template_engine() -> None:
    script = "import sys, runner.report.render, runner.report.words; print('jinja2' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_a_problem_of_a_done_outcome_stays_with_it(stored: Stored) -> None:
    refused = Problem("a", Phase.TRANSFERRING, EntryCode.ATTRIBUTES_REFUSED, "chown: not permitted")
    story = Story(make_report(), (make_outcome(1, "a", problem=refused),), problems=(refused,))
    rows = list(stream_rows(stored(story), story.report))
    assert [(row.state, row.code, row.message) for row in rows] == [
        (RowState.DONE, "attributes_refused", "chown: not permitted")
    ]
