"""Confinement to the root: which server path stands for a path, and that no link on the way leads elsewhere.

SFTP has no handles of folders to work relative to. What can be done is done: before anything is changed, the
folders on the way are looked at, and a link in the place of one is refused. Whoever may write in the tree can still
put a link there in the moment between that look and the request that follows it.
"""

from __future__ import annotations

from runner.errors import EntryCode, EntryError
from runner.locations.names import NameRules
from runner.model.entry import parent_path, path_bytes

from .faults import StatusError, shown, stale
from .packets import Answer, Request, Status, attributes, read_names, text
from .session import Session, facts_of, is_directory
from .wire import Slot, Wire


def check_path(path: str) -> None:
    """Raises NAME_NOT_ALLOWED for a path that is not canonical."""
    if path == "":
        return
    for name in path.removesuffix("/").split("/"):
        if name in ("", ".", "..") or "\0" in name:
            message = f"{shown(path)}: a name in this path is empty, `.`, `..` or holds a NUL"
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, message)


def check_new_path(path: str, rules: NameRules) -> None:
    """The same, and NAME_NOT_ALLOWED for what the rules refuse."""
    check_path(path)
    reason = rules.refusal(path)
    if reason is not None:
        raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)}: {reason}")


class Guard:
    """Answers that show whether a folder is where it seems to be. Ask first, wait, then `check`."""

    __slots__ = ("_expected", "_path", "_slots")

    def __init__(self, path: str, slots: list[Slot], expected: bytes | None) -> None:
        """`expected`: the folder's path without links, for servers that resolve links reliably."""
        self._path = path
        self._slots = slots
        self._expected = expected

    def wait(self, wire: Wire) -> None:
        wire.wait_all(*self._slots)

    def exists(self) -> bool:
        """True when every folder on the way is one, False when one is missing. Raises STALE when something else
        (a link, a file) stands in the place of one, and StatusError."""
        if self._expected is not None:
            slot = self._slots[0]
            if slot.status == Status.NO_SUCH_FILE:
                return False
            names = read_names(slot.expect(Answer.NAME))
            if not names or names[0][0] != self._expected:
                raise self._led_away()
            return True
        for slot in self._slots:
            facts = facts_of(slot)
            if facts is None:
                return False
            if not is_directory(facts):
                raise self._led_away()
        return True

    def check(self) -> None:
        """Raises StatusError NO_SUCH_FILE where `exists` says False."""
        if not self.exists():
            raise StatusError(Status.NO_SUCH_FILE, "a folder on the way is gone")

    def _led_away(self) -> EntryError:
        return stale(self._path, "a symbolic link or a file stands in the place of a folder on the way")


class Paths:
    """Paths of one location on its server."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def full(self, path: str) -> bytes:
        """The server's path; names go as bytes, as they are."""
        if path == "":
            return self._session.root
        return self._session.root.rstrip(b"/") + b"/" + path_bytes(path.removesuffix("/"))

    def guard(self, wire: Wire, folder: str) -> Guard:
        """Ask whether `folder` ("" or ending in `/`) and all above it, up to the root, are folders."""
        session = self._session
        if session.is_openssh:
            full = self.full(folder)
            return Guard(folder, [wire.request(Request.REALPATH, text(full))], full)
        slots = [session.lstat(wire, session.root)]
        end = folder.find("/")
        while end != -1:
            slots.append(session.lstat(wire, self.full(folder[:end])))
            end = folder.find("/", end + 1)
        return Guard(folder, slots, None)

    def make(self, wire: Wire, folder: str) -> bool:
        """Make `folder` and what is missing above it, private. True when anything was made.

        Raises STALE where something else stands in the way, and StatusError.
        """
        guard = self.guard(wire, folder)
        guard.wait(wire)
        if guard.exists():
            return self._is_folder_or_made(wire, folder)
        if folder == "":
            self._make_root(wire)
        else:
            self.make(wire, parent_path(folder))
            self._make_one(wire, folder, self.full(folder))
        return True

    def _is_folder_or_made(self, wire: Wire, folder: str) -> bool:
        """realpath also resolves a last name that is missing, and one that is a file."""
        facts = facts_of(wire.wait(self._session.lstat(wire, self.full(folder))))
        if is_directory(facts):
            return False
        if facts is not None:
            raise stale(folder, "something that is no folder stands where one is needed")
        self._make_one(wire, folder, self.full(folder))
        return True

    def _make_one(self, wire: Wire, folder: str, full: bytes) -> None:
        slot = wire.wait(wire.request(Request.MKDIR, text(full), attributes(mode=0o700)))
        if slot.status != Status.OK:
            # Another worker may have been faster.
            facts = facts_of(wire.wait(self._session.lstat(wire, full)))
            if facts is None:
                slot.check()
            if not is_directory(facts):
                raise stale(folder, "something that is no folder stands where one is needed")

    def _make_root(self, wire: Wire) -> None:
        """The root and the folders above it that are missing."""
        full = self._session.root
        names = full.strip(b"/").split(b"/")
        slots = [
            self._session.lstat(wire, b"/" + b"/".join(names[: depth + 1])) for depth in range(len(names))
        ]
        wire.wait_all(*slots)
        for depth, slot in enumerate(slots):
            if slot.status == Status.NO_SUCH_FILE:
                self._make_one(wire, "", b"/" + b"/".join(names[: depth + 1]))
