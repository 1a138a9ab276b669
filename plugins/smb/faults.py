"""What an NT status, or a connection that broke, means for one path: the only place where they become EntryErrors."""

from __future__ import annotations

from runner.errors import Disposition, EntryCode, EntryError

from .messages import DamagedError
from .names import shown

SUCCESS = 0
PENDING = 0x00000103
BUFFER_OVERFLOW = 0x80000005
NO_MORE_FILES = 0x80000006
STOPPED_ON_SYMLINK = 0x8000002D
NOT_IMPLEMENTED = 0xC0000002
INVALID_INFO_CLASS = 0xC0000003
INVALID_PARAMETER = 0xC000000D
NO_SUCH_FILE = 0xC000000F
INVALID_DEVICE_REQUEST = 0xC0000010
END_OF_FILE = 0xC0000011
ACCESS_DENIED = 0xC0000022
BUFFER_TOO_SMALL = 0xC0000023
NAME_INVALID = 0xC0000033
NAME_NOT_FOUND = 0xC0000034
NAME_COLLISION = 0xC0000035
PATH_NOT_FOUND = 0xC000003A
SHARING_VIOLATION = 0xC0000043
DELETE_PENDING = 0xC0000056
PRIVILEGE_NOT_HELD = 0xC0000061
NO_SECURITY = 0xC00000D7
LOGON_FAILURE = 0xC000006D
NOT_SUPPORTED = 0xC00000BB
FILE_IS_A_DIRECTORY = 0xC00000BA
BAD_NETWORK_NAME = 0xC00000CC
DIRECTORY_NOT_EMPTY = 0xC0000101
NOT_A_DIRECTORY = 0xC0000103
CANNOT_DELETE = 0xC0000121
SESSION_DELETED = 0xC0000203
SESSION_EXPIRED = 0xC000035C
NETWORK_NAME_DELETED = 0xC00000C9

