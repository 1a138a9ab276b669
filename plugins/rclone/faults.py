"""What rclone's error texts mean for one path: the only place where they become EntryErrors."""

from __future__ import annotations

import re

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.wire import terminal_safe

_RETRY = Disposition.RETRY

# The first pattern that matches decides. Texts are rclone's own, or those of servers that it passes on.
_MEANINGS: tuple[tuple[re.Pattern[str], EntryCode, Disposition | None], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), code, disposition)
    for pattern, code, disposition in (
        (r"source file is being updated", EntryCode.CHANGED_DURING_TRANSFER, None),
        (r"corrupted on transfer|hash(es)? differ|not an encrypted file", EntryCode.CHECKSUM_FAILURE, None),
        (r"PreconditionFailed|precondition failed|\b412\b", EntryCode.STALE, None),
        (r"SlowDown|too many requests|\b429\b|rate.?limit|\b503\b", EntryCode.UNAVAILABLE, _RETRY),
        (
            r"no space left|remaining disk space|insufficient.?storage|\b507\b|quota|^552\b|: 552\b",
            EntryCode.NO_SPACE,
            None,
        ),
        (r"read-only file system|is read.?only", EntryCode.READ_ONLY, None),
        (
            r"name too long|KeyTooLong|name is too long|invalid argument|illegal byte sequence|malformed path",
            EntryCode.NAME_NOT_ALLOWED,
            None,
        ),
        (
            r"permission denied|access.?denied|operation not permitted|forbidden|\b403\b|\b401\b|unauthorized"
            r"|SignatureDoesNotMatch|InvalidAccessKeyId|unable to authenticate|login incorrect|\b530\b"
            r"|authentication fail|logon failure",
            EntryCode.PERMISSION_DENIED,
            None,
        ),
        (r"\b423\b|locked|sharing violation", EntryCode.LOCKED, None),
        (r"i/o timeout|deadline exceeded|timed? ?out", EntryCode.TIMEOUT, None),
        (
            r"connection refused|connection reset|broken pipe|no route to host|network is unreachable|no such host"
            r"|\bEOF\b|\b502\b|\b504\b|connection (was )?(closed|lost)|use of closed|dial tcp|couldn't connect"
            r"|context canceled|not connected",
            EntryCode.UNAVAILABLE,
            _RETRY,
        ),
        (
            r"is a file not a directory|not a directory|is a directory|can't move object",
            EntryCode.KIND_CONFLICT,
            None,
        ),
        (r"not empty", EntryCode.STALE, None),
        (
            r"object not found|directory not found|no such (file|directory|key|bucket)|does not exist|not found"
            r"|NoSuchKey|NoSuchBucket|\b404\b",
            EntryCode.NOT_FOUND,
            None,
        ),
    )
)
_ABSENT = frozenset({EntryCode.NOT_FOUND, EntryCode.KIND_CONFLICT})
LONGEST_MESSAGE = 400


def classify(text: str, path: str, doing: str, *, names: tuple[str, ...] = ()) -> EntryError:
    """`names` are paths as rclone was given them: they may repeat in its text and must not decide its meaning."""
    bare = text
    for name in sorted(names, key=len, reverse=True):
        if any(pattern.search(name) for pattern, _, _ in _MEANINGS):
            bare = bare.replace(name, "...")
    message = f"cannot {doing} {shown(path)}: {terminal_safe(text)[:LONGEST_MESSAGE]}"
    for pattern, code, disposition in _MEANINGS:
        if pattern.search(bare):
            return EntryError(code, path, message, disposition=disposition)
    return EntryError(EntryCode.IO_ERROR, path, message)


def means_absent(error: EntryError) -> bool:
    """True when the error says that nothing stands there (or a file stands in the place of a folder)."""
    return error.entry_code in _ABSENT


def is_bad_request(error: EntryError) -> bool:
    """True for WebDAV's 400, which Apache says to anything below a file, and others to much else."""
    return "400 Bad Request" in str(error.__cause__)


def unavailable(path: str, message: str) -> EntryError:
    """The daemon or the storage cannot be reached now; another attempt may."""
    return EntryError(EntryCode.UNAVAILABLE, path, message, disposition=_RETRY)


def stale(path: str, message: str) -> EntryError:
    return EntryError(EntryCode.STALE, path, f"{shown(path)}: {message}")


def changed(path: str, message: str) -> EntryError:
    return EntryError(EntryCode.CHANGED_DURING_TRANSFER, path, f"{shown(path)}: {message}")


def shown(path: str) -> str:
    """A path for a message: nothing in it can move a terminal's cursor."""
    return terminal_safe(path) if path else "the root"
