"""An execution's folder, read back: report.json as one value, the three JSON Lines files as streams.

The runner writes the folder itself (mode 0700), yet names and messages in it came from elsewhere, and a crash
may have cut a line in half. Streams hold PIECE_BYTES and the values in them.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from typing import TypeVar

import msgspec

from runner.errors import UsageError
from runner.model.action import Finding, Outcome
from runner.model.entry import Problem
from runner.model.execution import Report
from runner.model.wire import decode_line, decode_lines

REPORT_FILE = "report.json"
PLAN_FILE = "plan.jsonl"
OUTCOMES_FILE = "outcomes.jsonl"
FINDINGS_FILE = "findings.jsonl"
PROBLEMS_FILE = "problems.jsonl"
SIGNATURE_FILE = "report.json.sig"
REPORT_VERSION = 1
PIECE_BYTES = 256 << 10

T = TypeVar("T")


def load_report(folder: str) -> Report:
    """The report of the execution that `folder` holds.

    Raises:
        UsageError: no report there, a damaged one, or one that a later version wrote.
    """
    path = os.path.join(folder, REPORT_FILE)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UsageError(
            f"{path}: this execution has no report",
            remedy="It was stopped before its end, or its folder was cleaned up. See: sync-runner history",
        ) from error
    try:
        report = decode_line(content, Report)
    except (msgspec.MsgspecError, ValueError) as error:
        raise UsageError(f"{path}: not a readable report ({error})") from error
    if report.version > REPORT_VERSION:
        raise UsageError(
            f"{path}: a report of version {report.version}, this sync-runner reads up to {REPORT_VERSION}",
            remedy="Upgrade sync-runner.",
        )
    return report


def stream_outcomes(folder: str, report: Report) -> Iterator[list[Outcome]]:
    """Every outcome, in the order of the file, about a thousand at a time. An execution that acted on nothing may have
    no file."""
    return journalled_outcomes(folder, report.outcomes_file or OUTCOMES_FILE)


def journalled_outcomes(folder: str, name: str = OUTCOMES_FILE) -> Iterator[list[Outcome]]:
    """As `stream_outcomes`, also of an execution that was killed before its report."""
    # Only the file's own name counts: a report that travelled must not lead out of its folder.
    return _stream(os.path.join(folder, os.path.basename(name)), Outcome)


def stream_findings(folder: str, report: Report) -> Iterator[Finding]:
    """Every finding that is not OK; from the report itself when the folder has no findings.jsonl."""
    path = os.path.join(folder, FINDINGS_FILE)
    return chain.from_iterable(_stream(path, Finding)) if os.path.exists(path) else iter(report.findings)


def stream_problems(folder: str, report: Report) -> Iterator[Problem]:
    """Every problem; from the report itself when the folder has no problems.jsonl."""
    path = os.path.join(folder, PROBLEMS_FILE)
    return chain.from_iterable(_stream(path, Problem)) if os.path.exists(path) else iter(report.problems)


def _stream(path: str, into: type[T]) -> Iterator[list[T]]:
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return
    first = 1
    with file:
        while piece := file.read(PIECE_BYTES) + file.readline():
            try:
                yield decode_lines(piece, into)
            except (msgspec.MsgspecError, ValueError):
                yield from _one_by_one(piece, into, path, first)
            first += piece.count(b"\n")


def _one_by_one(piece: bytes, into: type[T], path: str, first: int) -> Iterator[list[T]]:
    """What comes before a damaged line, and which one it is; `first` is the number of the first."""
    values = []
    for number, line in enumerate(piece.splitlines(keepends=True), first):
        try:
            values.append(decode_line(line, into))
        except (msgspec.MsgspecError, ValueError) as error:
            yield values
            if not line.endswith(b"\n"):
                # A kill in the middle of a write leaves half a last line: what it told never ended.
                return
            raise UsageError(f"{path}:{number}: damaged line ({error})") from error
    yield values
