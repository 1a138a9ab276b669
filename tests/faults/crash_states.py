"""What a power cut may leave: the operations of one run, recorded, and every state of the disk that they allow.

As ALICE has it (Pillai and others, OSDI 2014): before any operation the power may go. What was written to a file since it
was last flushed has not arrived, or as zeros, or in part, or whole; each name that was given or taken in a folder since that
was flushed is there or not, whatever the others do, as far as file systems keep themselves whole: nothing is moved into a
folder that is not there itself, no folder goes that holds something, and what is done in a folder comes after what was done
to the folder. One rename is one step. Metadata comes with content.
"""

from __future__ import annotations

import itertools
import os
import random
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from runner.testing.manifest import Row

# Real ones, also while a stand-in is in their place.
_STAT, _OPEN, _CLOSE, _LSEEK, _PREAD = os.stat, os.open, os.close, os.lseek, os.pread
_LISTXATTR, _GETXATTR, _READLINK = os.listxattr, os.getxattr, os.readlink

ALL_AT_MOST = 48
"""So many combinations of what arrived are all tried; of more, each single deviation from all and from nothing, and some."""
SOME = 16
_LOST_MTIME_NS = 1_650_000_000_000_000_000
_META = frozenset(
    {
        "chmod",
        "fchmod",
        "chown",
        "fchown",
        "lchown",
        "utime",
        "futimens",
        "utimensat",
        "setxattr",
        "removexattr",
    }
)
_FILLS = frozenset({"write", "pwrite", "copy_file_range", "sendfile", "ficlone", "ftruncate", "truncate"})
_NAMES = frozenset({
    "create", "mkdir", "mkfifo", "mknod", "symlink", "link", "rename", "replace", "renameat2", "unlink", "remove", "rmdir",
})  # fmt: skip

Name = tuple[int, str]
"""An inode of a folder, and a name in it."""


class Meta(NamedTuple):
    mode: int
    uid: int
    gid: int
    mtime_ns: int
    xattrs: tuple[tuple[str, bytes], ...]


class Inode(NamedTuple):
    """What a file, a folder or whatever it is holds; `target` of links, `device` of devices."""

    format: int
    meta: Meta
    content: bytes = b""
    target: str = ""
    device: int = 0


class Names(NamedTuple):
    """A change of names in one step: who is called so from now on, None = nobody."""

    changes: tuple[tuple[Name, int | None], ...]


class Filled(NamedTuple):
    """A file's content or metadata changed: all it is now."""

    inode: int
    now: Inode


class Flushed(NamedTuple):
    inode: int


class Made(NamedTuple):
    """A new inode, without a name."""

    inode: int
    now: Inode


Event = Names | Filled | Flushed | Made


