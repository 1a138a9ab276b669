"""The C library's own functions, where the os module has none. Each raises OSError as errno says."""

from __future__ import annotations

import ctypes
import errno
import os

_AT_FDCWD = -100
_UTIME_OMIT = (1 << 30) - 2


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


class Library:
    """renameat2, futimens and utimensat. Belongs to one thread."""

    def __init__(self) -> None:
        library = ctypes.CDLL(None, use_errno=True)
        self._renameat2 = getattr(library, "renameat2", None)
        self._futimens = library.futimens
        self._futimens.argtypes = [ctypes.c_int, ctypes.c_void_p]
        self._utimensat = library.utimensat
        self._utimensat.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
        self._times = (_Timespec * 2)()
        self._times_address = ctypes.addressof(self._times)

    def rename(self, source_fd: int, source: bytes, target_fd: int, target: bytes, flags: int) -> None:
        """renameat2(2); ENOSYS when the C library does not know it."""
        if self._renameat2 is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), os.fsdecode(target))
        if self._renameat2(source_fd, source, target_fd, target, flags) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), os.fsdecode(target))

    def set_times_of_descriptor(self, fd: int, atime_ns: int | None, mtime_ns: int | None) -> None:
        """futimens(3); None leaves a time as it is."""
        self._fill(atime_ns, mtime_ns)
        _checked(self._futimens(fd, self._times_address))

    def set_times(self, path: bytes, atime_ns: int | None, mtime_ns: int | None) -> None:
        """utimensat(2), following links; None leaves a time as it is."""
        self._fill(atime_ns, mtime_ns)
        _checked(self._utimensat(_AT_FDCWD, path, self._times_address, 0))

    def _fill(self, atime_ns: int | None, mtime_ns: int | None) -> None:
        for time, wanted_ns in zip(self._times, (atime_ns, mtime_ns), strict=True):
            if wanted_ns is None:
                time.nanoseconds = _UTIME_OMIT
            else:
                time.seconds, time.nanoseconds = divmod(wanted_ns, 1_000_000_000)


def _checked(failed: int) -> None:
    if failed:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
