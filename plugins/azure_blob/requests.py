"""Signed requests for one container, and what their answers mean."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import format_datetime
from typing import TYPE_CHECKING

from runner.clock import Clock
from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Buffer

from ..objects.client import Condition, ConditionFailedError
from ..objects.rest import Rest, query, quoted
from . import answers
from .naming import require_name
from .signing import VERSION, Signing

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse


class Requests:
    """Asks for blobs of one container. Safe for several threads."""

    def __init__(self, rest: Rest, signing: Signing, container: str, clock: Clock) -> None:
        self.rest = rest
        self.container = container
        self._signing = signing
        self._clock = clock
        self._root = f"{rest.base_path}/{quoted(container)}"

    @property
    def service(self) -> str:
        """The account's address."""
        return self.rest.address + self.rest.base_path

    def ask(
        self,
        method: str,
        key: str,
        parameters: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Buffer | None = None,
        *,
        expected: tuple[int, ...] = (200,),
        stream: bool = False,
    ) -> BaseHTTPResponse:
        """The answer to a request for a blob, or for the container when `key` is empty.

        Raises ConditionFailedError, or the classified EntryError for any status that is not `expected`.
        """
        path = self._root
        if key:
            require_name(key, writing=method == "PUT")
            path = f"{path}/{quoted(key, '/')}"
        asked = dict(parameters or {})
        sent = {
            **(headers or {}),
            "accept-encoding": "identity",
            "x-ms-date": format_datetime(self._clock.now(), usegmt=True),
            "x-ms-version": VERSION,
        }
        if method == "PUT":
            sent["content-length"] = "0" if body is None else str(memoryview(body).nbytes)
        self._signing.sign(method, path, asked, sent)
        response = self.rest.ask(method, path + query(asked), sent, body, key=key, stream=stream)
        if response.status in expected:
            return response
        raise self._refused(response, key)

    def _refused(self, response: BaseHTTPResponse, key: str) -> Exception:
        try:
            body = response.data
        except Exception as error:
            return self.rest.connection_error(error, key)
        finally:
            response.close()
        refused = answers.refusal(response.status, response.headers, body)
        if refused.code in answers.CONDITION_CODES or (
            refused.status in (304, 412) and not answers.is_lease(refused)
        ):
            return ConditionFailedError(key)
        return answers.failure(refused, key)

    def source_address(self, key: str) -> tuple[str, Mapping[str, str]]:
        """An address from which the service itself may read a blob, and the headers that allow it."""
        parameters, headers = self._signing.read_access(self.container, key)
        return f"{self.rest.address}{self._root}/{quoted(key, '/')}{query(parameters)}", headers


def if_match(etag: str | None) -> dict[str, str]:
    return {} if etag is None else {"if-match": f'"{etag}"'}


def conditions(condition: Condition) -> dict[str, str]:
    return {"if-none-match": "*"} if condition.absent else if_match(condition.etag)


def etag_of(response: BaseHTTPResponse) -> str | None:
    """The ETag without its quotes."""
    return (response.headers.get("etag") or "").strip('"') or None


def length_of(response: BaseHTTPResponse, key: str) -> int:
    """Content-Length, without which nothing can be trusted to be whole."""
    text = response.headers.get("content-length")
    if text is None or not text.isdigit():
        response.close()
        raise EntryError(EntryCode.IO_ERROR, key, "the service does not tell the length of the content")
    return int(text)
