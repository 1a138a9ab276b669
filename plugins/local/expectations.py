"""Whether what stands at a path is still what a plan expects there."""

from __future__ import annotations

import os

from runner.model.entry import DEVICE_KINDS, Entry, Kind

from .facts import KINDS, version_of


def difference(expected: Entry, facts: os.stat_result) -> str | None:
    """What of `facts` is not as `expected` says, in words; None when all agrees. Directories: only the kind.

    The version counts except in hard-link groups, where our own work on another name moves the ctime. A
    symlink's text is not looked at: see `link_difference`.
    """
    kind = KINDS[facts.st_mode & 0o170000]
    if kind is not expected.kind:
        return f"it is a {kind.value} now, not a {expected.kind.value}"
    if kind is Kind.DIRECTORY:
        return None
    if expected.size_bytes is not None and kind is Kind.FILE and facts.st_size != expected.size_bytes:
        return f"its size is {facts.st_size} bytes now, not {expected.size_bytes}"
    if expected.mtime_ns is not None and facts.st_mtime_ns != expected.mtime_ns:
        return "its modification time has changed"
    if expected.version is not None and expected.link_group is None and version_of(facts) != expected.version:
        return "it was changed or replaced (its inode or change time is another)"
    if (
        kind in DEVICE_KINDS
        and expected.attributes is not None
        and expected.attributes.device not in (None, facts.st_rdev)
    ):
        return "it is another device now"
    return None


def link_difference(expected: Entry, directory_fd: int, name: str) -> str | None:
    """As `difference`, for a symlink's text."""
    if expected.link_target is None:
        return None
    if os.readlink(name, dir_fd=directory_fd) != expected.link_target:
        return "the link points elsewhere now"
    return None


def same_state(before: os.stat_result, after: os.stat_result) -> bool:
    """True when an open file was not written between the two looks.

    ctime is compared too: a writer that puts mtime back is seen (but not one that writes through mmap).
    """
    return (
        before.st_size == after.st_size
        and before.st_mtime_ns == after.st_mtime_ns
        and before.st_ctime_ns == after.st_ctime_ns
        and before.st_ino == after.st_ino
        and before.st_dev == after.st_dev
    )
