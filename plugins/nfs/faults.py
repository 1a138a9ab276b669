"""What an NFS status, or a connection that breaks, means for one path."""

from __future__ import annotations

from runner.errors import Disposition, EntryCode, EntryError

from ..local.faults import shown
from .session import NfsError, SessionError, SessionTimeout

PERM, NOENT, IO, NXIO, ACCES, EXIST, XDEV, NODEV = 1, 2, 5, 6, 13, 17, 18, 19
NOTDIR, ISDIR, INVAL, FBIG, NOSPC, ROFS, MLINK = 20, 21, 22, 27, 28, 30, 31
NAMETOOLONG, NOTEMPTY, DQUOT, STALE, REMOTE = 63, 66, 69, 70, 71
BADHANDLE, NOT_SYNC, BAD_COOKIE, NOTSUPP, TOOSMALL, SERVERFAULT, BADTYPE, JUKEBOX = range(10001, 10009)

_MEANINGS: dict[int, tuple[str, EntryCode, str]] = {
    PERM: ("PERM", EntryCode.PERMISSION_DENIED, "the server does not allow it"),
    NOENT: ("NOENT", EntryCode.NOT_FOUND, "it is not there"),
    IO: ("IO", EntryCode.IO_ERROR, "the server's storage failed"),
    NXIO: ("NXIO", EntryCode.IO_ERROR, "the server has no such device"),
    ACCES: ("ACCES", EntryCode.PERMISSION_DENIED, "the server does not give this user the right"),
    EXIST: ("EXIST", EntryCode.STALE, "something stands there"),
    XDEV: ("XDEV", EntryCode.KIND_NOT_SUPPORTED, "the two paths are on different file systems"),
    NODEV: ("NODEV", EntryCode.IO_ERROR, "the server has no such device"),
    NOTDIR: ("NOTDIR", EntryCode.STALE, "something that is no folder stands where one is expected"),
    ISDIR: ("ISDIR", EntryCode.KIND_CONFLICT, "a folder stands there"),
    INVAL: ("INVAL", EntryCode.NAME_NOT_ALLOWED, "the server takes no such name or value"),
    # Says nothing about other files: no lack of space, which would end the run.
    FBIG: ("FBIG", EntryCode.KIND_NOT_SUPPORTED, "it is larger than the server's file system allows"),
    NOSPC: ("NOSPC", EntryCode.NO_SPACE, "the server's file system is full"),
    ROFS: ("ROFS", EntryCode.READ_ONLY, "the server exports it read-only"),
    MLINK: ("MLINK", EntryCode.KIND_NOT_SUPPORTED, "the file has as many names as the server allows"),
    NAMETOOLONG: ("NAMETOOLONG", EntryCode.NAME_NOT_ALLOWED, "the name is too long for the server"),
    NOTEMPTY: ("NOTEMPTY", EntryCode.STALE, "the folder is not empty"),
    DQUOT: ("DQUOT", EntryCode.NO_SPACE, "the quota is used up"),
    STALE: ("STALE", EntryCode.UNAVAILABLE, "the server no longer knows the file it gave us"),
    REMOTE: ("REMOTE", EntryCode.KIND_NOT_SUPPORTED, "it lies on another server"),
    BADHANDLE: ("BADHANDLE", EntryCode.UNAVAILABLE, "the server no longer knows the file it gave us"),
    NOT_SYNC: ("NOT_SYNC", EntryCode.STALE, "it was changed just now"),
    BAD_COOKIE: ("BAD_COOKIE", EntryCode.IO_ERROR, "the folder changed while it was being listed"),
    NOTSUPP: ("NOTSUPP", EntryCode.KIND_NOT_SUPPORTED, "the server cannot do that"),
    TOOSMALL: ("TOOSMALL", EntryCode.IO_ERROR, "the server wants larger packets"),
    SERVERFAULT: ("SERVERFAULT", EntryCode.IO_ERROR, "the server has an error that NFS has no name for"),
    BADTYPE: ("BADTYPE", EntryCode.KIND_NOT_SUPPORTED, "the server cannot hold entries of this kind"),
    JUKEBOX: ("JUKEBOX", EntryCode.UNAVAILABLE, "the server asks to come back later"),
}

REFUSALS = frozenset({PERM, ACCES, INVAL, NOTSUPP})
"""What servers answer when they will not set some metadata."""
GONE_HANDLES = frozenset({STALE, BADHANDLE})
_RETRIED = frozenset({STALE, BADHANDLE, JUKEBOX})
_JUKEBOX_SECONDS = 5.0


def of_status(error: NfsError, path: str, doing: str) -> EntryError:
    """The EntryError for a status the server gave while `doing` ("read", "write", ...) something to `path`."""
    name, code, meaning = _MEANINGS.get(
        error.status, (str(error.status), EntryCode.IO_ERROR, "the server answered with an unknown status")
    )
    disposition = None
    if error.status in _RETRIED:
        disposition = Disposition.RETRY
    return EntryError(
        code,
        path,
        f"cannot {doing} {shown(path)}: {meaning} (NFS3ERR_{name})",
        disposition=disposition,
        retry_after_seconds=_JUKEBOX_SECONDS if error.status == JUKEBOX else None,
    )


def of_session(error: SessionError, path: str, doing: str) -> EntryError:
    """The EntryError for a connection that is gone: the object connects anew when it is next used."""
    code = EntryCode.TIMEOUT if isinstance(error, SessionTimeout) else EntryCode.UNAVAILABLE
    return EntryError(code, path, f"cannot {doing} {shown(path)}: {error}", disposition=Disposition.RETRY)


class told:
    """`with told(path, "write"):` what the server answers inside becomes EntryErrors."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: str, doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, NfsError):
            raise of_status(error, self._path, self._doing) from error
        if isinstance(error, SessionError):
            raise of_session(error, self._path, self._doing) from error
