"""Giving a draft its name, and taking away what stands at one: only what was expected there.

A new name is taken in one step that cannot replace anything. Where something is replaced, it is held open against
writers while it is looked at; it is let go and replaced in one message to the server. Between those two steps of the
server's another client could still open it: SMB has no rename that checks.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from runner.model.entry import Entry, Kind

from . import faults, messages
from .draft import Draft
from .facts import difference, is_plain
from .faults import ConnectionFault, StatusError, stale
from .folders import Folders
from .messages import Facts, Opened, Request
from .names import TemporaryNames

if TYPE_CHECKING:
    from .wire import Wire

_HOLD_ACCESS = messages.READ_ATTRIBUTES | messages.DELETE
_HOLD_SHARE = messages.SHARE_READ | messages.SHARE_DELETE  # nobody may write while it is held


class Touch:
    """What to set on a draft before and after it takes its name; afterwards, whether the server refused some.

    `stays_open`: the draft is closed only when it has its name, for its list may keep us from opening it again.
    """

    __slots__ = ("after", "before", "stays_open", "was_refused")

    def __init__(self, before: Sequence[Request], after: Sequence[Request], *, stays_open: bool) -> None:
        self.before = before
        self.after = after
        self.stays_open = stays_open
        self.was_refused = False


class Publisher:
    """Publishes drafts and removes entries of one location."""

    def __init__(self, folders: Folders, names: TemporaryNames) -> None:
        self._folders = folders
        self.names = names

    def hold(self, wire: Wire, path: str, expected: Entry, *, more_access: int = 0) -> Opened:
        """Open what stands at `path`, kept from writers until it is closed. Raises STALE when it is not as
        `expected` says, or spelled in other case; StatusError, also when nothing is there."""
        name = self._folders.name(path)
        # In a folder others may be at work; only its being one counts.
        share = messages.SHARE_ALL if expected.is_directory else _HOLD_SHARE
        opening = wire.begin(
            [
                messages.create(
                    name, _HOLD_ACCESS | more_access, share, messages.OPEN, messages.OPEN_REPARSE_POINT
                )
            ]
        )
        listed = self._folders.finish_look_up(wire, path, self._folders.begin_look_up(wire, path))
        answer = wire.finish(opening)[0]
        if listed is None and answer.ok:
            wire.abandon(wire.begin([messages.close(messages.opened(answer.message, name).file)]))
            raise StatusError(faults.NAME_NOT_FOUND)
        opened = messages.opened(answer.require(), name)
        reason = None if listed is None else difference(expected, listed)
        if reason is None:
            reason = difference(expected, opened.facts)
        if reason is None and listed is not None and not is_plain(listed):
            reason = "it is a link now"
        if reason is not None:
            wire.abandon(wire.begin([messages.close(opened.file)]))
            raise stale(path, reason)
        return opened

    def publish(self, draft: Draft, path: str, replaces: Entry | None, touch: Touch) -> Facts | None:
        """Give the draft its name, its times and attributes, and close it; its facts then. Raises STALE when what
        stands there is not `replaces`."""
        wire = draft.wire
        name = self._folders.name(path)
        if replaces is None:
            draft.keep()
            return self._renamed(draft, name, path, touch, replace=False)
        try:
            held = self.hold(wire, path, replaces)
        except StatusError as error:
            if error.status in faults.GONE:
                raise stale(path, "it is no longer there") from error
            raise
        if held.facts.is_directory or draft.facts.is_directory:
            return self._swapped(draft, held, name, path, touch)
        if held.facts.attributes & messages.READ_ONLY:
            return self._over_read_only(draft, held, name, path, touch)
        try:
            draft.keep()
        except BaseException:
            self._let_go(wire, held)
            raise
        return self._renamed(draft, name, path, touch, replace=True, held=held)

    def _renamed(
        self,
        draft: Draft,
        name: str,
        path: str,
        touch: Touch,
        *,
        replace: bool,
        held: Opened | None = None,
    ) -> Facts | None:
        """All of it in one message. What fails beside the renaming does not make the content wrong."""
        wire = draft.wire
        requests = [] if held is None else [messages.close(held.file)]
        requests += [*touch.before, messages.rename(name, draft.file, replace=replace)]
        ending = [*touch.after, messages.close(draft.file, facts=True)]
        if not touch.stays_open:
            requests += ending
        answers = wire.finish(wire.begin(requests, related=False))
        draft.is_closed = not touch.stays_open
        renaming = answers[(held is not None) + len(touch.before)]
        if renaming.status == faults.NAME_COLLISION:
            raise stale(path, "something stands there now, maybe spelled in other case; nothing was expected")
        renaming.require()
        draft.is_published = True
        if touch.stays_open:
            answers += wire.finish(wire.begin(ending, related=False))
        touch.was_refused = any(not answer.ok for answer in answers[held is not None :])
        return messages.closed(answers[-1].require(), draft.facts)

    def _over_read_only(self, draft: Draft, held: Opened, name: str, path: str, touch: Touch) -> Facts | None:
        """A read-only file is not replaced by a server: its attribute goes first, and comes back on failure."""
        wire = draft.wire
        self._let_go(wire, held)
        draft.keep()
        set_attributes(wire, held.facts.name, held.facts.attributes & ~messages.READ_ONLY)
        try:
            return self._renamed(draft, name, path, touch, replace=True)
        except BaseException:
            with contextlib.suppress(ConnectionFault, StatusError):
                if wire.is_open and not draft.is_published:
                    set_attributes(wire, held.facts.name, held.facts.attributes)
            raise

    def _swapped(self, draft: Draft, held: Opened, name: str, path: str, touch: Touch) -> Facts | None:
        """Replace a folder by a file or the other way, which no rename does: the old one steps aside, the new one
        takes its name, the old one is removed; a folder that is not empty comes back. For an instant nothing
        stands at the name."""
        wire = draft.wire
        aside = self._folders.name_below(path, self.names.next())
        try:
            draft.keep()
            wire.ask(messages.rename(aside, held.file, replace=False))[0].require()
        except BaseException:
            self._let_go(wire, held)
            raise
        try:
            answer = wire.ask(messages.rename(name, draft.file, replace=False))[0]
            if answer.status == faults.NAME_COLLISION:
                raise stale(path, "something else took its place just now")
            answer.require()
            draft.is_published = True
            if held.facts.attributes & messages.READ_ONLY:
                attributes = held.facts.attributes & ~messages.READ_ONLY | messages.NORMAL
                set_attributes(wire, aside, attributes & ~messages.DIRECTORY)
            answer = wire.ask(messages.mark_for_deletion(held.file))[0]
            if answer.status == faults.DIRECTORY_NOT_EMPTY:
                raise stale(path, "the folder that would be replaced is not empty")
            answer.require()
        except BaseException:
            with contextlib.suppress(ConnectionFault):
                if wire.is_open:
                    self._swap_back(draft, held, name)
            raise
        self._let_go(wire, held)
        self._folders.forget(path.removesuffix("/") + "/")
        return _touched(draft, touch)

    def _swap_back(self, draft: Draft, held: Opened, name: str) -> None:
        wire = draft.wire
        if draft.is_published:
            wire.ask(messages.rename(draft.name, draft.file, replace=False))
            draft.is_published = False
        wire.finish(
            wire.begin(
                [messages.rename(name, held.file, replace=False), messages.close(held.file)], related=False
            )
        )

    def remove(self, wire: Wire, entry: Entry) -> None:
        """Remove exactly this entry. Raises STALE, StatusError (also when nothing is there)."""
        held = self.hold(wire, entry.path, entry)
        is_read_only = bool(held.facts.attributes & messages.READ_ONLY)
        if is_read_only:
            try:
                set_attributes(wire, held.facts.name, held.facts.attributes & ~messages.READ_ONLY)
            except BaseException:
                self._let_go(wire, held)
                raise
        marking, _ = wire.finish(
            wire.begin([messages.mark_for_deletion(held.file), messages.close(held.file)], related=False)
        )
        if not marking.ok and is_read_only:
            with contextlib.suppress(StatusError):
                set_attributes(wire, held.facts.name, held.facts.attributes)
        marking.require()
        if entry.kind is Kind.DIRECTORY:
            self._folders.forget(entry.path.removesuffix("/") + "/")

    def move(self, wire: Wire, entry: Entry, path: str) -> None:
        """Rename exactly this entry to `path`, where nothing may stand. Raises as `remove`."""
        held = self.hold(wire, entry.path, entry, more_access=messages.WRITE_ATTRIBUTES)
        renaming, *_ = wire.finish(
            wire.begin(
                [
                    messages.rename(self._folders.name(path), held.file, replace=False),
                    # Samba sets Archive on what is renamed.
                    messages.set_basic(held.file, attributes=held.facts.attributes),
                    messages.close(held.file),
                ],
                related=False,
            )
        )
        if renaming.status == faults.NAME_COLLISION:
            raise stale(entry.path, f"something stands at {path!r} already")
        renaming.require()
        if entry.kind is Kind.DIRECTORY:
            self._folders.forget(entry.path.removesuffix("/") + "/")

    @staticmethod
    def _let_go(wire: Wire, held: Opened) -> None:
        if wire.is_open:
            wire.abandon(wire.begin([messages.close(held.file)]))


def _touched(draft: Draft, touch: Touch) -> Facts | None:
    """Set times and attributes of a published draft and close it; its facts then."""
    requests = [*touch.before, *touch.after, messages.close(draft.file, facts=True)]
    *answers, closing = draft.wire.finish(draft.wire.begin(requests, related=False))
    touch.was_refused = any(not answer.ok for answer in answers)
    return messages.closed(closing.require(), draft.facts)


def set_attributes(wire: Wire, name: str, attributes: int) -> None:
    """Set the DOS attributes of what stands at a name on the share. Raises StatusError."""
    settable = attributes & ~(messages.DIRECTORY | messages.REPARSE_POINT) or messages.NORMAL
    answers = wire.ask(
        messages.create(
            name,
            messages.READ_ATTRIBUTES | messages.WRITE_ATTRIBUTES,
            messages.SHARE_ALL,
            messages.OPEN,
            messages.OPEN_REPARSE_POINT,
            file_id=False,
        ),
        messages.set_basic(attributes=settable),
        messages.close(),
    )
    for answer in answers:
        answer.require()
