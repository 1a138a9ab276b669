"""What a person wants to see of a plan first: its largest actions and the first ones of each kind."""

from __future__ import annotations

import bisect

from runner.model.action import Action, ActionKind, Stage
from runner.model.entry import path_before, path_bytes

LARGEST = 10
FIRST_PER_KIND = 20
_GATHERED = 1000


class Highlights:
    """Show it every action, in any order. Memory: what is shown, and _GATHERED actions."""

    def __init__(self) -> None:
        self._first: dict[tuple[ActionKind, Stage], list[Action]] = {}
        self._rows: list[tuple[int, bytes, Action]] = []
        self._least = 0
        self._first_copies: list[Action] = []

    def add(self, action: Action) -> None:
        """Look at one action; housekeeping is not for people."""
        if action.is_housekeeping:
            return
        first = self._first.setdefault((action.kind, action.stage), [])
        if len(first) < FIRST_PER_KIND or path_before(action.path, first[-1].path):
            # By path, whatever order they come in: parts of a plan may be made side by side.
            bisect.insort(first, action, key=_path_key)
            del first[FIRST_PER_KIND:]
        if action.size_bytes > self._least:
            self._rows.append((-action.size_bytes, path_bytes(action.path), action))
            if len(self._rows) > _GATHERED:
                self._rows = self._largest_rows()
                # What is as large as the smallest of these may still win by its path.
                self._least = -self._rows[-1][0] - 1

    def add_copy(self, action: Action) -> None:
        """`add` for a COPY of a new file, most of which need no second look."""
        first = self._first_copies
        if (
            len(first) < FIRST_PER_KIND
            or action.size_bytes > self._least
            or path_before(action.path, first[-1].path)
        ):
            self.add(action)
            self._first_copies = self._first[(action.kind, action.stage)]

    def together_with(self, other: Highlights) -> Highlights:
        """These and what another one gathered of other kinds; both stay as they are."""
        both = Highlights()
        both._first = {**self._first, **other._first}
        both._rows = self._rows + other._rows
        return both

    def gathered(self) -> tuple[Action, ...]:
        """Everything that may still be shown, each once, for `gather`."""
        chosen = {id(action): action for actions in self._first.values() for action in actions}
        chosen.update((id(row[2]), row[2]) for row in self._largest_rows())
        return tuple(chosen.values())

    def largest(self) -> tuple[Action, ...]:
        """The LARGEST actions by size, largest first; of equal ones those of the earlier path."""
        return tuple(action for _, _, action in self._largest_rows())

    def first(self) -> tuple[Action, ...]:
        """The first FIRST_PER_KIND actions of each kind, by path."""
        shown: list[Action] = []
        for kind in ActionKind:
            of_kind = [action for stage in Stage for action in self._first.get((kind, stage), ())]
            shown += of_kind[:FIRST_PER_KIND]
        return tuple(shown)

    def _largest_rows(self) -> list[tuple[int, bytes, Action]]:
        from heapq import nsmallest

        return nsmallest(LARGEST, self._rows, key=lambda row: row[:2])


def _path_key(action: Action) -> bytes:
    return path_bytes(action.path)
