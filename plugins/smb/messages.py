"""Bodies of SMB2 requests and answers, packed and read ([MS-SMB2] 2.2, [MS-FSCC] 2.4). Pure.

Answers arrive as one whole message, header included, for offsets in them count from the header's first byte.
Everything read here comes from a server that may lie: a length or offset that points outside raises DamagedError.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

Bytes = bytes | bytearray | memoryview

HEADER_BYTES = 64
RELATED_FILE = b"\xff" * 16
"""Stands for the file that the CREATE of the same compound opens."""

# Commands
TREE_DISCONNECT, CREATE, CLOSE, FLUSH, READ, WRITE = 0x04, 0x05, 0x06, 0x07, 0x08, 0x09
IOCTL, QUERY_DIRECTORY, QUERY_INFO, SET_INFO = 0x0B, 0x0E, 0x10, 0x11

# Access masks
READ_DATA, WRITE_DATA, APPEND_DATA, READ_EA, WRITE_EA = 0x1, 0x2, 0x4, 0x8, 0x10
READ_ATTRIBUTES, WRITE_ATTRIBUTES = 0x80, 0x100
DELETE, READ_CONTROL, WRITE_DAC, WRITE_OWNER = 0x10000, 0x20000, 0x40000, 0x80000
SYSTEM_SECURITY = 0x01000000

# Share access
SHARE_NONE, SHARE_READ, SHARE_WRITE, SHARE_DELETE = 0, 1, 2, 4
SHARE_ALL = SHARE_READ | SHARE_WRITE | SHARE_DELETE

# Create dispositions and options
OPEN, MAKE, OPEN_OR_MAKE = 1, 2, 3
DIRECTORY_FILE, NON_DIRECTORY_FILE, DELETE_ON_CLOSE, OPEN_REPARSE_POINT = 0x1, 0x40, 0x1000, 0x200000
SEQUENTIAL_ONLY = 0x4

# File attributes
READ_ONLY, HIDDEN, SYSTEM, DIRECTORY, ARCHIVE = 0x1, 0x2, 0x4, 0x10, 0x20
NORMAL, TEMPORARY, REPARSE_POINT, OFFLINE, NOT_INDEXED = 0x80, 0x100, 0x400, 0x1000, 0x2000

# Information classes
INFO_FILE, INFO_FILE_SYSTEM, INFO_SECURITY = 1, 2, 3
BASIC, INTERNAL, RENAME, DISPOSITION, ID_BOTH_DIRECTORY = 4, 6, 10, 13, 37
FS_VOLUME, FS_FULL_SIZE = 1, 7
OWNER_INFORMATION, GROUP_INFORMATION, DACL_INFORMATION, SACL_INFORMATION = 1, 2, 4, 8

_CREATE = struct.Struct("<HBBIQQIIIIIHHII")
_CREATED = struct.Struct("<HBBIQQQQQQII16sII")
_CLOSE = struct.Struct("<HHI16s")
_CLOSED = struct.Struct("<HHIQQQQQQI")
_READ = struct.Struct("<HBBIQ16sIIIHHB")
_WRITE = struct.Struct("<HHIQ16sIIHHI")
_DIRECTORY = struct.Struct("<HBBI16sHHI")
_QUERY = struct.Struct("<HBBIHHIII16s")
_SET = struct.Struct("<HBBIHHI16s")
_FLUSH = struct.Struct("<HHI16s")
_IOCTL = struct.Struct("<HHI16sIIIIIIII")
_LISTED = struct.Struct("<IIQQQQQQIIIBB24sHQ")
_CONTEXT = struct.Struct("<IHHHHI")
_FILE_ID = struct.Struct("<Q")
_QUERY_FILE_ID = struct.pack("<IHHHHI4sI", 0, 16, 4, 0, 0, 0, b"QFid", 0)

EPOCH_TICKS = 116_444_736_000_000_000
"""1970 in FILETIME: hundreds of nanoseconds since 1601."""
LARGEST_TICKS = (1 << 63) - 1


class DamagedError(ValueError):
    """An answer makes no sense."""


class Request(NamedTuple):
    """One request: its command, its body, and how many bytes of answer or payload it moves (for the credits)."""

    command: int
    body: bytes
    payload_bytes: int = 1


class Facts(NamedTuple):
    """What the server says of a file or folder. Times are FILETIME ticks; `file_id` 0 = unknown; `tag` is the
    reparse point's, 0 = unknown or none."""

    name: str
    created: int
    accessed: int
    written: int
    changed: int
    size_bytes: int
    attributes: int
    file_id: int
    tag: int = 0

    @property
    def is_directory(self) -> bool:
        return bool(self.attributes & DIRECTORY)

    @property
    def is_reparse_point(self) -> bool:
        return bool(self.attributes & REPARSE_POINT)


