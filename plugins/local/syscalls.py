"""System calls that the os module lacks. One object, handed in, so that a test can take a feature away.

Each method raises OSError as the kernel answers; ENOSYS when the C library does not know the call.
"""

from __future__ import annotations

import errno
import fcntl
import functools
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .library import Library

_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)

UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY})
"""What kernels and file systems answer when they do not offer a call or a flag."""


def release(fd: int) -> None:
    """Close a descriptor that nothing was written through: Linux frees it whatever it answers (close(2))."""
    try:
        os.close(fd)
    except OSError:
        pass


class Syscalls:
    """renameat2, linkat of a descriptor, O_TMPFILE, FICLONE, utimensat. Belongs to one thread."""

    @functools.cached_property
    def _library(self) -> Library:
        # A plan writes nothing: it does without the loading of ctypes.
        from .library import Library

        return Library()

    def rename_noreplace(self, source_fd: int, source: str, target_fd: int, target: str) -> None:
        """Rename, failing with FileExistsError when something stands at the target (renameat2(2))."""
        self._rename(source_fd, source, target_fd, target, _RENAME_NOREPLACE)

    def rename_exchange(self, source_fd: int, source: str, target_fd: int, target: str) -> None:
        """Swap two entries of any kinds in one step (renameat2(2))."""
        self._rename(source_fd, source, target_fd, target, _RENAME_EXCHANGE)

    def _rename(self, source_fd: int, source: str, target_fd: int, target: str, flags: int) -> None:
        self._library.rename(source_fd, os.fsencode(source), target_fd, os.fsencode(target), flags)

    def open_unnamed(self, directory_fd: int) -> int:
        """A new file without a name in that directory, mode 0600, open for reading and writing."""
        return os.open(
            ".", os.O_TMPFILE | os.O_RDWR | os.O_NOATIME | os.O_CLOEXEC, 0o600, dir_fd=directory_fd
        )

    def link_descriptor(self, fd: int, directory_fd: int, name: str) -> None:
        """Give an unnamed file its name; FileExistsError when the name is taken (open(2), O_TMPFILE)."""
        os.link(f"/proc/self/fd/{fd}", name, dst_dir_fd=directory_fd, follow_symlinks=True)

    def clone_file(self, target_fd: int, source_fd: int) -> None:
        """Make the target share the source's blocks (ioctl_ficlonerange(2))."""
        fcntl.ioctl(target_fd, _FICLONE, source_fd)

    def set_times(self, target: int | str, atime_ns: int | None, mtime_ns: int | None) -> None:
        """Set times of a descriptor or of a path that is followed; None leaves one as it is."""
        if isinstance(target, int):
            self._library.set_times_of_descriptor(target, atime_ns, mtime_ns)
        else:
            self._library.set_times(os.fsencode(target), atime_ns, mtime_ns)
