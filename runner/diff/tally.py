"""Running counts of a comparison. Mutable on purpose: it is bumped once per entry."""

from __future__ import annotations

import msgspec

from runner.model.entry import Entry, Kind, Problem
from runner.model.execution import Counters, Counts

LISTED_PROBLEMS = 10_000


class TallySums(msgspec.Struct, frozen=True):
    """The counts of a Tally."""

    listed_files: int
    listed_folders: int
    excluded_files: int
    excluded_folders: int
    skipped_files: int
    skipped_folders: int
    failed_files: int
    failed_folders: int
    kept_files: int
    kept_folders: int
    destination_files: int
    destination_folders: int
    destination_bytes: int
    bytes_listed: int


class Tally:
    """What a comparison has seen so far. Files are everything that is not a folder."""

    __slots__ = (
        "bytes_listed",
        "destination_bytes",
        "destination_files",
        "destination_folders",
        "excluded_files",
        "excluded_folders",
        "failed_files",
        "failed_folders",
        "incomplete",
        "kept_files",
        "kept_folders",
        "listed_files",
        "listed_folders",
        "problems",
        "problems_total",
        "skipped_files",
        "skipped_folders",
    )

    def __init__(self) -> None:
        self.listed_files = self.listed_folders = 0
        self.excluded_files = self.excluded_folders = 0
        self.skipped_files = self.skipped_folders = 0
        self.failed_files = self.failed_folders = 0
        self.kept_files = self.kept_folders = 0
        self.destination_files = self.destination_folders = 0
        self.destination_bytes = 0
        self.bytes_listed = 0
        self.incomplete = False
        self.problems: list[Problem] = []
        self.problems_total = 0

    def list_source(self, entry: Entry) -> None:
        if entry.kind is Kind.DIRECTORY:
            self.listed_folders += 1
        else:
            self.listed_files += 1
            self.bytes_listed += entry.size_bytes or 0

    def list_destination(self, entry: Entry) -> None:
        if entry.kind is Kind.DIRECTORY:
            self.destination_folders += 1
        else:
            self.destination_files += 1
            self.destination_bytes += entry.size_bytes or 0

    def settle(self, files: int, size_bytes: int) -> None:
        """Files listed on both sides and equal."""
        self.listed_files += files
        self.bytes_listed += size_bytes
        self.destination_files += files
        self.destination_bytes += size_bytes
        self.skipped_files += files

    def exclude(self, entry: Entry) -> None:
        if entry.kind is Kind.DIRECTORY:
            self.excluded_folders += 1
        else:
            self.excluded_files += 1

    def skip(self, entry: Entry) -> None:
        if entry.kind is Kind.DIRECTORY:
            self.skipped_folders += 1
        else:
            self.skipped_files += 1

    def fail(self, entry: Entry) -> None:
        if entry.kind is Kind.DIRECTORY:
            self.failed_folders += 1
        else:
            self.failed_files += 1

    def keep(self, entry: Entry) -> None:
        if entry.kind is Kind.DIRECTORY:
            self.kept_folders += 1
        else:
            self.kept_files += 1

    def note(self, problem: Problem) -> None:
        """Remember a problem; only the first LISTED_PROBLEMS are kept in full."""
        self.problems_total += 1
        if len(self.problems) < LISTED_PROBLEMS:
            self.problems.append(problem)

    def include(self, sums: TallySums) -> None:
        """Add what another comparison has counted."""
        for name in TallySums.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(sums, name))

    def sums(self) -> TallySums:
        """The counts as a value that can cross a process border; problems are not in it."""
        return TallySums(**{name: getattr(self, name) for name in TallySums.__struct_fields__})

    def counters(self) -> Counters:
        """What is known when the comparison has ended and nothing was transferred yet."""
        return Counters(
            listed=Counts(self.listed_files, self.listed_folders),
            listed_at_destination=Counts(self.destination_files, self.destination_folders),
            excluded=Counts(self.excluded_files, self.excluded_folders),
            skipped=Counts(self.skipped_files, self.skipped_folders),
            failed=Counts(self.failed_files, self.failed_folders),
            failed_prepare=Counts(self.failed_files, self.failed_folders),
            kept=Counts(self.kept_files, self.kept_folders),
            bytes_listed=self.bytes_listed,
        )
