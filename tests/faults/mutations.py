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


MUTATIONS: dict[str, Callable[[], None]] = {
    "no flush of files": _no_flush_of_files,
    "no flush of folders": _no_flush_of_folders,
    "removed before it is replaced": _removed_before_it_is_replaced,
    "state written in place": _state_written_in_place,
    "success whatever failed": _success_whatever_failed,
}


def mutate() -> None:
    """Put in what the environment names, if it names one."""
    if name := os.environ.get(VARIABLE):
        MUTATIONS[name]()
