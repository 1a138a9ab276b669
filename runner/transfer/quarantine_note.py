"""The notes in quarantine: a small file per execution beside its entries, that says whose they are and for how long."""

from __future__ import annotations

import msgspec

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Location
from runner.model.entry import Attributes, Entry, Kind
from runner.model.wire import decode_line, encode_line

QUARANTINE = ".sync-runner-quarantine/"
_SUFFIX = ".json"
_VERSION = 1
_BYTES_AT_MOST = 65536
_LAST_SECOND = 253_402_300_799
"""The end of the year 9999."""


class Note(msgspec.Struct, frozen=True):
    """Instants are seconds since 1970. `condemned_seconds`: when the time was found to be over; from then on entries may be
    gone. None: all is there."""

    task: str
    since_seconds: float
    keep_days: float
    condemned_seconds: float | None = None
    version: int = _VERSION

    def condemned(self, now_seconds: float) -> Note:
        """The same, once its time is over."""
        return msgspec.structs.replace(self, condemned_seconds=now_seconds)


class Noted(msgspec.Struct, frozen=True):
    """A note as it was found. `note` None: none is there, or one that cannot be understood."""

    note: Note | None = None
    entry: Entry | None = None


class _Free:
    """A note is too small to be throttled."""

    def take(self, size_bytes: int) -> None:
        return


def read_notes(location: Location) -> dict[str, Noted]:
    """All notes by execution, oldest first. Raises EntryError for one that cannot be read."""
    found: dict[str, Noted] = {}
    for entry in list(location.scan(QUARANTINE, lambda directory: directory.path == QUARANTINE)):
        name = entry.path[len(QUARANTINE) :]
        if not isinstance(entry, Entry) or entry.kind is not Kind.FILE or not name.endswith(_SUFFIX):
            continue
        note = None
        if (entry.size_bytes or 0) <= _BYTES_AT_MOST:
            note = _decoded(b"".join(bytes(chunk) for chunk in location.read(entry)))
        found[name.removesuffix(_SUFFIX)] = Noted(note, entry)
    return found


def write_note(location: Location, execution_id: str, note: Note, present: Entry | None) -> None:
    """Write a note in place of `present`, whole or not at all. Raises EntryError."""
    with_mode = "mode" in location.capabilities.attributes
    if with_mode and location.stat(QUARANTINE) is None:
        private = Entry(QUARANTINE, Kind.DIRECTORY, attributes=Attributes(mode=0o700))
        location.put(private, None, None, _Free())
    content = encode_line(note) + b"\n"
    entry = Entry(
        f"{QUARANTINE}{execution_id}{_SUFFIX}",
        Kind.FILE,
        len(content),
        attributes=Attributes(mode=0o600) if with_mode else None,
    )
    location.put(entry, [content], present, _Free())


def remove_note(location: Location, entry: Entry) -> None:
    """Remove a note that nobody needs any more. Raises EntryError."""
    try:
        location.remove(entry)
    except EntryError as error:
        if error.entry_code is not EntryCode.NOT_FOUND:
            raise


def _decoded(content: bytes) -> Note | None:
    try:
        note = decode_line(content, Note)
    except (msgspec.MsgspecError, ValueError, TypeError, RecursionError):
        return None
    instants = (
        note.since_seconds,
        note.since_seconds if note.condemned_seconds is None else note.condemned_seconds,
    )
    is_sound = (
        note.version == _VERSION and note.keep_days >= 0 and all(0 <= at < _LAST_SECOND for at in instants)
    )
    return note if is_sound else None
