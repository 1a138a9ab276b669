"""What a person wants to see of a plan first: its largest actions and the first ones of each kind."""

from __future__ import annotations

import heapq

from runner.model.action import Action, ActionKind, Stage
from runner.model.entry import path_bytes

LARGEST = 10
FIRST_PER_KIND = 20
_GATHERED = 1000


class Highlights:
    """Show it every action of each stage in the plan's order. Memory: what is shown, and _GATHERED actions."""

    def __init__(self) -> None:
        self._first: dict[tuple[ActionKind, Stage], list[Action]] = {}
        self._rows: list[tuple[int, bytes, Action]] = []
        self._least = 0

    def add(self, action: Action) -> None:
        """Look at one action; housekeeping is not for people."""
        if action.is_housekeeping:
            return
        first = self._first.setdefault((action.kind, action.stage), [])
        if len(first) < FIRST_PER_KIND:
            first.append(action)
        if action.size_bytes > self._least:
            self._rows.append((-action.size_bytes, path_bytes(action.path), action))
            if len(self._rows) > _GATHERED:
                self._rows = self._largest_rows()
                # What is as large as the smallest of these may still win by its path.
                self._least = -self._rows[-1][0] - 1

    def include(self, other: Highlights) -> None:
        """Add what another one gathered of other kinds."""
        self._first.update(other._first)
        self._rows += other._rows

    def largest(self) -> tuple[Action, ...]:
        """The LARGEST actions by size, largest first; of equal ones those of the earlier path."""
        return tuple(action for _, _, action in self._largest_rows())

    def first(self) -> tuple[Action, ...]:
        """The first FIRST_PER_KIND actions of each kind, in the plan's order."""
        shown: list[Action] = []
        for kind in ActionKind:
            of_kind = [action for stage in Stage for action in self._first.get((kind, stage), ())]
            shown += of_kind[:FIRST_PER_KIND]
        return tuple(shown)

    def _largest_rows(self) -> list[tuple[int, bytes, Action]]:
        return heapq.nsmallest(LARGEST, self._rows, key=lambda row: row[:2])
