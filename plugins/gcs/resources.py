"""The JSON API's resources: what an object's says, and what is sent to write one.

https://cloud.google.com/storage/docs/json_api/v1/objects. Every number of 64 bits is text there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from ..objects.client import Description, ObjectFacts, Page, Pairs

FIELDS = (
    "name,size,generation,metageneration,timeCreated,updated,md5Hash,crc32c,storageClass,metadata,"
    "contentType,contentEncoding,contentLanguage,contentDisposition,cacheControl"
)
"""What is asked for of each object: a third of what the API sends unasked."""

HEADERS = (
    ("cache-control", "cacheControl", "cache_control"),
    ("content-disposition", "contentDisposition", "content_disposition"),
    ("content-encoding", "contentEncoding", "content_encoding"),
    ("content-language", "contentLanguage", "content_language"),
    ("content-type", "contentType", "content_type"),
)
_META = "x-goog-meta-"
_FRACTION = re.compile(r"\.([0-9]+)")


class ObjectResource(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    size: str = "0"
    generation: str | None = None
    metageneration: str | None = None
    time_created: str | None = None
    updated: str | None = None
    md5_hash: str | None = None
    crc32c: str | None = None
    storage_class: str | None = None
    metadata: dict[str, str] | None = None
    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    content_disposition: str | None = None
    cache_control: str | None = None


class Listing(msgspec.Struct, frozen=True, rename="camel"):
    items: Sequence[ObjectResource] = ()
    prefixes: Sequence[str] = ()
    next_page_token: str | None = None


class Rewriting(msgspec.Struct, frozen=True, rename="camel"):
    done: bool
    rewrite_token: str | None = None
    resource: ObjectResource | None = None


class ErrorDetail(msgspec.Struct, frozen=True):
    reason: str = ""


class ErrorBody(msgspec.Struct, frozen=True):
    message: str = ""
    errors: Sequence[ErrorDetail] = ()


class ErrorAnswer(msgspec.Struct, frozen=True):
    error: ErrorBody | str = ""


# Made here, by one thread: msgspec (0.22) crashes when two threads look into a type for the first time at once.
OBJECT = msgspec.json.Decoder(ObjectResource)
LISTING = msgspec.json.Decoder(Listing)
REWRITING = msgspec.json.Decoder(Rewriting)
ERROR = msgspec.json.Decoder(ErrorAnswer)


def facts_of(resource: ObjectResource, served_ns: int | None = None) -> ObjectFacts:
    """Raises ValueError for a resource that cannot be true."""
    size = int(resource.size)
    if size < 0:
        raise ValueError(f"a size of {size}")
    return ObjectFacts(
        key=resource.name,
        size_bytes=size,
        modified_ns=instant_ns(resource.time_created or resource.updated),
        etag=etag_of(resource),
        version=resource.generation,
        metadata=tuple(sorted((name.lower(), value) for name, value in (resource.metadata or {}).items())),
        headers=headers_of(resource),
        tags=(),
        storage_class=resource.storage_class,
        digests=digests_of(resource),
        served_ns=served_ns,
    )


def etag_of(resource: ObjectResource) -> str | None:
    """Generation and metageneration: what conditions name. The API's own etag cannot be a condition of writing."""
    if not resource.generation:
        return None
    return f"{resource.generation}.{resource.metageneration or '1'}"


def generations(etag: str) -> tuple[str, str]:
    """(generation, metageneration) of an etag made by `etag_of`; ("0", "0"), which nothing has, for any other."""
    generation, dot, metageneration = etag.partition(".")
    if dot and generation.isdigit() and metageneration.isdigit():
        return generation, metageneration
    return "0", "0"


def digests_of(resource: ObjectResource) -> tuple[tuple[str, str], ...]:
    """Computed by the service from what it holds; composite objects have no MD5. What is no base64 is left out."""
    found = (("md5", resource.md5_hash), ("crc32c", resource.crc32c))
    return tuple((name, digest) for name, text in found if text and (digest := _hexadecimal(text)))


def _hexadecimal(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).hex()
    except ValueError:
        return None


def headers_of(resource: ObjectResource) -> Pairs:
    found = ((name, getattr(resource, field)) for name, _, field in HEADERS)
    return tuple((name, value) for name, value in found if value)


def metadata_of(headers: Mapping[str, str]) -> Pairs | None:
    """Metadata in the headers that come with content; None where none is told, which says nothing."""
    found = {
        name.lower().removeprefix(_META): value
        for name, value in headers.items()
        if name.lower().startswith(_META)
    }
    return tuple(sorted(found.items())) or None


def page_of(listing: Listing, served_ns: int | None) -> Page:
    objects = [facts_of(resource, served_ns) for resource in listing.items]
    return Page(objects, listing.next_page_token or None, served_ns, list(listing.prefixes))


def written(description: Description, **fields: Any) -> dict[str, Any]:
    """The resource to send for a new object."""
    resource: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    given = dict(description.headers)
    resource.update((field, given[name]) for name, field, _ in HEADERS if name in given)
    if description.metadata:
        resource["metadata"] = dict(description.metadata)
    return resource


def patched(present: ObjectFacts, description: Description) -> dict[str, Any]:
    """The patch that turns the one into the other; null removes. Empty when nothing differs."""
    patch: dict[str, Any] = {}
    before, after = dict(present.headers or ()), dict(description.headers)
    for name, field, _ in HEADERS:
        if before.get(name) != after.get(name):
            patch[field] = after.get(name)
    held, wanted = dict(present.metadata or ()), dict(description.metadata)
    changed: dict[str, str | None] = {name: None for name in held if name not in wanted}
    changed.update((name, value) for name, value in wanted.items() if held.get(name) != value)
    if changed:
        patch["metadata"] = changed
    return patch


def instant_ns(text: str | None) -> int | None:
    """RFC 3339 with any number of digits behind the point, in nanoseconds since 1970."""
    if not text:
        return None
    fraction = _FRACTION.search(text)
    try:
        whole = datetime.fromisoformat(_FRACTION.sub("", text))
    except ValueError:
        return None
    digits = fraction[1][:9].ljust(9, "0") if fraction else "0"
    return int(whole.timestamp()) * 1_000_000_000 + int(digits)
