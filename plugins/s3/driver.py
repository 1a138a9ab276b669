"""The entry points: locations of types `s3` and `object_storage`."""

from __future__ import annotations

import functools
import ssl

from runner.clock import SystemClock
from runner.errors import LocationUnavailableError
from runner.locations.protocol import Driver, Location, OpenSettings
from runner.model.task import LocationSettings

from ..objects.location import ObjectSettings
from ..objects.memory import Memory
from ..objects.uploads import PartSettings
from ..objects.writing import Sizes
from .address import capabilities, describe, overlaps, wide_root
from .client import S3Client
from .credentials import key_source
from .location import S3Location
from .options import S3Options, schema_of
from .proof import prove


def open_location(settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
    """Open a bucket. Raises LocationUnavailableError: no bucket, no credentials, refused credentials, no route."""
    where = describe(settings)
    options = S3Options.of(settings)
    clock = SystemClock()
    identity = f"{options.endpoint}/{options.bucket}/{options.prefix}"

    def memory() -> Memory:
        return Memory(open_settings.cache_directory, identity)

    client = S3Client(
        options,
        key_source(options, where),
        _tls(options, where),
        clock,
        lambda asking: prove(asking, memory, open_settings.execution_id),
    )
    return S3Location(
        client,
        ObjectSettings(
            where=where,
            prefix=options.prefix,
            identity=identity,
            create=options.create_bucket,
            posix=options.posix_metadata,
            markers=options.directory_markers,
            sizes=Sizes(
                options.multipart_threshold_bytes,
                PartSettings(options.part_size_bytes, options.part_concurrency),
            ),
            looks=min(options.concurrency, 32),
            keep_uploads_seconds=options.keep_uploads_seconds,
        ),
        open_settings,
        capabilities(settings),
        clock,
        create=create,
        memory=memory(),
    )


@functools.lru_cache(maxsize=8)
def _context(ca_file: str | None) -> ssl.SSLContext:
    """One for all connections: making one reads the system's certificates. Thread-safe once made."""
    return ssl.create_default_context(cafile=ca_file)


def _tls(options: S3Options, where: str) -> ssl.SSLContext | None:
    if not options.address.tls:
        return None
    try:
        return _context(options.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise LocationUnavailableError(f"{where}: cannot read ca_file {options.ca_file}: {error}") from error


S3 = Driver(
    type="s3",
    title="Amazon S3: a bucket, or a prefix of one",
    options_schema=lambda: schema_of("options.schema.json"),
    open=open_location,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
)

OBJECT_STORAGE = Driver(
    type="object_storage",
    title="Self-managed object storage: any server that speaks S3",
    options_schema=lambda: schema_of("object_storage.schema.json"),
    open=open_location,
    describe=describe,
    capabilities=capabilities,
    overlaps=overlaps,
    wide_root=wide_root,
)
