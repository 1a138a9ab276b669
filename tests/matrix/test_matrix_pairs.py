"""Every pair of location types, in both directions, with names that hurt and everything metadata can be.

Each entry arrives with its bytes, or the plan refuses it by name before anything is written; a second plan is empty;
what changed is replaced, what is gone is removed. What was observed is compared with docs/pair-matrix.md.
"""

from __future__ import annotations

import pytest
from matrix_pages import settle
from matrix_support import Endpoints, Judged, Observed, attributes_refused, only_refusals, present_types
from servers.real_pair import RealPair, holding

from runner.model.entry import Phase
from runner.model.execution import Report

pytestmark = [pytest.mark.servers, pytest.mark.root]

PAIRS = [(source, destination) for source in present_types() for destination in present_types()]


@pytest.mark.parametrize(("source", "destination"), PAIRS, ids=[f"{left}->{right}" for left, right in PAIRS])
def test_pair(source: str, destination: str, endpoints: Endpoints) -> None:
    observed = carry(source, destination, endpoints)
    settle(source, destination, observed)


def carry(source: str, destination: str, endpoints: Endpoints) -> Observed:
    before, after = endpoints.sources(source)
    target = endpoints.fresh(destination)

    # The plan says what it refuses, and writes nothing.
    first = RealPair(endpoints.new_folder(), before, target)
    summary = first.plan()
    assert holding(target) == {}
    assert summary.trailer.complete

    # Everything else arrives, verified; then there is nothing left to do.
    report = first.run()
    only_refusals(report)
    assert report.execution.status is (Phase.ERROR if report.problems else Phase.SUCCESS)
    planned = [problem.path for problem in report.problems if problem.phase is Phase.PREPARING]
    assert sorted(planned) == sorted(problem.path for problem in summary.trailer.problems)
    observed = Judged(before, target).check(report.problems)
    assert left_to_do(first, report) == []

    # The source has become another: what changed is replaced, what is gone is removed, once.
    second = RealPair(endpoints.new_folder(), after, target)
    report = second.run()
    only_refusals(report)
    Judged(after, target).check(report.problems)
    assert left_to_do(second, report) == []
    return observed


def left_to_do(pair: RealPair, report: Report) -> list[tuple[str, str]]:
    """What a second plan holds, but for metadata that the first run has reported as refused."""
    unset = attributes_refused(report.problems)
    return [
        (kind, path) for kind, path in pair.second_plan() if kind != "set_attributes" or path not in unset
    ]
