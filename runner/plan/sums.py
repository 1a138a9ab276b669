"""What a plan adds up to: counts, bytes, space, and what people want to see of it first."""

from __future__ import annotations

import msgspec

from runner.diff.tally import Tally
from runner.model.action import Action, ActionKind
from runner.model.execution import Counters, Counts
from runner.model.plan import ActionTotals
from runner.plan.highlights import Highlights

REMOVALS = frozenset({ActionKind.DELETE, ActionKind.QUARANTINE})


class PlannerSums(msgspec.Struct, frozen=True):
    """What a planner has decided, in numbers and highlights. Counts and bytes are by action kind.

    Names of folders are no keys: a key cannot be told in JSON when it is not UTF-8.
    """

    counts: dict[str, int]
    bytes: dict[str, int]
    bytes_replaced: int
    restored: int
    prepared: Counts
    deleted: Counts
    deletions_by_folder: tuple[tuple[str, int], ...]
    bytes_taken: int
    bytes_freed: int
    entries_needed: int
    highlights: tuple[Action, ...]
    highlighted_removals: tuple[Action, ...]


class PlanSums:
    """Show it every action; it knows the totals. What removals count for depends on `tally`: they are withheld when a
    listing was incomplete.

    The public numbers are the planner's to raise, as it decides.
    """

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._counts: dict[ActionKind, int] = dict.fromkeys(ActionKind, 0)
        self._bytes: dict[ActionKind, int] = dict.fromkeys(ActionKind, 0)
        self._restored = 0
        self._copied = self._copied_bytes = 0
        self._highlights = Highlights()
        self._highlighted_removals = Highlights()
        self.bytes_replaced = self.bytes_taken = self.bytes_freed = 0
        self.prepared_files = self.prepared_folders = 0
        self.deleted_files = self.deleted_folders = 0
        self.entries_needed = 0
        self.deletions_by_folder: dict[str, int] = {}

    def add(self, action: Action) -> None:
        """Count one action."""
        if action.is_housekeeping:
            self._restored += 1
            return
        kind = action.kind
        self._counts[kind] += 1
        self._bytes[kind] += action.size_bytes
        (self._highlighted_removals if kind in REMOVALS else self._highlights).add(action)

    def add_copy(self, action: Action) -> None:
        """`add` for a COPY of a new file; a key of the counts costs more to hash than all this."""
        self._copied += 1
        self._copied_bytes += action.size_bytes
        self._highlights.add_copy(action)

    def _settle_copies(self) -> None:
        self._counts[ActionKind.COPY] += self._copied
        self._bytes[ActionKind.COPY] += self._copied_bytes
        self._copied = self._copied_bytes = 0

    def value(self) -> PlannerSums:
        """What was decided, as a value that can cross a process border."""
        self._settle_copies()
        return PlannerSums(
            counts={kind.value: count for kind, count in self._counts.items()},
            bytes={kind.value: size for kind, size in self._bytes.items()},
            bytes_replaced=self.bytes_replaced,
            restored=self._restored,
            prepared=Counts(self.prepared_files, self.prepared_folders),
            deleted=Counts(self.deleted_files, self.deleted_folders),
            deletions_by_folder=tuple(self.deletions_by_folder.items()),
            bytes_taken=self.bytes_taken,
            bytes_freed=self.bytes_freed,
            entries_needed=self.entries_needed,
            highlights=self._highlights.gathered(),
            highlighted_removals=self._highlighted_removals.gathered(),
        )

    def include(self, sums: PlannerSums) -> None:
        """Add what another planner has decided."""
        for kind in ActionKind:
            self._counts[kind] += sums.counts[kind.value]
            self._bytes[kind] += sums.bytes[kind.value]
        self.bytes_replaced += sums.bytes_replaced
        self._restored += sums.restored
        self.prepared_files += sums.prepared.files
        self.prepared_folders += sums.prepared.folders
        self.deleted_files += sums.deleted.files
        self.deleted_folders += sums.deleted.folders
        for folder, count in sums.deletions_by_folder:
            self.deletions_by_folder[folder] = self.deletions_by_folder.get(folder, 0) + count
        self.bytes_taken += sums.bytes_taken
        self.bytes_freed += sums.bytes_freed
        self.entries_needed += sums.entries_needed
        for action in sums.highlights:
            self._highlights.add(action)
        for action in sums.highlighted_removals:
            self._highlighted_removals.add(action)

    def totals(self) -> ActionTotals:
        self._settle_copies()
        counts, sizes = self._counts, self._bytes
        withheld = self._tally.incomplete
        deletions = counts[ActionKind.DELETE] + counts[ActionKind.QUARANTINE]
        return ActionTotals(
            folders_to_create=counts[ActionKind.CREATE_DIRECTORY],
            to_copy=counts[ActionKind.COPY],
            to_replace=counts[ActionKind.REPLACE],
            to_link=counts[ActionKind.LINK],
            to_change_metadata=counts[ActionKind.SET_ATTRIBUTES],
            to_delete=0 if withheld else counts[ActionKind.DELETE],
            to_quarantine=0 if withheld else counts[ActionKind.QUARANTINE],
            folders_to_restore_times=self._restored,
            bytes_to_copy=sizes[ActionKind.COPY],
            bytes_to_replace=sizes[ActionKind.REPLACE],
            bytes_replaced=self.bytes_replaced,
            bytes_to_delete=0 if withheld else sizes[ActionKind.DELETE] + sizes[ActionKind.QUARANTINE],
            deletions_withheld=deletions if withheld else 0,
            extras_kept=self._tally.kept_files + self._tally.kept_folders,
        )

    def counters(self) -> Counters:
        """listed = prepared + skipped + failed + excluded, for files and for folders."""
        counters = self._tally.counters()
        totals = self.totals()
        return msgspec.structs.replace(
            counters,
            prepared=Counts(self.prepared_files, self.prepared_folders),
            kept=counters.kept
            + (Counts(self.deleted_files, self.deleted_folders) if self._tally.incomplete else Counts()),
            bytes_planned=totals.bytes_to_write,
        )

    @property
    def bytes_needed(self) -> int:
        """Space the plan takes at the destination, what it frees by replacing taken off."""
        return max(0, self.bytes_taken - self.bytes_freed)

    def largest(self) -> tuple[Action, ...]:
        """The plan's largest actions, largest first."""
        return self._shown().largest()

    def first(self) -> tuple[Action, ...]:
        """The plan's first actions of each kind."""
        return self._shown().first()

    def _shown(self) -> Highlights:
        """Removals are highlights of their own until it is known that none is withheld."""
        if self._tally.incomplete:
            return self._highlights
        return self._highlights.together_with(self._highlighted_removals)
