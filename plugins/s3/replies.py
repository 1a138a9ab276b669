"""What S3's replies say: headers and XML documents become values.

The documents come from a peer that is not trusted: expat refuses entity bombs, everything else is checked here.
"""

from __future__ import annotations

import base64
import calendar
import functools
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from email.header import decode_header
from email.utils import mktime_tz, parsedate_tz
from urllib.parse import unquote_to_bytes

from ..objects.client import ObjectFacts, Page, Pairs, Part, Upload

CONTENT_HEADERS = (
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
)
_ARCHIVED = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_MD5 = re.compile(r"[0-9a-f]{32}")
_INSTANT = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|\+00:00)")


_NAMESPACE = re.compile(rb'\s*(?:<\?xml[^>]*\?>)?\s*<\w+( xmlns="[^"]*")')
"""The namespace of the root element, and nothing that looks like one further on."""


class ReplyError(Exception):
    """A reply that is no answer to what was asked."""


@functools.lru_cache(maxsize=1024)
def http_date_ns(text: str | None) -> int | None:
    """An HTTP date in nanoseconds since 1970; None when there is none, or it is none."""
    parsed = parsedate_tz(text) if text else None
    return None if parsed is None else mktime_tz(parsed) * 1_000_000_000


def instant_ns(text: str | None) -> int | None:
    """2026-11-22T22:21:00.123Z in nanoseconds since 1970."""
    match = _INSTANT.fullmatch(text or "")
    if match is None:
        return None
    seconds = calendar.timegm((*map(int, match.group(1, 2, 3, 4, 5, 6)), 0, 0, 0))
    return seconds * 1_000_000_000 + int((match[7] or "0").ljust(9, "0"))


TAGS_AT_MOST = 400_000
"""A page of a thousand keys with everything S3 tells of them has some 20,000."""


def bare_etag(text: str | None) -> str | None:
    """An entity tag without its quotes."""
    return text.strip().strip('"') or None if text else None


def md5_of_etag(etag: str | None) -> str | None:
    """The MD5 an etag may be; whether it is one, the endpoint has to prove."""
    return etag if etag is not None and _MD5.fullmatch(etag) else None


def header_text(value: str) -> str:
    """A value as a header can hold it: RFC 2047 where it is more than printable ASCII, as S3 itself returns it."""
    if value.isascii() and value.isprintable() and value == value.strip():
        return value
    encoded = base64.b64encode(value.encode("utf-8", "surrogateescape")).decode("ascii")
    return f"=?UTF-8?B?{encoded}?="


def plain_text(value: str) -> str:
    """What `header_text` (or S3) made of a value, undone."""
    if "=?" not in value:
        # wire.py reads heads as Latin-1; servers that send UTF-8 as it is are understood too.
        return value if value.isascii() else value.encode("latin-1").decode("utf-8", "surrogateescape")
    try:
        pieces = decode_header(value)
        return "".join(
            piece if isinstance(piece, str) else piece.decode(charset or "utf-8", "surrogateescape")
            for piece, charset in pieces
        )
    except (LookupError, ValueError):
        return value


def facts_of_headers(key: str, headers: Mapping[str, str], size_bytes: int) -> ObjectFacts:
    """Facts from a HEAD or GET reply."""
    metadata = sorted(
        (name[11:], plain_text(value)) for name, value in headers.items() if name.startswith("x-amz-meta-")
    )
    storage_class = headers.get("x-amz-storage-class")
    return ObjectFacts(
        key=key,
        size_bytes=size_bytes,
        modified_ns=http_date_ns(headers.get("last-modified")),
        etag=bare_etag(headers.get("etag")),
        version=headers.get("x-amz-version-id"),
        metadata=tuple(metadata),
        headers=tuple((name, headers[name]) for name in CONTENT_HEADERS if name in headers),
        tags=() if headers.get("x-amz-tagging-count") == "0" else None,
        storage_class=storage_class,
        readable=storage_class not in _ARCHIVED
        or 'ongoing-request="false"' in headers.get("x-amz-restore", ""),
        served_ns=http_date_ns(headers.get("date")),
    )


def tree_of(document: bytes, *expected: str) -> ET.Element:
    """The root element with namespaces dropped. Raises ReplyError unless its name is one of `expected`, if any."""
    if document.count(b"<") > TAGS_AT_MOST:
        # An element takes a hundred times the memory of its tag.
        raise ReplyError(f"the reply holds more than {TAGS_AT_MOST} tags")
    try:
        # Without its namespace, names need not be cut out of each of a listing's 7,000 elements.
        match = _NAMESPACE.match(document)
        if match is not None:
            document = document[: match.start(1)] + document[match.end(1) :]
        root = ET.fromstring(document)  # noqa: S314 - see this module's docstring
    except ET.ParseError as error:
        raise ReplyError(f"the reply is no XML: {error}") from error
    if root.tag.startswith("{"):
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    if expected and root.tag not in expected:
        raise ReplyError(f"the reply is a {root.tag}, not a {expected[0]}")
    return root


