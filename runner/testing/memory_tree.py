"""A tree of entries in memory: what several MemoryLocation objects share, and what a test looks at."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from runner.model.entry import Attributes, Kind, path_bytes

MTIME_BASE_NS = 1_700_000_000_000_000_000
"""The modification time of whatever a test does not date itself."""

_OWN_TIME_BASE_NS = 1_800_000_000_000_000_000


@dataclass(slots=True)
class Node:
    """One inode: mutable, reached by every name of its hard-link group. Changed under the tree's lock.

    `bare`: a folder that is there through its content alone (an object store's prefix).
    """

    kind: Kind
    number: int
    mtime_ns: int
    content: bytes = b""
    attributes: Attributes = field(default_factory=Attributes)
    link_target: str | None = None
    children: dict[str, Node] = field(default_factory=dict)
    names: int = 0
    changes: int = 0
    bare: bool = False

    @property
    def version(self) -> str:
        """Equal means: neither content nor metadata changed."""
        return f"{self.number}.{self.changes}"


class Seen(msgspec.Struct, frozen=True):
    """One path of a snapshot. `group` is the first path of its hard-link group, None when it has one name."""

    kind: Kind
    content: bytes
    mtime_ns: int
    attributes: Attributes
    link_target: str | None
    group: str | None


class MemoryTree:
    """Names and nodes. Share one tree between locations to let them see each other's writes.

    `identity` is what locations report as the endpoint's identity: change it to swap the disk.
    `capacity_bytes` bounds the content a location may put (None = no bound). `exists=False` is a root that is
    not there yet. Methods take paths as in Entry.path and are case-sensitive. Threads may share a tree.
    """

    def __init__(
        self, *, identity: str = "memory-1", exists: bool = True, capacity_bytes: int | None = None
    ) -> None:
        self.lock = threading.RLock()
        self.identity = identity
        self.capacity_bytes = capacity_bytes
        self._numbers = itertools.count(1)
        self._ticks = itertools.count(1)
        self.root: Node | None = self.new_node(Kind.DIRECTORY, MTIME_BASE_NS) if exists else None

    def new_node(self, kind: Kind, mtime_ns: int, content: bytes = b"") -> Node:
        """A node that no name leads to yet."""
        return Node(kind=kind, number=next(self._numbers), mtime_ns=mtime_ns, content=content)

    def tick(self) -> int:
        """The tree's own time in nanoseconds: each call is a second and a nanosecond after the one before."""
        return _OWN_TIME_BASE_NS + next(self._ticks) * 1_000_000_001

    def node(self, path: str) -> Node:
        """The node at `path` ("" is the root). Raises KeyError when nothing is there."""
        with self.lock:
            if self.root is None:
                raise KeyError(path)
            node = self.root
            for name in _names(path):
                node = node.children[name]
            return node

    def write(
        self, path: str, content: bytes, *, mtime_ns: int | None = None, attributes: Attributes | None = None
    ) -> None:
        """Write a file in place, as a program beside the runner does: the inode stays, its version moves.

        Without `mtime_ns` a new file is dated MTIME_BASE_NS, a changed one by the tree's own time.
        """
        with self.lock:
            try:
                node = self.node(path)
            except KeyError:
                node = self.new_node(Kind.FILE, MTIME_BASE_NS if mtime_ns is None else mtime_ns)
                self.place(path, node)
            else:
                node.mtime_ns = self.tick() if mtime_ns is None else mtime_ns
            node.content = content
            node.attributes = attributes or node.attributes
            node.changes += 1

    def place(self, path: str, node: Node) -> None:
        """Give `node` (another) name; parents are made. Raises FileExistsError when the name is taken."""
        with self.lock:
            if self.root is None:
                self.root = self.new_node(Kind.DIRECTORY, MTIME_BASE_NS)
            parent = self.root
            *folders, name = _names(path)
            for folder in folders:
                if folder not in parent.children:
                    self.place_child(parent, folder, self.new_node(Kind.DIRECTORY, MTIME_BASE_NS))
                parent = parent.children[folder]
            if name in parent.children:
                raise FileExistsError(path)
            self.place_child(parent, name, node)

    @staticmethod
    def place_child(parent: Node, name: str, node: Node) -> None:
        """Enter a name into a directory's node; the name must be free."""
        parent.children[name] = node
        node.names += 1

    def delete(self, path: str) -> None:
        """Take a name away, with all below it. Raises KeyError when nothing is there."""
        with self.lock:
            *folders, name = _names(path)
            node = self.node("/".join(folders)).children.pop(name)
            node.names -= 1
            for _, lower in _below("", node):
                lower.names -= 1

    def paths(self) -> list[str]:
        """All paths below the root in canonical order, directories with a trailing slash."""
        return list(self.snapshot())

    def snapshot(self) -> dict[str, Seen]:
        """What stands where now, in canonical order, the root itself left out: compare two trees with ==."""
        with self.lock:
            leaders: dict[int, str] = {}
            seen = {}
            for path, node in sorted(self._walk(), key=lambda pair: path_bytes(pair[0])):
                leader = leaders.setdefault(node.number, path)
                seen[path] = Seen(
                    kind=node.kind,
                    content=node.content,
                    mtime_ns=node.mtime_ns,
                    attributes=node.attributes,
                    link_target=node.link_target,
                    group=leader if node.names > 1 and node.kind is not Kind.DIRECTORY else None,
                )
            return seen

    def used_bytes(self) -> int:
        """Content of all files, each hard-link group once."""
        with self.lock:
            return sum({node.number: len(node.content) for _, node in self._walk()}.values())

    def _walk(self) -> Iterator[tuple[str, Node]]:
        if self.root is not None:
            yield from _below("", self.root)


def _names(path: str) -> list[str]:
    return path.removesuffix("/").split("/") if path else []


def _below(path: str, node: Node) -> Iterator[tuple[str, Node]]:
    """Everything below a directory, in no promised order. Not recursive: trees may be deep."""
    pending = [(path, node)]
    while pending:
        folder, parent = pending.pop()
        for name, child in parent.children.items():
            child_path = f"{folder}{name}/" if child.kind is Kind.DIRECTORY else folder + name
            yield child_path, child
            if child.children:
                pending.append((child_path, child))
