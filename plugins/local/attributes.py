"""Setting metadata: on a descriptor, or through /proc/self/fd/N, never by a path that could be a symlink.

Order: owner, mode, extended attributes, ACLs, times; each would be undone by an earlier one. What the
destination will not take is named in the result, not raised: the content stands.
"""

from __future__ import annotations

import errno
import grp
import os
import pwd
import stat

from runner.model.entry import Attributes, Entry, Kind

from .facts import ACL_NAMES, carried_xattr
from .syscalls import Syscalls

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID
_NOT_ALLOWED = frozenset({errno.EPERM, errno.EACCES, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})
# ENOSPC and EDQUOT: ext4 has one block for them; a full disk is noticed by the content.
_XATTR_REFUSED = _NOT_ALLOWED | {errno.ENOSPC, errno.EDQUOT, errno.E2BIG, errno.ERANGE}

Target = int | str
"""A descriptor, or the /proc/self/fd path of an O_PATH descriptor."""


class AttributeSetter:
    """Sets what an entry says. Remembers the numbers of user and group names."""

    def __init__(self, syscalls: Syscalls) -> None:
        self._syscalls = syscalls
        self._uids: dict[str, int | None] = {}
        self._gids: dict[str, int | None] = {}

    def apply(self, target: Target, entry: Entry, present: os.stat_result | None) -> tuple[str, ...]:
        """Set mtime and attributes of `entry` that are not None; returns the fields that were refused.

        `present` are the facts of what stands there (what is equal already is left alone); None for a new
        file of our own with mode 0600. Raises OSError for faults that are not a refusal (EIO, EROFS, ...).
        """
        refused: list[str] = []
        attributes = entry.attributes
        atime_ns = None
        if attributes is not None:
            atime_ns = attributes.atime_ns
            owned = self._own(target, attributes, present, refused)
            if attributes.mode is not None and entry.kind is not Kind.SYMLINK:
                self._set_mode(target, entry.kind, attributes, present, owned, refused)
            if attributes.xattrs is not None or attributes.acls is not None:
                self._set_extended(target, entry.kind, attributes, refused)
                if present is not None and attributes.mode is not None:
                    # Removing or setting an ACL can have moved the mode.
                    self._repair_mode(target, entry.kind, attributes, owned, refused)
        timed = entry.mtime_ns is not None or atime_ns is not None
        if timed and (present is None or not _times_are(present, atime_ns, entry.mtime_ns)):
            if present is None and atime_ns is None:
                atime_ns = entry.mtime_ns  # as for all new files: see quick.py
            try:
                self._syscalls.set_times(target, atime_ns, entry.mtime_ns)
            except OSError as error:
                _refuse(error, _NOT_ALLOWED, refused, "atime_ns" if entry.mtime_ns is None else "mtime")
        return tuple(refused)

    def _own(
        self, target: Target, attributes: Attributes, present: os.stat_result | None, refused: list[str]
    ) -> bool:
        """Set owner and group. True when both were wanted and none was refused."""
        uid, uid_field = attributes.uid, "uid"
        if attributes.user is not None:
            named = self._uid(attributes.user)
            if named is not None:
                uid, uid_field = named, "user"
            elif uid is None:
                refused.append("user")
        gid, gid_field = attributes.gid, "gid"
        if attributes.group is not None:
            named = self._gid(attributes.group)
            if named is not None:
                gid, gid_field = named, "group"
            elif gid is None:
                refused.append("group")
        if uid is None and gid is None:
            return False
        if present is None or uid not in (None, present.st_uid) or gid not in (None, present.st_gid):
            try:
                os.chown(target, -1 if uid is None else uid, -1 if gid is None else gid)
            except OSError as error:
                if error.errno not in _NOT_ALLOWED:
                    raise
                self._own_singly(target, uid, gid, (uid_field, gid_field), refused)
        return uid is not None and gid is not None and uid_field not in refused and gid_field not in refused

    @staticmethod
    def _own_singly(
        target: Target, uid: int | None, gid: int | None, fields: tuple[str, str], refused: list[str]
    ) -> None:
        """After a refusal of both: not root can often still set the group."""
        facts = os.stat(target)
        for wanted, is_now, field, arguments in (
            (gid, facts.st_gid, fields[1], (-1, gid)),
            (uid, facts.st_uid, fields[0], (uid, -1)),
        ):
            if wanted is None or wanted == is_now:
                continue
            try:
                os.chown(target, *(-1 if number is None else number for number in arguments))
            except OSError as error:
                _refuse(error, _NOT_ALLOWED, refused, field)

    def _set_mode(
        self,
        target: Target,
        kind: Kind,
        attributes: Attributes,
        present: os.stat_result | None,
        owned: bool,
        refused: list[str],
    ) -> None:
        mode = attributes.mode
        assert mode is not None
        special = mode & _SPECIAL_BITS
        if (
            special
            and kind is not Kind.DIRECTORY
            and not (owned and self._owner_in_force(target, attributes))
        ):
            # A program must not run as somebody who never owned it here. A folder's setgid only hands down.
            mode &= ~_SPECIAL_BITS
            refused.append("mode")
        if present is not None and stat.S_IMODE(os.stat(target).st_mode) == mode:
            return
        try:
            os.chmod(target, mode)
        except OSError as error:
            _refuse(error, _NOT_ALLOWED, refused, "mode")
            return
        if mode & _SPECIAL_BITS and stat.S_IMODE(os.stat(target).st_mode) != mode and "mode" not in refused:
            refused.append("mode")

    def _owner_in_force(self, target: Target, attributes: Attributes) -> bool:
        """Some mounts accept a chown and ignore it: look."""
        facts = os.stat(target)
        uid = self._uid(attributes.user) if attributes.user is not None else None
        gid = self._gid(attributes.group) if attributes.group is not None else None
        uid = attributes.uid if uid is None else uid
        gid = attributes.gid if gid is None else gid
        return (facts.st_uid, facts.st_gid) == (uid, gid)

    def _repair_mode(
        self, target: Target, kind: Kind, attributes: Attributes, owned: bool, refused: list[str]
    ) -> None:
        if kind is Kind.SYMLINK or "mode" in refused or attributes.acls:
            return
        self._set_mode(target, kind, attributes, os.stat(target), owned, refused)

    def _set_extended(self, target: Target, kind: Kind, attributes: Attributes, refused: list[str]) -> None:
        """Make extended attributes and ACLs what they should be: what is there beyond them goes."""
        try:
            names = os.listxattr(target)
        except OSError as error:
            _refuse(error, _XATTR_REFUSED, [], "")
            refused.extend(field for field in ("xattrs", "acls") if getattr(attributes, field))
            return
        if attributes.xattrs is not None and (names or attributes.xattrs):
            there = {name for name in names if carried_xattr(name)}
            _reconcile(target, dict(attributes.xattrs), there, "xattrs", refused)
        if attributes.acls is not None and kind is not Kind.SYMLINK and (names or attributes.acls):
            wanted = {ACL_NAMES[acl]: value for acl, value in attributes.acls if acl in ACL_NAMES}
            there = {name for name in names if name in ACL_NAMES.values()}
            _reconcile(target, wanted, there, "acls", refused)

    def _uid(self, name: str) -> int | None:
        if name not in self._uids:
            try:
                self._uids[name] = pwd.getpwnam(name).pw_uid
            except (KeyError, ValueError):
                self._uids[name] = None
        return self._uids[name]

    def _gid(self, name: str) -> int | None:
        if name not in self._gids:
            try:
                self._gids[name] = grp.getgrnam(name).gr_gid
            except (KeyError, ValueError):
                self._gids[name] = None
        return self._gids[name]


def _reconcile(
    target: Target, wanted: dict[str, bytes], there: set[str], field: str, refused: list[str]
) -> None:
    for name in sorted(there - wanted.keys()):
        try:
            os.removexattr(target, name)
        except OSError as error:
            if error.errno != errno.ENODATA:
                _refuse(error, _XATTR_REFUSED, refused, field)
    for name, value in wanted.items():
        try:
            if name not in there or os.getxattr(target, name) != value:
                os.setxattr(target, name, value)
        except OSError as error:
            _refuse(error, _XATTR_REFUSED, refused, field)


def _times_are(present: os.stat_result, atime_ns: int | None, mtime_ns: int | None) -> bool:
    return mtime_ns in (None, present.st_mtime_ns) and atime_ns in (None, present.st_atime_ns)


def _refuse(error: OSError, refusals: frozenset[int], refused: list[str], field: str) -> None:
    """Note a refusal, or raise the fault again."""
    if error.errno not in refusals:
        raise error
    if field and field not in refused:
        refused.append(field)
