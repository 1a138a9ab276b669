"""The entry points: locations of the types `smb` and `fsx_windows`."""

from __future__ import annotations

import secrets
from functools import partial

from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.task import LocationSettings

from .client import Client
from .location import FsxLocation, SmbLocation
from .options import SmbOptions, capabilities, describe, options_schema, overlaps, wide_root

_REQUIRES = ("smbprotocol", "spnego", "cryptography")


def open_smb(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Connect. Raises LocationUnavailableError: no server, refused credentials, no share, a missing root."""
    return _open(SmbLocation, settings, open_settings, create=create)


def open_fsx(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """As `open_smb`."""
    return _open(FsxLocation, settings, open_settings, create=create)


def _open(
    kind: type[SmbLocation], settings: LocationSettings, open_settings: OpenSettings, *, create: bool
) -> Location:
    return kind(
        Client(SmbOptions.of(settings)),
        open_settings,
        capabilities(settings),
        create=create,
        token=secrets.token_hex(4),
    )


SMB = Driver(
    type="smb",
    title="An SMB share: a Windows file server, Samba or a NAS",
    options_schema=partial(options_schema, "options.schema.json"),
    open=open_smb,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
    requires=_REQUIRES,
    extra="smb",
)

FSX_WINDOWS = Driver(
    type="fsx_windows",
    title="Amazon FSx for Windows File Server",
    options_schema=partial(options_schema, "fsx_windows.schema.json"),
    open=open_fsx,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
    requires=_REQUIRES,
    extra="smb",
)
