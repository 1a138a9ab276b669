"""One writer per destination: a lock that ends with its process, whatever ends the process.

The lock is the kernel's (flock), not the file: on one host the file that stays behind says who held it last, and is
no obstacle. Where other hosts share the file system, the kernel may not see their locks: there an owner of another
host, whom nobody can prove to be gone, keeps the lock until `sync-runner unlock`; a heartbeat (the file's time) says
whether it was alive lately. A driver that offers `HoldsLock` adds a lock on the destination itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import msgspec

from runner.errors import LockHeldError, UsageError
from runner.history.sharing import may_be_shared
from runner.model.hashing import sha256_hex
from runner.model.wire import decode_line, encode_line
from runner.units import format_duration

_OWNER_BYTES_AT_MOST = 65536
BEAT_SECONDS = 10.0
SILENT_SECONDS = 60.0


class LockOwner(msgspec.Struct, frozen=True):
    """Who holds a destination. `started_at` is RFC 3339 UTC; `command` is what a person would recognise."""

    execution_id: str
    task: str
    host: str
    pid: int
    started_at: str
    command: str
    process_key: str | None = None


class DestinationLock:
    """A context manager that holds the destination, or raises LockHeldError that names who does.

    `destination_key` is any text that is equal for equal destinations. Not for several threads at once.
    Worker processes forked while it is held keep it alive until they end: they may still be writing.
    """

    def __init__(
        self,
        locks_folder: str,
        destination_key: str,
        owner: LockOwner,
        shared: Callable[[str], bool] = may_be_shared,
    ) -> None:
        """`shared` tells whether other hosts may use the locks folder, too."""
        self.path = lock_file(locks_folder, destination_key)
        self._shared = shared
        self._owner = owner
        self._descriptor: int | None = None
        self._pid = 0

    def __enter__(self) -> DestinationLock:
        """Take the lock.

        Raises:
            LockHeldError: another execution has it.
            UsageError: the state folder cannot hold locks.
        """
        descriptor = self._opened()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._refuse_another_hosts(descriptor)
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, encode_line(self._owner) + b"\n", 0)
        except LockHeldError:
            os.close(descriptor)
            raise
        except OSError as error:
            holder = _read_owner(descriptor)
            os.close(descriptor)
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise _held_by(holder) from error
            raise UsageError(
                f"no lock can be taken in {os.path.dirname(self.path)}: {error.strerror}",
                remedy="Set settings.state in sync.yaml to a folder on a local disk with free space.",
            ) from error
        self._descriptor = descriptor
        self._pid = os.getpid()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        # A forked child shares the lock with its parent and must not give it up for both.
        if os.getpid() == self._pid:
            # Closing frees the lock, too; an owner that stays written is known to be gone by its process.
            with suppress(OSError):
                os.ftruncate(descriptor, 0)
                fcntl.flock(descriptor, fcntl.LOCK_UN)
        with suppress(OSError):
            os.close(descriptor)

    def beat(self) -> None:
        """Say that the owner is alive. Call it every BEAT_SECONDS while the lock is held."""
        descriptor = self._descriptor
        if descriptor is not None:
            with suppress(OSError):
                os.utime(descriptor)

    def _refuse_another_hosts(self, descriptor: int) -> None:
        """The kernel gave us the lock; an owner on another host may hold it all the same."""
        previous = _read_owner(descriptor)
        if (
            previous is None
            or previous.host == self._owner.host
            or not self._shared(os.path.dirname(self.path))
        ):
            return
        beaten_at = os.fstat(descriptor).st_mtime
        # Both times are the file system's own: the hosts' clocks need not agree.
        os.utime(descriptor)
        silent_seconds = os.fstat(descriptor).st_mtime - beaten_at
        os.utime(descriptor, (beaten_at, beaten_at))
        raise _held_elsewhere(previous, silent_seconds)

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UsageError(
                f"the lock file {self.path} cannot be opened: {error.strerror}",
                remedy="Make the state folder writable for this user, or change settings.state.",
            ) from error


def lock_file(locks_folder: str, destination_key: str) -> str:
    """Where a destination's lock lies; the name gives nothing of the key away and fits any key."""
    digest = sha256_hex(destination_key.encode("utf-8", "surrogateescape"))
    return os.path.join(locks_folder, f"{digest}.lock")


def break_lock(locks_folder: str, destination_key: str) -> LockOwner | None:
    """Clear what an owner left that cannot be proved to be gone; who it was, None when nobody is written there.

    Raises LockHeldError when a process that this kernel sees holds the lock.
    """
    try:
        descriptor = os.open(
            lock_file(locks_folder, destination_key), os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
        )
    except FileNotFoundError:
        return None
    try:
        owner = _read_owner(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise _held_by(owner) from error
        os.ftruncate(descriptor, 0)
        return owner
    finally:
        os.close(descriptor)


def lock_owner(locks_folder: str, destination_key: str) -> LockOwner | None:
    """Who is written in a destination's lock now; None when it was given back. Takes no lock itself.

    After a kill the last owner stays written until the next one: ask `process_is_gone`.
    """
    try:
        descriptor = os.open(lock_file(locks_folder, destination_key), os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        return _read_owner(descriptor)
    finally:
        os.close(descriptor)


def _read_owner(descriptor: int) -> LockOwner | None:
    try:
        return decode_line(os.pread(descriptor, _OWNER_BYTES_AT_MOST, 0), LockOwner)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def _held_elsewhere(owner: LockOwner, silent_seconds: float) -> LockHeldError:
    if silent_seconds < SILENT_SECONDS:
        alive = f"its last heartbeat is {max(0.0, silent_seconds):.0f} s old"
        remedy = "Wait until it has ended."
    else:
        alive = (
            f"it has been silent for {format_duration(silent_seconds)}, which does not prove that it is gone"
        )
        remedy = f"Look at {owner.host}: when process {owner.pid} is gone there, run: sync-runner unlock {owner.task}"
    return LockHeldError(
        f"execution {owner.execution_id} of task {owner.task!r} on another host, {owner.host}, has the lock of this "
        f"destination since {owner.started_at}; {alive}",
        remedy=remedy,
    )


def _held_by(owner: LockOwner | None) -> LockHeldError:
    if owner is None:
        return LockHeldError(
            "another execution writes to this destination (it has not written its name yet)",
            remedy="Wait until it has ended. To see it: sync-runner status",
        )
    return LockHeldError(
        f"execution {owner.execution_id} of task {owner.task!r} writes to this destination: "
        f"process {owner.pid} on {owner.host}, since {owner.started_at} ({owner.command})",
        remedy="Wait until it has ended. To see it: sync-runner status",
    )
