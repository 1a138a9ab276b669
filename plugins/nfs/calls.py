"""The NFSv3 calls on file handles (RFC 1813, 3.3), their answers as plain values.

A handle is the server's own name of one file, wherever its path leads by now: calls on handles cannot be sent
elsewhere by a symbolic link. Each method sends and returns a Ticket; `.result()` waits.
"""

from __future__ import annotations

import ctypes
import struct
from typing import NamedTuple

from . import structures as c
from .session import Session, Ticket

GUARDED = 1
UNSTABLE, FILE_SYNC = 0, 2
REGULAR, DIRECTORY, BLOCK, CHARACTER, SYMLINK, SOCKET, FIFO = range(1, 8)
_CLIENT_TIME = 2
_LIST_BYTES = 64 << 10
_SECOND = 1_000_000_000

# fattr3 and entryplus3 as memory blocks: one unpack is many times faster than field by field.
_FACTS = struct.Struct("@iIIIIQQIIQQIIIIII")
_NODE = struct.Struct("@QPQI4x88sI4xI4xPP")
_OK = 8  # where the content of a result starts


class Facts(NamedTuple):
    """fattr3. `kind` is its ftype3; times are nanoseconds since 1970."""

    kind: int
    mode: int
    nlink: int
    uid: int
    gid: int
    size: int
    used: int
    major: int
    minor: int
    fsid: int
    fileid: int
    atime_ns: int
    mtime_ns: int
    ctime_ns: int


class Found(NamedTuple):
    """A handle and what the server said of it, where it did."""

    handle: bytes
    facts: Facts | None


class Listed(NamedTuple):
    """One entry of a directory."""

    name: bytes
    handle: bytes | None
    facts: Facts | None


class Page(NamedTuple):
    """Some entries of a directory, and where to go on."""

    entries: list[Listed]
    cookie: int
    verifier: bytes
    is_last: bool


class Piece(NamedTuple):
    """Content that was read, and the file's facts after it where the server told them."""

    content: bytes
    is_end: bool
    facts: Facts | None


class Stored(NamedTuple):
    """What became of a WRITE or COMMIT. Another verifier than before: the server lost unstable data."""

    length: int
    committed: int
    verifier: bytes


class Room(NamedTuple):
    """FSSTAT."""

    free_bytes: int
    files: int
    free_files: int


class Wish(NamedTuple):
    """sattr3: what to set; None leaves it."""

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    size: int | None = None
    atime_ns: int | None = None
    mtime_ns: int | None = None


NOTHING = Wish()