def to_nanoseconds(ticks: int) -> int:
    """FILETIME as nanoseconds since 1970."""
    return (ticks - EPOCH_TICKS) * 100


def to_ticks(nanoseconds: int) -> int | None:
    """Nanoseconds since 1970 as FILETIME, cut to 100 ns; None for a time it cannot hold (0 would mean "keep")."""
    ticks = nanoseconds // 100 + EPOCH_TICKS
    return ticks if 0 < ticks < LARGEST_TICKS else None


# -- requests ------------------------------------------------------------------------------------------------


def create(
    name: str,
    access: int,
    share: int,
    disposition: int,
    options: int,
    attributes: int = 0,
    *,
    file_id: bool = True,
) -> Request:
    """Open or make `name` (backslashes between names, "" = the share's root). `file_id`: ask for its id too."""
    path = name.encode("utf-16-le")
    padded = path + bytes(-len(path) % 8) if path else bytes(8)
    offset = HEADER_BYTES + _CREATE.size + len(padded)
    fixed = _CREATE.pack(
        57, 0, 0, 2, 0, 0, access, attributes, share, disposition, options,
        HEADER_BYTES + _CREATE.size, len(path),
        offset if file_id else 0, len(_QUERY_FILE_ID) if file_id else 0,
    )  # fmt: skip
    return Request(CREATE, fixed + padded + (_QUERY_FILE_ID if file_id else b""))


def close(file: bytes = RELATED_FILE, *, facts: bool = False) -> Request:
    """Close; `facts`: and tell size and times as they are at the end."""
    return Request(CLOSE, _CLOSE.pack(24, 1 if facts else 0, 0, file))


def read(offset: int, length: int, file: bytes = RELATED_FILE) -> Request:
    return Request(READ, _READ.pack(49, 0x50, 0, length, offset, file, 0, 0, 0, 0, 0, 0), length)


def write(content: Bytes, offset: int, file: bytes = RELATED_FILE) -> Request:
    fixed = _WRITE.pack(49, HEADER_BYTES + _WRITE.size, len(content), offset, file, 0, 0, 0, 0, 0)
    return Request(WRITE, b"".join((fixed, content)), len(content))


def flush(file: bytes = RELATED_FILE) -> Request:
    return Request(FLUSH, _FLUSH.pack(24, 0, 0, file))


def query_directory(pattern: str, length: int, file: bytes = RELATED_FILE) -> Request:
    """The next names that fit `pattern`, with their facts."""
    text = pattern.encode("utf-16-le")
    fixed = _DIRECTORY.pack(
        33, ID_BOTH_DIRECTORY, 0, 0, file, HEADER_BYTES + _DIRECTORY.size, len(text), length
    )
    return Request(QUERY_DIRECTORY, fixed + text, length)


def query_info(
    kind: int, information: int, length: int, file: bytes = RELATED_FILE, additional: int = 0
) -> Request:
    return Request(
        QUERY_INFO, _QUERY.pack(41, kind, information, length, 0, 0, 0, additional, 0, file), length
    )


def set_info(
    kind: int, information: int, content: bytes, file: bytes = RELATED_FILE, additional: int = 0
) -> Request:
    fixed = _SET.pack(33, kind, information, len(content), HEADER_BYTES + _SET.size, 0, additional, file)
    return Request(SET_INFO, fixed + content, len(content))


def set_basic(
    file: bytes = RELATED_FILE, *, created: int = 0, accessed: int = 0, written: int = 0, attributes: int = 0
) -> Request:
    """Set times (ticks) and attributes; 0 leaves one as it is."""
    content = struct.pack("<QQQQII", created, accessed, written, 0, attributes, 0)
    return set_info(INFO_FILE, BASIC, content, file)


def rename(name: str, file: bytes = RELATED_FILE, *, replace: bool) -> Request:
    """Give the open file the name `name` (from the share's root)."""
    path = name.encode("utf-16-le")
    content = struct.pack("<B7xQI", replace, 0, len(path)) + path
    return set_info(INFO_FILE, RENAME, content.ljust(24, b"\0"), file)


def mark_for_deletion(file: bytes = RELATED_FILE, *, delete: bool = True) -> Request:
    """The file goes when its last handle is closed, however that happens; or stays after all."""
    return set_info(INFO_FILE, DISPOSITION, b"\x01" if delete else b"\x00", file)


def control(code: int, content: bytes, length: int, file: bytes = RELATED_FILE) -> Request:
    """A file-system control (FSCTL) whose answer holds up to `length` bytes."""
    offset = HEADER_BYTES + _IOCTL.size if content else 0
    fixed = _IOCTL.pack(57, 0, code, file, offset, len(content), 0, offset, 0, length, 1, 0)
    return Request(IOCTL, fixed + (content or b"\0"), max(len(content), length))


