"""What a declaration of an S3 location names, and what can be said of it before it is opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from runner.locations.protocol import Capabilities
from runner.model.task import LocationSettings, Secret
from runner.model.wire import terminal_safe

from ..objects.location import object_capabilities
from .options import folder_prefix


def _text(settings: LocationSettings, name: str, default: str = "") -> str:
    value = settings.options.get(name, default)
    return "***" if isinstance(value, Secret) else str(value)


def describe(settings: LocationSettings) -> str:
    """The address for people."""
    bucket, prefix = _text(settings, "bucket"), folder_prefix(_text(settings, "prefix"))
    where = urlsplit(_text(settings, "endpoint_url")).netloc.rpartition("@")[2]
    address = f"s3://{bucket}/{prefix}" + (f" at {where}" if where else "")
    return terminal_safe(address)


def capabilities(settings: LocationSettings) -> Capabilities:
    """What the bucket can hold, with these options."""
    options: Mapping[str, Any] = settings.options
    tags_by_default = settings.type == "s3"
    return object_capabilities(
        folder_prefix(_text(settings, "prefix")),
        posix=bool(options.get("posix_metadata", True)),
        markers=bool(options.get("directory_markers", True)),
        tags=bool(options.get("object_tags", tags_by_default)),
        max_concurrency=int(options.get("concurrency", 128)),
    )


def overlaps(left: LocationSettings, right: LocationSettings) -> bool:
    """True when both are in one bucket and one's prefix begins with the other's."""
    if _text(left, "bucket") != _text(right, "bucket"):
        return False
    if _endpoint(left) != _endpoint(right):
        return False
    one, other = (folder_prefix(_text(settings, "prefix")) for settings in (left, right))
    return one.startswith(other) or other.startswith(one)


def _endpoint(settings: LocationSettings) -> tuple[str, int | None]:
    parts = urlsplit(_text(settings, "endpoint_url"))
    default = 443 if parts.scheme == "https" else 80
    return parts.hostname or "", (parts.port or default) if parts.hostname else None


def wide_root(settings: LocationSettings) -> str | None:
    """A bucket's root holds whatever anybody put there."""
    if folder_prefix(_text(settings, "prefix")) == "" and not settings.options.get("whole_bucket", False):
        return "it is the root of a bucket; name a prefix, or say `whole_bucket: true`"
    return None
