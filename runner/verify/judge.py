"""One expected entry against one actual entry: which verdict, and which fields differ. Pure."""

from __future__ import annotations

from runner.diff.compare import differing_attributes
from runner.model.action import Finding, Verdict
from runner.model.entry import Attributes, Entry, Kind


def judge_facts(
    expected: Entry, actual: Entry | None, mtime_tolerance_ns: int, checked_by: str
) -> Finding | None:
    """What can be told without reading content: presence, kind, size, link target, metadata. None = no fault.

    A size or link target that differs is a checksum failure: the content is not what it has to be.
    """
    if actual is None:
        return Finding(
            expected.path,
            Verdict.FILE_REMOVED,
            (("kind", expected.kind.value),),
            (("kind", "nothing"),),
            checked_by,
            "missing at the destination",
        )
    if actual.kind is not expected.kind:
        return _finding(
            expected, Verdict.CHECKSUM_FAILURE, [("kind", expected.kind.value, actual.kind.value)], checked_by
        )
    content: list[tuple[str, str, str]] = []
    if expected.kind is Kind.FILE and expected.size_bytes != actual.size_bytes:
        content.append(("size", str(expected.size_bytes), str(actual.size_bytes)))
    if expected.kind is Kind.SYMLINK and expected.link_target != actual.link_target:
        content.append(("link_target", str(expected.link_target), str(actual.link_target)))
    metadata = differing_metadata(expected, actual, mtime_tolerance_ns)
    if content:
        return _finding(expected, Verdict.CHECKSUM_FAILURE, content + metadata, checked_by)
    if metadata:
        return _finding(expected, Verdict.METADATA_FAILURE, metadata, checked_by)
    return None


def judge_digest(
    expected: Entry, expected_digest: str, actual_digest: str, facts: Finding | None, checked_by: str
) -> Finding | None:
    """The verdict once content was read too: a digest that differs outweighs metadata."""
    if expected_digest == actual_digest:
        return facts
    rows = [("digest", expected_digest, actual_digest)]
    if facts is not None:
        rows += [(name, value, dict(facts.actual)[name]) for name, value in facts.expected]
    return _finding(expected, Verdict.CHECKSUM_FAILURE, rows, checked_by)


def added(actual: Entry, checked_by: str) -> Finding:
    """Something stands at the destination that the source has not."""
    return Finding(
        actual.path,
        Verdict.FILE_ADDED,
        (("kind", "nothing"),),
        (("kind", actual.kind.value),),
        checked_by,
        "not at the source",
    )


def not_linked(expected: Entry, leader: str | None, checked_by: str) -> Finding:
    """The names that share one file at the source do not, or others do, at the destination."""
    wanted = f"same file as {leader}" if leader is not None else "a file of its own"
    return _finding(expected, Verdict.METADATA_FAILURE, [("link_group", wanted, "not so")], checked_by)


def differing_metadata(expected: Entry, actual: Entry, mtime_tolerance_ns: int) -> list[tuple[str, str, str]]:
    """(field, expected, actual) of every metadata field known on both sides that differs."""
    rows = []
    left, right = expected.mtime_ns, actual.mtime_ns
    if left is not None and right is not None and abs(left - right) > mtime_tolerance_ns:
        rows.append(("mtime", str(left), str(right)))
    for name in differing_attributes(expected.attributes, actual.attributes):
        rows.append((name, _shown(expected.attributes, name), _shown(actual.attributes, name)))
    return rows


def _finding(entry: Entry, verdict: Verdict, rows: list[tuple[str, str, str]], checked_by: str) -> Finding:
    return Finding(
        entry.path,
        verdict,
        tuple((name, wanted) for name, wanted, _ in rows),
        tuple((name, present) for name, _, present in rows),
        checked_by,
        ", ".join(name for name, _, _ in rows) + " differ" + ("s" if len(rows) == 1 else ""),
    )


def _shown(attributes: Attributes | None, name: str) -> str:
    value = getattr(attributes, name)
    if name == "mode":
        return f"{value:04o}"
    if name in ("xattrs", "acls"):
        return "; ".join(f"{key}={content.hex()}" for key, content in value) or "none"
    return str(value)
