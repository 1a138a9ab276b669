"""Metadata, headers and tags of a blob: between what object stores share and what Azure can hold.

Azure takes only C# identifiers as metadata names. DataSync's `file-permissions` and its siblings are therefore kept as
`file_permissions` (objects.metadata.UNDERSCORES), and any other name that Azure does not take is kept the way AzCopy
does it (`--s2s-handle-invalid-metadata=RenameIfInvalid`): `rename_my_key` holds the value, `rename_key_my_key` the name.
Reading turns that back.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping
from xml.sax.saxutils import escape

from runner.errors import EntryCode, EntryError

from ..objects.client import Pairs

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PRINTABLE = re.compile(r"(?:[!-~](?:[ -~]*[!-~])?)?")
_RENAMED = "rename_"
_RENAMED_KEY = "rename_key_"
_META = "x-ms-meta-"

HEADER_FIELDS = {
    "cache-control": "x-ms-blob-cache-control",
    "content-disposition": "x-ms-blob-content-disposition",
    "content-encoding": "x-ms-blob-content-encoding",
    "content-language": "x-ms-blob-content-language",
    "content-type": "x-ms-blob-content-type",
}


def metadata_headers(metadata: Pairs, key: str) -> dict[str, str]:
    """The request headers that store this metadata. Raises EntryError(ATTRIBUTES_REFUSED) for a value that no
    header can carry."""
    headers = {}
    for name, value in metadata:
        if not _PRINTABLE.fullmatch(value) or not _PRINTABLE.fullmatch(name):
            message = f"Azure holds no metadata like {name!r}: values are printable ASCII without blanks at the ends"
            raise EntryError(EntryCode.ATTRIBUTES_REFUSED, key, message)
        for stored_name, stored_value in _stored(name, value):
            headers[_META + stored_name] = stored_value
    return headers


def _stored(name: str, value: str) -> Iterable[tuple[str, str]]:
    if _IDENTIFIER.fullmatch(name) and not name.startswith(_RENAMED):
        return [(name, value)]
    valid = re.sub(r"[^A-Za-z0-9_]", "_", name)
    return [(_RENAMED + valid, value), (_RENAMED_KEY + valid, name)]


def shared_metadata(stored: Iterable[tuple[str, str]]) -> Pairs:
    """Metadata as Azure tells it, in the form and order that all object stores share."""
    present = {name.lower(): value for name, value in stored}
    metadata = {}
    for name, value in present.items():
        if name.startswith(_RENAMED_KEY):
            if _RENAMED + name.removeprefix(_RENAMED_KEY) in present:
                continue
        elif name.startswith(_RENAMED):
            original = present.get(_RENAMED_KEY + name.removeprefix(_RENAMED))
            if original is not None:
                metadata[original.lower()] = value
                continue
        metadata[name] = value
    return tuple(sorted(metadata.items()))


def metadata_of(headers: Mapping[str, str]) -> Pairs:
    """The metadata in an answer's headers."""
    return shared_metadata(
        (name[len(_META) :], value) for name, value in headers.items() if name.lower().startswith(_META)
    )


def content_headers(pairs: Pairs) -> dict[str, str]:
    """The request headers that store Content-Type and its siblings."""
    return {HEADER_FIELDS[name]: value for name, value in pairs if name in HEADER_FIELDS}


def tags_header(tags: Pairs) -> str:
    return urllib.parse.urlencode(tags, quote_via=urllib.parse.quote)


def tags_body(tags: Pairs) -> bytes:
    inner = "".join(
        f"<Tag><Key>{escape(name)}</Key><Value>{escape(value)}</Value></Tag>" for name, value in tags
    )
    return f'<?xml version="1.0" encoding="utf-8"?><Tags><TagSet>{inner}</TagSet></Tags>'.encode()
