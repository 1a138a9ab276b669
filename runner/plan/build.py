"""What to do about each difference: the policy of a task, as pure decisions.

The planner walks the differences once, with a stack of the folders it is in. A folder is finished when the walk
leaves it: then its own metadata is set (for the work inside changed its times), or, when it is an extra, it is
removed after everything in it. Deletions are withheld altogether when anything could not be listed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import msgspec

from runner.diff.tally import Tally
from runner.errors import EntryCode
from runner.locations.protocol import Capabilities
from runner.model.action import Action, ActionKind, Stage
from runner.model.difference import Difference, Reason
from runner.model.entry import Entry, Kind, Phase, Problem, leaf_name, parent_path, path_bytes
from runner.model.execution import Counters, Counts
from runner.model.plan import ActionTotals
from runner.model.task import DeletedFiles, OverwriteMode, TaskOptions
from runner.plan.file import PlanWriter

LARGEST = 10
FIRST_PER_KIND = 20


class _Folder:
    """A folder the walk is in."""

    __slots__ = ("attributes", "created", "destination", "keeps", "make_way", "path", "reasons", "source", "touched")

    def __init__(self, path: str, source: Entry | None, destination: Entry | None) -> None:
        self.path = path
        self.source = source
        self.destination = destination
        self.created = False
        self.touched = False
        self.keeps = False
        self.make_way = False
        self.reasons: tuple[Reason, ...] = ()
        self.attributes: tuple[str, ...] = ()


class Planner:
    """Feed it every difference, then `finish()`. What it decides goes to `writer`; counts to `tally` and `totals`."""

    def __init__(
        self,
        options: TaskOptions,
        capabilities: Capabilities,
        writer: PlanWriter,
        tally: Tally,
        may_delete: Callable[[Entry], bool] | None,
        is_included: Callable[[Entry], bool] | None = None,
    ) -> None:
        """`may_delete` None = every extra may go; `is_included` tells an extra that the filters hide (only asked
        with delete_excluded)."""
        self._options = options
        self._capabilities = capabilities
        self._writer = writer
        self._tally = tally
        self._may_delete = may_delete
        self._is_included = is_included
        self._stack: list[_Folder] = []
        self._blocked: str | None = None
        self._counts: dict[ActionKind, int] = dict.fromkeys(ActionKind, 0)
        self._bytes: dict[ActionKind, int] = dict.fromkeys(ActionKind, 0)
        self._bytes_replaced = 0
        self._restored = 0
        self._prepared_files = self._prepared_folders = 0
        self._deleted_folders = self._deleted_files = 0
        self._largest: list[tuple[int, bytes, Action]] = []
        self._first: dict[ActionKind, list[Action]] = {kind: [] for kind in ActionKind}
        self.deletions_by_folder: dict[str, int] = {}
        self.bytes_needed = 0
        self.entries_needed = 0

    # -- the walk ------------------------------------------------------------------------------------------

    def feed(self, difference: Difference) -> None:
        """Decide about one difference. Differences come in the order of `Merge.differences`."""
        path = difference.path
        stack = self._stack
        while stack and not path.startswith(stack[-1].path):
            self._leave(stack.pop())
        source = difference.source
        if source is None:
            self._extra(difference)
        elif self._blocked is not None and path.startswith(self._blocked):
            self._tally.fail(source)
        elif source.kind is Kind.DIRECTORY:
            self._folder(difference, source)
        elif self._acceptable(source):
            self._file(difference, source)

    def finish(self) -> None:
        """Leave every folder; withhold deletions when the listing was incomplete."""
        while self._stack:
            self._leave(self._stack.pop())
        if self._tally.incomplete:
            self._writer.withhold(Stage.REMOVE)
            self._writer.withhold(Stage.MAKE_WAY)

    # -- results -------------------------------------------------------------------------------------------

    def totals(self) -> ActionTotals:
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
            bytes_replaced=self._bytes_replaced,
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
            prepared=Counts(self._prepared_files, self._prepared_folders),
            kept=counters.kept
            + (Counts(self._deleted_files, self._deleted_folders) if self._tally.incomplete else Counts()),
            bytes_planned=totals.bytes_to_write,
        )

    def largest(self) -> tuple[Action, ...]:
        """The LARGEST actions by size, largest first."""
        return tuple(action for _, _, action in sorted(self._largest, key=lambda row: (-row[0], row[1])))

    def first(self) -> tuple[Action, ...]:
        """The first FIRST_PER_KIND actions of each kind."""
        return tuple(action for kind in ActionKind for action in self._first[kind])

    # -- decisions -----------------------------------------------------------------------------------------

    def _acceptable(self, source: Entry) -> bool:
        """False, with a problem, when the destination cannot hold this entry."""
        capabilities = self._capabilities
        limit = capabilities.name_max_bytes
        if source.kind not in capabilities.kinds:
            message = f"the destination cannot hold a {source.kind.value.replace('_', ' ')}"
            self._fail(source, EntryCode.KIND_NOT_SUPPORTED, message)
            return False
        if limit is not None and len(source.path) * 4 > limit and len(path_bytes(leaf_name(source.path))) > limit:
            message = f"the name is longer than the {limit} bytes the destination allows"
            self._fail(source, EntryCode.NAME_NOT_ALLOWED, message)
            return False
        return True

    def _fail(self, source: Entry, code: EntryCode, message: str) -> None:
        self._tally.fail(source)
        self._tally.note(Problem(source.path, Phase.PREPARING, code, message, side="destination"))

    def _may_overwrite(self, source: Entry, destination: Entry) -> bool:
        mode = self._options.overwrite_mode
        if mode is OverwriteMode.ALWAYS:
            return True
        if mode is OverwriteMode.NEVER:
            return False
        return (
            source.mtime_ns is None
            or destination.mtime_ns is None
            or destination.mtime_ns <= source.mtime_ns
        )

    def _folder(self, difference: Difference, source: Entry) -> None:
        destination = difference.destination
        folder = _Folder(difference.path, source, destination)
        if not self._acceptable(source):
            self._blocked = difference.path
            return
        if destination is None:
            self._create(difference, source)
            folder.created = True
        elif Reason.KIND in difference.reasons:
            if not self._may_overwrite(source, destination):
                self._blocked = difference.path
                message = f"a {destination.kind.value} stands where the folder has to go; overwrite_mode keeps it"
                self._fail(source, EntryCode.KIND_CONFLICT, message)
                return
            self._create(difference, source)
            folder.created = True
        elif difference.reasons and self._may_overwrite(source, destination):
            folder.reasons, folder.attributes = difference.reasons, difference.attributes
            self._prepared_folders += 1
        else:
            self._tally.skip(source)
        self._stack.append(folder)

    def _create(self, difference: Difference, source: Entry) -> None:
        self._prepared_folders += 1
        self.entries_needed += 1
        self._emit(ActionKind.CREATE_DIRECTORY, Stage.WRITE, difference, size=0)

    def _file(self, difference: Difference, source: Entry) -> None:
        destination = difference.destination
        size = source.size_bytes or 0
        if destination is not None and destination.kind is Kind.DIRECTORY:
            self._file_over_folder(difference, source)
            return
        if destination is not None and not self._may_overwrite(source, destination):
            self._tally.skip(source)
            return
        self._prepared_files += 1
        if difference.link_to is not None:
            self._emit(ActionKind.LINK, Stage.LINK, difference, size=0)
        elif destination is None:
            self._need_space(source)
            self._emit(ActionKind.COPY, Stage.WRITE, difference, size=size)
        elif difference.reasons == (Reason.ATTRIBUTES,):
            self._emit(ActionKind.SET_ATTRIBUTES, Stage.WRITE, difference, size=0)
            return
        else:
            self._need_space(source)
            self._bytes_replaced += destination.size_bytes or 0
            self.bytes_needed -= min(self.bytes_needed, destination.allocated_bytes or destination.size_bytes or 0)
            self._emit(ActionKind.REPLACE, Stage.WRITE, difference, size=size)
        self._touch(difference.path)

    def _file_over_folder(self, difference: Difference, source: Entry) -> None:
        """What is in the folder follows as extras marked make_way; here only the file itself is decided."""
        removes = self._options.preserve_deleted_files is not DeletedFiles.PRESERVE
        if not removes or self._options.overwrite_mode is OverwriteMode.NEVER:
            message = (
                "a folder stands where the file has to go, and preserve_deleted_files: "
                f"{self._options.preserve_deleted_files.value} with overwrite_mode: "
                f"{self._options.overwrite_mode.value} keeps it"
            )
            self._fail(source, EntryCode.KIND_CONFLICT, message)
            return
        self._prepared_files += 1
        self._need_space(source)
        vacated = Difference(
            difference.path, source, None, (Reason.KIND,), link_to=difference.link_to
        )
        if difference.link_to is not None:
            self._emit(ActionKind.LINK, Stage.LINK, vacated, size=0)
        else:
            self._emit(ActionKind.COPY, Stage.WRITE, vacated, size=source.size_bytes or 0)
        self._touch(difference.path)

    def _need_space(self, source: Entry) -> None:
        self.entries_needed += 1
        if source.allocated_bytes is not None:
            self.bytes_needed += source.allocated_bytes
        else:
            self.bytes_needed += source.size_bytes or 0

    def _extra(self, difference: Difference) -> None:
        destination = difference.destination
        assert destination is not None
        if destination.kind is Kind.DIRECTORY:
            folder = _Folder(difference.path, None, destination)
            folder.make_way = difference.make_way
            self._stack.append(folder)
        else:
            self._drop(destination, difference.make_way)

    def _drop(self, destination: Entry, make_way: bool) -> None:
        """Delete, quarantine or keep one extra; a kept one keeps the folders around it."""
        mode = self._options.preserve_deleted_files
        allowed = self._may_delete is None or self._may_delete(destination)
        blocked = make_way and self._options.overwrite_mode is OverwriteMode.NEVER
        if mode is DeletedFiles.PRESERVE or not allowed or blocked:
            self._tally.keep(destination)
            if self._stack:
                self._stack[-1].keeps = True
            return
        reason = Reason.EXTRA
        if self._is_included is not None and not self._is_included(destination):
            reason = Reason.EXCLUDED
        kind = ActionKind.QUARANTINE if mode is DeletedFiles.QUARANTINE else ActionKind.DELETE
        stage = Stage.MAKE_WAY if make_way else Stage.REMOVE
        if destination.kind is Kind.DIRECTORY:
            self._deleted_folders += 1
        else:
            self._deleted_files += 1
        top = destination.path.split("/", 1)[0] if "/" in destination.path else ""
        self.deletions_by_folder[top] = self.deletions_by_folder.get(top, 0) + 1
        self._emit(
            kind,
            stage,
            Difference(destination.path, None, destination, (reason,)),
            size=destination.size_bytes or 0,
        )
        self._touch(destination.path)

    def _touch(self, path: str) -> None:
        parent = parent_path(path)
        for folder in reversed(self._stack):
            if folder.path == parent:
                folder.touched = True
                return

    def _leave(self, folder: _Folder) -> None:
        if folder.source is None:
            assert folder.destination is not None
            if folder.keeps:
                self._tally.keep(folder.destination)
                if self._stack:
                    self._stack[-1].keeps = True
            else:
                self._drop(folder.destination, folder.make_way)
            return
        if folder.created:
            self._touch(folder.path)
        reasons = folder.reasons
        if not reasons:
            if not (folder.created or (folder.touched and self._options.metadata.mtime)):
                return
            reasons = (Reason.CONTENTS,)
        finishing = Difference(folder.path, folder.source, folder.destination, reasons, folder.attributes)
        self._emit(ActionKind.SET_ATTRIBUTES, Stage.FINISH_FOLDERS, finishing, size=0)

    def _emit(self, kind: ActionKind, stage: Stage, difference: Difference, *, size: int) -> None:
        action = Action(
            0,
            kind,
            stage,
            difference.path,
            difference.source,
            difference.destination,
            difference.reasons,
            size,
            difference.attributes,
            difference.link_to,
        )
        self._writer.add(action)
        if action.is_housekeeping:
            self._restored += 1
            return
        self._counts[kind] += 1
        self._bytes[kind] += size
        if self._counts[kind] <= FIRST_PER_KIND:
            self._first[kind].append(action)
        if size and (len(self._largest) < LARGEST or size > self._largest[0][0]):
            # Ties keep the earlier path, so the choice does not depend on anything but the state.
            row = (size, path_bytes(action.path), action)
            if len(self._largest) < LARGEST:
                heapq.heappush(self._largest, row)
            else:
                heapq.heapreplace(self._largest, row)
