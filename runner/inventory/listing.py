"""One side's listing in canonical order, and the proof that it is.

A stream out of order would make the comparison see entries as missing or extra that are neither, so order is
checked here for every driver, and restored by an external merge sort for those that cannot promise it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import IO

from runner.errors import EntryCode, EntryError
from runner.inventory.patience import patient_scan
from runner.locations.patience import IMPATIENT, Patience
from runner.locations.protocol import Location, Scan
from runner.model.entry import Entry, Phase, Problem, path_before, path_bytes
from runner.model.wire import decode_line, encode_line

Found = Entry | Problem

SORT_RUN_ENTRIES = 100_000
"""Entries an external sort holds in memory at once (about 60 MB); more are spilled to a temporary file."""


def inventory(
    location: Location,
    descend: Callable[[Entry], bool] | None,
    on_entries: Callable[[int], None] | None = None,
    prefix: str = "",
    patience: Patience = IMPATIENT,
    scan: Scan | None = None,
) -> Iterator[Found]:
    """All of a location (or of its folder `prefix`), in canonical order.

    A folder that cannot be listed now is asked for again as `patience` allows. `on_entries` hears the running count
    every 2,000 entries.
    `scan` takes the place of the location's own.
    A path that comes twice is a problem the second time: nothing is deleted then.
    Raises EntryError(INTERNAL) when the driver breaks the order it promises: nothing may be decided on that.
    """
    stream = patient_scan(location, prefix, descend, patience, scan)
    if not location.capabilities.sorted_scan:
        stream = sort_externally(stream)
    previous = ""
    last: Found | None = None
    count = 0
    for found in stream:
        path = found.path
        if path == "" and isinstance(found, Problem):
            # Of the root, and so of all that has not come: wherever it stands.
            yield found
            continue
        if path_before(path, previous):
            raise EntryError(
                EntryCode.INTERNAL,
                path,
                f"the listing is out of order: {path!r} came after {previous!r}; nothing was decided on it",
            )
        if path == previous and path and isinstance(found, Entry) and isinstance(last, Entry):
            # Replaced while it was listed, or a storage that knows two of one name: which one is meant is unknown.
            found = Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, "the listing gives this name twice")
        previous = path
        last = found
        count += 1
        if on_entries is not None and count % 2_000 == 0:
            on_entries(count)
        yield found
    if on_entries is not None:
        on_entries(count)


def counted(stream: Iterator[Found], on_entries: Callable[[int], None]) -> Iterator[Found]:
    """The same values; `on_entries` hears the running count every 2,000, and at the end."""
    count = 0
    for found in stream:
        count += 1
        if count % 2_000 == 0:
            on_entries(count)
        yield found
    on_entries(count)


def sort_externally(stream: Iterator[Entry | Problem]) -> Iterator[Entry | Problem]:
    """The same values in canonical order; a problem stays behind the entry of its path.

    Memory: SORT_RUN_ENTRIES values; the rest waits in unnamed temporary files.
    """
    runs: list[IO[bytes]] = []
    gathered: list[Entry | Problem] = []
    try:
        for found in stream:
            gathered.append(found)
            if len(gathered) >= SORT_RUN_ENTRIES:
                runs.append(_spill(gathered))
                gathered = []
        gathered.sort(key=_sort_key)
        if not runs:
            yield from gathered
            return
        from heapq import merge

        yield from merge(*(_read_run(run) for run in runs), gathered, key=_sort_key)
    finally:
        for run in runs:
            run.close()


def _sort_key(found: Entry | Problem) -> tuple[bytes, bool]:
    return path_bytes(found.path), isinstance(found, Problem)


def _spill(gathered: list[Entry | Problem]) -> IO[bytes]:
    from tempfile import TemporaryFile

    gathered.sort(key=_sort_key)
    run = TemporaryFile(prefix="sync-runner-sort-")
    for found in gathered:
        run.write((b"P" if isinstance(found, Problem) else b"E") + encode_line(found) + b"\n")
    run.seek(0)
    return run


def _read_run(run: IO[bytes]) -> Iterator[Entry | Problem]:
    for line in run:
        if line[:1] == b"P":
            yield decode_line(line[1:], Problem)
        else:
            yield decode_line(line[1:], Entry)
