"""What Azure's answers say: pages of a listing, tags, blocks, errors."""

from __future__ import annotations

import base64
import urllib.parse
import xml.etree.ElementTree as ET  # see _parsed
from collections.abc import Iterator, Mapping

from runner.errors import Disposition, EntryCode, EntryError

from ..objects.client import ObjectFacts, Page, Pairs
from ..objects.rest import Refusal, date_ns
from .describing import HEADER_FIELDS, metadata_of, shared_metadata

FOLDER_MARK = "hdi_isfolder"
"""Metadata `hdi_isfolder: true` marks folders: for us and rclone on a blob `a/`, for Hadoop and hierarchical accounts
on a blob `a`."""

_LISTED_HEADERS = tuple((name, name.title()) for name in sorted(HEADER_FIELDS))


class UnreadableAnswerError(Exception):
    """An answer that is not what the service's reference says."""


def page(body: bytes, served_ns: int | None, *, with_tags: bool) -> Page:
    """A page of a listing. Raises UnreadableAnswerError for anything but a whole one."""
    root = _parsed(body)
    blobs = root.find("Blobs")
    if root.tag != "EnumerationResults" or blobs is None:
        raise UnreadableAnswerError(f"a listing was expected, {root.tag!r} came")
    listed = (_listed(blob, served_ns, with_tags) for blob in blobs.iter("Blob"))
    objects = [found for found in listed if found is not None]
    folders = [_name(prefix) for prefix in blobs.iter("BlobPrefix")]
    return Page(objects, root.findtext("NextMarker") or None, served_ns, folders, in_order=False)


def _listed(blob: ET.Element, served_ns: int | None, with_tags: bool) -> ObjectFacts | None:
    """None for the mark of a folder that is known by what is in it."""
    properties = blob.find("Properties")
    length = None if properties is None else properties.findtext("Content-Length")
    if properties is None or length is None or not length.isdigit():
        raise UnreadableAnswerError("a blob without a length was listed")
    metadata = blob.find("Metadata")
    key, size = _name(blob), int(length)
    described = shared_metadata(
        (field.tag, field.text or "") for field in (metadata if metadata is not None else ())
    )
    if is_folder_mark(key, size, described):
        return None
    tags = _tags(blob) if with_tags else None
    headers = [(name, properties.findtext(field)) for name, field in _LISTED_HEADERS]
    return ObjectFacts(
        key=key,
        size_bytes=size,
        modified_ns=date_ns(properties.findtext("Last-Modified")),
        etag=(properties.findtext("Etag") or "").strip('"') or None,
        metadata=unmarked(described),
        headers=tuple((name, value) for name, value in headers if value),
        tags=tags,
        storage_class=properties.findtext("AccessTier"),
        digests=_digests(properties.findtext("Content-MD5")),
        readable=properties.findtext("AccessTier") != "Archive",
        served_ns=served_ns,
    )


def is_folder_mark(key: str, size_bytes: int, metadata: Pairs) -> bool:
    """Whether a blob `a` only says that there is a folder `a/`."""
    return size_bytes == 0 and not key.endswith("/") and (FOLDER_MARK, "true") in metadata


def unmarked(metadata: Pairs) -> Pairs:
    """The metadata of a folder's own blob without the mark."""
    if (FOLDER_MARK, "true") not in metadata:
        return metadata
    return tuple(pair for pair in metadata if pair[0] != FOLDER_MARK)


def _digests(md5: str | None) -> tuple[tuple[str, str], ...]:
    """Content-MD5: compared by the service for content that came in one request, and set by us for blocks that
    were compared one by one."""
    try:
        return (("md5", base64.b64decode(md5 or "", validate=True).hex()),) if md5 else ()
    except ValueError:
        return ()


def _name(element: ET.Element) -> str:
    name = element.find("Name")
    if name is None or not name.text:
        raise UnreadableAnswerError("a blob without a name was listed")
    if name.get("Encoded") == "true":
        return urllib.parse.unquote(name.text)
    return name.text


def _tags(element: ET.Element) -> Pairs:
    found = ((tag.findtext("Key") or "", tag.findtext("Value") or "") for tag in element.iter("Tag"))
    return tuple(sorted(found))


def tags(body: bytes) -> Pairs:
    """The tags in the answer to Get Blob Tags."""
    return _tags(_parsed(body))


def uncommitted_blocks(body: bytes) -> Iterator[tuple[str, int]]:
    """(block id, size) of the blocks that were staged, in the order the service tells them."""
    for block in _parsed(body).iterfind("UncommittedBlocks/Block"):
        yield block.findtext("Name") or "", int(block.findtext("Size") or 0)


