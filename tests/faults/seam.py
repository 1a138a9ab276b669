"""A stand-in between the runner and the system, in this very process: each operation on files passes through here.

Inside `Seam` the functions of the os module that touch files, and the few calls that go elsewhere (ioctl, flock, the C
library's own), count what is done below some folders, and one of them may fail, lie, be interrupted or be the last: after a
crash nothing more is done to any file, whatever code still runs. The compiled module is put aside: all of the runner's
work is Python then. What goes on elsewhere in the file system, and what other programs do, passes unseen.
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import runner_plugins.local.driver  # noqa: F401 - what is put aside below has to be there
from runner_plugins.local.library import Library

from .mutations import mutate

CRASH = "crash"
INTERRUPT = "interrupt"
SHORT = "short"
LIE = "lie"
LASTING = "+"


class CrashError(BaseException):
    """The process is gone: whoever still runs may do nothing any more."""


class Operation(NamedTuple):
    """One call: its function, and the path it was about."""

    name: str
    path: str

    def __str__(self) -> str:
        return f"{self.name} {self.path}"


class Fault(NamedTuple):
    """What happens at operation `number` (from 1): an errno's name, with + from there on, or one of the words above."""

    number: int
    effect: str

    @property
    def lasts(self) -> bool:
        return self.effect.endswith(LASTING)

    def error(self, path: str) -> OSError:
        number = getattr(errno, self.effect.removesuffix(LASTING))
        return OSError(number, os.strerror(number), path)


Done = Callable[[str, tuple[Any, ...], dict[str, Any], Any], None]
"""Told of each operation that was carried out: its name, its arguments, and what came back."""

# Where the path stands among the arguments, and under which keyword the folder it is relative to.
_ONE_PATH = {
    "open": 0, "stat": 0, "lstat": 0, "readlink": 0, "scandir": 0, "listdir": 0, "listxattr": 0, "getxattr": 0,
    "statvfs": 0, "mkdir": 0, "rmdir": 0, "unlink": 0, "remove": 0, "mkfifo": 0, "mknod": 0, "chmod": 0, "chown": 0,
    "lchown": 0, "utime": 0, "setxattr": 0, "removexattr": 0, "truncate": 0, "symlink": 1,
}  # fmt: skip
_ONE_HANDLE = {
    "read": 0, "pread": 0, "preadv": 0, "fstat": 0, "lseek": 0, "fstatvfs": 0, "posix_fadvise": 0, "write": 0,
    "pwrite": 0, "ftruncate": 0, "fsync": 0, "fdatasync": 0, "fchmod": 0, "fchown": 0, "posix_fallocate": 0,
    "copy_file_range": 1, "sendfile": 0, "close": 0, "dup": 0,
}  # fmt: skip
_TWO_PATHS = ("link", "rename", "replace")
CHANGES = frozenset({
    "mkdir", "rmdir", "unlink", "remove", "mkfifo", "mknod", "chmod", "chown", "lchown", "utime", "setxattr", "removexattr",
    "truncate", "symlink", "write", "pwrite", "ftruncate", "fsync", "fdatasync", "fchmod", "fchown", "posix_fallocate",
    "copy_file_range", "sendfile", "link", "rename", "replace", "create", "renameat2", "futimens", "utimensat", "ficlone",
})  # fmt: skip
_WRITES = frozenset({"write", "pwrite", "copy_file_range", "sendfile"})
_MAKES_OR_FILLS = _WRITES | {
    "create",
    "mkdir",
    "mkfifo",
    "mknod",
    "symlink",
    "link",
    "rename",
    "replace",
    "setxattr",
}


def effects_of(name: str) -> tuple[str, ...]:
    """What can happen to an operation of that name."""
    if name == "close":
        return ("EIO", "EINTR")
    if name in ("ficlone", "flock"):
        return ("EIO", "EOPNOTSUPP" if name == "ficlone" else "ENOLCK")
    if name not in CHANGES:
        return ("EIO", "EACCES") if name in ("open", "scandir") else ("EIO",)
    effects = ["EIO", CRASH, INTERRUPT, "EIO+"]
    if name in _MAKES_OR_FILLS:
        effects += ["ENOSPC", "ENOSPC+"]
    if name in _WRITES:
        effects += [SHORT, LIE]
    if name == "renameat2":
        effects += ["ENOSYS", "EINVAL"]
    if name in ("fchown", "chown", "fchmod", "chmod", "utime", "setxattr"):
        effects += ["EPERM"]
    return tuple(effects)


