"""What distinguishes the source's entry from the destination's at one path."""

from __future__ import annotations

import enum

import msgspec

from runner.model.entry import Entry


class Reason(enum.StrEnum):
    """Why an entry needs an action."""

    MISSING = "missing"
    EXTRA = "extra"
    EXCLUDED = "excluded"
    KIND = "kind"
    SIZE = "size"
    MTIME = "mtime"
    DIGEST = "digest"
    LINK_TARGET = "link_target"
    LINK_GROUP = "link_group"
    ATTRIBUTES = "attributes"
    ALL = "all"
    CONTENTS = "contents"


class Difference(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One path at which the sides differ.

    MISSING: only the source has it. EXTRA: only the destination has it. EXCLUDED: the filters hide the source's
    entry and ask for the destination's to go (delete_excluded). Otherwise both entries are there. A folder that is
    equal on both sides is reported too, without reasons: whoever plans has to know what surrounds a change.
    `attributes` names the metadata fields that differ (mode, uid, gid, user, group, xattrs, acls, mtime, ...).
    `link_to` is the path of the hard-link group's first entry at the source, when `path` is not that first one.
    `make_way` marks an extra that stands where the source has an entry of another kind.
    """

    path: str
    source: Entry | None
    destination: Entry | None
    reasons: tuple[Reason, ...]
    attributes: tuple[str, ...] = ()
    link_to: str | None = None
    make_way: bool = False