STATUSES: dict[int, tuple[str, EntryCode]] = {
    NO_SUCH_FILE: ("NO_SUCH_FILE", EntryCode.NOT_FOUND),
    NAME_NOT_FOUND: ("OBJECT_NAME_NOT_FOUND", EntryCode.NOT_FOUND),
    PATH_NOT_FOUND: ("OBJECT_PATH_NOT_FOUND", EntryCode.NOT_FOUND),
    0xC0000225: ("NOT_FOUND", EntryCode.NOT_FOUND),
    ACCESS_DENIED: ("ACCESS_DENIED", EntryCode.PERMISSION_DENIED),
    CANNOT_DELETE: ("CANNOT_DELETE", EntryCode.PERMISSION_DENIED),
    PRIVILEGE_NOT_HELD: ("PRIVILEGE_NOT_HELD", EntryCode.PERMISSION_DENIED),
    0xC00000CA: ("NETWORK_ACCESS_DENIED", EntryCode.PERMISSION_DENIED),
    0xC000005A: ("INVALID_OWNER", EntryCode.PERMISSION_DENIED),
    LOGON_FAILURE: ("LOGON_FAILURE", EntryCode.PERMISSION_DENIED),
    0xC000006A: ("WRONG_PASSWORD", EntryCode.PERMISSION_DENIED),
    0xC0000064: ("NO_SUCH_USER", EntryCode.PERMISSION_DENIED),
    0xC0000071: ("PASSWORD_EXPIRED", EntryCode.PERMISSION_DENIED),
    0xC0000072: ("ACCOUNT_DISABLED", EntryCode.PERMISSION_DENIED),
    0xC0000193: ("ACCOUNT_EXPIRED", EntryCode.PERMISSION_DENIED),
    0xC0000234: ("ACCOUNT_LOCKED_OUT", EntryCode.PERMISSION_DENIED),
    0xC000015B: ("LOGON_TYPE_NOT_GRANTED", EntryCode.PERMISSION_DENIED),
    SHARING_VIOLATION: ("SHARING_VIOLATION", EntryCode.LOCKED),
    0xC0000054: ("FILE_LOCK_CONFLICT", EntryCode.LOCKED),
    0xC0000055: ("LOCK_NOT_GRANTED", EntryCode.LOCKED),
    DELETE_PENDING: ("DELETE_PENDING", EntryCode.LOCKED),
    0xC00000E2: ("OPLOCK_NOT_GRANTED", EntryCode.LOCKED),
    0xC0000708: ("FILE_LOCKED_WITH_ONLY_READERS", EntryCode.LOCKED),
    0xC0000709: ("FILE_LOCKED_WITH_WRITERS", EntryCode.LOCKED),
    0xC0000243: ("USER_MAPPED_FILE", EntryCode.LOCKED),
    NAME_COLLISION: ("OBJECT_NAME_COLLISION", EntryCode.STALE),
    DIRECTORY_NOT_EMPTY: ("DIRECTORY_NOT_EMPTY", EntryCode.STALE),
    NOT_A_DIRECTORY: ("NOT_A_DIRECTORY", EntryCode.STALE),
    FILE_IS_A_DIRECTORY: ("FILE_IS_A_DIRECTORY", EntryCode.STALE),
    STOPPED_ON_SYMLINK: ("STOPPED_ON_SYMLINK", EntryCode.KIND_NOT_SUPPORTED),
    0xC0000257: ("PATH_NOT_COVERED", EntryCode.KIND_NOT_SUPPORTED),
    0xC0000279: ("IO_REPARSE_TAG_NOT_HANDLED", EntryCode.KIND_NOT_SUPPORTED),
    0xC0000265: ("TOO_MANY_LINKS", EntryCode.KIND_NOT_SUPPORTED),
    NAME_INVALID: ("OBJECT_NAME_INVALID", EntryCode.NAME_NOT_ALLOWED),
    0xC0000039: ("OBJECT_PATH_INVALID", EntryCode.NAME_NOT_ALLOWED),
    0xC000003B: ("OBJECT_PATH_SYNTAX_BAD", EntryCode.NAME_NOT_ALLOWED),
    0xC0000106: ("NAME_TOO_LONG", EntryCode.NAME_NOT_ALLOWED),
    0xC000007F: ("DISK_FULL", EntryCode.NO_SPACE),
    0xC0000044: ("QUOTA_EXCEEDED", EntryCode.NO_SPACE),
    0xC0000904: ("FILE_TOO_LARGE", EntryCode.KIND_NOT_SUPPORTED),
    0xC00000A2: ("MEDIA_WRITE_PROTECTED", EntryCode.READ_ONLY),
    0xC00000B5: ("IO_TIMEOUT", EntryCode.TIMEOUT),
    SESSION_DELETED: ("USER_SESSION_DELETED", EntryCode.UNAVAILABLE),
    SESSION_EXPIRED: ("NETWORK_SESSION_EXPIRED", EntryCode.UNAVAILABLE),
    NETWORK_NAME_DELETED: ("NETWORK_NAME_DELETED", EntryCode.UNAVAILABLE),
    BAD_NETWORK_NAME: ("BAD_NETWORK_NAME", EntryCode.UNAVAILABLE),
    0xC00000D0: ("REQUEST_NOT_ACCEPTED", EntryCode.UNAVAILABLE),
    0xC0000205: ("INSUFF_SERVER_RESOURCES", EntryCode.UNAVAILABLE),
    0xC000009A: ("INSUFFICIENT_RESOURCES", EntryCode.UNAVAILABLE),
    0xC00000C4: ("UNEXPECTED_NETWORK_ERROR", EntryCode.UNAVAILABLE),
    0xC000020C: ("CONNECTION_DISCONNECTED", EntryCode.UNAVAILABLE),
    END_OF_FILE: ("END_OF_FILE", EntryCode.CHANGED_DURING_TRANSFER),
    0xC0000128: ("FILE_CLOSED", EntryCode.IO_ERROR),
    INVALID_PARAMETER: ("INVALID_PARAMETER", EntryCode.IO_ERROR),
    NOT_SUPPORTED: ("NOT_SUPPORTED", EntryCode.IO_ERROR),
    0xC00000E5: ("INTERNAL_ERROR", EntryCode.IO_ERROR),
    0xC0000001: ("UNSUCCESSFUL", EntryCode.IO_ERROR),
    0xC0000185: ("IO_DEVICE_ERROR", EntryCode.IO_ERROR),
    0xC000009C: ("DEVICE_DATA_ERROR", EntryCode.IO_ERROR),
    0xC0000102: ("FILE_CORRUPT_ERROR", EntryCode.IO_ERROR),
}
"""NT status -> its name and our code ([MS-ERREF] 2.3). What is not named here is an IO_ERROR."""

