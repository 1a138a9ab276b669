"""How keys and paths map onto each other. One to one: what has no counterpart is refused by name.

A key `PREFIX` + `a/b` is the path `a/b`. A key that ends with `/` is the marker of a folder. Keys are sorted by the
bytes of their UTF-8, and so are paths (D1): a listing is in canonical order as it comes.
"""

from __future__ import annotations

import re

from runner.errors import EntryCode, EntryError
from runner.locations.names import NameRules
from runner.model.wire import terminal_safe

MAX_KEY_BYTES = 1024
STATE_FOLDER = ".sync-runner"
QUARANTINE_FOLDER = ".sync-runner-quarantine"
# \Z, for $ would also match before a line break at the end.
_NO_NAME = re.compile(r"(?:^|/)\.{0,2}(?:/|\Z)")
_TEMPORARY = re.compile(r"(?:.*/)?\.sync-runner-([0-9a-f]{12})-[0-9a-z]{1,40}\.part", re.DOTALL)


def fault_of(path: str) -> str | None:
    """Why this (the rest of a key behind the prefix) cannot be a path; None when it can. Not for the root."""
    if _NO_NAME.search(path[:-1] if path.endswith("/") else path) is None and "\0" not in path:
        return None
    if "\0" in path:
        return "its key holds a NUL, which no path can"
    names = path.removesuffix("/").split("/")
    if "" in names:
        return "its key holds an empty name (`//`, or a `/` in front), which no path can"
    return "its key holds `.` or `..` as a name, which means something else in a path"


def name_rules(prefix: str, max_key_bytes: int = MAX_KEY_BYTES) -> NameRules:
    """What keys below `prefix` can hold."""
    return NameRules(max_path_bytes=max_key_bytes - 1 - len(prefix.encode()), utf8=True)


def check_name(path: str, rules: NameRules) -> None:
    """Raises NAME_NOT_ALLOWED for a path that has no key."""
    fault = fault_of(path) if path else None
    if fault is None:
        fault = rules.refusal(path)
        if fault is None:
            if path.isascii():
                return
            try:
                path.encode("utf-8")
                return
            except UnicodeEncodeError:
                fault = "the name is not valid UTF-8"
    raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"{terminal_safe(path)}: {fault}")


def temporary_execution(path: str) -> str | None:
    """The execution id in the name of a temporary object of ours; None for any other name."""
    if ".sync-runner-" not in path:
        return None
    match = _TEMPORARY.fullmatch(path)
    return match[1] if match else None


def is_reserved_folder(path: str) -> bool:
    """True for folders (with their slash) that are never part of a location's content."""
    if ".sync-runner" not in path:
        return False
    names = path[:-1].split("/")
    return names[-1] == STATE_FOLDER or names == [QUARANTINE_FOLDER]


def folders_of(path: str) -> list[str]:
    """'a/b/c' -> 'a/', 'a/b/'; 'a/b/' -> 'a/', 'a/b/'."""
    folders = []
    end = path.find("/")
    while end >= 0:
        folders.append(path[: end + 1])
        end = path.find("/", end + 1)
    return folders
