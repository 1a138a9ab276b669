"""A location in memory: as rich as a POSIX tree or as poor as an object store, whatever its capabilities say.

trees = {"left": tree({"a/b.txt": b"x"}).memory(), "right": MemoryTree()}
registry = Registry((memory_driver(trees, {"right": OBJECT_STORE}),))
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.names import NameRules
from runner.locations.protocol import Capabilities, Driver, Identity, OpenSettings, Space, Throttle, Written
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import DigestAlgorithm, LocationSettings
from runner.testing.compose import compose
from runner.testing.digests import hasher_of
from runner.testing.memory_location import MemoryLocation
from runner.testing.memory_tree import MemoryTree

__all__ = [
    "CASE_INSENSITIVE",
    "MARKED",
    "OBJECT_STORE",
    "ONE_SECOND",
    "RICH",
    "ROLES",
    "UNSORTED",
    "MemoryLocation",
    "MemoryTree",
    "memory_driver",
    "memory_location",
]

ALL_ATTRIBUTES = frozenset(Attributes.__struct_fields__)

RICH = Capabilities(
    kinds=frozenset(Kind),
    attributes=ALL_ATTRIBUTES - {"tags", "content_headers"} | {"mtime"},
    hard_links=True,
    names=NameRules(max_name_bytes=255),
)
"""A POSIX file system."""

ONE_SECOND = msgspec.structs.replace(RICH, mtime_resolution_ns=1_000_000_000, hard_links=False)
"""Times in whole seconds, no hard links."""

CASE_INSENSITIVE = msgspec.structs.replace(RICH, case_sensitive=False, hard_links=False)

MARKED = msgspec.structs.replace(
    RICH,
    kinds=frozenset({Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK}),
    attributes=frozenset({"mtime", "mode", "uid", "gid"}),
    implicit_directories=True,
    contents_touch_folder=False,
    hard_links=False,
)
"""An object store that keeps POSIX metadata, with markers for folders that have some."""

UNSORTED = msgspec.structs.replace(RICH, sorted_scan=False)

OBJECT_STORE = Capabilities(
    kinds=frozenset({Kind.FILE, Kind.DIRECTORY}),
    attributes=frozenset({"tags", "content_headers"}),
    mtime_resolution_ns=None,
    empty_directories=False,
    digests=("sha256",),
)
"""No times of ours, no links, no empty folders; knows its content's SHA-256."""

ROLES = frozenset({"set_attributes", "link", "rename", "digest", "identity"})


class _SetsAttributes(MemoryLocation):
    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        with self.tree.lock:
            node = self._lookup(entry.path)
            if node is None:
                raise EntryError(EntryCode.NOT_FOUND, entry.path, "memory: nothing is there")
            self._check_state(node, expected or Entry(entry.path, entry.kind), entry.path)
            self._set(node, entry)
            return Written()


class _Linking(MemoryLocation):
    def link(self, path: str, target: str, replaces: Entry | None) -> None:
        with self.tree.lock:
            self._check_name(path)
            node = self._lookup(target)
            if node is None or node.kind is Kind.DIRECTORY:
                raise EntryError(EntryCode.NOT_FOUND, target, "memory: no file is there to link to")
            standing = self._expect(path, replaces, Kind.FILE)
            if standing is node:
                return
            parent, name = self._parent(path)
            if standing is not None:
                self._forget(parent, name)
            self.tree.place_child(parent, name, node)
            self._touch(parent)


class _Renames(MemoryLocation):
    def rename(self, entry: Entry, path: str) -> None:
        with self.tree.lock:
            self._check_name(path)
            node = self._lookup(entry.path)
            if node is None:
                raise EntryError(EntryCode.NOT_FOUND, entry.path, "memory: nothing is there to move")
            self._check_state(node, entry, entry.path)
            if self._lookup(path) is not None:
                raise EntryError(EntryCode.STALE, path, "memory: something stands there already")
            if path.startswith(entry.path) and entry.is_directory:
                raise EntryError(EntryCode.KIND_CONFLICT, path, "memory: a folder cannot move into itself")
            parent, name = self._parent(path)
            self.tree.place_child(parent, name, node)
            self._touch(parent)
            self._unlink(entry.path)


class _Digests(MemoryLocation):
    def digest(self, entry: Entry, algorithm: DigestAlgorithm, throttle: Throttle) -> str:
        hasher = hasher_of(algorithm)
        for chunk in self.read(entry):
            throttle.take(len(chunk))
            hasher.update(bytes(chunk))
        return f"{algorithm.value}:{hasher.hexdigest()}"


class _Identifies(MemoryLocation):
    def identity(self) -> Identity:
        return Identity((("tree", self.tree.identity),))

    def space(self) -> Space:
        if self.tree.capacity_bytes is None:
            return Space(None, None)
        return Space(max(0, self.tree.capacity_bytes - self.tree.used_bytes()), None)


_ROLE_CLASSES: dict[str, type] = {
    "set_attributes": _SetsAttributes,
    "link": _Linking,
    "rename": _Renames,
    "digest": _Digests,
    "identity": _Identifies,
}


def memory_location(
    tree: MemoryTree,
    capabilities: Capabilities = RICH,
    open_settings: OpenSettings | None = None,
    *,
    create: bool = False,
    roles: frozenset[str] = ROLES,
    chunk_bytes: int = 65536,
) -> MemoryLocation:
    """A location over `tree` that offers exactly `roles` (linking only if the capabilities have hard links).

    Raises LocationUnavailableError when the root is not there and `create` is False.
    """
    offered = [name for name in sorted(roles) if name != "link" or capabilities.hard_links]
    kind = compose(MemoryLocation, tuple(_ROLE_CLASSES[name] for name in offered))
    return kind(tree, capabilities, open_settings, create=create, chunk_bytes=chunk_bytes)


def memory_driver(
    trees: Mapping[str, MemoryTree],
    capabilities: Capabilities | Mapping[str, Capabilities] = RICH,
    *,
    roles: frozenset[str] = ROLES,
) -> Driver:
    """A driver of type "memory" whose locations name a tree: `{type: memory, tree: NAME}`.

    `capabilities` hold for all trees, or per tree name (RICH where a tree is not named). Give the driver to
    `Registry((memory_driver(trees),))`.
    """

    def capabilities_of(settings: LocationSettings) -> Capabilities:
        if isinstance(capabilities, Capabilities):
            return capabilities
        return capabilities.get(settings.options["tree"], RICH)

    def open_location(
        settings: LocationSettings, open_settings: OpenSettings, *, create: bool
    ) -> MemoryLocation:
        name = settings.options["tree"]
        if name not in trees:
            raise LocationUnavailableError(f"memory: there is no tree {name!r}")
        return memory_location(
            trees[name], capabilities_of(settings), open_settings, create=create, roles=roles
        )

    return Driver(
        type="memory",
        title="A tree in memory, for tests",
        options_schema=lambda: {
            "type": "object",
            "properties": {"tree": {"type": "string", "description": "Name of the tree.", "examples": ["a"]}},
            "required": ["tree"],
            "additionalProperties": False,
        },
        open=open_location,
        describe=lambda settings: f"memory:{settings.options['tree']}",
        capabilities=capabilities_of,
        overlaps=lambda one, other: trees.get(one.options["tree"]) is trees.get(other.options["tree"]),
        wide_root=lambda settings: None,
        in_process_only=True,
    )
