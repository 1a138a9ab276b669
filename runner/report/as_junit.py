"""JUnit XML: an execution as a test suite, so that a CI system shows what failed without reading logs.

The dialect is the one that Jenkins, GitLab and GitHub's test reporters share (the Apache Ant junit schema).
"""

from __future__ import annotations

import html
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from runner.errors import ExitCode
from runner.model.entry import Phase
from runner.model.execution import Report
from runner.model.wire import terminal_safe
from runner.report.rows import describe_difference
from runner.report.words import next_steps


class _Case(NamedTuple):
    """One test case; `failure` None = passed. The body is shown below the failure's message."""

    classname: str
    name: str
    duration_seconds: float = 0.0
    failure: tuple[str, str] | None = None
    body: str = ""


def write_junit(report: Report, output: BinaryIO) -> None:
    """One suite: the execution, each phase, each guard that spoke, each problem, each finding.

    Problems and findings come from the report's own lists (at most LISTED_AT_MOST each); those beyond
    them are one failing case that says how many. Any name is XML-valid: control characters become visible.
    """
    execution = report.execution
    cases = list(_cases(report))
    failures = sum(case.failure is not None for case in cases)
    totals = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="0"'
    elapsed = f'time="{execution.duration_seconds:.3f}"'
    timestamp = execution.started_at[:19]
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<testsuites name="sync-runner" {totals} {elapsed}>',
        f'  <testsuite name="{_text(execution.task)}" {totals} {elapsed} timestamp="{_text(timestamp)}"'
        f' hostname="{_text(execution.host)}">',
        "    <properties>",
    ]
    lines += [
        f'      <property name="{_text(name)}" value="{_text(value)}"/>'
        for name, value in _properties(report)
    ]
    lines.append("    </properties>")
    output.write(("\n".join(lines) + "\n").encode())
    for case in cases:
        output.write(_render_case(case).encode())
    output.write(b"  </testsuite>\n</testsuites>\n")


def _properties(report: Report) -> Iterator[tuple[str, str]]:
    execution = report.execution
    yield "execution_id", execution.execution_id
    yield "trigger", execution.trigger
    yield "status", execution.status
    yield "exit_code", str(execution.exit_code)
    yield "source", report.source.description
    yield "destination", report.destination.description
    yield "runner_version", execution.runner_version
    yield "config_digest", execution.config_digest
    yield "bytes_transferred", str(report.counters.bytes_transferred)
    for field in ("listed", "transferred", "skipped", "excluded", "failed", "verified", "deleted"):
        counts = getattr(report.counters, field)
        yield f"files_{field}", str(counts.files)
        yield f"folders_{field}", str(counts.folders)


def _cases(report: Report) -> Iterator[_Case]:
    execution = report.execution
    prefix = f"sync-runner.{execution.task}"
    failed = execution.exit_code != ExitCode.DONE
    yield _Case(
        prefix,
        "execution",
        execution.duration_seconds,
        (f"exit_code_{execution.exit_code}", execution.summary) if failed else None,
        "\n".join(terminal_safe(step.line) for step in next_steps(report)),
    )
    for timing in report.phases:
        ended_badly = timing.status is not Phase.SUCCESS
        yield _Case(
            f"{prefix}.phases",
            timing.phase,
            timing.duration_seconds,
            (timing.status, f"{timing.phase} ended with {timing.status}") if ended_badly else None,
        )
    for guard in report.guards:
        yield _Case(
            f"{prefix}.guards",
            guard.guard,
            failure=None if guard.accepted else (guard.guard, guard.message),
            body="" if guard.accepted else terminal_safe(guard.remedy),
        )
    for problem in report.problems:
        yield _Case(
            f"{prefix}.problems",
            f"{problem.path or '/'} [{problem.phase} {problem.code}]",
            failure=(problem.code, problem.message),
            body=terminal_safe(problem.remedy),
        )
    for finding in report.findings:
        difference = describe_difference(finding)
        yield _Case(
            f"{prefix}.findings",
            f"{finding.path or '/'} [{finding.verdict}]",
            failure=(finding.verdict, finding.message or difference or finding.verdict),
            body=terminal_safe(difference),
        )
    yield from _rest(f"{prefix}.problems", "problems", report.problems_total - len(report.problems))
    yield from _rest(f"{prefix}.findings", "findings", report.findings_total - len(report.findings))


def _rest(classname: str, noun: str, count: int) -> Iterator[_Case]:
    if count > 0:
        yield _Case(
            classname, f"{count:,} more {noun}", failure=("more", f"See {noun}.jsonl or the CSV report.")
        )


def _render_case(case: _Case) -> str:
    head = (
        f'    <testcase classname="{_text(case.classname)}" name="{_text(case.name)}"'
        f' time="{case.duration_seconds:.3f}"'
    )
    if case.failure is None:
        return head + "/>\n"
    code, message = case.failure
    body = "\n".join(_text(line) for line in case.body.splitlines())
    failure = f'<failure type="{_text(code)}" message="{_text(message)}">{body}</failure>'
    return f"{head}>\n      {failure}\n    </testcase>\n"


def _text(text: str) -> str:
    """Attribute or element text: what `terminal_safe` leaves is all allowed by XML 1.0."""
    return html.escape(terminal_safe(text))
