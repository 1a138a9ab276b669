"""Setting metadata: what is sent for an entry, and what of it the server refused.

Owner first, then mode and times: a change of owner takes set-uid bits away. Access and modification time go together
in SFTP. What the server will not take is named in the result, not raised: the content stands.
"""

from __future__ import annotations

from collections.abc import Callable

from runner.model.entry import Entry, Kind

from .facts import LATEST_SECOND, time_in_seconds
from .packets import Facts, Status, attributes
from .wire import Slot, Wire

_SPECIAL_BITS = 0o6000

Send = Callable[[bytes], Slot]
"""Asks the server to set encoded attributes on one file, by handle or by path."""


class Wanted:
    """What an entry asks to be set. `refused` holds what SFTP version 3 cannot even say."""

    def __init__(self, entry: Entry, present: Facts | None) -> None:
        """`present`: what stands there; None for a new file of our own."""
        given = entry.attributes
        self.refused: list[str] = []
        self.mode = None if given is None or entry.kind is Kind.SYMLINK else given.mode
        self.uid = None if given is None else given.uid
        self.gid = None if given is None else given.gid
        self.times = self._times(entry, present)

    def _times(self, entry: Entry, present: Facts | None) -> tuple[int, int] | None:
        mtime = time_in_seconds(entry.mtime_ns)
        if entry.mtime_ns is not None and mtime is None:
            # It would wrap around: 1969 would become 2106.
            self.refused.append("mtime")
        atime_ns = None if entry.attributes is None else entry.attributes.atime_ns
        atime = time_in_seconds(atime_ns)
        if atime_ns is not None and atime is None:
            self.refused.append("atime_ns")
        if mtime is None and (atime is None or present is None or present.mtime is None):
            return None
        if mtime is None:
            assert present is not None and present.mtime is not None
            mtime = present.mtime
        if atime is None:
            # As for all new files of this project; what stands there keeps its own.
            atime = mtime if present is None or present.atime is None else present.atime
        return min(atime, LATEST_SECOND), mtime

    @property
    def has_special_bits(self) -> bool:
        return self.mode is not None and self.mode & _SPECIAL_BITS != 0

    def owner(self, present: Facts) -> tuple[int, int] | None:
        """(uid, gid) to set, both of which SFTP wants; None when neither is asked for or the server tells none."""
        uid = present.uid if self.uid is None else self.uid
        gid = present.gid if self.gid is None else self.gid
        if (self.uid is None and self.gid is None) or uid is None or gid is None:
            return None
        return uid, gid

    def rest(self, *, special_bits: bool) -> bytes | None:
        """Mode and times, encoded; None when there is nothing to set."""
        mode = self.mode
        if mode is not None and not special_bits:
            mode &= ~_SPECIAL_BITS
        if mode is None and self.times is None:
            return None
        return attributes(mode=mode, times=self.times)


def apply(wire: Wire, wanted: Wanted, send: Send, present: Facts) -> tuple[str, ...]:
    """Set what is wanted on what is as `present` says; returns the fields that were refused.

    Raises StatusError for faults that are not a refusal, and WireError.
    """
    refused = wanted.refused
    owned = set_owner(wire, wanted, send, present)
    rest = wanted.rest(special_bits=owned)
    if wanted.has_special_bits and not owned:
        refused.append("mode")
    if rest is None:
        return tuple(refused)
    if refuses(wire.wait(send(rest))):
        # Which of the two? Each on its own.
        mode = wanted.mode if owned or wanted.mode is None else wanted.mode & ~_SPECIAL_BITS
        if mode is not None and refuses(wire.wait(send(attributes(mode=mode)))) and "mode" not in refused:
            refused.append("mode")
        if wanted.times is not None and refuses(wire.wait(send(attributes(times=wanted.times)))):
            refused.append("mtime")
    return tuple(refused)


def set_owner(wire: Wire, wanted: Wanted, send: Send, present: Facts) -> bool:
    """Set owner and group; True when both were wanted and are in force: then set-uid bits are safe."""
    owner = wanted.owner(present)
    if owner is None:
        # Nothing is asked for, or the server tells no owners.
        if wanted.uid is not None:
            wanted.refused.append("uid")
        if wanted.gid is not None:
            wanted.refused.append("gid")
        return False
    uid, gid = owner
    both = wanted.uid is not None and wanted.gid is not None
    if (uid, gid) == (present.uid, present.gid):
        return both
    if not refuses(wire.wait(send(attributes(owner=owner)))):
        return both
    # Not root can often still set the group.
    assert present.uid is not None and present.gid is not None
    if gid != present.gid and (
        uid == present.uid or refuses(wire.wait(send(attributes(owner=(present.uid, gid)))))
    ):
        wanted.refused.append("gid")
    if uid != present.uid:
        wanted.refused.append("uid")
    return False


def refuses(slot: Slot) -> bool:
    """True when the server will not do it; FAILURE is all that many servers say for that."""
    if slot.status in (Status.PERMISSION_DENIED, Status.OP_UNSUPPORTED, Status.FAILURE, Status.BAD_MESSAGE):
        return True
    slot.check()
    return False


def not_in_force(wanted: Wanted, now: Facts) -> list[str]:
    """Fields that a server said it had set, and has not."""
    names = []
    if wanted.mode is not None and now.mode is not None and (now.mode ^ wanted.mode) & 0o7777:
        names.append("mode")
    if wanted.times is not None and now.mtime is not None and now.mtime != wanted.times[1]:
        names.append("mtime")
    if wanted.uid is not None and now.uid is not None and now.uid != wanted.uid:
        names.append("uid")
    if wanted.gid is not None and now.gid is not None and now.gid != wanted.gid:
        names.append("gid")
    return [name for name in names if name not in wanted.refused]