def facts(key: str, headers: Mapping[str, str], size_bytes: int) -> ObjectFacts | None:
    """What the headers of HEAD or GET say of a blob; None for the mark of a folder."""
    tier = headers.get("x-ms-access-tier")
    metadata = metadata_of(headers)
    if is_folder_mark(key, size_bytes, metadata):
        return None
    return ObjectFacts(
        key=key,
        size_bytes=size_bytes,
        modified_ns=date_ns(headers.get("last-modified")),
        etag=(headers.get("etag") or "").strip('"') or None,
        metadata=unmarked(metadata),
        headers=tuple((name, headers[name]) for name in sorted(HEADER_FIELDS) if headers.get(name)),
        tags=None if headers.get("x-ms-tag-count") else (),
        storage_class=tier,
        # The content-md5 of an answer with a range is that of the range.
        digests=_digests(headers.get("x-ms-blob-content-md5") or headers.get("content-md5")),
        readable=tier != "Archive",
        served_ns=date_ns(headers.get("date")),
    )


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> Refusal:
    """An answer that is no success, with the service's own words where it has some."""
    message = ""
    if body:
        try:
            message = (_parsed(body).findtext("Message") or "").split("\n", 1)[0]
        except UnreadableAnswerError:
            pass
    return Refusal(status, headers.get("x-ms-error-code") or "", message, headers)


_BY_CODE = {
    "BlobArchived": (EntryCode.IO_ERROR, Disposition.SKIP),
    "BlobBeingRehydrated": (EntryCode.IO_ERROR, Disposition.SKIP),
    "SnapshotsPresent": (EntryCode.LOCKED, Disposition.SKIP),
    "BlobImmutableDueToPolicy": (EntryCode.LOCKED, Disposition.SKIP),
    "Md5Mismatch": (EntryCode.CHECKSUM_FAILURE, Disposition.RETRY),
    "OutOfRangeInput": (EntryCode.NAME_NOT_ALLOWED, Disposition.SKIP),
    "InvalidResourceName": (EntryCode.NAME_NOT_ALLOWED, Disposition.SKIP),
    "InvalidUri": (EntryCode.NAME_NOT_ALLOWED, Disposition.SKIP),
    "InvalidMetadata": (EntryCode.ATTRIBUTES_REFUSED, Disposition.SKIP),
    "MetadataTooLarge": (EntryCode.ATTRIBUTES_REFUSED, Disposition.SKIP),
    "InvalidTags": (EntryCode.ATTRIBUTES_REFUSED, Disposition.SKIP),
    "TagsTooLarge": (EntryCode.ATTRIBUTES_REFUSED, Disposition.SKIP),
    "ContainerBeingDeleted": (EntryCode.UNAVAILABLE, Disposition.RETRY),
    "PendingCopyOperation": (EntryCode.LOCKED, Disposition.SKIP),
    "InvalidBlockList": (EntryCode.UNAVAILABLE, Disposition.RETRY),
    "AccountIsDisabled": (EntryCode.UNAVAILABLE, Disposition.ABORT),
}
CONDITION_CODES = frozenset(
    {"BlobAlreadyExists", "ConditionNotMet", "SourceConditionNotMet", "TargetConditionNotMet"}
)


def is_lease(refused: Refusal) -> bool:
    """Whether another program holds the blob: 412 too, and yet no condition of ours."""
    return refused.code.startswith("Lease")


def failure(refused: Refusal, key: str) -> EntryError:
    """The classified error. Conditions that do not hold are told apart before: see CONDITION_CODES."""
    general = refused.error(key)
    code, disposition = _BY_CODE.get(refused.code, (None, None))
    if is_lease(refused):
        code, disposition = EntryCode.LOCKED, Disposition.SKIP
    if code is None:
        return general
    return EntryError(code, key, general.message, disposition=disposition)


TAGS_AT_MOST = 1_000_000
"""A page of 5,000 blobs with a dozen pieces of metadata each has some 500,000."""


def _parsed(body: bytes) -> ET.Element:
    """XML of a service that may lie: expat fetches nothing, and documents that declare entities are refused."""
    if b"<!DOCTYPE" in body[:1024] or b"<!ENTITY" in body[:1024]:
        raise UnreadableAnswerError("an answer declares entities")
    if body.count(b"<") > TAGS_AT_MOST:
        # An element takes a hundred times the memory of its tag.
        raise UnreadableAnswerError(f"an answer holds more than {TAGS_AT_MOST} tags")
    try:
        return ET.fromstring(body.removeprefix(b"\xef\xbb\xbf"))  # noqa: S314
    except ET.ParseError as error:
        raise UnreadableAnswerError(f"an answer is no XML: {error}") from error
