"""The walk: every entry below a folder in canonical order, folders listed ahead of need.

Memory: the names of one folder per level, and of up to `_AHEAD` folders listed early.
"""

from __future__ import annotations

import concurrent.futures
import itertools
from collections.abc import Callable, Iterator

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.entry import Entry, Kind, Phase, Problem, path_bytes

from .faults import means_absent, shown
from .names import from_rclone, is_certain, is_reserved, temporary_execution
from .remote import Listed, Remote

_AHEAD = 6
_STATS_AT_ONCE = 16
_STATS_IN_A_BATCH = 256

Descend = Callable[[Entry], bool] | None
Found = Entry | Problem


class Scanner:
    """Scans of one location. `leftovers` gathers (path, execution id) of temporary files that were seen."""

    def __init__(self, remote: Remote, entry_of: Callable[[str, Listed], Entry], *, slow_times: bool) -> None:
        """`slow_times`: each file's time is a request of its own."""
        self._remote = remote
        self._entry_of = entry_of
        self._slow_times = slow_times
        self.leftovers: dict[str, str] = {}

    def scan(self, top: Entry, descend: Descend, first: list[Found] | None = None) -> Iterator[Found]:
        """`top` and all below it. `first` is what `top` holds where that is known."""
        yield top
        if descend is not None and not descend(top):
            return
        walk = _Walk(self, descend)
        try:
            yield from walk.below(top.path, first)
        finally:
            walk.close()

    def not_listed(self, path: str, error: EntryError) -> Problem:
        """What stands for the content of a folder that could not be listed."""
        again = error.disposition is Disposition.RETRY or means_absent(error)
        return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, error.message, retryable=again)

    def folder(self, path: str) -> list[Found]:
        """What a folder holds, sorted. Raises EntryError when that cannot be told completely."""
        listed = self._remote.listing(path, times=not self._slow_times)
        if self._slow_times:
            self._fill_times(path, listed)
        found: list[Found] = []
        for one in listed:
            name = from_rclone(one.Name)
            full = f"{path}{name}/" if one.IsDir else path + name
            if is_reserved(full, is_directory=one.IsDir):
                continue
            execution = temporary_execution(name)
            if execution is not None and not one.IsDir:
                self.leftovers[full] = execution
                continue
            found.append(self._seen(full, one))
        found.sort(key=_key)
        return list(_once_each(found))

    def _seen(self, path: str, listed: Listed) -> Found:
        if not is_certain(listed.Name) or not _is_plain(listed.Name):
            # A folder that cannot be addressed cannot be listed: all below it is unknown.
            code = EntryCode.NOT_LISTED if listed.IsDir else EntryCode.NAME_NOT_ALLOWED
            return _problem(path, code, "rclone cannot address this name")
        if listed.IsDir:
            return Entry(path, Kind.DIRECTORY)
        if listed.Size < 0:
            return _problem(path, EntryCode.KIND_NOT_SUPPORTED, "the storage does not tell its size")
        return self._entry_of(path, listed)

    def _fill_times(self, path: str, listed: list[Listed]) -> None:
        """Times by one request a file, many at once: in a listing rclone makes them one after the other."""
        files = [one for one in listed if not one.IsDir and is_certain(one.Name)]
        for start in range(0, len(files), _STATS_IN_A_BATCH):
            part = files[start : start + _STATS_IN_A_BATCH]
            requests = [self._remote.file_request(path + from_rclone(one.Name)) for one in part]
            results = self._remote.batch("operations/stat", requests, concurrency=_STATS_AT_ONCE)
            for one, result in zip(part, results, strict=True):
                error = self._remote.result_error(result, path, "look into", from_rclone(one.Name))
                if error is not None and not means_absent(error):
                    raise error
                if result.item is None:
                    raise EntryError(
                        EntryCode.NOT_LISTED,
                        path,
                        f"{shown(path)}: it changed while it was listed",
                        disposition=Disposition.RETRY,
                    )
                one.Size, one.ModTime = result.item.Size, result.item.ModTime


class _Walk:
    """One scan under way: folders still to come, and listings asked for ahead."""

    def __init__(self, scanner: Scanner, descend: Descend) -> None:
        self._scanner = scanner
        self._descend = descend
        self._threads = concurrent.futures.ThreadPoolExecutor(_AHEAD, "rclone-list")
        self._ahead: dict[str, concurrent.futures.Future[list[Found]]] = {}

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._ahead.clear()

    def below(self, top: str, first: list[Found] | None) -> Iterator[Found]:
        stack: list[tuple[list[Found], int]] = []
        opened = first if first is not None else self._listed(top)
        if isinstance(opened, Problem):
            yield opened
            return
        stack.append((opened, 0))
        while stack:
            found, position = stack.pop()
            self._look_ahead(found, position, stack)
            while position < len(found):
                one = found[position]
                position += 1
                yield one
                if not isinstance(one, Entry) or one.kind is not Kind.DIRECTORY:
                    continue
                problem_follows = position < len(found) and found[position].path == one.path
                if problem_follows or (self._descend is not None and not self._descend(one)):
                    self._forget(one.path)
                    continue
                opened = self._listed(one.path)
                if isinstance(opened, Problem):
                    yield opened
                    continue
                stack.append((found, position))
                stack.append((opened, 0))
                break

    def _look_ahead(self, found: list[Found], position: int, stack: list[tuple[list[Found], int]]) -> None:
        """Ask for the next folders in the order in which they will be needed."""
        for level, start in ((found, position), *reversed(stack)):
            for index in range(start, min(len(level), start + 1000)):
                if len(self._ahead) >= _AHEAD:
                    return
                one = level[index]
                if isinstance(one, Entry) and one.kind is Kind.DIRECTORY and one.path not in self._ahead:
                    self._ahead[one.path] = self._threads.submit(self._scanner.folder, one.path)

    def _listed(self, path: str) -> list[Found] | Problem:
        future = self._ahead.pop(path, None)
        try:
            return future.result() if future is not None else self._scanner.folder(path)
        except EntryError as error:
            return self._scanner.not_listed(path, error)

    def _forget(self, path: str) -> None:
        future = self._ahead.pop(path, None)
        if future is not None:
            future.cancel()


def _is_plain(name: str) -> bool:
    """Names that a listing must not hold: a storage that tells them would lead out of the folder."""
    return name not in ("", ".", "..") and "/" not in name


def _once_each(found: list[Found]) -> Iterator[Found]:
    """Sorted findings with each path once: what cannot be told apart (Google Drive allows two files of one name) is
    a problem instead; a folder's own entry stands before it."""
    for path, group in itertools.groupby(found, key=lambda one: one.path):
        same = list(group)
        problem = next((one for one in same if isinstance(one, Problem)), None)
        if len(same) > 1 and problem is None:
            is_folder = path.endswith("/")
            code = EntryCode.NOT_LISTED if is_folder else EntryCode.NAME_NOT_ALLOWED
            problem = _problem(path, code, "several entries have this name")
        if problem is None:
            yield same[0]
            continue
        if path.endswith("/"):
            yield Entry(path, Kind.DIRECTORY)
        yield problem


def _problem(path: str, code: EntryCode, reason: str) -> Problem:
    return Problem(path, Phase.PREPARING, code, f"{shown(path)}: {reason}")


def _key(found: Found) -> bytes:
    return path_bytes(found.path)
