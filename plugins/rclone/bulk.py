"""Many files from one remote of the daemon to another in a few calls, with the promises of put for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Copying, Throttle, Written
from runner.model.entry import Kind, parent_path
from runner.model.task import Integrity

from .content import OWN_HASH
from .faults import changed, means_absent, shown
from .remote import Listed
from .writing import Publishing

if TYPE_CHECKING:
    from .location import RcloneLocation

_AT_ONCE = 16
_PUBLISHED_AT_ONCE = 32
_IN_A_ROUND = 200
_BYTES_IN_A_ROUND = 1 << 30


class _Copy:
    """One file on its way: `error` ends it, whatever step it is at."""

    __slots__ = ("copying", "error", "expected_hash", "listed", "refused", "target")

    def __init__(self, copying: Copying, target: str) -> None:
        self.copying = copying
        self.target = target
        self.listed: Listed | None = None
        self.expected_hash: str | None = None
        self.refused: tuple[str, ...] = ()
        self.error: EntryError | None = None

    @property
    def path(self) -> str:
        return self.copying.target.path

    @property
    def source_path(self) -> str:
        return self.copying.entry.path


def copy_many(
    source: RcloneLocation, destination: RcloneLocation, copies: Sequence[Copying], throttle: Throttle
) -> Iterator[Written | EntryError]:
    """One result for each of `copies`, in their order; raises EntryError(CANCELLED) alone."""
    start = 0
    while start < len(copies):
        end, moving = start, 0
        while end < len(copies) and end - start < _IN_A_ROUND and (moving == 0 or moving < _BYTES_IN_A_ROUND):
            moving += copies[end].entry.size_bytes or 0
            end += 1
        yield from _Round(source, destination, throttle).run(copies[start:end])
        start = end


class _Round:
    """One round. Every step is one batch over the copies that are still well."""

    def __init__(self, source: RcloneLocation, destination: RcloneLocation, throttle: Throttle) -> None:
        self._source = source
        self._destination = destination
        self._throttle = throttle
        self._moves = destination.writer.publishing is Publishing.MOVE
        self._settings = destination.settings

    def run(self, copies: Sequence[Copying]) -> list[Written | EntryError]:
        going = [_Copy(one, self._target(one.target.path)) for one in copies]
        written: list[_Copy] = []
        try:
            for step in (
                self._check_names,
                self._look_at_sources,
                self._look_at_places,
                self._copy,
                self._look_at_sources_again,
                self._prove,
                self._publish,
            ):
                well = [one for one in going if one.error is None]
                if step == self._copy:
                    written = well
                try:
                    step(well)
                except EntryError as error:
                    if error.entry_code is EntryCode.CANCELLED:
                        raise
                    # The batch as a whole: nothing is known of any of them.
                    for one in well:
                        one.error = _of(error, one.path)
        except BaseException:
            self._clear_away(written)
            raise
        self._clear_away([one for one in written if one.error is not None])
        return [
            one.error
            if one.error is not None
            else Written(one.listed.Size if one.listed else 0, None, one.refused)
            for one in going
        ]

    def _target(self, path: str) -> str:
        return parent_path(path) + self._destination.names.next() if self._moves else path

    # -- steps -----------------------------------------------------------------------------------------------

    def _check_names(self, copies: list[_Copy]) -> None:
        for one in copies:
            try:
                if one.copying.entry.kind is not Kind.FILE:
                    raise EntryError(EntryCode.KIND_NOT_SUPPORTED, one.path, f"{shown(one.path)} is no file")
                self._destination.check_name(one.path)
                self._destination.make_way(one.path)
            except EntryError as error:
                one.error = error

    def _look_at_sources(self, copies: list[_Copy]) -> None:
        from .location import difference

        for one, listed in self._files(self._source, copies, [copy.source_path for copy in copies]):
            one.listed = listed
            if listed is None:
                one.error = EntryError(
                    EntryCode.NOT_FOUND, one.path, f"{shown(one.path)}: the source is gone"
                )
            elif (
                reason := difference(one.copying.entry, self._source.entry_of(one.source_path, listed))
            ) is not None:
                one.error = changed(one.path, reason)

    def _look_at_places(self, copies: list[_Copy]) -> None:
        """Do not move what has no place; publishing looks again."""
        for one, listed in self._files(self._destination, copies, [copy.path for copy in copies]):
            try:
                replaces = one.copying.replaces
                if replaces is None or replaces.kind is Kind.FILE:
                    self._destination.judge_place(one.path, replaces, listed)
                else:
                    self._destination.expect_place(one.path, replaces, clear=not self._moves)
            except EntryError as error:
                one.error = error

    def _copy(self, copies: list[_Copy]) -> None:
        remote = self._destination.remote
        requests = []
        for one in copies:
            size = one.listed.Size if one.listed is not None else 0
            self._throttle.take(size)
            config: dict[str, Any] = {}
            if not self._moves:
                config["NoCheckDest"] = self._destination.writer.publishing is not Publishing.UNIQUE
            requests.append(remote.copy_request(self._source.remote, one.source_path, one.target, config))
        total = sum(one.listed.Size for one in copies if one.listed is not None)
        results = remote.batch("operations/copyfile", requests, concurrency=_AT_ONCE, size_bytes=total)
        for one, result in zip(copies, results, strict=True):
            one.error = remote.result_error(result, one.path, "copy", one.target, one.source_path)

    def _look_at_sources_again(self, copies: list[_Copy]) -> None:
        """What was copied may be a mixture when the source moved meanwhile."""
        for one, listed in self._files(self._source, copies, [copy.source_path for copy in copies]):
            before = one.listed
            assert before is not None
            if listed is None or (listed.Size, listed.ModTime) != (before.Size, before.ModTime):
                one.error = changed(one.path, "the source changed while it was copied")

    def _prove(self, copies: list[_Copy]) -> None:
        for one, listed in self._files(self._destination, copies, [copy.target for copy in copies]):
            assert one.listed is not None
            if listed is None or listed.Size != one.listed.Size:
                one.error = _damaged(one.path, "what arrived has another length")
            else:
                one.refused = self._set_time(one, listed)
        well = [one for one in copies if one.error is None]
        if self._settings.integrity is not Integrity.READ_BACK or not well:
            return
        theirs, ours = self._source.information.Hashes, self._destination.information.Hashes
        own = OWN_HASH[self._settings.digest]
        common = next((name for name in ("md5", "sha1", *ours) if name in ours and name in theirs), own)
        expected = self._hashes(self._source, well, [one.source_path for one in well], common)
        stored = self._hashes(self._destination, well, [one.target for one in well], common)
        for one, first, second in zip(well, expected, stored, strict=True):
            if one.error is None and (first is None or first != second):
                one.error = _damaged(one.path, f"its {common} is not that of the source")

    def _publish(self, copies: list[_Copy]) -> None:
        if not self._moves:
            return
        # In small groups: between a look at a place and the rename another writer could take it.
        for start in range(0, len(copies), _PUBLISHED_AT_ONCE):
            group = copies[start : start + _PUBLISHED_AT_ONCE]
            self._look_at_places(group)
            self._look_for_folders([one for one in group if one.error is None])
            for one in group:
                replaces = one.copying.replaces
                if one.error is None and replaces is not None and replaces.kind is Kind.DIRECTORY:
                    try:
                        self._destination.expect_place(one.path, replaces)
                    except EntryError as error:
                        one.error = error
            self._rename([one for one in group if one.error is None])

    def _look_for_folders(self, copies: list[_Copy]) -> None:
        """Where no file stands a folder may: some servers would replace it by a file, with all that is in it."""
        remote = self._destination.remote
        free = [one for one in copies if one.copying.replaces is None]
        requests = [remote.listing_request(one.path) for one in free]
        results = remote.batch("operations/list", requests, concurrency=_AT_ONCE)
        for one, result in zip(free, results, strict=True):
            error = remote.result_error(result, one.path, "look at")
            if error is None or not means_absent(error):
                try:
                    self._destination.expect_place(one.path, None)
                except EntryError as refused:
                    one.error = refused

    def _rename(self, copies: list[_Copy]) -> None:
        remote = self._destination.remote
        requests = [remote.move_request(one.target, one.path, checked=False) for one in copies]
        total = sum(one.listed.Size for one in copies if one.listed is not None)
        results = remote.batch("operations/movefile", requests, concurrency=_AT_ONCE, size_bytes=total)
        for one, result in zip(copies, results, strict=True):
            one.error = remote.result_error(result, one.path, "move", one.target)
            if one.error is not None and one.copying.replaces is not None:
                try:
                    size = one.listed.Size if one.listed is not None else 0
                    self._destination.writer.rename(one.target, one.path, one.copying.replaces, size)
                    one.error = None
                except EntryError as error:
                    one.error = error

    # -- their parts -----------------------------------------------------------------------------------------

    def _files(
        self, location: RcloneLocation, copies: list[_Copy], paths: list[str]
    ) -> Iterator[tuple[_Copy, Listed | None]]:
        """Each copy with the file at its path; those whose path cannot be looked at get their error."""
        remote = location.remote
        requests = [remote.file_request(path) for path in paths]
        results = remote.batch("operations/stat", requests, concurrency=_AT_ONCE)
        for one, path, result in zip(copies, paths, results, strict=True):
            error = remote.result_error(result, one.path, "look at", path)
            if error is not None and error.entry_code is not EntryCode.NOT_FOUND:
                one.error = error
                continue
            yield one, result.item

    def _hashes(
        self, location: RcloneLocation, copies: list[_Copy], paths: list[str], hash_type: str
    ) -> list[str | None]:
        """Worked out by the storage where it can, else from the content read."""
        remote = location.remote
        download = hash_type not in location.information.Hashes
        requests = [remote.hash_request(path, hash_type, download=download) for path in paths]
        total = sum(one.listed.Size for one in copies if one.listed is not None)
        results = remote.batch("operations/hashsumfile", requests, concurrency=_AT_ONCE, size_bytes=total)
        missing = [index for index, result in enumerate(results) if not result.error and not result.hash]
        if missing and not download:
            # A file may lack the hash that its storage usually has (S3 after a multipart upload).
            again = [remote.hash_request(paths[index], hash_type, download=True) for index in missing]
            read = remote.batch("operations/hashsumfile", again, concurrency=_AT_ONCE, size_bytes=total)
            for index, result in zip(missing, read, strict=True):
                results[index] = result
        for one, path, result in zip(copies, paths, results, strict=True):
            one.error = one.error or remote.result_error(result, one.path, "read", path)
        return [result.hash or None for result in results]

    def _set_time(self, one: _Copy, listed: Listed) -> tuple[str, ...]:
        writer = self._destination.writer
        wanted = writer.wanted_time(one.copying.target)
        told = listed.mtime_ns
        if wanted is None:
            return ()
        if told is not None and told - told % (self._destination.information.resolution_ns or 1) == wanted:
            return ()
        return () if writer.set_time(one.target, wanted, listed.Size) else ("mtime",)

    def _clear_away(self, copies: list[_Copy]) -> None:
        for one in copies:
            if self._moves or (one.error is not None and one.error.entry_code is EntryCode.CHECKSUM_FAILURE):
                self._destination.writer.clear_away(one.target)


def _of(error: EntryError, path: str) -> EntryError:
    return EntryError(
        error.entry_code,
        path,
        error.message,
        disposition=error.disposition,
        retry_after_seconds=error.retry_after_seconds,
    )


def _damaged(path: str, message: str) -> EntryError:
    return EntryError(EntryCode.CHECKSUM_FAILURE, path, f"{shown(path)}: {message}")
