"""One pair of entries at one path: in what do they differ?"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from runner.model.difference import Reason
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import Compare

ContentEqual = Callable[[Entry, Entry], bool]
"""Reads both sides and tells whether the bytes are equal; raises EntryError where that cannot be told."""

COMPARED_FIELDS = (
    "mode",
    "uid",
    "gid",
    "user",
    "group",
    "xattrs",
    "acls",
    "tags",
    "content_headers",
    "user_metadata",
    "created_ns",
    "dos_attributes",
    "security",
    "sacl",
)


class Comparison(msgspec.Struct, frozen=True):
    """What counts as a difference, for one task and one pair of locations.

    `compares_mtime` is False when mtime is not carried; then size+mtime means size alone.
    `mtime_tolerance_ns` is the coarser of both locations' resolutions, or what the task allows.
    `marks_folders`: the destination's folders can be there without facts of their own, and can be given some.
    `doubted`: files whose content is compared whatever `compare` says.
    """

    compare: Compare = Compare.SIZE_AND_MTIME
    compares_mtime: bool = True
    mtime_tolerance_ns: int = 0
    transfer_all: bool = False
    marks_folders: bool = False
    doubted: frozenset[str] = frozenset()


def mtime_differs(source: Entry, destination: Entry, comparison: Comparison) -> bool:
    """True when both times are known and further apart than the tolerance."""
    left, right = source.mtime_ns, destination.mtime_ns
    if left == right or left is None or right is None or not comparison.compares_mtime:
        return False
    return abs(left - right) > comparison.mtime_tolerance_ns


def differing_attributes(source: Attributes | None, destination: Attributes | None) -> tuple[str, ...]:
    """Names of the metadata fields known on both sides that are not equal. Access times and device numbers are
    not metadata to compare: reading changes the first, the second is what a device is."""
    if source == destination or source is None or destination is None:
        return ()
    names = []
    for name in COMPARED_FIELDS:
        wanted = getattr(source, name)
        if wanted is not None:
            present = getattr(destination, name)
            if present is not None and present != wanted:
                names.append(name)
    return tuple(names)


def compare_entries(
    source: Entry, destination: Entry, comparison: Comparison, content_equal: ContentEqual | None
) -> tuple[tuple[Reason, ...], tuple[str, ...]]:
    """(reasons, differing metadata fields); both empty when the entries are equal.

    Reasons other than ATTRIBUTES alone mean that the entry has to be written anew. A time that differs is a
    reason of its own only where the time decides (size+mtime on files); elsewhere it is metadata.
    """
    kind = source.kind
    if kind is not destination.kind:
        return (Reason.KIND,), ()
    attributes = differing_attributes(source.attributes, destination.attributes)
    late = mtime_differs(source, destination, comparison)
    reasons: list[Reason] = []
    if kind is Kind.FILE:
        if comparison.transfer_all:
            reasons.append(Reason.ALL)
        elif source.size_bytes != destination.size_bytes:
            reasons.append(Reason.SIZE)
        elif comparison.compare is Compare.CHECKSUM or source.path in comparison.doubted:
            if content_equal is not None and not content_equal(source, destination):
                reasons.append(Reason.DIGEST)
        elif late and comparison.compare is Compare.SIZE_AND_MTIME:
            reasons.append(Reason.MTIME)
    elif kind is Kind.SYMLINK:
        if source.link_target != destination.link_target:
            reasons.append(Reason.LINK_TARGET)
    elif kind in (Kind.CHARACTER_DEVICE, Kind.BLOCK_DEVICE) and (
        source.attributes is not None
        and destination.attributes is not None
        and source.attributes.device != destination.attributes.device
    ):
        reasons.append(Reason.KIND)
    if late and Reason.MTIME not in reasons:
        attributes = (*attributes, "mtime")
    if (
        comparison.marks_folders
        and kind is Kind.DIRECTORY
        and destination.version is None
        and destination.mtime_ns is None
        and source.mtime_ns is not None
        and comparison.compares_mtime
    ):
        attributes = ("mtime",)
    if attributes:
        reasons.append(Reason.ATTRIBUTES)
    return tuple(reasons), attributes
