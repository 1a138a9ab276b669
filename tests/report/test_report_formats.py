"""CSV, JUnit and Markdown: what they hold, and that no name breaks out of them."""

from __future__ import annotations

import csv
import io
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_stories import (
    HOSTILE_NAMES,
    Story,
    calm_story,
    hostile_story,
    make_report,
    troubled_story,
    true_path,
)

from runner.model.task import ReportFormat
from runner.report.as_csv import COLUMNS, cell
from runner.report.as_junit import write_junit
from runner.report.as_markdown import SHOWN_AT_MOST, code_span, write_markdown
from runner.report.render import render

Stored = Callable[[Story], str]


def rendered(folder: str, format: ReportFormat) -> str:
    output = io.BytesIO()
    render(folder, format, output)
    assert not output.closed
    return output.getvalue().decode("utf-8")


def csv_rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def test_csv_holds_outcomes_then_findings_then_problems(stored: Stored) -> None:
    text = rendered(stored(troubled_story()), ReportFormat.CSV)
    assert text.split("\r\n")[0] == ",".join(COLUMNS)
    rows = csv_rows(text)
    picked = [(row["path"], row["status"], row["action"], row["verdict"], row["code"]) for row in rows]
    assert picked == [
        ("2026/beach.jpg", "done", "copy", "checksum_failure", ""),
        ("2026/hills.jpg", "done", "replace", "metadata_failure", ""),
        ("locked.db", "failed", "copy", "", "locked"),
        ("moved.txt", "stale", "copy", "", ""),
        ("old.txt", "done", "delete", "", ""),
        ("stranger.txt", "", "", "file_added", ""),
        ("private/", "", "", "", "not_listed"),
    ]
    assert rows[0]["started_at"] == "2026-11-22T17:03:09.000Z"
    assert rows[0]["digest"] == "xxh3_128:" + "0" * 31 + "1"
    assert rows[0]["message"] == "content: expected xxh3_128:aa, found xxh3_128:bb"
    assert rows[1]["message"] == "mode: expected 0644, found 0600; uid: expected 1000, found 0"
    assert (rows[2]["attempts"], rows[2]["message"], rows[2]["phase"]) == (
        "3",
        "held by pid 4242",
        "TRANSFERRING",
    )
    assert rows[3]["message"] == "size was 3, is 4"
    assert (rows[6]["side"], rows[6]["bytes"]) == ("source", "")


def test_csv_gives_every_name_back_and_runs_none(stored: Stored) -> None:
    text = rendered(stored(hostile_story()), ReportFormat.CSV)
    rows = csv_rows(text)
    expected = [*HOSTILE_NAMES, *(f"found/{name}" for name in HOSTILE_NAMES)]
    expected += [f"problem/{name}" for name in HOSTILE_NAMES]
    assert [true_path(row["path"], row["path_b64"]) for row in rows] == expected
    for row in rows:
        assert not any(value.startswith(tuple("=+-@\t\r")) for value in row.values())
    assert all(character.isprintable() for line in text.split("\r\n") for character in line)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@x", "'@x"),
        ("\t=1", "'\\t=1"),
        ("\r=1", "'\\r=1"),
        ("\uff1d1", "'\uff1d1"),
        ("a\x1bb", "a\\x1bb"),
        ("a\udcffb", "a\ufffdb"),
        ('a,"b"', 'a,"b"'),
        ("", ""),
    ],
)
def test_csv_cells(text: str, expected: str) -> None:
    assert cell(text) == expected


def test_csv_of_an_execution_that_did_nothing(stored: Stored) -> None:
    assert csv_rows(rendered(stored(Story(make_report())), ReportFormat.CSV)) == []


def test_junit_of_a_calm_execution(stored: Stored) -> None:
    suites = ElementTree.fromstring(rendered(stored(calm_story()), ReportFormat.JUNIT))
    suite = suites[0]
    names = [case.get("name") for case in suite.iter("testcase")]
    assert names == ["execution", "LAUNCHING", "PREPARING", "TRANSFERRING", "VERIFYING"]
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("photos-to-archive", "5", "0")
    assert suite.get("timestamp") == "2026-11-22T17:03:00"
    assert list(suite.iter("failure")) == []


def test_junit_shows_each_problem_and_finding_with_its_code(stored: Stored) -> None:
    suites = ElementTree.fromstring(rendered(stored(troubled_story()), ReportFormat.JUNIT))
    failures = {
        case.get("name"): failure.get("type")
        for case in suites.iter("testcase")
        for failure in case.iter("failure")
    }
    assert failures == {
        "execution": "exit_code_5",
        "private/ [PREPARING not_listed]": "not_listed",
        "locked.db [TRANSFERRING locked]": "locked",
        "2026/beach.jpg [checksum_failure]": "checksum_failure",
        "2026/hills.jpg [metadata_failure]": "metadata_failure",
        "stranger.txt [file_added]": "file_added",
    }
    assert suites.get("failures") == "6"


def test_junit_says_how_many_it_leaves_out(stored: Stored) -> None:
    story = troubled_story()
    report = msgspec.structs.replace(story.report, problems_total=12_000, findings_total=3)
    suites = ElementTree.fromstring(rendered(stored(Story(report)), ReportFormat.JUNIT))
    assert [case.get("name") for case in suites.iter("testcase")][-1] == "11,998 more problems"


def test_junit_is_xml_whatever_the_names(stored: Stored) -> None:
    suites = ElementTree.fromstring(rendered(stored(hostile_story()), ReportFormat.JUNIT))
    messages = [failure.get("message") for failure in suites.iter("failure")]
    assert "<img src=x onerror=alert(1)>.txt" in messages
    assert "escape\\x1b[31mred\\x1b]0;title\\x07" in messages


@given(st.text(st.characters(codec=None)))
def test_junit_and_markdown_take_any_text(text: str) -> None:
    story = troubled_story()
    problem = msgspec.structs.replace(story.problems[0], path=text, message=text, side=text)
    finding = msgspec.structs.replace(story.findings[2], path=text, message=text)
    report = msgspec.structs.replace(story.report, problems=(problem,), findings=(finding,))
    xml, markdown = io.BytesIO(), io.BytesIO()
    write_junit(report, xml)
    write_markdown(report, markdown)
    ElementTree.fromstring(xml.getvalue().decode("utf-8"))
    assert all(
        character.isprintable() or character == "\n" for character in markdown.getvalue().decode("utf-8")
    )


def test_markdown_golden(stored: Stored) -> None:
    text = rendered(stored(troubled_story()), ReportFormat.MARKDOWN)
    assert text == (Path(__file__).parent / "golden.md").read_text(encoding="utf-8")


def test_markdown_shows_a_bounded_number_of_problems() -> None:
    story = troubled_story()
    report = msgspec.structs.replace(story.report, problems=story.problems * 100, problems_total=200)
    output = io.BytesIO()
    write_markdown(report, output)
    text = output.getvalue().decode()
    assert len(re.findall(r"^- `(?:private/|locked\.db)`", text, re.MULTILINE)) == SHOWN_AT_MOST
    assert "- … and 150 more, in the CSV and HTML reports" in text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "`plain`"),
        ("a`b", "``a`b``"),
        ("``", "``` `` ```"),
        ("@everyone <b>", "`@everyone <b>`"),
        ("line\nbreak", "`line\\nbreak`"),
        ("", "` `"),
    ],
)
def test_markdown_code_spans(text: str, expected: str) -> None:
    assert code_span(text) == expected
