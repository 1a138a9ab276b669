"""System calls that the os module lacks. One object, handed in, so that a test can take a feature away.

Each method raises OSError as the kernel answers; ENOSYS when the C library does not know the call.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCHANGE = 2
_UTIME_OMIT = (1 << 30) - 2
_FICLONE = 0x40049409  # linux/fs.h: _IOW(0x94, 9, int)

UNSUPPORTED = frozenset({errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOTTY})
"""What kernels and file systems answer when they do not offer a call or a flag."""


def release(fd: int) -> None:
    """Close a descriptor that nothing was written through: Linux frees it whatever it answers (close(2))."""
    try:
        os.close(fd)
    except OSError:
        pass


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class Syscalls:
    """renameat2, linkat of a descriptor, O_TMPFILE, FICLONE, utimensat. Belongs to one thread."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._renameat2 = getattr(library, "renameat2", None)
        self._futimens = library.futimens
        self._futimens.argtypes = [ctypes.c_int, ctypes.c_void_p]
        self._utimensat = library.utimensat
        self._utimensat.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
        self._times = (_Timespec * 2)()
        self._times_address = ctypes.addressof(self._times)

    def rename_noreplace(self, source_fd: int, source: str, target_fd: int, target: str) -> None:
        """Rename, failing with FileExistsError when something stands at the target (renameat2(2))."""
        self._rename(source_fd, source, target_fd, target, _RENAME_NOREPLACE)

    def rename_exchange(self, source_fd: int, source: str, target_fd: int, target: str) -> None:
        """Swap two entries of any kinds in one step (renameat2(2))."""
        self._rename(source_fd, source, target_fd, target, _RENAME_EXCHANGE)

    def _rename(self, source_fd: int, source: str, target_fd: int, target: str, flags: int) -> None:
        if self._renameat2 is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), target)
        if self._renameat2(source_fd, os.fsencode(source), target_fd, os.fsencode(target), flags) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), target)

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
        access, modification = self._times
        if atime_ns is None:
            access.nanoseconds = _UTIME_OMIT
        else:
            access.seconds, access.nanoseconds = divmod(atime_ns, 1_000_000_000)
        if mtime_ns is None:
            modification.nanoseconds = _UTIME_OMIT
        else:
            modification.seconds, modification.nanoseconds = divmod(mtime_ns, 1_000_000_000)
        if isinstance(target, int):
            failed = self._futimens(target, self._times_address)
        else:
            failed = self._utimensat(_AT_FDCWD, os.fsencode(target), self._times_address, 0)
        if failed:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
