"""Texts that people see, kept in golden/. To renew: TZ=UTC python tests/cli/cli_golden.py; read the diff."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cli_fakes import HOSTILE, make_action, make_report, make_summary

from runner.cli.show_history import StatusRow, history_lines, next_step, status_lines
from runner.cli.show_plan import check_text, explanation_text, plan_text
from runner.cli.show_report import report_text
from runner.cli.text import Page
from runner.errors import EntryCode
from runner.history.records import HistoryRow, HistoryStatus
from runner.model.action import ActionKind, Finding, Verdict
from runner.model.difference import Reason
from runner.model.entry import Phase, Problem
from runner.model.execution import Counters, Counts, GuardVerdict, PhaseTiming
from runner.model.plan import ActionTotals, ExplainStep, Explanation

FOLDER = Path(__file__).parent / "golden"
PAGE = Page(width=96, colour=False)
NOW = datetime(2026, 11, 22, 19, 0, tzinfo=UTC)

ACTIONS = (
    make_action(0, ActionKind.CREATE_DIRECTORY, "2026/", Reason.MISSING),
    make_action(1, ActionKind.COPY, "2026/beach.jpg", Reason.MISSING, size=3 * 1024**2),
    make_action(2, ActionKind.COPY, HOSTILE, Reason.MISSING, size=17),
    make_action(
        3, ActionKind.REPLACE, "notes/" + "very-long-name-" * 8 + ".md", Reason.SIZE, Reason.MTIME, size=2048
    ),
    make_action(4, ActionKind.SET_ATTRIBUTES, "script.sh", Reason.ATTRIBUTES, attributes=("mode", "mtime")),
    make_action(5, ActionKind.LINK, "twin", Reason.LINK_GROUP, link_to=HOSTILE),
    make_action(6, ActionKind.DELETE, "日本語のフォルダ/古いファイル.txt", Reason.EXTRA, size=120 * 1024**2),
)
TOTALS = ActionTotals(
    folders_to_create=1,
    to_copy=12,
    to_replace=2,
    to_link=1,
    to_change_metadata=1,
    to_delete=4,
    bytes_to_copy=3_328_599_654,
    bytes_to_replace=2048,
    bytes_to_delete=125_829_120,
    extras_kept=3,
)
LARGE = make_action(9, ActionKind.COPY, "video/holiday.mov", Reason.MISSING, size=3 * 1024**3)
LOSSES = (
    "the destination keeps times to 2 s; the source has 1 ns",
    f"owner names of {HOSTILE} are not carried",
)
REFUSAL = GuardVerdict(
    guard="max_deletions",
    message="the plan deletes 400 of 500 entries (80 %), more than guards.max_deletions allows (50 %)",
    remedy="If that is meant: sync-runner run photos -c /etc/sync.yaml --accept max_deletions",
)
ACCEPTED = GuardVerdict(
    guard="wide_root", message="the destination is a home directory", remedy="", accepted=True
)
PROBLEMS = (
    Problem("private/", Phase.PREPARING, EntryCode.NOT_LISTED, "Permission denied", side="source"),
    Problem(HOSTILE, Phase.TRANSFERRING, EntryCode.LOCKED, f"a lease is held on {HOSTILE}"),
)
FINDINGS = (
    Finding("a.txt", Verdict.CHECKSUM_FAILURE, (("digest", "xxh3_128:aa"),), (("digest", "xxh3_128:bb"),)),
    Finding(HOSTILE, Verdict.FILE_REMOVED, message=f"not there: {HOSTILE}"),
)
COUNTERS = Counters(
    listed=Counts(12_345, 300),
    excluded=Counts(5, 1),
    skipped=Counts(12_000, 290),
    transferred=Counts(330, 9),
    failed=Counts(10, 0),
    stale=Counts(2, 0),
    deleted=Counts(4, 1),
    verified=Counts(330, 9),
    failed_verify=Counts(2, 0),
    bytes_listed=5 * 1024**3,
    bytes_transferred=1024**3,
    bytes_verified=1024**3,
    bytes_deleted=4096,
)
TRANSFERRING = PhaseTiming(Phase.TRANSFERRING, "2026-11-22T18:57:36.000Z", 8.0, Phase.ERROR)


def history_row(
    number: int, status: HistoryStatus, exit_code: int | None, hours: int, summary: str
) -> HistoryRow:
    return HistoryRow(
        execution_id=f"6741a2b3000{number}",
        task="photos",
        trigger="manual",
        status=status,
        exit_code=exit_code,
        summary=summary,
        started_at=NOW - timedelta(hours=hours),
        duration_seconds=None if exit_code is None else 75.0,
        host="archivist",
        pid=4711,
        config_file="/etc/sync.yaml",
        config_digest="",
        filter_digest="",
    )


ROWS = (
    history_row(3, HistoryStatus.RUNNING, None, 0, ""),
    history_row(2, HistoryStatus.ERROR, 6, 5, "Nothing was written: guard max_deletions refused."),
    history_row(
        1, HistoryStatus.SUCCESS, 0, 24 * 30, "3 of 3 files copied (1.5 KiB) and verified; nothing deleted."
    ),
)


def _status_rows() -> list[StatusRow]:
    running, failed, good = ROWS
    return [
        ("photos", True, failed, (running,), next_step("photos", failed, (running,), "")),
        ("mail", True, failed, (), next_step("mail", failed, (), " -c other.yaml")),
        ("music", False, good, (), next_step("music", good, (), "")),
        (f"new {HOSTILE}", True, None, (), next_step(f"new {HOSTILE}", None, (), "")),
    ]


CASES: dict[str, Callable[[], list[str]]] = {
    "plan-changes": lambda: plan_text(
        make_summary(TOTALS, actions=ACTIONS, largest=(LARGE, ACTIONS[1]), losses=LOSSES), PAGE
    ),
    "plan-kept": lambda: plan_text(
        make_summary(TOTALS, actions=ACTIONS[:2], guards=(REFUSAL, ACCEPTED), file="my plan.jsonl"),
        PAGE,
        config_flag=" -c other.yaml",
    ),
    "plan-in-sync": lambda: plan_text(make_summary(), PAGE),
    "plan-incomplete": lambda: plan_text(
        make_summary(ActionTotals(deletions_withheld=7), problems=PROBLEMS, complete=False), PAGE
    ),
    "check-drift": lambda: check_text(make_summary(TOTALS, actions=ACTIONS[1:3]), PAGE),
    "explain": lambda: explanation_text(
        Explanation(
            task="photos",
            path="2026/beach.jpg",
            verdict="It is copied: the destination has no such file.",
            action=ACTIONS[1],
            steps=(
                ExplainStep("Is it in the manifest?", "There is no manifest."),
                ExplainStep("Which rule of the filters matches last?", f"none of {HOSTILE}"),
                ExplainStep("What does the destination have?", "nothing", decided=True),
            ),
        ),
        PAGE,
    ),
    "report-success": lambda: report_text(
        make_report(), PAGE, files=["/etc/.sync-runner/executions/x/report.html"]
    ),
    "report-failures": lambda: report_text(
        make_report(
            exit_code=4,
            summary="10 files failed, verification found 2 differences. 330 of 340 files copied (1.0 GiB).",
            counters=COUNTERS,
            phases=(TRANSFERRING,),
            problems=PROBLEMS,
            problems_total=2_000,
            findings=FINDINGS,
            findings_total=2,
        ),
        PAGE,
        config_flag=" -c other.yaml",
    ),
    "report-cancelled": lambda: report_text(
        make_report(
            exit_code=130,
            summary="Cancelled before the end. 3 of 342 files copied (175.8 KiB); nothing deleted.",
            problems=(
                *(
                    Problem(f"{number}", Phase.TRANSFERRING, EntryCode.CANCELLED, "cancelled before it began")
                    for number in range(339)
                ),
                PROBLEMS[0],
            ),
            problems_total=340,
        ),
        PAGE,
    ),
    "report-refused": lambda: report_text(
        make_report(
            exit_code=6,
            summary="Nothing was written: guard max_deletions refused.",
            guards=(REFUSAL,),
            counters=Counters(),
        ),
        PAGE,
    ),
    "history": lambda: history_lines(ROWS, NOW, PAGE, more=True),
    "history-empty": lambda: history_lines((), NOW, PAGE, more=False),
    "status": lambda: status_lines(_status_rows(), NOW, PAGE),
}


def text_of(name: str) -> str:
    return "".join(line + "\n" for line in CASES[name]())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for case in CASES:
        (FOLDER / f"{case}.txt").write_text(text_of(case), encoding="utf-8")
