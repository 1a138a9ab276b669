"""Setting times, DOS attributes and security descriptors of an open file, and telling what the server refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.model.entry import Attributes, Entry

from . import messages
from .messages import Facts, Request, to_ticks
from .security import canonical_sacl, canonical_security, to_set

if TYPE_CHECKING:
    from .wire import Answer, Wire

_DESCRIPTOR_BYTES = 65_536
_OWNER_AND_GROUP = messages.OWNER_INFORMATION | messages.GROUP_INFORMATION
_NONE = Attributes()


class Wanted:
    """What an entry asks to be set, as requests for one open file."""

    def __init__(self, entry: Entry, attribute_mask: int) -> None:
        attributes = entry.attributes or _NONE
        self._mask = attribute_mask
        self._security = attributes.security
        self._sacl = attributes.sacl
        self._dos_attributes = attributes.dos_attributes
        self._created = None if attributes.created_ns is None else to_ticks(attributes.created_ns)
        self._accessed = None if attributes.atime_ns is None else to_ticks(attributes.atime_ns)
        self._written = None if entry.mtime_ns is None else to_ticks(entry.mtime_ns)
        # What FILETIME cannot hold (before 1601) is refused before it is sent.
        self._refused = [
            name
            for name, wanted, ticks in (
                ("created_ns", attributes.created_ns, self._created),
                ("atime_ns", attributes.atime_ns, self._accessed),
                ("mtime", entry.mtime_ns, self._written),
            )
            if wanted is not None and ticks is None
        ]

    @property
    def has_descriptors(self) -> bool:
        return self._security is not None or self._sacl is not None

    @property
    def is_nothing(self) -> bool:
        return not (
            self.has_descriptors
            or self._created
            or self._accessed
            or self._written
            or self._dos_attributes is not None
        )

    def access(self) -> int:
        """The rights that a handle needs for it."""
        access = messages.READ_ATTRIBUTES | messages.WRITE_ATTRIBUTES
        if self._security is not None:
            access |= messages.READ_CONTROL | messages.WRITE_DAC | messages.WRITE_OWNER
        if self._sacl is not None:
            # Samba takes an audit list only where the access list could be changed too.
            access |= messages.READ_CONTROL | messages.WRITE_DAC | messages.SYSTEM_SECURITY
        return access

    def without_descriptors(self) -> None:
        """The server gives no handle with the rights for them."""
        self._refused += [
            name for name, value in (("security", self._security), ("sacl", self._sacl)) if value is not None
        ]
        self._security = self._sacl = None

    def set_descriptors(self, wire: Wire, file: bytes) -> None:
        """Set the security descriptors and read them back: what is not as it was asked for is refused.

        Where the owner may not be set, the list is set alone: the refusal is told, the access is right.
        """
        if self._security is not None:
            everything = _OWNER_AND_GROUP | messages.DACL_INFORMATION
            setting, reading = _ask(wire, _set(self._security, everything, file), _get(everything, file))
            if not setting.ok:
                _, reading = _ask(
                    wire, _set(self._security, messages.DACL_INFORMATION, file), _get(everything, file)
                )
            if not reading.ok or _canonical(reading, sacl=False) != self._security:
                self._refused.append("security")
        if self._sacl is not None:
            setting, reading = _ask(
                wire, _set(self._sacl, messages.SACL_INFORMATION, file), _get(messages.SACL_INFORMATION, file)
            )
            if not setting.ok or not reading.ok or _canonical(reading, sacl=True) != self._sacl:
                self._refused.append("sacl")

    def basic(self, file: bytes, present: Facts) -> Request | None:
        """The request that sets times and DOS attributes; None when there is nothing to set."""
        attributes = self._attributes(present)
        if not (attributes or self._created or self._accessed or self._written):
            return None
        return messages.set_basic(
            file,
            created=self._created or 0,
            accessed=self._accessed or 0,
            written=self._written or 0,
            attributes=attributes,
        )

    def after_rename(self, file: bytes, present: Facts) -> Request:
        """The attributes to set when a draft has its name: Samba hides names with a leading dot, as drafts have, for
        good when they are renamed, and sets Archive then."""
        attributes = self._attributes(present)
        if not attributes:
            attributes = present.attributes & ~messages.HIDDEN or messages.NORMAL
        return messages.set_basic(file, attributes=attributes)

    def _attributes(self, present: Facts) -> int:
        """The attributes to set; 0 = none."""
        if self._dos_attributes is None:
            return 0
        kept = present.attributes & ~self._mask & ~(messages.DIRECTORY | messages.NORMAL)
        wanted = kept | (self._dos_attributes & self._mask)
        wanted |= messages.DIRECTORY if present.is_directory else 0
        return wanted or messages.NORMAL

    def basic_refused(self) -> None:
        """The server took neither times nor attributes."""
        for name, ticks in (
            ("mtime", self._written),
            ("created_ns", self._created),
            ("atime_ns", self._accessed),
            ("dos_attributes", self._dos_attributes),
        ):
            if ticks is not None:
                self._refused.append(name)

    def refused(self, after: Facts | None) -> tuple[str, ...]:
        """Names of the fields that are not as they were asked for, given the facts once all is done."""
        refused = list(self._refused)
        if after is not None:
            for name, wanted, present in (
                ("mtime", self._written, after.written),
                ("created_ns", self._created, after.created),
                (
                    "dos_attributes",
                    None if self._dos_attributes is None else self._dos_attributes & self._mask,
                    after.attributes & self._mask,
                ),
            ):
                if wanted is not None and wanted != present:
                    refused.append(name)
        return tuple(dict.fromkeys(refused))


def _ask(wire: Wire, *requests: Request) -> Sequence[Answer]:
    """The answers to requests that name their file, sent together."""
    return wire.finish(wire.begin(requests, related=False))


def _set(descriptor: bytes, parts: int, file: bytes) -> Request:
    return messages.set_info(messages.INFO_SECURITY, 0, to_set(descriptor), file, parts)


def _get(parts: int, file: bytes) -> Request:
    return messages.query_info(messages.INFO_SECURITY, 0, _DESCRIPTOR_BYTES, file, parts)


def _canonical(answer: Answer, *, sacl: bool) -> bytes | None:
    raw = bytes(messages.information(answer.require()))
    try:
        return canonical_sacl(raw) if sacl else canonical_security(raw)
    except ValueError:
        return None
