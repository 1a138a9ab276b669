"""A marker: a small file inside an endpoint that tells it from any other, wherever it is mounted.

It stands at a reserved place that no listing shows and no task touches. `generation` grows with each execution that
changed the endpoint, so that an endpoint that was put back to an older state is told from one that went on.
"""

from __future__ import annotations

import contextlib
import re

import msgspec

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.patience import Patience
from runner.locations.protocol import Identity, Location, SetsAttributes
from runner.model.entry import Attributes, Entry, Kind
from runner.model.wire import decode_line, encode_line, terminal_safe

MARKER_FOLDER = ".sync-runner/"
MARKER_PATH = f"{MARKER_FOLDER}location.json"
MARKER_VERSION = 1
_BYTES_AT_MOST = 65536
_ID = re.compile(r"[0-9a-f]{32}\Z")
_NOTE = "sync-runner knows this place by this file. Do not copy it to another one. See docs/markers.md."


class Marker(msgspec.Struct, frozen=True):
    """What a marker says. `id` (32 lowercase hex digits) never changes; `execution` wrote it last, at `written_at`
    (RFC 3339 UTC; both empty when it was adopted by hand)."""

    id: str
    generation: int
    execution: str = ""
    written_at: str = ""

    def describe(self) -> str:
        """For people: which, how old, and who wrote it."""
        by = f" of execution {self.execution}" if self.execution else ""
        at = f", {self.written_at}" if self.written_at else ""
        return f"marker {self.id[:8]}, generation {self.generation}{by}{at}"


class SeenMarker(msgspec.Struct, frozen=True):
    """What was found at the marker's place. Both None: nothing is there. `fault`: something is there or is hidden, and
    it cannot be told what."""

    marker: Marker | None = None
    fault: str | None = None
    entry: Entry | None = None
    """The file's entry, for who replaces it."""


NO_MARKER = SeenMarker()


class _File(msgspec.Struct, frozen=True):
    version: int
    id: str
    generation: int
    execution: str = ""
    written_at: str = ""
    note: str = ""


class _Free:
    """A marker is too small to be throttled."""

    def take(self, size_bytes: int) -> None:
        return


class Sighting(msgspec.Struct, frozen=True):
    """An endpoint as it was seen at one moment. `identity` None: it tells no facts; `marker` None: not looked for."""

    identity: Identity | None = None
    marker: SeenMarker | None = None


def read_marker(location: Location, patience: Patience) -> SeenMarker:
    """The marker of an endpoint as it is now; what cannot be read in the end is a fault. Raises EntryError(CANCELLED)."""
    attempt = 1
    while True:
        try:
            return _read(location)
        except EntryError as error:
            if error.entry_code is EntryCode.CANCELLED:
                raise
            if error.disposition is not Disposition.RETRY or attempt >= patience.attempts:
                return SeenMarker(fault=terminal_safe(error.message))
            patience.pause(attempt)
            attempt += 1


def _read(location: Location) -> SeenMarker:
    try:
        entry = location.stat(MARKER_PATH)
        if entry is None:
            return NO_MARKER
        if entry.kind is not Kind.FILE or (entry.size_bytes or 0) > _BYTES_AT_MOST:
            return SeenMarker(fault="it is not a small file", entry=entry)
        content = b"".join(bytes(chunk) for chunk in location.read(entry))
    except EntryError as error:
        if error.entry_code is EntryCode.NOT_FOUND:
            return NO_MARKER
        raise
    return _decoded(content, entry)


def write_marker(location: Location, marker: Marker, seen: SeenMarker) -> None:
    """Write `marker` in place of what was seen; the root keeps its time, also when it fails. Raises EntryError: STALE
    when another marker came in between."""
    with_mode = "mode" in location.capabilities.attributes
    file = _File(MARKER_VERSION, marker.id, marker.generation, marker.execution, marker.written_at, _NOTE)
    content = encode_line(file) + b"\n"
    entry = Entry(
        MARKER_PATH, Kind.FILE, len(content), attributes=Attributes(mode=0o644) if with_mode else None
    )
    if seen.entry is not None:
        location.put(entry, [content], seen.entry, _Free())
        return
    root = location.stat("")
    # Readable for all: other users' tasks may share the endpoint.
    folder = Entry(MARKER_FOLDER, Kind.DIRECTORY, attributes=Attributes(mode=0o755))
    makes_folder = with_mode and location.stat(MARKER_FOLDER) is None
    try:
        if makes_folder:
            location.put(folder, None, None, _Free())
        location.put(entry, [content], None, _Free())
    except EntryError:
        if makes_folder:
            with contextlib.suppress(EntryError):
                location.remove(folder)
        raise
    finally:
        if root is not None:
            _put_time_back(location, root)


def _put_time_back(location: Location, before: Entry) -> None:
    """A new folder moved the root's time, which is part of what was synchronised."""
    if (
        before.mtime_ns is None
        or not isinstance(location, SetsAttributes)
        or not location.capabilities.contents_touch_folder
        or "mtime" not in location.capabilities.attributes
    ):
        return
    root = Entry("", Kind.DIRECTORY, mtime_ns=before.mtime_ns)
    location.set_attributes(root, location.stat(""))


def _decoded(content: bytes, entry: Entry) -> SeenMarker:
    try:
        file = decode_line(content, _File)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return SeenMarker(fault="its content is damaged", entry=entry)
    if file.version != MARKER_VERSION:
        return SeenMarker(
            fault=f"its version is {file.version}, which this version does not know", entry=entry
        )
    if _ID.match(file.id) is None or file.generation < 0:
        return SeenMarker(fault="its content is damaged", entry=entry)
    marker = Marker(file.id, file.generation, terminal_safe(file.execution), terminal_safe(file.written_at))
    return SeenMarker(marker, None, entry)
