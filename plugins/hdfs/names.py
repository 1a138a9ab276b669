"""Names: what HDFS can hold, what this driver reserves inside a root, and paths that never leave the root."""

from __future__ import annotations

import re

from runner.errors import EntryCode, EntryError
from runner.locations.names import NameRules

MAX_PATH_CHARACTERS = 8000
MAX_PATH_LEVELS = 1000
"""HdfsServerConstants.MAX_PATH_LENGTH and MAX_PATH_DEPTH of the NameNode."""

RULES = NameRules(max_name_bytes=255, utf8=True, forbidden=":/", reserved_exactly=frozenset({".snapshot"}))
"""DFSUtil.isValidName; 255 is the NameNode's default (dfs.namenode.fs-limits.max-component-length)."""

SNAPSHOTS = ".snapshot"
RESERVED = ".reserved"

_TEMPORARY = re.compile(r"\.sync-runner-([0-9a-f]{12})-[0-9a-z]{1,40}\.part")
_STATE_FOLDER = ".sync-runner"
_QUARANTINE_FOLDER = ".sync-runner-quarantine"


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


def is_ours(name: str, *, is_directory: bool, at_top: bool) -> bool:
    """True for folders that are never part of a location's content."""
    return is_directory and (name == _STATE_FOLDER or (at_top and name == _QUARANTINE_FOLDER))


def problem_with(path: str, root: str) -> str | None:
    """Why an entry's path cannot exist below `root`, None when it can. The root itself is the empty path."""
    bare = path.removesuffix("/")
    if bare == "":
        return None if path == "" else "the path is not one inside the location"
    names = bare.split("/")
    if "\0" in bare or not {"", ".", ".."}.isdisjoint(names):
        return "the path is not one inside the location"
    for name in names:
        reason = RULES.refusal(name)
        if reason is not None:
            return reason
    if SNAPSHOTS in names or (root == "/" and names[0] == RESERVED):
        return "HDFS keeps this name for itself"
    whole = absolute(root, path)
    if len(whole) >= MAX_PATH_CHARACTERS or whole.count("/") >= MAX_PATH_LEVELS:
        return f"HDFS holds paths of at most {MAX_PATH_CHARACTERS} characters and {MAX_PATH_LEVELS} levels"
    return None


def require_allowed(path: str, root: str) -> None:
    """Raises EntryError(NAME_NOT_ALLOWED) for a path that HDFS cannot hold or that leaves the root."""
    reason = problem_with(path, root)
    if reason is not None:
        raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, reason)


def absolute(root: str, path: str) -> str:
    """An entry's path as HDFS spells it, without a trailing slash."""
    bare = path.removesuffix("/")
    if bare == "":
        return root
    return f"/{bare}" if root == "/" else f"{root}/{bare}"
