"""hdfs-native's clients, one for each cluster and identity in a process.

A client is safe to share between threads, and each brings as many threads as the machine has cores; and connections to
DataNodes are kept for the whole process, but die with the client that made them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hdfs_native import Client

Key = tuple[object, ...]


@dataclass
class _Shared:
    client: Client | None = None
    holders: int = 0


class SharedClients:
    """Clients by what they were made with, as long as a location holds them. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._shared: dict[Key, _Shared] = {}
        self._process = os.getpid()

    def hold(self, key: Key) -> None:
        """Keep the client of this key, when it is made, until `let_go`."""
        with self._lock:
            if self._process != os.getpid():
                # A forked process has the parent's clients without their threads.
                self._shared.clear()
                self._process = os.getpid()
            self._shared.setdefault(key, _Shared()).holders += 1

    def let_go(self, key: Key) -> None:
        with self._lock:
            shared = self._shared.get(key)
            if shared is not None:
                shared.holders -= 1
                if shared.holders == 0:
                    del self._shared[key]

    def get(self, key: Key, make: Callable[[], Client]) -> Client:
        """The client of a key that is held; made when there is none. Making one connects to nothing."""
        with self._lock:
            shared = self._shared[key]
            if shared.client is None:
                shared.client = make()
            return shared.client

    def forget(self, key: Key, client: Client) -> None:
        """Have a new one made next time, for this one does not come back from a call."""
        with self._lock:
            shared = self._shared.get(key)
            if shared is not None and shared.client is client:
                shared.client = None


CLIENTS = SharedClients()
"""Shared by all locations of this process."""
