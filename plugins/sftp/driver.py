"""The entry point: locations of type `sftp`."""

from __future__ import annotations

import secrets

from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.task import LocationSettings

from .address import SftpOptions, capabilities, describe, options_schema, overlaps, wide_root


def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Connect and log in. Raises LocationUnavailableError when that fails, or the root is absent (unless `create`)."""
    # Only now: these modules need asyncssh, and options are told without it.
    from .location import SftpLocation

    return SftpLocation(
        settings.name, SftpOptions.of(settings), open_settings, create=create, token=secrets.token_hex(4)
    )


DRIVER = Driver(
    type="sftp",
    title="A folder of an SSH server (SFTP)",
    options_schema=options_schema,
    open=open_location,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
    requires=("asyncssh", "bcrypt"),
    extra="sftp",
)
