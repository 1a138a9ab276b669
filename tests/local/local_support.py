"""What the local driver's tests share: opening, a small engine, an independent manifest, another user."""

from __future__ import annotations

import ctypes
import errno
import hashlib
import json
import os
import stat
from collections.abc import Callable
from typing import Any

from runner_plugins.local.address import capabilities
from runner_plugins.local.location import LocalLocation
from runner_plugins.local.syscalls import Syscalls

from runner.locations.protocol import OpenSettings
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import LocationSettings

NOBODY = 65534
EXECUTION_ID = "0123456789ab"
ALL_ATTRIBUTES = frozenset({"mode", "uid", "gid", "xattrs", "acls"})

NASTY_NAMES: list[bytes] = [
    b"plain",
    b"new\nline",
    b"carriage\rreturn",
    b"tab\there",
    b"esc\x1b[31mred",
    b"c1\x9bcontrol",
    b"invalid\xff\xfeutf8",
    b"surrogate\xed\xa0\x80",
    "nfc-\u00e9".encode(),
    "nfd-e\u0301".encode(),
    "kelvin-\u212a".encode(),
    b"kelvin-K",
    b"x" * 255,
    ("\u00e9" * 127 + "z").encode(),
    b"-rf",
    b"--delete",
    b" leading",
    b"trailing ",
    b"'single'",
    b'"double"',
    b"back`tick`",
    b"$(touch pwned)",
    b"${HOME}",
    b"*",
    b"?[a-z]",
    b"{a,b}",
    b"%s%n",
    b"{{7*7}}",
    "bidi-\u202egnp.exe".encode(),
    b"..\\..\\x",
    b"C:\\x",
    b"a:b",
    b"#hash",
    b";semicolon",
    b"&amp",
    b"<img src=x onerror=alert(1)>",
    b"=1+1",
    b"@at",
    b"...",
    b".hidden",
    b"a-b",
    b"\x7fdelete",
]


class NoThrottle:
    """Lets everything pass."""

    def take(self, size_bytes: int) -> None:
        return None


class HookedThrottle:
    """Calls `hook` with the number of the call, before the chunk passes."""

    def __init__(self, hook: Callable[[int], None]) -> None:
        self._hook = hook
        self.calls = 0

    def take(self, size_bytes: int) -> None:
        self.calls += 1
        self._hook(self.calls)


class NoFeatures(Syscalls):
    """A kernel that knows neither renameat2 nor O_TMPFILE nor reflinks."""

    def rename_noreplace(self, source_fd: int, source: str, target_fd: int, target: str) -> None:
        raise OSError(errno.ENOSYS, "no renameat2")

    def rename_exchange(self, source_fd: int, source: str, target_fd: int, target: str) -> None:
        raise OSError(errno.EINVAL, "no exchange")

    def open_unnamed(self, directory_fd: int) -> int:
        raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE")

    def clone_file(self, target_fd: int, source_fd: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "no reflinks")


THROTTLE = NoThrottle()
_OPENED: list[LocalLocation] = []


def settings_for(path: object) -> LocationSettings:
    return LocationSettings(name="here", type="local", options={"path": str(path)}, base_directory="/")


def open_at(
    path: object, *, create: bool = False, syscalls: Syscalls | None = None, **options: Any
) -> LocalLocation:
    options.setdefault("execution_id", EXECUTION_ID)
    location = LocalLocation(
        os.path.realpath(str(path)),
        OpenSettings(**options),
        capabilities(settings_for(path)),
        create=create,
        token="aa",
        syscalls=syscalls,
    )
    _OPENED.append(location)
    return location


def close_opened() -> None:
    """Close what `open_at` opened: a mount under an open location cannot go."""
    while _OPENED:
        _OPENED.pop().close()


def entries_of(location: LocalLocation, prefix: str = "") -> dict[str, Entry]:
    found = {}
    for each in location.scan(prefix):
        assert isinstance(each, Entry), each
        found[each.path] = each
    return found


def problems_of(location: LocalLocation) -> list[tuple[str, str]]:
    return [(each.path, each.code.value) for each in location.scan() if isinstance(each, Problem)]


def mirror(source: LocalLocation, destination: LocalLocation) -> list[tuple[str, tuple[str, ...]]]:
    """The smallest engine: all of `source` made at an empty `destination`. Returns what was refused."""
    refused = []
    folders = []
    groups: dict[str, str] = {}
    for entry in source.scan():
        assert isinstance(entry, Entry), entry
        if entry.link_group in groups:
            destination.link(entry.path, groups[entry.link_group], None)
            continue
        if entry.link_group is not None:
            groups[entry.link_group] = entry.path
        if entry.kind is Kind.FILE:
            written = destination.copy(source, entry, entry, None, THROTTLE)
            assert written.bytes == entry.size_bytes
        else:
            written = destination.put(entry, None, None, THROTTLE)
        if written.refused:
            refused.append((entry.path, written.refused))
        if entry.is_directory:
            folders.append(entry)
    for entry in reversed(folders):
        destination.set_attributes(entry, None)
    return refused


def manifest(root: object) -> dict[bytes, tuple[Any, ...]]:
    """Every path below `root` with its facts, by bytes and by code that is not the driver's."""
    found: dict[bytes, tuple[Any, ...]] = {}
    groups: dict[tuple[int, int], list[bytes]] = {}
    top = os.fsencode(str(root))
    pending = [b""]
    while pending:
        relative = pending.pop()
        full = os.path.join(top, relative) if relative else top
        facts = os.lstat(full)
        content: Any = None
        if stat.S_ISREG(facts.st_mode):
            with open(full, "rb") as file:
                content = hashlib.sha256(file.read()).hexdigest()
        elif stat.S_ISLNK(facts.st_mode):
            content = os.readlink(full)
        elif stat.S_ISDIR(facts.st_mode):
            pending.extend(os.path.join(relative, name) for name in os.listdir(full))
        elif stat.S_ISCHR(facts.st_mode) or stat.S_ISBLK(facts.st_mode):
            content = facts.st_rdev
        if facts.st_nlink > 1 and not stat.S_ISDIR(facts.st_mode):
            groups.setdefault((facts.st_dev, facts.st_ino), []).append(relative)
        xattrs = tuple(
            (name, os.getxattr(full, name, follow_symlinks=False))
            for name in sorted(os.listxattr(full, follow_symlinks=False))
        )
        found[relative] = (facts.st_mode, facts.st_uid, facts.st_gid, facts.st_mtime_ns, content, xattrs)
    for members in groups.values():
        for member in members:
            found[member] += (tuple(sorted(members)),)
    return found


def as_nobody(work: Callable[[], Any]) -> Any:
    """The JSON-able result of `work`, done in a child process of an unprivileged user."""
    read_fd, write_fd = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(read_fd)
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            os.write(write_fd, json.dumps(work()).encode())
            status = 0
        except BaseException as error:
            os.write(write_fd, json.dumps(repr(error)).encode())
        finally:
            os._exit(status)
    os.close(write_fd)
    with os.fdopen(read_fd, "rb") as pipe:
        answer = json.loads(pipe.read())
    _, status = os.waitpid(child, 0)
    assert status == 0, answer
    return answer


def exchange(left: str, right: str) -> None:
    """Swap two names, as an attacker would."""
    library = ctypes.CDLL(None, use_errno=True)
    if library.renameat2(-100, os.fsencode(left), -100, os.fsencode(right), 2) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")
