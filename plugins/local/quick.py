"""The common case in one go: a small ordinary file that is new at the destination, or replaces another.

Nearly all files of a first copy are such, and most of their cost would be Python between system calls. What is
done, checked and promised is the same as in the general way (publish.py, writing.py, attributes.py), which takes over, with
its precise errors, whenever anything here is not plain: nothing was published then.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from typing import TYPE_CHECKING

import xxhash

from runner.clock import monotonic_ns
from runner.errors import EntryError, RunnerError
from runner.locations.observer import SINCE, Cells, spent
from runner.locations.protocol import OpenSettings, QuickDone, QuickExpected, QuickFile, Throttle, Written
from runner.model.activity import Activity
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import DigestAlgorithm, Durability, Integrity

from .content import SMALL_BYTES, Buffers
from .facts import NO_XATTRS, version_of
from .handles import Handles
from .names import TemporaryNames
from .native import native
from .syscalls import Syscalls

if TYPE_CHECKING:
    from ._native import SmallFile

_READ_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_REGULAR = 0o100000
_TYPE_BITS = 0o170000
_SPECIAL_BITS = 0o7000
LOOK_AGAIN_AFTER = 32
# Needed for every file: a member costs five times as much to look up through its class.
_FILE = Kind.FILE
_DEFAULT_ACL = "system.posix_acl_default"


def _is_small_and_plain(entry: Entry, attributes: Attributes) -> bool:
    """True for an ordinary file that fits a buffer, with permissions and numeric owners, and nothing else to look at."""
    return (
        entry.size_bytes is not None
        and entry.size_bytes <= SMALL_BYTES
        and entry.kind is _FILE
        and attributes.xattrs == ()
        and attributes.acls == ()
        and attributes.mode is not None
        and not attributes.mode & _SPECIAL_BITS
        and attributes.uid is not None
        and attributes.gid is not None
        and attributes.user is None
        and attributes.group is None
    )


class QuickCopier:
    """Copies small files between two local locations, or declines. One thread. Replacing needs the compiled module."""

    def __init__(
        self,
        settings: OpenSettings,
        handles: Handles,
        buffers: Buffers,
        syscalls: Syscalls,
        names: TemporaryNames,
    ) -> None:
        self.enabled = (
            settings.digest is DigestAlgorithm.XXH3_128
            and settings.integrity is Integrity.READ_BACK
            and (
                settings.durability is Durability.NONE
                or (settings.durability is Durability.FILE and native is not None)
            )
        )
        self._flush = settings.durability is Durability.FILE
        self._handles = handles
        self._buffers = buffers
        self._syscalls = syscalls
        self._names = names
        self._observer = settings.observer
        self._cells = settings.observer.cells
        if native is not None and self.enabled:
            self._compiled_buffers = buffers.take(), buffers.take()
        # Whose a new file is in this folder (a mount may squash it): where that is wanted, nothing need be set.
        self._owner: tuple[int, int] | None = None
        self._folder: str | None = None
        self._uses_left = 0
        self._plain_folder = False

    def copy(
        self, source: Handles, throttle: Throttle, noatime: int, files: Sequence[QuickFile]
    ) -> list[QuickDone]:
        """What was copied, from the first file on: see `CopiesQuickly`. `noatime` is O_NOATIME where it is allowed."""
        path = files[0][0].path
        folder = path[: path.rfind("/") + 1]
        source_fd = source.cached(folder)
        if source_fd is None:
            source_fd = _opened(source, folder)
        target_fd = self._target(folder, len(files))
        if source_fd is None or target_fd is None:
            return []
        if native is None:
            return self._uncompiled(source_fd, target_fd, len(folder), throttle, noatime, files)
        rows = []
        total = 0
        for entry, replaces in files:
            row = self._row(entry, replaces, len(folder))
            if row is None or total + row[1] > SMALL_BYTES:
                break
            total += row[1]
            rows.append(row)
        if not rows:
            return []
        throttle.take(total)
        return self._compiled(source_fd, target_fd, tuple(rows), noatime)

    def _row(self, entry: Entry, replaces: Entry | None, cut: int) -> SmallFile | None:
        """A file as the compiled module takes it; None when it is not for here."""
        attributes, size, mtime_ns, version = (
            entry.attributes,
            entry.size_bytes,
            entry.mtime_ns,
            entry.version,
        )
        if (
            size is None
            or mtime_ns is None
            or version is None
            or entry.allocated_bytes is not None
            or attributes is None
            or attributes.atime_ns is not None
            or not _is_small_and_plain(entry, attributes)
        ):
            return None
        mode, uid, gid = attributes.mode, attributes.uid, attributes.gid
        assert mode is not None and uid is not None and gid is not None
        replaced = temporary = None
        if replaces is not None:
            if replaces.kind is not _FILE or replaces.version is None:
                return None
            replaced, temporary = replaces.version, self._names.next()
        return entry.path[cut:], size, mtime_ns, version, mode, uid, gid, mtime_ns, replaced, temporary

    def _compiled(
        self, source_fd: int, target_fd: int, rows: tuple[SmallFile, ...], noatime: int
    ) -> list[QuickDone]:
        """All of them in one call."""
        assert native is not None
        content, check = self._compiled_buffers
        took: list[int] = native.copy_small(
            source_fd, target_fd, rows, noatime, self._flush, content, check, self._cells
        )
        began = monotonic_ns()
        done = []
        end = 0
        for row, nanoseconds in zip(rows, took, strict=False):
            start, end = end, end + row[1]
            digest = "xxh3_128:" + xxhash.xxh3_128_hexdigest(content[start:end])
            done.append((Written(row[1], digest), nanoseconds / 1e9))
        if self._cells is not None:
            elapsed = monotonic_ns() - began
            self._cells[Activity.HASHING] += elapsed
            self._cells[SINCE] += elapsed
        return done

    def _uncompiled(
        self,
        source_fd: int,
        target_fd: int,
        cut: int,
        throttle: Throttle,
        noatime: int,
        files: Sequence[QuickFile],
    ) -> list[QuickDone]:
        """The same, call by call. What replaces something is not for here."""
        done: list[QuickDone] = []
        for entry, replaces in files:
            row = self._row(entry, None, cut) if replaces is None else None
            if row is None or row[0] in ("", ".", ".."):
                break
            try:
                throttle.take(row[1])
            except EntryError:
                if not done:
                    raise
                break  # those before it have their names
            began = monotonic_ns()
            written = self._copied(source_fd, target_fd, row[0], entry, noatime)
            if written is None:
                break
            done.append((written, (monotonic_ns() - began) / 1e9))
        return done

    def _copied(
        self, source_fd: int, target_fd: int, name: str, entry: Entry, noatime: int
    ) -> Written | None:
        size, mtime_ns, attributes = entry.size_bytes, entry.mtime_ns, entry.attributes
        assert size is not None and mtime_ns is not None and attributes is not None
        view = self._buffers.take()
        try:
            with spent(self._observer, Activity.READING):
                digest = self._read(source_fd, name, entry, size, view, noatime)
            if digest is None:
                return None
            with spent(self._observer, Activity.WRITING):
                if not self._write(target_fd, name, size, view, digest, mtime_ns, attributes):
                    return None
        except OSError:
            # Whatever it was, the general way meets it again and says it precisely.
            return None
        finally:
            self._buffers.give_back(view)
        return Written(size, f"xxh3_128:{digest}")

    def _write(
        self,
        target_fd: int,
        name: str,
        size: int,
        view: memoryview,
        digest: str,
        mtime_ns: int,
        attributes: Attributes,
    ) -> bool:
        """Make the file with content and metadata, read it back, and give it its name; False = it is not as it should
        be, and has none."""
        mode, uid, gid = attributes.mode, attributes.uid, attributes.gid
        assert mode is not None and uid is not None and gid is not None
        fd = self._syscalls.open_unnamed(target_fd)
        try:
            if os.pwrite(fd, view[:size], 0) != size:
                return False
            if self._owner is None:
                facts = os.fstat(fd)
                self._owner = facts.st_uid, facts.st_gid
            if self._owner != (uid, gid):
                os.fchown(fd, uid, gid)
            os.fchmod(fd, mode)
            # Nobody has read it yet: its access time says nothing, and one call without ctypes is half as dear.
            os.utime(fd, ns=(mtime_ns, mtime_ns))
            with spent(self._observer, Activity.VERIFYING):
                got = os.preadv(fd, [view[: size + 1]], 0) if size else 0
                if got != size or xxhash.xxh3_128_hexdigest(view[:size]) != digest:
                    return False
            self._syscalls.link_descriptor(fd, target_fd, name)
        finally:
            os.close(fd)
        return True

    def _target(self, folder: str, files: int) -> int | None:
        """The destination's folder, if it is there, looked at lately, and hands down no ACL or group."""
        if folder != self._folder or self._uses_left <= 0:
            self._folder = None
            fd = _opened(self._handles, folder)
            if fd is None:
                return None
            self._plain_folder = not _hands_down(fd)
            self._folder, self._uses_left, self._owner = folder, LOOK_AGAIN_AFTER, None
        if not self._plain_folder:
            return None
        self._uses_left -= files
        return self._handles.cached(folder)

    @staticmethod
    def _read(
        source_fd: int, name: str, entry: Entry, size: int, view: memoryview, noatime: int
    ) -> str | None:
        """Read the whole file into `view`; its digest, or None when it is not, or did not stay, as planned."""
        fd = os.open(name, _READ_FLAGS | noatime, dir_fd=source_fd)
        try:
            before = os.fstat(fd)
            if (
                before.st_mode & _TYPE_BITS != _REGULAR
                or before.st_size != size
                or before.st_mtime_ns != entry.mtime_ns
                or version_of(before) != entry.version
            ):
                return None
            got = os.preadv(fd, [view[: size + 1]], 0)
            after = os.fstat(fd)
        finally:
            os.close(fd)
        if (
            got != size
            or after.st_size != size
            or after.st_mtime_ns != before.st_mtime_ns
            or after.st_ctime_ns != before.st_ctime_ns
        ):
            return None
        digest: str = xxhash.xxh3_128_hexdigest(view[:size])
        return digest


