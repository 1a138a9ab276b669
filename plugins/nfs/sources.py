"""What each type's options say a mount has to show, and the command that makes such a mount."""

from __future__ import annotations

import ipaddress
import os
import re
import shlex
import socket
from collections.abc import Callable, Iterable

import msgspec

from runner.model.task import LocationSettings

from .mount_table import Mount
from .options import Options

_NFS_TYPES = ("nfs", "nfs4")
_SAFE = ("nosuid", "nodev", "noexec")
_TUNNEL = "127.0.0.1"
_STATE_FOLDER = "/run/efs"
"""Where efs-utils keeps a file per tunnel: FILE_SYSTEM_ID.MOUNT.POINT.PORT"""


class Expected(msgspec.Struct, frozen=True):
    """What proves a mount, and how to make it. `sources` are spellings of the source that count as equal."""

    fs_types: tuple[str, ...]
    sources: tuple[str, ...]
    helper: str
    options: tuple[str, ...]
    package: str
    tunnel_to: str | None = None
    lustre_name: str | None = None

    def command(self, point: str) -> list[str]:
        """The mount command, as arguments."""
        options = ",".join(self.options)
        return ["mount", "-t", self.helper, "-o", options, self.sources[0], point]

    def shown_command(self, point: str) -> str:
        return shlex.join(self.command(point))

    def difference(
        self,
        mount: Mount,
        tunnels: Callable[[], Iterable[str]] | None = None,
        addresses: Callable[[str], Iterable[str]] | None = None,
    ) -> str | None:
        """What of `mount` is not as expected, in words; None when it is the one meant."""
        if mount.fs_type not in self.fs_types:
            return f"what is mounted there is of type {mount.fs_type}, not {' or '.join(self.fs_types)}"
        sources = {mount.source.rstrip("/"), mount.full_source.rstrip("/")}
        if sources & {source.rstrip("/") for source in self.sources}:
            return None
        if self.tunnel_to is not None and mount.source.startswith(_TUNNEL + ":"):
            return self._tunnel_difference(mount, (tunnels or _tunnels)())
        if self.lustre_name is not None and self._is_lustre_address(mount, addresses or _addresses):
            return None
        return f"what is mounted there comes from {mount.full_source}, not from {self.sources[0]}"

    def _tunnel_difference(self, mount: Mount, names: Iterable[str]) -> str | None:
        """A mount through efs-utils' tunnel: its port leads to the state file, whose name is the file system's."""
        folder = self.sources[0].partition(":")[2].rstrip("/") or "/"
        if (mount.source.partition(":")[2].rstrip("/") or "/") != folder:
            return f"what is mounted there is {mount.source}, another folder than {folder}"
        port = next((option[5:] for option in mount.options if option.startswith("port=")), None)
        for name in names:
            if port is not None and name.startswith(f"{self.tunnel_to}.") and name.endswith(f".{port}"):
                return None
        return (
            f"it is mounted through a tunnel on port {port}, and nothing in {_STATE_FOLDER} says that this leads "
            f"to {self.tunnel_to}"
        )

    def _is_lustre_address(self, mount: Mount, addresses: Callable[[str], Iterable[str]]) -> bool:
        """Lustre shows its servers by address: 192.0.2.5@tcp:/fsname."""
        match = re.fullmatch(r"([^@:]+)@tcp[0-9]*:(.+)", mount.full_source)
        wanted = re.fullmatch(r"([^@:]+)@tcp:(.+)", self.sources[0])
        if match is None or wanted is None or match[2].rstrip("/") != wanted[2].rstrip("/"):
            return False
        try:
            ipaddress.ip_address(match[1])
        except ValueError:
            return False
        return match[1] in set(addresses(wanted[1]))


def expected_mount(settings: LocationSettings, options: Options) -> Expected:
    """What the options of a location of any of these types describe."""
    expected = _BUILDERS[settings.type](settings)
    changes: dict[str, object] = {"options": (*_SAFE, *expected.options, *options.mount_options)}
    if options.fs_types is not None:
        changes["fs_types"] = options.fs_types
    if options.mount_source is not None:
        changes["sources"] = (options.mount_source,)
        changes["tunnel_to"] = changes["lustre_name"] = None
    return msgspec.structs.replace(expected, **changes)


def _nfs(settings: LocationSettings) -> Expected:
    given = settings.options
    return _nfs_like(given["server"], given["export"], given.get("version", "automatic"))


def _nfs_like(server: str, folder: str, version: str) -> Expected:
    host = f"[{server.strip('[]')}]" if ":" in server else server
    # NFSv3's locks need daemons of their own, and nothing here locks.
    options = {"automatic": (), "3": ("vers=3", "nolock")}.get(version, (f"vers={version}",))
    return Expected(_NFS_TYPES, (f"{host}:{folder}",), "nfs", options, "nfs-common")


def _fsx(settings: LocationSettings) -> Expected:
    given = settings.options
    return _nfs_like(given["dns_name"], given["subdirectory"], given.get("version", "automatic"))


def _efs(settings: LocationSettings) -> Expected:
    given = settings.options
    name, folder = given["dns_name"], given.get("subdirectory", "/")
    if given.get("in_transit_encryption", "NONE") == "NONE":
        # The options AWS recommends for its NFS clients.
        options: tuple[str, ...] = (
            "vers=4.1",
            "rsize=1048576",
            "wsize=1048576",
            "hard",
            "timeo=600",
            "retrans=2",
        )
        return Expected(("nfs4",), (f"{name}:{folder}",), "nfs4", (*options, "noresvport"), "nfs-common")
    options = ("tls",)
    if given.get("iam", False):
        options += ("iam",)
    if "access_point" in given:
        options += (f"accesspoint={given['access_point']}",)
    file_system = next(part for part in name.split(".") if part.startswith("fs-"))
    return Expected(
        ("nfs4",), (f"{name}:{folder}",), "efs", options, "amazon-efs-utils", tunnel_to=file_system
    )


def _lustre(settings: LocationSettings) -> Expected:
    given = settings.options
    folder = given.get("subdirectory", "/").rstrip("/")
    source = f"{given['dns_name']}@tcp:/{given['mount_name']}{folder}"
    return Expected(
        ("lustre",),
        (source,),
        "lustre",
        ("relatime",),
        "lustre-client-modules",
        lustre_name=given["mount_name"],
    )


_BUILDERS: dict[str, Callable[[LocationSettings], Expected]] = {
    "nfs": _nfs,
    "efs": _efs,
    "fsx_openzfs": _fsx,
    "fsx_ontap": _fsx,
    "fsx_lustre": _lustre,
}


def _tunnels() -> list[str]:
    try:
        return os.listdir(_STATE_FOLDER)
    except OSError:
        return []


def _addresses(name: str) -> list[str]:
    try:
        return [str(found[4][0]) for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)]
    except OSError:
        return []
