"""Whether what stands at a path is still what a plan expects there."""

from __future__ import annotations

from runner.model.entry import Entry, Kind


def difference(expected: Entry, present: Entry | None) -> str | None:
    """What of `present` is not as `expected` says, in words; None when all agrees. Folders: only the kind."""
    if present is None:
        return "nothing is there any more"
    if present.kind is not expected.kind:
        return f"it is a {present.kind.value} now, not a {expected.kind.value}"
    if expected.kind is Kind.DIRECTORY:
        return None
    if expected.size_bytes is not None and expected.size_bytes != present.size_bytes:
        return f"its size is {present.size_bytes} bytes now, not {expected.size_bytes}"
    if (
        expected.mtime_ns is not None
        and present.mtime_ns is not None
        and expected.mtime_ns != present.mtime_ns
    ):
        return "its modification time has changed"
    if expected.version is not None and expected.version != present.version:
        return "its content was replaced (its etag is another)"
    if expected.link_target is not None and expected.link_target != present.link_target:
        return "the link points elsewhere now"
    return None
