"""Which names Google Cloud Storage holds: https://cloud.google.com/storage/docs/objects#naming."""

from __future__ import annotations

import re

from runner.errors import EntryCode, EntryError
from runner.locations.names import NameRules

MAX_KEY_BYTES = 1024
FORBIDDEN = "\r\n"
_UNHELD = re.compile("[\r\n\0\ud800-\udfff]")
_RESERVED = ".well-known/acme-challenge/"


def name_rules(prefix: str) -> NameRules:
    return NameRules(
        max_path_bytes=MAX_KEY_BYTES - 1 - len(prefix.encode("utf-8")), utf8=True, forbidden=FORBIDDEN
    )


def require_name(key: str) -> None:
    """Raises EntryError(NAME_NOT_ALLOWED) for what is no object's name."""
    if key in (".", "..") or _UNHELD.search(key) or key.startswith(_RESERVED):
        raise EntryError(EntryCode.NAME_NOT_ALLOWED, key, "Google Cloud Storage holds no object of this name")
    if len(key.encode("utf-8")) > MAX_KEY_BYTES:
        message = f"Google Cloud Storage holds names of at most {MAX_KEY_BYTES} bytes"
        raise EntryError(EntryCode.NAME_NOT_ALLOWED, key, message)
