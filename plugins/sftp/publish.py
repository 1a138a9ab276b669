"""The step that gives a draft its name: race-free where nothing stood, one atomic step where a file is replaced.

SFTP cannot exchange two names, nor compare and replace in one request. Where something is replaced, it is looked at
in the request before: a change in that instant is not seen.
"""

from __future__ import annotations

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry, Kind, parent_path

from .facts import difference
from .faults import StatusError, shown, stale
from .names import TemporaryNames
from .packets import Answer, Request, Status, attributes, read_names, text
from .paths import Guard, Paths
from .session import Session, facts_of
from .wire import HARDLINK, POSIX_RENAME, Slot, Wire


class Look:
    """What stands at a path, asked for and not yet looked at."""

    def __init__(self, wire: Wire, path: str, guard: Guard, facts: Slot, link: Slot | None) -> None:
        self._wire = wire
        self._path = path
        self._guard = guard
        self._facts = facts
        self._link = link

    def is_inside(self) -> bool:
        """False when a folder on the way is missing. Raises STALE when a link stands in the place of one."""
        self._guard.wait(self._wire)
        return self._guard.exists()

    def expect(self, expected: Entry | None) -> bool:
        """Raises STALE unless what stands there is as expected. False when a folder on the way is missing."""
        wire = self._wire
        self._guard.wait(wire)
        facts = facts_of(wire.wait(self._facts))
        if not self._guard.exists():
            facts = None
            if expected is None:
                return False
        if expected is None:
            if facts is not None:
                raise stale(self._path, "something stands there now; nothing was expected")
            return True
        reason = difference(expected, facts)
        if reason is None and self._link is not None:
            names = read_names(wire.wait(self._link).expect(Answer.NAME))
            if not names or names[0][0] != (expected.link_target or "").encode("utf-8", "surrogateescape"):
                reason = "the link points elsewhere now"
        if reason is not None:
            raise stale(self._path, reason)
        return True


