"""Where a location is: its options with defaults applied, and what can be told without connecting."""

from __future__ import annotations

import functools
import json
import urllib.parse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from runner.errors import LocationUnavailableError
from runner.locations.protocol import Capabilities
from runner.model.task import LocationSettings
from runner.model.wire import terminal_safe

from ..objects.declared import folder_prefix, revealed
from ..objects.location import object_capabilities
from .naming import name_rules

_PUBLIC_SUFFIX = "core.windows.net"


class Address(msgspec.Struct, frozen=True):
    """Everything but secrets. `service` is the account's blob endpoint without a slash at its end."""

    account: str
    service: str
    container: str
    prefix: str

    @classmethod
    def of(cls, settings: LocationSettings) -> Address:
        """Raises LocationUnavailableError for a connection string that names no account."""
        options = settings.options
        account: str | None = options.get("account")
        service: str | None = options.get("endpoint_url")
        if "connection_string" in options:
            fields = connection_fields(settings)
            account = account or fields.get("accountname")
            service = service or _service_of(fields, account)
        if service is None and account is not None:
            service = f"https://{account}.blob.{_PUBLIC_SUFFIX}"
        if service is None:
            raise LocationUnavailableError(
                f"{settings.name}: connection_string names no account (AccountName or BlobEndpoint)"
            )
        service = service.rstrip("/")
        return cls(account or _account_in(service), service, options["container"], folder_prefix(settings))


def connection_fields(settings: LocationSettings) -> dict[str, str]:
    """The fields of the connection string by lower-case name. They hold secrets."""
    fields = {}
    for field in revealed(settings.options["connection_string"]).strip().split(";"):
        name, equals, value = field.partition("=")
        if equals:
            fields[name.strip().lower()] = value.strip()
    return fields


def _service_of(fields: Mapping[str, str], account: str | None) -> str | None:
    if "blobendpoint" in fields:
        return fields["blobendpoint"]
    if account is None:
        return None
    scheme = fields.get("defaultendpointsprotocol", "https")
    return f"{scheme}://{account}.blob.{fields.get('endpointsuffix', _PUBLIC_SUFFIX)}"


def _account_in(service: str) -> str:
    """The account that an endpoint speaks of: the last step of its path (emulators), or the host's first name."""
    parts = urllib.parse.urlsplit(service)
    return parts.path.strip("/").rpartition("/")[2] or (parts.hostname or "").partition(".")[0]


def capabilities(settings: LocationSettings) -> Capabilities:
    """What the container can hold, with these options."""
    options: Mapping[str, Any] = settings.options
    prefix = folder_prefix(settings)
    shared = object_capabilities(
        prefix,
        posix=bool(options.get("posix_metadata", True)),
        markers=bool(options.get("directory_markers", True)),
        tags=bool(options.get("object_tags", True)),
        max_concurrency=int(options.get("concurrency", 128)),
    )
    # Azurite lists in the order of UTF-16, and what Azure does is nowhere promised.
    return msgspec.structs.replace(shared, sorted_scan=False, names=name_rules(prefix))


@functools.cache
def options_schema() -> Mapping[str, Any]:
    schema: dict[str, Any] = json.loads(
        Path(__file__).with_name("options.schema.json").read_text(encoding="utf-8")
    )
    return schema


def describe(settings: LocationSettings) -> str:
    address = Address.of(settings)
    return terminal_safe(f"{address.service}/{address.container}/{address.prefix}".rstrip("/"))


def overlaps(one: LocationSettings, other: LocationSettings) -> bool:
    first, second = Address.of(one), Address.of(other)
    if (first.service, first.container) != (second.service, second.container):
        return False
    return first.prefix.startswith(second.prefix) or second.prefix.startswith(first.prefix)


def wide_root(settings: LocationSettings) -> str | None:
    """A container's root holds whatever anybody put there."""
    if folder_prefix(settings) or settings.options.get("whole_container", False):
        return None
    return "it is the root of a container; name a prefix, or say `whole_container: true`"
