"""What the server says about one entry, as an Entry; and whether that is still what a plan expects."""

from __future__ import annotations

import os

from runner.model.entry import DEVICE_KINDS, Attributes, Entry, Kind

from . import calls
from .calls import Facts

KINDS: dict[int, Kind] = {
    calls.REGULAR: Kind.FILE,
    calls.DIRECTORY: Kind.DIRECTORY,
    calls.SYMLINK: Kind.SYMLINK,
    calls.FIFO: Kind.FIFO,
    calls.SOCKET: Kind.SOCKET,
    calls.CHARACTER: Kind.CHARACTER_DEVICE,
    calls.BLOCK: Kind.BLOCK_DEVICE,
}
_LARGEST = (1 << 63) - 1


def is_sane(facts: Facts) -> bool:
    """False for what no file system holds: a kind unknown to RFC 1813, a size beyond 63 bits."""
    return facts.kind in KINDS and facts.size <= _LARGEST


def version_of(facts: Facts) -> str:
    """Opaque: servers move ctime with every change of content or metadata."""
    return f"{facts.fileid}:{facts.ctime_ns}"


class FactReader:
    """Makes entries. `wanted` are the fields of Attributes to fill; a device node's number is always there."""

    def __init__(self, wanted: frozenset[str], *, link_times: bool) -> None:
        """`link_times`: tell the times of symbolic links. Many servers take none, so that a destination's say nothing."""
        self._mode, self._uid, self._gid = "mode" in wanted, "uid" in wanted, "gid" in wanted
        self._atime = "atime_ns" in wanted
        self._any = self._mode or self._uid or self._gid or self._atime
        self._link_times = link_times

    def entry(self, path: str, facts: Facts, link_target: str | None, *, followed: bool = False) -> Entry:
        """A directory's `path` ends in "/" or is empty."""
        kind = KINDS[facts.kind]
        version = version_of(facts)
        attributes = self._attributes(facts, kind)
        if kind is Kind.DIRECTORY:
            return Entry(
                path,
                kind,
                mtime_ns=facts.mtime_ns,
                version=version,
                attributes=attributes,
                followed=followed,
            )
        has_time = kind is not Kind.SYMLINK or self._link_times
        group = f"{facts.fsid}:{facts.fileid}" if facts.nlink > 1 and not followed else None
        return Entry(
            path,
            kind,
            facts.size if kind is Kind.FILE else None,
            facts.mtime_ns if has_time else None,
            version,
            None,
            link_target,
            attributes,
            group,
            followed,
            facts.used if kind is Kind.FILE and facts.used < facts.size else None,
        )

    def _attributes(self, facts: Facts, kind: Kind) -> Attributes | None:
        is_device = kind in DEVICE_KINDS
        if not self._any and not is_device:
            return None
        return Attributes(
            # A symlink's mode says nothing.
            mode=facts.mode if self._mode and kind is not Kind.SYMLINK else None,
            uid=facts.uid if self._uid else None,
            gid=facts.gid if self._gid else None,
            atime_ns=facts.atime_ns if self._atime else None,
            device=os.makedev(facts.major, facts.minor) if is_device else None,
        )


def difference(expected: Entry, facts: Facts) -> str | None:
    """What of `facts` is not as `expected` says, in words; None when all agrees. Directories: only the kind.

    The version counts except in hard-link groups, where our own work on another name moves the ctime. A symlink's
    text is not looked at.
    """
    kind = KINDS.get(facts.kind)
    if kind is not expected.kind:
        return f"it is a {kind.value if kind else 'thing unknown'} now, not a {expected.kind.value}"
    if kind is Kind.DIRECTORY:
        return None
    if expected.size_bytes is not None and kind is Kind.FILE and facts.size != expected.size_bytes:
        return f"its size is {facts.size} bytes now, not {expected.size_bytes}"
    if expected.mtime_ns is not None and facts.mtime_ns != expected.mtime_ns:
        return "its modification time has changed"
    if expected.version is not None and expected.link_group is None and version_of(facts) != expected.version:
        return "it was changed or replaced (its file id or change time is another)"
    if kind in DEVICE_KINDS and expected.attributes is not None:
        device = expected.attributes.device
        if device is not None and device != os.makedev(facts.major, facts.minor):
            return "it is another device now"
    return None


def same_content(before: Facts, after: Facts) -> bool:
    """True when a file was not written between two looks; reading moves its access time only."""
    return (
        before.size == after.size
        and before.mtime_ns == after.mtime_ns
        and before.ctime_ns == after.ctime_ns
        and before.fileid == after.fileid
    )