class Seam:
    """A context manager; one at a time in a process, and not for code that forks. `operations` is what was done.

    `roots` are the folders whose operations count. With `fault`, `happened` tells afterwards what it struck, None when it
    was not reached.
    """

    def __init__(self, roots: Sequence[str], fault: Fault | None = None, done: Done | None = None) -> None:
        self._roots = tuple(os.path.realpath(root) for root in roots)
        self._fault = fault
        self._done = done
        self._dead = False
        self._lock = threading.RLock()
        self._handles: dict[int, str] = {}
        self._before: list[tuple[Any, str, Any]] = []
        self.operations: list[Operation] = []
        self.happened: Operation | None = None

    # -- putting it in and taking it out ---------------------------------------------------------------------

    def __enter__(self) -> Seam:
        for name, position in {**_ONE_PATH, **_ONE_HANDLE}.items():
            self._put(os, name, self._passing(name, self._argument(position)))
        for name in _TWO_PATHS:
            self._put(os, name, self._passing(name, self._second_path))
        self._put(os, "fdopen", self._opened_stream)
        self._put(builtins, "open", self._opened_file)
        self._put(fcntl, "flock", self._passing("flock", self._argument(0), fcntl.flock))
        self._put(fcntl, "ioctl", self._passing("ficlone", self._argument(0), fcntl.ioctl))
        for attribute, name, path_of in (
            ("rename", "renameat2", lambda *arguments: self._path(arguments[4], arguments[3])),
            ("set_times_of_descriptor", "futimens", self._argument(1)),
            ("set_times", "utimensat", self._argument(1)),
        ):
            self._put(Library, attribute, self._passing(name, path_of, getattr(Library, attribute)))
        for name, module in list(sys.modules.items()):
            if name.startswith("runner_plugins.local.") and getattr(module, "native", None) is not None:
                self._put(module, "native", None)
        # What is done wrong on purpose comes through here, too.
        mutate()
        return self

    def __exit__(self, *_: object) -> None:
        for owner, name, original in reversed(self._before):
            setattr(owner, name, original)
        # A process that is gone holds nothing open.
        for handle in self._handles:
            try:
                os.close(handle)
            except OSError:
                pass
        self._handles.clear()

    def _put(self, owner: Any, name: str, value: Any) -> None:
        self._before.append((owner, name, getattr(owner, name)))
        setattr(owner, name, value)

    # -- which path an operation is about --------------------------------------------------------------------

    def _argument(self, position: int) -> Callable[..., str | None]:
        def path(*arguments: Any, dir_fd: int | None = None, **_: Any) -> str | None:
            return self._path(arguments[position], dir_fd)

        return path

    def _second_path(
        self,
        source: Any,
        target: Any,
        *,
        src_dir_fd: int | None = None,
        dst_dir_fd: int | None = None,
        **_: Any,
    ) -> str | None:
        return self._path(target, dst_dir_fd)

    def _path(self, path: Any, folder: int | None) -> str | None:
        """Absolute, if it is below the roots."""
        if isinstance(path, int):
            return self._handles.get(path)
        text = os.fsdecode(path)
        if text.startswith("/proc/self/fd/"):
            number, _, rest = text.removeprefix("/proc/self/fd/").partition("/")
            base = self._handles.get(int(number))
            return base if base is None or not rest else f"{base}/{rest}"
        if not text.startswith("/"):
            base = None if folder is None else self._handles.get(folder)
            return base if base is None or text == "." else f"{base}/{text}"
        if any(text == root or text.startswith(root + "/") for root in self._roots):
            # Looked for by the clock.
            return None if text.endswith("/control.json") else text
        return None

    # -- operations ------------------------------------------------------------------------------------------

    def _passing(
        self, name: str, path_of: Callable[..., str | None], original: Callable[..., Any] | None = None
    ) -> Callable[..., Any]:
        real: Callable[..., Any] = original or getattr(os, name)

        def operation(*arguments: Any, **keywords: Any) -> Any:
            path = path_of(*arguments, **keywords)
            if path is None:
                return real(*arguments, **keywords)
            with self._lock:
                return self._carried_out(name, path, real, arguments, keywords)

        return operation

    def _carried_out(
        self,
        name: str,
        path: str,
        real: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> Any:
        if name == "close":
            self._handles.pop(arguments[0], None)
        if self._dead:
            if name == "close":
                return real(*arguments)
            raise CrashError
        if name == "open" and arguments[1] & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY | os.O_TRUNC):
            name = "create"
        self.operations.append(Operation(name, path))
        effect = self._effect(name)
        if effect is not None:
            self.happened = self.happened or self.operations[-1]
            if name == "close":
                # Linux frees the handle whatever it answers.
                real(*arguments)
            if effect == CRASH:
                self._dead = True
                raise CrashError
            if effect == INTERRUPT:
                raise KeyboardInterrupt
            if effect not in (SHORT, LIE):
                assert self._fault is not None
                raise self._fault.error(path)
            return self._partly(name, effect, real, arguments, keywords)
        result = real(*arguments, **keywords)
        if name in ("open", "create", "dup"):
            self._handles[result] = path
        if self._done is not None:
            self._done(name, arguments, keywords, result)
        return result

    def _effect(self, name: str) -> str | None:
        fault = self._fault
        if fault is None or len(self.operations) < fault.number:
            return None
        if len(self.operations) == fault.number:
            return fault.effect
        return fault.effect if fault.lasts and fault.effect in effects_of(name) else None

    def _partly(
        self,
        name: str,
        effect: str,
        real: Callable[..., Any],
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
    ) -> int:
        """Half of a write. SHORT says so, LIE does not."""
        if name in ("write", "pwrite"):
            handle, content, *rest = arguments
            size = len(content)
            arguments = (handle, memoryview(content)[: size // 2], *rest)
        else:
            source, target, size, *rest = arguments
            arguments = (source, target, size // 2, *rest)
        done: int = real(*arguments, **keywords)
        return done if effect == SHORT else size

    # -- files that Python's own classes read and write --------------------------------------------------------

    def _opened_stream(self, handle: int, mode: str = "r", *more: Any, **keywords: Any) -> Any:
        """os.fdopen: what is written goes through os.write."""
        if handle not in self._handles or "r" in mode:
            self._handles.pop(handle, None)
            return io.open(handle, mode, *more, **keywords)  # noqa: UP020 - the other one is put aside
        buffered = io.BufferedWriter(_Written(handle))
        return buffered if "b" in mode else io.TextIOWrapper(buffered, *more[1:], **keywords)

    def _opened_file(self, file: Any, mode: str = "r", *more: Any, **keywords: Any) -> Any:
        """open(): the opening counts, and nothing may be written so, unseen."""

        def opened() -> Any:
            return io.open(file, mode, *more, **keywords)  # noqa: UP020 - the other one is put aside

        path = None if isinstance(file, int) else self._path(file, None)
        if path is None:
            return opened()
        unseen = self._done is not None and set(mode) & set("wax+") and os.path.lexists(path)
        assert not unseen, f"{path} is written unseen"
        with self._lock:
            if self._dead:
                raise CrashError
            self.operations.append(Operation("open", path))
            effect = self._effect("open")
            if effect is not None:
                assert self._fault is not None
                self.happened = self.happened or self.operations[-1]
                raise self._fault.error(path)
            return opened()


class _Written(io.RawIOBase):
    """A file that is open to be written, whose every step is one of the os module."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    def writable(self) -> bool:
        return True

    def write(self, content: Any, /) -> int:
        return os.write(self._handle, content)

    def close(self) -> None:
        if not self.closed:
            super().close()
            os.close(self._handle)
