"""An open directory as a Location, with every role a POSIX tree can play."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import (
    Buffer,
    Capabilities,
    EqualFiles,
    Identity,
    Location,
    OpenSettings,
    QuickCheck,
    QuickCopy,
    QuickRemove,
    Scan,
    Space,
    Throttle,
    Written,
)
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import DigestAlgorithm, Durability, SymlinkMode

from .attributes import AttributeSetter
from .beside import DESTINATION, SOURCE, SideBySide, compared_fields
from .content import (
    SMALL_BYTES,
    Buffers,
    check_unchanged,
    hash_file,
    open_to_read,
    read_chunks,
    read_small,
)
from .endpoint import identity_of, open_nearest, space_of
from .facts import FactReader
from .faults import changed, classified, classify, flushing, shown, stale
from .follow import Follower
from .handles import Handles, sync_directory
from .names import TemporaryNames, temporary_execution
from .native import native
from .publish import Draft, Publisher, exists, expect
from .quick import QuickChecker, QuickCopier, QuickRemover
from .quick_folders import QuickFolders
from .scan import Scanner
from .syscalls import Syscalls, release
from .writing import ContentError, ContentWriter, Copied

_NOTHING_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_INODE_FLAGS = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class LocalLocation:
    """One directory of this machine. See the protocol for each method's contract.

    More than eight public methods: it is the protocol with all roles but watching. With `create`, a root that
    is absent is an empty location until the first write or `lock` makes it. `symlinks: follow` and `error`
    concern reading only; writing never goes through a link, and with `create` (a destination) links are
    listed as such.
    """

    def __init__(
        self,
        root: str,
        settings: OpenSettings,
        capabilities: Capabilities,
        *,
        create: bool,
        token: str,
        syscalls: Syscalls | None = None,
        folders_kept_open: int | None = None,
    ) -> None:
        """`root` is absolute; `token`: random hex digits that make this object's temporary names its own.
        `folders_kept_open`: handles at most; None = as many as suit a process with few location objects.

        Raises LocationUnavailableError.
        """
        self.capabilities = capabilities
        self._settings = settings
        self._sync_folders = settings.durability is Durability.FULL
        self._handles = Handles(root, create=create, sync_made=self._sync_folders, capacity=folders_kept_open)
        symlinks = SymlinkMode.PRESERVE if create else settings.symlinks
        self._follower = Follower(self._handles) if symlinks is SymlinkMode.FOLLOW else None
        self._reader = FactReader(settings.attributes)
        self._scanner = Scanner(self._handles, self._reader, symlinks, settings.observer)
        syscalls = syscalls or Syscalls()
        self._buffers = Buffers()
        self._setter = AttributeSetter(syscalls)
        names = TemporaryNames(settings.execution_id, token)
        self._publisher = Publisher(syscalls, names)
        self._writer = ContentWriter(settings, syscalls, self._buffers)
        self._quick = QuickCopier(settings, self._handles, self._buffers, syscalls, names)
        self._euid = os.geteuid()
        self._lock_fd: int | None = None
        # A kind of its own that proves more around each step (a mount) must not be passed by: no short ways.
        self._is_plain = type(self) is LocalLocation

    # Location

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        return self._scanner.scan(prefix, descend)

    def stat(self, path: str) -> Entry | None:
        """With `symlinks: follow`, of what a link points to. Raises LINK_ESCAPES, _BROKEN or _LOOP."""
        if self._handles.root_fd is None:
            return None
        try:
            if path == "":
                fd, name, followed = self._handles.directory(""), ".", False
            else:
                fd, name, followed = self._locate(path)
            facts = os.stat(name, dir_fd=fd, follow_symlinks=False)
            asked = path.removesuffix("/")
            if stat.S_ISDIR(facts.st_mode):
                asked += "/" if asked else ""
            elif asked != path:
                return None
            return self._reader.entry(asked, facts, fd, name, followed=followed)
        except OSError as error:
            if error.errno in _NOTHING_THERE:
                return None
            raise classify(error, path, "look at") from error

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        fd, facts = self.open_content(entry)
        view = self._buffers.take()
        try:
            if offset == 0 and facts.st_size <= SMALL_BYTES:
                got = read_small(fd, view, facts.st_size)
                if got:
                    yield view[: min(got, facts.st_size)]
                position = got
            else:
                position = offset
                for chunk in read_chunks(fd, view, offset):
                    position += len(chunk)
                    if position > facts.st_size:
                        break
                    yield chunk
            check_unchanged(fd, entry.path, facts, position)
        except OSError as error:
            raise classify(error, entry.path, "read") from error
        finally:
            self._buffers.give_back(view)
            release(fd)

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        if entry.kind is Kind.FILE:
            try:
                with classified(entry.path, "write"):
                    return self._put_file(entry, content or (), replaces, throttle)
            except ContentError as foreign:
                raise foreign.error from None
        with classified(entry.path, "write"):
            if entry.kind is Kind.DIRECTORY:
                return self._put_directory(entry, replaces)
            directory_fd, name = self._handles.make_parent(entry.path)
            with self._publisher.draft_special(directory_fd, entry) as draft:
                assert draft.name is not None
                refused = self._apply_by_name(directory_fd, draft.name, entry)
                self._publish(draft, name, entry.path, replaces)
            return Written(refused=refused)

    def remove(self, entry: Entry) -> None:
        with classified(entry.path, "remove"):
            directory_fd, name = self._handles.parent(entry.path)
            try:
                expect(directory_fd, name, entry.path, entry)
            except EntryError as error:
                if isinstance(error.__cause__, FileNotFoundError):
                    raise error.__cause__ from None
                raise
            if entry.kind is Kind.DIRECTORY:
                self._handles.forget(entry.path.removesuffix("/") + "/")
                self._remove_directory(directory_fd, name, entry.path)
            else:
                os.unlink(name, dir_fd=directory_fd)
            self._sync(directory_fd, entry.path)

    def close(self) -> None:
        self._handles.close()
        if self._lock_fd is not None:
            release(self._lock_fd)
            self._lock_fd = None

    # SetsAttributes

    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        path = entry.path
        with classified(path, "set attributes of"):
            if path == "":
                directory_fd, name = self._handles.make_root(), "."
            else:
                directory_fd, name = self._handles.parent(path)
            if expected is not None:
                expect(directory_fd, name, path, expected)
            fd = os.open(name, _INODE_FLAGS, dir_fd=directory_fd)
            try:
                facts = os.fstat(fd)
                # What is set is what was looked at, even if the name leads elsewhere by now.
                if expected is not None:
                    expect(directory_fd, name, path, expected)
                if stat.S_ISDIR(facts.st_mode) is not entry.is_directory:
                    raise stale(path, "an entry of another kind stands there now")
                refused = self._setter.apply(f"/proc/self/fd/{fd}", entry, facts)
                if self._sync_folders and entry.kind in (Kind.FILE, Kind.DIRECTORY):
                    with flushing(path):
                        _sync_inode(fd)
            finally:
                release(fd)
            return Written(refused=refused)

    # Linking

    def link(self, path: str, target: str, replaces: Entry | None) -> None:
        with classified(path, "link"):
            target_fd, target_name = self._handles.parent(target)
            if not exists(target_fd, target_name):
                raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(target)}, to be linked to, is not there")
            directory_fd, name = self._handles.make_parent(path)
            self._publisher.link(target_fd, target_name, directory_fd, name, path, replaces)
            if replaces is not None and replaces.is_directory:
                self._handles.forget(path + "/")
            self._sync(directory_fd, path)

    # CopiesFrom

    def copies_from(self, source: Location) -> bool:
        return isinstance(source, LocalLocation)

    def copy(
        self, source: Location, entry: Entry, target: Entry, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        assert isinstance(source, LocalLocation)
        source_fd, facts = source.open_content(entry)
        try:
            with classified(target.path, "write"):
                directory_fd, name = self._handles.make_parent(target.path)
                with self._publisher.draft_file(directory_fd) as draft:
                    assert draft.fd is not None
                    if facts.st_size > SMALL_BYTES:
                        _check_early(directory_fd, name, target.path, replaces)
                    copied = self._writer.from_file(draft.fd, source_fd, facts, entry.path, throttle)
                    refused = self._finish_file(draft, name, target, facts.st_size, copied, replaces)
        finally:
            release(source_fd)
        return Written(facts.st_size, copied.digest, refused)

    # CopiesQuickly

    def quick_copy(self, source: Location, throttle: Throttle) -> QuickCopy | None:
        if (
            not isinstance(source, LocalLocation)
            or not self._quick.enabled
            or source._follower is not None
            or not (source._is_plain and self._is_plain)
        ):
            return None
        noatime = os.O_NOATIME if source._euid == 0 else 0
        return functools.partial(self._quick.copy, source._handles, throttle, noatime)

    # RemovesQuickly

    def quick_remove(self, source: Location) -> QuickRemove | None:
        if (
            native is None
            or self._sync_folders
            or not isinstance(source, LocalLocation)
            or not (source._is_plain and self._is_plain)
        ):
            return None
        return QuickRemover(source._handles, self._handles, self._settings.observer.cells).remove

    # FoldersQuickly

    def quick_folders(self, source: Location) -> QuickFolders | None:
        if (
            native is None
            or self._sync_folders
            or not isinstance(source, LocalLocation)
            or source._follower is not None
            or not (source._is_plain and self._is_plain)
        ):
            return None
        return QuickFolders(source._handles, self._handles, self._settings.observer.cells)

    # ChecksQuickly

    def quick_check(self) -> QuickCheck | None:
        if native is None or self._follower is not None or not self._is_plain:
            return None
        return QuickChecker(self._handles, self._buffers, self._euid == 0).check

    # ListsBeside

    def lists_beside(self, source: Location, equal: EqualFiles) -> tuple[Scan, Scan] | None:
        if (
            native is None
            or not isinstance(source, LocalLocation)
            or source._follower is not None
            or self._follower is not None
            or not (source._is_plain and self._is_plain)
        ):
            return None
        pair = SideBySide(source._scanner, self._scanner, equal, compared_fields(equal))
        return functools.partial(pair.scan, SOURCE), functools.partial(pair.scan, DESTINATION)

    # Renames

    def rename(self, entry: Entry, path: str) -> None:
        with classified(entry.path, "move"):
            target_fd, target_name = self._handles.make_parent(path)
            directory_fd, name = self._handles.parent(entry.path)
            expect(directory_fd, name, entry.path, entry)
            try:
                self._publisher.move_noreplace(directory_fd, name, target_fd, target_name)
            except FileExistsError as error:
                raise stale(entry.path, f"something stands at {shown(path)} already") from error
            if entry.is_directory:
                self._handles.forget(entry.path.removesuffix("/") + "/")
            self._sync(target_fd, entry.path)
            self._sync(directory_fd, entry.path)

    # Digests

    def digest(self, entry: Entry, algorithm: DigestAlgorithm, throttle: Throttle) -> str:
        fd, facts = self.open_content(entry)
        view = self._buffers.take()
        try:
            digest, bytes_read = hash_file(fd, facts, algorithm, view, throttle)
            check_unchanged(fd, entry.path, facts, bytes_read)
        except OSError as error:
            raise classify(error, entry.path, "read") from error
        finally:
            self._buffers.give_back(view)
            release(fd)
        return digest

    # Identifies

    def identity(self) -> Identity:
        """Of an absent root: the identity of its nearest existing parent."""
        with classified("", "identify"), self._nearest() as fd:
            return identity_of(fd)

    def space(self) -> Space:
        with classified("", "ask the free space of"), self._nearest() as fd:
            return space_of(fd)

    # Sweeps

    def leftovers(self) -> Iterator[tuple[str, str]]:
        yield from list(self._scanner.leftovers.items())

    def remove_leftover(self, path: str) -> None:
        """Remove a temporary file of ours; anything with another name is refused with NAME_NOT_ALLOWED.

        Its folder keeps its time: it was no part of it.
        """
        with classified(path, "remove"):
            directory_fd, name = self._handles.parent(path)
            if temporary_execution(name) is None:
                raise EntryError(
                    EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)} is no temporary file of sync-runner"
                )
            facts = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            around = os.fstat(directory_fd)
            if stat.S_ISDIR(facts.st_mode):
                self._remove_directory(directory_fd, name, path)
            else:
                os.unlink(name, dir_fd=directory_fd)
            with contextlib.suppress(OSError):
                os.utime(f"/proc/self/fd/{directory_fd}", ns=(around.st_atime_ns, around.st_mtime_ns))
            self._scanner.leftovers.pop(path, None)

    # HoldsLock

    def lock(self) -> bool:
        """flock(2) on the root folder itself: no file is left, and the kernel frees it with the process."""
        if self._lock_fd is not None:
            return True
        with classified("", "lock"):
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._handles.make_root())
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                release(fd)
                return False
            except BaseException:
                release(fd)
                raise
            self._lock_fd = fd
            return True

    # For LocalLocation.copy of another object

    def open_content(self, entry: Entry) -> tuple[int, os.stat_result]:
        """(descriptor, facts) of a file as `entry` says; the caller closes it. Raises as `read`."""
        with classified(entry.path, "read"):
            if self._follower is None and entry.version is not None:
                # The version pins the inode: the file read is the one listed, wherever its folder is by now.
                directory_fd, name = self._handles.listed_parent(entry.path)
            else:
                directory_fd, name, _ = self._locate(entry.path)
            owner = entry.attributes.uid if entry.attributes is not None else None
            keep_atime = self._euid == 0 or owner == self._euid
            return open_to_read(directory_fd, name, entry, keep_atime=keep_atime)

    def _locate(self, path: str) -> tuple[int, str, bool]:
        """(directory handle, name in it, whether the last name was a link that was followed)."""
        if self._follower is None:
            return *self._handles.parent(path), False
        real, followed = self._follower.real(path)
        if real == "":
            return self._handles.directory(""), ".", followed
        return *self._handles.parent(real), followed

    def _put_file(
        self, entry: Entry, content: Iterable[Buffer], replaces: Entry | None, throttle: Throttle
    ) -> Written:
        cached_fd, name = self._handles.make_parent(entry.path)
        _check_early(cached_fd, name, entry.path, replaces)
        # The content may come from this very object and need handles: keep this one out of the cache's reach.
        directory_fd = os.dup(cached_fd)
        try:
            with self._publisher.draft_file(directory_fd) as draft:
                assert draft.fd is not None
                with_holes = (entry.allocated_bytes or 0) < (entry.size_bytes or 0) and (
                    entry.allocated_bytes is not None
                )
                digest, size = self._writer.from_chunks(draft.fd, content, throttle, with_holes=with_holes)
                if entry.size_bytes is not None and size != entry.size_bytes:
                    raise changed(entry.path, f"{size} bytes came, {entry.size_bytes} were announced")
                refused = self._finish_file(draft, name, entry, size, Copied(digest), replaces)
        finally:
            release(directory_fd)
        return Written(size, digest, refused)

    def _finish_file(
        self,
        draft: Draft,
        name: str,
        entry: Entry,
        size: int,
        copied: Copied,
        replaces: Entry | None,
    ) -> tuple[str, ...]:
        """Metadata, then the check, then the name: in this order, for what has its name is complete."""
        assert draft.fd is not None
        refused = self._setter.apply(draft.fd, entry, None)
        self._writer.check(draft.fd, entry.path, size, copied)
        if draft.name is not None:
            draft.close_file()
        self._publish(draft, name, entry.path, replaces)
        if draft.fd is not None:
            draft.close_file()
        return refused

    def _put_directory(self, entry: Entry, replaces: Entry | None) -> Written:
        path = entry.path.removesuffix("/")
        if path == "":
            self._handles.make_root()
            return self.set_attributes(entry, None)
        directory_fd, name = self._handles.make_parent(path)
        if replaces is not None and not replaces.is_directory:
            with self._publisher.draft_directory(directory_fd) as draft:
                assert draft.name is not None
                refused = self._apply_by_name(directory_fd, draft.name, entry)
                self._publish(draft, name, path, replaces)
            return Written(refused=refused)
        try:
            os.mkdir(name, 0o700, dir_fd=directory_fd)
        except FileExistsError:
            facts = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
            if not stat.S_ISDIR(facts.st_mode):
                raise stale(entry.path, "something that is no folder stands there now") from None
            return self.set_attributes(entry, None)
        refused = self._apply_by_name(directory_fd, name, entry)
        self._sync(directory_fd, path)
        return Written(refused=refused)

    def _apply_by_name(self, directory_fd: int, name: str, entry: Entry) -> tuple[str, ...]:
        """Set the attributes of what was just made at `name`, through its inode."""
        fd = os.open(name, _INODE_FLAGS, dir_fd=directory_fd)
        try:
            facts = os.fstat(fd)
            return self._setter.apply(f"/proc/self/fd/{fd}", entry, facts)
        finally:
            release(fd)

    def _publish(self, draft: Draft, name: str, path: str, replaces: Entry | None) -> None:
        self._publisher.publish(draft, name, path, replaces)
        if replaces is not None and replaces.is_directory:
            self._handles.forget(path + "/")
        self._sync(draft.directory_fd, path)

    def _remove_directory(self, directory_fd: int, name: str, path: str) -> None:
        try:
            os.rmdir(name, dir_fd=directory_fd)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise stale(path, f"the folder is not empty{_first_name(directory_fd, name)}") from error

    def _sync(self, directory_fd: int, path: str) -> None:
        if self._sync_folders:
            with flushing(path):
                sync_directory(directory_fd)

    @contextmanager
    def _nearest(self) -> Generator[int]:
        """A handle of the root, or of its nearest existing parent."""
        root_fd = self._handles.root_fd
        if root_fd is not None:
            yield root_fd
            return
        fd = open_nearest(self._handles.root)
        try:
            yield fd
        finally:
            release(fd)


def _check_early(directory_fd: int, name: str, path: str, replaces: Entry | None) -> None:
    """Do not move gigabytes for a name that is taken; publishing looks again."""
    if replaces is not None:
        expect(directory_fd, name, path, replaces)
    elif exists(directory_fd, name):
        raise stale(path, "something stands there now; nothing was expected")


def _first_name(directory_fd: int, name: str) -> str:
    """': it holds x', for the message about a folder that is not empty."""
    with contextlib.suppress(OSError):
        fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory_fd)
        try:
            with os.scandir(fd) as listing:
                for item in listing:
                    return f": it holds {shown(item.name)}"
        finally:
            release(fd)
    return ""


def _sync_inode(fd: int) -> None:
    """fsync what an O_PATH handle stands for, where it may be opened for reading."""
    with contextlib.suppress(PermissionError):
        readable = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            os.fsync(readable)
        finally:
            release(readable)