def unquoted_key(text: str | None) -> str:
    """A key of a listing with encoding-type=url."""
    text = text or ""
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8", "surrogateescape")


def page_of(document: bytes, served_ns: int | None) -> Page:
    """A ListObjectsV2 reply that was asked for with encoding-type=url."""
    root = tree_of(document, "ListBucketResult")
    encoded = root.findtext("EncodingType") == "url"
    objects = []
    for contents in root.iter("Contents"):
        key, size, etag, modified, storage_class = None, None, None, None, None
        for field in contents:
            tag = field.tag
            if tag == "Key":
                key = field.text
            elif tag == "Size":
                size = field.text
            elif tag == "ETag":
                etag = field.text
            elif tag == "LastModified":
                modified = field.text
            elif tag == "StorageClass":
                storage_class = field.text
        if key is None or size is None or not size.isdigit():
            raise ReplyError("the listing holds an object without a key or a size")
        objects.append(
            ObjectFacts(
                unquoted_key(key) if encoded else key,
                int(size),
                instant_ns(modified),
                bare_etag(etag),
                storage_class=storage_class,
                readable=storage_class not in _ARCHIVED,
            )
        )
    folders = [
        unquoted_key(folder.text) if encoded else folder.text or ""
        for folder in root.iterfind("CommonPrefixes/Prefix")
    ]
    truncated = root.findtext("IsTruncated")
    if truncated not in ("true", "false"):
        raise ReplyError("the listing does not say whether it is complete")
    token = root.findtext("NextContinuationToken")
    if truncated == "true" and not token:
        raise ReplyError("the listing is not complete and does not say how it goes on")
    return Page(objects, token if truncated == "true" else None, served_ns, folders)


def uploads_of(document: bytes) -> tuple[list[Upload], tuple[str, str] | None]:
    """Uploads of a ListMultipartUploads reply (encoding-type=url), and the markers of the next page."""
    root = tree_of(document, "ListMultipartUploadsResult")
    encoded = root.findtext("EncodingType") == "url"
    uploads = []
    for upload in root.iter("Upload"):
        key, upload_id = upload.findtext("Key"), upload.findtext("UploadId")
        if key and upload_id:
            key = unquoted_key(key) if encoded else key
            uploads.append(Upload(key, upload_id, instant_ns(upload.findtext("Initiated"))))
    if root.findtext("IsTruncated") != "true":
        return uploads, None
    key_marker = root.findtext("NextKeyMarker") or ""
    return uploads, (
        unquoted_key(key_marker) if encoded else key_marker,
        root.findtext("NextUploadIdMarker") or "",
    )


def parts_of(document: bytes) -> tuple[list[Part], str | None]:
    """Parts of a ListParts reply, and the marker of the next page."""
    root = tree_of(document, "ListPartsResult")
    parts = []
    for part in root.iter("Part"):
        number, etag, size = (part.findtext(name) or "" for name in ("PartNumber", "ETag", "Size"))
        if number.isdigit() and size.isdigit():
            parts.append(Part(int(number), bare_etag(etag) or "", int(size)))
    truncated = root.findtext("IsTruncated") == "true"
    return parts, root.findtext("NextPartNumberMarker") if truncated else None


def tags_of(document: bytes) -> Pairs:
    root = tree_of(document, "Tagging")
    return tuple(sorted((tag.findtext("Key") or "", tag.findtext("Value") or "") for tag in root.iter("Tag")))


def completion(parts: Iterable[Part]) -> bytes:
    """The body of CompleteMultipartUpload."""
    lines = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{part.etag}&quot;</ETag></Part>"
        for part in parts
    )
    return f"<CompleteMultipartUpload>{lines}</CompleteMultipartUpload>".encode()


def tagging(tags: Pairs) -> bytes:
    """The body of PutObjectTagging."""
    root = ET.Element("Tagging")
    held = ET.SubElement(root, "TagSet")
    for name, value in tags:
        tag = ET.SubElement(held, "Tag")
        ET.SubElement(tag, "Key").text = name
        ET.SubElement(tag, "Value").text = value
    document: bytes = ET.tostring(root, encoding="utf-8")
    return document


def error_of(document: bytes) -> tuple[str, str]:
    """(code, message) of an error document; ("", "") where there is none."""
    if b"<Error" not in document[:512]:
        return "", ""  # nearly always: a listing is not parsed twice
    try:
        root = tree_of(document, "Error")
    except ReplyError:
        return "", ""
    return root.findtext("Code") or "", root.findtext("Message") or ""
