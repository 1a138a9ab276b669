"""What a listing's facts become: entries, and whether they are still what was expected. No I/O but reading
security descriptors through a wire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind

from . import messages
from .messages import Facts, Request, to_nanoseconds
from .security import canonical_sacl, canonical_security

if TYPE_CHECKING:
    from .wire import Answer, Wire

_DESCRIPTOR_BYTES = 65_536
_SECURITY_PARTS = messages.OWNER_INFORMATION | messages.GROUP_INFORMATION | messages.DACL_INFORMATION
_NAME_SURROGATE = 0x20000000
_SPECIAL_TAGS = frozenset(range(0x80000023, 0x80000028)) | {0x80000014, 0xA000001D, 0x80000023}
"""Reparse tags of the Linux subsystem and of NFS: sockets, FIFOs, devices, links. Not name surrogates, but no files."""


class FactReader:
    """Turns facts into entries with the attributes that were asked for."""

    def __init__(self, settings: OpenSettings, attribute_mask: int) -> None:
        wanted = settings.attributes
        self.attribute_mask = attribute_mask
        self._created = "created_ns" in wanted
        self._accessed = "atime_ns" in wanted
        self._attributes = "dos_attributes" in wanted
        self.wants_security = "security" in wanted
        self.wants_sacl = "sacl" in wanted
        self.reads_descriptors = self.wants_security or self.wants_sacl
        self._any = self._created or self._accessed or self._attributes or self.reads_descriptors

    def entry(
        self, path: str, facts: Facts, descriptors: tuple[bytes | None, bytes | None] = (None, None)
    ) -> Entry:
        """`path` with its slash for a directory; `descriptors`: (security, SACL)."""
        attributes = None
        if self._any:
            attributes = Attributes(
                created_ns=to_nanoseconds(facts.created) if self._created else None,
                atime_ns=to_nanoseconds(facts.accessed) if self._accessed else None,
                dos_attributes=facts.attributes & self.attribute_mask if self._attributes else None,
                security=descriptors[0],
                sacl=descriptors[1],
            )
        mtime_ns = to_nanoseconds(facts.written)
        if facts.is_directory:
            return Entry(path, Kind.DIRECTORY, mtime_ns=mtime_ns, attributes=attributes)
        return Entry(
            path,
            Kind.FILE,
            size_bytes=facts.size_bytes,
            mtime_ns=mtime_ns,
            version=version_of(facts),
            attributes=attributes,
        )

    def descriptor_requests(self, name: str) -> Sequence[Request]:
        """The compound that reads the descriptors of what stands at `name`, never of what a link points to."""
        access = messages.READ_CONTROL | (messages.SYSTEM_SECURITY if self.wants_sacl else 0)
        requests = [
            messages.create(
                name, access, messages.SHARE_ALL, messages.OPEN, messages.OPEN_REPARSE_POINT, file_id=False
            )
        ]
        for wanted, parts in (
            (self.wants_security, _SECURITY_PARTS),
            (self.wants_sacl, messages.SACL_INFORMATION),
        ):
            if wanted:
                requests.append(
                    messages.query_info(messages.INFO_SECURITY, 0, _DESCRIPTOR_BYTES, additional=parts)
                )
        return [*requests, messages.close()]

    def descriptors(self, wire: Wire, answers: Sequence[Answer]) -> tuple[bytes | None, bytes | None]:
        """(security, SACL) out of the answers. Raises StatusError; ValueError for a damaged one."""
        opened = messages.opened(answers[0].require(), "")
        if not answers[-1].ok:
            # A server may answer the whole rest of a compound like its first failure: then it is still open.
            wire.abandon(wire.begin([messages.close(opened.file)]))
        found = [bytes(messages.information(answer.require())) for answer in answers[1:-1]]
        security = canonical_security(found[0]) if self.wants_security else None
        return security, canonical_sacl(found[-1]) if self.wants_sacl else None


def version_of(facts: Facts) -> str:
    """Equal versions mean surely unchanged: the file's id, and the time of its last change of any sort."""
    return f"{facts.file_id:x}-{facts.changed:x}"


def difference(expected: Entry, facts: Facts) -> str | None:
    """What of `facts` is not as `expected` says, in words; None when all agrees. Directories: only the kind."""
    kind = Kind.DIRECTORY if facts.is_directory else Kind.FILE
    if kind is not expected.kind:
        return f"it is a {kind.value} now, not a {expected.kind.value}"
    if kind is Kind.DIRECTORY:
        return None
    if expected.size_bytes is not None and facts.size_bytes != expected.size_bytes:
        return f"its size is {facts.size_bytes} bytes now, not {expected.size_bytes}"
    if expected.mtime_ns is not None and to_nanoseconds(facts.written) != expected.mtime_ns:
        return "its modification time has changed"
    if expected.version is not None and not _same_version(expected.version, facts):
        return "it was changed or replaced (its file id or change time is another)"
    return None


def _same_version(expected: str, facts: Facts) -> bool:
    if expected == version_of(facts):
        return True
    # Not every server tells the id of an open file: then the change time alone has to agree.
    file_id, _, changed = expected.partition("-")
    return "0" in (file_id, f"{facts.file_id:x}") and changed == f"{facts.changed:x}"


def same_state(before: Facts, after: Facts) -> bool:
    """True when an open file was not written between the two looks."""
    return (before.size_bytes, before.written, before.changed) == (
        after.size_bytes,
        after.written,
        after.changed,
    )


def is_plain(facts: Facts) -> bool:
    """False for links, junctions and other reparse points that stand for something else.

    Deduplicated, compressed and cloud files are reparse points too, but files all the same.
    """
    if not facts.is_reparse_point:
        return True
    return facts.tag != 0 and not facts.tag & _NAME_SURROGATE and facts.tag not in _SPECIAL_TAGS
