"""Resumable uploads: one session an object, its content sent in order, its CRC32C sent with the last request.

The address of a session lets anyone who knows it write that object: it stays in this process's memory and is never
told, so an upload does not outlive its client. Google drops a session a week after it began.
"""

from __future__ import annotations

import base64
import secrets
import threading
from typing import TYPE_CHECKING

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.protocol import Buffer

from ..objects.client import Condition
from .requests import Requests

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

ALIGNMENT = 256 << 10
"""Every request of a session but the last carries a multiple of this."""

MAX_RESENDS = 8


class Session:
    """One upload. Its parts have to come in order, one after another."""

    def __init__(
        self, requests: Requests, target: str, key: str, condition: Condition, *, tells_state: bool = True
    ) -> None:
        """`condition` is the one the service was told when the session began. `tells_state`: the service can be
        asked what it holds; fake-gcs-server takes that question for the end of the upload."""
        self._tells_state = tells_state
        self.condition = condition
        self._requests = requests
        self._target = target
        self._key = key
        self._sent = 0
        self._tail = b""
        self._crc = 0
        self._next = 1
        self._doubtful = False
        self._part_begins = 0

    def add(self, number: int, body: Buffer) -> None:
        """Send the next part, but what does not fill a unit of ALIGNMENT: that waits for the next.

        After an error the same part may be sent again: what the service holds of it by then is asked for first.
        """
        import google_crc32c

        if number != self._next:
            message = f"part {number} came where {self._next} was due: Google Cloud Storage takes parts in order only"
            raise EntryError(EntryCode.INTERNAL, self._key, message)
        content = self._tail + bytes(body) if self._tail else bytes(body)
        whole = len(content) - len(content) % ALIGNMENT
        if whole:
            sendable = memoryview(content)[:whole]
            if self._doubtful:
                sendable = sendable[self._missed(whole) :]
            else:
                self._part_begins = self._sent
            self._doubtful = True
            self._send(sendable)
            self._doubtful = False
        self._crc = google_crc32c.extend(self._crc, bytes(body))
        self._tail = content[whole:]
        self._next += 1

    def _missed(self, whole: int) -> int:
        """How much of what is to be sent the service holds already, though its answer never came."""
        if not self._tells_state:
            message = "an answer to a part of an upload was lost; the upload has to begin anew"
            raise EntryError(EntryCode.UNAVAILABLE, self._key, message, disposition=Disposition.RETRY)
        response = self._requests.ask_target(
            "PUT", self._target, {"content-range": "bytes */*"}, b"", key=self._key, expected=(308,)
        )
        begun, held = self._part_begins, self._held(response)
        if not begun <= held <= begun + whole:
            message = f"the service holds {held} bytes of an upload that had {begun} before this part"
            raise EntryError(EntryCode.IO_ERROR, self._key, message, disposition=Disposition.RETRY)
        self._sent = held
        return held - begun

    def _send(self, content: memoryview) -> None:
        """Send until the service holds all of it; it may keep less of a request than was sent."""
        if not content:
            return
        end = self._sent + len(content)
        for _ in range(MAX_RESENDS):
            span = f"bytes {self._sent}-{end - 1}/*"
            held = self._held(
                self._requests.ask_target(
                    "PUT", self._target, {"content-range": span}, content, key=self._key, expected=(308,)
                )
            )
            if not self._sent <= held <= end:
                break
            content = content[held - self._sent :]
            self._sent = held
            if held == end:
                return
        message = "the service does not keep what it is sent"
        raise EntryError(EntryCode.IO_ERROR, self._key, message, disposition=Disposition.RETRY)

    def _held(self, response: BaseHTTPResponse) -> int:
        """How many bytes the service holds."""
        first, dash, last = (response.headers.get("range") or "").removeprefix("bytes=").partition("-")
        return int(last) + 1 if dash and first == "0" and last.isdigit() else 0

    def finish(self) -> tuple[BaseHTTPResponse, str]:
        """The answer that describes the new object, and the CRC32C (base64) of what was sent."""
        total = self._sent + len(self._tail)
        span = f"bytes {self._sent}-{total - 1}/{total}" if self._tail else f"bytes */{total}"
        crc = encoded_crc(self._crc)
        response = self._requests.ask_target(
            "PUT",
            self._target,
            {"content-range": span, "x-goog-hash": f"crc32c={crc}"},
            self._tail,
            key=self._key,
            expected=(200, 201),
        )
        return response, crc

    def cancel(self) -> None:
        """Harmless when it is over."""
        self._requests.ask_target("DELETE", self._target, key=self._key, expected=(204, 404, 410, 499))


class Sessions:
    """The sessions of one client, by the ids that stand for them. Safe for several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, Session] = {}

    def add(self, session: Session) -> str:
        name = secrets.token_hex(8)
        with self._lock:
            self._open[name] = session
        return name

    def get(self, name: str, key: str) -> Session:
        """Raises NOT_FOUND for an upload of another client."""
        with self._lock:
            session = self._open.get(name)
        if session is None:
            raise EntryError(
                EntryCode.NOT_FOUND, key, "this upload was begun elsewhere and cannot be resumed"
            )
        return session

    def take(self, name: str) -> Session | None:
        with self._lock:
            return self._open.pop(name, None)


def encoded_crc(crc: int) -> str:
    """CRC32C as the API writes it: base64 of four bytes, the highest first."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode("ascii")
