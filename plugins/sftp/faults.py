"""What a server's status or a broken connection means for one path: the only place where they become EntryErrors."""

from __future__ import annotations

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.wire import terminal_safe

from .packets import MalformedError, Status

CODES: dict[int, EntryCode] = {
    Status.NO_SUCH_FILE: EntryCode.NOT_FOUND,
    Status.PERMISSION_DENIED: EntryCode.PERMISSION_DENIED,
    Status.FAILURE: EntryCode.IO_ERROR,
    # OpenSSH says this for names that are too long or that the file system does not take.
    Status.BAD_MESSAGE: EntryCode.NAME_NOT_ALLOWED,
    Status.OP_UNSUPPORTED: EntryCode.KIND_NOT_SUPPORTED,
}
"""Status -> code. What is not named here is an IO_ERROR."""

_WORDS: dict[int, str] = {
    Status.FAILURE: "the server says only that it failed",
    Status.OP_UNSUPPORTED: "the server does not support this request",
    Status.BAD_MESSAGE: "the server does not take this name or value",
}
_BARE = frozenset(
    {"", "failure", "bad message", "operation unsupported", "no such file", "permission denied"}
)


class StatusError(Exception):
    """The server answered with a status that is not OK."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code = code
        self.words = words


class WireError(Exception):
    """The connection ended, or nothing came in time; it cannot be used any more."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class RefusedError(Exception):
    """No connection could be made. `lasting`: trying again changes nothing (credentials, host key)."""

    def __init__(
        self, message: str, remedy: str | None = None, *, lasting: bool = True, timed_out: bool = False
    ) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.lasting = lasting
        self.timed_out = timed_out


def shown(path: str) -> str:
    """A path as messages show it."""
    return terminal_safe(path) if path else "the root folder"


def classify(error: Exception, path: str, doing: str) -> EntryError:
    """The EntryError for what went wrong while `doing` ("read", "write", ...) something to `path`."""
    if isinstance(error, StatusError):
        code = CODES.get(error.code, EntryCode.IO_ERROR)
        return EntryError(code, path, f"cannot {doing} {shown(path)}: {status_words(error)}")
    if isinstance(error, RefusedError):
        if error.lasting:
            disposition = Disposition.ABORT
        else:
            disposition = Disposition.RETRY
        code = EntryCode.TIMEOUT if error.timed_out else EntryCode.UNAVAILABLE
        return EntryError(
            code, path, f"cannot {doing} {shown(path)}: {error.message}", disposition=disposition
        )
    if isinstance(error, WireError) and error.timed_out:
        return EntryError(EntryCode.TIMEOUT, path, f"cannot {doing} {shown(path)}: {error}")
    message = f"cannot {doing} {shown(path)}: {error}"
    return EntryError(EntryCode.UNAVAILABLE, path, message, disposition=Disposition.RETRY)


def status_words(error: StatusError) -> str:
    """A status in words a person can use."""
    words = terminal_safe(error.words.strip())
    known = _WORDS.get(error.code)
    if known is None:
        return words or f"status {error.code}"
    return known if words.lower() in _BARE else f"{known} ({words})"


class classified:
    """`with classified(path, "write"):` the server's and the connection's errors inside become EntryErrors."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: str, doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (StatusError, WireError, RefusedError, MalformedError)):
            raise classify(error, self._path, self._doing) from error


def stale(path: str, what: str) -> EntryError:
    """The error for a path that is not in the state the plan was made for."""
    return EntryError(EntryCode.STALE, path, f"{shown(path)}: {what}")


def changed(path: str, what: str) -> EntryError:
    """The error for a file that moved under the reader."""
    return EntryError(EntryCode.CHANGED_DURING_TRANSFER, path, f"{shown(path)}: {what}")
