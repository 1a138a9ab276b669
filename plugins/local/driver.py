"""The entry point: locations of type `local`."""

from __future__ import annotations

import os

from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.task import LocationSettings

from .address import (
    capabilities,
    describe,
    options_schema,
    overlaps,
    root_path,
    wide_root,
)
from .location import LocalLocation


def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Open the directory. Raises LocationUnavailableError when it is absent (unless `create`) or a file."""
    return LocalLocation(
        os.path.realpath(root_path(settings)),
        open_settings,
        capabilities(settings),
        create=create,
        token=os.urandom(4).hex(),
    )


DRIVER = Driver(
    type="local",
    title="A directory of this machine: a local disk or a mounted file system",
    options_schema=options_schema,
    open=open_location,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
)
