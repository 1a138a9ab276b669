"""What a declaration of an HDFS location names, and what can be said of it before it is opened."""

from __future__ import annotations

import enum
import json
import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import LocationUnavailableError
from runner.locations.protocol import Capabilities
from runner.model.entry import Kind
from runner.model.task import LocationSettings, Secret
from runner.model.wire import terminal_safe
from runner.units import parse_duration, parse_size

from .names import RULES

MTIME_RESOLUTION_NS = 1_000_000
MAX_CONCURRENCY = 32
"""Closing a file waits until the NameNode has heard of its block: many at once hide that wait."""

_SYSTEM_FOLDERS = frozenset({"/", "/app-logs", "/apps", "/mr-history", "/system", "/tmp", "/user"})  # noqa: S108


class TransportKind(enum.StrEnum):
    NATIVE = "native"
    WEBHDFS = "webhdfs"


class Authentication(enum.StrEnum):
    SIMPLE = "simple"
    KERBEROS = "kerberos"
    TOKEN = "token"  # noqa: S105


class HdfsOptions(msgspec.Struct, frozen=True):
    """The options of an HDFS location, as options.schema.json declares them; file paths are absolute."""

    name: str
    transport: TransportKind
    namenodes: tuple[str, ...]
    path: str
    nameservice: str | None
    authentication: Authentication
    user: str | None
    kerberos_principal: str | None
    kerberos_keytab: str | None
    kerberos_cache: str | None
    delegation_token: Secret | None
    data_transfer_protection: str
    kms_key_provider_uri: str | None
    block_size_bytes: int | None
    replication: int | None
    acls: bool
    use_datanode_hostname: bool
    https: bool
    ca_certificate: str | None
    timeout_seconds: float
    connect_timeout_seconds: float

    @classmethod
    def of(cls, settings: LocationSettings) -> HdfsOptions:
        """Raises LocationUnavailableError for what a schema cannot check (a block size, `..` in the path)."""
        options = settings.options
        size = _text(options, "block_size")
        return cls(
            name=settings.name,
            transport=TransportKind(_text(options, "transport") or "native"),
            namenodes=tuple(_shown_value(one) for one in options["namenodes"]),
            path=_root(settings),
            nameservice=_text(options, "nameservice"),
            authentication=Authentication(_text(options, "authentication") or "simple"),
            user=_text(options, "user"),
            kerberos_principal=_text(options, "kerberos_principal"),
            kerberos_keytab=_file(settings, "kerberos_keytab"),
            kerberos_cache=_text(options, "kerberos_cache"),
            delegation_token=_secret(options, "delegation_token"),
            data_transfer_protection=_text(options, "data_transfer_protection") or "disabled",
            kms_key_provider_uri=_text(options, "kms_key_provider_uri"),
            block_size_bytes=None if size is None else _block_size(settings, size),
            replication=options.get("replication"),
            acls=bool(options.get("acls", False)),
            use_datanode_hostname=bool(options.get("use_datanode_hostname", False)),
            https=bool(options.get("https", False)),
            ca_certificate=_file(settings, "ca_certificate"),
            timeout_seconds=parse_duration(_text(options, "timeout") or "60s").total_seconds(),
            connect_timeout_seconds=parse_duration(
                _text(options, "connect_timeout") or "10s"
            ).total_seconds(),
        )

    @property
    def cluster(self) -> str:
        """The cluster's name for people and identities."""
        return self.nameservice or ",".join(sorted(self.namenodes))


def options_schema() -> Mapping[str, Any]:
    """The JSON Schema of the options."""
    schema: dict[str, Any] = json.loads(
        Path(__file__).with_name("options.schema.json").read_text(encoding="utf-8")
    )
    return schema


def describe(settings: LocationSettings) -> str:
    """The address for people; parts that came from a secret stay hidden."""
    options = settings.options
    scheme = "hdfs"
    if options.get("transport") == "webhdfs":
        scheme = "swebhdfs" if options.get("https") else "webhdfs"
    host = options.get("nameservice") or ",".join(str(one) for one in options["namenodes"])
    return terminal_safe(f"{scheme}://{host}{options['path']}")


def capabilities(settings: LocationSettings) -> Capabilities:
    """What HDFS holds. Access lists and extended attributes are asked for singly, so only when they are wanted."""
    attributes = {"mode", "user", "group", "atime_ns", "mtime"}
    attributes |= {name for name in ("acls", "xattrs") if settings.options.get(name)}
    return Capabilities(
        kinds=frozenset({Kind.FILE, Kind.DIRECTORY}),
        attributes=frozenset(attributes),
        mtime_resolution_ns=MTIME_RESOLUTION_NS,
        names=RULES,
        max_concurrency=MAX_CONCURRENCY,
        remote=True,
    )


def overlaps(left: LocationSettings, right: LocationSettings) -> bool:
    """True when one root is the other or lies inside it, on what may be the same cluster.

    The same cluster has other ports for RPC and for HTTP: hosts and nameservices are compared, not ports, so
    that two clusters on one host count as one.
    """
    one, other = HdfsOptions.of(left), HdfsOptions.of(right)
    hosts = [{_host(address) for address in options.namenodes} for options in (one, other)]
    same_name = one.nameservice is not None and one.nameservice == other.nameservice
    if not same_name and hosts[0].isdisjoint(hosts[1]):
        return False
    return _inside(one.path, other.path) or _inside(other.path, one.path)


def wide_root(settings: LocationSettings) -> str | None:
    """Why this root holds more than one job's files should be trusted with, or None."""
    path = HdfsOptions.of(settings).path
    if path == "/":
        return "it is the root of the file system"
    if path in _SYSTEM_FOLDERS:
        return f"{path} is a folder of the cluster itself"
    if posixpath.dirname(path) == "/user":
        return f"it is the home folder of {posixpath.basename(path)}"
    return None


def _inside(path: str, other: str) -> bool:
    return path == other or path.startswith(other.rstrip("/") + "/")


def _host(address: str) -> str:
    host = address.rpartition(":")[0].lower()
    return "127.0.0.1" if host == "localhost" else host


def _shown_value(value: object) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)


def _text(options: Mapping[str, Any], name: str) -> str | None:
    value = options.get(name)
    return None if value is None else _shown_value(value)


def _secret(options: Mapping[str, Any], name: str) -> Secret | None:
    value = options.get(name)
    return value if value is None or isinstance(value, Secret) else Secret(str(value), name)


def _file(settings: LocationSettings, name: str) -> str | None:
    value = _text(settings.options, name)
    return None if value is None else os.path.join(os.path.abspath(settings.base_directory), value)


def _root(settings: LocationSettings) -> str:
    path = _shown_value(settings.options["path"])
    names = [name for name in path.split("/") if name]
    for name in names:
        refusal = "it leads elsewhere" if name in (".", "..") else RULES.refusal(name)
        if refusal is not None or "\0" in name or name == ".snapshot" or names[0] == ".reserved":
            raise LocationUnavailableError(
                f'location "{settings.name}": {terminal_safe(path)!r} cannot be a root in HDFS: '
                f"{refusal or 'HDFS keeps this name for itself'}",
                remedy="Give the folder's plain absolute path, such as /data/archive.",
            )
    return "/" + "/".join(names)


def _block_size(settings: LocationSettings, text: str) -> int:
    size = parse_size(text)
    if size % 512 or not 1 << 20 <= size <= 1 << 30:
        raise LocationUnavailableError(
            f'location "{settings.name}": block_size {text} is not a multiple of 512 bytes from 1 MiB to 1 GiB',
            remedy="Give another block_size, or leave it out for the cluster's own.",
        )
    return size