class Calls:
    """One method a procedure, over a session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def lookup(self, directory: bytes, name: bytes) -> Ticket[Found]:
        arguments = c.NameArgs(_named(directory, name))
        return self._session.submit("lookup", arguments, _found)

    def getattr(self, handle: bytes) -> Ticket[Facts]:
        return self._session.submit("getattr", c.ObjectArgs(_opaque(handle)), _attributes)

    def setattr(self, handle: bytes, wish: Wish, ctime_ns: int | None = None) -> Ticket[Facts | None]:
        """`ctime_ns`: NFS3ERR_NOT_SYNC unless the file's change time is still that."""
        guard = c.Guard(0) if ctime_ns is None else c.Guard(1, _time(ctime_ns))
        arguments = c.SetattrArgs(_opaque(handle), _wish(wish), guard)
        return self._session.submit("setattr", arguments, _after_change)

    def readlink(self, handle: bytes) -> Ticket[bytes]:
        return self._session.submit("readlink", c.ObjectArgs(_opaque(handle)), _link_target)

    def read(self, handle: bytes, offset: int, count: int) -> Ticket[Piece]:
        return self._session.submit("read", c.ReadArgs(_opaque(handle), offset, count), _piece)

    def write(self, handle: bytes, offset: int, content: bytes, stable: int) -> Ticket[Stored]:
        arguments = c.WriteArgs(_opaque(handle), offset, len(content), stable, _opaque(content))
        return self._session.submit("write", arguments, _stored, keep=content)

    def commit(self, handle: bytes) -> Ticket[Stored]:
        """All of the file."""
        return self._session.submit("commit", c.ReadArgs(_opaque(handle), 0, 0), _committed)

    def create(self, directory: bytes, name: bytes, mode: int) -> Ticket[Found]:
        """A new file; NFS3ERR_EXIST when something has that name."""
        arguments = c.CreateArgs(_named(directory, name), GUARDED)
        arguments.how.attributes = _wish(Wish(mode=mode, size=0))
        return self._session.submit("create", arguments, _made)

    def mkdir(self, directory: bytes, name: bytes, mode: int) -> Ticket[Found]:
        arguments = c.MkdirArgs(_named(directory, name), _wish(Wish(mode=mode)))
        return self._session.submit("mkdir", arguments, _made)

    def symlink(self, directory: bytes, name: bytes, target: bytes) -> Ticket[Found]:
        arguments = c.SymlinkArgs(_named(directory, name), _wish(Wish(mode=0o777)), target)
        return self._session.submit("symlink", arguments, _made)

    def mknod(
        self, directory: bytes, name: bytes, kind: int, mode: int, device: tuple[int, int]
    ) -> Ticket[Found]:
        """`kind`: CHARACTER, BLOCK, SOCKET or FIFO."""
        arguments = c.MknodArgs(_named(directory, name), kind, _wish(Wish(mode=mode)), *device)
        return self._session.submit("mknod", arguments, _made)

    def remove(self, directory: bytes, name: bytes) -> Ticket[None]:
        return self._session.submit("remove", c.NameArgs(_named(directory, name)), _nothing)

    def rmdir(self, directory: bytes, name: bytes) -> Ticket[None]:
        return self._session.submit("rmdir", c.NameArgs(_named(directory, name)), _nothing)

    def rename(self, directory: bytes, name: bytes, to_directory: bytes, to_name: bytes) -> Ticket[None]:
        """Replaces what has the new name."""
        arguments = c.RenameArgs(_named(directory, name), _named(to_directory, to_name))
        return self._session.submit("rename", arguments, _nothing)

    def link(self, handle: bytes, directory: bytes, name: bytes) -> Ticket[None]:
        """Another name of a file; NFS3ERR_EXIST when something has it."""
        arguments = c.LinkArgs(_opaque(handle), _named(directory, name))
        return self._session.submit("link", arguments, _nothing)

    def list(self, directory: bytes, cookie: int, verifier: bytes) -> Ticket[Page]:
        """READDIRPLUS from `cookie` on; 0 and eight zero bytes: from the start."""
        arguments = c.ReaddirplusArgs(_opaque(directory), cookie)
        arguments.verifier[:] = verifier
        arguments.dircount, arguments.maxcount = _LIST_BYTES, 4 * _LIST_BYTES
        return self._session.submit("readdirplus", arguments, _page)

    def fsstat(self, handle: bytes) -> Ticket[Room]:
        return self._session.submit("fsstat", c.ObjectArgs(_opaque(handle)), _room)

    def pathconf(self, handle: bytes) -> Ticket[tuple[int, bool]]:
        """(longest name, whether case does not count)."""
        return self._session.submit("pathconf", c.ObjectArgs(_opaque(handle)), _name_limits)


# -- arguments -----------------------------------------------------------------------------------------------


def _opaque(content: bytes) -> c.Opaque:
    # libnfs encodes arguments when a call is submitted; its caller holds the bytes until then.
    return c.Opaque(len(content), ctypes.cast(ctypes.c_char_p(content), ctypes.c_void_p))


def _named(directory: bytes, name: bytes) -> c.DirOpArgs:
    return c.DirOpArgs(_opaque(directory), name)


