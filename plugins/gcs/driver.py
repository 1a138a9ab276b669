"""The entry point: locations of type `gcs`."""

from __future__ import annotations

from runner.clock import SystemClock
from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.task import LocationSettings

from ..objects.declared import folder_prefix, rest_of, sizes_of
from ..objects.location import ObjectLocation, ObjectSettings
from .address import capabilities, describe, options_schema, overlaps, service_of, wide_root
from .client import GcsClient, GcsSettings
from .credentials import token_source
from .requests import Requests


def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Open a bucket. Raises LocationUnavailableError: no bucket, refused credentials, no route."""
    options = settings.options
    service, bucket, prefix = service_of(settings), str(options["bucket"]), folder_prefix(settings)
    token, whose = token_source(settings)
    requests = Requests(
        rest_of(settings, service),
        token,
        bucket,
        identity=whose,
        user_project=options.get("user_project"),
    )
    client = GcsClient(requests, GcsSettings(options.get("project"), options.get("storage_class")))
    return ObjectLocation(
        client,
        ObjectSettings(
            where=describe(settings),
            prefix=prefix,
            identity=f"{service}/{bucket}/{prefix}",
            create=bool(options.get("create_bucket", False)),
            posix=bool(options.get("posix_metadata", True)),
            markers=bool(options.get("directory_markers", True)),
            # A session takes its parts one after another.
            sizes=sizes_of(settings, part_size="16MiB", part_concurrency=1),
            looks=min(int(options.get("concurrency", 32)), 32),
        ),
        open_settings,
        capabilities(settings),
        SystemClock(),
        create=create,
    )


DRIVER = Driver(
    type="gcs",
    title="Google Cloud Storage: a bucket, or a prefix of one",
    options_schema=options_schema,
    open=open_location,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
    # `google` first: asking for `google.auth` imports it.
    requires=("urllib3", "google_crc32c", "google", "google.auth"),
    extra="gcs",
)
