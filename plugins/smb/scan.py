"""The walk: every entry below a folder, in canonical order, with problems in their places.

One QUERY_DIRECTORY gives names, sizes, times and attributes together. Security descriptors, where asked for, come a
batch of entries at a time. Memory: the names of one directory per level.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.entry import Entry, Kind, Phase, Problem, leaf_name, path_bytes
from runner.model.wire import terminal_safe

from . import faults, messages
from .client import Client
from .facts import FactReader, is_plain
from .faults import StatusError, classified
from .folders import Folders
from .messages import Facts
from .names import can_exist, is_reserved, shown, temporary_execution

if TYPE_CHECKING:
    from .wire import Wire

_FIRST_BYTES = 65_536
_BATCH = 32
_LIST_ACCESS = messages.READ_DATA | messages.READ_ATTRIBUTES
_REMEDY = (
    "Nothing below it is deleted in this run. Give the runner's user the right to list it, or exclude it."
)

Descend = Callable[[Entry], bool] | None
Descriptors = tuple[bytes | None, bytes | None]


class _Level:
    """One directory on the way from the scan's top to where it is, with the names still to come."""

    __slots__ = ("children", "file_id", "path")

    def __init__(self, path: str, file_id: int, children: Iterator[Entry | Problem]) -> None:
        self.path = path
        self.file_id = file_id
        self.children = children


class Scanner:
    """Scans of one location. `leftovers` gathers (path, execution id) of temporary files that were seen."""

    def __init__(self, client: Client, folders: Folders, reader: FactReader) -> None:
        self._client = client
        self._folders = folders
        self._reader = reader
        self._file_ids: dict[str, int] = {}
        self.leftovers: dict[str, str] = {}

    def scan(self, prefix: str, descend: Descend) -> Iterator[Entry | Problem]:
        """Everything at and below `prefix`; nothing when it is not there. See `Location.scan`."""
        with classified(prefix, "list"):
            wire = self._client.wire(prefix, "list")
            facts = self._folders.root_facts(wire)
            if facts is not None and prefix:
                facts = self._folders.look_up(wire, prefix)
                if facts is not None and not (facts.is_directory and is_plain(facts)):
                    facts = None
            if facts is None:
                return
            if prefix:
                self._folders.remember(prefix)
            entry = self._described(wire, [(prefix, facts)])[0]
        yield entry
        if isinstance(entry, Problem) or (descend is not None and not descend(entry)):
            return
        opened = self._opened(prefix, facts.file_id, [])
        if isinstance(opened, Problem):
            yield opened
            return
        yield from self._walk(opened, descend)

    def _walk(self, top: _Level, descend: Descend) -> Iterator[Entry | Problem]:
        stack = [top]
        while stack:
            found = next(stack[-1].children, None)
            if found is None:
                stack.pop()
                continue
            yield found
            if isinstance(found, Problem) or found.kind is not Kind.DIRECTORY:
                continue
            if descend is not None and not descend(found):
                continue
            self._folders.remember(found.path)
            opened = self._opened(found.path, self._file_ids.pop(found.path, 0), stack)
            if isinstance(opened, Problem):
                yield opened
            else:
                stack.append(opened)

    def _opened(self, path: str, file_id: int, above: list[_Level]) -> _Level | Problem:
        """The level of a directory, its names read and sorted; a Problem when any of that fails."""
        if file_id and any(level.file_id == file_id for level in above):
            message = f"{shown(path)}: the server shows one of its own parent folders here"
            return Problem(path, Phase.PREPARING, EntryCode.LINK_LOOP, message)
        try:
            with classified(path, "list"):
                wire = self._client.wire(path, "list")
                found = list_folder(wire, self._folders.name(path))
            keys = self._sorted_keys(path, found)
        except EntryError as error:
            return _not_listed(path, error)
        except ValueError as error:
            return _damaged(path, error)
        return _Level(path, file_id, self._children(path, keys))

    def _sorted_keys(self, path: str, found: list[Facts]) -> list[tuple[str, Facts]]:
        """The folder's entries in canonical order: a directory's name carries its slash while sorting.

        Raises ValueError when the listing cannot be true.
        """
        keys: list[tuple[str, Facts]] = []
        at_top = path == ""
        for facts in found:
            name = facts.name
            if name in (".", ".."):
                continue
            if name == "" or "/" in name or "\\" in name or "\0" in name:
                raise ValueError(f"it lists the impossible name {terminal_safe(name)!r}")
            if name[0] == "." and name.startswith(".sync-runner"):
                execution_id = temporary_execution(name)
                if execution_id is not None:
                    self.leftovers[path + name] = execution_id
                    continue
                if is_reserved(name, is_directory=facts.is_directory, at_top=at_top):
                    continue
            # What is no folder for us, a junction, stands where a file of its name would.
            is_folder = facts.is_directory and is_plain(facts) and can_exist(name)
            keys.append((name + "/" if is_folder else name, facts))
        keys.sort(key=lambda pair: _bytes_of(pair[0]))
        for (one, _), (other, _) in itertools.pairwise(keys):
            if one == other:
                raise ValueError(f"it lists {terminal_safe(one)!r} twice")
        return keys

    def _children(self, path: str, keys: list[tuple[str, Facts]]) -> Iterator[Entry | Problem]:
        """The entries of one folder, their descriptors fetched a batch at a time."""
        if not self._reader.reads_descriptors:
            for key, facts in keys:
                yield self._child(path + key, facts)
            return
        for start in range(0, len(keys), _BATCH):
            batch = [(path + key, facts) for key, facts in keys[start : start + _BATCH]]
            try:
                with classified(path, "list"):
                    described = self._described(self._client.wire(path, "list"), batch)
            except EntryError as error:
                # What was not described is unknown, not gone.
                for one, _ in batch:
                    yield _not_listed(
                        one, EntryError(error.entry_code, one, error.message, disposition=error.disposition)
                    )
                continue
            yield from described

    def _child(self, path: str, facts: Facts, descriptors: Descriptors = (None, None)) -> Entry | Problem:
        refusal = _unusable(path, facts)
        if refusal is not None:
            return refusal
        if facts.is_directory:
            self._file_ids[path] = facts.file_id
        return self._reader.entry(path, facts, descriptors)

    def _described(self, wire: Wire, batch: list[tuple[str, Facts]]) -> list[Entry | Problem]:
        """The entries with their security descriptors, asked for all at once. Raises ConnectionFault."""
        if not self._reader.reads_descriptors:
            return [self._child(path, facts) for path, facts in batch]
        asked = []
        for path, facts in batch:
            refusal = _unusable(path, facts)
            name = self._folders.name(path) if refusal is None else ""
            asked.append(None if refusal is not None else wire.begin(self._reader.descriptor_requests(name)))
        described: list[Entry | Problem] = []
        for (path, facts), ids in zip(batch, asked, strict=True):
            if ids is None:
                described.append(self._child(path, facts))
                continue
            answers = wire.finish(ids)
            try:
                described.append(self._child(path, facts, self._reader.descriptors(wire, answers)))
            except StatusError as error:
                if error.status in faults.GONE:
                    continue  # it vanished since the folder was listed
                cause = faults.of_status(error.status, path, "read owner and access list of")
                described.append(_not_listed(path, cause))
            except ValueError as error:
                described.append(_damaged(path, error))
        return described


