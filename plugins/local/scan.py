"""The walk: every entry below a folder, in canonical order, with problems in their places.

Memory: the names of one directory per level. Open descriptors: at most `_OPEN_LEVELS`, however deep the tree;
a level whose descriptor was given up is reopened through "..", and checked to be the same directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.observer import NOBODY, Observer, spent
from runner.model.activity import Activity
from runner.model.entry import Entry, Phase, Problem, path_bytes
from runner.model.task import SymlinkMode

from .facts import FactReader
from .faults import classify, shown
from .follow import Follower
from .handles import DIRECTORY_FLAGS, Handles
from .names import RESERVED_PREFIX, is_reserved, temporary_execution
from .native import native
from .syscalls import release

if TYPE_CHECKING:
    from ._native import Folder
    from .beside import Beside

_LIST_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPEN_LEVELS = 32
_REMEDY = (
    "Nothing below it is deleted in this run. Give the runner's user the right to list it, or exclude it."
)

Descend = Callable[[Entry], bool] | None


class _Level:
    """One directory on the way from the scan's top to where it is.

    `pending` is what still has to come: names (a directory's with its slash), or entries that need no more looks.
    """

    __slots__ = ("device", "fd", "folder", "inode", "path", "pending", "real", "targets")

    def __init__(self, path: str, real: str, fd: int) -> None:
        self.path = path
        self.real = real
        self.fd: int | None = fd
        facts = os.fstat(fd)
        self.device = facts.st_dev
        self.inode = facts.st_ino
        self.folder: Folder | None = None
        self.pending: Iterator[str | Entry] = iter(())
        self.targets: dict[str, str | EntryError] = {}

    def close(self) -> None:
        if self.fd is not None:
            release(self.fd)
            self.take_handle(None)

    def take_handle(self, fd: int | None) -> None:
        """Go on with this descriptor of the same directory, or with none."""
        self.fd = fd
        if self.folder is not None:
            self.folder.fd = -1 if fd is None else fd


class Scanner:
    """Scans of one location. `leftovers` gathers (path, execution id) of temporary files that were seen."""

    def __init__(
        self,
        handles: Handles,
        reader: FactReader,
        symlinks: SymlinkMode,
        observer: Observer = NOBODY,
    ) -> None:
        self._observer = observer
        self._handles = handles
        self._reader = reader
        self._symlinks = symlinks
        self._follower = Follower(handles) if symlinks is SymlinkMode.FOLLOW else None
        # Only an owner or root may ask not to touch access times.
        self._list_flags = _LIST_FLAGS | (os.O_NOATIME if os.geteuid() == 0 else 0)
        self.leftovers: dict[str, str] = {}

    def scan(self, prefix: str, descend: Descend, beside: Beside | None = None) -> Iterator[Entry | Problem]:
        """Everything at and below `prefix`; nothing when it is not there. See `Location.scan`.

        `beside`: another tree is listed at the same time, and what is equal there is left out.
        """
        if self._handles.root_fd is None:
            return
        top = self._top(prefix)
        if top is None:
            return
        entry, real = top
        yield entry
        if descend is not None and not descend(entry):
            return
        try:
            level = self._opened(prefix, real, self._handles.directory(real), ".", beside)
        except OSError as error:
            yield _not_listed(prefix, error)
            return
        if isinstance(level, Problem):
            yield level
            return
        yield from self._walk(level, descend, beside)

    def _top(self, prefix: str) -> tuple[Entry, str] | None:
        """(entry, real path) of the scan's own folder; None when no folder is there."""
        real = prefix
        followed = False
        try:
            if self._follower is not None and prefix:
                real_path, followed = self._follower.real(prefix)
                real = real_path + "/" if real_path else ""
            fd = self._handles.directory(real)
            return self._reader.entry(prefix, os.fstat(fd), fd, ".", followed=followed), real
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise classify(error, prefix, "list") from error

    def _walk(self, top: _Level, descend: Descend, beside: Beside | None) -> Iterator[Entry | Problem]:
        stack = [top]
        open_from = 0  # levels below this index have given up their descriptors
        try:
            while stack:
                child = None
                for found in self._children(stack, descend, beside):
                    if isinstance(found, _Level):
                        child = found
                        break
                    yield found
                if child is not None:
                    stack.append(child)
                    if len(stack) - open_from > _OPEN_LEVELS:
                        stack[open_from].close()
                        open_from += 1
                    continue
                done = stack.pop()
                try:
                    if stack and stack[-1].fd is None:
                        open_from = len(stack) - 1
                        self._reopen(stack[-1], done)
                finally:
                    done.close()
        finally:
            for level in stack:
                level.close()

    def _children(
        self, stack: list[_Level], descend: Descend, beside: Beside | None
    ) -> Iterator[Entry | Problem | _Level]:
        """What the last level still has to offer, up to and including the first child to be walked."""
        level = stack[-1]
        fd = level.fd
        if fd is None:
            for lost in level.pending:
                yield _lost(lost.path if isinstance(lost, Entry) else level.path + lost)
            return
        path, entry_of, lstat, at = level.path, self._reader.entry, os.stat, self._observer.at
        for key in level.pending:
            if not isinstance(key, str):
                yield key
                continue
            is_directory = key[-1] == "/"
            name = key[:-1] if is_directory else key
            if level.targets and name in level.targets:
                yield from self._followed(stack, key, name, descend)
                continue
            before = at(Activity.LISTING)
            try:
                facts = lstat(name, dir_fd=fd, follow_symlinks=False)
                mode = facts.st_mode
                if stat.S_ISDIR(mode) is not is_directory:
                    yield _moved(path + key)
                    continue
                if self._symlinks is SymlinkMode.ERROR and stat.S_ISLNK(mode):
                    yield _link_refused(path + key)
                    continue
                entry = entry_of(path + key, facts, fd, name)
            except FileNotFoundError:
                continue  # it vanished since the folder was listed
            except OSError as error:
                yield _not_listed(path + key, error)
                continue
            finally:
                at(before)
            yield entry
            if is_directory and (descend is None or descend(entry)):
                opened = self._opened(path + key, level.real + key, fd, name, beside)
                yield opened
                if isinstance(opened, _Level):
                    return

    def _followed(
        self, stack: list[_Level], key: str, name: str, descend: Descend
    ) -> Iterator[Entry | Problem | _Level]:
        """What a symlink of the last level points to."""
        level = stack[-1]
        path = level.path + key
        target = level.targets[name]
        if isinstance(target, EntryError):
            yield Problem(path, Phase.PREPARING, target.entry_code, target.message)
            return
        try:
            real = target + "/" if target and key[-1] == "/" else target
            directory_fd, last = self._handles.parent(real) if real else (self._handles.directory(""), ".")
            facts = os.stat(last, dir_fd=directory_fd, follow_symlinks=False)
            if stat.S_ISDIR(facts.st_mode) is not (key[-1] == "/"):
                yield _moved(path)
                return
            if any((facts.st_dev, facts.st_ino) == (above.device, above.inode) for above in stack):
                message = f"{shown(path)}: the link leads back to one of its own parent folders"
                yield Problem(path, Phase.PREPARING, EntryCode.LINK_LOOP, message)
                return
            entry = self._reader.entry(path, facts, directory_fd, last, followed=True)
        except OSError as error:
            yield _not_listed(path, error)
            return
        yield entry
        if key[-1] == "/" and (descend is None or descend(entry)):
            yield self._opened(path, real, directory_fd, last, None)

    def _opened(
        self, path: str, real: str, directory_fd: int, name: str, beside: Beside | None
    ) -> _Level | Problem:
        """The level of a directory, its names read and sorted; a Problem when any of that fails."""
        with spent(self._observer, Activity.LISTING):
            return self._opened_level(path, real, directory_fd, name, beside)

    def _opened_level(
        self, path: str, real: str, directory_fd: int, name: str, beside: Beside | None
    ) -> _Level | Problem:
        level = None
        try:
            if beside is not None:
                taken = beside.taken(path)
                if isinstance(taken, Problem):
                    return taken
                if taken is not None:
                    level = _Level(path, real, taken[0])
                    level.folder = taken[1]
                    level.pending = self._entries(path, taken[1])
                    return level
            level = _Level(path, real, self._open_to_list(name, directory_fd))
            level.pending = self._names(level)
            if beside is not None and level.folder is not None:
                beside.settle(path, level.folder)
        except OSError as error:
            if level is not None:
                level.close()
            return _not_listed(path, error)
        return level

    def open_twin(self, path: str) -> tuple[int, Folder] | None:
        """(descriptor, names) of a folder that the other of two walks is at; None when it cannot be opened.

        Whoever takes it closes the descriptor.
        """
        assert native is not None
        fd = None
        try:
            directory_fd, name = self._handles.parent(path) if path else (self._handles.directory(""), ".")
            fd = self._open_to_list(name, directory_fd)
            return fd, native.Folder(fd, self._reserved_in(path))
        except (OSError, EntryError):
            if fd is not None:
                release(fd)
            return None

    def _open_to_list(self, name: str, directory_fd: int) -> int:
        try:
            return os.open(name, self._list_flags, dir_fd=directory_fd)
        except PermissionError:
            # Root without CAP_FOWNER, and network mounts that map root to nobody.
            return os.open(name, _LIST_FLAGS, dir_fd=directory_fd)

    def _names(self, level: _Level) -> Iterator[str | Entry]:
        """All that stands in the level's directory, in canonical order."""
        assert level.fd is not None
        if native is None or self._follower is not None:
            return self._sorted_keys(level)
        level.folder = native.Folder(level.fd, self._reserved_in(level.path))
        return self._entries(level.path, level.folder)

    def _entries(self, path: str, folder: Folder) -> Iterator[str | Entry]:
        entry_of, wants_extended = self._reader.entry_of_row, self._reader.wants_extended
        while True:
            with spent(self._observer, Activity.LISTING):
                found = [entry_of(path, row) or row[0] for row in folder.facts(wants_extended)]
            if not found:
                return
            yield from found

    def _reserved_in(self, path: str) -> Callable[[str, int], bool]:
        """Whether a name with the tool's own prefix is no entry of this folder; remembers leftovers."""

        def reserved(name: str, is_directory: int) -> bool:
            execution_id = temporary_execution(name)
            if execution_id is not None:
                self.leftovers[path + name] = execution_id
                return True
            return is_reserved(name, is_directory=bool(is_directory), at_top=path == "")

        return reserved

    def _sorted_keys(self, level: _Level) -> Iterator[str]:
        """The level's names in canonical order: a directory's name carries its slash while sorting."""
        assert level.fd is not None
        keys: list[str] = []
        reserved = self._reserved_in(level.path)
        with os.scandir(level.fd) as listing:
            for item in listing:
                name = item.name
                is_directory = item.is_dir(follow_symlinks=False)
                if name[0] == "." and name.startswith(RESERVED_PREFIX) and reserved(name, is_directory):
                    continue
                if self._follower is not None and item.is_symlink():
                    is_directory = self._resolve(level, name)
                keys.append(name + "/" if is_directory else name)
        if "".join(keys).isascii():
            keys.sort()
        else:
            keys.sort(key=path_bytes)
        return iter(keys)

    def _resolve(self, level: _Level, name: str) -> bool:
        """Note where a symlink leads; True when it is a directory."""
        assert self._follower is not None
        try:
            real, _ = self._follower.real(name, level.real)
            level.targets[name] = real
            if real == "":
                return True
            directory_fd, last = self._handles.parent(real)
            return stat.S_ISDIR(os.stat(last, dir_fd=directory_fd, follow_symlinks=False).st_mode)
        except EntryError as error:
            level.targets[name] = error
        except OSError as error:
            level.targets[name] = classify(error, level.path + name, "follow")
        return False

    def _reopen(self, level: _Level, child: _Level) -> None:
        """Give `level` its descriptor back after `child`, which was walked meanwhile.

        It stays without one when its directory is no longer where it was.
        """
        try:
            if child.fd is not None and child.real.startswith(level.real):
                fd = os.open("..", DIRECTORY_FLAGS, dir_fd=child.fd)
            else:
                fd = os.open(".", DIRECTORY_FLAGS, dir_fd=self._handles.directory(level.real))
            facts = os.fstat(fd)
        except OSError:
            return
        if (facts.st_dev, facts.st_ino) == (level.device, level.inode):
            level.take_handle(fd)
        else:
            release(fd)


def _not_listed(path: str, error: OSError) -> Problem:
    cause = classify(error, path, "list")
    retryable = cause.disposition is Disposition.RETRY
    return Problem(
        path, Phase.PREPARING, EntryCode.NOT_LISTED, f"{cause.message}. {_REMEDY}", retryable=retryable
    )


def _lost(path: str) -> Problem:
    message = f"the folder of {shown(path)} was moved while it was being listed. Run again."
    return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, message, retryable=True)


def _moved(path: str) -> Problem:
    message = f"{shown(path)} became another kind of entry while its folder was being listed. Run again."
    return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, message, retryable=True)


def _link_refused(path: str) -> Problem:
    message = f"{shown(path)} is a symbolic link, and the task says `symlinks: error`"
    return Problem(path, Phase.PREPARING, EntryCode.LINK_REFUSED, message)
