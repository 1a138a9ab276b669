"""One decided step of a plan, and what became of it."""

from __future__ import annotations

import enum

import msgspec

from runner.model.difference import Reason
from runner.model.entry import Entry, Problem


class ActionKind(enum.StrEnum):
    """What an action does at the destination."""

    CREATE_DIRECTORY = "create_directory"
    COPY = "copy"
    REPLACE = "replace"
    SET_ATTRIBUTES = "set_attributes"
    LINK = "link"
    DELETE = "delete"
    QUARANTINE = "quarantine"


SYMBOLS: dict[ActionKind, str] = {
    ActionKind.CREATE_DIRECTORY: "+",
    ActionKind.COPY: "+",
    ActionKind.REPLACE: "~",
    ActionKind.SET_ATTRIBUTES: "m",
    ActionKind.LINK: "+",
    ActionKind.DELETE: "-",
    ActionKind.QUARANTINE: "-",
}


class Stage(enum.IntEnum):
    """The order in which a plan is carried out: a stage starts when the one before has ended."""

    MAKE_WAY = 0
    WRITE = 1
    LINK = 2
    REMOVE = 3
    FINISH_FOLDERS = 4


class Action(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One step. `source` and `destination` are the states it expects; None = expected absent.

    `source` holds only the metadata that is to be set. For LINK, `link_to` is the destination path of the
    group's first entry, and `attributes` names what of its metadata is set later.
    SET_ATTRIBUTES on a folder restores it after its contents changed (reason contents).
    """

    id: int
    kind: ActionKind
    stage: Stage
    path: str
    source: Entry | None
    destination: Entry | None
    reasons: tuple[Reason, ...]
    size_bytes: int = 0
    attributes: tuple[str, ...] = ()
    link_to: str | None = None

    @property
    def is_directory(self) -> bool:
        return self.path.endswith("/") or self.path == ""

    @property
    def is_housekeeping(self) -> bool:
        """True for restoring a folder's times after changes inside it: not counted, not shown singly."""
        return self.reasons == (Reason.CONTENTS,)


class OutcomeStatus(enum.StrEnum):
    """What became of an action."""

    DONE = "done"
    SKIPPED = "skipped"
    STALE = "stale"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What an action did.

    `bytes` is the content that was read and written; `digest` (algorithm:hex) is of the content as read from
    the source; `started_at` is seconds since 1970 UTC. `housekeeping`: a folder's times were restored after changes
    inside it, which nobody asked for by name.
    """

    action_id: int
    kind: ActionKind
    path: str
    status: OutcomeStatus
    attempts: int = 1
    bytes: int = 0
    started_at: float = 0.0
    duration_seconds: float = 0.0
    digest: str | None = None
    problem: Problem | None = None
    agent: str | None = None
    note: str | None = None
    housekeeping: bool = False


class Verdict(enum.StrEnum):
    """What verification saw at one path; the seed's codes first."""

    OK = "ok"
    CHECKSUM_FAILURE = "checksum_failure"
    METADATA_FAILURE = "metadata_failure"
    FILE_ADDED = "file_added"
    FILE_REMOVED = "file_removed"
    UNREADABLE = "unreadable"
    LOCKED = "locked"
    CHANGED_DURING_TRANSFER = "changed_during_transfer"


class Finding(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What verification saw at one path. `expected` and `actual` are (field, value) pairs of what differs."""

    path: str
    verdict: Verdict
    expected: tuple[tuple[str, str], ...] = ()
    actual: tuple[tuple[str, str], ...] = ()
    checked_by: str = ""
    message: str = ""

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the fields that differ."""
        return tuple(name for name, _ in self.expected or self.actual)
