"""Small trees declared in one expression, for memory and for a real folder, and names that hurt.

small = tree({"a/": {}, "a/b.txt": b"x", "empty/": Folder(mode=0o500), "link": Symlink("a/b.txt"),
              "again.txt": HardLink("a/b.txt"), "pipe": Special(Kind.FIFO)})
left = small.memory()          # a MemoryTree
small.write("/some/folder")    # the same on a file system
"""

from __future__ import annotations

import os
import socket
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

from runner.model.entry import Attributes, Kind, path_bytes
from runner.testing.memory_tree import MTIME_BASE_NS, MemoryTree, Node


@dataclass(frozen=True, slots=True)
class File:
    """A file. `holes` makes the content that many bytes long with `content` at its end (sparse on disk)."""

    content: bytes = b""
    mode: int = 0o644
    mtime_ns: int = MTIME_BASE_NS
    xattrs: tuple[tuple[str, bytes], ...] = ()
    holes: int = 0

    @property
    def all_bytes(self) -> bytes:
        return b"\0" * max(0, self.holes - len(self.content)) + self.content


@dataclass(frozen=True, slots=True)
class Folder:
    """A directory with its own mode and time."""

    mode: int = 0o755
    mtime_ns: int = MTIME_BASE_NS


@dataclass(frozen=True, slots=True)
class Symlink:
    """A symbolic link; `target` is its text."""

    target: str
    mtime_ns: int = MTIME_BASE_NS


@dataclass(frozen=True, slots=True)
class HardLink:
    """Another name of the file declared at `path`."""

    path: str


@dataclass(frozen=True, slots=True)
class Special:
    """A FIFO or a socket (or, in memory only, a device)."""

    kind: Kind
    mtime_ns: int = MTIME_BASE_NS


Declared = File | Folder | Symlink | HardLink | Special
Spec = Mapping[str, "bytes | Declared | Spec"]


@dataclass(frozen=True, slots=True)
class Tree:
    """A declared tree: (path, what stands there) in canonical order, hard links last."""

    declared: tuple[tuple[str, Declared], ...]

    def memory(self, *, identity: str = "memory-1") -> MemoryTree:
        """A new MemoryTree that holds it. Owners are 0, folders dated as declared."""
        built = MemoryTree(identity=identity)
        for path, one in self.declared:
            if isinstance(one, HardLink):
                built.place(path, built.node(one.path))
            else:
                built.place(path, _node(built, one))
        return built

    def write(self, folder: str) -> None:
        """Make it below `folder` (made if missing), owned by the caller. Folders get their times last.

        Raises OSError where the file system cannot hold a name or a kind.
        """
        top = os.fsencode(folder)
        os.makedirs(top, exist_ok=True)
        for path, one in self.declared:
            _write_one(top, path, one)
        for path, one in reversed(self.declared):
            if isinstance(one, Folder):
                full = top + b"/" + path_bytes(path)
                os.chmod(full, one.mode)
                os.utime(full, ns=(one.mtime_ns, one.mtime_ns))


def tree(spec: Spec) -> Tree:
    """Check and sort a declaration. Keys are paths; directories end with `/` and hold a Folder or a nested
    declaration (`{}` = a plain folder); bytes are a plain file's content. Parents need not be declared."""
    flat: dict[str, Declared] = {}
    _flatten("", spec, flat)
    for path in list(flat):
        parts = path.removesuffix("/").split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            flat.setdefault("/".join(parts[:depth]) + "/", Folder())
    ordered = sorted(flat.items(), key=lambda pair: (isinstance(pair[1], HardLink), path_bytes(pair[0])))
    return Tree(tuple(ordered))


def _flatten(prefix: str, spec: Spec, into: dict[str, Declared]) -> None:
    for key, value in spec.items():
        path = prefix + key
        if isinstance(value, Mapping):
            into[path] = Folder()
            _flatten(path, value, into)
        else:
            into[path] = File(value) if isinstance(value, bytes) else value
        if path.endswith("/") != isinstance(into[path], Folder):
            raise ValueError(f"{path!r}: folders, and only folders, end with a slash")


