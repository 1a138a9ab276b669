"""What a declaration of an SMB location names, and what can be said of it before it is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.locations.protocol import Capabilities
from runner.model.entry import Kind
from runner.model.task import LocationSettings, Secret
from runner.model.wire import terminal_safe
from runner.units import parse_duration

from .names import RULES

DIALECTS = {"2.1": 0x0210, "3.0": 0x0300, "3.0.2": 0x0302, "3.1.1": 0x0311}
_ATTRIBUTE_BITS = {"R": 0x1, "H": 0x2, "S": 0x4, "A": 0x20, "T": 0x100, "O": 0x1000, "I": 0x2000}


class SmbOptions(msgspec.Struct, frozen=True):
    """The options of a location as the schemas declare them, complete. `root`: names joined by backslashes."""

    server: str
    share: str
    root: str
    port: int
    auth: str
    user: str | None
    password: Secret | None
    domain: str | None
    keytab: str | None
    ccache: str | None
    dialects: tuple[int, ...]
    require_signing: bool
    require_encryption: bool
    connect_seconds: float
    timeout_seconds: float
    max_connections: int
    attribute_mask: int

    @classmethod
    def of(cls, settings: LocationSettings) -> SmbOptions:
        options = settings.options
        oldest = DIALECTS[_text(options, "dialect_min", "2.1")]
        newest = DIALECTS[_text(options, "dialect_max", "3.1.1")]
        password = options.get("password")
        if password is not None and not isinstance(password, Secret):
            password = Secret(str(password), "")
        return cls(
            server=_text(options, "server" if settings.type == "smb" else "file_system", ""),
            share=_text(options, "share", "share"),
            root="\\".join(name for name in _text(options, "path", "").split("/") if name),
            port=int(options.get("port", 445)),
            auth=_text(options, "auth", "ntlm"),
            user=_text(options, "user", "") or None,
            password=password,
            domain=_text(options, "domain", "") or None,
            keytab=_file(settings, "keytab"),
            ccache=_file(settings, "ccache"),
            dialects=tuple(one for one in sorted(DIALECTS.values()) if oldest <= one <= newest),
            require_signing=bool(options.get("require_signing", True)),
            require_encryption=bool(options.get("require_encryption", False)),
            connect_seconds=parse_duration(_text(options, "connect_timeout", "10s")).total_seconds(),
            timeout_seconds=parse_duration(_text(options, "timeout", "60s")).total_seconds(),
            max_connections=int(options.get("max_connections", 8)),
            attribute_mask=sum(
                _ATTRIBUTE_BITS[one] for one in set(_text(options, "carried_attributes", "RHSATOI"))
            ),
        )

    @property
    def address(self) -> str:
        """For people."""
        port = "" if self.port == 445 else f":{self.port}"
        root = self.root.replace("\\", "/")
        return terminal_safe(f"//{self.server}{port}/{self.share}" + (f"/{root}" if root else ""))


def _text(options: Mapping[str, Any], name: str, default: str) -> str:
    value = options.get(name, default)
    return value.reveal() if isinstance(value, Secret) else str(value)


def _file(settings: LocationSettings, name: str) -> str | None:
    value = _text(settings.options, name, "")
    return os.path.join(settings.base_directory, value) if value else None


def options_schema(file: str) -> Mapping[str, Any]:
    """The JSON Schema of the options, out of one of this folder's files."""
    schema: dict[str, Any] = json.loads(Path(__file__).with_name(file).read_text(encoding="utf-8"))
    return schema


def describe(settings: LocationSettings) -> str:
    """The address for people; what came from a secret stays hidden."""
    if any(
        isinstance(settings.options.get(name), Secret) for name in ("server", "file_system", "share", "path")
    ):
        return f"{settings.type} ***"
    return f"{settings.type} {SmbOptions.of(settings).address}"


def capabilities(settings: LocationSettings) -> Capabilities:
    """What SMB carries. What one server lacks shows as `refused` in Written."""
    return Capabilities(
        kinds=frozenset({Kind.FILE, Kind.DIRECTORY}),
        attributes=frozenset({"mtime", "atime_ns", "created_ns", "dos_attributes", "security", "sacl"}),
        mtime_resolution_ns=100,
        case_sensitive=False,
        names=RULES,
        max_concurrency=SmbOptions.of(settings).max_connections,
        remote=True,
    )


def overlaps(left: LocationSettings, right: LocationSettings) -> bool:
    """True when one root is the other or lies inside it, by server, share and path; without asking the server."""
    one, other = SmbOptions.of(left), SmbOptions.of(right)
    if (one.server.casefold(), one.port, one.share.casefold()) != (
        other.server.casefold(),
        other.port,
        other.share.casefold(),
    ):
        return False
    paths = [f"{options.root}\\".casefold().lstrip("\\") for options in (one, other)]
    return paths[0].startswith(paths[1]) or paths[1].startswith(paths[0])


def wide_root(settings: LocationSettings) -> str | None:
    """Why this root holds more than one job's files should be trusted with, or None."""
    options = SmbOptions.of(settings)
    share = options.share.upper()
    if options.root == "" and share.endswith("$") and (len(share) == 2 or share == "ADMIN$"):
        return f"{options.share} is an administrative share: a whole drive, or the system itself"
    return None
