"""What rclone's error texts mean for one path: the only place where they become EntryErrors."""

from __future__ import annotations

import re

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.wire import terminal_safe

_RETRY = Disposition.RETRY

_PATH = re.compile(r"/[^:\"]*(?=[:\"])")
"""Paths and addresses in a text: a folder may be called 507, and crypt's names hold anything."""


def _status(number: int, words: str) -> str:
    """A status of HTTP or FTP: by its words, or by its number where numbers of that sort stand."""
    return rf"{words}|(?:StatusCode|HTTP error|status|status code):? {number}\b|(?:^|: ){number} "


# The first pattern that matches decides. Texts are rclone's own, or those of servers that it passes on.
_MEANINGS: tuple[tuple[re.Pattern[str], EntryCode, Disposition | None], ...] = tuple(
    (re.compile("|".join(patterns), re.IGNORECASE), code, disposition)
    for patterns, code, disposition in (
        (("source file is being updated",), EntryCode.CHANGED_DURING_TRANSFER, None),
        (
            ("corrupted on transfer", "hash(es)? differ", "not an encrypted file"),
            EntryCode.CHECKSUM_FAILURE,
            None,
        ),
        (("PreconditionFailed", _status(412, "precondition failed")), EntryCode.STALE, None),
        (
            (
                *("SlowDown", "rate.?limit", _status(429, "too many requests")),
                _status(503, "service unavailable"),
            ),
            EntryCode.UNAVAILABLE,
            _RETRY,
        ),
        (
            (
                *("no space left", "remaining disk space", "quota", _status(552, "exceeded storage")),
                _status(507, "insufficient storage"),
            ),
            EntryCode.NO_SPACE,
            None,
        ),
        (("read-only file system", "is read.?only"), EntryCode.READ_ONLY, None),
        (
            (
                *("name too long", "KeyTooLong", "name is too long", "invalid argument"),
                *("illegal byte sequence", "malformed path"),
            ),
            EntryCode.NAME_NOT_ALLOWED,
            None,
        ),
        (
            (
                *("permission denied", "access.?denied", "operation not permitted", "InvalidAccessKeyId"),
                *("SignatureDoesNotMatch", "unable to authenticate", "login incorrect", "logon failure"),
                *("authentication fail", _status(403, "forbidden"), _status(401, "unauthorized")),
                _status(530, "not logged in"),
            ),
            EntryCode.PERMISSION_DENIED,
            None,
        ),
        # WebDAV servers lock a whole path for as long as another request makes a folder in it: that passes.
        ((_status(423, "423 locked"),), EntryCode.LOCKED, _RETRY),
        (("is locked", "sharing violation"), EntryCode.LOCKED, None),
        (
            ("i/o timeout", "deadline exceeded", "timed? ?out", _status(504, "gateway time")),
            EntryCode.TIMEOUT,
            None,
        ),
        (
            (
                *("connection refused", "connection reset", "broken pipe", "no route to host", r"\bEOF\b"),
                *("network is unreachable", "no such host", "connection (was )?(closed|lost)", "dial tcp"),
                *("use of closed", "couldn't connect", "context canceled", "not connected"),
                _status(502, "bad gateway"),
            ),
            EntryCode.UNAVAILABLE,
            _RETRY,
        ),
        (
            ("is a file not a directory", "not a directory", "is a directory", "can't move object"),
            EntryCode.KIND_CONFLICT,
            None,
        ),
        (("not empty",), EntryCode.STALE, None),
        (
            (
                *("object not found", "directory not found", "no such (file|directory|key|bucket)"),
                *("does not exist", "NoSuchKey", "NoSuchBucket", _status(404, "not found")),
            ),
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
    bare = _PATH.sub("/...", bare)
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
