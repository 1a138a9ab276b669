"""Finished executions to report on: calm ones, failed ones, and one whose names are attacks."""

from __future__ import annotations

import base64
import os
import random
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.errors import EntryCode
from runner.model.action import ActionKind, Finding, Outcome, OutcomeStatus, Verdict
from runner.model.entry import Phase, Problem
from runner.model.execution import (
    Counters,
    Counts,
    EndpointSummary,
    Execution,
    GuardVerdict,
    PhaseTiming,
    Report,
    Trigger,
)
from runner.model.wire import encode_line

START = 1_795_366_980.0  # 2026-11-22T17:03:00Z

HOSTILE_NAMES = (
    "<img src=x onerror=alert(1)>.txt",
    "</script><script>document.title='pwned'</script>",
    "<!--<script>",
    "\" onmouseover=\"document.title='pwned'",
    "' onfocus='document.title=1' autofocus='",
    "javascript:document.title='pwned'",
    "{{ 7*7 }}{% raw %}",
    "=1+1|cmd.exe",
    "+SUM(A1)",
    "-2+3",
    "@SUM(1)",
    "\t=1+1",
    "\r=1+1",
    'line\nbreak\r\nand,comma"quote',
    "escape\x1b[31mred\x1b]0;title\x07",
    "c1\x9bcontrol",
    "bidi\u202egpj.exe",
    "zero\u200bwidth\ufeff",
    "separator\u2028line",
    "not-utf8-\udcff\udcfe.bin",
    "emoji \U0001f4f7 photo.jpg",
    "u\u0308 nfd and \u00fc nfc",
    "]]> & <![CDATA[",
    "pipe|`code`*bold*[link](http://evil.example)",
    "a" * 255,
    "back\\slash",
    "nul-like\\x00",
    "\ufffe noncharacter",
)


@dataclass(frozen=True)
class Story:
    """A report and what stands beside it."""

    report: Report
    outcomes: tuple[Outcome, ...] = ()
    findings: tuple[Finding, ...] = ()
    problems: tuple[Problem, ...] = ()


def make_execution(**changes: Any) -> Execution:
    values: dict[str, Any] = {
        "execution_id": "20261122T170300Z-7f3a",
        "task": "photos-to-archive",
        "trigger": Trigger.SCHEDULE,
        "status": Phase.SUCCESS,
        "exit_code": 0,
        "summary": "2 of 2 files copied (3.0 KiB) and verified; nothing deleted.",
        "started_at": "2026-11-22T17:03:00.000Z",
        "ended_at": "2026-11-22T17:03:42.500Z",
        "duration_seconds": 42.5,
        "host": "nas-01",
        "runner_version": "0.1.0",
        "config_file": "/srv/sync/sync.yaml",
        "config_digest": "sha256:" + "c0" * 32,
        "filter_digest": "sha256:" + "f1" * 32,
        "plan_digest": "sha256:" + "91" * 32,
    }
    return Execution(**(values | changes))


def make_report(**changes: Any) -> Report:
    values: dict[str, Any] = {
        "version": 1,
        "execution": make_execution(),
        "source": EndpointSummary("photos", "local", "/srv/photos", "local:dev=2049:ino=131073"),
        "destination": EndpointSummary("archive", "local", "/mnt/archive/photos", None),
        "settings": {
            "options": {"transfer_mode": "changed", "metadata": {"mtime": True, "owner_map": []}},
            "filters": {"exclude": ["*.tmp", "/cache"]},
        },
        "phases": (
            PhaseTiming(Phase.LAUNCHING, "2026-11-22T17:03:00.000Z", 0.5, Phase.SUCCESS),
            PhaseTiming(Phase.PREPARING, "2026-11-22T17:03:00.500Z", 8.0, Phase.SUCCESS),
            PhaseTiming(Phase.TRANSFERRING, "2026-11-22T17:03:08.500Z", 24.0, Phase.SUCCESS),
            PhaseTiming(Phase.VERIFYING, "2026-11-22T17:03:32.500Z", 10.0, Phase.SUCCESS),
        ),
        "counters": Counters(
            listed=Counts(4, 1),
            excluded=Counts(1, 0),
            prepared=Counts(2, 1),
            transferred=Counts(2, 1),
            skipped=Counts(1, 0),
            verified=Counts(2, 1),
            actions_planned=3,
            actions_done=3,
            bytes_listed=4096,
            bytes_planned=3072,
            bytes_transferred=3072,
            bytes_verified=3072,
        ),
        "guards": (),
        "problems": (),
        "problems_total": 0,
        "findings": (),
        "findings_total": 0,
        "outcomes_file": "outcomes.jsonl",
    }
    return Report(**(values | changes))


