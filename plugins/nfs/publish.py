"""New entries under a name that nobody else uses, and the steps that give them their own.

NFSv3 has no rename that replaces nothing. So what is new is linked to its name, which fails when the name is taken, and
then loses its temporary one; what replaces is renamed over, right after a look at what is there.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from typing import NamedTuple

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry, Kind, path_bytes

from ..local.faults import shown, stale
from ..local.names import TemporaryNames
from . import calls
from .calls import DIRECTORY, Calls, Found
from .facts import difference
from .faults import ACCES, EXIST, INVAL, ISDIR, NOENT, NOTEMPTY, NOTSUPP, PERM
from .session import NfsError, SessionError, Ticket
from .walking import Located, Standing

_NO_LINKS = frozenset({NOTSUPP, INVAL, ISDIR, PERM, ACCES})
"""What servers answer that cannot link entries of some kind."""
_NODES = {
    Kind.FIFO: calls.FIFO,
    Kind.SOCKET: calls.SOCKET,
    Kind.CHARACTER_DEVICE: calls.CHARACTER,
    Kind.BLOCK_DEVICE: calls.BLOCK,
}


class Orphan(NamedTuple):
    """A temporary name whose removal could not be asked for: the connection was gone."""

    directory: bytes
    name: bytes
    is_directory: bool


class Draft:
    """An entry that is not published yet. Use as a context manager: what was not published is removed."""

    __slots__ = ("_publisher", "directory", "is_directory", "name", "standing")

    def __init__(
        self, publisher: Publisher, directory: bytes, name: bytes, standing: Standing, *, is_directory: bool
    ) -> None:
        self._publisher = publisher
        self.directory = directory
        self.name: bytes | None = name
        self.standing = standing
        self.is_directory = is_directory

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        if self.name is not None:
            self._publisher.discard(Orphan(self.directory, self.name, self.is_directory))


class Publisher:
    """Makes drafts and publishes them."""

    def __init__(self, calls: Calls, names: TemporaryNames) -> None:
        self._calls = calls
        self._names = names
        self._orphans: list[Orphan] = []

    # -- drafts ----------------------------------------------------------------------------------------------

    def draft_file(self, directory: bytes) -> Draft:
        """An empty file, mode 0600."""
        name = self._next_name()
        return self._draft(directory, name, lambda: self._calls.create(directory, name, 0o600))

    def draft_directory(self, directory: bytes) -> Draft:
        """An empty directory, mode 0700."""
        name = self._next_name()
        return self._draft(
            directory, name, lambda: self._calls.mkdir(directory, name, 0o700), is_directory=True
        )

    def draft_special(self, directory: bytes, entry: Entry) -> Draft:
        """A symlink, FIFO, socket or device, mode 0600."""
        name = self._next_name()
        if entry.kind is Kind.SYMLINK:
            if not entry.link_target or "\0" in entry.link_target:
                raise _not_supported(entry.path, "a link without a target, or with one that no link can hold")
            target = path_bytes(entry.link_target)
            return self._draft(directory, name, lambda: self._calls.symlink(directory, name, target))
        device = entry.attributes.device if entry.attributes is not None else None
        numbers = (0, 0)
        if entry.kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE):
            if device is None:
                raise _not_supported(entry.path, "the device's number is unknown")
            numbers = (os.major(device), os.minor(device))
        kind = _NODES[entry.kind]
        return self._draft(directory, name, lambda: self._calls.mknod(directory, name, kind, 0o600, numbers))

    def _next_name(self) -> bytes:
        return self._names.next().encode("ascii")

    def _draft(
        self, directory: bytes, name: bytes, make: Callable[[], Ticket[Found]], *, is_directory: bool = False
    ) -> Draft:
        """Servers need not tell a new file's handle or facts."""
        try:
            handle, facts = make().result()
            if not handle:
                handle, facts = self._calls.lookup(directory, name).result()
            standing = Standing(handle, facts or self._calls.getattr(handle).result())
        except SessionError:
            # It may have been made, though nobody could say so any more.
            self._orphans.append(Orphan(directory, name, is_directory))
            raise
        return Draft(self, directory, name, standing, is_directory=is_directory)

    # -- leftovers -------------------------------------------------------------------------------------------

    def discard(self, orphan: Orphan) -> None:
        """Remove a temporary name, now or, when the connection is gone, after the next one is made."""
        try:
            if orphan.is_directory:
                self._calls.rmdir(orphan.directory, orphan.name).result()
            else:
                self._calls.remove(orphan.directory, orphan.name).result()
        except NfsError:
            pass
        except SessionError:
            self._orphans.append(orphan)

    def reconnected(self) -> None:
        """Remove what a broken connection left behind."""
        orphans, self._orphans = self._orphans, []
        for orphan in orphans:
            self.discard(orphan)

    # -- publishing ------------------------------------------------------------------------------------------

    def publish(self, draft: Draft, located: Located, path: str, replaces: Entry | None) -> None:
        """Give the draft its name. Raises STALE when what stands there is not `replaces`."""
        if replaces is None:
            self._take_free_name(draft, located, path)
            return
        standing = self.expect(located, path, replaces)
        if standing.facts.kind == DIRECTORY:
            self._remove_empty(located, path)
            self._take_free_name(draft, located, path)
        elif draft.is_directory:
            self._replace_by_directory(draft, located, path)
        else:
            assert draft.name is not None
            self._calls.rename(draft.directory, draft.name, located.directory, located.name).result()
            draft.name = None

    def _take_free_name(self, draft: Draft, located: Located, path: str) -> None:
        assert draft.name is not None
        if not draft.is_directory:
            try:
                self._calls.link(draft.standing.handle, located.directory, located.name).result()
            except NfsError as error:
                if error.status == EXIST:
                    raise _taken(path) from error
                if error.status not in _NO_LINKS:
                    raise
            else:
                # Published: that its temporary name goes is only tidiness.
                name, draft.name = draft.name, None
                self.discard(Orphan(draft.directory, name, is_directory=False))
                return
        # No links here: a look, then a rename, which leaves an instant for somebody else.
        if self.now(located).standing is not None:
            raise _taken(path)
        self._calls.rename(draft.directory, draft.name, located.directory, located.name).result()
        draft.name = None

    def _remove_empty(self, located: Located, path: str) -> None:
        """For an instant nothing stands at the name."""
        try:
            self._calls.rmdir(located.directory, located.name).result()
        except NfsError as error:
            if error.status in (NOTEMPTY, EXIST):
                raise stale(path, "the folder that would be replaced is not empty") from error
            raise

    def _replace_by_directory(self, draft: Draft, located: Located, path: str) -> None:
        """Move what is no folder aside, put the folder in its place, then remove what was there."""
        aside = self._next_name()
        self._calls.rename(located.directory, located.name, located.directory, aside).result()
        try:
            self._take_free_name(draft, located, path)
        except BaseException:
            with contextlib.suppress(NfsError, SessionError):
                self._calls.rename(located.directory, aside, located.directory, located.name).result()
            raise
        self.discard(Orphan(located.directory, aside, is_directory=False))

    def link(self, target: Standing, located: Located, path: str, replaces: Entry | None) -> None:
        """Make another name of `target`. Raises STALE as `publish`."""
        if replaces is not None:
            standing = self.expect(located, path, replaces)
            if standing.facts.kind != DIRECTORY:
                name = self._next_name()
                with Draft(self, located.directory, name, target, is_directory=False):
                    self._calls.link(target.handle, located.directory, name).result()
                    # A rename between two names of one file does nothing: the draft's name goes on leaving.
                    self._calls.rename(located.directory, name, located.directory, located.name).result()
                return
            self._remove_empty(located, path)
        try:
            self._calls.link(target.handle, located.directory, located.name).result()
        except NfsError as error:
            if error.status == EXIST:
                raise _taken(path) from error
            raise

    def move(self, source: Located, target: Located, path: str) -> None:
        """Give what stands at `source` the free name `target`."""
        standing = source.standing
        assert standing is not None
        if standing.facts.kind != DIRECTORY:
            try:
                self._calls.link(standing.handle, target.directory, target.name).result()
            except NfsError as error:
                if error.status == EXIST:
                    raise _taken(path) from error
                if error.status not in _NO_LINKS:
                    raise
            else:
                self._calls.remove(source.directory, source.name).result()
                return
            if self.now(target).standing is not None:
                raise _taken(path)
        self._calls.rename(source.directory, source.name, target.directory, target.name).result()

    # -- looking ---------------------------------------------------------------------------------------------

    def now(self, located: Located) -> Located:
        """What has that name in that folder at this moment."""
        try:
            handle, facts = self._calls.lookup(located.directory, located.name).result()
        except NfsError as error:
            if error.status == NOENT:
                return located._replace(standing=None)
            raise
        return located._replace(standing=Standing(handle, facts or self._calls.getattr(handle).result()))

    def expect(self, located: Located, path: str, expected: Entry) -> Standing:
        """What stands there now. Raises STALE when it is not as `expected` says, or gone."""
        return self.check(self.now(located), path, expected)

    def check(self, located: Located, path: str, expected: Entry) -> Standing:
        """As `expect`, of a look that is as fresh as it has to be."""
        standing = located.standing
        if standing is None:
            raise stale(path, "it is no longer there")
        reason = difference(expected, standing.facts)
        if reason is None and expected.kind is Kind.SYMLINK and expected.link_target is not None:
            target = self._calls.readlink(standing.handle).result()
            if target != path_bytes(expected.link_target):
                reason = "the link points elsewhere now"
        if reason is not None:
            raise stale(path, reason)
        return standing


def _taken(path: str) -> EntryError:
    return stale(path, "something stands there now; nothing was expected")


def _not_supported(path: str, why: str) -> EntryError:
    return EntryError(EntryCode.KIND_NOT_SUPPORTED, path, f"{shown(path)}: {why}")