class Recorder:
    """Listens to a Seam, and writes down what its operations did below `top`. A context manager.

    Every inode that is met is held open until the end: no number is used twice.
    """

    def __init__(self, top: Path, folders: Iterable[str]) -> None:
        """`folders` are the names in `top` that count, if they are there."""
        self.events: list[Event] = []
        self.names: dict[Name, int] = {}
        self.inodes: dict[int, Inode] = {}
        self._held: dict[int, int] = {}
        self.top = self._met(str(top), None)
        self._folders = frozenset(folders)
        for name in self._folders:
            if os.path.lexists(top / name):
                self._take_in(self.top, name, str(top / name))
        self._first = dict(self.inodes), dict(self.names)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._held.values():
            _CLOSE(handle)

    @property
    def before(self) -> tuple[Mapping[int, Inode], Mapping[Name, int]]:
        """Inodes and names as they were when recording began."""
        return self._first

    def _take_in(self, folder: int, name: str, path: str) -> None:
        inode = self._met(path, None)
        self.names[folder, name] = inode
        if stat.S_ISDIR(self.inodes[inode].format):
            for child in os.listdir(path):
                self._take_in(inode, child, f"{path}/{child}")

    def _met(self, path: Any, folder: int | None) -> int:
        """The number of the inode there, held from now on; its state is looked at once."""
        number = _STAT(path, dir_fd=folder, follow_symlinks=False).st_ino
        if number not in self._held:
            self._held[number] = _OPEN(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
            self.inodes[number] = self._looked_at(number)
        return number

    def _looked_at(self, number: int) -> Inode:
        """What it is now, in all."""
        handle = self._held[number]
        facts = _STAT(handle)
        path = f"/proc/self/fd/{handle}"
        format_bits = stat.S_IFMT(facts.st_mode)
        content, target, xattrs = b"", "", ()
        if format_bits == stat.S_IFREG:
            content = _content(path, facts.st_size)
        if format_bits == stat.S_IFLNK:
            target = _READLINK("", dir_fd=handle)
        else:
            xattrs = tuple((name, _GETXATTR(path, name)) for name in sorted(_LISTXATTR(path)))
        meta = Meta(stat.S_IMODE(facts.st_mode), facts.st_uid, facts.st_gid, facts.st_mtime_ns, xattrs)
        return Inode(format_bits, meta, content, target, facts.st_rdev)

    # -- what the seam tells -----------------------------------------------------------------------------------

    def done(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
        if name in ("fsync", "fdatasync"):
            self.events.append(Flushed(_STAT(arguments[0]).st_ino))
        elif name in _FILLS:
            self._filled(arguments[1 if name == "copy_file_range" else 0], None, follow=True)
        elif name in _META:
            target = arguments[1] if name in ("futimens", "utimensat") else arguments[0]
            self._filled(target, keywords.get("dir_fd"), follow=keywords.get("follow_symlinks", True))
        elif name in _NAMES:
            self._named(name, arguments, keywords, result)

    def _filled(self, path: Any, folder: int | None, *, follow: bool) -> None:
        facts = _STAT(path) if isinstance(path, int) else _STAT(path, dir_fd=folder, follow_symlinks=follow)
        now = self._looked_at(facts.st_ino)
        if now != self.inodes[facts.st_ino]:
            self.inodes[facts.st_ino] = now
            self.events.append(Filled(facts.st_ino, now))

    def _named(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any], result: Any) -> None:
        places: list[tuple[Any, int | None]]
        if name == "renameat2":
            _, source_fd, source, target_fd, target, *_ = arguments
            places = [(source, source_fd), (target, target_fd)]
        elif name in ("rename", "replace"):
            places = [
                (arguments[0], keywords.get("src_dir_fd")),
                (arguments[1], keywords.get("dst_dir_fd")),
            ]
        elif name == "link":
            places = [(arguments[1], keywords.get("dst_dir_fd"))]
        else:
            places = [(arguments[1 if name == "symlink" else 0], keywords.get("dir_fd"))]
        if name == "create" and arguments[1] & os.O_TMPFILE == os.O_TMPFILE:
            self._new(f"/proc/self/fd/{result}", None, follow=True)
            return
        changes = []
        for path, folder in places:
            place = self._place(path, folder)
            present = self._present(path, folder)
            if self.names.get(place) != present:
                changes.append((place, present))
                if present is None:
                    del self.names[place]
                else:
                    self.names[place] = present
            elif name == "create":
                # It was there, and may have been cut to nothing.
                self._filled(path, folder, follow=False)
        if changes:
            self.events.append(Names(tuple(changes)))

    def _place(self, path: Any, folder: int | None) -> Name:
        parent, _, name = os.fsdecode(path).rpartition("/")
        if parent:
            return _STAT(parent, dir_fd=folder).st_ino, name
        assert folder is not None
        return _STAT(folder).st_ino, name

    def _present(self, path: Any, folder: int | None) -> int | None:
        try:
            return self._new(path, folder, follow=False)
        except FileNotFoundError:
            return None

    def _new(self, path: Any, folder: int | None, *, follow: bool) -> int:
        """The inode there, which is told of when it was never met."""
        if follow:
            number = _STAT(path, dir_fd=folder).st_ino
            if number not in self._held:
                self._held[number] = _OPEN(path, os.O_PATH | os.O_CLOEXEC)
                self.inodes[number] = self._looked_at(number)
                self.events.append(Made(number, self.inodes[number]))
            return number
        known = len(self._held)
        number = self._met(path, folder)
        if len(self._held) > known:
            self.events.append(Made(number, self.inodes[number]))
        return number


def _content(path: str, size: int) -> bytes:
    handle = _OPEN(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return _PREAD(handle, size, 0)
    finally:
        _CLOSE(handle)


# -- states ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class State:
    """One state of the disk: what is found below the recorder's top. `cut` is the number of events before it."""

    cut: int
    inodes: Mapping[int, Inode] = field(repr=False)
    names: Mapping[Name, int] = field(repr=False)
    top: int = 0

    def paths(self, folder: str) -> dict[str, int]:
        """Inodes by path below one of the top's folders, which itself is ""; empty when it is not there."""
        found: dict[str, int] = {}
        start = self.names.get((self.top, folder))
        if start is None:
            return found
        children: dict[int, list[tuple[str, int]]] = {}
        for (parent, name), inode in self.names.items():
            children.setdefault(parent, []).append((name, inode))
        waiting = [("", start)]
        while waiting:
            path, inode = waiting.pop()
            found[path] = inode
            for name, child in children.get(inode, ()):
                waiting.append((f"{path}/{name}" if path else name, child))
        return found

    def rows(self, folder: str) -> dict[bytes, Row]:
        """As judge.rows_of shows a folder; hard links by what they hold."""
        return {os.fsencode(path): _row(self.inodes[inode]) for path, inode in self.paths(folder).items()}

    def signature(self, folders: Iterable[str]) -> int:
        """Equal states have equal ones."""
        return hash(
            frozenset(
                (name, path, self.inodes[inode])
                for name in folders
                for path, inode in self.paths(name).items()
            )
        )

    def make(self, top: Path, folders: Iterable[str]) -> None:
        """Put it on the disk; nothing of it is there yet."""
        for folder in folders:
            made: dict[int, str] = {}
            paths = self.paths(folder)
            for path in sorted(paths):
                inode, full = paths[path], str(top / folder / path) if path else str(top / folder)
                if inode in made:
                    os.link(made[inode], full, follow_symlinks=False)
                else:
                    _make(full, self.inodes[inode])
                    if not stat.S_ISDIR(self.inodes[inode].format):
                        made[inode] = full
            for path in sorted(paths, reverse=True):
                _dress(str(top / folder / path) if path else str(top / folder), self.inodes[paths[path]])


_DIGESTS: dict[bytes, str] = {}


def _row(inode: Inode) -> Row:
    digest = None
    if inode.format == stat.S_IFREG:
        digest = _DIGESTS.get(inode.content)
        if digest is None:
            digest = _DIGESTS[inode.content] = sha256(inode.content).hexdigest()
    meta = inode.meta
    return Row(
        kind=stat.filemode(inode.format)[0],
        mode=meta.mode,
        uid=meta.uid,
        gid=meta.gid,
        size=len(inode.content),
        sha256=digest,
        link_target=os.fsencode(inode.target) if inode.format == stat.S_IFLNK else None,
        hard_link_of=None,
        mtime_ns=meta.mtime_ns,
        xattrs=tuple((os.fsencode(name), value) for name, value in meta.xattrs),
        device=inode.device,
    )


def _make(path: str, inode: Inode) -> None:
    if inode.format == stat.S_IFDIR:
        os.mkdir(path)
    elif inode.format == stat.S_IFLNK:
        os.symlink(inode.target, path)
    elif inode.format == stat.S_IFREG:
        with open(path, "xb") as file:
            file.write(inode.content)
    else:
        os.mknod(path, inode.format | 0o600, inode.device)


def _dress(path: str, inode: Inode) -> None:
    meta = inode.meta
    os.chown(path, meta.uid, meta.gid, follow_symlinks=False)
    if inode.format != stat.S_IFLNK:
        for name, value in meta.xattrs:
            os.setxattr(path, name, value)
        os.chmod(path, meta.mode)
    os.utime(path, ns=(meta.mtime_ns, meta.mtime_ns), follow_symlinks=False)


class _Disk:
    """What is on the disk for certain, and what is on its way, as events come."""

    def __init__(self, inodes: Mapping[int, Inode], names: Mapping[Name, int]) -> None:
        self._inodes = dict(inodes)
        self._names = dict(names)
        self._filled: dict[int, list[Inode]] = {}
        self._named: list[Names] = []
        self._variants: dict[tuple[int, int], list[Inode]] = {}

    def take(self, event: Event) -> None:
        if isinstance(event, Made):
            self._inodes[event.inode] = event.now
        elif isinstance(event, Filled):
            if stat.S_ISREG(event.now.format):
                self._filled.setdefault(event.inode, []).append(event.now)
            else:
                # Of folders and links only names are of interest here.
                self._inodes[event.inode] = event.now
        elif isinstance(event, Names):
            self._named.append(event)
        else:
            if event.inode in self._filled:
                self._inodes[event.inode] = self._filled.pop(event.inode)[-1]
            still = []
            for change in self._named:
                if any(place[0] == event.inode for place, _ in change.changes):
                    _apply(self._names, change)
                else:
                    still.append(change)
            self._named = still

    def states(self, cut: int, top: int, chance: random.Random) -> Iterator[State]:
        """What may be found when the power goes now. All that arrived is the first."""
        files = list(self._filled)
        choices = [*(range(len(self._arrivals(inode))) for inode in files), *(range(2) for _ in self._named)]
        for chosen in _combinations([len(one) for one in choices], chance):
            inodes = dict(self._inodes)
            for inode, number in zip(files, chosen, strict=False):
                inodes[inode] = self._arrivals(inode)[number]
            names = dict(self._names)
            waiting: set[int | None] = set()
            for change, missing in zip(self._named, chosen[len(files) :], strict=True):
                in_order = not any(folder in waiting for (folder, _), _ in change.changes)
                if not missing and in_order and _can_be(names, change, top):
                    _apply(names, change)
                else:
                    waiting |= {inode for _, inode in change.changes}
            yield State(cut, inodes, names, top)

    def _arrivals(self, inode: int) -> list[Inode]:
        """What may have come of a file's unflushed changes: all, part, zeros, nothing."""
        pending = self._filled[inode]
        key = inode, id(pending[-1])
        if key not in self._variants:
            was, now = self._inodes[inode], pending[-1]
            size = len(now.content)
            half = now.content[: size // 2]
            variants = [now]
            if now.content != was.content:
                variants += [now._replace(content=half), now._replace(content=bytes(size))]
            lost = (
                was._replace(meta=was.meta._replace(mtime_ns=_LOST_MTIME_NS))
                if now.content != was.content
                else was
            )
            self._variants[key] = list(dict.fromkeys([*variants, lost]))
        return self._variants[key]


def _can_be(names: Mapping[Name, int], change: Names, top: int) -> bool:
    """Whether the folders are there that something gets a name in, and empty if they lose theirs."""
    above = {inode: folder for (folder, _), inode in names.items()}
    holding = {folder for folder, _ in names}
    staying = {inode for _, inode in change.changes}
    for place, inode in change.changes:
        gone = names.get(place)
        if gone in holding and gone not in staying:
            return False
        folder = place[0]
        while inode is not None and folder != top:
            if folder not in above:
                return False
            folder = above[folder]
    return True


def _apply(names: dict[Name, int], change: Names) -> None:
    for place, inode in change.changes:
        if inode is None:
            names.pop(place, None)
        else:
            names[place] = inode


def _combinations(sizes: list[int], chance: random.Random) -> Iterable[tuple[int, ...]]:
    """One number below each size. All of them if they are few; else each single deviation from the first and from the last
    of all, and some more."""
    count = 1
    for size in sizes:
        count *= size
    if count <= ALL_AT_MOST:
        return itertools.product(*(range(size) for size in sizes))
    first, last = tuple(0 for _ in sizes), tuple(size - 1 for size in sizes)
    found = dict.fromkeys([first, last])
    for position, size in enumerate(sizes):
        for number in range(size):
            for base in (first, last):
                found[(*base[:position], number, *base[position + 1 :])] = None
    for _ in range(SOME):
        found[tuple(chance.randrange(size) for size in sizes)] = None
    return found


def states_of(
    recorder: Recorder, folders: Iterable[str], *, from_cut: int = 0, seed: int = 1
) -> Iterator[State]:
    """Every distinct state that a power cut may leave, at every moment of what was recorded, in order.

    `from_cut`: only after so many events.
    """
    chance = random.Random(seed)
    disk = _Disk(*recorder.before)
    seen: set[int] = set()
    names = list(folders)
    for cut, event in enumerate([None, *recorder.events]):
        if event is not None:
            disk.take(event)
        if cut < from_cut:
            continue
        for state in disk.states(cut, recorder.top, chance):
            signature = state.signature(names)
            if signature not in seen:
                seen.add(signature)
                yield state
