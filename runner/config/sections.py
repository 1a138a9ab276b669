"""Checked nodes -> the typed parts of a task: units converted, defaults filled in, faults at their values."""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, TypeVar

from runner.config.nodes import (
    Faults,
    Mapping,
    Node,
    Scalar,
    Sequence,
    close_match,
    plain,
    shown,
    text_of,
)
from runner.model.task import (
    BandwidthWindow,
    Compare,
    DeletedFiles,
    DigestAlgorithm,
    Durability,
    Guards,
    Integrity,
    Limit,
    MetadataOptions,
    OverwriteMode,
    Owner,
    ReportFormat,
    SymlinkMode,
    TaskOptions,
    TransferMode,
    VerifyMode,
)
from runner.units import parse_duration, parse_rate, parse_size

E = TypeVar("E", bound=enum.StrEnum)
T = TypeVar("T")

DEFAULT_REPORTS = (ReportFormat.HTML, ReportFormat.JSON)
_DAY_SECONDS = 86_400
_LONGEST_SECONDS = 100 * 366 * _DAY_SECONDS


class Section:
    """One map that passed the schema, read key by key. A value without a meaning is a fault."""

    def __init__(self, node: Node | None, faults: Faults) -> None:
        self.node = node if isinstance(node, Mapping) else None
        self.faults = faults

    def get(self, key: str) -> Node | None:
        return None if self.node is None else self.node.get(key)

    def fault_at(self, key: str, message: str) -> None:
        """Note a fault of a key that is given."""
        assert self.node is not None
        self.faults.add(self.node.members[key].key, message)

    def section(self, key: str) -> Section:
        return Section(self.get(key), self.faults)

    def flag(self, key: str, default: bool) -> bool:
        node = self.get(key)
        return node.value if isinstance(node, Scalar) and isinstance(node.value, bool) else default

    def number(self, key: str) -> float | None:
        node = self.get(key)
        if isinstance(node, Scalar) and isinstance(node.value, (int, float)):
            return node.value
        return None

    def text(self, key: str) -> str | None:
        return text_of(self.get(key))

    def choice(self, key: str, default: E) -> E:
        text = self.text(key)
        return default if text is None else type(default)(text)

    def parsed(self, key: str, parse: Callable[[str], T]) -> T | None:
        """`parse` of the key's text; a ValueError of it becomes a fault."""
        node = self.get(key)
        text = text_of(node)
        if node is None or text is None:
            return None
        try:
            return parse(text)
        except (ValueError, OverflowError) as error:
            message = str(error) if isinstance(error, ValueError) else f"{shown(node)} is too large"
            self.faults.add(node, message)
            return None

    def seconds(self, key: str) -> float | None:
        return self.parsed(key, _seconds)


def build_options(section: Section) -> TaskOptions:
    """The options, as `options:` says, else as TaskOptions has them."""
    default = TaskOptions()
    retries = section.section("retries")
    attempts, workers = retries.number("attempts"), section.number("workers")
    tolerance, keep = section.seconds("mtime_tolerance"), section.seconds("quarantine_keep")
    delay = retries.seconds("delay")
    return TaskOptions(
        transfer_mode=section.choice("transfer_mode", TransferMode.CHANGED),
        overwrite_mode=section.choice("overwrite_mode", OverwriteMode.ALWAYS),
        compare=section.choice("compare", Compare.SIZE_AND_MTIME),
        mtime_tolerance_ns=default.mtime_tolerance_ns if tolerance is None else round(tolerance * 1e9),
        preserve_deleted_files=section.choice("preserve_deleted_files", DeletedFiles.PRESERVE),
        quarantine_keep_days=default.quarantine_keep_days if keep is None else keep / _DAY_SECONDS,
        verify_mode=section.choice("verify_mode", VerifyMode.ONLY_FILES_TRANSFERRED),
        integrity=section.choice("integrity", Integrity.READ_BACK),
        digest=section.choice("digest", DigestAlgorithm.XXH3_128),
        durability=section.choice("durability", Durability.NONE),
        symlinks=section.choice("symlinks", SymlinkMode.PRESERVE),
        hard_links=section.text("hard_links") != "copy",
        sparse=section.flag("sparse", default.sparse),
        special_files=section.text("special_files") != "skip",
        devices=section.text("devices") == "preserve",
        metadata=_build_metadata(section.section("metadata")),
        bandwidth=build_bandwidth(section),
        bandwidth_timezone=timezone_of(section, "bandwidth_timezone"),
        attempts=default.attempts if attempts is None else int(attempts),
        retry_delay_seconds=default.retry_delay_seconds if delay is None else delay,
        workers=None if workers is None else int(workers),
    )


