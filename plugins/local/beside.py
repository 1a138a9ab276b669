"""Two local trees listed side by side: ordinary files that are equal on both sides are settled where their names are read.

Nearly all files of a tree that is in sync are such. Whoever opens a folder first opens its twin on the other side
too, lets the compiled module compare them, and keeps the twin for the other walk, which takes it when it comes there. Both
walks go forward in canonical order, so what is kept is used soon or never.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runner.errors import EntryCode
from runner.locations.protocol import EqualFiles
from runner.model.entry import Entry, Kind, Phase, Problem, path_before

from .faults import shown
from .syscalls import release

if TYPE_CHECKING:
    from ._native import Folder
    from .scan import Scanner

SOURCE, DESTINATION = 0, 1
OpenedFolder = tuple[int, "Folder"]


class SideBySide:
    """Both walks of one comparison. Not thread-safe; used once."""

    def __init__(self, source: Scanner, destination: Scanner, equal: EqualFiles, fields: int) -> None:
        self._scanners = (source, destination)
        self._equal = equal
        self._fields = fields
        # The folder each walk opened last: what does not come after it was listed already.
        self._last: list[str | None] = [None, None]
        self._kept: tuple[dict[str, OpenedFolder], dict[str, OpenedFolder]] = ({}, {})
        # Folders that are kept, and that files were settled in.
        self._settled: set[str] = set()
        self._missed: list[str | None] = [None, None]

    def scan(
        self, side: int, prefix: str, descend: Callable[[Entry], bool] | None
    ) -> Iterator[Entry | Problem]:
        """One side's listing without what was settled; see `Location.scan`."""
        try:
            yield from self._scanners[side].scan(prefix, descend, Beside(self, side))
        finally:
            self._forget(side, None)
        missed = self._missed[side]
        if missed is not None:
            # Moved away just now, or the file system takes other spellings for this name: what was settled there has
            # no counterpart in this listing.
            message = f"{shown(missed)} was there a moment before its turn came, and then was not. Run again."
            yield Problem("", Phase.PREPARING, EntryCode.NOT_LISTED, message)

    def taken(self, side: int, path: str) -> OpenedFolder | Problem | None:
        """What the other walk left here for this folder; a Problem when this walk has been here before."""
        last, self._last[side] = self._last[side], path
        if last is not None and not path_before(last, path):
            # A second listing would show as missing what the first has settled.
            message = f"{shown(path)} was listed before, and changed since. Run again."
            return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, message)
        kept = self._kept[side].pop(path, None)
        self._settled.discard(path)
        self._forget(side, path)
        return kept

    def settle(self, side: int, path: str, folder: Folder) -> None:
        """A folder was opened whose twin nobody has: what is equal in both does not come any more."""
        other = 1 - side
        last = self._last[other]
        if last is not None and not path_before(last, path):
            return  # the other walk has passed it: its entries have come
        twin = self._scanners[other].open_twin(path)
        if twin is None:
            return
        self._kept[other][path] = twin
        pair = (folder, twin[1]) if side == SOURCE else (twin[1], folder)
        if self._settle(path, *pair):
            self._settled.add(path)

    def _settle(self, path: str, source: Folder, destination: Folder) -> bool:
        from .native import native

        assert native is not None
        equal = self._equal
        takes_part = equal.takes_part
        files, size, pairs = native.settle(
            source, destination, self._fields, equal.mtime_tolerance_ns or 0, takes_part is not None
        )
        if takes_part is not None:
            files = size = 0
            for left, right, name, size_bytes, mtime_ns in pairs:
                if takes_part(Entry(path + name, Kind.FILE, size_bytes, mtime_ns)):
                    source.leave_out(left)
                    destination.leave_out(right)
                    files += 1
                    size += size_bytes
        if files:
            equal.on_settled(files, size)
        return bool(files)

    def _forget(self, side: int, path: str | None) -> None:
        """Close what this walk has passed by (all, at its end): it will not come back."""
        kept = self._kept[side]
        for passed in [one for one in kept if path is None or path_before(one, path)]:
            fd, folder = kept.pop(passed)
            if passed in self._settled:
                self._missed[side] = passed
            folder.fd = -1
            release(fd)


class Beside:
    """One side of it, as its scanner sees it."""

    def __init__(self, pair: SideBySide, side: int) -> None:
        self._pair = pair
        self._side = side

    def taken(self, path: str) -> OpenedFolder | Problem | None:
        return self._pair.taken(self._side, path)

    def settle(self, path: str, folder: Folder) -> None:
        self._pair.settle(self._side, path, folder)


def compared_fields(equal: EqualFiles) -> int:
    """Which facts the compiled module has to compare. Names of owners follow from their numbers on one machine."""
    from .native import native

    assert native is not None
    wanted = equal.attributes
    fields: int = native.COMPARE_MTIME if equal.mtime_tolerance_ns is not None else 0
    if equal.content:
        fields |= native.COMPARE_CONTENT
    if "mode" in wanted:
        fields |= native.COMPARE_MODE
    if wanted & {"uid", "user"}:
        fields |= native.COMPARE_UID
    if wanted & {"gid", "group"}:
        fields |= native.COMPARE_GID
    if wanted & {"xattrs", "acls"}:
        fields |= native.COMPARE_EXTENDED
    return fields
