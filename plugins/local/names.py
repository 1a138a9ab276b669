"""The names this driver reserves for itself inside a root: temporary files, state and quarantine."""

from __future__ import annotations

import re

STATE_FOLDER = ".sync-runner"
QUARANTINE_FOLDER = ".sync-runner-quarantine"
RESERVED_PREFIX = ".sync-runner"
_TEMPORARY = re.compile(r"\.sync-runner-([0-9a-f]{12})-[0-9a-z]{1,40}\.part")


class TemporaryNames:
    """Names that no other execution and no other worker of this one makes."""

    def __init__(self, execution_id: str, token: str) -> None:
        """`token`: random lowercase hex digits, another one for each object."""
        self._stem = f".sync-runner-{execution_id}-{token}"
        self._count = 0

    def next(self) -> str:
        self._count += 1
        return f"{self._stem}{self._count:x}.part"


def temporary_execution(name: str) -> str | None:
    """The execution id in the name of a temporary file of ours; None for any other name."""
    match = _TEMPORARY.fullmatch(name)
    return match[1] if match else None


def is_reserved(name: str, *, is_directory: bool, at_top: bool) -> bool:
    """True for folders that are never part of a location's content."""
    if not is_directory or not name.startswith(RESERVED_PREFIX):
        return False
    return name == STATE_FOLDER or (at_top and name == QUARANTINE_FOLDER)
