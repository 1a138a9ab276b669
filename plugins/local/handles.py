"""Directory handles below one root: how every path of the driver is reached, and why none leads out.

A path is walked name by name, each opened relative to the handle before it with O_NOFOLLOW: a symbolic link,
whoever puts it there and whenever, makes the walk fail instead of leading it elsewhere. Paths may be longer
than PATH_MAX.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
from collections import OrderedDict
from typing import NamedTuple

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.model.wire import terminal_safe

from .faults import shown
from .syscalls import release

# O_PATH needs no right to list: folders that may only be entered (mode 0311) work.
DIRECTORY_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
HANDLES_AT_MOST = 200
_NO_NAMES = frozenset({"", ".", ".."})
_HOP_CHARACTERS = 1000  # at most 4,000 bytes: less than PATH_MAX


class _Handle(NamedTuple):
    fd: int
    device: int
    inode: int


class Handles:
    """A bounded cache of open directories, by path ("" is the root, others end in "/").

    A cached handle is used only while its path still leads to the same directory (one stat from the root):
    what another process moves away is not written into. Methods raise OSError as the kernel answers, and
    EntryError for names that cannot be. A returned descriptor belongs to the cache and stays open through one
    further call. Not thread-safe.
    """

    def __init__(
        self, root: str, *, create: bool, sync_made: bool = False, capacity: int | None = None
    ) -> None:
        """Opens the root, following symbolic links in the operator's own path this once.

        Raises LocationUnavailableError; with `create`, a root that is absent is opened or made when needed.
        `sync_made`: each folder that is made is on the disk before its handle comes back.
        """
        if capacity is None:
            soft_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            capacity = HANDLES_AT_MOST if soft_limit < 0 else max(16, min(HANDLES_AT_MOST, soft_limit // 8))
        self.root = root
        self._create = create
        self._sync_made = sync_made
        self._capacity = capacity
        self._kept_per_walk = capacity // 4
        self._cache: OrderedDict[str, _Handle] = OrderedDict()
        self._root: _Handle | None = None
        self._closed = False
        self._open_root()

    @property
    def root_fd(self) -> int | None:
        """The root's handle; None while a root that may be created is absent."""
        if self._root is None:
            self._open_root()
        return None if self._root is None else self._root.fd

    def make_root(self) -> int:
        """The root's handle; a missing root is made (mode 0700, also its missing parents)."""
        if self.root_fd is None:
            missing = [self.root]
            while not os.path.lexists(parent := os.path.dirname(missing[-1])):
                missing.append(parent)
            for path in reversed(missing):
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path, 0o700)
            self._open_root()
        if self._root is None:
            raise LocationUnavailableError(f"cannot make the folder {shown(self.root)}")
        return self._root.fd

    def directory(self, path: str) -> int:
        """The handle of an existing directory."""
        if path == "":
            return self._require_root()
        handle = self._cache.get(path)
        if handle is not None:
            if self._still_there(path, handle):
                self._cache.move_to_end(path)
                return handle.fd
            self.forget(path)
        return self._walk(path, make=False)

    def make(self, path: str) -> int:
        """As `directory`, but what is missing on the way is made (mode 0700)."""
        self.make_root()
        try:
            return self.directory(path)
        except FileNotFoundError:
            return self._walk(path, make=True)

    def parent(self, path: str) -> tuple[int, str]:
        """(handle of the directory that holds `path`, last name of `path`)."""
        directory, name = split(path)
        return self.directory(directory), name

    def listed_parent(self, path: str) -> tuple[int, str]:
        """As `parent`, but a cached handle is not looked at again: for what more than its path identifies."""
        directory, name = split(path)
        handle = self._cache.get(directory)
        return (self.directory(directory) if handle is None else handle.fd), name

    def cached(self, path: str) -> int | None:
        """The handle of a directory that is open already, not looked at again; None when it is not."""
        if path == "":
            return self.root_fd
        handle = self._cache.get(path)
        return None if handle is None else handle.fd

    def make_parent(self, path: str) -> tuple[int, str]:
        """As `parent`, but missing directories are made (mode 0700)."""
        directory, name = split(path)
        return self.make(directory), name

    def forget(self, path: str) -> None:
        """Close the handles of this directory and of all below it: it is gone, or somewhere else now."""
        for cached in [cached for cached in self._cache if cached.startswith(path)]:
            release(self._cache.pop(cached).fd)

    def close(self) -> None:
        self._closed = True
        for handle in self._cache.values():
            release(handle.fd)
        self._cache.clear()
        if self._root is not None:
            release(self._root.fd)
            self._root = None

    def _open_root(self) -> None:
        if self._closed:
            raise LocationUnavailableError(f"the location {shown(self.root)} is closed")
        try:
            fd = os.open(self.root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            facts = os.fstat(fd)
        except OSError as error:
            if error.errno == errno.ENOENT and not os.path.islink(self.root):
                if self._create:
                    return
                raise LocationUnavailableError(
                    f"the folder {shown(self.root)} does not exist",
                    remedy="Create it, mount what should be there, or correct the location's path.",
                ) from error
            if error.errno == errno.ENOTDIR:
                raise LocationUnavailableError(
                    f"{shown(self.root)} is not a folder", remedy="Name a folder as the location's path."
                ) from error
            raise LocationUnavailableError(
                f"cannot open the folder {shown(self.root)}: {error.strerror}",
                remedy="Check that it is mounted and that this user may enter it.",
            ) from error
        self._root = _Handle(fd, facts.st_dev, facts.st_ino)

    def _require_root(self) -> int:
        fd = self.root_fd
        if fd is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.root)
        return fd

    def _still_there(self, path: str, handle: _Handle) -> bool:
        """True when `path`, walked by the kernel from the root, ends at the handle's directory.

        The kernel may follow links here; only an answer with the handle's own device and inode counts, and
        that directory was reached without links. Paths too long for one call go in hops over cached handles.
        """
        start_fd, offset = self._require_root(), 0
        try:
            while len(path) - offset > _HOP_CHARACTERS:
                cut = path.rfind("/", offset, offset + _HOP_CHARACTERS) + 1
                hop = self._cache.get(path[:cut])
                if hop is None:
                    return False
                facts = os.stat(path[offset : cut - 1], dir_fd=start_fd, follow_symlinks=False)
                if facts.st_ino != hop.inode or facts.st_dev != hop.device:
                    return False
                self._cache.move_to_end(path[:cut])
                start_fd, offset = hop.fd, cut
            facts = os.stat(path[offset:-1], dir_fd=start_fd, follow_symlinks=False)
        except OSError:
            return False
        return facts.st_ino == handle.inode and facts.st_dev == handle.device

    def _walk(self, path: str, *, make: bool) -> int:
        """Open `path` from its nearest ancestor that is cached and still in its place."""
        names = path[:-1].split("/")
        for name in names:
            check_name(name, path)
        depth, fd, position = self._nearest_ancestor(path, names)
        hops = _hop_ends(path)
        if len(hops) > self._kept_per_walk:
            hops = frozenset()
        owned = False  # True while fd is in no cache and ours to close
        try:
            for index in range(depth, len(names)):
                child = self._open_child(fd, names[index], make)
                if owned:
                    release(fd)
                fd, owned = child, True
                position += len(names[index]) + 1
                if len(names) - index <= self._kept_per_walk or position in hops:
                    self._keep(path[:position], fd)
                    owned = False
        except BaseException:
            if owned:
                release(fd)
            raise
        return fd

    def _nearest_ancestor(self, path: str, names: list[str]) -> tuple[int, int, int]:
        """(number of names it covers, its handle, its length) of the nearest usable ancestor of `path`."""
        position = len(path)
        for depth in range(len(names) - 1, 0, -1):
            position -= len(names[depth]) + 1
            handle = self._cache.get(path[:position])
            if handle is not None:
                if self._still_there(path[:position], handle):
                    self._cache.move_to_end(path[:position])
                    return depth, handle.fd, position
                self.forget(path[:position])
        return 0, self._require_root(), 0

    def _open_child(self, fd: int, name: str, make: bool) -> int:
        try:
            return os.open(name, DIRECTORY_FLAGS, dir_fd=fd)
        except FileNotFoundError:
            if not make:
                raise
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=fd)
            if self._sync_made:
                sync_directory(fd)
        return os.open(name, DIRECTORY_FLAGS, dir_fd=fd)

    def _keep(self, path: str, fd: int) -> None:
        facts = os.fstat(fd)
        stale = self._cache.pop(path, None)
        if stale is not None:
            release(stale.fd)
        self._cache[path] = _Handle(fd, facts.st_dev, facts.st_ino)
        if len(self._cache) > self._capacity:
            _, oldest = self._cache.popitem(last=False)
            release(oldest.fd)


