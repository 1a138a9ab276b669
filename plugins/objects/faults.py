"""Errors of keys become errors of paths."""

from __future__ import annotations

from runner.errors import EntryCode, EntryError
from runner.model.wire import terminal_safe

from .client import ConditionFailedError


def shown(path: str) -> str:
    """A path as messages show it."""
    return terminal_safe(path) if path else "the root folder"


def stale(path: str, what: str) -> EntryError:
    """The error for a path that is not in the state the plan was made for."""
    return EntryError(EntryCode.STALE, path, f"{shown(path)}: {what}")


def changed(path: str, what: str) -> EntryError:
    """The error for a file that moved under the reader."""
    return EntryError(EntryCode.CHANGED_DURING_TRANSFER, path, f"{shown(path)}: {what}")


class at_path:
    """`with at_path(path):` what a client raises inside speaks of the path; a condition that fails is STALE.

    A class, for a generator-based context manager costs two microseconds a file.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, ConditionFailedError):
            raise stale(self._path, "it is not what was expected there any more") from error
        if isinstance(error, EntryError) and error.path != self._path:
            error.path = self._path
