"""A plan file as a person wants to see it first: sums, the largest actions, the first of each kind."""

from __future__ import annotations

from runner.model.plan import PlanSummary
from runner.plan.file import PlanReader
from runner.plan.highlights import Highlights


def previewed(reader: PlanReader) -> PlanSummary:
    """The summary that making the plan gave. Reads the file once; memory: what is shown."""
    highlights = Highlights()
    for action in reader.actions():
        highlights.add(action)
    return PlanSummary(
        header=reader.header,
        trailer=reader.trailer,
        largest=highlights.largest(),
        first=highlights.first(),
        file=reader.path,
    )