GONE = frozenset({NO_SUCH_FILE, NAME_NOT_FOUND, PATH_NOT_FOUND, 0xC0000225, NOT_A_DIRECTORY, NAME_INVALID})
"""Answers that mean: nothing is there (or something that is no folder stands on the way)."""
DENIED = frozenset({ACCESS_DENIED, PRIVILEGE_NOT_HELD, CANNOT_DELETE})
BROKEN_SESSION = frozenset({SESSION_DELETED, SESSION_EXPIRED, NETWORK_NAME_DELETED})
"""Answers after which this connection is of no more use, though a new one may be."""
UNABLE = frozenset(
    {NOT_IMPLEMENTED, INVALID_INFO_CLASS, INVALID_DEVICE_REQUEST, NOT_SUPPORTED, INVALID_PARAMETER}
)

_HINTS: dict[int, str] = {
    SHARING_VIOLATION: "another program has it open",
    DELETE_PENDING: "it is being deleted by somebody who has it open",
    DIRECTORY_NOT_EMPTY: "the folder is not empty",
    NAME_COLLISION: "something stands there already, maybe spelled in other case",
    STOPPED_ON_SYMLINK: "a link stands on the way; links are never followed",
    0xC0000257: "the path leads into a DFS link; name its real server and share",
    0xC000005A: "the user may not make somebody else the owner (SeRestorePrivilege)",
    PRIVILEGE_NOT_HELD: "the user lacks a privilege",
}


class StatusError(Exception):
    """A request was answered with a status that is no success."""

    def __init__(self, status: int) -> None:
        super().__init__(status_name(status))
        self.status = status


class ConnectionFault(Exception):
    """The connection cannot be used any more; what was asked last may have happened or not."""

    code = EntryCode.UNAVAILABLE


class Silence(ConnectionFault):
    """No answer within the time allowed."""

    code = EntryCode.TIMEOUT


def status_name(status: int) -> str:
    known = STATUSES.get(status)
    return f"STATUS_{known[0]}" if known else f"NT status 0x{status:08x}"


def of_status(status: int, path: str, doing: str) -> EntryError:
    """The EntryError for an answer while `doing` ("read", "write", ...) something to `path`."""
    code = STATUSES[status][1] if status in STATUSES else EntryCode.IO_ERROR
    hint = f"; {_HINTS[status]}" if status in _HINTS else ""
    disposition = None
    if code is EntryCode.UNAVAILABLE:
        disposition = Disposition.RETRY
    elif status in UNABLE or status == 0xC0000904:
        # Asking again would be answered alike, and it says nothing about other files.
        disposition = Disposition.SKIP
    return EntryError(
        code, path, f"cannot {doing} {shown(path)}: {status_name(status)}{hint}", disposition=disposition
    )


def of_fault(fault: ConnectionFault, path: str, doing: str) -> EntryError:
    return EntryError(
        fault.code, path, f"cannot {doing} {shown(path)}: {fault}", disposition=Disposition.RETRY
    )


class classified:
    """`with classified(path, "write"):` statuses, damaged answers and broken connections inside become EntryErrors."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: str, doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StatusError):
            raise of_status(error.status, self._path, self._doing) from error
        if isinstance(error, ConnectionFault):
            raise of_fault(error, self._path, self._doing) from error
        if isinstance(error, DamagedError):
            message = f"cannot {self._doing} {shown(self._path)}: the server's answer makes no sense: {error}"
            raise EntryError(EntryCode.IO_ERROR, self._path, message) from error


def stale(path: str, what: str) -> EntryError:
    """The error for a path that is not in the state the plan was made for."""
    return EntryError(EntryCode.STALE, path, f"{shown(path)}: {what}")


def changed(path: str, what: str) -> EntryError:
    """The error for a file that moved under the reader."""
    return EntryError(EntryCode.CHANGED_DURING_TRANSFER, path, f"{shown(path)}: {what}")
