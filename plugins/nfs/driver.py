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
from .options import Options, endpoint_of, root_names, schema_of


def capabilities(settings: LocationSettings) -> Capabilities:
    """What NFSv3 carries (RFC 1813)."""
    options = Options.of(settings)
    return Capabilities(
        kinds=frozenset(Kind),
        attributes=frozenset({"mode", "uid", "gid", "atime_ns", "device", "mtime"}),
        mtime_resolution_ns=options.time_step_ns,
        hard_links=True,
        names=NameRules(max_name_bytes=255),
        max_concurrency=options.concurrency,
        remote=True,
    )


def describe(settings: LocationSettings) -> str:
    """The address for people."""
    given, options = settings.options, Options.of(settings)
    return terminal_safe(f"nfs {given['server']}:{given['export'].rstrip('/')}/{options.path}")


def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Connect, or prove the mount. Raises LocationUnavailableError."""
    options = Options.of(settings)
    return NfsLocation(
        endpoint_of(settings),
        root_names(options),
        open_settings,
        capabilities(settings),
        create=create,
        token=secrets.token_hex(4),
    )


def overlaps(left: LocationSettings, right: LocationSettings) -> bool:
    """True when one root is the other or lies inside it, as far as names tell."""
    if left.options["server"].lower() != right.options["server"].lower():
        return False
    roots = [
        f"{one.options['export'].rstrip('/')}/{Options.of(one).path}".rstrip("/") + "/"
        for one in (left, right)
    ]
    return roots[0].startswith(roots[1]) or roots[1].startswith(roots[0])


def wide_root(settings: LocationSettings) -> str | None:
    """Exports are made for a purpose; none is too wide by its name."""
    return None


NFS = Driver(
    type="nfs",
    title="A folder of an NFS server, over a mount that is proved, or without any mount (NFSv3)",
    options_schema=functools.partial(schema_of, "nfs"),
    open=open_location,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
)
