"""Ways to do it wrong, put into a running interpreter: what a harness does not notice here, it does not watch for."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from typing import Any

VARIABLE = "SYNC_RUNNER_MUTANT"
"""The environment variable that names one; only the zygote of the tests looks at it."""


def _flush_only(wanted: Callable[[int], bool]) -> None:
    flush = os.fsync

    def some(handle: int) -> None:
        if wanted(os.fstat(handle).st_mode):
            flush(handle)

    os.fsync = os.fdatasync = some  # type: ignore[assignment]


def _no_flush_of_files() -> None:
    _flush_only(stat.S_ISDIR)


def _no_flush_of_folders() -> None:
    _flush_only(stat.S_ISREG)


def _removed_before_it_is_replaced() -> None:
    rename = os.rename

    def careless(
        source: Any, target: Any, *, src_dir_fd: int | None = None, dst_dir_fd: int | None = None
    ) -> None:
        try:
            os.unlink(target, dir_fd=dst_dir_fd)
        except OSError:
            pass
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    os.rename = os.replace = careless


def _state_written_in_place() -> None:
    from runner.execution import past

    def careless(path: str, write: Callable[[Any], object], *, durable: bool = True) -> object:
        with open(path, "wb", buffering=0) as output:
            return write(output)

    past.write_whole = careless  # type: ignore[assignment]


def _success_whatever_failed() -> None:
    from runner.errors import ExitCode
    from runner.execution import record

    record.exit_code_of = lambda *_: ExitCode.DONE


def _failed_flushes_ignored() -> None:
    flush = os.fsync

    def deaf(handle: int) -> None:
        try:
            flush(handle)
        except OSError:
            pass

    os.fsync = os.fdatasync = deaf  # type: ignore[assignment]


def _written_in_place() -> None:
    from runner_plugins.local.content import digest_of
    from runner_plugins.local.location import LocalLocation
    from runner_plugins.local.whole import write_all

    from runner.locations.protocol import Written
    from runner.model.entry import Kind

    copy = LocalLocation.copy

    def careless(self: Any, source: Any, entry: Any, target: Any, replaces: Any, throttle: Any) -> Any:
        if replaces is not None and replaces.kind is Kind.FILE and entry.kind is Kind.FILE:
            content = b"".join(bytes(piece) for piece in source.read(entry))
            folder, name = self._handles.parent(target.path)
            handle = os.open(name, os.O_WRONLY | os.O_TRUNC, dir_fd=folder)
            write_all(handle, content, 0)
            self._setter.apply(handle, target, None)
            os.close(handle)
            return Written(len(content), digest_of(self._settings.digest, content))
        return copy(self, source, entry, target, replaces, throttle)

    LocalLocation.copy = careless  # type: ignore[method-assign]


def _short_writes_taken_for_whole() -> None:
    from runner_plugins.local import relay, writing

    relay.write_all = writing.write_all = os.pwrite  # type: ignore[assignment]


def _no_read_back() -> None:
    from runner_plugins.local.writing import ContentWriter

    def trusting(self: Any, handle: int, *_: object) -> None:
        if self._sync:
            os.fsync(handle)

    ContentWriter.check = trusting  # type: ignore[assignment]


def _removed_before_something_else_takes_its_place() -> None:
    from runner_plugins.local.publish import Publisher, remove_any

    def careless(self: Any, draft: Any, name: str, path: str, old: object) -> None:
        remove_any(draft.directory_fd, name)
        os.rename(draft.name, name, src_dir_fd=draft.directory_fd, dst_dir_fd=draft.directory_fd)
        draft.name = None

    Publisher._swap = careless  # type: ignore[method-assign]


def _drafts_with_a_name_that_tells_nothing() -> None:
    from runner_plugins.local.names import TemporaryNames

    TemporaryNames.next = lambda self: "draft.tmp"  # type: ignore[method-assign]


def _names_normalised() -> None:
    import unicodedata

    link = os.link

    def helpful(source: Any, target: Any, **keywords: Any) -> None:
        link(source, unicodedata.normalize("NFC", os.fsdecode(target)), **keywords)

    os.link = helpful


def _what_cannot_be_listed_is_overlooked() -> None:
    from runner.inventory import listing, patience
    from runner.model.entry import Problem

    def deaf(*arguments: Any) -> Any:
        return (found for found in patience.patient_scan(*arguments) if not isinstance(found, Problem))

    listing.patient_scan = deaf  # type: ignore[assignment]


def _removed_before_the_rest() -> None:
    from runner.transfer import coordinate

    stages = coordinate._stages

    def hasty(reader: Any, batch_actions: int) -> Any:
        whole = [list(stage) for stage in stages(reader, batch_actions)]
        whole.sort(key=lambda batches: not any(b'"kind":"delete"' in batch.lines[0] for batch in batches))
        return map(iter, whole)

    coordinate._stages = hasty


def _links_followed() -> None:
    real = os.open

    def trusting(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        return real(path, flags & ~os.O_NOFOLLOW, mode, dir_fd=dir_fd)

    os.open = trusting


def _reached_by_whole_paths() -> None:
    opened: dict[int, str] = {}

    def whole(path: Any, dir_fd: int | None) -> Any:
        if dir_fd in opened and not os.fsdecode(path).startswith("/"):
            return f"{opened[dir_fd]}/{os.fsdecode(path)}"
        return path

    real_open, real_mkdir, real_unlink, real_dup = os.open, os.mkdir, os.unlink, os.dup

    def careless_open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
        full = whole(path, dir_fd)
        handle = real_open(full, flags, mode, dir_fd=dir_fd if full is path else None)
        if os.fsdecode(full).startswith("/"):
            opened[handle] = os.fsdecode(full)
        else:
            opened.pop(handle, None)
        return handle

    def careless_mkdir(path: Any, mode: int = 0o777, *, dir_fd: int | None = None) -> None:
        full = whole(path, dir_fd)
        real_mkdir(full, mode, dir_fd=dir_fd if full is path else None)

    def careless_unlink(path: Any, *, dir_fd: int | None = None) -> None:
        full = whole(path, dir_fd)
        real_unlink(full, dir_fd=dir_fd if full is path else None)

    def careless_dup(handle: int) -> int:
        copy = real_dup(handle)
        opened.pop(copy, None)
        if handle in opened:
            opened[copy] = opened[handle]
        return copy

    os.open, os.mkdir, os.unlink, os.dup = careless_open, careless_mkdir, careless_unlink, careless_dup


def _locked_by_a_file_alone() -> None:
    import fcntl

    fcntl.flock = lambda *_: None  # type: ignore[assignment]


def _history_not_flushed() -> None:
    from runner.history.sqlite import SqliteFile

    code = SqliteFile._on_connect.__code__
    words = tuple("NORMAL" if word == "FULL" else word for word in code.co_consts)
    assert words != code.co_consts
    SqliteFile._on_connect.__code__ = code.replace(co_consts=words)


def _an_empty_source_is_success() -> None:
    from runner.plan import guards

    guards._source_emptied = lambda *_: None


MUTATIONS: dict[str, Callable[[], None]] = {
    "no flush of files": _no_flush_of_files,
    "no flush of folders": _no_flush_of_folders,
    "removed before it is replaced": _removed_before_it_is_replaced,
    "state written in place": _state_written_in_place,
    "success whatever failed": _success_whatever_failed,
    "failed flushes ignored": _failed_flushes_ignored,
    "written in place": _written_in_place,
    "short writes taken for whole": _short_writes_taken_for_whole,
    "no read-back": _no_read_back,
    "removed before something else takes its place": _removed_before_something_else_takes_its_place,
    "drafts with a name that tells nothing": _drafts_with_a_name_that_tells_nothing,
    "names normalised": _names_normalised,
    "what cannot be listed is overlooked": _what_cannot_be_listed_is_overlooked,
    "removed before the rest is there": _removed_before_the_rest,
    "links followed": _links_followed,
    "reached by whole paths": _reached_by_whole_paths,
    "locked by a file alone": _locked_by_a_file_alone,
    "history not flushed": _history_not_flushed,
    "an empty source is a success": _an_empty_source_is_success,
}


def mutate() -> None:
    """Put in what the environment names, if it names one."""
    if name := os.environ.get(VARIABLE):
        MUTATIONS[name]()
