"""Checked nodes -> FilterSettings, and what is wrong with filters that no schema can say."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta

from runner.config.nodes import Mapping, Node, Place, Scalar, Sequence, plain, quoted, text_of
from runner.config.sections import Section, texts
from runner.model.entry import Kind
from runner.model.task import FilterSettings, ManifestSettings
from runner.units import parse_size


def build_filters(section: Section, options: Section) -> FilterSettings:
    """The filters; `options` may hold delete_excluded instead."""
    min_size, max_size = section.parsed("min_size", parse_size), section.parsed("max_size", parse_size)
    older, newer = section.seconds("older_than"), section.seconds("newer_than")
    before = section.parsed("modified_before", _instant_ns)
    after = section.parsed("modified_after", _instant_ns)
    filters = FilterSettings(
        include=_one_or_more(section.get("include")),
        exclude=_one_or_more(section.get("exclude")),
        rules=texts(section.get("rules")),
        min_size_bytes=min_size,
        max_size_bytes=max_size,
        older_than_seconds=older,
        newer_than_seconds=newer,
        modified_before_ns=before,
        modified_after_ns=after,
        kinds=tuple(Kind(text) for text in texts(section.get("kinds"))),
        manifest=_build_manifest(section),
        delete_excluded=_delete_excluded(section, options),
    )
    if filters != FilterSettings():
        _check(filters, section)
    return filters


def _check(filters: FilterSettings, section: Section) -> None:
    """Patterns that can never match, and limits that no file can pass: such filters protect nothing."""
    from runner.filters.faults import pattern_faults

    for text, wrong in pattern_faults(filters):
        named = wrong.startswith(("pattern ", "include ", "exclude "))
        section.faults.add(_place_of(text, section), wrong if named else f"pattern {quoted(text)} {wrong}")
    if _above(filters.min_size_bytes, filters.max_size_bytes):
        section.fault_at("min_size", "min_size is larger than max_size: no file can pass")
    if _above(filters.older_than_seconds, filters.newer_than_seconds):
        section.fault_at("older_than", "older_than is longer than newer_than: no file can pass")
    before, after = filters.modified_before_ns, filters.modified_after_ns
    if before is not None and after is not None and before <= after:
        section.fault_at(
            "modified_before", "modified_before is not later than modified_after: no file can pass"
        )


def _above(lowest: float | None, highest: float | None) -> bool:
    return lowest is not None and highest is not None and lowest > highest


def _place_of(text: str, section: Section) -> Place:
    """Where a pattern stands; the filters' own place when it came about in a way that has none."""
    assert section.node is not None
    for key in ("include", "exclude", "rules"):
        node = section.get(key)
        for child in node.children if isinstance(node, Sequence) else (node,):
            if child is not None and text_of(child) == text:
                return child
    return section.node


def _build_manifest(section: Section) -> ManifestSettings | None:
    node = section.get("manifest")
    if not isinstance(node, Mapping):
        return None
    others = [key for key in ("include", "exclude", "rules") if section.get(key) is not None]
    if others:
        section.fault_at("manifest", f"a manifest cannot be used together with {' and '.join(others)}")
    file = text_of(node.get("file"))
    if file is None or file == "-":
        path = None
    else:
        path = os.path.normpath(
            os.path.join(node.members["file"].node.source.directory, os.path.expanduser(file))
        )
    return ManifestSettings(file=path, format=text_of(node.get("format")) or "csv")


def _delete_excluded(section: Section, options: Section) -> bool:
    own, other = section.get("delete_excluded"), options.get("delete_excluded")
    if own is not None and other is not None and plain(own) != plain(other):
        section.faults.add(
            other, "options.delete_excluded contradicts filters.delete_excluded", expected="one of the two"
        )
    return section.flag("delete_excluded", options.flag("delete_excluded", False))


def _one_or_more(node: Node | None) -> tuple[str, ...]:
    return (node.value,) if isinstance(node, Scalar) and isinstance(node.value, str) else texts(node)


def _instant_ns(text: str) -> int:
    """RFC 3339; a date alone is its midnight in UTC."""
    try:
        instant = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise ValueError(f"{text!r} is not a date that exists: {error}") from error
    if instant.tzinfo is None:
        instant = instant.replace(tzinfo=UTC)
    return (instant - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) * 1000
