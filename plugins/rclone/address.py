"""What a declaration names, and what can be said of it before anything is opened."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import LocationUnavailableError
from runner.locations.protocol import Capabilities
from runner.model.entry import Kind
from runner.model.task import LocationSettings, Secret
from runner.model.wire import terminal_safe
from runner.units import parse_duration

from .engine import TlsOptions
from .names import RULES
from .sections import BUCKET_BACKENDS, WRAPPERS, Declared

OWN = ""
"""The name of the remote that `backend` and `settings` declare."""

_WHOLE_SECONDS = frozenset({"sftp", "ftp", "webdav", "dropbox", "hidrive", "http", "smb", "koofr"})
_TELLING = frozenset(
    {
        "host",
        "port",
        "url",
        "endpoint",
        "account",
        "user",
        "region",
        "provider",
        "team_drive",
        "drive_id",
        "remote",
    }
)
"""Settings that tell one storage from another, and are no secrets."""
_KEEPS_TIMES = frozenset({"fastmail", "nextcloud", "owncloud", "infinitescale", "rclone"})


class Address(msgspec.Struct, frozen=True):
    """Options of all three types in one shape. `remotes` is None when they are in `config_file`."""

    name: str
    path: str
    facts: tuple[tuple[str, str], ...]
    remote: str
    remotes: dict[str, Declared] | None
    timeout_seconds: float
    config_file: str | None = None
    config_password: str | None = None
    allow_commands: bool = False
    tls: TlsOptions = TlsOptions()
    spool_folder: str | None = None
    max_concurrency: int = 8

    @property
    def backend(self) -> str | None:
        """The backend declared here; None when only config_file tells."""
        return self.remotes[self.remote].backend if self.remotes is not None else None

    @property
    def base_backend(self) -> str | None:
        """The backend that holds the content in the end, below those that wrap one other; None = not known here."""
        remotes, name = self.remotes, self.remote
        for _ in range(10):
            if remotes is None or name not in remotes:
                return None
            one = remotes[name]
            if one.backend not in WRAPPERS:
                return one.backend
            wrapped = one.settings.get(WRAPPERS[one.backend], "")
            if wrapped.startswith("/") and one.backend not in ("combine", "union"):
                return "local"
            name = wrapped.partition(":")[0]
        return None


def schema_of(file: str) -> Callable[[], Mapping[str, Any]]:
    def options_schema() -> Mapping[str, Any]:
        schema: dict[str, Any] = json.loads(Path(__file__).with_name(file).read_text(encoding="utf-8"))
        return schema

    return options_schema


def rclone_address(settings: LocationSettings) -> Address:
    options = settings.options
    if "remote" in options:
        return _address(
            settings,
            remote=_text(options["remote"]),
            remotes=None,
            config_file=_file(settings, "config_file"),
            config_password=_optional(options, "config_password"),
            allow_commands=bool(options.get("allow_commands", False)),
        )
    remotes = {OWN: _declared(options["backend"], options.get("settings", {}))}
    for name, one in options.get("remotes", {}).items():
        remotes[name] = _declared(one["backend"], one.get("settings", {}))
    return _address(settings, remotes=remotes, allow_commands=bool(options.get("allow_commands", False)))


def webdav_address(settings: LocationSettings) -> Address:
    options = settings.options
    remote: dict[str, Any] = {
        "url": options["url"],
        "vendor": options.get("vendor", "other"),
        # rclone waits 10 ms between any two requests unless told not to: 23-29 files a second instead of 300.
        "pacer_min_sleep": options.get("minimum_interval", "0s"),
    }
    for ours, theirs in (("user", "user"), ("password", "pass"), ("bearer_token", "bearer_token")):
        if ours in options:
            remote[theirs] = options[ours]
    return _address(settings, remotes={OWN: _declared("webdav", remote)})


def ftp_address(settings: LocationSettings) -> Address:
    options = settings.options
    tls = options.get("tls", "explicit")
    remote: dict[str, Any] = {
        "host": options["host"],
        "port": options.get("port", 990 if tls == "implicit" else 21),
        "user": options.get("user", "anonymous"),
        # rclone wants one, and servers take any for anonymous.
        "pass": options.get("password", "anonymous@"),
        # The certificate is checked by the settings of this remote: another one's do not weaken it.
        "no_check_certificate": not options.get("verify_certificate", True),
    }
    if tls != "none":
        remote["tls" if tls == "implicit" else "explicit_tls"] = True
    for ours, theirs in (
        ("encoding", "encoding"),
        ("disable_epsv", "disable_epsv"),
        ("disable_mlsd", "disable_mlsd"),
        ("list_hidden", "force_list_hidden"),
        ("times_by_mdtm", "writing_mdtm"),
    ):
        if ours in options:
            remote[theirs] = options[ours]
    # FTP servers count connections: each operation has one, and listing ahead some more.
    return _address(settings, remotes={OWN: _declared("ftp", remote)}, max_concurrency=4)


def capabilities(address: Address) -> Capabilities:
    """What is sure of the backend, or likely where it is not known; an open location asked rclone and knows."""
    backend = address.base_backend
    buckets = backend in BUCKET_BACKENDS
    resolution: int | None = 1_000_000_000 if backend in _WHOLE_SECONDS else 1
    if backend is None:
        resolution = 1_000_000_000
    elif backend == "webdav" and address.remotes is not None:
        vendors = {one.settings.get("vendor") for one in address.remotes.values() if one.backend == "webdav"}
        resolution = resolution if vendors <= _KEEPS_TIMES else None
    return shaped(resolution, buckets=buckets, max_concurrency=address.max_concurrency)


def shaped(
    resolution_ns: int | None,
    *,
    buckets: bool,
    max_concurrency: int,
    atomic: bool = True,
    case_sensitive: bool = True,
) -> Capabilities:
    """Capabilities of a storage behind rclone: files, folders, times at most."""
    return Capabilities(
        kinds=frozenset({Kind.FILE, Kind.DIRECTORY}),
        attributes=frozenset() if resolution_ns is None else frozenset({"mtime"}),
        mtime_resolution_ns=resolution_ns,
        atomic_put=atomic,
        empty_directories=not buckets,
        case_sensitive=case_sensitive,
        names=RULES,
        max_concurrency=max_concurrency,
        remote=True,
        implicit_directories=buckets,
        file_beside_folder=buckets,
    )


def describe(settings: LocationSettings, address: Address) -> str:
    """The address for people, without secrets."""
    options = settings.options
    path = "***" if isinstance(options.get("path"), Secret) else terminal_safe(address.path)
    if settings.type == "webdav":
        return f"webdav {_shown(options['url'])}" + (f"/{path}" if path else "")
    if settings.type == "ftp":
        return f"ftp {_shown(options['host'])}:{path}"
    return f"rclone {_shown(options.get('remote', options.get('backend')))}:{path}"


def overlaps(left: Address, right: Address) -> bool:
    """True when both roots lie in one storage, as far as the declarations tell, and one is in the other."""
    one, other = _place(left), _place(right)
    if one[0] != other[0]:
        return False
    paths = [f"{place[1].strip('/')}/".removeprefix("/") for place in (one, other)]
    return paths[0].startswith(paths[1]) or paths[1].startswith(paths[0])


def wide_root(settings: LocationSettings, address: Address) -> str | None:
    """Why this root holds more than one job's files should be trusted with, or None."""
    if address.path.strip("/"):
        return None
    if settings.type == "webdav":
        beneath = _text(settings.options["url"]).split("://", 1)[-1].partition("/")[2]
        return None if beneath.strip("/") else "it is the root of the server"
    if settings.type == "ftp":
        return "it is the folder that the login leads to, whole"
    if address.backend in WRAPPERS:
        return None
    return "it is the root of the whole remote"


