"""Files that are whole or not there, whatever stops the process or the machine: all but the trees themselves is
written so.

A new file has no name until its content is complete; one that replaces another changes place with it in one step.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import io
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, BinaryIO, TypeVar

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

T = TypeVar("T")

SUFFIX = ".part"
_BUFFER_BYTES = 1 << 17
_NO_UNNAMED_FILES = frozenset(
    {errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS, errno.EPERM, errno.EXDEV}
)
_NAMED_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_whole(path: str, write: Callable[[BinaryIO], T], *, durable: bool = True) -> T:
    """Make `path` a file that holds what `write` writes, mode 0600; returns what `write` returns.

    Whatever is raised or kills, the path holds its old content or all of the new, and at most one file
    `.NAME.part` is left, which the next call for this path takes away. `durable`: after the return a power cut
    leaves the new. Processes may write one path at once: one of them is the last.

    Raises OSError, and whatever `write` raises.
    """
    folder, name = os.path.split(os.path.abspath(path))
    directory = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            handle = os.open(".", os.O_TMPFILE | os.O_WRONLY | os.O_CLOEXEC, 0o600, dir_fd=directory)
        except OSError as error:
            if error.errno not in _NO_UNNAMED_FILES:
                raise
            written = _write_named(directory, name, write, durable)
        else:
            with _Counted(handle) as counted:
                written = counted.filled(write, durable)
                _take_name(handle, directory, name)
        if durable:
            sync_folder(".", dir_fd=directory)
        return written
    finally:
        os.close(directory)


def append_whole(path: str, line: bytes) -> None:
    """Add a line to a file, which is made with mode 0600 when there is none; durable on return. One writer at a time.

    Raises OSError; then the file is as it was, unless it cannot even be shortened.
    """
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        before = os.fstat(handle).st_size
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(handle, view) :]
            _expect_size(handle, before + len(line))
            os.fsync(handle)
        except BaseException:
            with contextlib.suppress(OSError):
                os.ftruncate(handle, before)
            raise
    finally:
        os.close(handle)
    sync_folder(os.path.dirname(path))


@contextlib.contextmanager
def locked(path: str, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """Inside, nobody else is who asks for `path` in the same way: a file `path.lock`, mode 0600, in a folder that is made
    when there is none. Raises OSError."""
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    lock = os.open(path + ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, how)
        yield
    finally:
        os.close(lock)


def read_whole(handle: int, offset: int, length: int) -> bytes:
    """So many bytes from there, neither less nor more. Raises OSError."""
    pieces = []
    while length > 0:
        piece = os.pread(handle, length, offset)
        if not piece:
            raise OSError(errno.EIO, "it is shorter than what was written")
        pieces.append(piece)
        offset += len(piece)
        length -= len(piece)
    return b"".join(pieces)


def sync_folder(path: str, *, dir_fd: int | None = None) -> None:
    """What was made, renamed or removed in that folder is on the disk afterwards. Raises OSError.

    Network mounts that answer EINVAL have nothing to flush.
    """
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        os.fsync(directory)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    finally:
        os.close(directory)


class _Counted(io.RawIOBase):
    """A new file that knows how many bytes the kernel said it took. Closes its handle with itself."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._taken = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._handle

    def write(self, content: ReadableBuffer, /) -> int:
        taken = os.write(self._handle, content)
        self._taken += taken
        return taken

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._handle)

    def filled(self, write: Callable[[BinaryIO], T], durable: bool) -> T:
        """Have it written. All that was said to be is in the file then; with `durable`, on the disk. Raises OSError."""
        output = io.BufferedWriter(self, _BUFFER_BYTES)
        written = write(output)
        output.flush()
        output.detach()
        _expect_size(self._handle, self._taken)
        if durable:
            os.fsync(self._handle)
        return written


def _expect_size(handle: int, size_bytes: int) -> None:
    arrived = os.fstat(handle).st_size
    if arrived != size_bytes:
        raise OSError(errno.EIO, f"{arrived} bytes arrived of {size_bytes}")


def _take_name(handle: int, directory: int, name: str) -> None:
    """Give a complete file without a name this one, in the place of whatever has it."""
    if _linked(handle, directory, name):
        return
    temporary = f".{_short(name)}{SUFFIX}"
    # A file that lost its only name never gets another one: two who use one name take turns.
    lock = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _linked(handle, directory, temporary):
            # Left by a kill between this line and the next ones.
            os.unlink(temporary, dir_fd=directory)
            _link(handle, directory, temporary)
        try:
            os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
        except BaseException:
            _unlink(directory, temporary)
            raise
    finally:
        os.close(lock)


def _link(handle: int, directory: int, name: str) -> None:
    os.link(f"/proc/self/fd/{handle}", name, dst_dir_fd=directory, follow_symlinks=True)


def _linked(handle: int, directory: int, name: str) -> bool:
    try:
        _link(handle, directory, name)
    except FileExistsError:
        return False
    return True


def _write_named(directory: int, name: str, write: Callable[[BinaryIO], T], durable: bool) -> T:
    """Where files without a name cannot be: under a name that nobody else uses."""
    temporary = f".{_short(name)}.{os.urandom(6).hex()}{SUFFIX}"
    handle = os.open(temporary, _NAMED_FLAGS, 0o600, dir_fd=directory)
    try:
        with _Counted(handle) as counted:
            written = counted.filled(write, durable)
        os.replace(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        _unlink(directory, temporary)
        raise
    return written


def _short(name: str) -> str:
    """So that what is put around it fits into a name, too."""
    return os.fsdecode(os.fsencode(name)[:200])


def _unlink(directory: int, name: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=directory)
