"""One HTTP endpoint, asked by clients that speak a service's REST interface themselves.

Nothing but the configured host is ever spoken to: no proxy is taken from the environment, no redirect is followed,
nothing is tried again. Safe for several threads. Every wait for the network ends after the timeout.
"""

from __future__ import annotations

import functools
import io
import ssl
import urllib.parse
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.protocol import Buffer

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, HTTPConnectionPool

CHUNK_BYTES = 1 << 20
LARGEST_ANSWER_BYTES = 64 << 20
"""Of an answer that is no object's content: a listing's page is far shorter."""
CONNECT_SECONDS = 10.0
CONNECTIONS = 16
"""Connections kept open by one client; more threads open more, which are closed after use."""


class Refusal:
    """What a service answers beside success: the status, the service's own code and words."""

    __slots__ = ("code", "headers", "message", "status")

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str]) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers

    def error(self, key: str) -> EntryError:
        """The classified error for statuses that mean the same in every service."""
        said = " ".join(part for part in (str(self.status), self.code, self.message[:300]) if part)
        entry_code, disposition = _MEANINGS.get(self.status, (EntryCode.IO_ERROR, Disposition.SKIP))
        if self.status >= 500 and self.status not in _MEANINGS:
            entry_code, disposition = EntryCode.UNAVAILABLE, Disposition.RETRY
        return EntryError(
            entry_code,
            key,
            f"the service answered {said}",
            disposition=disposition,
            retry_after_seconds=_retry_after(self.headers),
        )


_MEANINGS = {
    401: (EntryCode.PERMISSION_DENIED, Disposition.SKIP),
    403: (EntryCode.PERMISSION_DENIED, Disposition.SKIP),
    404: (EntryCode.NOT_FOUND, Disposition.SKIP),
    408: (EntryCode.TIMEOUT, Disposition.RETRY),
    429: (EntryCode.UNAVAILABLE, Disposition.RETRY),
    507: (EntryCode.NO_SPACE, Disposition.ABORT),
}


