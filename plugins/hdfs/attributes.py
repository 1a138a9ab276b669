"""Attributes of HDFS entries: owner and group by name, mode, times, access lists, extended attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from runner.errors import EntryCode
from runner.model.entry import Attributes, Entry

from .faults import RemoteFault
from .transport import CarriesXattrs, Status, Transport

SETTABLE_MODE = 0o1777
"""HDFS knows the sticky bit, but neither setuid nor setgid."""

ACL_NAME = "hdfs"
"""Access lists travel as Attributes.acls = (("hdfs", b"user:bob:r--,group::r-x"),), entries sorted: users by name."""

_TRIPLETS = ("---", "--x", "-w-", "-wx", "r--", "r-x", "rw-", "rwx")


class AttributeReader:
    """Fills the attributes that a task wants; extended ones cost a question each."""

    def __init__(self, transport: Transport, wanted: frozenset[str]) -> None:
        self._transport = transport
        self._wanted = wanted
        self._asks_acls = "acls" in wanted
        self._asks_xattrs = "xattrs" in wanted
        self._plain = bool(wanted & {"mode", "user", "group", "atime_ns"})

    def of(self, absolute: str, status: Status) -> Attributes | None:
        """Raises RemoteFault. None when nothing is wanted."""
        if not (self._plain or self._asks_acls or self._asks_xattrs):
            return None
        wanted = self._wanted
        return Attributes(
            mode=status.mode if "mode" in wanted else None,
            user=status.user if "user" in wanted else None,
            group=status.group if "group" in wanted else None,
            atime_ns=status.atime_ms * 1_000_000 if "atime_ns" in wanted else None,
            acls=self._acls(absolute, status) if self._asks_acls else None,
            xattrs=cast(CarriesXattrs, self._transport).xattrs(absolute) if self._asks_xattrs else None,
        )

    def _acls(self, absolute: str, status: Status) -> tuple[tuple[str, bytes], ...]:
        if status.has_acl is False:
            return ()
        entries = self._transport.acl(absolute)
        return ((ACL_NAME, ",".join(sorted(entries)).encode()),) if entries else ()


def apply(transport: Transport, absolute: str, entry: Entry, status: Status) -> tuple[str, ...]:
    """Give what stands at `absolute` the time and attributes of `entry` that are not None; returns the fields that
    the cluster refused. `status` is how it stands now.

    Raises RemoteFault when the cluster cannot be asked. The time comes last: nothing after it moves it.
    """
    refused: list[str] = []
    wanted = entry.attributes or Attributes()
    _owner(transport, absolute, wanted, status, refused)
    _mode_and_acl(transport, absolute, wanted, status, refused)
    xattrs = wanted.xattrs
    if xattrs is not None:
        carrier = cast(CarriesXattrs, transport)
        kept = tuple(pair for pair in xattrs if pair[0].startswith("user."))
        _try(refused, ("xattrs",), lambda: carrier.set_xattrs(absolute, kept))
        if kept != xattrs:
            refused.append("xattrs")
    _times(transport, absolute, entry, refused)
    return tuple(dict.fromkeys(refused))


def _owner(
    transport: Transport, absolute: str, wanted: Attributes, status: Status, refused: list[str]
) -> None:
    user = wanted.user if wanted.user != status.user else None
    group = wanted.group if wanted.group != status.group else None
    if user is None and group is None:
        return
    names = tuple(name for name, value in (("user", user), ("group", group)) if value is not None)
    _try(refused, names, lambda: transport.set_owner(absolute, user or None, group or None))


def _mode_and_acl(
    transport: Transport, absolute: str, wanted: Attributes, status: Status, refused: list[str]
) -> None:
    entries = _entries(wanted.acls)
    if wanted.acls is not None and entries is None:
        # A numeric list of a local file system: its users have no names here.
        refused.append("acls")
    if entries == () and status.has_acl is not False:
        # Also for a new file: a default list of its folder may have given it one.
        _try(refused, ("acls",), lambda: transport.remove_acl(absolute))
    mode = status.mode if wanted.mode is None else wanted.mode & SETTABLE_MODE
    if wanted.mode is not None and wanted.mode & ~SETTABLE_MODE:
        refused.append("mode")
    if wanted.mode is not None and (mode != status.mode or entries is not None or status.has_acl):
        _try(refused, ("mode",), lambda: transport.set_mode(absolute, mode))
    if entries:
        whole = _whole_list(entries, mode)
        _try(refused, ("acls",), lambda: transport.set_acl(absolute, whole))


def _entries(acls: tuple[tuple[str, bytes], ...] | None) -> tuple[str, ...] | None:
    """The entries of a list of ours; None when there is none to set, or it is of another kind."""
    if acls is None or any(name != ACL_NAME for name, _ in acls):
        return None
    return tuple(entry for _, text in acls for entry in text.decode().split(",") if entry)


def _whole_list(entries: tuple[str, ...], mode: int) -> tuple[str, ...]:
    """With the entries that the mode stands for: the group bits are the mask where there is a list."""
    user, mask, other = (_TRIPLETS[mode >> shift & 7] for shift in (6, 3, 0))
    whole = [f"user::{user}"]
    if any(not entry.startswith("default:") for entry in entries):
        whole += [*entries, f"mask::{mask}", f"other::{other}"]
    else:
        whole += [f"group::{mask}", *entries, f"other::{other}"]
    return tuple(whole)


def _times(transport: Transport, absolute: str, entry: Entry, refused: list[str]) -> None:
    atime_ns = entry.attributes.atime_ns if entry.attributes is not None else None
    mtime_ms = _milliseconds(entry.mtime_ns, "mtime", refused)
    atime_ms = _milliseconds(atime_ns, "atime_ns", refused)
    if mtime_ms is not None:
        _try(refused, ("mtime",), lambda: transport.set_times(absolute, mtime_ms, None))
    if atime_ms is not None:
        # Apart: a cluster that keeps no access times refuses both together.
        _try(refused, ("atime_ns",), lambda: transport.set_times(absolute, None, atime_ms))


def _milliseconds(time_ns: int | None, name: str, refused: list[str]) -> int | None:
    """A time as HDFS keeps it; there is none before 1970, where -1 means "leave it"."""
    if time_ns is None:
        return None
    if time_ns < 0:
        refused.append(name)
        return None
    return time_ns // 1_000_000


def _try(refused: list[str], names: tuple[str, ...], change: Callable[[], None]) -> None:
    """Make a change; the cluster's refusal counts against these fields, its silence is an error."""
    try:
        change()
    except RemoteFault as fault:
        if fault.code in (EntryCode.UNAVAILABLE, EntryCode.TIMEOUT, EntryCode.NOT_FOUND):
            raise
        refused.extend(names)
