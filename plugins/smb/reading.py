"""Reading files: as they were listed, kept from writers, and unchanged to the end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runner.locations.protocol import Buffer
from runner.model.entry import Entry, parent_path

from . import faults, messages
from .content import received
from .facts import difference, is_plain, same_state
from .faults import StatusError, changed, classified
from .folders import Folders
from .messages import Facts, Opened

if TYPE_CHECKING:
    from .wire import Wire

_READ_ACCESS = messages.READ_DATA | messages.READ_ATTRIBUTES
_READ_SHARE = messages.SHARE_READ | messages.SHARE_DELETE  # a file that somebody writes is locked for us
_READ_OPTIONS = messages.NON_DIRECTORY_FILE | messages.SEQUENTIAL_ONLY


class ContentReader:
    """Reads the files of one location."""

    def __init__(self, wire: Callable[[str, str], Wire], folders: Folders) -> None:
        """`wire` gives the connection for one operation on a path."""
        self._wire = wire
        self._folders = folders

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        path = entry.path
        with classified(path, "read"):
            wire = self._wire(path, "read")
            self._folders.require(wire, parent_path(path))
            name = self._folders.name(path)
            size = entry.size_bytes
            if offset == 0 and size is not None and entry.version is not None and size <= wire.chunk_bytes:
                yield from self._read_small(wire, entry, name, size)
                return
            opened = self._open_to_read(wire, entry, name)
            position = min(offset, opened.facts.size_bytes)
            try:
                for chunk in received(wire, opened.file, position, opened.facts.size_bytes):
                    position += len(chunk)
                    yield chunk
            except BaseException:
                if wire.is_open:
                    wire.abandon(wire.begin([messages.close(opened.file)]))
                raise
            answer = wire.ask(messages.close(opened.file, facts=True))[0]
            _check_unchanged(path, opened.facts, messages.closed(answer.require(), opened.facts), position)
            # A file that was replaced meanwhile is whole, but no longer what stands at the path.
            now = self._folders.look_up(wire, path)
            reason = "it is no longer there" if now is None else difference(entry, now)
            if reason is not None:
                raise changed(path, reason)

    def _read_small(self, wire: Wire, entry: Entry, name: str, size: int) -> Iterator[Buffer]:
        """Opened, read and closed in one message."""
        options = _READ_OPTIONS | messages.OPEN_REPARSE_POINT
        requests = [messages.create(name, _READ_ACCESS, _READ_SHARE, messages.OPEN, options)]
        if size:
            requests.append(messages.read(0, size))
        first, *middle, last = wire.ask(*requests, messages.close(facts=True))
        opened = messages.opened(first.require(), name)
        if not last.ok:
            wire.abandon(wire.begin([messages.close(opened.file)]))
        reason = difference(entry, opened.facts)
        if reason is not None:
            raise changed(entry.path, reason)
        if opened.facts.is_reparse_point:
            # A file that is kept elsewhere (deduplicated, in a cloud): its content is read through the point.
            yield from self._read_through(wire, entry, name)
            return
        content = messages.content_read(middle[0].require()) if size else memoryview(b"")
        _check_unchanged(
            entry.path, opened.facts, messages.closed(last.require(), opened.facts), len(content)
        )
        if size:
            yield content

    def _open_to_read(self, wire: Wire, entry: Entry, name: str) -> Opened:
        """A file as `entry` says, kept from writers. Raises CHANGED_DURING_TRANSFER, StatusError."""
        if entry.version is None and self._folders.look_up(wire, entry.path) is None:
            raise StatusError(faults.NAME_NOT_FOUND)
        opened = self._opened(wire, name, _READ_OPTIONS | messages.OPEN_REPARSE_POINT)
        reason = difference(entry, opened.facts)
        if reason is None and opened.facts.is_reparse_point:
            wire.abandon(wire.begin([messages.close(opened.file)]))
            return self._open_through(wire, entry, name)
        if reason is not None:
            wire.abandon(wire.begin([messages.close(opened.file)]))
            raise changed(entry.path, reason)
        return opened

    def _open_through(self, wire: Wire, entry: Entry, name: str) -> Opened:
        listed = self._folders.look_up(wire, entry.path)
        if listed is None or not is_plain(listed):
            raise changed(entry.path, "it is a link now")
        return self._opened(wire, name, _READ_OPTIONS)

    def _read_through(self, wire: Wire, entry: Entry, name: str) -> Iterator[Buffer]:
        opened = self._open_through(wire, entry, name)
        position = 0
        for chunk in received(wire, opened.file, 0, opened.facts.size_bytes):
            position += len(chunk)
            yield chunk
        answer = wire.ask(messages.close(opened.file, facts=True))[0]
        _check_unchanged(entry.path, opened.facts, messages.closed(answer.require(), opened.facts), position)

    @staticmethod
    def _opened(wire: Wire, name: str, options: int) -> Opened:
        answer = wire.ask(messages.create(name, _READ_ACCESS, _READ_SHARE, messages.OPEN, options))[0]
        return messages.opened(answer.require(), name)


def _check_unchanged(path: str, before: Facts, after: Facts | None, position: int) -> None:
    if position != before.size_bytes:
        raise changed(path, f"it ended after {position} bytes of {before.size_bytes}")
    if after is not None and not same_state(before, after):
        raise changed(path, "it was written while it was read")
