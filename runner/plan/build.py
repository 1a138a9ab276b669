"""What to do about each difference: the policy of a task, as pure decisions.

The planner walks the differences once, with a stack of the folders it is in. A folder is finished when the walk
leaves it: then its own metadata is set (for the work inside changed its times), or, when it is an extra, it is
removed after everything in it. Deletions are withheld altogether when anything could not be listed.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from runner.diff.merge import MISSING, NotPlainError
from runner.diff.tally import Tally
from runner.errors import EntryCode
from runner.locations.names import NameRules
from runner.locations.protocol import Capabilities
from runner.model.action import Action, ActionKind, Stage
from runner.model.difference import Difference, Reason
from runner.model.entry import Entry, Kind, Phase, Problem, parent_path, path_before
from runner.model.task import DeletedFiles, OverwriteMode, TaskOptions
from runner.plan.file import PlanWriter
from runner.plan.sums import REMOVALS, PlanSums

# Needed for every file: a member costs five times as much to look up through its class.
_FILE = Kind.FILE
_WRITE = Stage.WRITE


class _Folder:
    """A folder the walk is in."""

    __slots__ = (
        "attributes",
        "created",
        "destination",
        "in_way_of",
        "keeps",
        "make_way",
        "path",
        "reasons",
        "source",
        "touched",
        "waits",
    )

    def __init__(self, path: str, source: Entry | None, destination: Entry | None) -> None:
        self.path = path
        self.source = source
        self.destination = destination
        self.created = False
        self.touched = False
        self.waits = False
        self.keeps = False
        self.make_way = False
        self.in_way_of: Difference | None = None
        self.reasons: tuple[Reason, ...] = ()
        self.attributes: tuple[str, ...] = ()


class Planner:
    """Feed it every difference, then `finish()`. What it decides goes to `writer`; counts to `tally` and `sums`."""

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
        self._held_up_to = capabilities.names.held_up_to
        self._holds_files = Kind.FILE in capabilities.kinds
        self._refusal = capabilities.names.refusal if capabilities.names != NameRules() else None
        self._writer = writer
        self._tally = tally
        self._may_delete = may_delete
        self._is_included = is_included
        self._stack: list[_Folder] = []
        self._blocked: str | None = None
        self._in_way: Difference | None = None
        self._vacated: list[Difference] = []
        self._undecided: set[str] = set()
        self._postponed: list[tuple[Difference, _Folder]] = []
        self._stand_ins: dict[str, str | None] = {}
        self._awaited: dict[str, tuple[str, ...]] = {}
        self.sums = PlanSums(tally)

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
            self._unwritten(source)
        elif source.kind is Kind.DIRECTORY:
            self._folder(difference, source)
        elif self._acceptable(source):
            self._file_in_turn(difference, source)
        else:
            self._unwritten(source)

    def feed_new(self, source: Entry) -> None:
        """`feed` of an entry with one name that is missing at the destination. Ordinary files, nearly all there is of a
        first copy, take a short way to the same action."""
        path = source.path
        folder = self._stack[-1] if self._stack else None
        if (
            source.kind is not _FILE
            or folder is None
            or self._blocked is not None
            or not self._holds_files
            or not path.startswith(folder.path)
            or (
                len(path) > self._held_up_to and self._refusal is not None and self._refusal(path) is not None
            )
        ):
            self.feed(Difference(path, source, None, MISSING))
            return
        size = source.size_bytes or 0
        sums = self.sums
        sums.prepared_files += 1
        sums.entries_needed += 1
        sums.bytes_taken += size if source.allocated_bytes is None else source.allocated_bytes
        action = Action(0, ActionKind.COPY, _WRITE, path, source, None, MISSING, size)
        self._writer.add(action)
        sums.add_copy(action)
        folder.touched = True

    def finish(self) -> None:
        """Leave every folder; withhold deletions when the listing was incomplete."""
        while self._stack:
            self._leave(self._stack.pop())
        for difference in self._vacated:
            self._into_vacated_place(difference)
        self._decide_postponed()
        if self._tally.incomplete:
            self._writer.withhold(Stage.REMOVE, REMOVALS)
            self._writer.withhold(Stage.MAKE_WAY, REMOVALS)

    # -- parts of the tree that others plan ----------------------------------------------------------------

    def pass_by(self, difference: Difference) -> None:
        """Walk on to a folder that another planner decides about, itself included. Raises NotPlainError below a folder that
        cannot be made."""
        path = difference.path
        while self._stack and not path.startswith(self._stack[-1].path):
            self._leave(self._stack.pop())
        if self._blocked is not None and path.startswith(self._blocked):
            raise NotPlainError
        if difference.source is None:
            assert difference.destination is not None
            changes = self._options.preserve_deleted_files is not DeletedFiles.PRESERVE and not (
                self._goes_with_content(difference.destination)
            )
        else:
            changes = difference.destination is None
        if changes:
            self._touch(path)

    @property
    def removes_around(self) -> bool:
        """Whether the folder that the walk is in is to be removed."""
        removes = self._options.preserve_deleted_files is not DeletedFiles.PRESERVE
        return removes and bool(self._stack) and self._stack[-1].source is None

    # -- decisions -----------------------------------------------------------------------------------------

    def _acceptable(self, source: Entry) -> bool:
        """False, with a problem, when the destination cannot hold this entry."""
        capabilities = self._capabilities
        if source.kind not in capabilities.kinds:
            message = f"the destination cannot hold a {source.kind.value.replace('_', ' ')}"
            self._fail(source, EntryCode.KIND_NOT_SUPPORTED, message)
            return False
        refusal = self._refusal(source.path) if self._refusal is not None else None
        if refusal is not None:
            self._fail(source, EntryCode.NAME_NOT_ALLOWED, refusal)
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
            source.mtime_ns is None or destination.mtime_ns is None or destination.mtime_ns <= source.mtime_ns
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
                message = (
                    f"a {destination.kind.value} stands where the folder has to go; overwrite_mode keeps it"
                )
                self._fail(source, EntryCode.KIND_CONFLICT, message)
                return
            self._create(difference, source)
            folder.created = True
        elif difference.reasons and self._may_overwrite(source, destination):
            folder.reasons, folder.attributes = difference.reasons, difference.attributes
            self.sums.prepared_folders += 1
        else:
            self._tally.skip(source)
            if difference.reasons:
                # overwrite_mode keeps its metadata: work inside must not move even its time.
                folder.source = Entry(difference.path, Kind.DIRECTORY, mtime_ns=destination.mtime_ns)
        self._stack.append(folder)

    def _create(self, difference: Difference, source: Entry) -> None:
        if not self._capabilities.empty_directories:
            # There a folder is what its content's names say; only what has its name may be in the way.
            self._tally.skip(source)
            if difference.destination is not None:
                self._remove(ActionKind.DELETE, Stage.MAKE_WAY, difference.destination, difference.reasons)
            return
        if self._capabilities.implicit_directories and _is_bare(source) and difference.destination is None:
            # A prefix of an object store, to an object store: it is there as soon as something is in it.
            self._tally.skip(source)
            return
        self.sums.prepared_folders += 1
        self.sums.entries_needed += 1
        # What goes into a folder may be written by another worker before the folder is made; it would meet the
        # file that stands there now.
        stage = Stage.WRITE if difference.destination is None else Stage.MAKE_WAY
        self._emit(ActionKind.CREATE_DIRECTORY, stage, difference, size=0)

    def _file_in_turn(self, difference: Difference, source: Entry) -> None:
        """A further name of a file whose first name is not decided yet comes at the end."""
        leader, destination = difference.link_to, difference.destination
        if (
            leader is not None
            and (destination is None or destination.kind is not Kind.DIRECTORY)
            and (leader in self._undecided or _between_twins(difference.path, leader))
        ):
            folder = self._stack[-1]
            folder.waits = True
            self._postponed.append((difference, folder))
        else:
            self._file(self._led(difference), source)

    def _decide_postponed(self) -> None:
        """Also about the folders they are in: whether something is written there was not known when the walk left."""
        for difference, folder in self._postponed:
            assert difference.source is not None
            self._stack = [folder]
            self._file(self._led(difference), difference.source)
        self._stack = []
        for folder in reversed(dict.fromkeys(folder for _, folder in self._postponed)):
            folder.waits = False
            self._leave(folder)

    def _file(self, difference: Difference, source: Entry) -> None:
        destination = difference.destination
        if destination is not None and destination.kind is Kind.DIRECTORY:
            self._file_over_folder(difference, source)
            return
        if destination is not None and not (difference.reasons and self._may_overwrite(source, destination)):
            self._tally.skip(source)
            self._unwritten(source)
            return
        self.sums.prepared_files += 1
        if destination is not None and difference.reasons == (Reason.ATTRIBUTES,):
            # Another name of the same file may have to become a file of its own, or to go, and expects the file
            # as it is: then metadata has to wait.
            stage = Stage.WRITE
            if destination.link_group is not None:
                stage = Stage.FINISH_FOLDERS
                self._awaited[difference.path] = difference.attributes
            self._emit(ActionKind.SET_ATTRIBUTES, stage, difference, size=0)
            return
        self._write(difference, source)
        self._touch(difference.path)

    def _write(self, difference: Difference, source: Entry) -> None:
        destination = difference.destination
        size = source.size_bytes or 0
        if difference.link_to is not None:
            later = self._awaited.get(difference.link_to, ())
            linking = msgspec.structs.replace(difference, attributes=later)
            self._emit(ActionKind.LINK, Stage.LINK, linking, size=0)
            return
        self._need_space(source)
        if destination is None:
            self._emit(ActionKind.COPY, Stage.WRITE, difference, size=size)
            return
        self.sums.bytes_replaced += destination.size_bytes or 0
        self.sums.bytes_freed += destination.allocated_bytes or destination.size_bytes or 0
        self._emit(ActionKind.REPLACE, Stage.WRITE, difference, size=size)

    def _unwritten(self, source: Entry) -> None:
        """Remember that this name stays as it is: no other name of its hard-link group may be made from it."""
        if source.link_group is not None:
            self._stand_ins.setdefault(source.path, None)

    def _led(self, difference: Difference) -> Difference:
        """The difference as it is when its hard-link group's leader stays as it is: it needs content of its own,
        or becomes a name of the first one that got that."""
        leader = difference.link_to
        if leader is None or leader not in self._stand_ins:
            return difference
        reasons = tuple(reason for reason in difference.reasons if reason is not Reason.LINK_GROUP)
        stand_in = None
        if difference.destination is None:
            stand_in = self._stand_ins[leader]
            self._stand_ins[leader] = stand_in or difference.path
        return msgspec.structs.replace(difference, reasons=reasons, link_to=stand_in)

    def _file_over_folder(self, difference: Difference, source: Entry) -> None:
        """What is in the folder follows as extras marked make_way; the file is decided when they all are."""
        removes = self._options.preserve_deleted_files is not DeletedFiles.PRESERVE
        if not removes or self._options.overwrite_mode is OverwriteMode.NEVER:
            self._in_the_way(
                source,
                f"preserve_deleted_files: {self._options.preserve_deleted_files.value} with overwrite_mode: "
                f"{self._options.overwrite_mode.value} keeps it",
            )
            return
        self._undecided.add(difference.path)
        self._in_way = Difference(difference.path, source, None, (Reason.KIND,), link_to=difference.link_to)

    def _in_the_way(self, source: Entry, why: str) -> None:
        message = f"a folder stands where the file has to go, and {why}"
        self._fail(source, EntryCode.KIND_CONFLICT, message)
        self._unwritten(source)

    def _into_vacated_place(self, difference: Difference) -> None:
        source = difference.source
        assert source is not None
        if self._tally.incomplete:
            self._in_the_way(source, "nothing is deleted in this run: something could not be listed")
            return
        self.sums.prepared_files += 1
        self._write(self._led(difference), source)

    def _need_space(self, source: Entry) -> None:
        self.sums.entries_needed += 1
        if source.allocated_bytes is not None:
            self.sums.bytes_taken += source.allocated_bytes
        else:
            self.sums.bytes_taken += source.size_bytes or 0

    def _extra(self, difference: Difference) -> None:
        destination = difference.destination
        assert destination is not None
        if destination.kind is Kind.DIRECTORY:
            folder = _Folder(difference.path, None, destination)
            folder.make_way = difference.make_way
            folder.reasons = difference.reasons
            if self._in_way is not None and difference.path == self._in_way.path + "/":
                folder.in_way_of, self._in_way = self._in_way, None
            self._stack.append(folder)
        else:
            self._drop(destination, difference.make_way, difference.reasons)

    def _drop(self, destination: Entry, make_way: bool, reasons: tuple[Reason, ...]) -> bool:
        """Delete or quarantine one extra, or keep it (False); a kept one keeps the folders around it."""
        mode = self._options.preserve_deleted_files
        allowed = self._may_delete is None or self._may_delete(destination)
        blocked = make_way and self._options.overwrite_mode is OverwriteMode.NEVER
        if mode is DeletedFiles.PRESERVE or not allowed or blocked:
            self._tally.keep(destination)
            if self._stack:
                self._stack[-1].keeps = True
            return False
        if self._is_included is not None and not self._is_included(destination):
            reasons = (Reason.EXCLUDED,)
        if destination.kind is Kind.DIRECTORY and self._goes_with_content(destination):
            return True
        kind = ActionKind.QUARANTINE if mode is DeletedFiles.QUARANTINE else ActionKind.DELETE
        self._remove(kind, Stage.MAKE_WAY if make_way else Stage.REMOVE, destination, reasons)
        if kind is ActionKind.QUARANTINE and self._stack:
            # The quarantine is a folder in the root: making it moves the root's time.
            self._stack[0].touched = True
        return True

    def _goes_with_content(self, folder: Entry) -> bool:
        """True where a folder need not be removed when nothing is in it any more."""
        capabilities = self._capabilities
        return not capabilities.empty_directories or (capabilities.implicit_directories and _is_bare(folder))

    def _remove(
        self, kind: ActionKind, stage: Stage, destination: Entry, reasons: tuple[Reason, ...]
    ) -> None:
        if destination.kind is Kind.DIRECTORY:
            self.sums.deleted_folders += 1
        else:
            self.sums.deleted_files += 1
        top = destination.path.split("/", 1)[0] if "/" in destination.path else ""
        self.sums.deletions_by_folder[top] = self.sums.deletions_by_folder.get(top, 0) + 1
        self._emit(
            kind,
            stage,
            Difference(destination.path, None, destination, reasons),
            size=destination.size_bytes or 0,
        )
        self._touch(destination.path)

    def _touch(self, path: str) -> None:
        stack = self._stack
        if stack and stack[-1].touched and path.find("/", len(stack[-1].path)) in (-1, len(path) - 1):
            return  # nearly always: one more entry of the folder the walk is in
        parent = parent_path(path)
        for folder in reversed(stack):
            if folder.path == parent:
                folder.touched = True
                return

    def _leave(self, folder: _Folder) -> None:
        if folder.source is None:
            self._leave_extra(folder)
            return
        if not self._capabilities.empty_directories:
            return
        if folder.created:
            self._touch(folder.path)
            if not self._capabilities.contents_touch_folder:
                return  # it was made complete
        if folder.waits:
            return
        reasons = folder.reasons
        if not reasons:
            if not self._capabilities.contents_touch_folder:
                return
            if not (folder.created or (folder.touched and self._options.metadata.mtime)):
                return
            reasons = (Reason.CONTENTS,)
        standing = None if folder.created else folder.destination
        finishing = Difference(folder.path, folder.source, standing, reasons, folder.attributes)
        self._emit(ActionKind.SET_ATTRIBUTES, Stage.FINISH_FOLDERS, finishing, size=0)

    def _leave_extra(self, folder: _Folder) -> None:
        assert folder.destination is not None
        gone = False
        if folder.keeps:
            self._tally.keep(folder.destination)
            if self._stack:
                self._stack[-1].keeps = True
        else:
            gone = self._drop(folder.destination, folder.make_way, folder.reasons)
        waiting = folder.in_way_of
        if waiting is None:
            return
        assert waiting.source is not None
        if gone:
            self._vacated.append(waiting)
            self._touch(waiting.path)
        else:
            self._in_the_way(waiting.source, "something in it is not the task's to delete")

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
        self.sums.add(action)


def _is_bare(folder: Entry) -> bool:
    """True for a folder that is only what its content's names say: it has no facts of its own."""
    return folder.mtime_ns is None and folder.attributes is None and folder.version is None


def _between_twins(path: str, leader: str) -> bool:
    """Whether `path` stands between the file `leader` and a folder of that name: the file is decided at the folder."""
    return path.startswith(leader) and path_before(path, leader + "/")
