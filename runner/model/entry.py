"""What a location lists: entries with their facts, and problems where facts could not be had."""

from __future__ import annotations

import enum

import msgspec

from runner.errors import ENTRY_CODE_MEANINGS, Disposition, EntryCode, EntryError


class Kind(enum.StrEnum):
    """What an entry is."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    FIFO = "fifo"
    SOCKET = "socket"
    CHARACTER_DEVICE = "character_device"
    BLOCK_DEVICE = "block_device"


DEVICE_KINDS = frozenset({Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE})
SPECIAL_KINDS = frozenset({Kind.FIFO, Kind.SOCKET})


class Phase(enum.StrEnum):
    """The stations of an execution, in order; the last three end it. QUEUED is the seed's QUEUEING."""

    QUEUED = "QUEUED"
    LAUNCHING = "LAUNCHING"
    PREPARING = "PREPARING"
    TRANSFERRING = "TRANSFERRING"
    VERIFYING = "VERIFYING"
    SUCCESS = "SUCCESS"
    ERROR = "ERROR"
    CANCELLED = "CANCELLED"


class Attributes(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """Metadata of one entry. None = unknown, or not wanted: such a field is neither compared nor set.

    mode        permission bits with setuid, setgid and sticky (st_mode & 0o7777); no file type
    uid, gid    numeric owner; user, group  names, filled when names are asked for
    device      st_rdev of a device node
    xattrs      (name, value) pairs sorted by name, without system.posix_acl_*; () = none
    acls        ("access" | "default", raw system.posix_acl_* value) pairs, sorted; () = none beyond the mode
    tags, content_headers, user_metadata   (name, value) pairs sorted by name, for object stores; headers are
                Content-Type, Content-Encoding, Content-Language, Content-Disposition, Cache-Control, in lower case;
                user metadata leaves out the keys that hold POSIX metadata; () = none
    created_ns  creation time (SMB), nanoseconds since 1970
    dos_attributes   FILE_ATTRIBUTE_* bits of SMB that can be set: R, H, S, A, T, O, I
    security    self-relative security descriptor with owner, group and DACL, in this project's canonical layout
    sacl        the same with the SACL alone
    """

    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    user: str | None = None
    group: str | None = None
    atime_ns: int | None = None
    device: int | None = None
    xattrs: tuple[tuple[str, bytes], ...] | None = None
    acls: tuple[tuple[str, bytes], ...] | None = None
    tags: tuple[tuple[str, str], ...] | None = None
    content_headers: tuple[tuple[str, str], ...] | None = None
    user_metadata: tuple[tuple[str, str], ...] | None = None
    created_ns: int | None = None
    dos_attributes: int | None = None
    security: bytes | None = None
    sacl: bytes | None = None


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One path with its facts, as a driver lists it. None = unknown, never zero or empty.

    path         relative to the location's root, `/` between names, `str` with surrogateescape; a directory ends
                 with `/`; the root itself is the empty string
    size_bytes   content length of a file; None for every other kind
    mtime_ns     nanoseconds since 1970, truncated to what the location can hold
    version      opaque: equal means surely unchanged (ETag, inode and ctime, ...)
    digests      (algorithm, lowercase hex) pairs that the location knows without reading the content
    link_target  a symlink's text, exactly
    link_group   opaque name of a hard-link group: entries of one scan with equal names are one file
    followed     the entry is what a symlink at `path` points to
    allocated_bytes   space the content takes, where known: less than size_bytes means the file has holes
    """

    path: str
    kind: Kind
    size_bytes: int | None = None
    mtime_ns: int | None = None
    version: str | None = None
    digests: tuple[tuple[str, str], ...] | None = None
    link_target: str | None = None
    attributes: Attributes | None = None
    link_group: str | None = None
    followed: bool = False
    allocated_bytes: int | None = None

    @property
    def is_directory(self) -> bool:
        return self.kind is Kind.DIRECTORY


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What could not be read, listed or done, as a value: it travels in the streams beside entries.

    A problem whose path ends with `/` (or is empty: the root) came from a folder; with code not_listed all
    below that folder is unknown.
    """

    path: str
    phase: Phase
    code: EntryCode
    message: str
    retryable: bool = False
    side: str | None = None

    @classmethod
    def from_error(cls, error: EntryError, phase: Phase, side: str | None = None) -> Problem:
        """The value that stands for a classified error."""
        return cls(
            path=error.path,
            phase=phase,
            code=error.entry_code,
            message=error.message,
            retryable=error.disposition is Disposition.RETRY,
            side=side,
        )

    @property
    def remedy(self) -> str:
        """What a person can do about it."""
        return ENTRY_CODE_MEANINGS[self.code][2]


def canonical_key(path: str) -> str | bytes:
    """Sort key of a path among paths for which `isascii()` is alike; see `path_before` for mixed pairs."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape")


def path_bytes(path: str) -> bytes:
    """A path as the bytes the file system holds: what the canonical order sorts by."""
    return path.encode("utf-8", "surrogateescape")


def path_before(left: str, right: str) -> bool:
    """True when `left` stands before `right` in canonical order (the bytes of the path)."""
    if left.isascii() and right.isascii():
        return left < right
    return path_bytes(left) < path_bytes(right)


def parent_path(path: str) -> str:
    """The directory that holds `path`: 'a/b/' -> 'a/', 'a/b' -> 'a/', 'a' -> '' (the root)."""
    return path[: path.rstrip("/").rfind("/") + 1]


def leaf_name(path: str) -> str:
    """The last name of `path`, without a trailing slash: 'a/b/' -> 'b'."""
    stripped = path.removesuffix("/")
    return stripped[stripped.rfind("/") + 1 :]