class FolderAtHand:
    """The folder of the entries in turn; looked at again now and then."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles
        self._folder: str | None = None
        self._uses_left = 0

    def handle(self, folder: str, uses: int = 1) -> int | None:
        if folder != self._folder or self._uses_left <= 0:
            self._folder = None
            if _opened(self._handles, folder) is None:
                return None
            self._folder, self._uses_left = folder, LOOK_AGAIN_AFTER
        self._uses_left -= uses
        return self._handles.cached(folder)


def _opened(handles: Handles, folder: str) -> int | None:
    """The handle of a folder, looked at now; None where the general way will say what is wrong."""
    try:
        return handles.directory(folder)
    except (OSError, RunnerError):
        return None


def _hands_down(fd: int) -> bool:
    """Whether what is made in a folder gets its group or an ACL from it; True as well where that cannot be told."""
    try:
        return bool(os.fstat(fd).st_mode & stat.S_ISGID) or _DEFAULT_ACL in os.listxattr(
            f"/proc/self/fd/{fd}"
        )
    except OSError as error:
        # No extended attributes, no ACLs: many file systems of FUSE. Anything else the general way meets again.
        return error.errno not in NO_XATTRS


class QuickRemover:
    """Removes files that are as they were listed, or declines. One thread. Needs the compiled module."""

    def __init__(self, source: Handles, handles: Handles, cells: Cells | None) -> None:
        """`source`: what is there now is not removed here. `cells`: an observer's."""
        self._source = source
        self._at_hand = FolderAtHand(handles)
        self._cells = cells

    def remove(self, entries: Sequence[Entry]) -> list[float]:
        """The seconds that each took which is gone now, from the first on: see `RemovesQuickly`."""
        assert native is not None
        path = entries[0].path
        cut = path.rfind("/") + 1
        folder = path[:cut]
        rows = []
        for entry in entries:
            if entry.version is None or entry.kind is Kind.DIRECTORY:
                break
            rows.append((entry.path[cut:], entry.version))
        fd, source_fd = self._at_hand.handle(folder, len(entries)), self._source.root_fd
        if fd is None or source_fd is None or not rows:
            return []
        took: list[int] = native.remove_files(fd, source_fd, folder, tuple(rows))
        if self._cells is not None:
            elapsed = sum(took)
            self._cells[Activity.WRITING] += elapsed
            self._cells[SINCE] += elapsed
        return [nanoseconds / 1e9 for nanoseconds in took]


