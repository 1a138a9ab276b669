"""What a declaration of an SFTP location names, and what can be said of it before it is opened."""

from __future__ import annotations

import json
import os
import posixpath
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.locations.names import NameRules
from runner.locations.protocol import Capabilities
from runner.model.entry import Kind
from runner.model.task import LocationSettings, Secret
from runner.model.wire import terminal_safe
from runner.units import parse_duration

from .names import LONGEST_TEMPORARY_BYTES

PORT = 22
_PATH_BYTES_AT_MOST = 4095
_WIDE_ROOTS = frozenset(
    {
        *("/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/lib64", "/media", "/mnt", "/opt", "/proc"),
        *("/root", "/run", "/sbin", "/srv", "/sys", "/tmp", "/usr", "/usr/bin", "/usr/lib", "/usr/local"),  # noqa: S108
        *("/usr/share", "/var", "/var/lib", "/var/log", "/Users", "/Volumes", "/export", "/volume1"),
    }
)


class HostOptions(msgspec.Struct, frozen=True):
    """One SSH server: where it is, as whom, and by what its host key is known."""

    host: str
    port: int | None
    user: str | None
    host_keys: tuple[str, ...]
    known_hosts: str | None


class SftpOptions(msgspec.Struct, frozen=True):
    """The options of an SFTP location, as options.schema.json declares them; files are absolute paths."""

    server: HostOptions
    jump: HostOptions | None
    path: str
    private_key: str | None
    passphrase: Secret | None
    certificate: str | None
    password: Secret | None
    agent: bool | str
    use_ssh_config: bool
    connect_timeout_seconds: float
    timeout_seconds: float
    keepalive_seconds: float
    compression: bool
    ciphers: tuple[str, ...]
    max_connections: int

    @classmethod
    def of(cls, settings: LocationSettings) -> SftpOptions:
        given = _Given(settings)
        server = given.host(settings.options, None)
        jump = settings.options.get("proxy_jump")
        agent = settings.options.get("agent", False)
        return cls(
            server=server,
            jump=None if jump is None else given.host(jump, server.known_hosts),
            path=given.text("path", "."),
            private_key=given.file("private_key"),
            passphrase=given.secret("passphrase"),
            certificate=given.file("certificate"),
            password=given.secret("password"),
            agent=given.absolute(agent) if isinstance(agent, str) else bool(agent),
            use_ssh_config=bool(settings.options.get("use_ssh_config", False)),
            connect_timeout_seconds=given.seconds("connect_timeout", "10s"),
            timeout_seconds=given.seconds("timeout", "60s"),
            keepalive_seconds=given.seconds("keepalive", "15s"),
            compression=bool(settings.options.get("compression", False)),
            ciphers=tuple(settings.options.get("ciphers", ())),
            max_connections=int(settings.options.get("max_connections", 8)),
        )


class _Given:
    """Reads options as they were written; secrets only stay secrets where they are one."""

    def __init__(self, settings: LocationSettings) -> None:
        self._options = settings.options
        self._base = settings.base_directory

    def text(self, name: str, default: str) -> str:
        return _plain(self._options.get(name, default))

    def secret(self, name: str) -> Secret | None:
        value = self._options.get(name)
        if value is None or isinstance(value, Secret):
            return value
        return Secret(str(value), "sync.yaml")

    def file(self, name: str) -> str | None:
        value = self._options.get(name)
        return None if value is None else self.absolute(_plain(value))

    def absolute(self, path: str) -> str:
        return os.path.normpath(os.path.join(os.path.abspath(self._base), os.path.expanduser(path)))

    def seconds(self, name: str, default: str) -> float:
        return parse_duration(self.text(name, default)).total_seconds()

    def host(self, options: Mapping[str, Any], known_hosts: str | None) -> HostOptions:
        keys = options.get("host_key", ())
        file = options.get("known_hosts")
        port = options.get("port")
        user = options.get("user")
        return HostOptions(
            host=_plain(options["host"]),
            port=None if port is None else int(port),
            user=None if user is None else _plain(user),
            host_keys=tuple(_plain(key) for key in ([keys] if isinstance(keys, (str, Secret)) else keys)),
            known_hosts=known_hosts if file is None else self.absolute(_plain(file)),
        )


def _plain(value: object) -> str:
    return value.reveal() if isinstance(value, Secret) else str(value)


def options_schema() -> Mapping[str, Any]:
    """The JSON Schema of the options."""
    schema: dict[str, Any] = json.loads(
        Path(__file__).with_name("options.schema.json").read_text(encoding="utf-8")
    )
    return schema


def describe(settings: LocationSettings) -> str:
    """The address for people; what came from a secret stays hidden."""
    shown = {
        name: "***" if isinstance(value, Secret) else terminal_safe(str(value))
        for name, value in settings.options.items()
        if name in ("host", "port", "user", "path")
    }
    user = f"{shown['user']}@" if "user" in shown else ""
    port = f":{shown['port']}" if shown.get("port", str(PORT)) != str(PORT) else ""
    path = shown.get("path", ".")
    return f"sftp://{user}{shown['host']}{port}/{path if path.startswith('/') else '~/' + path}"


def capabilities(settings: LocationSettings) -> Capabilities:
    """What SFTP version 3 carries. Hard links, extended attributes and ACLs are not in it."""
    options = SftpOptions.of(settings)
    return capabilities_below(options.path, options.max_connections)


def capabilities_below(root: str, max_connections: int) -> Capabilities:
    """The same for a root whose full path is known: paths end where the server's do."""
    taken = len(os.fsencode(root)) + 2 + LONGEST_TEMPORARY_BYTES
    return Capabilities(
        kinds=frozenset({Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK}),
        attributes=frozenset({"mode", "uid", "gid", "atime_ns", "mtime"}),
        mtime_resolution_ns=1_000_000_000,
        names=NameRules(max_name_bytes=255, max_path_bytes=max(255, _PATH_BYTES_AT_MOST - taken)),
        max_concurrency=max_connections,
        remote=True,
    )


def overlaps(left: LocationSettings, right: LocationSettings) -> bool:
    """True when one root is the other or lies inside it, as far as can be told without connecting: the same
    host and port, and paths of which one may hold the other."""
    one, other = SftpOptions.of(left), SftpOptions.of(right)
    if one.server.host.lower() != other.server.host.lower():
        return False
    if (one.server.port or PORT) != (other.server.port or PORT):
        return False
    paths = [posixpath.normpath(options.path) for options in (one, other)]
    if paths[0].startswith("/") != paths[1].startswith("/"):
        return _is_home(paths[0]) or _is_home(paths[1])
    if not paths[0].startswith("/") and one.server.user != other.server.user:
        return False  # below the home folders of two users
    return _inside(paths[0], paths[1]) or _inside(paths[1], paths[0])


def _is_home(path: str) -> bool:
    """A root that surely or possibly holds the other, whose place in the tree is unknown: `/` and `.`."""
    return path in ("/", "//", ".")


def _inside(path: str, other: str) -> bool:
    return path == other or other == "." or path.startswith(other.rstrip("/") + "/")


def wide_root(settings: LocationSettings) -> str | None:
    """Why this root holds more than one job's files should be trusted with, or None."""
    path = posixpath.normpath(SftpOptions.of(settings).path)
    if path == "//":
        path = "/"
    if path == "/":
        return "it is the root of the server's file system"
    if path == ".":
        return "it is the login folder"
    if path in _WIDE_ROOTS:
        return f"{terminal_safe(path)} is a folder of the operating system"
    parent, name = posixpath.split(path)
    if parent in ("/home", "/Users") and name:
        return "it is the home folder of a user"
    return None