def build_guards(section: Section) -> Guards:
    """The guards. A cap that is written replaces the built-in rule and counts from the first entry on."""
    default = Guards()
    return Guards(
        max_deletions=_build_limit(section, "max_deletions", default.max_deletions),
        max_overwrites=_build_limit(section, "max_overwrites", default.max_overwrites),
        max_deletions_per_folder=_build_limit(
            section, "max_deletions_per_folder", default.max_deletions_per_folder
        ),
        allow_empty_source=section.flag("allow_empty_source", default.allow_empty_source),
        allow_wide_root=section.flag("allow_wide_root", default.allow_wide_root),
        endpoint_identity=section.flag("endpoint_identity", default.endpoint_identity),
        filter_change=section.flag("filter_change", default.filter_change),
        free_space=section.flag("free_space", default.free_space),
    )


def build_reports(node: Node | None) -> tuple[ReportFormat, ...]:
    """The reports to write, in the order of the formats, whatever order they were given in."""
    if node is None:
        return DEFAULT_REPORTS
    wanted = set(texts(node))
    return tuple(report for report in ReportFormat if report.value in wanted)


def _build_metadata(section: Section) -> MetadataOptions:
    default = MetadataOptions()
    return MetadataOptions(
        mtime=section.flag("mtime", default.mtime),
        atime=section.flag("atime", default.atime),
        mode=section.flag("mode", default.mode),
        owner=section.choice("owner", Owner.IDS),
        xattrs=section.flag("xattrs", default.xattrs),
        acls=section.flag("acls", default.acls),
        tags=section.flag("tags", default.tags),
        content_headers=section.flag("content_headers", default.content_headers),
        user_metadata=section.flag("user_metadata", default.user_metadata),
        dos_attributes=section.flag("dos_attributes", default.dos_attributes),
        creation_time=section.flag("creation_time", default.creation_time),
        security_descriptor=section.choice("security_descriptor", default.security_descriptor),
        owner_map=_pairs(section.get("owner_map")),
        group_map=_pairs(section.get("group_map")),
    )


def build_bandwidth(section: Section) -> tuple[BandwidthWindow, ...]:
    """The timetable under `bandwidth`; one rate is a timetable of one window."""
    node = section.get("bandwidth")
    if isinstance(node, Scalar):
        limit = section.parsed("bandwidth", parse_rate)
        return () if limit is None else (BandwidthWindow(limit_bytes_per_second=limit),)
    windows: list[BandwidthWindow] = []
    taken: list[tuple[int, int, int]] = []
    for child in node.children if isinstance(node, Sequence) else ():
        window = Section(child, section.faults)
        start, end = window.parsed("from", minute_of_day), window.parsed("to", minute_of_day)
        limit = window.parsed("limit", parse_rate)
        if start is not None and end is not None and start == end:
            section.faults.add(child, "the window is empty: from and to are the same time")
            continue
        spans = _spans(start, end)
        for other_start, other_end, line in taken:
            if any(low < other_end and other_start < high for low, high in spans):
                what = "there is a second window without from and to" if start is None else "windows overlap"
                section.faults.add(child, f"{what}; the other is in line {line}")
                break
        taken += [(low, high, child.line) for low, high in spans]
        windows.append(BandwidthWindow(limit, start, None if end is None else end % 1440))
    return tuple(windows)


def _spans(start: int | None, end: int | None) -> list[tuple[int, int]]:
    """The minutes of the day that a window holds; a day of its own for "all other times"."""
    if start is None or end is None:
        return [(-1, 0)]
    return [(start, end)] if start < end else [(start, 1440), (0, end)]


def _build_limit(section: Section, key: str, default: Limit) -> Limit:
    node = section.get(key)
    if node is None:
        return default
    caps = Section(node, section.faults)
    count, percent = caps.number("count"), caps.number("percent")
    return Limit(
        count=None if count is None else int(count),
        percent=None if percent is None else float(percent),
        size_bytes=caps.parsed("size", parse_size),
    )


def timezone_of(section: Section, key: str) -> str | None:
    """The IANA zone that a key names; an unknown one is a fault."""
    node, text = section.get(key), section.text(key)
    if node is None or text is None:
        return None
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(text)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        section.faults.add(
            node, f"{shown(node)} is not a known time zone", expected="an IANA name such as Europe/Berlin",
            suggestion=close_match(text, zoneinfo.available_timezones()),
        )  # fmt: skip
    return text


def _seconds(text: str) -> float:
    seconds = parse_duration(text).total_seconds()
    if seconds > _LONGEST_SECONDS:
        raise ValueError(f"{text!r} is longer than a hundred years")
    return seconds


def minute_of_day(text: str) -> int:
    """`08:30` -> 510; `24:00` -> 1440."""
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def texts(node: Node | None) -> tuple[str, ...]:
    """The texts of a list, in its order."""
    if not isinstance(node, Sequence):
        return ()
    return tuple(text for text in map(text_of, node.children) if text is not None)


def _pairs(node: Node | None) -> tuple[tuple[str, str], ...]:
    values: dict[str, Any] = plain(node) if isinstance(node, Mapping) else {}
    return tuple(sorted((key, str(value)) for key, value in values.items()))
