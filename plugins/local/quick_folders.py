"""Folders in one call each: made empty, and given their metadata once everything in them is done.

As in quick.py: whatever is not plain is left to the general way, which says precisely what is wrong.
"""

from __future__ import annotations

from runner.clock import monotonic_ns
from runner.locations.observer import SINCE, Cells
from runner.model.activity import Activity
from runner.model.entry import Entry, Kind

from .handles import Handles
from .native import native
from .quick import FolderAtHand

_SPECIAL_BITS = 0o7000
MEASURED = 16
"""One of so many folders tells how long it takes: asking the time for each would take as long."""


class QuickFolders:
    """Makes and finishes folders at a local location beside a local source, or declines. One thread. Needs the compiled
    module."""

    def __init__(self, source: Handles, handles: Handles, cells: Cells | None) -> None:
        """`cells`: an observer's."""
        self._source = FolderAtHand(source)
        self._at_hand = FolderAtHand(handles)
        self._cells = cells
        self._calls = 0

    def make(self, entry: Entry) -> bool:
        """Whether the folder is there now, empty, for its owner alone; False: nothing was done."""
        assert native is not None
        places = self._places(entry)
        if places is None:
            return False
        began = self._instant()
        try:
            made: bool = native.make_folder(*places)
            return made
        except OSError:
            return False
        finally:
            self._note(began)

    def finish(self, entry: Entry) -> bool:
        """Whether the folder has the metadata of `entry` now; False: it has to be looked at."""
        assert native is not None
        attributes = entry.attributes
        if (
            entry.mtime_ns is None
            or attributes is None
            or attributes.xattrs != ()
            or attributes.acls != ()
            or attributes.atime_ns is not None
            or attributes.mode is None
            or attributes.mode & _SPECIAL_BITS
            or attributes.uid is None
            or attributes.gid is None
            or attributes.user is not None
            or attributes.group is not None
        ):
            return False
        places = self._places(entry)
        if places is None:
            return False
        began = self._instant()
        try:
            finished: bool = native.finish_folder(
                *places, attributes.mode, attributes.uid, attributes.gid, entry.mtime_ns
            )
            return finished
        except OSError:
            return False
        finally:
            self._note(began)

    def _places(self, entry: Entry) -> tuple[int, int, str] | None:
        """(the parent's handle at the source, at the destination, the folder's name)."""
        path = entry.path
        if entry.kind is not Kind.DIRECTORY or path == "":
            return None
        cut = path.rfind("/", 0, -1) + 1
        source_fd, fd = self._source.handle(path[:cut]), self._at_hand.handle(path[:cut])
        return None if source_fd is None or fd is None else (source_fd, fd, path[cut:-1])

    def _instant(self) -> int:
        self._calls += 1
        return 0 if self._cells is None or self._calls % MEASURED else monotonic_ns()

    def _note(self, began: int) -> None:
        if began and self._cells is not None:
            took = (monotonic_ns() - began) * MEASURED
            self._cells[Activity.WRITING] += took
            self._cells[SINCE] += took