def sync_directory(fd: int) -> None:
    """fsync a directory by its handle. Network mounts that answer EINVAL have nothing to flush."""
    readable = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=fd)
    try:
        os.fsync(readable)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        release(readable)


def _hop_ends(path: str) -> frozenset[int]:
    """Where a long path is cut into hops; equal for all paths that share what lies before."""
    ends: list[int] = []
    offset = 0
    while len(path) - offset > _HOP_CHARACTERS:
        offset = path.rfind("/", offset, offset + _HOP_CHARACTERS) + 1
        ends.append(offset)
    return frozenset(ends)


def split(path: str) -> tuple[str, str]:
    """'a/b/c' and 'a/b/c/' -> ('a/b/', 'c'). Raises EntryError for a last name that cannot be one."""
    stripped = path[:-1] if path.endswith("/") else path
    cut = stripped.rfind("/") + 1
    name = stripped[cut:]
    if name in _NO_NAMES or "\0" in name:
        check_name(name, path)
    return stripped[:cut], name


def check_name(name: str, path: str) -> None:
    """Refuse what is no name: empty, `.`, `..`, with a slash or a zero byte."""
    if name in _NO_NAMES or "\0" in name or "/" in name:
        raise EntryError(
            EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)}: {terminal_safe(name)!r} cannot be a name here"
        )