def _time(time_ns: int) -> c.Time:
    return c.Time(*divmod(time_ns, _SECOND))


def _wish(wish: Wish) -> c.SetAttributes:
    value = c.SetAttributes()
    for field in ("mode", "uid", "gid", "size"):
        wanted = getattr(wish, field)
        if wanted is not None:
            part = getattr(value, field)
            part.set_it, part.value = 1, wanted
    for field, time_ns in (("atime", wish.atime_ns), ("mtime", wish.mtime_ns)):
        if time_ns is not None:
            part = getattr(value, field)
            part.set_it, part.value = _CLIENT_TIME, _time(time_ns)
    return value


# -- answers -------------------------------------------------------------------------------------------------


def _facts(block: bytes) -> Facts:
    kind, mode, nlink, uid, gid, size, used, major, minor, fsid, fileid, *times = _FACTS.unpack(block)
    return Facts(
        kind,
        mode & 0o7777,
        nlink,
        uid,
        gid,
        size,
        used,
        major,
        minor,
        fsid,
        fileid,
        times[0] * _SECOND + times[1],
        times[2] * _SECOND + times[3],
        times[4] * _SECOND + times[5],
    )


def _facts_at(address: int) -> Facts:
    return _facts(ctypes.string_at(address, _FACTS.size))


def _optional(address: int) -> Facts | None:
    """A post_op_attr."""
    return _facts_at(address + 8) if ctypes.c_uint32.from_address(address).value else None


def _bytes_of(value: c.Opaque) -> bytes:
    return ctypes.string_at(value.value, value.length) if value.length else b""


def _nothing(address: int) -> None:
    return None


def _attributes(address: int) -> Facts:
    return _facts_at(address + _OK)


def _found(address: int) -> Found:
    answer = c.LookupOk.from_address(address + _OK)
    return Found(_bytes_of(answer.object), _optional(address + _OK + c.LookupOk.attributes.offset))


def _made(address: int) -> Found:
    answer = c.CreateOk.from_address(address + _OK)
    handle = _bytes_of(answer.handle.handle) if answer.handle.follow else b""
    return Found(handle, _optional(address + _OK + c.CreateOk.attributes.offset))


def _after_change(address: int) -> Facts | None:
    return _optional(address + _OK + c.WccData.after.offset)


def _link_target(address: int) -> bytes:
    return c.ReadlinkOk.from_address(address + _OK).target or b""


def _piece(address: int) -> Piece:
    answer = c.ReadOk.from_address(address + _OK)
    return Piece(_bytes_of(answer.content), bool(answer.eof), _optional(address + _OK))


def _stored(address: int) -> Stored:
    answer = c.WriteOk.from_address(address + _OK)
    return Stored(answer.count, answer.committed, bytes(answer.verifier))


def _committed(address: int) -> Stored:
    answer = c.CommitOk.from_address(address + _OK)
    return Stored(0, FILE_SYNC, bytes(answer.verifier))


def _page(address: int) -> Page:
    answer = c.ReaddirplusOk.from_address(address + _OK)
    entries = []
    cookie = 0
    node = ctypes.cast(answer.entries, ctypes.c_void_p).value
    while node:
        _, name, cookie, told, block, has_handle, length, handle, node = _NODE.unpack(
            ctypes.string_at(node, _NODE.size)
        )
        entries.append(
            Listed(
                ctypes.string_at(name),
                ctypes.string_at(handle, length) if has_handle and length else None,
                _facts(block) if told else None,
            )
        )
    return Page(entries, cookie, bytes(answer.verifier), bool(answer.eof))


def _room(address: int) -> Room:
    answer = c.FsstatOk.from_address(address + _OK)
    return Room(answer.abytes, answer.tfiles, answer.afiles)


def _name_limits(address: int) -> tuple[int, bool]:
    answer = c.PathconfOk.from_address(address + _OK)
    return answer.name_max, bool(answer.case_insensitive)
