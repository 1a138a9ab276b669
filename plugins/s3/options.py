"""The options of an S3 location, as the schemas declare them."""

from __future__ import annotations

import enum
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from runner.errors import LocationUnavailableError
from runner.model.task import LocationSettings, Secret
from runner.units import parse_duration, parse_size

from .wire import Address

DEFAULT_REGION = "us-east-1"


class CredentialSource(enum.StrEnum):
    """Where keys come from when sync.yaml does not give them."""

    AUTO = "auto"
    ENVIRONMENT = "environment"
    PROFILE = "profile"
    WEB_IDENTITY = "web_identity"
    INSTANCE = "instance"
    ANONYMOUS = "anonymous"


class Addressing(enum.StrEnum):
    """Where the bucket's name stands: in the path, or in the host's name."""

    PATH = "path"
    VIRTUAL = "virtual"


class S3Options(msgspec.Struct, frozen=True):
    """Options with their defaults applied, units parsed and secrets revealed: only where a driver connects."""

    bucket: str
    prefix: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    credentials: CredentialSource = CredentialSource.AUTO
    access_key_id: str | None = None
    secret_access_key: str | None = None
    session_token: str | None = None
    profile: str | None = None
    addressing: Addressing | None = None
    ca_file: str | None = None
    storage_class: str | None = None
    sse: str | None = None
    sse_kms_key_id: str | None = None
    requester_pays: bool = False
    expected_bucket_owner: str | None = None
    create_bucket: bool = False
    posix_metadata: bool = True
    directory_markers: bool = True
    object_tags: bool = True
    whole_bucket: bool = False
    multipart_threshold_bytes: int = 16 << 20
    part_size_bytes: int = 8 << 20
    part_concurrency: int = 4
    concurrency: int = 32
    timeout_seconds: float = 60.0
    connect_timeout_seconds: float = 10.0
    keep_uploads_seconds: float = 86400.0

    def __repr__(self) -> str:
        return f"S3Options(bucket={self.bucket!r})"

    @classmethod
    def of(cls, settings: LocationSettings) -> S3Options:
        given = {name: _revealed(value) for name, value in settings.options.items()}
        values: dict[str, Any] = {}
        for name in given:
            if name in _UNITS:
                field, parse = _UNITS[name]
                values[field] = parse(str(given[name]))
            elif name != "type":
                values[name] = given[name]
        values["prefix"] = folder_prefix(str(values.get("prefix", "")))
        values["credentials"] = CredentialSource(values.get("credentials", "auto"))
        if values.get("addressing") is not None:
            values["addressing"] = Addressing(values["addressing"])
        if values.get("ca_file") is not None:
            values["ca_file"] = os.path.join(settings.base_directory, os.path.expanduser(values["ca_file"]))
        return cls(**values)

    @property
    def signing_region(self) -> str:
        return self.region or DEFAULT_REGION

    @property
    def style(self) -> Addressing:
        """Virtual at Amazon, path elsewhere; a bucket with dots has no certificate of its own: path."""
        if self.addressing is not None:
            return self.addressing
        plain = self.endpoint_url is None and "." not in self.bucket
        return Addressing.VIRTUAL if plain else Addressing.PATH

    @property
    def endpoint(self) -> str:
        return self.endpoint_url or f"https://s3.{self.signing_region}.amazonaws.com"

    @property
    def address(self) -> Address:
        """Where requests go. Raises LocationUnavailableError when the endpoint is no http(s) URL."""
        parts = urlsplit(self.endpoint)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise LocationUnavailableError(f"endpoint_url {self.endpoint!r} is not https://HOST[:PORT]")
        tls = parts.scheme == "https"
        host = parts.hostname
        if self.style is Addressing.VIRTUAL:
            host = f"{self.bucket}.{host}"
        return Address(host, port or (443 if tls else 80), tls)

    @property
    def base_path(self) -> str:
        """What stands before a key in a request line, with its slash."""
        folder = urlsplit(self.endpoint).path.rstrip("/")
        return f"{folder}/" if self.style is Addressing.VIRTUAL else f"{folder}/{self.bucket}/"


def folder_prefix(prefix: str) -> str:
    """A prefix always ends a folder: 'photos' -> 'photos/', '' -> ''."""
    return prefix if prefix == "" or prefix.endswith("/") else f"{prefix}/"


def _seconds(text: str) -> float:
    return parse_duration(text).total_seconds()


_UNITS: dict[str, tuple[str, Any]] = {
    "multipart_threshold": ("multipart_threshold_bytes", parse_size),
    "part_size": ("part_size_bytes", parse_size),
    "timeout": ("timeout_seconds", _seconds),
    "connect_timeout": ("connect_timeout_seconds", _seconds),
    "keep_uploads": ("keep_uploads_seconds", _seconds),
}


def _revealed(value: Any) -> Any:
    return value.reveal() if isinstance(value, Secret) else value


def schema_of(name: str) -> Mapping[str, Any]:
    """The JSON Schema in the file of that name beside this module."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name(name).read_text(encoding="utf-8"))
    return schema
