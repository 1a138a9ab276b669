"""From what the NameNode tells to entries, and whether what stands is what a plan expects."""

from __future__ import annotations

from runner.model.entry import Attributes, Entry, Kind

from .transport import Status


def entry_of(path: str, status: Status, attributes: Attributes | None) -> Entry:
    """The entry at `path`; folders get their slash (not the root, whose path is empty)."""
    mtime_ns = status.mtime_ms * 1_000_000
    if status.is_directory:
        slash = "" if path == "" or path.endswith("/") else "/"
        return Entry(path + slash, Kind.DIRECTORY, mtime_ns=mtime_ns, attributes=attributes)
    if status.link_target is not None:
        return Entry(
            path, Kind.SYMLINK, link_target=status.link_target, mtime_ns=mtime_ns, attributes=attributes
        )
    return Entry(
        path,
        Kind.FILE,
        size_bytes=status.length,
        mtime_ns=mtime_ns,
        version=version_of(status),
        attributes=attributes,
    )


def version_of(status: Status) -> str | None:
    """A file that keeps its inode only grows or is cut, which moves its length or time. None without an inode
    number: length and time alone do not prove that nothing changed."""
    if status.file_id is None:
        return None
    return f"{status.file_id}:{status.length}:{status.mtime_ms}"


def difference(expected: Entry, status: Status) -> str | None:
    """What of `status` is not as `expected` says, in words; None when all agrees. Folders: only the kind."""
    if status.is_directory != (expected.kind is Kind.DIRECTORY):
        return f"it is a {'folder' if status.is_directory else 'file'} now, not a {expected.kind.value}"
    if status.is_directory:
        return None
    if expected.size_bytes is not None and status.length != expected.size_bytes:
        return f"its size is {status.length} bytes now, not {expected.size_bytes}"
    if expected.mtime_ns is not None and status.mtime_ms * 1_000_000 != expected.mtime_ns:
        return "its modification time has changed"
    if expected.version not in (None, version_of(status)):
        return "it was changed or replaced"
    return None
