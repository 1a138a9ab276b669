"""One action, carried out at the destination exactly as planned, with retries by disposition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from runner.clock import Clock
from runner.diff.compare import differing_attributes
from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.observer import NOBODY, observed, spent
from runner.locations.pair import REMOTE_ATTEMPTS, REMOTE_PAUSE_SECONDS
from runner.locations.patience import LONGEST_PAUSE_SECONDS
from runner.locations.protocol import (
    CopiesFrom,
    CopiesMany,
    Copying,
    Linking,
    Location,
    Renames,
    SetsAttributes,
    Throttle,
    Written,
)
from runner.model.action import Action, ActionKind, Outcome, OutcomeStatus
from runner.model.activity import Activity
from runner.model.difference import Reason
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.transfer.deletion import Event, Stage, Step, decide
from runner.transfer.expect import is_already_done, is_as_expected
from runner.transfer.quarantine import quarantine_path
from runner.transfer.quickly import Quickly

RESTRICTED = Attributes(mode=0o700)
NOTHING_WRITTEN = Written()
AWAY = frozenset({EntryCode.UNAVAILABLE, EntryCode.TIMEOUT})
"""Errors of a storage that is away or busy: it gets more time and attempts than a file does."""
SILENT_ACTIONS = 2
"""So many actions in a row that ended in timeouts: then the storage is away, and nobody waits for it path by path."""


class PerformSettings(msgspec.Struct, frozen=True):
    """How actions are carried out. `refresh`: a source file that moved since the scan is taken as it is now
    (a run); otherwise it is stale (a reviewed plan). `sets_mtime`: whether modification times are carried;
    those closer than `mtime_tolerance_ns` count as equal."""

    execution_id: str
    attempts: int = 3
    retry_delay_seconds: float = 0.2
    refresh: bool = False
    sets_mtime: bool = True
    mtime_tolerance_ns: int = 0


class Performer:
    """Carries out actions between two open locations. One thread; between actions it remembers only how many in a row
    ended in timeouts."""

    def __init__(
        self,
        source: Location,
        destination: Location,
        settings: PerformSettings,
        throttle: Throttle,
        clock: Clock,
        mapped: Callable[[Entry], Entry] | None = None,
        agent: str | None = None,
    ) -> None:
        """`mapped` turns a fresh source entry into the one to be written (owner maps)."""
        self._source = source
        self._destination = destination
        self._settings = settings
        self._throttle = throttle
        self.clock = clock
        self._mapped = mapped
        self._agent = agent
        self._silent_actions = 0
        self.observer = NOBODY
        """Hears what takes time, and each time a storage was away, silent or overloaded."""
        # Wall time moves with the monotonic clock from here on: one look at the calendar is enough.
        self._wall_offset = clock.now().timestamp() - clock.monotonic()
        self._copies = (
            destination if isinstance(destination, CopiesFrom) and destination.copies_from(source) else None
        )
        self._quickly = Quickly(source, destination, throttle, clock, agent, sets_mtime=settings.sets_mtime)
        self._many = (
            destination
            if isinstance(destination, CopiesMany) and destination.copies_many_from(source)
            else None
        )
        # Asking what a location can do is slow: once is enough.
        self._sets_attributes = destination if isinstance(destination, SetsAttributes) else None
        self._linking = destination if isinstance(destination, Linking) else None
        self._renames = destination if isinstance(destination, Renames) else None
        self._handlers: dict[ActionKind, Callable[[Action], Written]] = {
            ActionKind.CREATE_DIRECTORY: self._create_directory,
            ActionKind.COPY: self._write,
            ActionKind.REPLACE: self._write,
            ActionKind.SET_ATTRIBUTES: self._set_attributes,
            ActionKind.LINK: self._link,
            ActionKind.DELETE: self._delete,
            ActionKind.QUARANTINE: self._quarantine,
        }

    def perform_quickly(self, actions: Sequence[Action], place: int) -> list[Outcome]:
        """Outcomes of first attempts the short way, of the actions from `place` on: as many as went well together.

        []: `perform` has to do the first of them, from its start.
        """
        outcomes = self._quickly.outcomes(actions, place)
        if outcomes:
            self._silent_actions = 0
        return outcomes

    @property
    def copies_many(self) -> bool:
        """Whether `perform_many` is the way for files."""
        return self._many is not None

    def perform_many(self, actions: Sequence[Action]) -> Iterator[Outcome]:
        """The outcomes of copies and replacements of files, in their order; what may be tried again is tried one by
        one."""
        return observed(self._performed_together(actions), self.observer, Activity.WRITING)

    def _performed_together(self, actions: Sequence[Action]) -> Iterator[Outcome]:
        assert self._many is not None
        began = self.clock.monotonic()
        copies = []
        for action in actions:
            assert action.source is not None
            copies.append(Copying(action.source, self._target(action.source), action.destination))
        try:
            results: list[Written | EntryError] = list(
                self._many.copy_many(self._source, copies, self._throttle)
            )
        except EntryError as error:
            results = [error] * len(actions)
        for action, result in zip(actions, results, strict=True):
            if isinstance(result, Written):
                yield self._outcome(action, began, 1, OutcomeStatus.DONE, written=result)
                continue
            self._tell(result)
            settled = self._after_error(action, result)
            if settled is None:
                yield self.perform(action)
                continue
            status, problem, note = settled
            yield self._outcome(action, began, 1, status, problem, note)

    def perform(self, action: Action) -> Outcome:
        """The outcome of one action; never raises for what one path can cause."""
        with spent(self.observer, Activity.WRITING):
            return self._performed(action)

    def _performed(self, action: Action) -> Outcome:
        began = self.clock.monotonic()
        attempt = 1
        current = action
        while True:
            try:
                written = self._handlers[action.kind](current)
            except EntryError as error:
                self._tell(error)
                settled = self._after_error(current, error)
                if settled is None and attempt < self._attempts(error):
                    with spent(self.observer, Activity.RETRIES):
                        self.clock.sleep(self._delay(error, attempt))
                    attempt += 1
                    current = self._refreshed(current, error)
                    continue
                status, problem, note = settled or (OutcomeStatus.FAILED, self._given_up(action, error), None)
                return self._outcome(action, began, attempt, status, problem, note)
            self._silent_actions = 0
            return self._outcome(action, began, attempt, OutcomeStatus.DONE, written=written)

    def _outcome(
        self,
        action: Action,
        began: float,
        attempts: int,
        status: OutcomeStatus,
        problem: Problem | None = None,
        note: str | None = None,
        written: Written = NOTHING_WRITTEN,
    ) -> Outcome:
        if written.refused:
            status = OutcomeStatus.FAILED
            message = "the destination refused " + ", ".join(written.refused)
            problem = Problem(
                action.path, Phase.TRANSFERRING, EntryCode.ATTRIBUTES_REFUSED, message, side="destination"
            )
        return Outcome(
            action.id,
            action.kind,
            action.path,
            status,
            attempts,
            written.bytes,
            self._wall_offset + began,
            self.clock.monotonic() - began,
            written.digest,
            problem,
            self._agent,
            note,
            action.is_housekeeping,
        )

    # -- errors --------------------------------------------------------------------------------------------

    def _tell(self, error: EntryError) -> None:
        if error.entry_code in AWAY:
            self.observer.away()

    def _after_error(
        self, action: Action, error: EntryError
    ) -> tuple[OutcomeStatus, Problem | None, str | None] | None:
        """What an error settles; None = it may be tried again."""
        code = error.entry_code
        if code is EntryCode.CANCELLED:
            return OutcomeStatus.CANCELLED, _problem(action, error), None
        if code is EntryCode.STALE:
            if self._is_done_already(action):
                return (
                    OutcomeStatus.DONE,
                    None,
                    "already gone" if action.source is None else "already as planned",
                )
            return OutcomeStatus.STALE, _problem(action, error), None
        if code is EntryCode.NOT_FOUND:
            if action.kind in (ActionKind.DELETE, ActionKind.QUARANTINE):
                return OutcomeStatus.DONE, None, "already gone"
            if not self._settings.refresh:
                return OutcomeStatus.STALE, _problem(action, error, EntryCode.STALE), None
            return OutcomeStatus.FAILED, _problem(action, error), None
        if code is EntryCode.CHANGED_DURING_TRANSFER and not self._settings.refresh:
            now = self._safe_stat(self._source, action.path)
            if action.source is not None and not is_as_expected(action.source, now):
                return OutcomeStatus.STALE, _problem(action, error, EntryCode.STALE), None
        if error.disposition is Disposition.RETRY:
            return None
        return OutcomeStatus.FAILED, _problem(action, error), None

    def _is_done_already(self, action: Action) -> bool:
        """True when the destination is as the action would make it: an earlier attempt got that far."""
        present = self._safe_stat(self._destination, action.path)
        wanted = action.source
        if wanted is None:
            return present is None
        if present is None or not is_as_expected(wanted, self._safe_stat(self._source, action.path)):
            return False
        if action.kind is ActionKind.LINK:
            assert action.link_to is not None
            leader = self._safe_stat(self._destination, action.link_to)
            shared = leader is not None and leader.link_group == present.link_group is not None
            return shared and self._may_share(action, leader)
        if action.kind is ActionKind.SET_ATTRIBUTES and differing_attributes(
            wanted.attributes, present.attributes
        ):
            return False
        return is_already_done(wanted, present, self._mtime_resolution_ns)

    @property
    def _mtime_resolution_ns(self) -> int:
        """Times closer than this are equal."""
        resolution = self._destination.capabilities.mtime_resolution_ns or 1
        return max(resolution, self._settings.mtime_tolerance_ns + 1)

    def _safe_stat(self, location: Location, path: str) -> Entry | None:
        try:
            return location.stat(path)
        except EntryError:
            return None

    def _given_up(self, action: Action, error: EntryError) -> Problem:
        """The problem of an action that was tried often enough."""
        if error.entry_code is not EntryCode.TIMEOUT:
            return _problem(action, error)
        self._silent_actions += 1
        return _problem(
            action, error, EntryCode.UNAVAILABLE if self._silent_actions >= SILENT_ACTIONS else None
        )

    def _attempts(self, error: EntryError) -> int:
        attempts = self._settings.attempts
        if self._silent_actions and error.entry_code is EntryCode.TIMEOUT:
            return 1  # the action before has waited long enough for both
        return max(attempts, REMOTE_ATTEMPTS) if attempts > 1 and error.entry_code in AWAY else attempts

    def _delay(self, error: EntryError, attempt: int) -> float:
        """Seconds to wait after that attempt: as the storage asks, else growing, with more for one that is away."""
        if error.retry_after_seconds is not None:
            return min(error.retry_after_seconds, LONGEST_PAUSE_SECONDS)
        first = self._settings.retry_delay_seconds
        if first and error.entry_code in AWAY:
            first = max(first, REMOTE_PAUSE_SECONDS)
        return min(first * 2.0 ** (attempt - 1), LONGEST_PAUSE_SECONDS)

    def _refreshed(self, action: Action, error: EntryError) -> Action:
        """For a run: the same action with the source file as it is now."""
        if error.entry_code is not EntryCode.CHANGED_DURING_TRANSFER or not self._settings.refresh:
            return action
        fresh = self._safe_stat(self._source, action.path)
        if fresh is None or action.source is None or fresh.kind is not action.source.kind:
            return action
        if self._mapped is not None:
            fresh = self._mapped(fresh)
        return msgspec.structs.replace(action, source=fresh)

    # -- the kinds of actions ------------------------------------------------------------------------------

    def _require_source(self, action: Action) -> Entry:
        """The planned source entry, provided the source is still in that state."""
        assert action.source is not None
        now = self._source.stat(action.path)
        if now is None:
            raise EntryError(EntryCode.NOT_FOUND, action.path, "the source entry is gone")
        if not is_as_expected(action.source, now):
            code = EntryCode.STALE
            if self._settings.refresh and now.kind is action.source.kind:
                code = EntryCode.CHANGED_DURING_TRANSFER
            raise EntryError(code, action.path, "the source entry is not as the plan saw it")
        return action.source

    def _create_directory(self, action: Action) -> Written:
        entry = self._require_source(action)
        present = self._destination.stat(action.path)
        if present is not None and present.kind is Kind.DIRECTORY:
            if self._destination.capabilities.contents_touch_folder:
                return Written()
            # Something in it came first: there it is a prefix, and nobody sets its metadata later.
            return self._destination.put(self._target(entry), None, present, self._throttle)
        if not self._destination.capabilities.contents_touch_folder:
            return self._destination.put(self._target(entry), None, action.destination, self._throttle)
        # Its own mode and times are set when the folder is finished; until then nobody else looks in.
        restricted = None if entry.attributes is None or entry.attributes.mode is None else RESTRICTED
        bare = msgspec.structs.replace(entry, attributes=restricted, mtime_ns=None)
        return self._destination.put(bare, None, action.destination, self._throttle)

    def _write(self, action: Action) -> Written:
        assert action.source is not None
        if action.source.kind is not Kind.FILE:
            entry = self._target(self._require_source(action))
            return self._destination.put(entry, None, action.destination, self._throttle)
        target = self._target(action.source)
        if self._copies is not None:
            return self._copies.copy(self._source, action.source, target, action.destination, self._throttle)
        return self._destination.put(
            target,
            observed(self._source.read(action.source), self.observer, Activity.READING),
            action.destination,
            self._throttle,
        )

    def _target(self, entry: Entry) -> Entry:
        """The entry with the metadata that is to be set."""
        return entry if self._settings.sets_mtime else msgspec.structs.replace(entry, mtime_ns=None)

    def _set_attributes(self, action: Action) -> Written:
        entry = self._target(self._require_source(action))
        if self._sets_attributes is None:
            return self._write(action)
        return self._sets_attributes.set_attributes(entry, action.destination)

    def _link(self, action: Action) -> Written:
        self._require_source(action)
        assert action.link_to is not None and self._linking is not None
        if not self._may_share(action, self._destination.stat(action.link_to)):
            message = "the file it has to share was not written as planned"
            raise EntryError(EntryCode.STALE, action.path, message)
        self._linking.link(action.path, action.link_to, action.destination)
        return Written()

    def _may_share(self, action: Action, leader: Entry | None) -> bool:
        """True when the file at the leader's path is the one that is to get another name."""
        wanted = action.source
        if leader is None or wanted is None:
            return False
        if "mtime" in action.attributes or not self._settings.sets_mtime:
            wanted = msgspec.structs.replace(wanted, mtime_ns=leader.mtime_ns)
        if action.attributes:
            wanted = msgspec.structs.replace(wanted, attributes=None)
        return is_already_done(wanted, leader, self._mtime_resolution_ns)

    def _delete(self, action: Action) -> Written:
        self._destination.remove(self._deletable(action))
        return Written()

    def _quarantine(self, action: Action) -> Written:
        entry = self._deletable(action)
        if self._renames is None:
            raise EntryError(
                EntryCode.KIND_NOT_SUPPORTED,
                action.path,
                "the destination cannot move entries into quarantine; "
                "set preserve_deleted_files to preserve or remove",
            )
        place = quarantine_path(self._settings.execution_id, entry.path)
        if entry.kind is Kind.DIRECTORY:
            self._destination.put(msgspec.structs.replace(entry, path=place), None, None, self._throttle)
            self._destination.remove(entry)
        else:
            self._renames.rename(entry, place)
        return Written()

    def _deletable(self, action: Action) -> Entry:
        """The planned extra, provided the source still has nothing at its path."""
        assert action.destination is not None
        is_back = Reason.EXTRA in action.reasons and self._source.stat(action.path) is not None
        step = decide(Stage.STANDING, Event.RETURNED if is_back else Event.EXTRA)
        if step is not Step.MOVE_ASIDE:
            raise EntryError(
                EntryCode.STALE, action.path, "the source has an entry at this path now; it is not deleted"
            )
        return action.destination


def _problem(action: Action, error: EntryError, code: EntryCode | None = None) -> Problem:
    return Problem(
        action.path,
        Phase.TRANSFERRING,
        code or error.entry_code,
        error.message,
        error.disposition is Disposition.RETRY,
    )
