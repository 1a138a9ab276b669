"""How every path is reached: from the export's handle, name by name, and never through a symbolic link.

Each name is looked up in the handle of the folder before it; a server answers NFS3ERR_NOTDIR when that is a link. The
handles of folders are kept, and looked at again, all in one round trip, each time one is used: what somebody moves
away is not written into.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.entry import path_bytes

from ..local.faults import shown
from .calls import DIRECTORY, Calls, Facts, Found
from .faults import EXIST, GONE_HANDLES, NOENT, NOTDIR
from .session import NfsError, Ticket

KEPT_AT_MOST = 4096
_NO_NAMES = frozenset({b"", b".", b".."})


class Standing(NamedTuple):
    """What stands at a path: its handle and the server's facts of it, as fresh as the call that found it."""

    handle: bytes
    facts: Facts


class Located(NamedTuple):
    """A name in a folder that was just looked at, and what has that name now."""

    directory: bytes
    name: bytes
    standing: Standing | None


class Missing(Exception):
    """A folder on the way is not there."""


class Walker:
    """Paths below one export. `root` are the names from the export to the location's root."""

    def __init__(self, calls: Calls, root: tuple[bytes, ...]) -> None:
        """Call `reconnected` before anything else."""
        self._calls = calls
        self._export = b""
        self._export_facts: Facts | None = None
        self._root = root
        self._kept: OrderedDict[tuple[bytes, ...], Standing] = OrderedDict()
        self._first_root: tuple[int, int] | None = None
        self._root_handle: bytes | None = None

    def reconnected(self, export: bytes) -> None:
        """After a new connection: handles may have changed. Raises UNAVAILABLE when the root is another folder."""
        self._export = export
        self._kept.clear()
        # A server that restarted may call the same folder by another handle.
        self._root_handle = None
        facts = self._calls.getattr(export).result()
        if self._export_facts is not None and _place(facts) != _place(self._export_facts):
            raise _replaced()
        self._export_facts = facts

    @property
    def export_facts(self) -> Facts:
        """Of the export's own folder, as of the first connection."""
        assert self._export_facts is not None
        return self._export_facts

    @property
    def export(self) -> bytes:
        """The export's handle."""
        return self._export

    def root(self, *, make: bool = False) -> Standing | None:
        """The location's root; None while it is absent. `make`: it is made (mode 0700), with its parents.

        Raises UNAVAILABLE, which stops the execution, when another folder than before stands there.
        """
        names = self._root
        if not names:
            standing = Standing(self._export, self._calls.getattr(self._export).result())
        else:
            try:
                directory = self._directory(names[:-1], make=make)
            except Missing:
                return None
            located = self._find(directory, names[-1])
            if located.standing is None and make:
                self._check_never_seen()
                located = self._made(located)
            if located.standing is None:
                return None
            standing = located.standing
        if standing.facts.kind != DIRECTORY:
            raise NfsError(NOTDIR)
        self._pin(standing)
        return standing

    def directory(self, path: str, *, make: bool = False) -> bytes:
        """The handle of the folder at `path` ("" or ending in "/"). Raises Missing, or NfsError NOTDIR."""
        names = self._names(path)
        if not names:
            root = self.root(make=make)
            if root is None:
                raise Missing
            return root.handle
        return self._directory(names, make=make)

    def locate(self, path: str, *, make: bool = False) -> Located:
        """The entry at `path` (never ""), with or without a slash at its end. `make`: missing folders on the way
        are made (mode 0700); otherwise Missing is raised."""
        *parents, name = self._names(path)
        return self._walk(tuple(parents), name, make=make)

    def forget(self, path: str) -> None:
        """The folder at `path` is no longer what it was, nor is what lies below."""
        names = self._names(path)
        for kept in [key for key in self._kept if key[: len(names)] == names]:
            del self._kept[kept]

    def keep(self, path: str, standing: Standing) -> None:
        """Remember the handle of a folder that was listed."""
        self._keep(self._names(path), standing)

    # -- walking ---------------------------------------------------------------------------------------------

    def _names(self, path: str) -> tuple[bytes, ...]:
        """All names from the export on."""
        stripped = path.removesuffix("/")
        if not stripped:
            return self._root
        names = path_bytes(stripped).split(b"/")
        for name in names:
            if name in _NO_NAMES or b"\0" in name:
                raise EntryError(
                    EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)} holds an empty name, '.' or '..'"
                )
        return self._root + tuple(names)

    def _directory(self, names: tuple[bytes, ...], *, make: bool) -> bytes:
        if not names:
            return self._export
        located = self._walk(names[:-1], names[-1], make=make)
        standing = located.standing
        if standing is None:
            if not make:
                raise Missing
            standing = self._made(located).standing
            assert standing is not None
        if standing.facts.kind != DIRECTORY:
            raise NfsError(NOTDIR)
        self._keep(names, standing)
        return standing.handle

    def _walk(self, parents: tuple[bytes, ...], name: bytes, *, make: bool) -> Located:
        """Look `name` up below `parents`: in one round trip when all of these are known."""
        depth = 0
        while depth < len(parents) and parents[: depth + 1] in self._kept:
            depth += 1
        handles = [self._export] + [self._kept[parents[:level]].handle for level in range(1, depth + 1)]
        questions = [self._calls.lookup(handles[level], parents[level]) for level in range(depth)]
        last = self._calls.lookup(handles[depth], name) if depth == len(parents) else None
        good = self._still_true(parents, questions)
        if good == depth and last is not None:
            return self._answered(handles[depth], name, last)
        if last is not None:
            _ignore(last)
        directory = handles[good]
        for level in range(good, len(parents)):
            if make and level < len(self._root):
                self._make_root_once(directory, parents[level])
            standing = self._step(directory, parents[level], make=make)
            if level + 1 == len(self._root):
                self._pin(standing)
            self._keep(parents[: level + 1], standing)
            directory = standing.handle
        return self._find(directory, name)

    def _still_true(self, parents: tuple[bytes, ...], questions: list[Ticket[Found]]) -> int:
        """How many of the known folders are still in their places; the others are forgotten."""
        good = 0
        for level, question in enumerate(questions):
            names = parents[: level + 1]
            try:
                found = question.result()
            except NfsError as error:
                if error.status not in (NOENT, NOTDIR, *GONE_HANDLES):
                    raise
                found = None
            kept = self._kept.get(names)
            if good == level and found is not None and kept is not None and _same(kept, found):
                good += 1
            elif good == level:
                self._forget(names)
        return good

    def _make_root_once(self, directory: bytes, name: bytes) -> None:
        """A root that was there and is gone is not made again: what was in it may be elsewhere, not nowhere."""
        if self._first_root is not None and self._find(directory, name).standing is None:
            self._check_never_seen()

    def _check_never_seen(self) -> None:
        if self._first_root is not None:
            raise EntryError(
                EntryCode.UNAVAILABLE, "", "the location's root is gone", disposition=Disposition.ABORT
            )

    def _step(self, directory: bytes, name: bytes, *, make: bool) -> Standing:
        located = self._find(directory, name)
        if located.standing is None and make:
            located = self._made(located)
        if located.standing is None:
            raise Missing
        if located.standing.facts.kind != DIRECTORY:
            raise NfsError(NOTDIR)
        return located.standing

    def _find(self, directory: bytes, name: bytes) -> Located:
        return self._answered(directory, name, self._calls.lookup(directory, name))

    def _answered(self, directory: bytes, name: bytes, question: Ticket[Found]) -> Located:
        try:
            found = question.result()
            facts = found.facts or self._calls.getattr(found.handle).result()
        except NfsError as error:
            if error.status == NOENT:
                return Located(directory, name, None)
            raise
        return Located(directory, name, Standing(found.handle, facts))

    def _made(self, located: Located) -> Located:
        """A folder where there was none a moment ago; somebody else's is as good."""
        try:
            self._calls.mkdir(located.directory, located.name, 0o700).result()
        except NfsError as error:
            if error.status != EXIST:
                raise
        return self._find(located.directory, located.name)

    def _keep(self, names: tuple[bytes, ...], standing: Standing) -> None:
        self._kept[names] = standing
        self._kept.move_to_end(names)
        while len(self._kept) > KEPT_AT_MOST:
            self._kept.popitem(last=False)

    def _forget(self, names: tuple[bytes, ...]) -> None:
        for kept in [key for key in self._kept if key[: len(names)] == names]:
            del self._kept[kept]

    def _pin(self, standing: Standing) -> None:
        """The root that was found first is the only one that counts: a disk that was unmounted on the server leaves
        an empty folder in its place."""
        place = _place(standing.facts)
        if self._first_root not in (None, place) or self._root_handle not in (None, standing.handle):
            raise _replaced()
        self._first_root, self._root_handle = place, standing.handle


def _same(kept: Standing, found: Found) -> bool:
    """RFC 1813, 2.4: equal handles are one file. Others may be too, but file ids are used again for new files."""
    return kept.handle == found.handle


def _place(facts: Facts) -> tuple[int, int]:
    return facts.fsid, facts.fileid


def _replaced() -> EntryError:
    return EntryError(
        EntryCode.UNAVAILABLE,
        "",
        "another folder stands at the location's root than when it was opened: it was replaced, or the server lost "
        "the file system that was there",
        disposition=Disposition.ABORT,
    )


def _ignore(question: Ticket[Found]) -> None:
    try:
        question.result()
    except NfsError:
        pass
