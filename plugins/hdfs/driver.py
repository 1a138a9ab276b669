"""The entry point: locations of type `hdfs`."""

from __future__ import annotations

import secrets

from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.task import Durability, LocationSettings

from .address import (
    HdfsOptions,
    TransportKind,
    capabilities,
    describe,
    options_schema,
    overlaps,
    wide_root,
)
from .location import HdfsLocation, WebHdfsLocation
from .native import NativeTransport
from .transport import Transport
from .webhdfs import WebTransport


def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Open the folder. Raises LocationUnavailableError when the cluster or (unless `create`) the folder is
    absent, or refuses the credentials."""
    options = HdfsOptions.of(settings)
    durable = open_settings.durability is not Durability.NONE
    is_web = options.transport is TransportKind.WEBHDFS
    transport: Transport = (
        WebTransport(options, durable=durable) if is_web else NativeTransport(options, durable=durable)
    )
    location = WebHdfsLocation if is_web else HdfsLocation
    try:
        return location(
            transport,
            options,
            open_settings,
            capabilities(settings),
            create=create,
            token=secrets.token_hex(4),
        )
    except BaseException:
        transport.close()
        raise


DRIVER = Driver(
    type="hdfs",
    title="A folder of a Hadoop distributed file system (HDFS), natively or through WebHDFS",
    options_schema=options_schema,
    open=open_location,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
    requires=("hdfs_native", "urllib3"),
    extra="hdfs",
)
