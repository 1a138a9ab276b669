"""What became of every action, in the execution's folder, as it happens."""

from __future__ import annotations

import os
from contextlib import suppress
from types import TracebackType

from runner.durable import read_whole
from runner.errors import StateUnavailableError

_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Journal:
    """A new file of outcome lines, mode 0600. A context manager; one thread.

    What is flushed outlives this process; with `durable`, what was written is on the disk on leaving. Every method
    raises StateUnavailableError: an execution that cannot say what it did must not go on.
    """

    def __init__(self, path: str, *, durable: bool) -> None:
        self._path = path
        self._durable = durable
        self._size_bytes = 0
        self._waiting: list[bytes] = []
        try:
            self._handle = os.open(path, _FLAGS, 0o600)
        except OSError as error:
            raise self._unavailable(error) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                if kind is None:
                    self.flush()
                    if self._durable:
                        os.fsync(self._handle)
            finally:
                # Network mounts tell here, too, that something was lost.
                os.close(self._handle)
        except OSError as fault:
            raise self._unavailable(fault) from fault

    def write(self, lines: bytes) -> None:
        """Lines for the next flush."""
        self._waiting.append(lines)

    def flush(self) -> None:
        """Hand over to the kernel what was written, and see that it has all of it."""
        view = memoryview(b"".join(self._waiting))
        self._waiting.clear()
        self._size_bytes += len(view)
        try:
            while view:
                view = view[os.write(self._handle, view) :]
            arrived = os.fstat(self._handle).st_size
        except OSError as error:
            raise self._unavailable(error) from error
        if arrived != self._size_bytes:
            raise self._unavailable(OSError(f"{arrived} bytes arrived of {self._size_bytes}"))

    def _unavailable(self, error: OSError) -> StateUnavailableError:
        return StateUnavailableError(
            f"what was done cannot be written down in {self._path}: {error.strerror or error}; nothing more was begun",
            remedy="Make room in the state folder (settings.state), then run again: what is done is not done twice.",
        )


class JournalReader:
    """A journal that is read back, in pieces. A context manager; one thread. Raises StateUnavailableError."""

    def __init__(self, path: str) -> None:
        self._path = path
        try:
            self._handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from error

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(self, *_: object) -> None:
        # Nothing was written that could be lost.
        with suppress(OSError):
            os.close(self._handle)

    def piece(self, offset: int, length: int) -> bytes:
        """So many bytes from there, neither less nor more."""
        try:
            return read_whole(self._handle, offset, length)
        except OSError as error:
            raise self._unavailable(error.strerror or str(error)) from error

    def _unavailable(self, reason: str) -> StateUnavailableError:
        return StateUnavailableError(
            f"what was done cannot be read back from {self._path}: {reason}; not all was verified",
            remedy="Verify everything: sync-runner verify TASK",
        )