def make_outcome(number: int, path: str, **changes: Any) -> Outcome:
    values: dict[str, Any] = {
        "action_id": number,
        "kind": ActionKind.COPY,
        "path": path,
        "status": OutcomeStatus.DONE,
        "bytes": 1024,
        "started_at": START + 9.0,
        "duration_seconds": 0.25,
        "digest": "xxh3_128:" + f"{number:032x}",
    }
    return Outcome(**(values | changes))


def calm_story() -> Story:
    """Everything done."""
    outcomes = (
        make_outcome(1, "2026/", kind=ActionKind.CREATE_DIRECTORY, bytes=0, digest=None),
        make_outcome(2, "2026/beach.jpg", bytes=1024),
        make_outcome(3, "2026/hills.jpg", kind=ActionKind.REPLACE, bytes=2048, duration_seconds=2.0),
    )
    return Story(make_report(), outcomes)


def troubled_story() -> Story:
    """A failed copy, a stale action, an unlisted folder, three findings, a guard that spoke."""
    problems = (
        Problem("private/", Phase.PREPARING, EntryCode.NOT_LISTED, "Permission denied", side="source"),
        Problem("locked.db", Phase.TRANSFERRING, EntryCode.LOCKED, "held by pid 4242", retryable=True),
    )
    findings = (
        Finding(
            "2026/beach.jpg",
            Verdict.CHECKSUM_FAILURE,
            expected=(("content", "xxh3_128:aa"),),
            actual=(("content", "xxh3_128:bb"),),
            checked_by="agent-1",
        ),
        Finding(
            "2026/hills.jpg",
            Verdict.METADATA_FAILURE,
            expected=(("mode", "0644"), ("uid", "1000")),
            actual=(("mode", "0600"), ("uid", "0")),
        ),
        Finding("stranger.txt", Verdict.FILE_ADDED, message="not at the source"),
    )
    outcomes = (
        make_outcome(1, "2026/beach.jpg"),
        make_outcome(2, "2026/hills.jpg", kind=ActionKind.REPLACE, bytes=2048),
        make_outcome(
            3, "locked.db", status=OutcomeStatus.FAILED, bytes=0, attempts=3, digest=None, problem=problems[1]
        ),
        make_outcome(
            4, "moved.txt", status=OutcomeStatus.STALE, bytes=0, digest=None, note="size was 3, is 4"
        ),
        make_outcome(5, "old.txt", kind=ActionKind.DELETE, bytes=0, digest=None, agent="agent-1"),
    )
    report = make_report(
        execution=make_execution(
            status=Phase.ERROR,
            exit_code=5,
            summary="2 files failed, verification found 3 differences. "
            "2 of 4 files copied (3.0 KiB); 1 file deleted.",
        ),
        counters=Counters(
            listed=Counts(6, 2),
            prepared=Counts(4, 0),
            transferred=Counts(2, 0),
            skipped=Counts(2, 1),
            failed=Counts(2, 1),
            deleted=Counts(1, 0),
            stale=Counts(1, 0),
            kept=Counts(3, 1),
            failed_verify=Counts(3, 0),
            verified=Counts(2, 0),
            bytes_transferred=3072,
        ),
        guards=(
            GuardVerdict(
                "filter_change", "filters changed", "sync-runner run x --accept filter_change", True
            ),
        ),
        problems=problems,
        problems_total=2,
        findings=findings,
        findings_total=3,
    )
    return Story(report, outcomes, findings, problems)


