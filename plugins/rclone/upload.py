"""Content that streams into the daemon, and from there into a new file."""

from __future__ import annotations

import contextlib
import http.client
import os
import urllib.parse
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from .names import to_rclone
from .wire import Connection, RefusedError, refused, wire_error

if TYPE_CHECKING:
    from .remote import Remote

BYTES_PER_SECOND = 256 << 10
"""The slowest transfer that is not taken for one that hangs."""


class Upload:
    """A stream of unknown length on its way to a new file. `finish` it; otherwise `abandon` leaves nothing."""

    def __init__(self, remote: Remote, folder: str, name: str, config: dict[str, Any]) -> None:
        self._remote = remote
        self._path = folder + name
        self._connections = remote.connections(self._path)
        self._connection: Connection = self._connections.take()
        self._boundary = os.urandom(16).hex()
        query = urllib.parse.urlencode(
            {
                "fs": remote.fs,
                "remote": to_rclone(folder),
                "_config": msgspec.json.encode(config).decode("ascii"),
            }
        )
        leaf = urllib.parse.quote(to_rclone(name), safe="")
        with self._errors():
            connection = self._connection
            connection.limit(remote.timeout_seconds)
            connection.putrequest("POST", f"/operations/uploadfile?{query}")
            for header, value in self._connections.headers(
                Content_Type=f"multipart/form-data; boundary={self._boundary}", Transfer_Encoding="chunked"
            ).items():
                connection.putheader(header, value)
            connection.endheaders()
            self._send(
                f'--{self._boundary}\r\nContent-Disposition: form-data; name="file"; '
                f"filename*=UTF-8''{leaf}\r\nContent-Type: application/octet-stream\r\n\r\n".encode("ascii")
            )

    def write(self, chunk: bytes | bytearray | memoryview) -> None:
        if len(chunk):
            with self._errors():
                self._send(chunk)

    def finish(self, size_bytes: int) -> None:
        """Say that this was all, and wait until the storage has it."""
        seconds = self._remote.timeout_seconds + size_bytes / BYTES_PER_SECOND
        with self._errors():
            self._connection.limit(seconds)
            self._send(f"\r\n--{self._boundary}--\r\n".encode("ascii"))
            self._connection.send(b"0\r\n\r\n")
            with self._connection.getresponse() as response:
                body = response.read()
        self._connections.give_back(self._connection)
        if response.status != 200:
            raise self._remote.classified(refused(body, response.status), self._path, "write")

    def abandon(self) -> None:
        """Break off: the daemon removes what it has of the file."""
        self._connection.close()

    def _send(self, chunk: bytes | bytearray | memoryview) -> None:
        self._connection.send(b"%x\r\n" % len(chunk))
        self._connection.send(chunk)
        self._connection.send(b"\r\n")

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            told = self._refusal()
            self._connection.close()
            if told is not None:
                raise self._remote.classified(told, self._path, "write") from error
            raise self._remote.failed(
                wire_error(error, "uploadfile", self._remote.timeout_seconds), self._path
            ) from error
        except BaseException:
            self._connection.close()
            raise

    def _refusal(self) -> RefusedError | None:
        """What the daemon said before it stopped listening: a full disk is told in the middle of a stream."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self._connection.limit(1.0)
            with self._connection.getresponse() as response:
                return refused(response.read(), response.status)
        return None
