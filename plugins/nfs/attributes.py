"""Setting metadata by handle. What the server will not take is named in the result, not raised.

Some servers accept a change and ignore it, and a change of owner takes set-user-ID bits away: what is in force
afterwards is looked at.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator

from runner.model.entry import Entry, Kind

from .calls import NOTHING, Calls, Facts, Wish
from .faults import REFUSALS
from .session import NfsError

_SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID
_LARGEST_TIME = (1 << 32) * 1_000_000_000  # nfstime3 counts seconds in 32 bits without a sign


class AttributeSetter:
    """Sets what entries say. `time_step_ns`: times are cut to multiples of it."""

    def __init__(self, calls: Calls, time_step_ns: int) -> None:
        self._calls = calls
        self._step = time_step_ns

    def apply(
        self, handle: bytes, entry: Entry, present: Facts, guard_ns: int | None = None
    ) -> tuple[str, ...]:
        """Set mtime and attributes of `entry` that are not None and not so already; the fields that were refused.

        `guard_ns`: NfsError NOT_SYNC when the change time is another one.
        """
        refused: list[str] = []
        wish = self._wish(entry, present, refused)
        special = (wish.mode or 0) & _SPECIAL_BITS if entry.kind is not Kind.DIRECTORY else 0
        if special:
            # A program must not run as somebody who never owned it here: first the owner, then these bits.
            assert wish.mode is not None
            wish = wish._replace(mode=wish.mode & ~_SPECIAL_BITS)
        if wish == NOTHING:
            return tuple(refused)
        facts = self._set(handle, wish, guard_ns, refused)
        if special and "mode" not in refused:
            assert wish.mode is not None
            wish = wish._replace(mode=wish.mode | special)
            if _is_owned(entry, facts):
                facts = self._set(handle, Wish(mode=wish.mode), None, refused)
        self._compare(entry, wish, facts, refused)
        return tuple(refused)

    def _wish(self, entry: Entry, present: Facts, refused: list[str]) -> Wish:
        attributes = entry.attributes
        wish = Wish(mtime_ns=self._time(entry.mtime_ns, "mtime", refused))
        if attributes is not None:
            wish = wish._replace(
                mode=attributes.mode if entry.kind is not Kind.SYMLINK else None,
                uid=attributes.uid,
                gid=attributes.gid,
                atime_ns=self._time(attributes.atime_ns, "atime_ns", refused),
            )
        changes = {
            field: value
            for field, value in wish._asdict().items()
            if value is not None and value != getattr(present, field)
        }
        if wish.mode is not None and ("uid" in changes or "gid" in changes):
            # A new owner takes set-user-ID bits away: the mode is to be set again.
            changes["mode"] = wish.mode
        return Wish(**changes)

    def _time(self, time_ns: int | None, field: str, refused: list[str]) -> int | None:
        if time_ns is None:
            return None
        if not 0 <= time_ns < _LARGEST_TIME:
            refused.append(field)
            return None
        return time_ns - time_ns % self._step

    def _set(self, handle: bytes, wish: Wish, guard_ns: int | None, refused: list[str]) -> Facts:
        """The facts afterwards. All at once; what is refused together is tried field by field."""
        facts = None
        try:
            facts = self._calls.setattr(handle, wish, guard_ns).result()
        except NfsError as error:
            if error.status not in REFUSALS:
                raise
            for field, alone in _singly(wish):
                try:
                    self._calls.setattr(handle, alone).result()
                except NfsError as single:
                    if single.status not in REFUSALS:
                        raise
                    _refuse(field, refused)
        return facts or self._calls.getattr(handle).result()

    @staticmethod
    def _compare(entry: Entry, wish: Wish, facts: Facts, refused: list[str]) -> None:
        """Name what was accepted and is not in force. Access times move by themselves."""
        for field in ("mode", "uid", "gid", "mtime_ns"):
            wanted = getattr(wish, field)
            # Few servers set the times of symbolic links; nobody compares them.
            if field == "mtime_ns" and entry.kind is Kind.SYMLINK:
                continue
            if wanted is not None and getattr(facts, field) != wanted:
                _refuse(field, refused)


def _refuse(field: str, refused: list[str]) -> None:
    name = "mtime" if field == "mtime_ns" else field
    if name not in refused:
        refused.append(name)


def _is_owned(entry: Entry, facts: Facts) -> bool:
    attributes = entry.attributes
    return attributes is not None and (facts.uid, facts.gid) == (attributes.uid, attributes.gid)


def _singly(wish: Wish) -> Iterator[tuple[str, Wish]]:
    for field, value in wish._asdict().items():
        if value is not None:
            yield field, Wish(**{field: value})