def hostile_story() -> Story:
    """Every hostile name as outcome, finding, problem, note, message, task name and description."""
    outcomes = tuple(
        make_outcome(number, name, note=name, agent=name)
        for number, name in enumerate(HOSTILE_NAMES, start=1)
    )
    findings = tuple(
        Finding(
            f"found/{name}",
            Verdict.METADATA_FAILURE,
            expected=((name, name),),
            actual=((name, "x" + name),),
            checked_by=name,
            message=name,
        )
        for name in HOSTILE_NAMES
    )
    problems = tuple(
        Problem(f"problem/{name}", Phase.PREPARING, EntryCode.IO_ERROR, name, side=name)
        for name in HOSTILE_NAMES
    )
    everything = " ".join(HOSTILE_NAMES)
    report = make_report(
        execution=make_execution(
            task=everything, summary=everything, exit_code=5, status=Phase.ERROR, host=everything
        ),
        source=EndpointSummary(everything, everything, everything, everything),
        settings={"key": everything, "nested": {HOSTILE_NAMES[0]: list(HOSTILE_NAMES)}},
        guards=(GuardVerdict(everything, everything, everything),),
        problems=problems,
        problems_total=len(problems),
        findings=findings,
        findings_total=len(findings),
    )
    return Story(report, outcomes, findings, problems)


def many_story(count: int, failed_every: int = 0) -> tuple[Report, Iterable[Outcome]]:
    """A report and a stream of `count` outcomes under realistic paths, the same each time."""
    chance = random.Random(7)
    kinds = (ActionKind.COPY, ActionKind.COPY, ActionKind.REPLACE, ActionKind.SET_ATTRIBUTES)

    def outcomes() -> Iterable[Outcome]:
        for number in range(count):
            month = number // 200 % 12 + 1
            path = f"projects/client-{number // 2000:03d}/2026-{month:02d}/scan_{number:07d}.tiff"
            failed = failed_every > 0 and number % failed_every == 0
            yield make_outcome(
                number,
                path,
                kind=kinds[number % 4],
                status=OutcomeStatus.FAILED if failed else OutcomeStatus.DONE,
                bytes=int(chance.lognormvariate(10, 2.5)),
                started_at=START + 8.5 + 24 * number / count,
                duration_seconds=chance.expovariate(50),
                digest=f"xxh3_128:{chance.getrandbits(128):032x}",
                problem=Problem(path, Phase.TRANSFERRING, EntryCode.IO_ERROR, "Input/output error")
                if failed
                else None,
            )

    failed_total = -(-count // failed_every) if failed_every else 0
    counters = Counters(
        listed=Counts(count + 50, 9),
        transferred=Counts(count - failed_total, 0),
        skipped=Counts(50, 9),
        failed=Counts(failed_total, 0),
        bytes_transferred=30 * 1024**3,
        bytes_listed=31 * 1024**3,
        bytes_verified=30 * 1024**3,
        verified=Counts(count - failed_total, 0),
    )
    return make_report(counters=counters), outcomes()


def store(folder: str, report: Report, **streams: Iterable[object]) -> str:
    """Writes what the pipeline would have written before the report: outcomes, findings, problems."""
    os.makedirs(folder, exist_ok=True)
    for name, values in streams.items():
        with open(os.path.join(folder, f"{name}.jsonl"), "wb") as file:
            for value in values:
                file.write(encode_line(value) + b"\n")
    with open(os.path.join(folder, "report.json"), "wb") as file:
        file.write(encode_line(report))
    return folder


def embedded_rows(page: str) -> list[list[Any]]:
    """The rows of a page's data block, paths made whole."""
    block = re.search(r'<script type="application/json" id="rows">(.*?)</script>', page, re.DOTALL)
    assert block is not None
    rows = msgspec.json.decode(block[1].strip())
    previous = ""
    for row in rows:
        row[1] = previous = previous[: row[0]] + row[1]
    return rows


def true_path(shown: str, encoded: str) -> str:
    """The path of a CSV row."""
    return base64.b64decode(encoded).decode("utf-8", "surrogateescape") if encoded else shown
