"""Two executions side by side: times, counters, settings, and what is new or gone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from history_project import Project
from history_support import make_report

from runner.cli.show_comparison import SHOWN, comparison_lines
from runner.cli.text import Page
from runner.errors import EntryCode
from runner.history.compare import CounterPair, PhasePair, SettingPair, Told, compare_executions
from runner.model.action import Finding, Verdict
from runner.model.entry import Phase, Problem
from runner.model.execution import Counters, Counts, PhaseTiming, Report

NO_PROBLEMS: tuple[Problem, ...] = ()
NO_FINDINGS: tuple[Finding, ...] = ()


def told(
    number: int,
    problems: tuple[Problem, ...] = NO_PROBLEMS,
    findings: tuple[Finding, ...] = NO_FINDINGS,
    **changes: Any,
) -> Told:
    report: Report = msgspec.structs.replace(make_report(f"65a00000000{number}"), **changes)
    return Told(report, lambda: problems, lambda: findings)


def timing(phase: Phase, seconds: float) -> PhaseTiming:
    return PhaseTiming(phase, "2026-03-01T12:00:00.000Z", seconds, Phase.SUCCESS)


def problem(path: str, code: EntryCode = EntryCode.LOCKED, **more: Any) -> Problem:
    return Problem(path, Phase.TRANSFERRING, code, "a sentence", **more)


def test_equal_executions_differ_in_nothing() -> None:
    found = compare_executions(told(1), told(2))
    assert (found.a.execution_id, found.b.execution_id) == ("65a000000001", "65a000000002")
    assert found.settings == found.problems_new == found.problems_gone == found.findings_new == ()
    assert [pair for pair in found.counters if pair.a != pair.b] == []


def test_phases_of_both_are_in_the_order_of_the_story() -> None:
    a = told(1, phases=(timing(Phase.PREPARING, 2.0), timing(Phase.TRANSFERRING, 60.0)))
    b = told(2, phases=(timing(Phase.LAUNCHING, 0.5), timing(Phase.PREPARING, 3.0)))
    assert compare_executions(a, b).phases == (
        PhasePair(Phase.LAUNCHING, None, 0.5),
        PhasePair(Phase.PREPARING, 2.0, 3.0),
        PhasePair(Phase.TRANSFERRING, 60.0, None),
    )


def test_every_counter_is_there_once() -> None:
    a = told(1, counters=Counters(listed=Counts(5, 2), bytes_transferred=10))
    b = told(2, counters=Counters(listed=Counts(7, 2), bytes_transferred=30))
    pairs = compare_executions(a, b).counters
    assert {pair for pair in pairs if pair.a != pair.b} == {
        CounterPair("listed.files", 5, 7),
        CounterPair("bytes_transferred", 10, 30),
    }
    names = [pair.counter for pair in pairs]
    assert len(names) == len(set(names))
    plain = sum(not isinstance(getattr(Counters(), name), Counts) for name in Counters.__struct_fields__)
    assert len(names) == 2 * (len(Counters.__struct_fields__) - plain) + plain


@pytest.mark.parametrize(
    ("description", "a", "b", "expected"),
    [
        ("equal", {"options": {"compare": "x"}}, {"options": {"compare": "x"}}, ()),
        (
            "a nested value",
            {"options": {"compare": "x", "w": 1}, "r": []},
            {"options": {"compare": "y", "w": 1}, "r": []},
            (SettingPair("options.compare", "x", "y"),),
        ),
        (
            "there or not",
            {"schedule": None, "gone": 1},
            {"schedule": {"cron": "0 2 * * *"}, "came": 2},
            (
                SettingPair("schedule", None, {"cron": "0 2 * * *"}),
                SettingPair("gone", 1, None),
                SettingPair("came", None, 2),
            ),
        ),
        ("lists are whole", {"rules": ["a", "b"]}, {"rules": ["b", "a"]}, (SettingPair("rules", ["a", "b"], ["b", "a"]),)),
        ("a map became a value", {"x": {"y": 1}}, {"x": 1}, (SettingPair("x", {"y": 1}, 1),)),
    ],
)  # fmt: skip
def test_settings_that_differ(description: str, a: Any, b: Any, expected: Any) -> None:
    assert compare_executions(told(1, settings=a), told(2, settings=b)).settings == expected, description


def test_what_was_found_at_the_ends_and_who_ran_count_as_settings() -> None:
    a, b = told(1), told(2)
    report = b.report
    moved = msgspec.structs.replace(
        report,
        destination=msgspec.structs.replace(report.destination, identity="device 8:9"),
        execution=msgspec.structs.replace(report.execution, runner_version="0.2.0"),
    )
    found = compare_executions(a, msgspec.structs.replace(b, report=moved))
    assert found.settings == (
        SettingPair("destination.identity", "device 8:2", "device 8:9"),
        SettingPair("runner_version", "0.1.0", "0.2.0"),
    )


def test_problems_and_findings_that_are_new_and_gone() -> None:
    stays, gone, new = problem("stays"), problem("gone"), problem("new\udcff")
    other_kind = problem("stays", EntryCode.IO_ERROR)
    same_again = msgspec.structs.replace(stays, message="in other words")
    added, removed = Finding("f", Verdict.FILE_ADDED), Finding("f", Verdict.FILE_REMOVED)
    found = compare_executions(
        told(1, (stays, gone), (added,)), told(2, (same_again, new, other_kind), (removed,))
    )
    assert (found.problems_new, found.problems_gone) == ((new, other_kind), (gone,))
    assert (found.problems_new_total, found.problems_gone_total) == (2, 1)
    assert (found.findings_new, found.findings_gone) == ((removed,), (added,))


def test_more_than_a_report_lists_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runner.history.compare.LISTED_AT_MOST", 3)
    many = tuple(problem(f"p{number}") for number in range(10))
    found = compare_executions(told(1), told(2, many))
    assert (found.problems_new, found.problems_new_total) == (many[:3], 10)


def test_the_text_says_what_differs_and_cuts_what_is_long() -> None:
    hostile = "evil\x1b[31m\n\udcff"
    many = tuple(problem(f"{hostile}{number:03}") for number in range(SHOWN + 5))
    a = told(1, phases=(timing(Phase.PREPARING, 2.0),), settings={"options": {"compare": hostile}})
    b = told(
        2,
        many,
        (Finding("", Verdict.FILE_ADDED),),
        phases=(timing(Phase.PREPARING, 6.0),),
        settings={"options": {"compare": ["x"]}},
        counters=Counters(listed=Counts(files=13, folders=3), bytes_transferred=1024),
    )
    text = "\n".join(comparison_lines(compare_executions(a, b), Page()))
    assert "\x1b" not in text and "\udcff" not in text
    for expected in (
        "x 3.0",
        "listed: files            12       13        +1",
        "bytes transferred   4.0 KiB  1.0 KiB  -3.0 KiB",
        '    B ["x"]',
        f"Problems that are new: {SHOWN + 5}",
        "  and 5 more: --json",
        "+ (the root)  file_added",
    ):
        assert expected in text, text


# -- the command ---------------------------------------------------------------------------------------------


def test_two_real_executions(tmp_path: Path) -> None:
    project = Project(tmp_path, None)
    assert project.run("run", "photos").code == 0
    (tmp_path / "src" / "b").write_bytes(b"b" * 3000)
    project.configure(options={"compare": "checksum"}, description="with content")
    assert project.run("run", "photos").code == 0
    (newer, _), (older, _) = project.executions()
    text = project.run("history", "compare", older, "latest")
    assert (text.code, text.err) == (0, "")
    assert "options.compare" in text.out and "config_digest" not in text.out
    value = project.run("history", "compare", older, newer, "--json")
    assert (value.code, value.json["a"]["execution_id"], value.json["b"]["execution_id"]) == (0, older, newer)
    counters = {pair["counter"]: (pair["a"], pair["b"]) for pair in value.json["counters"]}
    assert (counters["transferred.files"], counters["bytes_transferred"]) == ((1, 1), (1000, 3000))
    assert {pair["setting"]: (pair["a"], pair["b"]) for pair in value.json["settings"]}[
        "options.compare"
    ] == ("size+mtime", "checksum")
    assert [pair["phase"] for pair in value.json["phases"]] == [
        "LAUNCHING",
        "PREPARING",
        "TRANSFERRING",
        "VERIFYING",
    ]


def test_problems_come_from_the_whole_list_beside_the_report(tmp_path: Path) -> None:
    project = Project(tmp_path, None)
    for _ in range(2):
        assert project.run("run", "photos").code == 0
    (newer, _), (older, _) = project.executions()
    folder = tmp_path / ".sync-runner" / "executions" / newer
    line = {"path": "x", "phase": "TRANSFERRING", "code": "locked", "message": "m"}
    (folder / "problems.jsonl").write_text(json.dumps(line) + "\n")
    value = project.run("history", "compare", older, newer, "--json").json
    assert (value["problems_new_total"], value["problems_new"][0]["path"]) == (1, "x")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare"], "needs two executions"),
        (["compare", "latest"], "needs two executions"),
        (["compare", "latest", "latest", "latest"], "needs two executions"),
        (["compare", "nosuch", "latest"], "there is no execution"),
        (["photos", "latest"], "takes no further word"),
    ],
)
def test_what_is_no_comparison_is_a_usage_error(tmp_path: Path, words: list[str], message: str) -> None:
    project = Project(tmp_path, None)
    ran = project.run("history", *words)
    assert (ran.code, message in ran.err) == (2, True), ran.err
