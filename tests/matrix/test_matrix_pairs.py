"""Every pair of location types, in both directions, with names that hurt and everything metadata can be.

Each entry arrives with its bytes, or the plan refuses it by name before anything is written; a second plan is empty;
what changed is replaced, what is gone is removed. What was observed is compared with docs/pair-matrix.md.
"""

from __future__ import annotations

import pytest
from matrix_pages import settle
from matrix_support import Endpoints, Judged, Observed, only_refusals, present_types
from servers.real_pair import RealPair, holding

from runner.model.entry import Phase

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
    assert sorted(problem.path for problem in report.problems) == sorted(
        problem.path for problem in summary.trailer.problems
    )
    observed = Judged(before, target).check(report.problems)
    assert first.second_plan() == []

    # The source has become another: what changed is replaced, what is gone is removed, once.
    second = RealPair(endpoints.new_folder(), after, target)
    report = second.run()
    only_refusals(report)
    Judged(after, target).check(report.problems)
    assert second.second_plan() == []
    return observed
