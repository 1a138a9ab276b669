"""Listing: one folder's children at a time, sorted, hostile names and failures as problems in their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from runner.errors import Disposition, EntryCode, LocationUnavailableError
from runner.model.entry import Entry, Kind, Phase, Problem, path_bytes

from .attributes import AttributeReader
from .facts import entry_of
from .faults import RemoteFault, entry_error, shown
from .names import absolute, is_ours, temporary_execution
from .transport import Status, Transport

Descend = Callable[[Entry], bool]


class _Level(NamedTuple):
    """A folder being walked: its path, and its children that are still to come, the last one first."""

    path: str
    children: list[Status]


class Walk:
    """One scan of a location. Holds the children of one folder for each level.

    `leftovers` gets (path, execution id) of temporary files that are met.
    """

    def __init__(
        self,
        transport: Transport,
        root: str,
        attributes: AttributeReader,
        descend: Descend | None,
        leftovers: dict[str, str],
    ) -> None:
        self._transport = transport
        self._root = root
        self._attributes = attributes
        self._descend = descend
        self._leftovers = leftovers
        self._silent: RemoteFault | None = None

    def below(self, prefix: str, *, root_may_be_missing: bool) -> Iterator[Entry | Problem]:
        """Entries of `prefix` and below in canonical order. Raises LocationUnavailableError for a missing root."""
        try:
            status = self._transport.status(absolute(self._root, prefix))
            attributes = None
            if status is not None and status.is_directory:
                attributes = self._attributes.of(absolute(self._root, prefix), status)
        except RemoteFault as fault:
            yield _not_listed(prefix, fault)
            return
        if status is None or not status.is_directory:
            if prefix == "" and not (status is None and root_may_be_missing):
                what = "is not there" if status is None else "is no folder"
                raise LocationUnavailableError(f"the root folder {self._root} {what}")
            return
        yield from self._walk(entry_of(prefix, status, attributes))

    def _walk(self, top: Entry) -> Iterator[Entry | Problem]:
        """A stack of its own: HDFS nests folders as deep as Python nests calls."""
        levels: list[_Level] = []
        yield from self._enter(top, levels)
        while levels:
            level = levels[-1]
            if not level.children:
                levels.pop()
                continue
            status = level.children.pop()
            path = level.path + status.name
            try:
                attributes = self._attributes.of(absolute(self._root, path), status)
            except RemoteFault as fault:
                yield from self._unknown(path, status, fault)
                continue
            entry = entry_of(path, status, attributes)
            if entry.kind is Kind.DIRECTORY:
                yield from self._enter(entry, levels)
            else:
                yield entry

    def _enter(self, folder: Entry, levels: list[_Level]) -> Iterator[Entry | Problem]:
        """The folder's own entry; then its level is open, unless it is not to be descended into or not listed."""
        yield folder
        if self._descend is not None and not self._descend(folder):
            return
        try:
            levels.append(_Level(folder.path, self._children(folder.path)))
        except RemoteFault as fault:
            yield _not_listed(folder.path, fault)

    def _children(self, prefix: str) -> list[Status]:
        """A folder's children, the canonically last one first, without what is ours."""
        if self._silent is not None:
            raise self._silent
        children = []
        try:
            for status in self._transport.children(absolute(self._root, prefix)):
                if not _is_name(status.name):
                    raise RemoteFault(
                        EntryCode.IO_ERROR,
                        f"the server lists {shown(status.name)!r}, which is no name in HDFS",
                        Disposition.SKIP,
                    )
                execution = temporary_execution(status.name)
                if execution is not None:
                    self._leftovers[prefix + status.name] = execution
                elif not is_ours(status.name, is_directory=status.is_directory, at_top=prefix == ""):
                    children.append(status)
        except RemoteFault as fault:
            if fault.code is EntryCode.TIMEOUT:
                # Each further question would take as long.
                self._silent = fault
            raise
        # From the end: the walk takes them off as it goes, so that what is done is not held.
        children.sort(key=_canonical, reverse=True)
        return children

    def _unknown(self, path: str, status: Status, fault: RemoteFault) -> Iterator[Entry | Problem]:
        """What is listed, but whose attributes cannot be had."""
        if fault.code is EntryCode.NOT_FOUND:
            return
        if status.is_directory:
            yield entry_of(path, status, None)
            yield _not_listed(path + "/", fault)
        else:
            yield Problem.from_error(entry_error(fault, path, "look at"), Phase.PREPARING)


def _is_name(name: str) -> bool:
    """False for what would lead elsewhere, or cannot be a name at all: servers are not believed."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _canonical(status: Status) -> bytes:
    return path_bytes(status.name + "/" if status.is_directory else status.name)


def _not_listed(prefix: str, fault: RemoteFault) -> Problem:
    error = entry_error(fault, prefix, "list")
    retryable = error.disposition is Disposition.RETRY or fault.code in (EntryCode.NOT_FOUND, EntryCode.STALE)
    return Problem(prefix, Phase.PREPARING, EntryCode.NOT_LISTED, error.message, retryable)
