"""Calls to the daemon: HTTP over its private unix socket, each with a deadline."""

from __future__ import annotations

import contextlib
import http.client
import select
import socket
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from runner.clock import SystemClock

JSON = "application/json"
_IDLE_SECONDS = 30.0
"""rclone closes connections that were idle for 60 s."""


class WireError(Exception):
    """The daemon could not be spoken to. `timed_out`: it did not answer in time, what it did is not known."""

    def __init__(self, message: str, *, timed_out: bool = False) -> None:
        super().__init__(message)
        self.timed_out = timed_out


class RefusedError(Exception):
    """The daemon answered with an error: rclone's text, without the input that it repeats."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.text = text
        self.status = status


class _Refusal(msgspec.Struct):
    error: str = ""


# msgspec (0.22) crashes when two threads look into the same types for the first time at once: this is that time.
for _kind in (_Refusal,):
    msgspec.json.Decoder(_kind)


class Connection(http.client.HTTPConnection):
    """One keep-alive connection over the socket that `connect_socket` gives."""

    def __init__(self, connect_socket: Callable[[], socket.socket]) -> None:
        super().__init__("rclone")
        self._connect_socket = connect_socket
        self.idle_since = 0.0

    def connect(self) -> None:
        self.sock = self._connect_socket()

    @property
    def is_cut(self) -> bool:
        """Whether the other side has closed it (or said what nobody asked for)."""
        if self.sock is None:
            return False
        # Not select(2): it takes no descriptor above 1,023.
        watched = select.poll()
        watched.register(self.sock, select.POLLIN)
        return bool(watched.poll(0))

    def limit(self, seconds: float) -> None:
        """Each wait for the socket from here on ends after that time."""
        if self.sock is None:
            self.connect()
        self.sock.settimeout(seconds)


class Connections:
    """Idle connections to one daemon. Any thread takes one and gives it back."""

    def __init__(self, connect_socket: Callable[[], socket.socket], authorization: str) -> None:
        self._connect_socket = connect_socket
        self._headers = {"Authorization": authorization}
        self._idle: list[Connection] = []
        self._guard = threading.Lock()
        self._clock = SystemClock()
        self._closed = False

    def take(self) -> Connection:
        while True:
            with self._guard:
                if not self._idle:
                    return Connection(self._connect_socket)
                connection = self._idle.pop()
            if self._clock.monotonic() - connection.idle_since < _IDLE_SECONDS and not connection.is_cut:
                return connection
            connection.close()

    def give_back(self, connection: Connection) -> None:
        connection.idle_since = self._clock.monotonic()
        with self._guard:
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def headers(self, **more: str) -> dict[str, str]:
        return {**self._headers, **{name.replace("_", "-"): value for name, value in more.items()}}

    def call(self, command: str, parameters: dict[str, Any], seconds: float) -> bytes:
        """The answer's body. Raises RefusedError and WireError."""
        connection = self.take()
        try:
            connection.limit(seconds)
            connection.request(
                "POST", "/" + command, msgspec.json.encode(parameters), self.headers(Content_Type=JSON)
            )
            with connection.getresponse() as response:
                body = response.read()
        except (OSError, http.client.HTTPException) as error:
            # Closing it cancels the call in the daemon.
            connection.close()
            raise wire_error(error, command, seconds) from error
        except BaseException:
            connection.close()
            raise
        self.give_back(connection)
        if response.status != 200:
            raise refused(body, response.status)
        return body


def wire_error(error: Exception, command: str, seconds: float) -> WireError:
    if isinstance(error, TimeoutError):
        return WireError(f"rclone did not answer {command} within {seconds:g} s", timed_out=True)
    return WireError(f"the rclone daemon ended or cut the connection ({type(error).__name__})")


def refused(body: bytes, status: int) -> RefusedError:
    """The error in an answer's body."""
    text = ""
    with contextlib.suppress(msgspec.DecodeError):
        text = msgspec.json.decode(body, type=_Refusal).error
    return RefusedError(text or f"status {status}", status)