# -- answers -------------------------------------------------------------------------------------------------


class Opened(NamedTuple):
    """An open file: its handle and what the server said of it when it was opened."""

    file: bytes
    facts: Facts
    was_made: bool


def opened(message: Bytes, name: str) -> Opened:
    """The answer to `create`."""
    (_, _, _, action, created, accessed, written, changed, _, size, attributes, _, file, offset, length) = (
        _unpacked(_CREATED, message, HEADER_BYTES)
    )
    file_id = 0
    if length:
        file_id = _file_id(_slice(message, offset, length))
    return Opened(
        bytes(file), Facts(name, created, accessed, written, changed, size, attributes, file_id), action == 2
    )


def _file_id(contexts: memoryview) -> int:
    """The file's id out of the create contexts; 0 when the server did not tell."""
    position = 0
    while True:
        following, name_offset, name_length, _, data_offset, data_length = _unpacked(
            _CONTEXT, contexts, position
        )
        if data_length >= 8 and bytes(_slice(contexts, position + name_offset, name_length)) == b"QFid":
            return _unpacked(_FILE_ID, contexts, position + data_offset)[0]
        if following == 0:
            return 0
        if following < _CONTEXT.size:
            raise DamagedError("create contexts overlap")
        position += following


def closed(message: Bytes, before: Facts) -> Facts | None:
    """The answer to `close(facts=True)`: `before` as it is at the end; None when the server did not tell."""
    (_, flags, _, created, accessed, written, changed, _, size, attributes) = _unpacked(
        _CLOSED, message, HEADER_BYTES
    )
    if not flags & 1:
        return None
    return before._replace(
        created=created,
        accessed=accessed,
        written=written,
        changed=changed,
        size_bytes=size,
        attributes=attributes,
    )


def content_read(message: Bytes) -> memoryview:
    """The answer to `read`."""
    _, offset, _, length = _unpacked(struct.Struct("<HBBI"), message, HEADER_BYTES)
    return _slice(message, offset, length)


def written_count(message: Bytes) -> int:
    """The answer to `write`: how many bytes the server took."""
    count: int = _unpacked(struct.Struct("<HHI"), message, HEADER_BYTES)[2]
    return count


def information(message: Bytes) -> memoryview:
    """The answer to `query_info` or `query_directory`: the bytes asked for."""
    _, offset, length = _unpacked(struct.Struct("<HHI"), message, HEADER_BYTES)
    return _slice(message, offset, length)


def control_answer(message: Bytes) -> memoryview:
    """The answer to `control`."""
    fields = _unpacked(struct.Struct("<HHI16sIIII"), message, HEADER_BYTES)
    return _slice(message, fields[6], fields[7])


def listed(buffer: memoryview) -> Iterator[Facts]:
    """The entries of one answer to `query_directory`, `.` and `..` among them.

    A name that is no valid UTF-16 keeps its lone surrogates.
    """
    position = 0
    while True:
        (
            following, _, created, accessed, written, changed, size, _,
            attributes, name_length, tag, _, _, _, _, file_id,
        ) = _unpacked(_LISTED, buffer, position)  # fmt: skip
        name = _slice(buffer, position + _LISTED.size, name_length)
        yield Facts(
            _text(name),
            created,
            accessed,
            written,
            changed,
            size,
            attributes,
            file_id,
            tag if attributes & REPARSE_POINT else 0,
        )
        if following == 0:
            return
        if following < _LISTED.size:
            raise DamagedError("a listing's entries overlap")
        position += following


class Volume(NamedTuple):
    created: int
    serial: int
    label: str


def volume(buffer: memoryview) -> Volume:
    created, serial, length = _unpacked(struct.Struct("<QII"), buffer, 0)
    label = bytes(_slice(buffer, 18, length)).decode("utf-16-le", "replace")
    return Volume(created, serial, label.rstrip("\0"))


def free_bytes(buffer: memoryview) -> int:
    """Room for this user, out of FileFsFullSizeInformation."""
    _, available, _, sectors, sector_bytes = _unpacked(struct.Struct("<QQQII"), buffer, 0)
    value: int = available * sectors * sector_bytes
    return value


def _text(raw: memoryview) -> str:
    if len(raw) % 2:
        raise DamagedError("a name ends within a character")
    return bytes(raw).decode("utf-16-le", "surrogatepass")


def _unpacked(layout: struct.Struct, message: Bytes, offset: int) -> tuple[int, ...]:
    if offset + layout.size > len(message):
        raise DamagedError("an answer is shorter than its kind has to be")
    values: tuple[int, ...] = layout.unpack_from(message, offset)
    return values


def _slice(message: Bytes, offset: int, length: int) -> memoryview:
    if offset + length > len(message):
        raise DamagedError("an answer names bytes outside itself")
    return memoryview(message)[offset : offset + length]
