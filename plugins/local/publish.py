"""New content under a name that nobody else uses, and the one step that gives it its own.

A new file has no name at all until it is complete (O_TMPFILE, then linkat), so that a crash leaves nothing;
file systems without that get a temporary name, which a later scan recognises. Whatever the crash, the path
holds the old entry or the new one.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from runner.errors import EntryCode, EntryError
from runner.model.entry import Entry, Kind

from .expectations import difference, link_difference
from .faults import shown, stale
from .names import TemporaryNames
from .syscalls import UNSUPPORTED, Syscalls

_NO_UNNAMED_FILES = UNSUPPORTED | {errno.EISDIR, errno.ENOENT, errno.EPERM}
_NO_HARD_LINKS = UNSUPPORTED | {errno.EPERM, errno.EMLINK, errno.EXDEV}
_NAMED_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Draft:
    """An entry that is not published yet. `fd` is set for files; `name` when it has a temporary one.

    Use as a context manager: what was not published is removed, whatever was raised.
    """

    __slots__ = ("directory_fd", "fd", "name")

    def __init__(self, directory_fd: int, fd: int | None, name: str | None) -> None:
        self.directory_fd = directory_fd
        self.fd = fd
        self.name = name

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_: object) -> None:
        if self.name is not None:
            with contextlib.suppress(OSError):
                remove_any(self.directory_fd, self.name)
        if self.fd is not None:
            with contextlib.suppress(OSError):
                os.close(self.fd)

    def close_file(self) -> None:
        """Close the file where the error still counts: some mounts report a failed write only here."""
        fd, self.fd = self.fd, None
        if fd is not None:
            os.close(fd)


class Publisher:
    """Makes drafts and publishes them."""

    def __init__(self, syscalls: Syscalls, names: TemporaryNames) -> None:
        self._syscalls = syscalls
        self._names = names
        self._named_only: set[int] = set()  # devices without O_TMPFILE

    def draft_file(self, directory_fd: int) -> Draft:
        """An empty file, mode 0600, open for reading and writing."""
        device = os.fstat(directory_fd).st_dev if self._named_only else None
        if device is None or device not in self._named_only:
            try:
                return Draft(directory_fd, self._syscalls.open_unnamed(directory_fd), None)
            except OSError as error:
                if error.errno not in _NO_UNNAMED_FILES:
                    raise
        name = self._names.next()
        draft = Draft(directory_fd, os.open(name, _NAMED_FLAGS, 0o600, dir_fd=directory_fd), name)
        # Only now: a directory that is gone or not writable answers alike, and says nothing about its device.
        self._named_only.add(os.fstat(directory_fd).st_dev)
        return draft

    def draft_special(self, directory_fd: int, entry: Entry) -> Draft:
        """A symlink, FIFO, socket or device under a temporary name, mode 0600."""
        name = self._names.next()
        if entry.kind is Kind.SYMLINK:
            if not entry.link_target:
                raise EntryError(
                    EntryCode.KIND_NOT_SUPPORTED, entry.path, f"{shown(entry.path)}: a link without a target"
                )
            os.symlink(entry.link_target, name, dir_fd=directory_fd)
        elif entry.kind is Kind.FIFO:
            os.mkfifo(name, 0o600, dir_fd=directory_fd)
        elif entry.kind is Kind.SOCKET:
            os.mknod(name, stat.S_IFSOCK | 0o600, dir_fd=directory_fd)
        else:
            device = entry.attributes.device if entry.attributes is not None else None
            if device is None:
                raise EntryError(
                    EntryCode.KIND_NOT_SUPPORTED,
                    entry.path,
                    f"{shown(entry.path)}: the device's number is unknown",
                )
            format_bits = stat.S_IFCHR if entry.kind is Kind.CHARACTER_DEVICE else stat.S_IFBLK
            os.mknod(name, format_bits | 0o600, device, dir_fd=directory_fd)
        return Draft(directory_fd, None, name)

    def draft_directory(self, directory_fd: int) -> Draft:
        """An empty directory under a temporary name, mode 0700."""
        name = self._names.next()
        os.mkdir(name, 0o700, dir_fd=directory_fd)
        return Draft(directory_fd, None, name)

    def publish(self, draft: Draft, name: str, path: str, replaces: Entry | None) -> None:
        """Give the draft its name, in one step. Raises STALE when what stands there is not `replaces`."""
        if replaces is None:
            try:
                if draft.name is None:
                    assert draft.fd is not None
                    self._syscalls.link_descriptor(draft.fd, draft.directory_fd, name)
                else:
                    self.move_noreplace(draft.directory_fd, draft.name, draft.directory_fd, name)
            except FileExistsError as error:
                raise stale(path, "something stands there now; nothing was expected") from error
            draft.name = None
            return
        facts = expect(draft.directory_fd, name, path, replaces)
        self.name_draft(draft)
        assert draft.name is not None
        draft_facts = os.stat(draft.name, dir_fd=draft.directory_fd, follow_symlinks=False)
        if stat.S_ISDIR(facts.st_mode) or stat.S_ISDIR(draft_facts.st_mode):
            self._swap(draft, name, path, facts)
        else:
            os.rename(draft.name, name, src_dir_fd=draft.directory_fd, dst_dir_fd=draft.directory_fd)
        draft.name = None

    def name_draft(self, draft: Draft) -> None:
        """Give an unnamed file a temporary name: rename needs one."""
        if draft.name is None:
            assert draft.fd is not None
            name = self._names.next()
            self._syscalls.link_descriptor(draft.fd, draft.directory_fd, name)
            draft.name = name

    def link(
        self, target_fd: int, target: str, directory_fd: int, name: str, path: str, replaces: Entry | None
    ) -> None:
        """Make `name` another name of `target`, at once. Raises STALE as `publish`."""
        if replaces is None:
            try:
                os.link(target, name, src_dir_fd=target_fd, dst_dir_fd=directory_fd, follow_symlinks=False)
            except FileExistsError as error:
                raise stale(path, "something stands there now; nothing was expected") from error
            return
        temporary = self._names.next()
        os.link(target, temporary, src_dir_fd=target_fd, dst_dir_fd=directory_fd, follow_symlinks=False)
        with Draft(directory_fd, None, temporary) as draft:
            # rename(2) of two names of one file does nothing: the draft's name is then removed on leaving.
            facts = expect(directory_fd, name, path, replaces)
            if stat.S_ISDIR(facts.st_mode):
                self._swap(draft, name, path, facts)
            else:
                os.rename(temporary, name, src_dir_fd=directory_fd, dst_dir_fd=directory_fd)

    def move_noreplace(self, source_fd: int, source: str, target_fd: int, target: str) -> None:
        """Rename; FileExistsError when something stands at the target.

        Without renameat2, files are linked and unlinked, which cannot replace anything either; directories
        and file systems without hard links are looked at first, which leaves an instant for somebody else.
        """
        try:
            self._syscalls.rename_noreplace(source_fd, source, target_fd, target)
            return
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
        if not stat.S_ISDIR(os.stat(source, dir_fd=source_fd, follow_symlinks=False).st_mode):
            try:
                os.link(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd, follow_symlinks=False)
            except OSError as error:
                if error.errno not in _NO_HARD_LINKS:
                    raise
            else:
                os.unlink(source, dir_fd=source_fd)
                return
        if exists(target_fd, target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)
        os.rename(source, target, src_dir_fd=source_fd, dst_dir_fd=target_fd)

    def _swap(self, draft: Draft, name: str, path: str, old: os.stat_result) -> None:
        """Replace what rename(2) will not: a directory by something else, or something else by a directory.

        Both change places in one step, then the old one is removed; a directory that is not empty changes
        back.
        """
        directory_fd, temporary = draft.directory_fd, draft.name
        assert temporary is not None
        try:
            self._syscalls.rename_exchange(directory_fd, temporary, directory_fd, name)
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            self._replace_in_two_steps(draft, name, path)
            return
        try:
            moved = os.stat(temporary, dir_fd=directory_fd, follow_symlinks=False)
            if (moved.st_dev, moved.st_ino) != (old.st_dev, old.st_ino):
                raise stale(path, "something else took its place just now")
            remove_any(directory_fd, temporary)
        except BaseException as error:
            self._syscalls.rename_exchange(directory_fd, temporary, directory_fd, name)
            if isinstance(error, OSError) and error.errno == errno.ENOTEMPTY:
                raise stale(path, "the folder that would be replaced is not empty") from error
            raise
        draft.name = None

    def _replace_in_two_steps(self, draft: Draft, name: str, path: str) -> None:
        """Where the file system cannot exchange: for an instant nothing stands at the name."""
        assert draft.name is not None
        try:
            remove_any(draft.directory_fd, name)
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                raise stale(path, "the folder that would be replaced is not empty") from error
            raise
        self.move_noreplace(draft.directory_fd, draft.name, draft.directory_fd, name)
        draft.name = None


def expect(directory_fd: int, name: str, path: str, expected: Entry) -> os.stat_result:
    """The facts of what stands at `name`. Raises STALE when it is not as `expected` says, or gone."""
    try:
        facts = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
        reason = difference(expected, facts)
        if reason is None and expected.kind is Kind.SYMLINK:
            reason = link_difference(expected, directory_fd, name)
    except FileNotFoundError as error:
        raise stale(path, "it is no longer there") from error
    if reason is not None:
        raise stale(path, reason)
    return facts


def exists(directory_fd: int, name: str) -> bool:
    """True when anything stands at `name`, also a dangling link."""
    try:
        os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def remove_any(directory_fd: int, name: str) -> None:
    """Unlink a name, or remove an empty directory."""
    facts = os.stat(name, dir_fd=directory_fd, follow_symlinks=False)
    if stat.S_ISDIR(facts.st_mode):
        os.rmdir(name, dir_fd=directory_fd)
    else:
        os.unlink(name, dir_fd=directory_fd)
