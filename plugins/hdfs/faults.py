"""What an exception of Hadoop means: the only place where the cluster's errors get their codes."""

from __future__ import annotations

from types import TracebackType

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.wire import terminal_safe

_RETRY = Disposition.RETRY

CODES: dict[str, tuple[EntryCode, Disposition | None]] = {
    "FileNotFoundException": (EntryCode.NOT_FOUND, None),
    "FileAlreadyExistsException": (EntryCode.STALE, None),
    "PathIsNotEmptyDirectoryException": (EntryCode.STALE, None),
    "ParentNotDirectoryException": (EntryCode.KIND_CONFLICT, None),
    "AccessControlException": (EntryCode.PERMISSION_DENIED, None),
    "SnapshotAccessControlException": (EntryCode.PERMISSION_DENIED, None),
    "AuthorizationException": (EntryCode.PERMISSION_DENIED, None),
    "AuthenticationException": (EntryCode.PERMISSION_DENIED, None),
    "SecurityException": (EntryCode.PERMISSION_DENIED, None),
    "SaslException": (EntryCode.PERMISSION_DENIED, None),
    "GSSException": (EntryCode.PERMISSION_DENIED, None),
    "InvalidToken": (EntryCode.PERMISSION_DENIED, None),
    "AlreadyBeingCreatedException": (EntryCode.LOCKED, None),
    "RecoveryInProgressException": (EntryCode.LOCKED, None),
    "LeaseExpiredException": (EntryCode.IO_ERROR, None),
    "SafeModeException": (EntryCode.UNAVAILABLE, _RETRY),
    "StandbyException": (EntryCode.UNAVAILABLE, _RETRY),
    "ObserverRetryOnActiveException": (EntryCode.UNAVAILABLE, _RETRY),
    "RetriableException": (EntryCode.UNAVAILABLE, _RETRY),
    "ServerNotLeaderException": (EntryCode.UNAVAILABLE, _RETRY),
    "RpcServerException": (EntryCode.UNAVAILABLE, _RETRY),
    "NotReplicatedYetException": (EntryCode.UNAVAILABLE, _RETRY),
    "ConnectException": (EntryCode.UNAVAILABLE, _RETRY),
    "SocketTimeoutException": (EntryCode.TIMEOUT, None),
    "NSQuotaExceededException": (EntryCode.NO_SPACE, None),
    "DSQuotaExceededException": (EntryCode.NO_SPACE, None),
    "QuotaByStorageTypeExceededException": (EntryCode.NO_SPACE, None),
    "QuotaExceededException": (EntryCode.NO_SPACE, None),
    # One folder that is full says nothing about the others.
    "MaxDirectoryItemsExceededException": (EntryCode.NO_SPACE, Disposition.SKIP),
    "PathComponentTooLongException": (EntryCode.NAME_NOT_ALLOWED, None),
    "InvalidPathException": (EntryCode.NAME_NOT_ALLOWED, None),
    "IllegalReservedPathException": (EntryCode.NAME_NOT_ALLOWED, None),
    "HadoopIllegalArgumentException": (EntryCode.NAME_NOT_ALLOWED, None),
    "IllegalArgumentException": (EntryCode.IO_ERROR, Disposition.SKIP),
    "UnsupportedOperationException": (EntryCode.KIND_NOT_SUPPORTED, None),
    "BlockMissingException": (EntryCode.IO_ERROR, None),
    "ChecksumException": (EntryCode.IO_ERROR, None),
}
"""Simple class name of a Java exception -> code and, where it is not the code's own, disposition."""

_MESSAGES: tuple[tuple[str, EntryCode, Disposition | None], ...] = (
    ("safe mode", EntryCode.UNAVAILABLE, _RETRY),
    ("could only be written to 0", EntryCode.UNAVAILABLE, _RETRY),
    ("could only be replicated to 0", EntryCode.UNAVAILABLE, _RETRY),
    ("Failed to find datanode", EntryCode.UNAVAILABLE, _RETRY),
    ("No active nodes contain this block", EntryCode.UNAVAILABLE, _RETRY),
    ("Could not obtain block", EntryCode.UNAVAILABLE, _RETRY),
    ("All datanodes", EntryCode.UNAVAILABLE, _RETRY),
    ("DiskOutOfSpace", EntryCode.NO_SPACE, None),
    ("Pathname too long", EntryCode.NAME_NOT_ALLOWED, None),
    ("Access time for hdfs is not configured", EntryCode.ATTRIBUTES_REFUSED, None),
)
"""Parts of messages of plain IOExceptions."""


class RemoteFault(Exception):
    """The cluster (or the way to it) refused an operation: a code, and the first line of its message."""

    def __init__(
        self,
        code: EntryCode,
        message: str,
        disposition: Disposition | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.disposition = disposition
        self.retry_after_seconds = retry_after_seconds


def fault_of(java_class: str, message: str) -> RemoteFault:
    """The fault for a Java exception as a NameNode or DataNode reports it."""
    first_line = terminal_safe(message.strip().split("\n", 1)[0])[:400]
    simple = java_class.rsplit(".", 1)[-1].rsplit("$", 1)[-1]
    if simple == "AccessControlException" and "is not a directory" in first_line:
        return RemoteFault(EntryCode.KIND_CONFLICT, first_line)
    if simple in CODES:
        code, disposition = CODES[simple]
        return RemoteFault(code, f"{first_line} ({simple})" if first_line else simple, disposition)
    for part, code, disposition in _MESSAGES:
        if part in message:
            return RemoteFault(code, first_line, disposition)
    return RemoteFault(EntryCode.IO_ERROR, f"{first_line} ({simple})" if first_line else simple)


def unreachable(message: str) -> RemoteFault:
    """The fault for a connection that is refused, lost or reset."""
    return RemoteFault(EntryCode.UNAVAILABLE, message, _RETRY)


def timed_out(message: str) -> RemoteFault:
    return RemoteFault(EntryCode.TIMEOUT, message)


def shown(path: str) -> str:
    """A path as messages show it."""
    return terminal_safe(path) if path else "the root folder"


def entry_error(fault: RemoteFault, path: str, doing: str) -> EntryError:
    """The EntryError for a fault while `doing` ("read", "write", ...) something to `path`."""
    return EntryError(
        fault.code,
        path,
        f"cannot {doing} {shown(path)}: {fault.message}",
        disposition=fault.disposition,
        retry_after_seconds=fault.retry_after_seconds,
    )


class classified:
    """`with classified(path, "write"):` faults inside become EntryErrors."""

    __slots__ = ("_doing", "_path")

    def __init__(self, path: str, doing: str) -> None:
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, RemoteFault):
            raise entry_error(error, self._path, self._doing) from error


def stale(path: str, what: str) -> EntryError:
    """The error for a path that is not in the state the plan was made for."""
    return EntryError(EntryCode.STALE, path, f"{shown(path)}: {what}")


def changed(path: str, what: str) -> EntryError:
    """The error for a file that moved under the reader."""
    return EntryError(EntryCode.CHANGED_DURING_TRANSFER, path, f"{shown(path)}: {what}")
