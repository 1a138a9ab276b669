"""Which names Azure Blob Storage holds as they are.

"Naming and Referencing Containers, Blobs, and Metadata" of the REST reference, and what the service does without
saying so: `\\` becomes `/`, a dot at the end of a name is dropped, control characters make a container unlistable.
"""

from __future__ import annotations

import re

from runner.errors import EntryCode, EntryError
from runner.locations.names import NameRules

MAX_NAME_CHARACTERS = 1024
MAX_SEGMENTS = 254

# XML 1.0, in which Azure lists, holds no U+FFFE and U+FFFF; C1 controls are refused by the service.
_FORBIDDEN = "\\\ufffe\uffff" + "".join(map(chr, range(0x80, 0xA0)))
_UNWRITABLE = re.compile(f"[\x00-\x1f\x7f{re.escape(_FORBIDDEN)}\ud800-\udfff]|\\.(?:/|\\Z)")
_UNREADABLE = re.compile("[\x00\\\\\ud800-\udfff]|(?:^|/)\\.\\.?(?:/|\\Z)")


def name_rules(prefix: str) -> NameRules:
    """The rules for names below a prefix. Azure counts characters as .NET does, in UTF-16 units; a folder's marker needs
    one for its slash."""
    return NameRules(
        max_path_units=MAX_NAME_CHARACTERS - units(prefix) - 1,
        max_depth=MAX_SEGMENTS - prefix.count("/"),
        utf8=True,
        forbidden=_FORBIDDEN,
        controls=False,
        forbidden_end=".",
    )


def units(text: str) -> int:
    """Characters as Azure counts them."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def require_name(key: str, *, writing: bool) -> None:
    """Raises EntryError(NAME_NOT_ALLOWED) when a request for this blob would reach another one, or none."""
    if units(key) > MAX_NAME_CHARACTERS or key.count("/") >= MAX_SEGMENTS:
        message = f"Azure holds at most {MAX_NAME_CHARACTERS} characters and {MAX_SEGMENTS} levels"
        raise EntryError(EntryCode.NAME_NOT_ALLOWED, key, message)
    if (_UNWRITABLE if writing else _UNREADABLE).search(key):
        message = "Azure would not keep this name as it is"
        raise EntryError(EntryCode.NAME_NOT_ALLOWED, key, message)