class Rest:
    """An endpoint such as `https://account.blob.core.windows.net` or `http://127.0.0.1:10000/account`."""

    def __init__(self, url: str, *, timeout_seconds: float, ca_file: str | None = None) -> None:
        """`ca_file`: certificates (PEM) that are trusted in place of the system's."""
        import urllib3

        parts = urllib.parse.urlsplit(url)
        if parts.hostname is None or parts.scheme not in ("http", "https"):
            raise ValueError(f"{url!r} is no http or https address")
        self.base_path = parts.path.rstrip("/")
        self.host = parts.hostname
        self.address = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        timeout = urllib3.Timeout(connect=min(CONNECT_SECONDS, timeout_seconds), read=timeout_seconds)
        self._timeout_seconds = timeout_seconds
        self._pool: HTTPConnectionPool
        if parts.scheme == "https":
            self._pool = urllib3.HTTPSConnectionPool(
                parts.hostname,
                parts.port,
                timeout=timeout,
                maxsize=CONNECTIONS,
                retries=False,
                ssl_context=_context(ca_file),
            )
        else:
            self._pool = urllib3.HTTPConnectionPool(
                parts.hostname, parts.port, timeout=timeout, maxsize=CONNECTIONS, retries=False
            )

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: Buffer | None = None,
        *,
        key: str = "",
        stream: bool = False,
    ) -> BaseHTTPResponse:
        """The answer, whatever its status; `stream`: its body is still to be read (see `Body`).

        `target` is the path and query exactly as they go over the wire. Raises EntryError(UNAVAILABLE or TIMEOUT)
        for `key` when no whole answer came.
        """
        try:
            response = self._pool.urlopen(
                method,
                target,
                body=body,  # type: ignore[arg-type]  # any buffer is taken, see urllib3.util.request
                headers=headers,
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
            return response if stream else self._whole(response, method, key)
        except Exception as error:
            raise self.connection_error(error, key) from error

    def _whole(self, response: BaseHTTPResponse, method: str, key: str) -> BaseHTTPResponse:
        """The same answer with its body read, which is never as long as a peer likes."""
        from urllib3 import HTTPResponse

        body = bytearray()
        try:
            for chunk in response.stream(CHUNK_BYTES, decode_content=False):
                body += chunk
                if len(body) > LARGEST_ANSWER_BYTES:
                    raise EntryError(
                        EntryCode.IO_ERROR,
                        key,
                        f"{self.address} sent more than {LARGEST_ANSWER_BYTES >> 20} MiB where a short answer belongs",
                    )
        except BaseException:
            response.close()
            raise
        response.release_conn()
        return HTTPResponse(
            body=io.BytesIO(body),
            headers=response.headers,
            status=response.status,
            reason=response.reason,
            preload_content=False,
            decode_content=False,
            request_method=method,
        )

    def connection_error(self, error: Exception, key: str) -> EntryError:
        """The classified error for one of urllib3's; anything else is passed on unchanged."""
        from urllib3 import exceptions

        # A refused connection is one of urllib3's timeouts too.
        refused = isinstance(error, exceptions.NewConnectionError)
        if isinstance(error, exceptions.TimeoutError | TimeoutError) and not refused:
            return EntryError(
                EntryCode.TIMEOUT, key, f"{self.address} did not answer within {self._timeout_seconds:g} s"
            )
        if isinstance(error, exceptions.SSLError | ssl.SSLError):
            said = f"{self.address}: the TLS connection was refused ({error}); is ca_file the right one?"
        elif refused:
            said = f"{self.address} cannot be reached: {str(error).rpartition(': ')[2]}"
        elif isinstance(error, exceptions.HTTPError | OSError):
            said = f"the connection to {self.address} was lost: {error}"
        else:
            raise error
        return EntryError(EntryCode.UNAVAILABLE, key, said, disposition=Disposition.RETRY)

    def close(self) -> None:
        self._pool.close()


class Body:
    """The body of a streamed answer: exactly `size_bytes`, or an error."""

    def __init__(self, rest: Rest, response: BaseHTTPResponse, key: str, size_bytes: int) -> None:
        self._rest = rest
        self._response = response
        self._key = key
        self._size = size_bytes

    def __iter__(self) -> Iterator[bytes]:
        left = self._size
        while left > 0:
            try:
                chunk = self._response.read(min(CHUNK_BYTES, left), decode_content=False)
            except Exception as error:
                raise self._rest.connection_error(error, self._key) from error
            if not chunk:
                raise EntryError(
                    EntryCode.UNAVAILABLE,
                    self._key,
                    f"{self._rest.address} ended the content {left} bytes early",
                    disposition=Disposition.RETRY,
                )
            left -= len(chunk)
            yield chunk

    def close(self) -> None:
        """Give the connection back when all was read; otherwise it is of no more use."""
        try:
            if self._response.length_remaining == 0:
                self._response.read()
                self._response.release_conn()
        finally:
            self._response.close()


@functools.lru_cache(maxsize=8)
def _context(ca_file: str | None) -> ssl.SSLContext:
    """One for all connections: making one reads the system's certificates. Thread-safe once made."""
    return ssl.create_default_context(cafile=ca_file)


def date_ns(text: str | None) -> int | None:
    """An HTTP date as nanoseconds since 1970; None when it is missing or none."""
    if not text:
        return None
    try:
        return int(parsedate_to_datetime(text).timestamp()) * 1_000_000_000
    except (ValueError, TypeError, OverflowError):
        return None


def quoted(text: str, safe: str = "") -> str:
    """Percent-encoded UTF-8, everything but unreserved characters and `safe`."""
    return urllib.parse.quote(text, safe=safe)


def query(parameters: Mapping[str, str]) -> str:
    """`?a=b&c=d`, or nothing; blanks as %20, which every service reads alike."""
    if not parameters:
        return ""
    return "?" + urllib.parse.urlencode(parameters, quote_via=urllib.parse.quote)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds asked for; a date in their place is not used: it would need the clock."""
    text = headers.get("retry-after")
    if text is None or not text.strip().isdigit():
        return None
    return float(text)
