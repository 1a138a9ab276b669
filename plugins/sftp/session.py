"""One connection to the server, made anew when it broke; and what the server turned out to be."""

from __future__ import annotations

import posixpath

from runner.errors import LocationUnavailableError

from . import secure
from .address import SftpOptions
from .faults import RefusedError, StatusError
from .packets import Answer, Cursor, Facts, Request, Status, Volume, read_names, read_volume, text
from .wire import COPY_DATA, STATVFS, Slot, Wire

_DIRECTORY = 0o040000
_FORMAT = 0o170000


class Session:
    """A server and the root's full path there. One thread at a time.

    `root` and `extensions` are what the last connection found.
    """

    def __init__(self, name: str, options: SftpOptions) -> None:
        """Connects. `name` of the location, for messages. Raises LocationUnavailableError."""
        self._options = options
        self._wire: Wire | None = None
        self._left: list[bytes] = []
        self.host_key = ""
        self.server = ""
        self.root = b""
        self._can_copy = False
        try:
            self.ready()
        except RefusedError as error:
            raise LocationUnavailableError(
                f"location {name!r}: {error.message}", remedy=error.remedy
            ) from error
        except StatusError as error:
            self.close()
            raise LocationUnavailableError(
                f"location {name!r}: the server cannot tell where {options.path} is: {error}",
                remedy="Check `path`, and the user's right to enter the folders above it.",
            ) from error

    def ready(self) -> Wire:
        """A wire to send on; connects anew when the last one broke. Raises RefusedError, StatusError, WireError."""
        wire = self._wire
        if wire is not None:
            if wire.is_alive():
                return wire
            wire.close()
            self._wire = None
        opened = secure.connect(self._options)
        if self.host_key and opened.host_key != self.host_key:
            opened.wire.close()
            raise RefusedError("the server came back with another host key than it had when this began")
        self.host_key = opened.host_key
        self.server = opened.server
        self._wire = opened.wire
        self._can_copy = COPY_DATA in opened.wire.extensions
        root = self._found_root(opened.wire)
        if self.root and root != self.root:
            self.close()
            raise RefusedError("the root leads to another folder than it did when this began")
        self.root = root
        self._remove_left(opened.wire)
        return opened.wire

    def close(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None

    # -- what the server is like ---------------------------------------------------------------------------------

    @property
    def is_openssh(self) -> bool:
        """OpenSSH on a POSIX system: its rename never replaces, and its realpath resolves every link."""
        return "OpenSSH_" in self.server and "for_Windows" not in self.server

    def is_same_account(self, other: Session) -> bool:
        """True when a path means the same file to both, and the server copies by itself: the same address, host key
        and declared user."""
        one, two = self._options.server, other._options.server
        return (
            self._can_copy
            and (one.host, one.port, one.user) == (two.host, two.port, two.user)
            and self._options.jump == other._options.jump
            and self.host_key == other.host_key
        )

    # -- requests that several modules need ----------------------------------------------------------------------

    def lstat(self, wire: Wire, path: bytes) -> Slot:
        return wire.request(Request.LSTAT, text(path))

    def volume(self) -> Volume | None:
        """The file system of the root, or of the nearest folder above it that exists; None when the server does
        not tell."""
        wire = self.ready()
        if STATVFS not in wire.extensions:
            return None
        path = self.root
        while path != b"/" and facts_of(wire.wait(self.lstat(wire, path))) is None:
            path = posixpath.dirname(path)
        slot = wire.wait(wire.extended(STATVFS, text(path)))
        return read_volume(slot.expect(Answer.EXTENDED_REPLY))

    def leave(self, path: bytes) -> None:
        """A temporary file that could not be removed: the next connection removes it."""
        if len(self._left) < 1000:
            self._left.append(path)

    def _remove_left(self, wire: Wire) -> None:
        left, self._left = self._left, []
        slots = [wire.request(Request.REMOVE, text(path)) for path in left]
        wire.wait_all(*slots)

    # -- the root --------------------------------------------------------------------------------------------------

    def _found_root(self, wire: Wire) -> bytes:
        """The root's path without links, as far as it exists; what is missing is appended as it is written."""
        path = self._options.path.encode("utf-8", "surrogateescape")
        missing: list[bytes] = []
        while True:
            slot = wire.wait(wire.request(Request.REALPATH, text(path)))
            if slot.status == Status.NO_SUCH_FILE and path not in (b"/", b".", b""):
                parent, name = posixpath.split(path.rstrip(b"/"))
                if name in (b"..", b"."):
                    slot.check()
                missing.append(name)
                path = parent or b"."
                continue
            names = read_names(slot.expect(Answer.NAME))
            break
        if len(names) != 1 or not names[0][0].startswith(b"/"):
            raise RefusedError("the server gives no full path for the root")
        real = names[0][0]
        for name in reversed(missing):
            real = posixpath.join(real, name)
        return real


def facts_of(slot: Slot) -> Facts | None:
    """The facts of a LSTAT, STAT or FSTAT that was answered; None when nothing is there."""
    if slot.status == Status.NO_SUCH_FILE:
        return None
    return Cursor(slot.expect(Answer.ATTRS)).facts()


def is_directory(facts: Facts | None) -> bool:
    return facts is not None and facts.mode is not None and facts.mode & _FORMAT == _DIRECTORY
