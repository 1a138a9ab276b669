"""Size, age and kind: what an entry's facts, not its path, say about whether it matters.

Folders always pass: they hold what matters. Sizes are asked of regular files only.
"""

from __future__ import annotations

import enum
from datetime import UTC, datetime, timedelta

import msgspec

from runner.clock import iso_utc
from runner.model.entry import Entry, Kind
from runner.model.task import FilterSettings
from runner.units import format_duration, format_size

_NANOSECONDS = 1_000_000_000

# Asked of every entry: a member costs five times as much to look up through its class.
_DIRECTORY = Kind.DIRECTORY
_FILE = Kind.FILE


class RuleKind(enum.StrEnum):
    """Which sort of rule decided."""

    INCLUDE = "include"
    EXCLUDE = "exclude"
    RULE = "rule"
    SIZE = "size"
    AGE = "age"
    KIND = "kind"
    MANIFEST = "manifest"
    BUILT_IN = "built_in"
    DEFAULT = "default"


class _Bound(msgspec.Struct, frozen=True):
    """A half-open range of one fact: lowest <= fact < end. `rule` is the bound in words."""

    rule: str
    code: RuleKind
    lowest: int | None
    end: int | None

    def refuses(self, fact: int) -> bool:
        return (self.lowest is not None and fact < self.lowest) or (self.end is not None and fact >= self.end)


class FactRules:
    """The size, age and kind rules of a task at one instant. Immutable."""

    __slots__ = ("_ages", "_kinds", "_sizes", "is_empty")

    def __init__(self, settings: FilterSettings, now_ns: int) -> None:
        """`now_ns`: nanoseconds since 1970 from which ages are counted, one instant for a whole execution."""
        self._sizes = _size_bounds(settings)
        self._ages = _age_bounds(settings, now_ns)
        self._kinds = frozenset(settings.kinds)
        self.is_empty = not (self._sizes or self._ages or self._kinds)

    def refusal(self, entry: Entry, *, unknown_refuses: bool) -> tuple[str, RuleKind] | None:
        """The first rule that leaves this entry out, in words, with its sort; None when all let it pass.

        A fact that is unknown (None) passes, or is refused with `unknown_refuses`: the caller says what is
        safe.
        """
        kind = entry.kind
        if kind is _DIRECTORY:
            return None
        if self._kinds and kind not in self._kinds:
            return _kinds_text(self._kinds), RuleKind.KIND
        if self._sizes and kind is _FILE:
            for bound in self._sizes:
                if unknown_refuses if entry.size_bytes is None else bound.refuses(entry.size_bytes):
                    return bound.rule, bound.code
        for bound in self._ages:
            if unknown_refuses if entry.mtime_ns is None else bound.refuses(entry.mtime_ns):
                return bound.rule, bound.code
        return None

    def describe(self) -> tuple[str, ...]:
        """One line a rule."""
        lines = [bound.rule for bound in self._sizes + self._ages]
        if self._kinds:
            lines.append(_kinds_text(self._kinds))
        return tuple(lines)


def _kinds_text(kinds: frozenset[Kind]) -> str:
    return "kinds " + ", ".join(kind.value for kind in Kind if kind in kinds)


def _size_bounds(settings: FilterSettings) -> tuple[_Bound, ...]:
    bounds = []
    if settings.min_size_bytes is not None:
        rule = f"min_size {format_size(settings.min_size_bytes)}"
        bounds.append(_Bound(rule, RuleKind.SIZE, settings.min_size_bytes, None))
    if settings.max_size_bytes is not None:
        rule = f"max_size {format_size(settings.max_size_bytes)}"
        bounds.append(_Bound(rule, RuleKind.SIZE, None, settings.max_size_bytes + 1))
    return tuple(bounds)


def _age_bounds(settings: FilterSettings, now_ns: int) -> tuple[_Bound, ...]:
    ranges: list[tuple[str, int | None, int | None]] = []
    if settings.older_than_seconds is not None:
        youngest = now_ns - round(settings.older_than_seconds * _NANOSECONDS)
        ranges.append((f"older_than {format_duration(settings.older_than_seconds)}", None, youngest + 1))
    if settings.newer_than_seconds is not None:
        oldest = now_ns - round(settings.newer_than_seconds * _NANOSECONDS)
        ranges.append((f"newer_than {format_duration(settings.newer_than_seconds)}", oldest, None))
    if settings.modified_before_ns is not None:
        before = settings.modified_before_ns
        ranges.append((f"modified_before {_instant(before)}", None, before))
    if settings.modified_after_ns is not None:
        after = settings.modified_after_ns
        ranges.append((f"modified_after {_instant(after)}", after, None))
    return tuple(_Bound(rule, RuleKind.AGE, lowest, end) for rule, lowest, end in ranges)


def _instant(nanoseconds: int) -> str:
    """1700000000000000000 -> '2023-11-14T22:13:20.000Z', with integers all the way."""
    return iso_utc(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=nanoseconds // 1000))