def list_folder(wire: Wire, name: str) -> list[Facts]:
    """All entries of a folder, in the server's order. Raises StatusError; ValueError for a damaged listing."""
    first, *listings = wire.ask(
        messages.create(
            name,
            _LIST_ACCESS,
            messages.SHARE_ALL,
            messages.OPEN,
            messages.DIRECTORY_FILE,
            file_id=False,
        ),
        messages.query_directory("*", _FIRST_BYTES),
        messages.query_directory("*", _FIRST_BYTES),
    )
    file = messages.opened(first.require(), name).file
    found: list[Facts] = []
    try:
        for answer in listings:
            if answer.status == faults.NO_MORE_FILES:
                return found
            found += messages.listed(messages.information(answer.require()))
        while True:
            answer = wire.ask(messages.query_directory("*", wire.chunk_bytes, file))[0]
            if answer.status == faults.NO_MORE_FILES:
                return found
            more = list(messages.listed(messages.information(answer.require())))
            if not more:
                raise ValueError("the listing does not end")
            found += more
    finally:
        if wire.is_open:
            wire.abandon(wire.begin([messages.close(file)]))


def _bytes_of(key: str) -> bytes:
    try:
        return path_bytes(key)
    except UnicodeEncodeError:
        # No valid UTF-16: such a name has no place among the bytes of paths; it is only reported.
        return key.encode("utf-8", "replace")


def _unusable(path: str, facts: Facts) -> Problem | None:
    """Why an entry cannot be used under this name, or at all."""
    if not is_plain(facts):
        message = (
            f"{shown(path)} is a link or another reparse point (tag 0x{facts.tag:08x}); it is not followed"
        )
        return Problem(path, Phase.PREPARING, EntryCode.KIND_NOT_SUPPORTED, message)
    if not can_exist(leaf_name(path)):
        readable = path.encode("utf-8", "replace").decode("utf-8")
        message = f"{shown(readable)}: over SMB this name would mean something else; it is left alone"
        return Problem(readable, Phase.PREPARING, EntryCode.NAME_NOT_ALLOWED, message)
    return None


def _not_listed(path: str, cause: EntryError) -> Problem:
    retryable = cause.disposition is Disposition.RETRY
    return Problem(
        path, Phase.PREPARING, EntryCode.NOT_LISTED, f"{cause.message}. {_REMEDY}", retryable=retryable
    )


def _damaged(path: str, error: ValueError) -> Problem:
    message = f"cannot list {shown(path)}: the server's answer makes no sense: {error}. {_REMEDY}"
    return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, message)