def _node(built: MemoryTree, one: Declared) -> Node:
    assert not isinstance(one, HardLink)
    if isinstance(one, File):
        node = built.new_node(Kind.FILE, one.mtime_ns, one.all_bytes)
        node.attributes = Attributes(mode=one.mode, uid=0, gid=0, xattrs=tuple(sorted(one.xattrs)), acls=())
    elif isinstance(one, Folder):
        node = built.new_node(Kind.DIRECTORY, one.mtime_ns)
        node.attributes = Attributes(mode=one.mode, uid=0, gid=0, xattrs=(), acls=())
    elif isinstance(one, Symlink):
        node = built.new_node(Kind.SYMLINK, one.mtime_ns)
        node.attributes = Attributes(mode=0o777, uid=0, gid=0, xattrs=(), acls=())
        node.link_target = one.target
    else:
        node = built.new_node(one.kind, one.mtime_ns)
        node.attributes = Attributes(mode=0o644, uid=0, gid=0, xattrs=(), acls=())
    return node


def _write_one(top: bytes, path: str, one: Declared) -> None:
    full = top + b"/" + path_bytes(path)
    if isinstance(one, Folder):
        os.mkdir(full)
        return
    if isinstance(one, HardLink):
        os.link(top + b"/" + path_bytes(one.path), full, follow_symlinks=False)
        return
    if isinstance(one, Symlink):
        os.symlink(path_bytes(one.target), full)
    elif isinstance(one, Special):
        _make_special(full, one.kind)
    else:
        _write_file(full, one)
    os.utime(full, ns=(one.mtime_ns, one.mtime_ns), follow_symlinks=False)


def _write_file(full: bytes, one: File) -> None:
    descriptor = os.open(full, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as writer:
        if one.holes > len(one.content):
            os.ftruncate(writer.fileno(), one.holes)
            writer.seek(one.holes - len(one.content))
        writer.write(one.content)
        writer.flush()
        for name, value in one.xattrs:
            os.setxattr(writer.fileno(), name, value)
        os.fchmod(writer.fileno(), one.mode)


def _make_special(full: bytes, kind: Kind) -> None:
    if kind is Kind.FIFO:
        os.mkfifo(full, 0o644)
    elif kind is Kind.SOCKET:
        # Bound under a short name, then moved: a socket's address holds 107 bytes only.
        with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"{short}/s")
            os.chmod(f"{short}/s", 0o644)
            os.rename(f"{short}/s", full)
    else:
        raise ValueError(f"a {kind.value} can be declared in memory only")
    assert stat.S_IFMT(os.lstat(full).st_mode) in (stat.S_IFIFO, stat.S_IFSOCK)


def hostile_names() -> list[bytes]:
    """42 single names that tools get wrong: legal on Linux file systems, different as bytes. They can stand
    in one folder of a case-sensitive file system that does not normalise Unicode."""
    return [
        b"new\nline",
        b"\n",
        b"carriage\rreturn",
        b"tab\tstop",
        b"escape\x1b[31mred",
        b"csi\x9b31m",
        b"bell\x07",
        b"delete\x7f",
        b"control\x01",
        b"invalid-\xff\xfe",
        b"truncated-\xe2\x82",
        b"surrogate-\xed\xa0\x80",
        b"overlong-\xc0\xaf",
        "caf\u00e9".encode(),
        "cafe\u0301".encode(),
        "K-kelvin-\u212a".encode(),
        b"K-kelvin-K",
        "bidi-\u202egnp.exe".encode(),
        "zero\u200bwidth".encode(),
        "nbsp\u00a0".encode(),
        "emoji-\U0001f600".encode(),
        b"n" * 255,
        "\u00fc".encode() * 127 + b"x",
        b"-rf",
        b"--delete",
        b" leading",
        b"trailing ",
        b" ",
        b"trailing-dot.",
        b"...",
        b"#comment",
        b";semicolon",
        b"!bang",
        b"quote'single",
        b'quote"double',
        b"$(touch pwned)",
        b"`touch pwned`",
        b"*?[x]",
        b"%s%n",
        b"{{7*7}}",
        b"..\\..\\x",
        b"<img src=x onerror=alert(1)>",
    ]


def hostile_tree() -> Tree:
    """A file and a folder with a file for every hostile name: about 130 entries."""
    spec: dict[str, bytes | Declared | Spec] = {}
    for name in hostile_names():
        text = os.fsdecode(name)
        spec[f"files/{text}"] = name
        spec[f"folders/{text}/"] = Folder()
        spec[f"folders/{text}/inside"] = b"inside " + name
    return tree(spec)
