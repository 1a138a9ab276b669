"""Follows symbolic links inside a memory tree, one name at a time, and never out of its root."""

from __future__ import annotations

from collections.abc import Callable

from runner.errors import EntryCode
from runner.model.entry import Kind, Phase, Problem
from runner.testing.memory_tree import Node

_HOPS_AT_MOST = 40
_MESSAGES = {
    EntryCode.LINK_ESCAPES: "points outside the root",
    EntryCode.LINK_BROKEN: "points to nothing",
    EntryCode.LINK_LOOP: "leads back to itself or to a folder that holds it",
}

Lookup = Callable[[str], Node | None]
"""Finds a node by its real path, following nothing."""


def follow(lookup: Lookup, path: str) -> Node | Problem:
    """What `path` (whose every name may be a symlink) leads to in the end, or why it leads nowhere.

    An absolute target escapes: memory has no other root.
    """
    found = real_path(lookup, path)
    if isinstance(found, EntryCode):
        return _problem(path, found)
    node = lookup(found)
    if node is None:
        return _problem(path, EntryCode.LINK_BROKEN)
    above = path.removesuffix("/").split("/")[:-1]
    while node.kind is Kind.DIRECTORY and above:
        folder = real_path(lookup, "/".join(above))
        if not isinstance(folder, EntryCode) and lookup(folder) is node:
            return _problem(path, EntryCode.LINK_LOOP)
        above.pop()
    if node is lookup(""):
        return _problem(path, EntryCode.LINK_LOOP)
    return node


def real_path(lookup: Lookup, path: str) -> str | EntryCode:
    """`path` without symlinks, or the code that says why there is none."""
    names: list[str] = []
    pending = path.removesuffix("/").split("/")
    hops = 0
    while pending:
        name = pending.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            if not names:
                return EntryCode.LINK_ESCAPES
            names.pop()
            continue
        here = lookup("/".join([*names, name]))
        if here is None:
            return EntryCode.LINK_BROKEN
        if here.kind is not Kind.SYMLINK:
            names.append(name)
            continue
        hops += 1
        target = here.link_target or ""
        if hops > _HOPS_AT_MOST:
            return EntryCode.LINK_LOOP
        if target.startswith("/"):
            return EntryCode.LINK_ESCAPES
        pending = target.split("/") + pending
    return "/".join(names)


def _problem(path: str, code: EntryCode) -> Problem:
    return Problem(path, Phase.PREPARING, code, f"memory: the link {_MESSAGES[code]}")
