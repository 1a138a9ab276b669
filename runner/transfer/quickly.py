"""First attempts the short way: what locations offer for the most frequent actions, several of one folder at once.

Whatever is not plain is left to `Performer.perform`, which says precisely what is the matter.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar

from runner.clock import Clock
from runner.errors import EntryError
from runner.locations.protocol import (
    CopiesFrom,
    CopiesQuickly,
    FoldersQuickly,
    Location,
    QuickDone,
    QuickFile,
    RemovesQuickly,
    Throttle,
    Written,
)
from runner.model.action import Action, ActionKind, Outcome, OutcomeStatus
from runner.model.entry import Entry, Kind

AT_ONCE = 32
"""So many files are handed over together at most, so that nobody who wants to stop has to wait."""
BYTES_AT_ONCE = 256 << 10
"""So much content together, unless one file has more: what stays in a processor's cache, and in the bandwidth's measure."""

# Asked of every action: a member costs five times as much to look up through its class.
_COPY = ActionKind.COPY
_REPLACE = ActionKind.REPLACE
_DELETE = ActionKind.DELETE
_CREATE_DIRECTORY = ActionKind.CREATE_DIRECTORY
_SET_ATTRIBUTES = ActionKind.SET_ATTRIBUTES
_DIRECTORY = Kind.DIRECTORY
_FILE = Kind.FILE
_DONE = OutcomeStatus.DONE
_NOTHING_WRITTEN = Written()

T = TypeVar("T")


class Quickly:
    """The short ways from one location to another. One thread; remembers how many files it did together last."""

    def __init__(
        self,
        source: Location,
        destination: Location,
        throttle: Throttle,
        clock: Clock,
        agent: str | None,
        *,
        sets_mtime: bool,
    ) -> None:
        """`sets_mtime`: whether modification times are carried; without, there is no short way to write."""
        copies = isinstance(destination, CopiesFrom) and destination.copies_from(source)
        self._copy = (
            destination.quick_copy(source, throttle)
            if isinstance(destination, CopiesQuickly) and copies and sets_mtime
            else None
        )
        self._remove = destination.quick_remove(source) if isinstance(destination, RemovesQuickly) else None
        self._folders = (
            destination.quick_folders(source)
            if isinstance(destination, FoldersQuickly) and sets_mtime
            else None
        )
        self._monotonic = clock.monotonic
        # Wall time moves with the monotonic clock from here on: one look at the calendar is enough.
        self._wall_offset = clock.now().timestamp() - clock.monotonic()
        self._agent = agent
        # Where files are not for here, no more than one is tried in vain.
        self._at_once = AT_ONCE

    def outcomes(self, actions: Sequence[Action], place: int) -> list[Outcome]:
        """Of the actions from `place` on, as many as went well the short way together; [] when the first did not."""
        action = actions[place]
        kind = action.kind
        began = self._monotonic()
        if kind is _COPY or kind is _REPLACE:
            return [] if self._copy is None else self._copied(actions, place, began)
        if kind is _DELETE:
            return [] if self._remove is None else self._removed(actions, place, began)
        if self._folders is None or action.source is None:
            return []
        if kind is _CREATE_DIRECTORY:
            done = action.destination is None and self._folders.make(action.source)
        else:
            done = (
                kind is _SET_ATTRIBUTES
                and action.source.kind is _DIRECTORY
                and self._folders.finish(action.source)
            )
        return [self._outcome(action, began, self._monotonic() - began)] if done else []

    def _copied(self, actions: Sequence[Action], place: int, began: float) -> list[Outcome]:
        assert self._copy is not None
        files = of_one_folder(_copies(itertools.islice(actions, place, place + self._at_once)))
        if not files:
            return []
        try:
            done = self._copy(files)
        except EntryError:
            return []
        return self._told(actions, place, began, done)

    def _removed(self, actions: Sequence[Action], place: int, began: float) -> list[Outcome]:
        assert self._remove is not None
        entries = of_one_folder(_removals(itertools.islice(actions, place, place + self._at_once)))
        if not entries:
            return []
        done = [(_NOTHING_WRITTEN, seconds) for seconds in self._remove(entries)]
        return self._told(actions, place, began, done)

    def _told(
        self, actions: Sequence[Action], place: int, began: float, done: Sequence[QuickDone]
    ) -> list[Outcome]:
        self._at_once = min(AT_ONCE, 2 * self._at_once) if done else 1
        outcomes = []
        for number, (written, seconds) in enumerate(done, place):
            outcomes.append(self._outcome(actions[number], began, seconds, written))
            began += seconds
        return outcomes

    def _outcome(
        self, action: Action, began: float, seconds: float, written: Written | None = None
    ) -> Outcome:
        return Outcome(
            action.id,
            action.kind,
            action.path,
            _DONE,
            1,
            written.bytes if written is not None else 0,
            self._wall_offset + began,
            seconds,
            written.digest if written is not None else None,
            None,
            self._agent,
            None,
            action.is_housekeeping,
        )


def of_one_folder(rows: Iterable[tuple[str, int, T]]) -> list[T]:
    """What goes together: of rows (path, bytes of content, value) the values of those from the first on that are of its
    folder and have no more than BYTES_AT_ONCE; the first whatever it has."""
    together: list[T] = []
    folder = ""
    total = 0
    for path, size, value in rows:
        total += size
        if not together:
            folder = path[: path.rfind("/") + 1]
        elif total > BYTES_AT_ONCE or path[: path.rfind("/") + 1] != folder:
            break
        together.append(value)
    return together


def _copies(actions: Iterable[Action]) -> Iterator[tuple[str, int, QuickFile]]:
    """Files to copy, up to the first action that is something else."""
    for action in actions:
        entry = action.source
        if entry is None or entry.kind is not _FILE or action.kind not in (_COPY, _REPLACE):
            return
        yield action.path, action.size_bytes, (entry, action.destination)


def _removals(actions: Iterable[Action]) -> Iterator[tuple[str, int, Entry]]:
    """What is no folder and is to be deleted, up to the first action that is something else."""
    for action in actions:
        entry = action.destination
        if entry is None or entry.kind is _DIRECTORY or action.kind is not _DELETE:
            return
        yield action.path, 0, entry
