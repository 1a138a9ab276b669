"""A plan file as a person wants to see it first: sums, the largest actions, the first of each kind."""

from __future__ import annotations

import heapq

from runner.model.action import Action, ActionKind
from runner.model.entry import path_bytes
from runner.model.plan import PlanSummary
from runner.plan.build import FIRST_PER_KIND, LARGEST
from runner.plan.file import PlanReader


def previewed(reader: PlanReader) -> PlanSummary:
    """The summary that making the plan gave. Reads the file once; memory: what is shown."""
    first: dict[ActionKind, list[Action]] = {kind: [] for kind in ActionKind}

    def counted() -> list[tuple[int, bytes, Action]]:
        rows = []
        for action in reader.actions():
            if action.is_housekeeping:
                continue
            if len(first[action.kind]) < FIRST_PER_KIND:
                first[action.kind].append(action)
            if action.size_bytes:
                rows.append((-action.size_bytes, path_bytes(action.path), action))
                if len(rows) > 1000:
                    rows = heapq.nsmallest(LARGEST, rows, key=lambda row: row[:2])
        return heapq.nsmallest(LARGEST, rows, key=lambda row: row[:2])

    return PlanSummary(
        header=reader.header,
        trailer=reader.trailer,
        largest=tuple(action for _, _, action in counted()),
        first=tuple(action for kind in ActionKind for action in first[kind]),
        file=reader.path,
    )
