"""The entry points: locations of the types `nfs`, `efs`, `fsx_openzfs`, `fsx_ontap` and `fsx_lustre`."""

from __future__ import annotations

import functools
import secrets

from runner.locations.names import NameRules
from runner.locations.protocol import Capabilities, Driver, Location, OpenSettings
from runner.model.entry import Kind
from runner.model.task import LocationSettings
from runner.model.wire import terminal_safe

from .location import NfsLocation
from .mounted import MountedLocation
from .mounting import find_mount, make_mount
from .options import Options, endpoint_of, root_names, schema_of
from .sources import expected_mount

_NFS3 = frozenset({"mode", "uid", "gid", "atime_ns", "device", "mtime"})
_KERNEL = _NFS3 | {"user", "group", "xattrs", "acls"}


def capabilities(settings: LocationSettings) -> Capabilities:
    """Without a mount, what NFSv3 carries (RFC 1813); over one, what the kernel's client may take of what Linux file
    systems hold: what it does not shows as `refused` in Written."""
    options = Options.of(settings)
    return Capabilities(
        kinds=frozenset(Kind),
        attributes=_KERNEL if options.is_mounted else _NFS3,
        mtime_resolution_ns=options.time_step_ns,
        hard_links=True,
        names=NameRules(max_name_bytes=255),
        max_concurrency=options.concurrency,
        remote=True,
    )


def describe(settings: LocationSettings) -> str:
    """The address for people."""
    options = Options.of(settings)
    source = expected_mount(settings, options).sources[0].rstrip("/")
    where = f", mounted at {options.mounted_at}" if options.mounted_at is not None else ""
    folder = f"/{options.path}" if options.path else ""
    return terminal_safe(f"{settings.type} {source}{folder}{where}")


def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Connect, or prove (and, when told to, make) the mount. Raises LocationUnavailableError."""
    options = Options.of(settings)
    token = secrets.token_hex(4)
    if not options.is_mounted:
        return NfsLocation(
            endpoint_of(settings),
            root_names(options),
            open_settings,
            capabilities(settings),
            create=create,
            token=token,
        )
    expected = expected_mount(settings, options)
    proved = make_mount(expected) if options.mounted_at is None else find_mount(options.mounted_at, expected)
    return MountedLocation(
        proved, options.path, open_settings, capabilities(settings), create=create, token=token
    )


def overlaps(left: LocationSettings, right: LocationSettings) -> bool:
    """True when one root is the other or lies inside it, as far as names tell."""
    roots = []
    for settings in (left, right):
        options = Options.of(settings)
        server, _, folder = expected_mount(settings, options).sources[0].rpartition(":/")
        roots.append((server.lower(), f"/{folder.strip('/')}/{options.path}".rstrip("/") + "/"))
    (server, folder), (other_server, other_folder) = roots
    return server == other_server and (folder.startswith(other_folder) or other_folder.startswith(folder))


def wide_root(settings: LocationSettings) -> str | None:
    """What is exported was exported for a purpose; no name of it tells that it is too wide."""
    return None


def _driver(location_type: str, title: str) -> Driver:
    return Driver(
        type=location_type,
        title=title,
        options_schema=functools.partial(schema_of, location_type),
        open=open_location,
        describe=describe,
        capabilities=capabilities,
        overlaps=overlaps,
        wide_root=wide_root,
    )


NFS = _driver("nfs", "A folder of an NFS server, over a proved mount or without any mount (NFSv3)")
EFS = _driver("efs", "Amazon EFS, over a proved mount")
FSX_OPENZFS = _driver("fsx_openzfs", "Amazon FSx for OpenZFS, over a proved mount")
FSX_ONTAP = _driver("fsx_ontap", "A volume of Amazon FSx for NetApp ONTAP over NFS, over a proved mount")
FSX_LUSTRE = _driver("fsx_lustre", "Amazon FSx for Lustre, over a proved mount")
