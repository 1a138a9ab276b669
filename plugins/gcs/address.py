"""Where a location is, and what can be told of it without connecting."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.locations.protocol import Capabilities
from runner.model.task import LocationSettings
from runner.model.wire import terminal_safe

from ..objects.declared import folder_prefix
from ..objects.location import object_capabilities
from .naming import name_rules

GOOGLE_URL = "https://storage.googleapis.com"


@functools.cache
def options_schema() -> Mapping[str, Any]:
    schema: dict[str, Any] = json.loads(
        Path(__file__).with_name("options.schema.json").read_text(encoding="utf-8")
    )
    return schema


def service_of(settings: LocationSettings) -> str:
    return str(settings.options.get("endpoint_url", GOOGLE_URL)).rstrip("/")


def describe(settings: LocationSettings) -> str:
    """The address for people."""
    service = service_of(settings)
    where = "" if service == GOOGLE_URL else f" at {service.rpartition('@')[2]}"
    return terminal_safe(f"gs://{settings.options['bucket']}/{folder_prefix(settings)}{where}")


def capabilities(settings: LocationSettings) -> Capabilities:
    """What the bucket can hold, with these options. Google lists in the order of UTF-8."""
    options: Mapping[str, Any] = settings.options
    prefix = folder_prefix(settings)
    shared = object_capabilities(
        prefix,
        posix=bool(options.get("posix_metadata", True)),
        markers=bool(options.get("directory_markers", True)),
        max_concurrency=int(options.get("concurrency", 128)),
    )
    return msgspec.structs.replace(shared, names=name_rules(prefix))


def overlaps(one: LocationSettings, other: LocationSettings) -> bool:
    if (service_of(one), one.options["bucket"]) != (service_of(other), other.options["bucket"]):
        return False
    first, second = folder_prefix(one), folder_prefix(other)
    return first.startswith(second) or second.startswith(first)


def wide_root(settings: LocationSettings) -> str | None:
    """A bucket's root holds whatever anybody put there."""
    if folder_prefix(settings) or settings.options.get("whole_bucket", False):
        return None
    return "it is the root of a bucket; name a prefix, or say `whole_bucket: true`"
