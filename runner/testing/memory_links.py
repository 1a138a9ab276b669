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


def follow(lookup: Callable[[str], Node | None], path: str, node: Node) -> Node | Problem:
    """What the symlink `node` at `path` points to in the end, or why it cannot be followed.

    `lookup` finds a node without following anything. An absolute target escapes: memory has no other root.
    """
    names = path.split("/")[:-1]
    target = node.link_target or ""
    if target.startswith("/"):
        return _problem(path, EntryCode.LINK_ESCAPES, node)
    pending = target.split("/")
    hops = 0
    while pending:
        name = pending.pop(0)
        if name in ("", "."):
            continue
        if name == "..":
            if not names:
                return _problem(path, EntryCode.LINK_ESCAPES, node)
            names.pop()
            continue
        here = lookup("/".join([*names, name]))
        if here is None:
            return _problem(path, EntryCode.LINK_BROKEN, node)
        if here.kind is not Kind.SYMLINK:
            names.append(name)
            continue
        hops += 1
        further = here.link_target or ""
        if hops > _HOPS_AT_MOST:
            return _problem(path, EntryCode.LINK_LOOP, node)
        if further.startswith("/"):
            return _problem(path, EntryCode.LINK_ESCAPES, node)
        pending = further.split("/") + pending
    found = lookup("/".join(names))
    if found is None:
        return _problem(path, EntryCode.LINK_BROKEN, node)
    if found.kind is Kind.DIRECTORY and path.startswith("".join(f"{name}/" for name in names)):
        return _problem(path, EntryCode.LINK_LOOP, node)
    return found


def _problem(path: str, code: EntryCode, node: Node) -> Problem:
    message = f"memory: the link to {node.link_target!r} {_MESSAGES[code]}"
    return Problem(path, Phase.PREPARING, code, message)
