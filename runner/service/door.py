"""The service's socket, 0600 in the state folder: one JSON object a line in, one or more out.

Only the service's own user (and root) is answered. Each connection has a thread that asks the service's loop and
waits; what it is told goes back as it comes. A client that is silent, slow or gone costs one thread for a while.
"""

from __future__ import annotations

import os
import queue
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import msgspec

from runner.model.wire import decode_line, encode_line

REQUEST_BYTES_AT_MOST = 64 << 10
CONNECTIONS_AT_MOST = 64
REQUEST_SECONDS = 10.0
PATH_BYTES_AT_MOST = 100
"""sun_path holds 108 with its NUL (unix(7))."""


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a client wants: `verb` is status, run, cancel, reload or wake. `follow`: tell how the execution goes on.

    `configuration_file` is the client's: a service that works with another one does not run its tasks.
    """

    verb: str
    task: str | None = None
    configuration_file: str | None = None
    accept: tuple[str, ...] = ()
    follow: bool = False
    now: bool = False
    bandwidth_bytes_per_second: int | None = None


Reply = Callable[[object | None], None]
"""Called with each value that goes back, from any thread; None ends the answer."""


class ServiceSocket:
    """Listens and passes requests on: `ask(request, reply)` is called from the connection's thread."""

    def __init__(self, path: str, ask: Callable[[Request, Reply], None]) -> None:
        """Raises OSError. A socket that a dead service left behind is replaced: hold the service's lock before."""
        self._path = path
        self._ask = ask
        self._room = threading.BoundedSemaphore(CONNECTIONS_AT_MOST)
        with suppress(FileNotFoundError):
            os.unlink(path)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        with _short(path) as short:
            mask = os.umask(0o177)
            try:
                self._listener.bind(short)
            finally:
                os.umask(mask)
        self._listener.listen(CONNECTIONS_AT_MOST)
        threading.Thread(target=self._accept, name="socket", daemon=True).start()

    def close(self) -> None:
        """Answer nobody any more."""
        with suppress(OSError):
            os.unlink(self._path)
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            if not self._room.acquire(blocking=False):
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection,), name="client", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection:
                connection.settimeout(REQUEST_SECONDS)
                if _may_ask(connection):
                    self._answer(connection)
        except OSError:
            return
        finally:
            self._room.release()

    def _answer(self, connection: socket.socket) -> None:
        with connection.makefile("rb") as lines:
            line = lines.readline(REQUEST_BYTES_AT_MOST)
        try:
            request = decode_line(line, Request)
        except (msgspec.MsgspecError, ValueError):
            connection.sendall(b'{"error": "not a request"}\n')
            return
        answers: queue.SimpleQueue[object | None] = queue.SimpleQueue()
        self._ask(request, answers.put)
        while (answer := answers.get()) is not None:
            connection.sendall(encode_line(answer) + b"\n")


class Client:
    """Speaks to a running service."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def connect(cls, path: str) -> Client | None:
        """A connection; None when no service answers there."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            with _short(path) as short:
                connection.settimeout(5.0)
                connection.connect(short)
        except OSError:
            connection.close()
            return None
        return cls(connection)

    def ask(self, request: Request, *, patient: bool = False) -> Iterator[dict[str, Any]]:
        """The service's answers as they come. `patient`: they may take as long as an execution does.

        Raises OSError when the service goes away or does not answer in time.
        """
        self._connection.settimeout(None if patient else 30.0)
        self._connection.sendall(encode_line(request) + b"\n")
        with self._connection.makefile("rb") as lines:
            for line in lines:
                yield decode_line(line, dict[str, Any])

    def close(self) -> None:
        self._connection.close()


def _may_ask(connection: socket.socket) -> bool:
    """The file's mode says so already; this holds also where a file system ignores modes of sockets."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (os.geteuid(), 0)


@contextmanager
def _short(path: str) -> Iterator[str]:
    """The path, or a way to it that fits into a socket's address."""
    if len(os.fsencode(path)) <= PATH_BYTES_AT_MOST:
        yield path
        return
    folder = os.open(os.path.dirname(path), os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{os.path.basename(path)}"
    finally:
        os.close(folder)
