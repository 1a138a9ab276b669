"""Listing again what could not be listed for a reason that may pass: a lost connection, a server that restarts."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.pair import Patience
from runner.locations.protocol import Location
from runner.model.entry import Entry, Phase, Problem, path_before

Descend = Callable[[Entry], bool]


def patient_scan(
    location: Location, prefix: str, descend: Descend | None, patience: Patience
) -> Iterator[Entry | Problem]:
    """`location.scan`, where a folder that could not be listed is asked for again, after a pause that grows.

    What was yielded is not yielded twice: the order tells. So locations without order are asked once. A folder that
    cannot be listed in the end is a Problem as ever. Memory: as the scan.
    """
    if not location.capabilities.sorted_scan or patience.attempts <= 1:
        return location.scan(prefix, descend)
    return _PatientScan(location, descend, patience).folder(prefix)


class _PatientScan:
    def __init__(self, location: Location, descend: Descend | None, patience: Patience) -> None:
        self._location = location
        self._descend = descend
        self._patience = patience
        self._last: str | None = None

    def folder(self, folder: str, attempt: int = 1) -> Iterator[Entry | Problem]:
        """All of one folder, beginning with the attempt of that number; it ends with a problem where patience ends."""
        while True:
            problem = yield from self._attempt(folder)
            if problem is None:
                return
            if attempt >= self._patience.attempts:
                self._last = problem.path
                yield problem
                return
            self._patience.pause(attempt)
            attempt += 1

    def _attempt(self, folder: str) -> Generator[Entry | Problem, None, Problem | None]:
        """One look at a folder; returns the problem that ended it early and may pass, None when it is complete."""
        known = self._last
        try:
            for found in self._location.scan(folder, self._descend):
                passing = (
                    isinstance(found, Problem) and found.retryable and found.code is EntryCode.NOT_LISTED
                )
                if passing and found.path == folder:
                    assert isinstance(found, Problem)
                    return found
                if known is not None and _is_known(found, known):
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
