"""Recoverable deletions: where they go, how they come back, when they are purged.

A quarantined entry keeps its path below `.sync-runner-quarantine/EXECUTION/` at the destination. The execution's
id begins with the seconds since 1970 in hexadecimal, so its age needs no other record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Location, Renames, Throttle
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.model.wire import terminal_safe

QUARANTINE = ".sync-runner-quarantine/"
_OPEN = Attributes(mode=0o700)


def quarantine_path(execution_id: str, path: str) -> str:
    """Where `path` goes."""
    return f"{QUARANTINE}{execution_id}/{path}"


def quarantined_executions(location: Location) -> list[str]:
    """Ids of executions that have something in quarantine, oldest first."""
    found = []
    for entry in location.scan(QUARANTINE, lambda directory: directory.path == QUARANTINE):
        name = entry.path[len(QUARANTINE) :].removesuffix("/")
        if isinstance(entry, Entry) and name and "/" not in name:
            found.append(name)
    return found


def quarantined(location: Location, execution_id: str) -> Iterator[Entry | Problem]:
    """What one execution put there, at its place in quarantine; folders before what is in them."""
    root = f"{QUARANTINE}{execution_id}/"
    for found in location.scan(root):
        if found.path != root:
            yield found


def restore(
    location: Location, execution_id: str, paths: Sequence[str], throttle: Throttle
) -> tuple[list[str], list[Problem]]:
    """Move entries back to where they were; `paths` empty = all, else these and what is below them.

    Nothing is overwritten: where something stands, the entry stays in quarantine and is named.
    Memory: the paths of one quarantined execution.
    """
    assert isinstance(location, Renames)
    root = f"{QUARANTINE}{execution_id}/"
    restored: list[str] = []
    problems: list[Problem] = []
    folders: list[Entry] = []
    for found in list(quarantined(location, execution_id)):
        original = found.path[len(root) :]
        if isinstance(found, Problem):
            problems.append(found)
            continue
        if paths and not any(_below(original, path) for path in paths):
            continue
        try:
            present = location.stat(original)
            if found.kind is Kind.DIRECTORY:
                if present is None:
                    # Its own mode may not let anything in, and what comes in moves its time: both come last.
                    bare = Entry(original, Kind.DIRECTORY, attributes=_OPEN)
                    location.put(bare, None, None, throttle)
                    folders.append(_moved(found, original))
                    restored.append(original)
                continue
            if present is not None:
                raise EntryError(
                    EntryCode.STALE,
                    original,
                    f"{terminal_safe(original)} exists again; the quarantined one stays where it is",
                )
            location.rename(found, original)
            restored.append(original)
        except EntryError as error:
            problems.append(Problem.from_error(error, Phase.TRANSFERRING))
    for folder in reversed(folders):
        try:
            location.put(folder, None, folder, throttle)
        except EntryError as error:
            problems.append(Problem.from_error(error, Phase.TRANSFERRING))
    _remove_empty_folders(location, root)
    return restored, problems


def purge(location: Location, now_seconds: float, keep_days: float) -> int:
    """Remove what has been in quarantine for longer than `keep_days`; returns how many entries went."""
    removed = 0
    for execution_id in quarantined_executions(location):
        try:
            since = int(execution_id[:8], 16)
        except ValueError:
            continue
        if now_seconds - since <= keep_days * 86_400:
            continue
        root = f"{QUARANTINE}{execution_id}/"
        for entry in reversed([found for found in location.scan(root) if isinstance(found, Entry)]):
            location.remove(entry)
            removed += 1
    return removed


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


def _below(path: str, wanted: str) -> bool:
    wanted = wanted.removesuffix("/")
    return path in (wanted, wanted + "/") or path.startswith(wanted + "/")
