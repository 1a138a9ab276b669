"""SFTP version 3 as bytes: requests to send, answers to read (draft-ietf-secsh-filexfer-02, and OpenSSH's PROTOCOL).

Names are bytes here, as they are on the wire. No I/O.
"""

from __future__ import annotations

import enum
import struct
from typing import NamedTuple


class Request(enum.IntEnum):
    INIT = 1
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    EXTENDED = 200


class Answer(enum.IntEnum):
    VERSION = 2
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED_REPLY = 201


class Status(enum.IntEnum):
    """What the server says of a request. FAILURE is all that version 3 has for most errors."""

    OK = 0
    EOF = 1
    NO_SUCH_FILE = 2
    PERMISSION_DENIED = 3
    FAILURE = 4
    BAD_MESSAGE = 5
    NO_CONNECTION = 6
    CONNECTION_LOST = 7
    OP_UNSUPPORTED = 8


OPEN_READ = 0x1
OPEN_NEW = 0x1 | 0x2 | 0x8 | 0x20  # read, write, create, exclusively

_HAS_SIZE = 0x1
_HAS_OWNER = 0x2
_HAS_MODE = 0x4
_HAS_TIMES = 0x8
_HAS_EXTENDED = 0x80000000

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_PAIR = struct.Struct(">II")
_BLOCK = struct.Struct(">QI")
_RANGE = struct.Struct(">QQ")

NO_ATTRIBUTES = _U32.pack(0)


class MalformedError(Exception):
    """An answer that is not SFTP: too short, or of a kind that the request does not have."""


class Facts(NamedTuple):
    """A file's attributes as the server gives them; None = not given. A NamedTuple: one is made for every name."""

    size: int | None
    uid: int | None
    gid: int | None
    mode: int | None
    atime: int | None
    mtime: int | None


class Volume(NamedTuple):
    """statvfs@openssh.com, as far as it is of use."""

    fragment_bytes: int
    free_fragments: int
    entries: int
    free_entries: int
    volume_id: int
    flags: int


def text(value: bytes) -> bytes:
    """A string on the wire: its length, then its bytes."""
    return _U32.pack(len(value)) + value


def attributes(
    *,
    owner: tuple[int, int] | None = None,
    mode: int | None = None,
    times: tuple[int, int] | None = None,
) -> bytes:
    """Attributes to set; `times` are (atime, mtime) in seconds, 0 to 2**32 - 1."""
    flags = 0
    body = b""
    if owner is not None:
        flags |= _HAS_OWNER
        body += _PAIR.pack(*owner)
    if mode is not None:
        flags |= _HAS_MODE
        body += _U32.pack(mode)
    if times is not None:
        flags |= _HAS_TIMES
        body += _PAIR.pack(*times)
    return _U32.pack(flags) + body


def block(offset: int, length: int) -> bytes:
    """The end of READ, and of WRITE up to its data."""
    return _BLOCK.pack(offset, length)


def copy_range(source: bytes, target: bytes, offset: int, length: int) -> bytes:
    """The body of copy-data from one open file to another, at the same place. Handles are as HANDLE gave them.

    A length of 0 would mean: to the end.
    """
    return source + _RANGE.pack(offset, length) + target + _U64.pack(offset)


class Cursor:
    """Reads an answer from left to right. Raises MalformedError where it ends too early."""

    __slots__ = ("_body", "_position")

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._position = 0

    @property
    def at_end(self) -> bool:
        return self._position >= len(self._body)

    def u32(self) -> int:
        return self._number(_U32)

    def u64(self) -> int:
        return self._number(_U64)

    def _number(self, layout: struct.Struct) -> int:
        start = self._position
        if start + layout.size > len(self._body):
            raise MalformedError("an answer ends too early")
        self._position = start + layout.size
        number: int = layout.unpack_from(self._body, start)[0]
        return number

    def text(self) -> bytes:
        length = self.u32()
        start = self._position
        self._position = start + length
        if self._position > len(self._body):
            raise MalformedError("an answer ends too early")
        return self._body[start : self._position]

    def facts(self) -> Facts:
        flags = self.u32()
        size = self.u64() if flags & _HAS_SIZE else None
        uid, gid = (self.u32(), self.u32()) if flags & _HAS_OWNER else (None, None)
        mode = self.u32() if flags & _HAS_MODE else None
        atime, mtime = (self.u32(), self.u32()) if flags & _HAS_TIMES else (None, None)
        if flags & _HAS_EXTENDED:
            for _ in range(self.u32()):
                self.text()
                self.text()
        return Facts(size, uid, gid, mode, atime, mtime)


def read_version(body: bytes) -> tuple[int, dict[bytes, bytes]]:
    """(version, extensions by name) of the server's greeting."""
    cursor = Cursor(body)
    version = cursor.u32()
    extensions = {}
    while not cursor.at_end:
        name = cursor.text()
        extensions[name] = cursor.text()
    return version, extensions


def read_status(body: bytes) -> tuple[int, str]:
    """(code, the server's own words)."""
    cursor = Cursor(body)
    code = cursor.u32()
    words = "" if cursor.at_end else cursor.text().decode("utf-8", "replace")
    return code, words


def read_names(body: bytes) -> list[tuple[bytes, Facts]]:
    """The names of READDIR, REALPATH and READLINK with their facts. The `ls -l` line is left out: it is for people."""
    cursor = Cursor(body)
    names = []
    for _ in range(cursor.u32()):
        name = cursor.text()
        cursor.text()
        names.append((name, cursor.facts()))
    return names


def read_volume(body: bytes) -> Volume:
    cursor = Cursor(body)
    _, fragment, _, _, free, entries, _, free_entries, volume_id, flags, _ = (cursor.u64() for _ in range(11))
    return Volume(fragment, free, entries, free_entries, volume_id, flags)


def read_limits(body: bytes) -> tuple[int, int]:
    """(longest read, longest write) in bytes; 0 = not told."""
    cursor = Cursor(body)
    cursor.u64()
    return cursor.u64(), cursor.u64()