def _place(address: Address) -> tuple[tuple[Any, ...], str]:
    """(what tells the storage, path in it), through backends that wrap one other."""
    path = address.path
    if address.remotes is None:
        return (address.config_file, address.remote), path
    one = address.remotes[address.remote]
    for _ in range(10):
        reference = one.settings.get("remote", "") if one.backend in WRAPPERS else ""
        name, colon, below = reference.partition(":")
        if reference.startswith("/"):
            return ("local",), f"{reference}/{path}"
        if not colon or name not in address.remotes:
            break
        one, path = address.remotes[name], f"{below}/{path}"
    if one.backend == "local":
        return ("local",), path
    told = tuple(sorted((key, text) for key, text in one.settings.items() if key not in one.secrets))
    return (one.backend, told), path


def _address(
    settings: LocationSettings,
    *,
    remotes: dict[str, Declared] | None,
    remote: str = OWN,
    config_file: str | None = None,
    config_password: str | None = None,
    allow_commands: bool = False,
    max_concurrency: int = 8,
) -> Address:
    options = settings.options
    path = _text(options.get("path", ""))
    names = path.strip("/").split("/") if path.strip("/") else []
    if any(name in ("", ".", "..") for name in names) or "]" in path or not path.isprintable():
        raise LocationUnavailableError(
            f"location {settings.name!r}: the path {terminal_safe(path)!r} cannot be a root",
            remedy="Write it without empty names, `.`, `..`, `]` and control characters.",
        )
    root = ("/" if path.startswith("/") else "") + "/".join(names)
    return Address(
        name=settings.name,
        path=root,
        facts=_facts(root, remote, remotes, config_file),
        remote=remote,
        remotes=remotes,
        timeout_seconds=parse_duration(_text(options.get("timeout", "60s"))).total_seconds(),
        config_file=config_file,
        config_password=config_password,
        allow_commands=allow_commands,
        tls=TlsOptions(
            ca_file=_file(settings, "ca_file"),
            client_certificate=_file(settings, "client_certificate"),
            client_key=_file(settings, "client_key"),
        ),
        spool_folder=_file(settings, "spool_folder"),
        max_concurrency=max_concurrency,
    )


def _facts(
    root: str, remote: str, remotes: dict[str, Declared] | None, config_file: str | None
) -> tuple[tuple[str, str], ...]:
    """What `identity` tells."""
    if remotes is None:
        return (("configuration", config_file or ""), ("remote", remote), ("path", root))
    told = [
        (f"{name}.{key}" if name else key, text)
        for name, one in sorted(remotes.items())
        for key, text in [("backend", one.backend), *sorted(one.settings.items())]
        if key == "backend" or (key in _TELLING and key not in one.secrets)
    ]
    return (*told, ("path", root))


def _declared(backend: Any, settings: Mapping[str, Any]) -> Declared:
    return Declared(
        backend=_text(backend),
        settings={key: _text(value) for key, value in settings.items()},
        secrets=frozenset(key for key, value in settings.items() if isinstance(value, Secret)),
    )


def _text(value: Any) -> str:
    if isinstance(value, Secret):
        return value.reveal()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _shown(value: Any) -> str:
    """For people: a value that came from a secret stays hidden."""
    return "***" if isinstance(value, Secret) else terminal_safe(_text(value))


def _optional(options: Mapping[str, Any], key: str) -> str | None:
    return _text(options[key]) if key in options else None


def _file(settings: LocationSettings, key: str) -> str | None:
    if key not in settings.options:
        return None
    path = os.path.expanduser(_text(settings.options[key]))
    return os.path.join(os.path.abspath(settings.base_directory), path)
