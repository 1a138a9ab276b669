"""Two executions side by side: what took longer, what was counted, which settings differ, what is new and what is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec

from runner.model.action import Finding
from runner.model.entry import Phase, Problem
from runner.model.execution import LISTED_AT_MOST, Counters, Counts, Execution, Report
from runner.report.stored import load_report, stream_findings, stream_problems

T = TypeVar("T")


class PhasePair(msgspec.Struct, frozen=True):
    """How long a phase took in each, in seconds; None where it did not take place."""

    phase: Phase
    a_seconds: float | None
    b_seconds: float | None


class CounterPair(msgspec.Struct, frozen=True):
    """One counter in each. Files and folders are counters of their own: `transferred.files`."""

    counter: str
    a: int
    b: int


class SettingPair(msgspec.Struct, frozen=True):
    """A setting that differs, named by its path such as `options.compare`; None where there is none."""

    setting: str
    a: Any
    b: Any


class Comparison(msgspec.Struct, frozen=True):
    """Execution `b` against execution `a`. Only settings that differ; all phases and counters.

    `*_new`: only in b, `*_gone`: only in a, by path and kind; at most LISTED_AT_MOST of each, the totals count all.
    """

    a: Execution
    b: Execution
    phases: tuple[PhasePair, ...]
    counters: tuple[CounterPair, ...]
    settings: tuple[SettingPair, ...]
    problems_new: tuple[Problem, ...]
    problems_new_total: int
    problems_gone: tuple[Problem, ...]
    problems_gone_total: int
    findings_new: tuple[Finding, ...]
    findings_new_total: int
    findings_gone: tuple[Finding, ...]
    findings_gone_total: int


class Told(msgspec.Struct, frozen=True):
    """An execution's report, and all that it tells of: called anew for each pass over it."""

    report: Report
    problems: Callable[[], Iterable[Problem]]
    findings: Callable[[], Iterable[Finding]]


def told_in(folder: str) -> Told:
    """What an execution's folder tells. Raises UsageError when it holds no readable report."""
    report = load_report(folder)
    return Told(report, partial(stream_problems, folder, report), partial(stream_findings, folder, report))


def compare_executions(a: Told, b: Told) -> Comparison:
    """Set two executions side by side. Holds a key of each problem and finding of both."""
    problems_gone, problems_new = _apart(a.problems, b.problems, _problem_key)
    findings_gone, findings_new = _apart(a.findings, b.findings, _finding_key)
    return Comparison(
        a=a.report.execution,
        b=b.report.execution,
        phases=tuple(_phases(a.report, b.report)),
        counters=tuple(_counters(a.report.counters, b.report.counters)),
        settings=tuple(_settings(_described(a.report), _described(b.report))),
        problems_new=problems_new[0],
        problems_new_total=problems_new[1],
        problems_gone=problems_gone[0],
        problems_gone_total=problems_gone[1],
        findings_new=findings_new[0],
        findings_new_total=findings_new[1],
        findings_gone=findings_gone[0],
        findings_gone_total=findings_gone[1],
    )


def _problem_key(problem: Problem) -> tuple[str, ...]:
    return problem.path, problem.code.value, problem.side or ""


def _finding_key(finding: Finding) -> tuple[str, ...]:
    return finding.path, finding.verdict.value, *finding.fields


def _apart(
    a: Callable[[], Iterable[T]], b: Callable[[], Iterable[T]], key: Callable[[T], tuple[str, ...]]
) -> tuple[tuple[tuple[T, ...], int], tuple[tuple[T, ...], int]]:
    """What only `a` has and what only `b` has, each as (the first ones, how many)."""
    in_a, in_b = {key(one) for one in a()}, {key(one) for one in b()}
    return _only(a(), key, in_b), _only(b(), key, in_a)


def _only(
    told: Iterable[T], key: Callable[[T], tuple[str, ...]], others: set[tuple[str, ...]]
) -> tuple[tuple[T, ...], int]:
    listed, total = [], 0
    for one in told:
        if key(one) not in others:
            total += 1
            if total <= LISTED_AT_MOST:
                listed.append(one)
    return tuple(listed), total


def _phases(a: Report, b: Report) -> Iterator[PhasePair]:
    took = [{timing.phase: timing.duration_seconds for timing in report.phases} for report in (a, b)]
    for phase in Phase:
        if phase in took[0] or phase in took[1]:
            yield PhasePair(phase, took[0].get(phase), took[1].get(phase))


def _counters(a: Counters, b: Counters) -> Iterator[CounterPair]:
    for name in Counters.__struct_fields__:
        one, other = getattr(a, name), getattr(b, name)
        if isinstance(one, Counts):
            yield CounterPair(f"{name}.files", one.files, other.files)
            yield CounterPair(f"{name}.folders", one.folders, other.folders)
        else:
            yield CounterPair(name, one, other)


def _described(report: Report) -> dict[str, Any]:
    """The settings that held, with what was found at both ends and the program that ran."""
    execution = report.execution
    return {
        **report.settings,
        "source.identity": report.source.identity,
        "destination.identity": report.destination.identity,
        "host": execution.host,
        "runner_version": execution.runner_version,
        "config_file": execution.config_file,
    }


def _settings(a: Any, b: Any, path: str = "") -> Iterator[SettingPair]:
    """Where two trees of plain values differ, in the order of `a`. Lists are one value: their order may matter."""
    if a == b:
        return
    if isinstance(a, dict) and isinstance(b, dict):
        for name in dict.fromkeys([*a, *b]):
            yield from _settings(a.get(name), b.get(name), f"{path}.{name}" if path else name)
    else:
        yield SettingPair(path, a, b)