class QuickChecker:
    """Finds that small files are exactly as expected, or says nothing. One thread. Needs the compiled module."""

    def __init__(self, handles: Handles, buffers: Buffers, noatime: bool) -> None:
        self._at_hand = FolderAtHand(handles)
        self._buffer = buffers.take()
        self._noatime = noatime

    def check(self, files: Sequence[QuickExpected], mtime_tolerance_ns: int, throttle: Throttle) -> int:
        """How many of these, from the first on, stand there exactly so: see `ChecksQuickly`."""
        assert native is not None
        path = files[0][0].path
        cut = path.rfind("/") + 1
        rows = []
        total = 0
        for expected, digest in files:
            size, mtime_ns, attributes = expected.size_bytes, expected.mtime_ns, expected.attributes
            if (
                size is None
                or mtime_ns is None
                or attributes is None
                or not _is_small_and_plain(expected, attributes)
                or not digest.startswith("xxh3_128:")
                or total + size > SMALL_BYTES
            ):
                break
            total += size
            rows.append(
                (expected.path[cut:], size, mtime_ns, attributes.mode, attributes.uid, attributes.gid)
            )
        fd = self._at_hand.handle(path[:cut], len(files)) if rows else None
        if fd is None:
            return 0
        throttle.take(total)
        read: int = native.read_expected(fd, tuple(rows), mtime_tolerance_ns, self._noatime, self._buffer)
        end = 0
        for number, row in enumerate(rows[:read]):
            start, end = end, end + row[1]
            if files[number][1][9:] != xxhash.xxh3_128_hexdigest(self._buffer[start:end]):
                return number
        return read
