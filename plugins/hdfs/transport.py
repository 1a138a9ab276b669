"""What a location needs of a cluster, whichever protocol is spoken."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

from runner.locations.protocol import Buffer

CHUNK_BYTES = 1 << 20


class Status(NamedTuple):
    """One file or folder as the NameNode tells it (a NamedTuple: a listing holds one for each child).

    name         the last name of the path; unchecked, as the server sent it
    file_id      the inode's number, None where the transport does not tell it
    has_acl      whether an access list stands beyond the mode; None where the transport does not tell it
    link_target  the target of a symlink, None for everything else
    """

    name: str
    is_directory: bool
    length: int
    mode: int
    user: str
    group: str
    mtime_ms: int
    atime_ms: int
    file_id: int | None = None
    has_acl: bool | None = None
    link_target: str | None = None


class Transport(Protocol):
    """One connection to a cluster, for one thread. Paths are absolute. Every method raises RemoteFault, and can
    be called again after one."""

    def status(self, path: str) -> Status | None:
        """None when nothing is there, also below a file."""
        ...

    def children(self, path: str) -> Iterator[Status]:
        """All children of a folder in any order; a fault means that what came is not all."""
        ...

    def make_folder(self, path: str, mode: int) -> None:
        """Make a folder and its missing parents. One that stands there already is left as it is."""
        ...

    def write(self, path: str, content: Iterable[Buffer], mode: int) -> None:
        """Create a file that is not there yet and write all of `content`. NOT_FOUND when its folder is missing.
        An exception out of `content` passes unchanged; a part of the file may then stand there."""
        ...

    def read(self, path: str, offset: int, length: int) -> Iterator[Buffer]:
        """`length` bytes from `offset`; fewer when the file is shorter by now."""
        ...

    def rename(self, path: str, target: str, *, overwrite: bool) -> None:
        """Give another name in one step. Without `overwrite`, STALE when something has the name; with it, a file
        there is replaced in that same step."""
        ...

    def delete(self, path: str) -> bool:
        """Remove a file or an empty folder; False when nothing was there."""
        ...

    def set_times(self, path: str, mtime_ms: int | None, atime_ms: int | None) -> None: ...

    def set_owner(self, path: str, user: str | None, group: str | None) -> None: ...

    def set_mode(self, path: str, mode: int) -> None: ...

    def acl(self, path: str) -> tuple[str, ...]:
        """Entries beyond the mode, as `hdfs dfs -getfacl` spells them: `user:bob:r--`, `default:group::r-x`."""
        ...

    def set_acl(self, path: str, entries: tuple[str, ...]) -> None:
        """Replace the whole list, `user::`, `mask::` and `other::` included."""
        ...

    def remove_acl(self, path: str) -> None: ...

    def close(self) -> None: ...


class CarriesXattrs(Protocol):
    """What a transport with extended attributes offers besides."""

    def xattrs(self, path: str) -> tuple[tuple[str, bytes], ...]:
        """Attributes `user.*`, sorted by name."""
        ...

    def set_xattrs(self, path: str, wanted: tuple[tuple[str, bytes], ...]) -> None:
        """Make these the file's only `user.*` attributes."""
        ...
