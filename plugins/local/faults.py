"""What an errno means for one path: the only place where system errors become EntryErrors."""

from __future__ import annotations

import errno

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.wire import terminal_safe

CODES: dict[int, EntryCode] = {
    errno.ENOENT: EntryCode.NOT_FOUND,
    errno.EACCES: EntryCode.PERMISSION_DENIED,
    errno.EPERM: EntryCode.PERMISSION_DENIED,
    errno.EAGAIN: EntryCode.LOCKED,
    errno.ETXTBSY: EntryCode.LOCKED,
    errno.EBUSY: EntryCode.LOCKED,
    errno.EDEADLK: EntryCode.LOCKED,
    errno.ENOLCK: EntryCode.LOCKED,
    errno.EEXIST: EntryCode.STALE,
    errno.ENOTEMPTY: EntryCode.STALE,
    errno.ENOTDIR: EntryCode.STALE,
    errno.ELOOP: EntryCode.STALE,
    errno.EISDIR: EntryCode.KIND_CONFLICT,
    errno.ENOSPC: EntryCode.NO_SPACE,
    errno.EDQUOT: EntryCode.NO_SPACE,
    errno.EROFS: EntryCode.READ_ONLY,
    errno.ENAMETOOLONG: EntryCode.NAME_NOT_ALLOWED,
    errno.EILSEQ: EntryCode.NAME_NOT_ALLOWED,
    errno.EINVAL: EntryCode.NAME_NOT_ALLOWED,
    errno.EXDEV: EntryCode.KIND_NOT_SUPPORTED,
    # Says nothing about other files: no lack of space, which would end the run.
    errno.EFBIG: EntryCode.KIND_NOT_SUPPORTED,
    errno.EMLINK: EntryCode.KIND_NOT_SUPPORTED,
    errno.EOPNOTSUPP: EntryCode.KIND_NOT_SUPPORTED,
    errno.ENOSYS: EntryCode.KIND_NOT_SUPPORTED,
    errno.EIO: EntryCode.IO_ERROR,
    errno.ESTALE: EntryCode.IO_ERROR,
    errno.EREMOTEIO: EntryCode.IO_ERROR,
    errno.EUCLEAN: EntryCode.IO_ERROR,
    errno.EMFILE: EntryCode.IO_ERROR,
    errno.ENFILE: EntryCode.IO_ERROR,
    errno.ENOMEM: EntryCode.IO_ERROR,
    errno.ETIMEDOUT: EntryCode.TIMEOUT,
    errno.ENOTCONN: EntryCode.UNAVAILABLE,
    errno.ESHUTDOWN: EntryCode.UNAVAILABLE,
    errno.ECONNABORTED: EntryCode.UNAVAILABLE,
    errno.ECONNRESET: EntryCode.UNAVAILABLE,
    errno.EHOSTDOWN: EntryCode.UNAVAILABLE,
    errno.EHOSTUNREACH: EntryCode.UNAVAILABLE,
    errno.ENODEV: EntryCode.UNAVAILABLE,
    errno.ENXIO: EntryCode.UNAVAILABLE,
}
"""errno -> code. What is not named here is an IO_ERROR."""

_HINTS: dict[int, str] = {
    errno.EDQUOT: "the quota is used up",
    errno.EFBIG: "it is larger than the file system or `ulimit -f` allows",
    errno.EMFILE: "raise `ulimit -n`",
    errno.EXDEV: "the two paths are on different file systems",
    errno.EMLINK: "the file has as many names as the file system allows",
    errno.ELOOP: "a symbolic link stands where a folder is expected",
    errno.ENOTDIR: "something that is no folder stands where one is expected",
    errno.ENOTCONN: "the mount's server is gone",
}


def shown(path: str) -> str:
    """A path as messages show it."""
    return terminal_safe(path) if path else "the root folder"


def classify(error: OSError, path: str, doing: str) -> EntryError:
    """The EntryError for a system call's failure while `doing` ("read", "write", ...) something to `path`."""
    number = error.errno or errno.EIO
    code = CODES.get(number, EntryCode.IO_ERROR)
    name = errno.errorcode.get(number, str(number))
    hint = f"; {_HINTS[number]}" if number in _HINTS else ""
    message = f"cannot {doing} {shown(path)}: {error.strerror or name} ({name}){hint}"
    return EntryError(code, path, message)


class classified:
    """`with classified(path, "write"):` system errors inside become EntryErrors.

    A class, for a generator-based context manager costs two microseconds a file.
    """

    __slots__ = ("_doing", "_path")

    def __init__(self, path: str, doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            raise classify(error, self._path, self._doing) from error


class flushing:
    """`with flushing(path):` around the flush of what has its name already. A failure there is the path's last word: another
    attempt would find everything in place, and a second flush may say that all is well (fsync(2)).
    """

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            cause = classify(error, self._path, "flush")
            raise EntryError(
                cause.entry_code,
                self._path,
                f"{cause.message}; it is in its place, but a power cut may undo it",
                disposition=Disposition.SKIP if cause.disposition is Disposition.RETRY else cause.disposition,
            ) from error


def stale(path: str, what: str) -> EntryError:
    """The error for a path that is not in the state the plan was made for."""
    return EntryError(EntryCode.STALE, path, f"{shown(path)}: {what}")


def changed(path: str, what: str) -> EntryError:
    """The error for a file that moved under the reader."""
    return EntryError(EntryCode.CHANGED_DURING_TRANSFER, path, f"{shown(path)}: {what}")
