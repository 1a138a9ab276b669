"""What the kernel says about one entry, as an Entry."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat
from typing import TYPE_CHECKING

from runner.model.entry import DEVICE_KINDS, Attributes, Entry, Kind

KINDS: dict[int, Kind] = {
    stat.S_IFREG: Kind.FILE,
    stat.S_IFDIR: Kind.DIRECTORY,
    stat.S_IFLNK: Kind.SYMLINK,
    stat.S_IFIFO: Kind.FIFO,
    stat.S_IFSOCK: Kind.SOCKET,
    stat.S_IFCHR: Kind.CHARACTER_DEVICE,
    stat.S_IFBLK: Kind.BLOCK_DEVICE,
}
ACL_NAMES = {"access": "system.posix_acl_access", "default": "system.posix_acl_default"}
_ACL_KINDS = {name: kind for kind, name in ACL_NAMES.items()}
_MINIMAL_ACL_BYTES = (
    4 + 3 * 8
)  # linux/posix_acl_xattr.h: a header and owner, group, other: no more than the mode
NO_XATTRS = frozenset({errno.EOPNOTSUPP, errno.ENOSYS})
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM})
_SHARED_AT_MOST = 4096
# Needed for every entry: a member costs five times as much to look up through its class.
_FILE = Kind.FILE

if TYPE_CHECKING:
    from ._native import Row

ExtendedAttributes = tuple[tuple[str, bytes], ...]


def carried_xattr(name: str) -> bool:
    """True for extended attributes that belong to the file: user's, trusted (root only), file capabilities.

    Left out: system.* (ACLs are apart) and labels such as security.selinux, which are the machine's own.
    """
    return name.startswith(("user.", "trusted.")) or name == "security.capability"


def version_of(facts: os.stat_result) -> str:
    """Opaque: the kernel moves ctime with every change of content or metadata."""
    return f"{facts.st_ino}:{facts.st_ctime_ns}"


class FactReader:
    """Makes entries from stat results, and reads the rest that is wanted. Remembers owners' names."""

    def __init__(self, wanted: frozenset[str]) -> None:
        """`wanted` are the fields of Attributes to fill; a device node's number is always there."""
        self._wanted = wanted
        self._any = bool(wanted & set(Attributes.__struct_fields__))
        self._xattrs = "xattrs" in wanted
        self._acls = "acls" in wanted
        self._atime = "atime_ns" in wanted
        self._names = bool(wanted & {"user", "group"})
        self._users: dict[int, str | None] = {}
        self._groups: dict[int, str | None] = {}
        # Most entries share owner and mode: one frozen value serves them all. Bounded.
        self._shared: dict[tuple[int, int, int], Attributes] = {}
        self._without_xattrs: set[int] = set()
        self.wants_extended = self._xattrs or self._acls

    def entry(
        self, path: str, facts: os.stat_result, directory_fd: int, name: str, *, followed: bool = False
    ) -> Entry:
        """The entry called `name` in an open directory. A directory's `path` ends in "/" or is empty.

        Raises OSError when a symlink's text or extended attributes cannot be read (ENOENT: it vanished).
        """
        mode = facts.st_mode
        format_bits = mode & 0o170000
        attributes = (
            self._attributes(facts, format_bits, directory_fd, name)
            if self._any or format_bits in (stat.S_IFCHR, stat.S_IFBLK)
            else None
        )
        version = f"{facts.st_ino}:{facts.st_ctime_ns}"
        if format_bits == stat.S_IFDIR:
            return Entry(
                path,
                Kind.DIRECTORY,
                None,
                facts.st_mtime_ns,
                version,
                None,
                None,
                attributes,
                None,
                followed,
            )
        group = None
        if facts.st_nlink > 1 and not followed:
            group = f"{facts.st_dev}:{facts.st_ino}"
        if format_bits == stat.S_IFREG:
            size = facts.st_size
            allocated = facts.st_blocks * 512
            return Entry(
                path,
                Kind.FILE,
                size,
                facts.st_mtime_ns,
                version,
                None,
                None,
                attributes,
                group,
                followed,
                allocated if allocated < size else None,
            )
        target = os.readlink(name, dir_fd=directory_fd) if format_bits == stat.S_IFLNK else None
        return Entry(
            path,
            KINDS[format_bits],
            None,
            facts.st_mtime_ns,
            version,
            None,
            target,
            attributes,
            group,
            followed,
        )

    def entry_of_row(self, folder: str, row: Row) -> Entry | None:
        """The ordinary file that a native listing of `folder` tells of; None for whatever needs another look."""
        key, mode, size, mtime_ns, version, uid, gid, links, blocks, extended = row
        if extended or links != 1 or self._atime or mode & 0o170000 != 0o100000:
            return None
        attributes = self._plain_attributes(mode, uid, gid) if self._any else None
        allocated = blocks * 512
        return Entry(
            folder + key,
            _FILE,
            size,
            mtime_ns,
            version,
            None,
            None,
            attributes,
            None,
            False,
            allocated if allocated < size else None,
        )

    def _attributes(
        self, facts: os.stat_result, format_bits: int, directory_fd: int, name: str
    ) -> Attributes:
        xattrs: ExtendedAttributes | None = ()
        acls: ExtendedAttributes | None = ()
        if self.wants_extended:
            xattrs, acls = self._extended(f"/proc/self/fd/{directory_fd}/{name}", facts.st_dev)
        mode, uid, gid = facts.st_mode, facts.st_uid, facts.st_gid
        if xattrs == () and acls == () and not self._atime and format_bits in (stat.S_IFREG, stat.S_IFDIR):
            return self._plain_attributes(mode, uid, gid)
        return self._made(mode, uid, gid, facts.st_atime_ns, facts.st_rdev, xattrs, acls)

    def _plain_attributes(self, mode: int, uid: int, gid: int) -> Attributes:
        """Of a file or folder without extended attributes, where access times are not asked for."""
        key = (mode, uid, gid)
        shared = self._shared.get(key)
        if shared is None:
            if len(self._shared) >= _SHARED_AT_MOST:
                self._shared.clear()
            shared = self._shared[key] = self._made(mode, uid, gid, None, 0, (), ())
        return shared

    def _made(
        self,
        mode: int,
        uid: int,
        gid: int,
        atime_ns: int | None,
        device: int,
        xattrs: ExtendedAttributes | None,
        acls: ExtendedAttributes | None,
    ) -> Attributes:
        wanted = self._wanted
        format_bits = mode & 0o170000
        # A symlink's mode is always 0777 and cannot be set on Linux: it says nothing.
        has_mode = "mode" in wanted and format_bits != stat.S_IFLNK
        return Attributes(
            mode=mode & 0o7777 if has_mode else None,
            uid=uid if "uid" in wanted else None,
            gid=gid if "gid" in wanted else None,
            user=self._user(uid) if "user" in wanted else None,
            group=self._group(gid) if "group" in wanted else None,
            atime_ns=atime_ns if self._atime else None,
            device=device if KINDS[format_bits] in DEVICE_KINDS else None,
            xattrs=xattrs if self._xattrs else None,
            acls=acls if self._acls else None,
        )

    def _user(self, uid: int) -> str | None:
        if uid not in self._users:
            try:
                self._users[uid] = pwd.getpwuid(uid).pw_name
            except KeyError:
                self._users[uid] = None
        return self._users[uid]

    def _group(self, gid: int) -> str | None:
        if gid not in self._groups:
            try:
                self._groups[gid] = grp.getgrgid(gid).gr_name
            except KeyError:
                self._groups[gid] = None
        return self._groups[gid]

    def _extended(
        self, path: str, device: int
    ) -> tuple[ExtendedAttributes | None, ExtendedAttributes | None]:
        """(xattrs, ACLs) of the entry at `path`, whose last name is not followed; None where this user may not read them.

        Raises OSError: what cannot be read is not the same as nothing.
        """
        if device in self._without_xattrs:
            return (), ()
        try:
            names = os.listxattr(path, follow_symlinks=False)
        except OSError as error:
            if error.errno in NO_XATTRS:
                self._without_xattrs.add(device)
                return (), ()
            if error.errno not in _NOT_ALLOWED:
                raise
            return None, None
        if not names:
            return (), ()
        xattrs = _values(path, [name for name in names if carried_xattr(name)]) if self._xattrs else None
        acls = _values(path, [name for name in names if name in _ACL_KINDS]) if self._acls else None
        if acls is not None:
            acls = tuple(
                (_ACL_KINDS[name], value)
                for name, value in acls
                if name != ACL_NAMES["access"] or len(value) > _MINIMAL_ACL_BYTES
            )
        return xattrs, acls


def _values(path: str, names: list[str]) -> ExtendedAttributes | None:
    """(name, value) pairs sorted by name; a name that vanished is left out; None when one may not be read.

    Raises OSError.
    """
    pairs = []
    for name in sorted(names):
        try:
            pairs.append((name, os.getxattr(path, name, follow_symlinks=False)))
        except OSError as error:
            if error.errno in _NOT_ALLOWED or error.errno in NO_XATTRS:
                return None
            if error.errno != errno.ENODATA:
                raise
    return tuple(pairs)
