"""A new file under a temporary name: filled, checked, given its metadata, and then its name, or removed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from runner.errors import EntryCode, EntryError
from runner.locations.observer import spent
from runner.locations.protocol import Buffer, OpenSettings, Throttle
from runner.model.activity import Activity
from runner.model.entry import Entry
from runner.model.task import Durability, Integrity

from . import faults, messages
from .attributes import Wanted
from .content import Sender, new_hasher, pieces, received, require_written
from .faults import ConnectionFault, changed
from .messages import Facts, Request

if TYPE_CHECKING:
    from .wire import Answer, Wire

_FILE_ACCESS = messages.READ_DATA | messages.WRITE_DATA | messages.APPEND_DATA | messages.DELETE
_FILE_OPTIONS = messages.NON_DIRECTORY_FILE | messages.OPEN_REPARSE_POINT
_FOLDER_OPTIONS = messages.DIRECTORY_FILE | messages.OPEN_REPARSE_POINT
_FOLDER_ACCESS = messages.READ_ATTRIBUTES | messages.DELETE


class Draft:
    """An open file or folder under a temporary name. A context manager: what was not published is removed."""

    def __init__(self, wire: Wire, file: bytes, name: str, facts: Facts, *, marked: bool = False) -> None:
        """`name`: on the share. `marked`: the server removes it by itself when the connection breaks."""
        self.wire = wire
        self.file = file
        self.name = name
        self.facts = facts
        self._marked = marked
        self.is_published = False
        self.is_closed = False
        self.size_bytes = 0

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.is_published and self.wire.is_open:
            with contextlib.suppress(ConnectionFault):
                if self.is_closed:
                    discard_closed(self.wire, self.name)
                else:
                    discard(self.wire, self.file)

    def keep(self) -> None:
        """The server shall not remove it when it is closed."""
        if self._marked:
            answer = self.wire.ask(messages.mark_for_deletion(self.file, delete=False))[0]
            answer.require()
            self._marked = False


def discard(wire: Wire, file: bytes) -> None:
    """Remove an open file or folder, whatever its attributes. Raises ConnectionFault only."""
    requests = [
        messages.set_basic(file, attributes=messages.NORMAL),
        messages.mark_for_deletion(file),
        messages.close(file),
    ]
    wire.finish(wire.begin(requests, related=False))


def discard_closed(wire: Wire, name: str) -> None:
    """The same for what is closed already. Raises ConnectionFault only."""
    requests = [
        messages.create(
            name,
            messages.DELETE | messages.WRITE_ATTRIBUTES,
            messages.SHARE_ALL,
            messages.OPEN,
            messages.OPEN_REPARSE_POINT,
            file_id=False,
        ),
        messages.set_basic(attributes=messages.NORMAL),
        messages.mark_for_deletion(),
        messages.close(),
    ]
    first, *_, last = wire.ask(*requests)
    if first.ok and not last.ok:
        discard(wire, messages.opened(first.message, name).file)


class Drafter:
    """Makes drafts as one task's settings ask."""

    def __init__(self, settings: OpenSettings) -> None:
        self._algorithm = settings.digest
        self._reads_back = settings.integrity is Integrity.READ_BACK
        self._flushes = settings.durability is not Durability.NONE
        self._observer = settings.observer

    def file(
        self,
        wire: Wire,
        name: str,
        entry: Entry,
        content: Iterable[Buffer],
        throttle: Throttle,
        wanted: Wanted,
    ) -> tuple[Draft, str]:
        """A draft that holds the content, and algorithm:hex of what was sent. Raises whatever `content` raises,
        StatusError, ConnectionFault, CHANGED_DURING_TRANSFER when the length is another than the entry says,
        CHECKSUM_FAILURE when something else came back."""
        hasher = self._observer.hashing(new_hasher(self._algorithm))
        stream = iter(pieces(content, throttle, hasher, wire.chunk_bytes))
        first = bytes(next(stream, b""))
        second = next(stream, None)
        if second is None:
            _check_length(entry, len(first))
            digest = f"{self._algorithm.value}:{hasher.hexdigest()}"
            return self._small(wire, name, entry.path, first, digest, wanted), digest
        opened = _made(wire, name, wanted, [messages.mark_for_deletion(), messages.write(first, 0)])
        draft = Draft(wire, opened[0], name, opened[1], marked=True)
        with _removed_unless_done(draft):
            _, marking, writing = opened[2]
            marking.require()
            require_written(writing.require(), len(first))
            sender = Sender(wire, draft.file, len(first))
            try:
                sender.send(second)
                for piece in stream:
                    sender.send(piece)
                sender.finish()
            finally:
                sender.abandon()
            draft.size_bytes = sender.position
            _check_length(entry, sender.position)
            digest = f"{self._algorithm.value}:{hasher.hexdigest()}"
            self._check(draft, entry.path, sender.position, digest)
        return draft, digest

    def _small(self, wire: Wire, name: str, path: str, content: bytes, digest: str, wanted: Wanted) -> Draft:
        """Made, written and read back in one message."""
        requests: list[Request] = []
        if content:
            requests.append(messages.write(content, 0))
        if self._flushes:
            requests.append(messages.flush())
        if content and self._reads_back:
            requests.append(messages.read(0, len(content)))
        file, facts, answers = _made(wire, name, wanted, requests)
        draft = Draft(wire, file, name, facts)
        draft.size_bytes = len(content)
        with _removed_unless_done(draft):
            rest = [answer.require() for answer in answers[1:]]
            if content:
                require_written(rest[0], len(content))
            if content and self._reads_back:
                self._compare(path, digest, [messages.content_read(rest[-1])], len(content))
        return draft

    def _check(self, draft: Draft, path: str, size_bytes: int, digest: str) -> None:
        """Make the content durable if asked, and hold what was written against what was sent."""
        if self._flushes:
            draft.wire.ask(messages.flush(draft.file))[0].require()
        if self._reads_back:
            with spent(self._observer, Activity.VERIFYING):
                self._compare(path, digest, received(draft.wire, draft.file, 0, size_bytes + 1), size_bytes)

    def _compare(self, path: str, digest: str, content: Iterable[Buffer], size_bytes: int) -> None:
        hasher = new_hasher(self._algorithm)
        got = 0
        for chunk in content:
            hasher.update(chunk)
            got += len(chunk)
        actual = f"{self._algorithm.value}:{hasher.hexdigest()}"
        if got != size_bytes or actual != digest:
            raise EntryError(
                EntryCode.CHECKSUM_FAILURE,
                path,
                f"{path!r}: what the server holds is not what was sent ({digest}, {size_bytes} bytes; "
                f"read back {actual}, {got} bytes); nothing was published",
            )

    def folder(self, wire: Wire, name: str, wanted: Wanted) -> Draft:
        """An empty folder under a temporary name."""
        file, facts, _ = _made(wire, name, wanted, [], is_folder=True)
        return Draft(wire, file, name, facts)


