"""HTTP as WebHDFS uses it: the active NameNode found, redirects taken only as it gives them, errors read.

https://hadoop.apache.org/docs/stable/hadoop-project-dist/hadoop-hdfs/WebHDFS.html
"""

from __future__ import annotations

import email.utils
import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

from runner.errors import EntryCode, LocationUnavailableError
from runner.locations.protocol import Buffer

from .address import Authentication, HdfsOptions
from .faults import RemoteFault, fault_of, timed_out, unreachable
from .negotiate import negotiate_header

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

PREFIX = "/webhdfs/v1"
_LARGEST_ANSWER = 64 << 20
_STANDBY = ("StandbyException", "ObserverRetryOnActiveException")


class NameNodes:
    """Requests to whichever NameNode is active, and to the DataNodes it names. For one thread at a time."""

    def __init__(self, options: HdfsOptions) -> None:
        self._options = options
        self._scheme = "https" if options.https else "http"
        self._pool: PoolManager | None = None
        self._active = 0
        # The NameNode's own session, so that not every request needs a ticket. Never sent anywhere else.
        self._cookies: dict[str, str] = {}

    def close(self) -> None:
        if self._pool is not None:
            self._pool.clear()
            self._pool = None

    def call(self, method: str, operation: str, path: str, **parameters: str) -> dict[str, Any]:
        """The JSON object that a NameNode answers with, {} when it answers nothing."""
        response, _ = self._ask(method, operation, path, parameters)
        return parse_object(read_all(response))

    def redirect(self, method: str, operation: str, path: str, **parameters: str) -> str:
        """The address at a DataNode that the NameNode gives for an operation on content."""
        response, _ = self._ask(method, operation, path, parameters, expect=307)
        read_all(response)
        return self._followable(response.headers.get("Location", ""), path)

    def at_datanode(
        self, method: str, address: str, body: Iterable[Buffer] | None = None
    ) -> BaseHTTPResponse:
        """Send a request to an address that `redirect` gave. Carries no cookie and no ticket of ours: what the
        DataNode needs, the NameNode has put into the address."""
        response = self._send(method, address, {"Content-Type": "application/octet-stream"}, body)
        if response.status not in (200, 201):
            raise fault_in(response, f"DataNode {urlsplit(address).hostname}")
        return response

    def clock_ns(self) -> int:
        """The NameNode's time, in whole seconds as HTTP tells it."""
        response, _ = self._ask("GET", "GETFILESTATUS", "/", {})
        read_all(response)
        for value in reversed(response.headers.getlist("Date")):
            for date in reversed(value.split(" GMT")):
                if date.strip(" ,"):
                    moment = email.utils.parsedate_to_datetime(date.strip(" ,") + " GMT")
                    return int(moment.timestamp()) * 1_000_000_000
        raise RemoteFault(EntryCode.IO_ERROR, f"{self._options.cluster} does not tell its time")

    def about(self) -> dict[str, str]:
        """What the NameNode says of its cluster; {} where it does not say (its status pages are closed)."""
        query = urlencode({"qry": "Hadoop:service=NameNode,name=NameNodeInfo"})
        url = f"{self._scheme}://{self._options.namenodes[self._active]}/jmx?{query}"
        response = self._send("GET", url, self._credentials(url))
        body = read_all(response)
        if response.status != 200:
            return {}
        beans = parse_object(body).get("beans")
        first = beans[0] if isinstance(beans, list) and beans and isinstance(beans[0], dict) else {}
        names = {"ClusterId": "cluster", "BlockPoolId": "block pool"}
        return {names[key]: first[key] for key in names if isinstance(first.get(key), str)}

    # -- requests --------------------------------------------------------------------------------------------

    def _ask(
        self, method: str, operation: str, path: str, parameters: Mapping[str, str], expect: int = 200
    ) -> tuple[BaseHTTPResponse, int]:
        """The answer of the active NameNode. One that is a standby, or cannot be connected to at all, is passed
        over; what may have been heard is not sent again."""
        count = len(self._options.namenodes)
        for turn in range(count):
            number = (self._active + turn) % count
            last = turn == count - 1
            url = self._url(number, operation, path, parameters)
            try:
                response = self._authenticated(method, url)
            except _Unconnected:
                if last:
                    raise
                continue
            if response.status == expect:
                self._active = number
                self._remember(url, response)
                return response, number
            fault = fault_in(response, self._options.namenodes[number])
            if last or not any(name in fault.message for name in _STANDBY):
                raise fault
        raise AssertionError("no NameNode is declared")

    def _authenticated(self, method: str, url: str) -> BaseHTTPResponse:
        """A request with our credentials; with a new ticket when the session has ended, which did nothing yet."""
        response = self._send(method, url, self._credentials(url))
        if response.status == 401 and self._cookies.pop(urlsplit(url).netloc, None) is not None:
            read_all(response)
            response = self._send(method, url, self._credentials(url))
        return response

    def _url(self, number: int, operation: str, path: str, parameters: Mapping[str, str]) -> str:
        query = {"op": operation, **parameters}
        options = self._options
        if options.authentication is Authentication.SIMPLE and options.user is not None:
            query["user.name"] = options.user
        elif options.delegation_token is not None:
            query["delegation"] = options.delegation_token.reveal()
        place = quote(PREFIX + path, safe="/")
        return f"{self._scheme}://{options.namenodes[number]}{place}?{urlencode(query)}"

    def _credentials(self, url: str) -> dict[str, str]:
        if self._options.authentication is not Authentication.KERBEROS:
            return {}
        host = urlsplit(url).netloc
        if host in self._cookies:
            return {"Cookie": self._cookies[host]}
        return {"Authorization": negotiate_header(self._options, urlsplit(url).hostname or "")}

    def _remember(self, url: str, response: BaseHTTPResponse) -> None:
        if self._options.authentication is not Authentication.KERBEROS:
            return
        for value in response.headers.getlist("Set-Cookie"):
            if value.startswith("hadoop.auth="):
                self._cookies[urlsplit(url).netloc] = value.partition(";")[0]

    def _followable(self, location: str, path: str) -> str:
        """The redirect's address, provided it leads to WebHDFS over the same scheme.

        The path is put in anew: Java's URI gives it back in Unicode's composed form, which is another file's name.
        """
        parts = urlsplit(location)
        is_webhdfs = parts.path.startswith(PREFIX + "/")
        if parts.scheme != self._scheme or not parts.hostname or "@" in parts.netloc or not is_webhdfs:
            raise RemoteFault(
                EntryCode.IO_ERROR,
                f"{self._options.cluster} redirects to {parts.scheme}://{parts.hostname}, which is no DataNode's "
                f"{self._scheme} address; it is not followed",
            )
        return parts._replace(path=quote(PREFIX + path, safe="/"), fragment="").geturl()

    def _send(
        self, method: str, url: str, headers: Mapping[str, str], body: Iterable[Buffer] | None = None
    ) -> BaseHTTPResponse:
        """One request, no redirects, no retries; the answer's body is still to be read."""
        from urllib3 import exceptions

        place = urlsplit(url).netloc.rpartition("@")[2]
        try:
            return self._pooled().request(
                method,
                url,
                headers={"Accept": "*/*", **headers},
                body=body,  # type: ignore[arg-type]  # any buffer can be sent
                redirect=False,
                retries=False,
                preload_content=False,
                decode_content=False,
            )
        except (exceptions.ConnectTimeoutError, exceptions.NewConnectionError) as error:
            raise _Unconnected(place, not isinstance(error, exceptions.NewConnectionError)) from error
        except exceptions.TimeoutError as error:
            raise timed_out(f"{place}: no answer within {self._options.timeout_seconds:g} s") from error
        except exceptions.HTTPError as error:
            # Only the class: messages of urllib3 hold the address, and with it a delegation token.
            raise unreachable(f"{place}: {_reason(error)}") from error

    def _pooled(self) -> PoolManager:
        if self._pool is None:
            import urllib3

            options = self._options
            try:
                self._pool = urllib3.PoolManager(
                    num_pools=16,
                    timeout=urllib3.Timeout(
                        connect=options.connect_timeout_seconds, read=options.timeout_seconds
                    ),
                    cert_reqs="CERT_REQUIRED",
                    ca_certs=options.ca_certificate,
                )
            except OSError as error:
                raise LocationUnavailableError(
                    f'location "{options.name}": ca_certificate cannot be read: {error}',
                    remedy="Name a PEM file with the cluster's certificate authority.",
                ) from error
        return self._pool


