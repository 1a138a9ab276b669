"""Several files -> one document. Every node keeps the file it stands in: relative paths start there."""

from __future__ import annotations

import os

from runner.config.files import read_regular_file
from runner.config.load import SIZE_LIMIT, decode, parse_document, read_main_source
from runner.config.nodes import (
    Faults,
    Mapping,
    Member,
    Node,
    Scalar,
    Sequence,
    Source,
    plain,
    quoted,
    shown,
)  # fmt: skip

DEPTH_LIMIT = 10
FILE_LIMIT = 200

_NAMED = frozenset({"locations", "tasks", "vars"})
"""Maps of things with a name: each thing stands in one file, whole."""


def read_document(path: str, faults: Faults) -> tuple[Source, Mapping, tuple[str, ...]] | None:
    """The main file's source, its document with all it includes (without the key `include`), and every file read.

    None when the main file itself is no document; a fault in an included file leaves that file out.
    Raises UsageError when the main file cannot be read.
    """
    source = read_main_source(path, faults)
    root = None if source is None else parse_document(source, faults)
    if source is None or root is None:
        return None
    reader = _Reader(faults)
    merged = reader.with_includes(root, source, (source.path,))
    return source, merged, (source.path, *reader.read)


class _Reader:
    """Follows `include`, depth first; `_files` counts what was read and numbers the sources."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._files = 1
        self.read: list[str] = []

    def with_includes(self, root: Mapping, source: Source, chain: tuple[str, ...]) -> Mapping:
        member = root.members.get("include")
        if member is None:
            return root
        merged = root.with_members({key: value for key, value in root.members.items() if key != "include"})
        children = member.node.children if isinstance(member.node, Sequence) else (member.node,)
        for child in children:
            included = self._read(child, source, chain)
            if included is not None:
                merged = self._merge(merged, included, ())
        return merged

    def _read(self, node: Node, source: Source, chain: tuple[str, ...]) -> Mapping | None:
        faults = self._faults
        if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value:
            faults.add(node, f"{shown(node)} is not a file's name", expected="a path relative to this file")
            return None
        if "{{" in node.value or "{%" in node.value:
            faults.add(node, "a template cannot choose what is included", expected="a path")
            return None
        path = os.path.join(os.path.dirname(source.name), node.value)
        real = os.path.realpath(os.path.join(source.directory, node.value))
        if real in chain:
            faults.add(node, f"{quoted(node.value)} includes itself", suggestion=_circle(chain, real))
            return None
        if len(chain) > DEPTH_LIMIT:
            faults.add(node, f"includes are nested more than {DEPTH_LIMIT} levels deep")
            return None
        if self._files >= FILE_LIMIT:
            faults.add(node, f"more than {FILE_LIMIT} files are included")
            return None
        try:
            content, _ = read_regular_file(real, SIZE_LIMIT)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            faults.add(
                node, f"{quoted(node.value)} cannot be read: {reason}", expected="a readable regular file"
            )
            return None
        included = decode(path, content, self._files, faults)
        self._files += 1
        self.read.append(real)
        root = None if included is None else parse_document(included, faults)
        if included is None or root is None:
            return None
        return self.with_includes(root, included, (*chain, real))

    def _merge(self, first: Mapping, second: Mapping, where: tuple[str, ...]) -> Mapping:
        """Both maps' members. Maps are merged deeply; any other key given twice is a fault."""
        members = dict(first.members)
        for key, member in second.members.items():
            known = members.get(key)
            if known is None:
                members[key] = member
            elif self._may_merge(known.node, member.node, where):
                assert isinstance(known.node, Mapping) and isinstance(member.node, Mapping)
                members[key] = Member(known.key, self._merge(known.node, member.node, (*where, key)))
            elif where or key != "version" or plain(known.node) != plain(member.node):
                self._given_twice(known, member, (*where, key))
        return first.with_members(members)

    def _may_merge(self, known: Node, node: Node, where: tuple[str, ...]) -> bool:
        both_maps = isinstance(known, Mapping) and isinstance(node, Mapping)
        return both_maps and not (where and where[0] in _NAMED)

    def _given_twice(self, known: Member, member: Member, where: tuple[str, ...]) -> None:
        first, second = known.key, member.key
        # The key that was read later carries the fault, whichever file includes the other.
        if (second.source.order, second.line) < (first.source.order, first.line):
            first, second = second, first
        self._faults.add(
            second,
            f"{'.'.join(where)} is given twice; first in {first.source.name}:{first.line}:{first.column}",
            expected="each name in one file",
        )


def _circle(chain: tuple[str, ...], real: str) -> str:
    names = [os.path.basename(path) for path in (*chain[chain.index(real) :], real)]
    return "the circle: " + " -> ".join(names)
