"""Authorised requests for one bucket over the JSON API, and what their answers mean."""

from __future__ import annotations

import urllib.parse
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.protocol import Buffer

from ..objects.client import Condition, ConditionFailedError
from ..objects.rest import LARGEST_ANSWER_BYTES, Refusal, Rest, query, quoted
from .naming import require_name
from .resources import ERROR, generations

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

_T = TypeVar("_T")
Token = Callable[[], str | None]
"""A bearer token that is valid now; None: requests are anonymous. Safe for several threads."""

JSON = {"content-type": "application/json; charset=UTF-8"}
_SLOW_REASONS = frozenset({"rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"})


class Requests:
    """Asks for objects of one bucket. Safe for several threads."""

    def __init__(
        self, rest: Rest, token: Token, bucket: str, *, identity: str = "", user_project: str | None = None
    ) -> None:
        """`identity`: whose tokens these are. `user_project` pays for the requests (requester pays)."""
        self.rest = rest
        self.identity = identity
        self.bucket = bucket
        self._token = token
        self._always = {} if user_project is None else {"userProject": user_project}
        self.bucket_path = f"/storage/v1/b/{quoted(bucket)}"
        self.objects_path = f"{self.bucket_path}/o"
        self.upload_path = f"/upload/storage/v1/b/{quoted(bucket)}/o"

    def object_path(self, key: str) -> str:
        """Raises EntryError(NAME_NOT_ALLOWED) for a key that cannot be asked for."""
        require_name(key)
        return f"{self.objects_path}/{quoted(key)}"

    def ask(
        self,
        method: str,
        path: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Buffer | None = None,
        *,
        key: str = "",
        expected: tuple[int, ...] = (200,),
        stream: bool = False,
    ) -> BaseHTTPResponse:
        """The answer. Raises ConditionFailedError, or the classified EntryError for a status not `expected`."""
        target = self.rest.base_path + path + query({**(parameters or {}), **self._always})
        return self.ask_target(method, target, headers, body, key=key, expected=expected, stream=stream)

    def ask_target(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: Buffer | None = None,
        *,
        key: str = "",
        expected: tuple[int, ...] = (200,),
        stream: bool = False,
    ) -> BaseHTTPResponse:
        """As `ask`, for the path and query of an upload's session."""
        # Without gzip the service unpacks objects that are stored with Content-Encoding: gzip.
        sent = {**(headers or {}), "accept-encoding": "gzip"}
        token = self._token()
        if token is not None:
            sent["authorization"] = f"Bearer {token}"
        if method in ("PUT", "POST", "PATCH"):
            sent["content-length"] = "0" if body is None else str(memoryview(body).nbytes)
        response = self.rest.ask(method, target, sent, body, key=key, stream=stream)
        if response.status in expected:
            return response
        raise self._refused(response, key)

    def _refused(self, response: BaseHTTPResponse, key: str) -> Exception:
        try:
            body = plain(response)
        except Exception as error:
            return self.rest.connection_error(error, key)
        finally:
            response.close()
        if response.status in (304, 412):
            return ConditionFailedError(key)
        return failure(refusal(response.status, response.headers, body), key)

    def decoded(self, response: BaseHTTPResponse, decoder: msgspec.json.Decoder[_T], key: str = "") -> _T:
        """The JSON of an answer."""
        try:
            return decoder.decode(plain(response))
        except (msgspec.DecodeError, RecursionError, OSError, EOFError, ValueError) as error:
            message = f"the answer of {self.rest.address} cannot be understood: {error}"
            raise EntryError(EntryCode.IO_ERROR, key, message) from error

    def session_target(self, location: str | None, key: str) -> str:
        """Path and query of an upload's session, which has to be at the endpoint itself."""
        parts = urllib.parse.urlsplit(location or "")
        if not parts.path or f"{parts.scheme}://{parts.netloc}" != self.rest.address:
            raise EntryError(
                EntryCode.IO_ERROR, key, "the upload was sent to another address; it is not followed"
            )
        return f"{parts.path}?{parts.query}"


def plain(response: BaseHTTPResponse) -> bytes:
    """The body of an answer that is no object's content, unpacked."""
    if response.headers.get("content-encoding") == "gzip":
        import gzip
        import io

        # A little of gzip may be a great deal of text.
        text = gzip.GzipFile(fileobj=io.BytesIO(response.data)).read(LARGEST_ANSWER_BYTES + 1)
        if len(text) > LARGEST_ANSWER_BYTES:
            raise ValueError(f"it is longer than {LARGEST_ANSWER_BYTES >> 20} MiB")
        return text
    return response.data


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """An answer that is no success, with the service's own words where it has some."""
    message, reason = "", ""
    try:
        error = ERROR.decode(body).error
    except (msgspec.DecodeError, RecursionError):
        message = body[:200].decode("utf-8", "replace").strip()
    else:
        message = error if isinstance(error, str) else error.message
        if not isinstance(error, str) and error.errors:
            reason = error.errors[0].reason
    return Refusal(status, reason, message, headers)


def failure(refused: Refusal, key: str) -> EntryError:
    general = refused.error(key)
    code, disposition = general.entry_code, general.disposition
    if refused.status == 403 and refused.code in _SLOW_REASONS:
        code, disposition = EntryCode.UNAVAILABLE, Disposition.RETRY
    elif refused.status == 403 and refused.code in ("retentionPolicyNotMet", "objectUnderActiveHold"):
        code, disposition = EntryCode.LOCKED, Disposition.SKIP
    elif refused.status == 400 and "checksum" in refused.message.lower():
        code, disposition = EntryCode.CHECKSUM_FAILURE, Disposition.RETRY
    elif refused.status == 410:
        # The session of an upload that is over.
        code, disposition = EntryCode.UNAVAILABLE, Disposition.RETRY
    return EntryError(
        code,
        key,
        general.message,
        disposition=disposition,
        retry_after_seconds=general.retry_after_seconds,
    )


def matching(etag: str | None, prefix: str = "if") -> dict[str, str]:
    """Parameters of a condition; `prefix` ifSource for the source of a copy."""
    if etag is None:
        return {}
    generation, metageneration = generations(etag)
    return {f"{prefix}GenerationMatch": generation, f"{prefix}MetagenerationMatch": metageneration}


def conditions(condition: Condition) -> dict[str, str]:
    return {"ifGenerationMatch": "0"} if condition.absent else matching(condition.etag)


def encoded(resource: Mapping[str, Any]) -> bytes:
    return msgspec.json.encode(resource)