class _Unconnected(RemoteFault):
    """No connection was made, so nothing was heard: another NameNode may be asked."""

    def __init__(self, place: str, is_timeout: bool) -> None:
        fault = timed_out(f"{place}: connecting took too long") if is_timeout else None
        fault = fault or unreachable(f"{place}: connection refused or host unknown")
        super().__init__(fault.code, fault.message, fault.disposition)


def read_all(response: BaseHTTPResponse) -> bytes:
    """An answer's whole body, which is small, and the connection given back."""
    from urllib3 import exceptions

    body = bytearray()
    try:
        # A single read would take a short answer for a whole one.
        for chunk in response.stream(1 << 16, decode_content=False):
            body += chunk
            if len(body) > _LARGEST_ANSWER:
                response.close()
                raise RemoteFault(EntryCode.IO_ERROR, "the answer is larger than any answer of WebHDFS")
    except exceptions.TimeoutError as error:
        response.close()
        raise timed_out("the answer stopped half way") from error
    except exceptions.HTTPError as error:
        response.close()
        raise unreachable(f"the answer ended early: {_reason(error)}") from error
    response.release_conn()
    return bytes(body)


def parse_object(body: bytes) -> dict[str, Any]:
    """A JSON object; {} for no body at all."""
    if not body:
        return {}
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RemoteFault(EntryCode.IO_ERROR, "the answer is no JSON: is this WebHDFS?") from error
    if not isinstance(parsed, dict):
        raise RemoteFault(EntryCode.IO_ERROR, "the answer is no JSON object: is this WebHDFS?")
    return parsed


def fault_in(response: BaseHTTPResponse, place: str) -> RemoteFault:
    """The fault that an answer with an error status speaks of."""
    body = read_all(response)
    try:
        remote = parse_object(body).get("RemoteException")
    except RemoteFault:
        remote = None
    if isinstance(remote, dict):
        java = remote.get("javaClassName") or remote.get("exception") or ""
        fault = fault_of(str(java), str(remote.get("message") or ""))
        if response.status == 401:
            return RemoteFault(EntryCode.PERMISSION_DENIED, fault.message)
        return fault
    if response.status in (401, 403):
        return RemoteFault(
            EntryCode.PERMISSION_DENIED, f"{place} refuses the credentials ({response.status})"
        )
    if response.status in (429, 502, 503, 504):
        fault = unreachable(f"{place} answers {response.status}")
        fault.retry_after_seconds = _seconds(response.headers.get("Retry-After"))
        return fault
    return RemoteFault(EntryCode.IO_ERROR, f"{place} answers {response.status}, not as WebHDFS does")


def _seconds(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None


def _reason(error: Exception) -> str:
    """Why a connection ended, without any address."""
    cause: object = error.args[-1] if error.args else error
    if isinstance(cause, OSError) and cause.strerror:
        return f"{type(error).__name__}: {cause.strerror}"
    return type(error).__name__