def _made(
    wire: Wire, name: str, wanted: Wanted, requests: list[Request], *, is_folder: bool = False
) -> tuple[bytes, Facts, list[Answer]]:
    """(handle, facts, answers) of a new file and what else was asked for in the same message."""
    access = (_FOLDER_ACCESS if is_folder else _FILE_ACCESS) | wanted.access()
    options = _FOLDER_OPTIONS if is_folder else _FILE_OPTIONS
    # Once it has its name, others may look into it before it is closed here.
    share = messages.SHARE_ALL if is_folder else messages.SHARE_READ | messages.SHARE_DELETE
    while True:
        answers = wire.ask(messages.create(name, access, share, messages.MAKE, options), *requests)
        if answers[0].status in faults.DENIED and wanted.has_descriptors:
            # Without the right to set owner or lists, the file is written all the same.
            wanted.without_descriptors()
            access = (_FOLDER_ACCESS if is_folder else _FILE_ACCESS) | wanted.access()
            continue
        opened = messages.opened(answers[0].require(), name)
        return opened.file, opened.facts, answers


def _check_length(entry: Entry, size_bytes: int) -> None:
    if entry.size_bytes is not None and size_bytes != entry.size_bytes:
        raise changed(entry.path, f"{size_bytes} bytes came, {entry.size_bytes} were announced")


class _removed_unless_done:
    """`with _removed_unless_done(draft):` an exception inside removes the draft."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            self._draft.__exit__()
