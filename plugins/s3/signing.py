"""AWS Signature Version 4 for S3 (Amazon S3 API reference, "Authenticating requests: Authorization header")."""

from __future__ import annotations

import functools
import hashlib
import hmac
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from urllib.parse import quote_from_bytes

from runner.clock import Clock
from runner.locations.protocol import Buffer
from runner.model.entry import path_bytes

from .credentials import Keys

UNSIGNED = "UNSIGNED-PAYLOAD"
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()


@functools.lru_cache(maxsize=512)
def _quoted(text: str) -> str:
    return quote_from_bytes(path_bytes(text), safe="~")


def quote_key(key: str) -> str:
    """A key as it stands in a request line: every byte but RFC 3986's unreserved and `/` is escaped."""
    return quote_from_bytes(path_bytes(key), safe="/~")


def query_string(parameters: Iterable[tuple[str, str]]) -> str:
    """Parameters sorted and escaped as the signature wants them; `=` also where there is no value."""
    return "&".join(
        sorted(
            f"{_quoted(name)}={quote_from_bytes(path_bytes(value), safe='~')}" for name, value in parameters
        )
    )


class Signer:
    """Adds the headers that prove who asks. Thread-safe: keeps one derived key a day."""

    def __init__(self, region: str, clock: Clock) -> None:
        self._region = region
        self._clock = clock
        self._lock = threading.Lock()
        self._derived: tuple[tuple[str, str], bytes] | None = None
        self._second: tuple[int, str] = (0, "")

    def sign(
        self,
        method: str,
        path: str,
        query: str,
        headers: dict[str, str],
        keys: Keys | None,
        body: Buffer | None,
        *,
        hash_body: bool,
    ) -> None:
        """Complete `headers`, which hold `host` and all that is to be signed, names in lower case.

        `hash_body` False: the body is left to TLS, and to Content-MD5. `keys` None: an anonymous request.
        """
        if keys is None:
            return
        stamp = self._stamp()
        if body is None or len(body) == 0:
            payload = EMPTY_SHA256
        elif hash_body:
            payload = hashlib.sha256(body).hexdigest()
        else:
            payload = UNSIGNED
        headers["x-amz-content-sha256"] = payload
        headers["x-amz-date"] = stamp
        if keys.session_token is not None:
            headers["x-amz-security-token"] = keys.session_token
        names = sorted(headers)
        signed = ";".join(names)
        canonical = "\n".join(
            [method, path, query, *[f"{name}:{headers[name]}" for name in names], "", signed, payload]
        )
        day = stamp[:8]
        scope = f"{day}/{self._region}/s3/aws4_request"
        text = (
            f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode('latin-1')).hexdigest()}"
        )
        signature = hmac.digest(self._key(keys, day), text.encode("ascii"), "sha256").hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={keys.access_key_id}/{scope},SignedHeaders={signed},Signature={signature}"
        )

    def _stamp(self) -> str:
        seconds = int(self._clock.now().timestamp())
        known, stamp = self._second
        if known != seconds:
            stamp = datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")
            self._second = (seconds, stamp)
        return stamp

    def _key(self, keys: Keys, day: str) -> bytes:
        derived = self._derived
        if derived is not None and derived[0] == (keys.secret_access_key, day):
            return derived[1]
        key = f"AWS4{keys.secret_access_key}".encode()
        for part in (day, self._region, "s3", "aws4_request"):
            key = hmac.digest(key, part.encode("utf-8"), "sha256")
        self._derived = ((keys.secret_access_key, day), key)
        return key
