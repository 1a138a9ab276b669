"""Is an entry still in the state a plan was made for? Pure."""

from __future__ import annotations

from runner.model.entry import Entry, Kind


def is_as_expected(expected: Entry | None, actual: Entry | None) -> bool:
    """True when `actual` is what the plan saw. Folders only have to be folders still: their times and contents
    move with the work inside them."""
    if expected is None or actual is None:
        return expected is None and actual is None
    if expected.kind is not actual.kind:
        return False
    if expected.kind is Kind.DIRECTORY:
        return True
    if expected.kind is Kind.SYMLINK and expected.link_target != actual.link_target:
        return False
    if _moved(expected.size_bytes, actual.size_bytes) or _moved(expected.mtime_ns, actual.mtime_ns):
        return False
    # Another name of the same file may have been made or removed by an earlier action: its change time moves.
    return expected.link_group is not None or not _moved(expected.version, actual.version)


def is_already_done(wanted: Entry, actual: Entry | None, mtime_resolution_ns: int) -> bool:
    """True when the destination holds what the action would make: an earlier attempt got that far."""
    if actual is None or wanted.kind is not actual.kind:
        return False
    if wanted.kind is Kind.DIRECTORY:
        return True
    if wanted.kind is Kind.SYMLINK:
        return wanted.link_target == actual.link_target
    if wanted.size_bytes != actual.size_bytes:
        return False
    if wanted.mtime_ns is None or actual.mtime_ns is None:
        return False
    if abs(wanted.mtime_ns - actual.mtime_ns) >= max(1, mtime_resolution_ns):
        return False
    wanted_mode = wanted.attributes.mode if wanted.attributes else None
    actual_mode = actual.attributes.mode if actual.attributes else None
    return wanted_mode is None or actual_mode is None or wanted_mode == actual_mode


def _moved(expected: object, actual: object) -> bool:
    return expected is not None and actual is not None and expected != actual
