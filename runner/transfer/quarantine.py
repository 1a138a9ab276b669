"""Recoverable deletions: where they go, how they come back, when they are purged.

A quarantined entry keeps its path below `.sync-runner-quarantine/EXECUTION/` at the destination. Beside that folder
stands a note, `EXECUTION.json`: whose it is, since when, how long it is kept; it is there before the first entry is. What
is done with an entry is decided in runner/transfer/deletion.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from runner.clock import iso_utc
from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Location, Renames, Throttle
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.model.wire import terminal_safe
from runner.transfer.deletion import Event, Stage, Step, decide, kept_days, stage_of, time_event
from runner.transfer.quarantine_note import QUARANTINE, Note, Noted, read_notes, remove_note, write_note

NOTE_KEPT_DAYS = 366.0
"""How long it is known of what was purged that it was."""
_OPEN = Attributes(mode=0o700)


def quarantine_path(execution_id: str, path: str) -> str:
    """Where `path` goes."""
    return f"{QUARANTINE}{execution_id}/{path}"


def announce(location: Location, execution_id: str, task: str, keep_days: float, now_seconds: float) -> None:
    """Write down whose the entries are that come next, before the first of them comes. Raises EntryError."""
    write_note(location, execution_id, Note(task, now_seconds, keep_days), None)


def quarantined_executions(location: Location) -> list[str]:
    """Ids of executions that have something in quarantine, oldest first."""
    found = []
    for entry in location.scan(QUARANTINE, lambda directory: directory.path == QUARANTINE):
        name = entry.path[len(QUARANTINE) :].removesuffix("/")
        if isinstance(entry, Entry) and entry.kind is Kind.DIRECTORY and name and "/" not in name:
            found.append(name)
    return found


def quarantined(location: Location, execution_id: str) -> Iterator[Entry | Problem]:
    """What one execution put there, at its place in quarantine; folders before what is in them."""
    root = f"{QUARANTINE}{execution_id}/"
    for found in location.scan(root):
        if found.path != root:
            yield found


def purged_executions(location: Location) -> dict[str, str]:
    """Executions of which something was purged, and since when (for people), also when nothing of them is left."""
    found = {execution_id: _purged_at(noted) for execution_id, noted in read_notes(location).items()}
    return {execution_id: purged_at for execution_id, purged_at in found.items() if purged_at is not None}


def restore(
    location: Location, execution_id: str, paths: Sequence[str], throttle: Throttle
) -> tuple[list[str], list[Problem]]:
    """Move entries back to where they were; `paths` empty = all, else these and what is below them.

    Nothing is overwritten: where something stands, the entry stays in quarantine and is named. A path that nothing in
    quarantine belongs to is named, too, and that it was purged where that may be so.
    Memory: the paths of one quarantined execution.
    """
    way = _WayBack(location, throttle)
    met: set[str] = set()

    def is_wanted(original: str) -> bool:
        belongs = {path for path in paths if is_below(original, path)}
        met.update(belongs)
        return bool(belongs) or not paths

    way.take(execution_id, is_wanted)
    purged_at = _purged_at(way.notes.get(execution_id, Noted()))
    way.problems += [_not_there(execution_id, path, purged_at) for path in paths if path not in met]
    way.end()
    return way.restored, way.problems


def restore_chosen(
    location: Location, chosen: Mapping[str, Collection[str]], throttle: Throttle
) -> tuple[list[str], list[Problem]]:
    """As `restore`, of several executions: exactly these paths of each, in the order in which they are given."""
    way = _WayBack(location, throttle)
    for execution_id, paths in chosen.items():
        way.take(execution_id, paths.__contains__)
    way.end()
    return way.restored, way.problems


class _WayBack:
    """Moves entries back. `restored` and `problems` tell what became of them, once `end` was called."""

    def __init__(self, location: Location, throttle: Throttle) -> None:
        assert isinstance(location, Renames)
        self.notes = read_notes(location)
        self.restored: list[str] = []
        self.problems: list[Problem] = []
        self._location = location
        self._renames = location
        self._throttle = throttle
        self._folders: list[Entry] = []
        self._executions: list[str] = []

    def take(self, execution_id: str, is_wanted: Callable[[str], bool]) -> None:
        """What is wanted of one execution; asked for each original path, folders before what is in them."""
        self._executions.append(execution_id)
        root = f"{QUARANTINE}{execution_id}/"
        is_condemned = _purged_at(self.notes.get(execution_id, Noted())) is not None
        for found in list(quarantined(self._location, execution_id)):
            original = found.path[len(root) :]
            wanted = is_wanted(original)
            if isinstance(found, Problem):
                self.problems.append(found)
            elif wanted:
                try:
                    self._move_back(found, original, is_condemned=is_condemned)
                except EntryError as error:
                    self.problems.append(Problem.from_error(error, Phase.TRANSFERRING))

    def end(self) -> None:
        """Folders get their own attributes; what nothing is left of goes."""
        for folder in reversed(self._folders):
            try:
                self._location.put(folder, None, folder, self._throttle)
            except EntryError as error:
                self.problems.append(Problem.from_error(error, Phase.TRANSFERRING))
        for execution_id in self._executions:
            root = f"{QUARANTINE}{execution_id}/"
            _remove_empty_folders(self._location, root)
            noted = self.notes.get(execution_id, Noted())
            if noted.entry is not None and _purged_at(noted) is None and self._location.stat(root) is None:
                remove_note(self._location, noted.entry)

    def _move_back(self, found: Entry, original: str, *, is_condemned: bool) -> None:
        present = self._location.stat(original)
        if found.kind is Kind.DIRECTORY:
            if present is None:
                # Its own mode may not let anything in, and what comes in moves its time: both come last.
                bare = Entry(original, Kind.DIRECTORY, attributes=_OPEN)
                self._location.put(bare, None, None, self._throttle)
                self._folders.append(_moved(found, original))
                self.restored.append(original)
            return
        stage = stage_of(is_aside=True, is_condemned=is_condemned)
        if decide(stage, Event.RESTORE if present is None else Event.OCCUPIED) is not Step.MOVE_BACK:
            raise EntryError(
                EntryCode.STALE,
                original,
                f"{terminal_safe(original)} exists again; the quarantined one stays where it is",
            )
        self._renames.rename(found, original)
        self.restored.append(original)


def purge(
    location: Location, source: Location | None, task: str, now_seconds: float, keep_days: float
) -> int:
    """Remove what has been in quarantine for longer than it is to be kept; returns how many entries went.

    What `source` has again while the destination has nothing in its place stays (None: what the source has says
    nothing). What nobody wrote a note for gets one, and its time begins. Raises EntryError; what went until then is gone,
    and what is left goes next time.
    """
    notes = read_notes(location)
    folders = quarantined_executions(location)
    removed = 0
    for execution_id in folders:
        noted = notes.get(execution_id, Noted())
        if not _is_execution(execution_id):
            continue
        if noted.note is None:
            write_note(location, execution_id, Note(task, now_seconds, keep_days), noted.entry)
            continue
        removed += _purge_one(location, source, execution_id, noted, task, now_seconds, keep_days)
    for execution_id, noted in notes.items():
        if execution_id in folders or noted.note is None or noted.entry is None:
            continue
        condemned = noted.note.condemned_seconds
        # Nothing came, or all went back; or it is long ago that it was purged.
        if condemned is None or now_seconds - condemned > NOTE_KEPT_DAYS * 86_400:
            remove_note(location, noted.entry)
    return removed


def _purge_one(
    location: Location,
    source: Location | None,
    execution_id: str,
    noted: Noted,
    task: str,
    now_seconds: float,
    task_days: float,
) -> int:
    note = noted.note
    assert note is not None
    days = kept_days(own=note.task == task, recorded_days=note.keep_days, task_days=task_days)
    stage = stage_of(is_aside=True, is_condemned=note.condemned_seconds is not None)

    def event_of(original: str | None) -> Event:
        """`original` None: of the whole."""
        return time_event(
            since_seconds=note.since_seconds,
            keep_days=days,
            now_seconds=now_seconds,
            is_needed=original is not None and _is_needed(source, location, original),
        )

    if decide(stage, event_of(None)) is Step.KEEP:
        return 0
    root = f"{QUARANTINE}{execution_id}/"
    removed = 0
    needed_folders: set[str] = set()
    for entry in reversed([found for found in location.scan(root) if isinstance(found, Entry)]):
        if entry.path in needed_folders:
            needed_folders.add(parent_of(entry.path))
            continue
        event = event_of(entry.path[len(root) :] or None)
        step = decide(stage, event)
        if step is Step.CONDEMN:
            # From here on it may be half gone, and whoever wants it back is told so.
            write_note(location, execution_id, note.condemned(now_seconds), noted.entry)
            stage = Stage.CONDEMNED
            step = decide(stage, event)
        if step is Step.REMOVE:
            location.remove(entry)
            removed += 1
        else:
            needed_folders.add(parent_of(entry.path))
    return removed


def _is_needed(source: Location | None, destination: Location, path: str) -> bool:
    """Whether the source has it again, or cannot say, while the destination has nothing there."""
    if source is None:
        return False
    try:
        if source.stat(path) is None:
            return False
    except EntryError as error:
        if error.entry_code is EntryCode.NOT_FOUND:
            return False
        if error.entry_code is EntryCode.CANCELLED:
            raise
    return destination.stat(path) is None


def parent_of(path: str) -> str:
    """The folder that an entry is in, with its slash; empty at the top."""
    return path.removesuffix("/").rpartition("/")[0] + "/" if "/" in path.removesuffix("/") else ""


def _is_execution(name: str) -> bool:
    try:
        return int(name, 16) >= 0 and len(name) >= 8
    except ValueError:
        return False


def _purged_at(noted: Noted) -> str | None:
    if noted.note is None or noted.note.condemned_seconds is None:
        return None
    return iso_utc(datetime.fromtimestamp(noted.note.condemned_seconds, UTC))


def _not_there(execution_id: str, path: str, purged_at: str | None) -> Problem:
    message = f"execution {execution_id} has no {terminal_safe(path)} in quarantine"
    if (
        decide(stage_of(is_aside=False, is_condemned=purged_at is not None), Event.RESTORE)
        is Step.REFUSE_PURGED
    ):
        message = (
            f"{message}: if it had, it was restored before or purged, which began at {purged_at}. What was purged comes "
            "from a backup alone"
        )
    else:
        message += "; `restore TASK --list` shows what it has"
    return Problem(path, Phase.TRANSFERRING, EntryCode.NOT_FOUND, message)


def _remove_empty_folders(location: Location, root: str) -> None:
    for entry in reversed([found for found in location.scan(root) if isinstance(found, Entry)]):
        if entry.kind is Kind.DIRECTORY:
            try:
                location.remove(entry)
            except EntryError as error:
                if error.entry_code is not EntryCode.STALE:
                    raise


def _moved(entry: Entry, path: str) -> Entry:
    return Entry(path, entry.kind, mtime_ns=entry.mtime_ns, attributes=entry.attributes)


def is_below(path: str, wanted: str) -> bool:
    """Whether `path` is `wanted`, or in it."""
    wanted = wanted.removesuffix("/")
    return path in (wanted, wanted + "/") or path.startswith(wanted + "/")