class Publisher:
    """Gives names. One location's, one thread."""

    def __init__(self, session: Session, paths: Paths, names: TemporaryNames) -> None:
        self._session = session
        self._paths = paths
        self._names = names
        self._target_first: bool | None = None

    def temporary(self, path: str) -> bytes:
        """A new temporary name in the folder of `path`, as a full path."""
        return self._paths.full(parent_path(path) + self._names.next())

    def look(self, wire: Wire, path: str, expected: Entry | None) -> Look:
        """Ask what stands at `path`; the requests leave with the next wait."""
        full = self._paths.full(path)
        guard = self._paths.guard(wire, parent_path(path))
        facts = self._session.lstat(wire, full)
        link = None
        if expected is not None and expected.kind is Kind.SYMLINK and expected.link_target is not None:
            link = wire.request(Request.READLINK, text(full))
        return Look(wire, path, guard, facts, link)

    def publish(self, wire: Wire, draft: bytes, path: str, replaces: Entry | None) -> None:
        """Give the file at `draft` its name. What it replaces must just have been looked at.

        Raises STALE, StatusError, WireError; the draft is then still there.
        """
        full = self._paths.full(path)
        if replaces is None:
            self.move_to_free(wire, draft, full, path)
        elif replaces.kind is Kind.DIRECTORY:
            self.remove_folder(wire, full, path)
            try:
                self.move_to_free(wire, draft, full, path)
            except BaseException:
                wire.request(Request.MKDIR, text(full), attributes(mode=0o700))
                raise
        else:
            self.replace(wire, draft, full, path)

    def move_to_free(self, wire: Wire, source: bytes, target: bytes, path: str) -> None:
        """Rename to a name where nothing may stand. Raises STALE when something does."""
        session = self._session
        if not session.is_openssh and HARDLINK in wire.extensions:
            # The draft says that rename must not replace; servers in Go and others do it all the same.
            slot = wire.wait(wire.extended(HARDLINK, text(source), text(target)))
            if slot.status == Status.OK:
                wire.wait(wire.request(Request.REMOVE, text(source)))
                return
            self._check_free(wire, target, path)
        elif not session.is_openssh:
            self._check_free(wire, target, path)
        slot = wire.wait(wire.request(Request.RENAME, text(source), text(target)))
        if slot.status != Status.OK:
            self._check_free(wire, target, path)
            slot.check()

    def replace(self, wire: Wire, source: bytes, target: bytes, path: str) -> None:
        """Rename over a file or link: in one step where the server can; elsewhere the old one steps aside."""
        if POSIX_RENAME in wire.extensions:
            wire.wait(wire.extended(POSIX_RENAME, text(source), text(target))).check()
            return
        with _Aside(self._session, wire, target, self.temporary(path)):
            self.move_to_free(wire, source, target, path)

    def remove_folder(self, wire: Wire, full: bytes, path: str) -> None:
        """Remove an empty folder. Raises STALE when something is in it."""
        slot = wire.wait(wire.request(Request.RMDIR, text(full)))
        if slot.status == Status.OK:
            return
        if slot.status != Status.NO_SUCH_FILE:
            name = self._first_name(wire, full)
            if name is not None:
                held = shown(name.decode("utf-8", "surrogateescape"))
                raise stale(path, f"the folder is not empty: it holds {held}")
        slot.check()

    def make_symlink(self, wire: Wire, full: bytes, entry: Entry) -> Slot:
        """Ask for a symlink at `full`, as `entry` says; the server refuses where anything stands."""
        if not entry.link_target:
            message = f"{shown(entry.path)}: a link without a target"
            raise EntryError(EntryCode.KIND_NOT_SUPPORTED, entry.path, message)
        if self._target_first is None:
            self._target_first = self._session.is_openssh or self._takes_target_first(wire, entry.path)
        return self._ask_symlink(wire, full, entry.link_target.encode("utf-8", "surrogateescape"))

    def _ask_symlink(self, wire: Wire, link: bytes, target: bytes) -> Slot:
        ordered = (text(target), text(link)) if self._target_first else (text(link), text(target))
        return wire.request(Request.SYMLINK, *ordered)

    def _takes_target_first(self, wire: Wire, path: str) -> bool:
        """The draft says link, then target; OpenSSH and who follows it have it the other way round. Tried out with
        two names of our own: with a real target the wrong order would make a link wherever that points to."""
        first, second = self.temporary(path), self.temporary(path)
        self._target_first = False
        made = self._ask_symlink(wire, first, second)
        looks = [self._session.lstat(wire, name) for name in (first, second)]
        wire.wait_all(made, *looks)
        made.check()
        there = [facts_of(slot) is not None for slot in looks]
        wire.wait(wire.request(Request.REMOVE, text(second if there[1] else first)))
        return there[1]

    def aside(self, wire: Wire, path: str) -> _Aside:
        """`with publisher.aside(wire, path):` what stands there makes place; it comes back after an error."""
        return _Aside(self._session, wire, self._paths.full(path), self.temporary(path))

    def _check_free(self, wire: Wire, target: bytes, path: str) -> None:
        if facts_of(wire.wait(self._session.lstat(wire, target))) is not None:
            raise stale(path, "something stands there now; nothing was expected")

    def _first_name(self, wire: Wire, full: bytes) -> bytes | None:
        try:
            handle = wire.wait(wire.request(Request.OPENDIR, text(full))).expect(Answer.HANDLE)
        except StatusError:
            return None
        listed = wire.request(Request.READDIR, handle)
        wire.wait(wire.request(Request.CLOSE, handle))
        try:
            names = [name for name, _ in read_names(listed.expect(Answer.NAME))]
        except StatusError:
            return None
        return next((name for name in names if name not in (b".", b"..")), None)


class _Aside:
    """What stands in the way, moved to a temporary name; it comes back after an error, or goes for good."""

    def __init__(self, session: Session, wire: Wire, target: bytes, place: bytes) -> None:
        self._session = session
        self._wire = wire
        self._target = target
        self._place = place

    def __enter__(self) -> None:
        self._wire.wait(self._wire.request(Request.RENAME, text(self._target), text(self._place))).check()

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        wire = self._wire
        if error is None:
            wire.wait(wire.request(Request.REMOVE, text(self._place)))
        elif wire.error is None:
            wire.wait(wire.request(Request.RENAME, text(self._place), text(self._target)))
