"""Names: which ones SMB can hold, which are ours, and how a path is spelled on the wire."""

from __future__ import annotations

import re

from runner.errors import EntryCode, EntryError
from runner.locations.names import NameRules
from runner.model.wire import terminal_safe

STATE_FOLDER = ".sync-runner"
QUARANTINE_FOLDER = ".sync-runner-quarantine"
LOCK_FILE = ".sync-runner-lock"
_PREFIX = ".sync-runner"
_TEMPORARY = re.compile(r"\.sync-runner-([0-9a-f]{12})-[0-9a-z]{1,40}\.part")

RULES = NameRules(
    max_name_units=255,
    utf8=True,
    forbidden='\\:*?"<>|',
    controls=False,
    forbidden_end=". ",
    reserved=frozenset(
        {"CON", "PRN", "AUX", "NUL", "CLOCK$", "CONIN$", "CONOUT$"}
        | {f"{port}{number}" for port in ("COM", "LPT") for number in "0123456789\u00b9\u00b2\u00b3"}
    ),
)
"""Windows, "Naming Files, Paths, and Namespaces". `a:b` would be a stream of the file `a`, `*` and `?` patterns,
a trailing dot or blank is dropped or mangled, `nul.txt` is a device."""

_ODD = re.compile('[\\\\:*?"<>|\0/\ud800-\udfff]')
_CHANGES_MEANING = frozenset('\\:*?"<>|\0')
"""What makes another name of a name on the wire: never sent, whatever a path says."""


class TemporaryNames:
    """Names that no other execution and no other location object makes."""

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
    """True for what is never part of a location's content."""
    if not name.startswith(_PREFIX):
        return False
    if not is_directory:
        return at_top and name == LOCK_FILE
    return name == STATE_FOLDER or (at_top and name == QUARANTINE_FOLDER)


def shown(path: str) -> str:
    """A path as messages show it."""
    return terminal_safe(path) if path else "the root folder"


def refuse_name(path: str) -> None:
    """Raises NAME_NOT_ALLOWED when one of the path's names cannot be held, or would become another one."""
    for name in check_path(path):
        reason = RULES.refusal(name)
        if reason is not None:
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)}: {reason}")


def check_path(path: str) -> list[str]:
    """The names of a path. Raises NAME_NOT_ALLOWED when it is not canonical, or would lead elsewhere."""
    names = path.removesuffix("/").split("/") if path else []
    for name in names:
        if name in ("", ".", ".."):
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)}: the path is not canonical")
        if not _CHANGES_MEANING.isdisjoint(name):
            message = f"{shown(path)}: a name holds a character that SMB gives another meaning"
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, message)
        if not name.isascii() and any("\ud800" <= character <= "\udfff" for character in name):
            message = f"{shown(path)}: a name is not valid UTF-8, and SMB holds nothing else"
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, message)
    return names


def can_exist(name: str) -> bool:
    """False for a single name that could not be asked for, or would mean something else."""
    return _ODD.search(name) is None
