"""One request to one bucket: signed, sent, and its refusal classified."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from runner.clock import Clock
from runner.locations.protocol import Buffer

from . import replies
from .credentials import KeySource
from .faults import lost, refusal
from .options import S3Options
from .signing import Signer, query_string, quote_key
from .wire import Reply, Wire, WireError

_SUCCESS = frozenset({200, 204, 206})


class Requests:
    """Thread-safe; each request has a connection to itself."""

    def __init__(
        self, options: S3Options, keys: KeySource, context: ssl.SSLContext | None, clock: Clock
    ) -> None:
        self.keys = keys
        self._address = options.address
        self._wire = Wire(
            self._address,
            context,
            connect_seconds=options.connect_timeout_seconds,
            timeout_seconds=options.timeout_seconds,
        )
        self._signer = Signer(options.signing_region, clock)
        self._base = quote_key(options.base_path)
        self._common: dict[str, str] = {"host": self._address.authority, "user-agent": "sync-runner"}
        if options.requester_pays:
            self._common["x-amz-request-payer"] = "requester"
        if options.expected_bucket_owner is not None:
            self._common["x-amz-expected-bucket-owner"] = options.expected_bucket_owner

    def request(
        self,
        method: str,
        key: str | None,
        doing: str,
        parameters: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
        body: Buffer | None = None,
    ) -> Reply:
        """Send one request; a reply of success, its body unread. `key` None: the bucket itself.

        Raises EntryError and ConditionFailedError.
        """
        path = self._base + quote_key(key) if key is not None else self._base.removesuffix("/") or "/"
        query = query_string(parameters) if parameters else ""
        sent = {**self._common, **headers} if headers else self._common.copy()
        self._signer.sign(method, path, query, sent, self.keys(), body, hash_body=not self._address.tls)
        try:
            reply = self._wire.exchange(method, f"{path}?{query}" if query else path, sent, body)
            if reply.status in _SUCCESS:
                return reply
            code, text = replies.error_of(reply.body(1 << 20))
        except WireError as error:
            raise lost(error, key or "", doing) from error
        raise refusal(reply.status, code, text, reply.headers, key or "", doing)

    def call(
        self,
        method: str,
        key: str | None,
        doing: str,
        parameters: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
        body: Buffer | None = None,
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of a successful reply."""
        reply = self.request(method, key, doing, parameters, headers, body)
        try:
            return reply.headers, reply.body()
        except WireError as error:
            raise lost(error, key or "", doing) from error

    def document(
        self,
        method: str,
        key: str | None,
        doing: str,
        parameters: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
        body: Buffer | None = None,
    ) -> tuple[dict[str, str], bytes]:
        """As `call`, for replies that S3 begins before it knows how they end: 200 with an error inside."""
        reply_headers, document = self.call(method, key, doing, parameters, headers, body)
        code, text = replies.error_of(document)
        if code:
            status = 412 if code == "PreconditionFailed" else 500
            raise refusal(status, code, text, reply_headers, key or "", doing)
        return reply_headers, document

    def close(self) -> None:
        self._wire.close()
