"""One service for one state folder, by a lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from runner.errors import LockHeldError
from runner.history.state import StateDirectory


@contextmanager
def only_service(state: StateDirectory) -> Iterator[None]:
    """Hold the service's lock. Raises LockHeldError, which names the process that has it."""
    handle = os.open(state.service_lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            pid = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            raise LockHeldError(
                f"a service works with {state.path} already (process {pid or 'unknown'})",
                remedy="To see how it stands: sync-runner status. Another configuration needs another settings.state.",
            ) from error
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode("ascii"), 0)
        yield
    finally:
        os.close(handle)
