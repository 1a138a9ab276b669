"""The six methods of a location in memory; runner.testing.memory adds the roles and the driver.

It keeps the driver contract to the letter, so the engine's tests can trust it. Its chunks share one buffer
that the next chunk overwrites, its folders' times move when their content does, its hard links share one
version: what is careless with a real location fails here too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

import msgspec

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import (
    Buffer,
    Capabilities,
    OpenSettings,
    Throttle,
    Written,
    wanted_attributes,
)
from runner.model.entry import Attributes, Entry, Kind, Phase, Problem
from runner.model.task import SymlinkMode
from runner.testing.digests import hasher_of
from runner.testing.memory_links import follow, real_path
from runner.testing.memory_tree import MemoryTree, Node


class MemoryLocation:
    """A location over a shared MemoryTree. The roles are added by `memory_location` (see ROLES)."""

    def __init__(
        self,
        tree: MemoryTree,
        capabilities: Capabilities,
        open_settings: OpenSettings | None = None,
        *,
        create: bool = False,
        chunk_bytes: int = 65536,
    ) -> None:
        if tree.root is None and not create:
            raise LocationUnavailableError("memory: the root is not there")
        self.capabilities = capabilities
        self.tree = tree
        self._open = open_settings or OpenSettings()
        self._create = create
        self._chunk_bytes = chunk_bytes
        self._wanted = self._open.attributes & capabilities.attributes

    # -- listing ---------------------------------------------------------------------------------------------

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        with self.tree.lock:
            if self.tree.root is None:
                if self._create:
                    return
                raise LocationUnavailableError("memory: the root is not there")
            start = self._lookup(prefix)
        if start is None or start.kind is not Kind.DIRECTORY:
            return
        entry = self._entry(prefix, start)
        yield entry
        if descend is not None and not descend(entry):
            return
        if self.capabilities.sorted_scan:
            yield from self._scan_sorted(prefix, start, descend)
        else:
            yield from self._scan_unsorted(prefix, start, descend)

    def stat(self, path: str) -> Entry | None:
        with self.tree.lock:
            node = self._lookup(path)
            if node is None:
                return None
            needs_folder, path = path.endswith("/"), path.removesuffix("/")
            is_followed = node.kind is Kind.SYMLINK and self._open.symlinks is SymlinkMode.FOLLOW
            if is_followed:
                followed = follow(self._raw_lookup, path)
                if isinstance(followed, Problem):
                    raise EntryError(followed.code, path, followed.message)
                node = followed
            if needs_folder and node.kind is not Kind.DIRECTORY:
                return None
            return self._entry(_named(path, node), node, followed=is_followed)

    def _scan_sorted(
        self, folder: str, node: Node, descend: Callable[[Entry], bool] | None
    ) -> Iterator[Entry | Problem]:
        pending = [self._listed(folder, node)]
        while pending:
            listed = next(pending[-1], None)
            if listed is None:
                pending.pop()
                continue
            yield listed[0]
            if self._goes_down(listed, descend):
                pending.append(self._listed(listed[0].path, listed[1]))

    def _scan_unsorted(
        self, folder: str, node: Node, descend: Callable[[Entry], bool] | None
    ) -> Iterator[Entry | Problem]:
        """Level by level, names in the order of their hash: folders before their content, nothing else."""
        pending = [(folder, node)]
        while pending:
            folder, node = pending.pop(0)
            listed = list(self._listed(folder, node))
            listed.sort(
                key=lambda pair: hashlib.sha256(pair[0].path.encode("utf-8", "surrogateescape")).digest()
            )
            for pair in listed:
                yield pair[0]
                if self._goes_down(pair, descend):
                    pending.append((pair[0].path, pair[1]))

    @staticmethod
    def _goes_down(listed: tuple[Entry | Problem, Node], descend: Callable[[Entry], bool] | None) -> bool:
        entry = listed[0]
        return isinstance(entry, Entry) and entry.is_directory and (descend is None or descend(entry))

    def _listed(self, folder: str, node: Node) -> Iterator[tuple[Entry | Problem, Node]]:
        """The children of a directory in canonical order."""
        children: list[tuple[bytes, Entry | Problem, Node]] = []
        with self.tree.lock:
            for name, child in node.children.items():
                path = _named(folder + name, child)
                listed: Entry | Problem = self._entry(path, child)
                if child.kind is Kind.SYMLINK and self._open.symlinks is SymlinkMode.ERROR:
                    message = f"a symbolic link to {child.link_target!r} is here and symlinks: error is set"
                    listed = Problem(path, Phase.PREPARING, EntryCode.LINK_REFUSED, message)
                elif child.kind is Kind.SYMLINK and self._open.symlinks is SymlinkMode.FOLLOW:
                    followed = follow(self._raw_lookup, path)
                    if isinstance(followed, Problem):
                        listed = followed
                    else:
                        child = followed
                        path = _named(path, child)
                        listed = self._entry(path, child, followed=True)
                children.append((path.encode("utf-8", "surrogateescape"), listed, child))
        children.sort(key=lambda one: one[0])
        return iter([(listed, child) for _, listed, child in children])

    # -- reading ---------------------------------------------------------------------------------------------

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        node = self._unchanged_source(entry)
        content = node.content
        buffer = bytearray(self._chunk_bytes)
        for start in range(offset, len(content), self._chunk_bytes):
            size = min(self._chunk_bytes, len(content) - start)
            buffer[:size] = content[start : start + size]
            yield memoryview(buffer)[:size]
            # A consumer that kept the last chunk sees it spoilt, as with any reused buffer.
            buffer[:size] = b"\xdd" * size
        if self._unchanged_source(entry) is not node or node.content is not content:
            raise _changed(entry.path)

    # -- writing ---------------------------------------------------------------------------------------------

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        if entry.kind not in self.capabilities.kinds:
            raise EntryError(
                EntryCode.KIND_NOT_SUPPORTED, entry.path, f"memory: cannot hold a {entry.kind.value}"
            )
        with self.tree.lock:
            self._check_name(entry.path)
            self._expect(entry.path, replaces, entry.kind)
        sent = bytearray()
        digest = None
        if entry.kind is Kind.FILE:
            digest = self._receive(entry, content or (), sent, throttle)
        with self.tree.lock:
            standing = self._expect(entry.path, replaces, entry.kind)
            if standing is not None and standing.kind is entry.kind is Kind.DIRECTORY:
                self._set(standing, entry)
                return Written()
            if entry.is_directory and not self.capabilities.empty_directories:
                return Written()
            node = self.tree.new_node(entry.kind, self.tree.tick(), bytes(sent))
            if entry.path == "" and self._create:
                self.tree.root = node
                self._set(node, entry)
                return Written()
            node.link_target = entry.link_target
            node.attributes = Attributes(mode=0o755 if entry.is_directory else 0o644, uid=0, gid=0)
            parent, name = self._parent(entry.path)
            if standing is not None:
                self._forget(parent, name)
            self.tree.place_child(parent, name, node)
            self._set(node, entry)
            self._touch(parent)
            return Written(bytes=len(sent), digest=digest)

    def remove(self, entry: Entry) -> None:
        with self.tree.lock:
            node = self._lookup(entry.path)
            if node is None or entry.path == "":
                raise EntryError(EntryCode.NOT_FOUND, entry.path, "memory: nothing is there to remove")
            self._check_state(node, entry, entry.path)
            if node.children:
                raise EntryError(EntryCode.STALE, entry.path, "memory: the folder is not empty")
            self._unlink(entry.path)

    def close(self) -> None:
        return

    def _receive(self, entry: Entry, content: Iterable[Buffer], sent: bytearray, throttle: Throttle) -> str:
        hasher = hasher_of(self._open.digest)
        for chunk in content:
            throttle.take(len(chunk))
            hasher.update(bytes(chunk))
            sent += chunk
        if entry.size_bytes is not None and len(sent) != entry.size_bytes:
            message = f"memory: {len(sent)} bytes came, {entry.size_bytes} were announced"
            raise EntryError(EntryCode.CHANGED_DURING_TRANSFER, entry.path, message)
        capacity = self.tree.capacity_bytes
        if capacity is not None and self.tree.used_bytes() + len(sent) > capacity:
            raise EntryError(EntryCode.NO_SPACE, entry.path, "memory: the tree's capacity is used up")
        return f"{self._open.digest.value}:{hasher.hexdigest()}"

    # -- shared by the roles ---------------------------------------------------------------------------------

    def _entry(self, path: str, node: Node, *, followed: bool = False) -> Entry:
        if node.bare:
            return Entry(path, node.kind)
        is_file = node.kind is Kind.FILE
        digests = None
        if is_file and "sha256" in self.capabilities.digests:
            digests = (("sha256", hashlib.sha256(node.content).hexdigest()),)
        resolution = self.capabilities.mtime_resolution_ns
        return Entry(
            path=path,
            kind=node.kind,
            size_bytes=len(node.content) if is_file else None,
            mtime_ns=None if resolution is None else node.mtime_ns - node.mtime_ns % resolution,
            version=self._version(node),
            digests=digests,
            link_target=node.link_target,
            attributes=wanted_attributes(node.attributes, self._wanted),
            link_group=self._group(node),
            followed=followed,
        )

    def _version(self, node: Node) -> str | None:
        # A folder that can be there without a marker tells by its version that it has one.
        is_plain_folder = node.kind is Kind.DIRECTORY and not self.capabilities.implicit_directories
        return None if is_plain_folder else node.version

    def _group(self, node: Node) -> str | None:
        linked = self.capabilities.hard_links and node.kind is not Kind.DIRECTORY and node.names > 1
        return f"inode-{node.number}" if linked else None

    def _child(self, parent: Node, name: str) -> str | None:
        """The name as it is stored, None when it is free."""
        if name in parent.children:
            return name
        if not self.capabilities.case_sensitive:
            folded = name.casefold()
            return next((stored for stored in parent.children if stored.casefold() == folded), None)
        return None

    def _lookup(self, path: str) -> Node | None:
        """The node at a path; through symlinks only with `symlinks: follow`, and then not through the
        last."""
        if self._open.symlinks is SymlinkMode.FOLLOW and "/" in path.removesuffix("/"):
            folder, _, name = path.removesuffix("/").rpartition("/")
            real = real_path(self._raw_lookup, folder)
            if isinstance(real, EntryCode):
                return None
            path = f"{real}/{name}" if real else name
        return self._raw_lookup(path)

    def _raw_lookup(self, path: str) -> Node | None:
        """The node at a path, never through a symlink."""
        node = self.tree.root
        for name in path.removesuffix("/").split("/") if path else []:
            stored = self._child(node, name) if node is not None else None
            if node is None or stored is None:
                return None
            node = node.children[stored]
        return node

    def _check_name(self, path: str) -> None:
        for name in path.removesuffix("/").split("/") if path else []:
            if name in ("", ".", "..") or "\0" in name:
                raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"memory: {name!r} is not a name")
            refusal = self.capabilities.names.refusal(name)
            if refusal is not None:
                raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"memory: {refusal}")

    def _parent(self, path: str) -> tuple[Node, str]:
        """The directory that holds `path` and the stored name; missing folders are made with mode 0700."""
        if self.tree.root is None:
            if not self._create:
                raise EntryError(EntryCode.UNAVAILABLE, path, "memory: the root is gone")
            self.tree.root = self.tree.new_node(Kind.DIRECTORY, self.tree.tick())
        node = self.tree.root
        *folders, name = path.removesuffix("/").split("/")
        for folder in folders:
            stored = self._child(node, folder)
            if stored is None:
                made = self.tree.new_node(Kind.DIRECTORY, self.tree.tick())
                made.attributes = Attributes(mode=0o700, uid=0, gid=0)
                made.bare = self.capabilities.implicit_directories
                self.tree.place_child(node, folder, made)
                self._touch(node)
                stored = folder
            node = node.children[stored]
            if node.kind is not Kind.DIRECTORY:
                raise EntryError(EntryCode.KIND_CONFLICT, path, f"memory: {folder!r} is not a folder")
        return node, self._child(node, name) or name

    def _expect(self, path: str, replaces: Entry | None, kind: Kind) -> Node | None:
        """The node at `path` when it is as `replaces` says (a folder for a folder always is); else STALE."""
        node = self._lookup(path)
        if node is not None and node.kind is kind is Kind.DIRECTORY:
            return node
        if replaces is None:
            if node is not None:
                raise EntryError(EntryCode.STALE, path, "memory: something stands there already")
            return None
        if node is None:
            raise EntryError(EntryCode.STALE, path, "memory: what was to be replaced is gone")
        self._check_state(node, replaces, path)
        if node.children:
            raise EntryError(EntryCode.STALE, path, "memory: the folder to be replaced is not empty")
        return node

    def _check_state(self, node: Node, expected: Entry, path: str) -> None:
        """STALE unless the node is as `expected` says; facts that are None are not compared. A folder's times
        move with its content, so of a folder only the kind counts."""
        present = self._entry(expected.path, node)
        facts = ["kind"]
        if not expected.is_directory:
            facts += ["size_bytes", "mtime_ns", "link_target"]
            # Work on another name of a hard-link group moves the version of all.
            facts += ["version"] if expected.link_group is None else []
        for fact in facts:
            wanted, found = getattr(expected, fact), getattr(present, fact)
            if wanted is not None and wanted != found:
                raise EntryError(EntryCode.STALE, path, f"memory: {fact} is {found}, expected was {wanted}")

    def _unchanged_source(self, entry: Entry) -> Node:
        with self.tree.lock:
            node = self._lookup(entry.path)
            if node is not None and node.kind is Kind.SYMLINK and entry.followed:
                followed = follow(self._raw_lookup, entry.path)
                node = None if isinstance(followed, Problem) else followed
            if node is None:
                raise EntryError(EntryCode.NOT_FOUND, entry.path, "memory: the file is gone")
            try:
                self._check_state(node, entry, entry.path)
            except EntryError as error:
                raise _changed(entry.path) from error
            return node

    def _set(self, node: Node, entry: Entry) -> None:
        """Set what `entry` knows and the capabilities carry. What they do not carry is no refusal: the plan
        has said so."""
        wanted = entry.attributes or Attributes()
        given = {
            name: value
            for name in Attributes.__struct_fields__
            if (value := getattr(wanted, name)) is not None and name in self.capabilities.attributes
        }
        node.attributes = msgspec.structs.replace(node.attributes, **given)
        resolution = self.capabilities.mtime_resolution_ns
        if entry.mtime_ns is not None and resolution is not None:
            node.mtime_ns = entry.mtime_ns - entry.mtime_ns % resolution
        node.changes += 1
        node.bare = False

    def _touch(self, folder: Node) -> None:
        """Something in a folder has changed, and with it the folder's time."""
        if self.capabilities.contents_touch_folder:
            folder.mtime_ns = self.tree.tick()

    def _forget(self, parent: Node, name: str) -> None:
        parent.children.pop(name).names -= 1
        self._touch(parent)

    def _unlink(self, path: str) -> None:
        """Take the name away; a store without empty folders loses the folders that held nothing else."""
        while True:
            parent, name = self._parent(path)
            self._forget(parent, name)
            path = path.removesuffix("/").rpartition("/")[0]
            stays = self.capabilities.empty_directories and not parent.bare
            if stays or parent.children or path == "":
                return


def _named(path: str, node: Node) -> str:
    return f"{path}/" if path and node.kind is Kind.DIRECTORY else path


def _changed(path: str) -> EntryError:
    return EntryError(EntryCode.CHANGED_DURING_TRANSFER, path, "memory: the file changed since it was listed")
