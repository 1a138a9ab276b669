"""Listing again what could not be listed for a reason that may pass: a lost connection, a server that restarts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.patience import Patience
from runner.locations.protocol import Location, Scan
from runner.model.entry import Entry, Phase, Problem, parent_path, path_before

FOLDERS_BEFORE_GIVING_UP = 3
GONE = "the location does not answer any more; what comes after is unknown"

Descend = Callable[[Entry], bool]


def patient_scan(
    location: Location,
    prefix: str,
    descend: Descend | None,
    patience: Patience,
    scan: Scan | None = None,
) -> Iterator[Entry | Problem]:
    """`location.scan` (or `scan`), where a folder that could not be listed is asked for again, after a pause that grows;
    so is a single name in one that could not be looked at.

    What was yielded is not yielded twice: the order tells. So locations without order are asked once. A folder that
    cannot be listed in the end is a Problem as ever. When a remote location fails so for one folder after another, the
    stream ends with a problem of the root: whatever did not come is unknown. Memory: as the scan.
    """
    if not location.capabilities.sorted_scan or patience.attempts <= 1:
        return (scan or location.scan)(prefix, descend)
    return _PatientScan(location, descend, patience, scan or location.scan).folder(prefix)


class _PatientScan:
    def __init__(self, location: Location, descend: Descend | None, patience: Patience, scan: Scan) -> None:
        self._location = location
        self._scan = scan
        self._descend = descend
        self._patience = patience
        self._last: str | None = None
        self._given_up: list[str] = []

    def folder(self, folder: str, attempt: int = 1) -> Iterator[Entry | Problem]:
        """All of one folder, beginning with the attempt of that number; it ends with a problem where patience ends."""
        while True:
            problem = yield from self._attempt(folder)
            if problem is None:
                return
            if attempt >= self._patience.attempts or self._given_up:
                yield from self._give_up(problem)
                return
            self._patience.pause(attempt)
            attempt += 1

    def _single(self, problem: Problem) -> Iterator[Entry | Problem]:
        """What stands at the path of a problem that is no folder's. A listing of it would be an empty one, as if nothing
        did: it stays a problem unless it is seen."""
        entry: Entry | None = None
        for attempt in range(1, self._patience.attempts):
            self._patience.pause(attempt)
            try:
                entry = self._location.stat(problem.path)
                break
            except EntryError as error:
                if error.disposition is not Disposition.RETRY:
                    break
        if entry is not None and entry.path == problem.path:
            self._last = entry.path
            yield entry
        else:
            yield from self._give_up(problem)

    def _give_up(self, problem: Problem) -> Iterator[Problem]:
        """One more folder that cannot be listed; with the last one that is waited for, all that would come."""
        self._given_up.append(problem.path)
        self._last = problem.path
        yield problem
        if self._is_gone():
            yield Problem("", Phase.PREPARING, EntryCode.NOT_LISTED, GONE)

    def _is_gone(self) -> bool:
        """Whether nothing more is to be expected: a server that is dead costs a timeout a folder."""
        return self._location.capabilities.remote and len(self._given_up) >= FOLDERS_BEFORE_GIVING_UP

    def _note_life(self, path: str) -> None:
        """What was listed in a folder that came after the last one given up shows that the server is back."""
        if self._given_up and path_before(self._given_up[-1], parent_path(path)):
            self._given_up.clear()

    def _attempt(self, folder: str) -> Generator[Entry | Problem, None, Problem | None]:
        """One look at a folder; returns the problem that ended it early and may pass, None when it is complete."""
        known = self._last
        try:
            for found in self._scan(folder, self._descend):
                passing = (
                    isinstance(found, Problem) and found.retryable and found.code is EntryCode.NOT_LISTED
                )
                if passing and found.path == folder:
                    assert isinstance(found, Problem)
                    return found
                if known is not None and _is_known(found, known):
                    continue
                if self._is_gone():
                    return None
                if isinstance(found, Entry):
                    self._note_life(found.path)
                if passing and self._given_up:
                    # It was waited for already; one look at each folder has to do.
                    assert isinstance(found, Problem)
                    yield from self._give_up(found)
                    continue
                if passing and not found.path.endswith("/"):
                    assert isinstance(found, Problem)
                    yield from self._single(found)
                    continue
                if passing:
                    # The patience is this folder's alone: what stands beside it goes on as it was.
                    self._patience.pause(1)
                    yield from self.folder(found.path, 2)
                    continue
                self._last = found.path
                yield found
        except EntryError as error:
            problem = Problem(folder, Phase.PREPARING, EntryCode.NOT_LISTED, error.message, retryable=True)
            if error.disposition is Disposition.RETRY:
                return problem
            self._last = folder
            yield Problem(folder, Phase.PREPARING, EntryCode.NOT_LISTED, error.message)
        return None


def _is_known(found: Entry | Problem, last: str) -> bool:
    """True for what was yielded before the pause: up to `last`, of which a problem may still follow the entry."""
    if isinstance(found, Problem):
        return path_before(found.path, last)
    return not path_before(last, found.path)
