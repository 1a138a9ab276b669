"""Our paths and rclone's, and the names this driver reserves for itself.

rclone writes control characters in names as pictures (U+2401 for U+0001, U+2421 for DEL) and quotes a picture that
really stands in a name with U+201B. NUL and `/` cannot be in a name of ours, so their pictures (U+2400, U+FF0F) stand
for themselves. Names that hold U+201B itself come out of rclone as other names: they are refused.
"""

from __future__ import annotations

import re

from runner.locations.names import NameRules
from runner.model.entry import leaf_name

STATE_FOLDER = ".sync-runner"
QUARANTINE_FOLDER = ".sync-runner-quarantine"
QUOTE = "\u201b"
_TEMPORARY = re.compile(r"\.sync-runner-([0-9a-f]{12})-[0-9a-z]{1,40}\.part")
_TO_ENCODE = re.compile("[\x01-\x1f\x7f\u2401-\u241f\u2421]")
_TO_DECODE = re.compile("\u201b[\u2401-\u241f\u2421]|[\u2401-\u241f\u2421]")
_UNSURE = re.compile("[\u201b\ufffd]")

RULES = NameRules(utf8=True, forbidden="\u201b\u2400")
"""U+2400: a storage without pictures of its own (S3) would get a real NUL."""


def to_rclone(path: str) -> str:
    """A path of ours (a folder's may end with its slash) as rclone's calls take it."""
    path = path.removesuffix("/")
    if path.isascii() and path.isprintable():
        return path
    return _TO_ENCODE.sub(_encoded, path)


def from_rclone(path: str) -> str:
    """The inverse for every path that `is_certain`."""
    if path.isascii():
        return path
    return _TO_DECODE.sub(_decoded, path)


def is_certain(name: str) -> bool:
    """False for a listed name that may be another one's: U+201B, or U+FFFD in the place of bytes JSON cannot hold."""
    return name.isascii() or _UNSURE.search(_TO_DECODE.sub("", name)) is None


def refusal(path: str) -> str | None:
    """Why no entry can be made at `path`, None when it can: every name on the way counts."""
    if path == "":
        return None
    walked = ""
    for name in path.removesuffix("/").split("/"):
        walked += name
        if name in ("", ".", ".."):
            return "the path is not canonical"
        if "\0" in name:
            return "the name holds a NUL"
        if (reason := RULES.refusal(walked)) is not None:
            return reason
        walked += "/"
    return None


class TemporaryNames:
    """Names that no other execution and no other worker of this one makes."""

    def __init__(self, execution_id: str, token: str) -> None:
        """`token`: random lowercase hex digits, another one for each object."""
        self._stem = f".sync-runner-{execution_id}-{token}"
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"{self._stem}{self._count:x}.part"


def temporary_execution(name: str) -> str | None:
    """The execution id in the name of a temporary file of ours; None for any other name."""
    match = _TEMPORARY.fullmatch(name)
    return match[1] if match else None


def is_reserved(path: str, *, is_directory: bool) -> bool:
    """True for folders that are never part of a location's content."""
    if not is_directory:
        return False
    return leaf_name(path) == STATE_FOLDER or path.removesuffix("/") == QUARANTINE_FOLDER


def _encoded(match: re.Match[str]) -> str:
    character = match[0]
    if character == "\x7f":
        return "\u2421"
    return QUOTE + character if character > "\x7f" else chr(0x2400 + ord(character))


def _decoded(match: re.Match[str]) -> str:
    text = match[0]
    if len(text) == 2:
        return text[1]
    return "\x7f" if text == "\u2421" else chr(ord(text) - 0x2400)
