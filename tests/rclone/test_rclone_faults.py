"""Error texts of rclone and of servers behind it, classified."""

from __future__ import annotations

import pytest
from runner_plugins.rclone.faults import classify, means_absent

from runner.errors import Disposition, EntryCode


@pytest.mark.parametrize(
    ("text", "code", "disposition"),
    [
        ("object not found", EntryCode.NOT_FOUND, Disposition.SKIP),
        ("error in ListJSON: directory not found", EntryCode.NOT_FOUND, Disposition.SKIP),
        ('error in ListJSON: 501 "No such directory."', EntryCode.NOT_FOUND, Disposition.SKIP),
        ("mkdir /srv/x: not a directory", EntryCode.KIND_CONFLICT, Disposition.SKIP),
        ("open /srv/x: permission denied", EntryCode.PERMISSION_DENIED, Disposition.SKIP),
        ("couldn't list files: 401 Unauthorized", EntryCode.PERMISSION_DENIED, Disposition.SKIP),
        (
            "couldn't connect SSH: ssh: handshake failed: ssh: unable to authenticate, attempted methods [none]",
            EntryCode.PERMISSION_DENIED,
            Disposition.SKIP,
        ),
        ("dial tcp 127.0.0.1:9: connect: connection refused", EntryCode.UNAVAILABLE, Disposition.RETRY),
        ("read tcp: i/o timeout", EntryCode.TIMEOUT, Disposition.RETRY),
        ("Put: 503 Service Unavailable", EntryCode.UNAVAILABLE, Disposition.RETRY),
        ("api error SlowDown: Please reduce your request rate", EntryCode.UNAVAILABLE, Disposition.RETRY),
        ("write /x: no space left on device", EntryCode.NO_SPACE, Disposition.ABORT),
        ("Put failed: 507 Insufficient Storage", EntryCode.NO_SPACE, Disposition.ABORT),
        ("open /x: read-only file system", EntryCode.READ_ONLY, Disposition.ABORT),
        ("open /x: file name too long", EntryCode.NAME_NOT_ALLOWED, Disposition.SKIP),
        ("423 Locked", EntryCode.LOCKED, Disposition.RETRY),
        ("the file is locked", EntryCode.LOCKED, Disposition.SKIP),
        (
            "can't copy - source file is being updated (size changed from 3 to 4)",
            EntryCode.CHANGED_DURING_TRANSFER,
            Disposition.RETRY,
        ),
        (
            'corrupted on transfer: md5 hashes differ "a" vs "b"',
            EntryCode.CHECKSUM_FAILURE,
            Disposition.RETRY,
        ),
        ("api error PreconditionFailed: At least one", EntryCode.STALE, Disposition.SKIP),
        (
            'Move Rename failed: sftp: "lstat /srv/fresh-507/403 quota: file name too long" (SSH_FX_FAILURE)',
            EntryCode.NAME_NOT_ALLOWED,
            Disposition.SKIP,
        ),
        ('Put "http://h/locked/404": dial tcp: connection refused', EntryCode.UNAVAILABLE, Disposition.RETRY),
        (
            "operation error S3: PutObject, StatusCode: 503, api error X",
            EntryCode.UNAVAILABLE,
            Disposition.RETRY,
        ),
        ('STOR: 552 "Too big."', EntryCode.NO_SPACE, Disposition.ABORT),
        ("something nobody has seen", EntryCode.IO_ERROR, Disposition.RETRY),
    ],
)
def test_classified(text: str, code: EntryCode, disposition: Disposition) -> None:
    error = classify(text, "a/b", "write")
    assert (error.entry_code, error.disposition, error.path) == (code, disposition, "a/b")


def test_a_name_in_the_text_does_not_decide() -> None:
    """A file may be called like any error."""
    name = "permission denied: no such file"
    error = classify(f"open /srv/{name}: i/o timeout", name, "read", names=(name,))
    assert error.entry_code is EntryCode.TIMEOUT
    assert not means_absent(error)


def test_nothing_moves_the_terminal_s_cursor() -> None:
    assert "\x1b" not in classify("bad \x1b[2J", "a\x1b[2J", "read").message
