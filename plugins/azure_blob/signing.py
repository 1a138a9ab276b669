"""How a request to Azure Blob Storage proves who asks: account key, SAS token, Microsoft Entra token, or not at all."""

from __future__ import annotations

import base64
import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping, MutableMapping
from datetime import timedelta
from typing import Any, Protocol

from runner.clock import Clock

VERSION = "2021-12-02"
"""The service version that is asked for: the last feature used (names encoded in listings) came with 2021-02-12."""

TOKEN_SCOPE = "https://storage.azure.com/.default"  # noqa: S105  the name of a scope, not a secret
_SIGNED_HEADERS = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


class Signing(Protocol):
    """Adds what a request needs. Safe for several threads."""

    def sign(
        self, method: str, path: str, parameters: MutableMapping[str, str], headers: MutableMapping[str, str]
    ) -> None:
        """Complete `parameters` and `headers`. `path` is percent-encoded, as it goes over the wire."""
        ...

    def read_access(self, container: str, key: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """What lets the service itself read a blob of this account (server-side copy): parameters for the
        blob's address, headers for the request."""
        ...


class Anonymous:
    """Containers that anyone may read, and emulators without sign-in."""

    def sign(
        self, method: str, path: str, parameters: MutableMapping[str, str], headers: MutableMapping[str, str]
    ) -> None:
        return None

    def read_access(self, container: str, key: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, {}


class SasToken:
    """A shared access signature: parameters added to every request."""

    def __init__(self, token: str) -> None:
        self._parameters = dict(urllib.parse.parse_qsl(token.strip().lstrip("?"), keep_blank_values=True))

    def sign(
        self, method: str, path: str, parameters: MutableMapping[str, str], headers: MutableMapping[str, str]
    ) -> None:
        parameters.update(self._parameters)

    def read_access(self, container: str, key: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return self._parameters, {}


class SharedKey:
    """The account's key: an HMAC over the request, as "Authorize with Shared Key" of the REST reference says."""

    def __init__(self, account: str, key: str, clock: Clock) -> None:
        """Raises ValueError when the key is not base64."""
        self._account = account
        self._key = base64.b64decode(key, validate=True)
        self._clock = clock

    def sign(
        self, method: str, path: str, parameters: MutableMapping[str, str], headers: MutableMapping[str, str]
    ) -> None:
        length = headers.get("content-length", "")
        signed = {**headers, "content-length": "" if length == "0" else length}
        lines = [method, *(signed.get(name, "") for name in _SIGNED_HEADERS)]
        lines += [f"{name}:{headers[name]}" for name in sorted(headers) if name.startswith("x-ms-")]
        lines.append(f"/{self._account}{path}")
        lines += [f"{name.lower()}:{parameters[name]}" for name in sorted(parameters)]
        headers["authorization"] = f"SharedKey {self._account}:{self._signature(lines)}"

    def read_access(self, container: str, key: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        """A service SAS for this one blob, to read it for the next hour."""
        expiry = (self._clock.now() + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        resource = f"/blob/{self._account}/{container}/{key}"
        # permissions, start, expiry, resource, identifier, IP, protocol, version, kind, snapshot, scope, 5 headers
        lines = ["r", "", expiry, resource, "", "", "", VERSION, "b", "", "", "", "", "", "", ""]
        return {"sv": VERSION, "sr": "b", "sp": "r", "se": expiry, "sig": self._signature(lines)}, {}

    def _signature(self, lines: list[str]) -> str:
        digest = hmac.new(self._key, "\n".join(lines).encode("utf-8"), hashlib.sha256).digest()
        return base64.b64encode(digest).decode("ascii")


class EntraToken:
    """A bearer token of whatever identity azure-identity finds. Only used when it was asked for."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    def sign(
        self, method: str, path: str, parameters: MutableMapping[str, str], headers: MutableMapping[str, str]
    ) -> None:
        headers["authorization"] = self._bearer()

    def read_access(self, container: str, key: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
        return {}, {"x-ms-copy-source-authorization": self._bearer()}

    def _bearer(self) -> str:
        # azure-identity keeps the token and renews it before it ends.
        return f"Bearer {self._credential.get_token(TOKEN_SCOPE).token}"
