"""From the server's attributes to an Entry, and whether an entry is still what a plan expects."""

from __future__ import annotations

from runner.model.entry import Attributes, Entry, Kind

from .packets import Facts, MalformedError

KINDS: dict[int, Kind] = {
    0o100000: Kind.FILE,
    0o040000: Kind.DIRECTORY,
    0o120000: Kind.SYMLINK,
    0o010000: Kind.FIFO,
    0o140000: Kind.SOCKET,
    0o020000: Kind.CHARACTER_DEVICE,
    0o060000: Kind.BLOCK_DEVICE,
}
SECOND_NS = 1_000_000_000
LATEST_SECOND = 2**32 - 1
"""SFTP version 3 has 32 bits for a time: 1970 to 2106."""
_LARGEST_FILE = 2**63 - 1


def kind_of(facts: Facts) -> Kind:
    """What the facts are of. Raises MalformedError where the server does not tell, or tells nonsense."""
    kind = KINDS.get((facts.mode or 0) & 0o170000)
    if kind is None:
        raise MalformedError("the server does not tell whether it is a file or a folder")
    if kind is Kind.FILE and (facts.size is None or facts.size > _LARGEST_FILE):
        raise MalformedError("the server tells no possible size")
    return kind


def entry_of(
    path: str,
    facts: Facts,
    wanted: frozenset[str],
    link_target: str | None = None,
    *,
    followed: bool = False,
) -> Entry:
    """The entry for facts; `path` without a slash at its end. Raises MalformedError."""
    kind = kind_of(facts)
    attributes = Attributes(
        # A symlink's mode says nothing, and cannot be set on Linux.
        mode=(facts.mode or 0) & 0o7777 if "mode" in wanted and kind is not Kind.SYMLINK else None,
        uid=facts.uid if "uid" in wanted else None,
        gid=facts.gid if "gid" in wanted else None,
        atime_ns=facts.atime * SECOND_NS if "atime_ns" in wanted and facts.atime is not None else None,
    )
    return Entry(
        path=path + "/" if kind is Kind.DIRECTORY and path else path,
        kind=kind,
        size_bytes=facts.size if kind is Kind.FILE else None,
        mtime_ns=None if facts.mtime is None else facts.mtime * SECOND_NS,
        link_target=link_target,
        attributes=attributes if wanted else None,
        followed=followed,
    )


def difference(expected: Entry, facts: Facts | None) -> str | None:
    """What of `facts` is not as `expected` says, in words; None when all agrees. Directories: only the kind.

    A time counts in whole seconds, as SFTP holds it. A symlink's text is not looked at.
    """
    if facts is None:
        return "it is no longer there"
    kind = kind_of(facts)
    if kind is not expected.kind:
        return f"it is a {kind.value} now, not a {expected.kind.value}"
    if kind is Kind.DIRECTORY:
        return None
    if kind is Kind.FILE and expected.size_bytes is not None and facts.size != expected.size_bytes:
        return f"its size is {facts.size} bytes now, not {expected.size_bytes}"
    if (
        expected.mtime_ns is not None
        and facts.mtime is not None
        and facts.mtime != expected.mtime_ns // SECOND_NS
    ):
        return "its modification time has changed"
    if expected.version is not None:
        return "its version is unknown here"
    return None


def same_state(before: Facts, after: Facts) -> bool:
    """True when a file was not written between the two looks, as far as whole seconds and the size tell."""
    return before.size == after.size and before.mtime == after.mtime and before.mode == after.mode


def time_in_seconds(time_ns: int | None) -> int | None:
    """Whole seconds as SFTP can hold them; None when there is no time, or it is before 1970 or after 2106."""
    if time_ns is None:
        return None
    seconds = time_ns // SECOND_NS
    return seconds if 0 <= seconds <= LATEST_SECOND else None
