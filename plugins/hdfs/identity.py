"""Who hdfs-native works as: it takes the user of a cluster without Kerberos from the environment alone."""

from __future__ import annotations

import os
import threading

from runner.errors import LocationUnavailableError

_VARIABLE = "HADOOP_USER_NAME"


class UserClaims:
    """The process's one HADOOP_USER_NAME, held by the open locations that work as that user.

    The library reads it again whenever it connects, so it must stay as long as one of them is open. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._user: str | None = None
        self._holders = 0
        self._before: str | None = None

    def take(self, user: str, location: str) -> None:
        """Work as `user` until `give_back`. Raises LocationUnavailableError while others work as another."""
        with self._lock:
            if self._holders and self._user != user:
                raise LocationUnavailableError(
                    f'location "{location}": another HDFS location is open as user {self._user}, and the native '
                    f"transport cannot work as {user} in the same process",
                    remedy="Use the same user, run the tasks one after another, or use transport: webhdfs for one.",
                )
            if not self._holders:
                self._before = os.environ.get(_VARIABLE)
                os.environ[_VARIABLE] = user
                self._user = user
            self._holders += 1

    def give_back(self) -> None:
        with self._lock:
            self._holders -= 1
            if self._holders:
                return
            self._user = None
            if self._before is None:
                os.environ.pop(_VARIABLE, None)
            else:
                os.environ[_VARIABLE] = self._before


USERS = UserClaims()
"""Shared by all locations of this process, for the environment is."""
