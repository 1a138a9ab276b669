"""Small jobs for the command, each with every kind of change in it: a source, an older destination, a sync.yaml.

What a file held before and what it is to hold are both known, so that after any fault each path can be held against
the two. Contents differ in length, so that no comparison is blind.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner.model.entry import Kind
from runner.testing.trees import File, Folder, HardLink, Special, Symlink, Tree, tree

OLD_NS = 1_600_000_000_000_000_000
NEW_NS = 1_700_000_000_123_456_789
BIG_BYTES = 1_500_000


def content(name: str, size: int) -> bytes:
    """Bytes that no other name and no other size has, without zeros."""
    seed = f"{name}:{size};".encode()
    return (seed * (size // len(seed) + 1))[:size]


def _file(name: str, size: int, **more: Any) -> File:
    return File(content(name, size), **{"mtime_ns": NEW_NS, **more})


def _old(name: str, size: int, **more: Any) -> File:
    return File(content("old " + name, size), **{"mtime_ns": OLD_NS, **more})


SAME: dict[str, Any] = {
    "same/": Folder(mtime_ns=OLD_NS),
    "same/file": _old("same", 3_000),
    "same/link": Symlink("file", mtime_ns=OLD_NS),
}


def changed() -> Tree:
    """The source after every kind of edit."""
    return tree(
        {
            **SAME,
            "new/": Folder(mtime_ns=NEW_NS),
            "new/small": _file("small", 5_000),
            "new/empty": _file("empty", 0),
            "new/private": _file("private", 100, mode=0o600, xattrs=(("user.note", b"kept"),)),
            "new/deep/folder/file": _file("deep", 700),
            "new/link": Symlink("small", mtime_ns=NEW_NS),
            "new/pipe": Special(Kind.FIFO, mtime_ns=NEW_NS),
            "new/pair-a": _file("pair", 900),
            "new/pair-b": HardLink("new/pair-a"),
            "big": _file("big", BIG_BYTES),
            "holes": File(content("holes", 4_096), mtime_ns=NEW_NS, holes=3 << 20),
            "replaced": _file("replaced", 6_000),
            "replaced-big": _file("replaced big", BIG_BYTES + 1),
            "relinked": Symlink("same/file", mtime_ns=NEW_NS),
            "chmodded": _old("chmodded", 50, mode=0o640),
            "tagged": _old("tagged", 60, xattrs=(("user.tag", b"new"),)),
            "was-file/": Folder(mtime_ns=NEW_NS),
            "was-file/inside": _file("inside", 80),
            "was-folder": _file("was folder", 90),
            "was-link": _file("was link", 110),
        }
    )


def before() -> Tree:
    """The destination as it was before those edits."""
    return tree(
        {
            **SAME,
            "replaced": _old("replaced", 5_500),
            "replaced-big": _old("replaced big", BIG_BYTES),
            "relinked": Symlink("same", mtime_ns=OLD_NS),
            "chmodded": _old("chmodded", 50, mode=0o600),
            "tagged": _old("tagged", 60, xattrs=(("user.tag", b"old"), ("user.gone", b"x"))),
            "was-file": _old("was file", 70),
            "was-folder/": Folder(mtime_ns=OLD_NS),
            "was-folder/inside": _old("inside", 75),
            "was-link": Symlink("same/file", mtime_ns=OLD_NS),
            "gone": _old("gone", 400),
            "gone-folder/": Folder(mtime_ns=OLD_NS),
            "gone-folder/a": _old("gone a", 410),
            "gone-folder/b": _old("gone b", 420),
            "gone-link": Symlink("gone", mtime_ns=OLD_NS),
        }
    )


def many() -> Tree:
    """More files than one process does alone."""
    return tree(
        {f"d{number % 3}/f{number:02d}": _file(f"many {number}", 300 + number) for number in range(36)}
        | {"big": _file("many big", BIG_BYTES)}
    )


def some_of_many() -> Tree:
    """An older copy of it, with a few files that are gone since."""
    return tree(
        {f"d{number % 3}/f{number:02d}": _old(f"many {number}", 200 + number) for number in range(0, 36, 6)}
        | {f"d1/gone{number}": _old(f"gone {number}", 100 + number) for number in range(4)}
    )


def nothing() -> Tree:
    return tree({})


@dataclass(frozen=True)
class Scene:
    """A job: two trees, the task's options, and the environment of the command. `makes_root` False: there is no
    destination folder yet."""

    name: str
    source: Callable[[], Tree]
    destination: Callable[[], Tree]
    options: Mapping[str, Any]
    environment: Mapping[str, str] = field(default_factory=dict)
    makes_root: bool = True

    @property
    def quarantines(self) -> bool:
        return self.options.get("preserve_deleted_files") == "quarantine"

    @property
    def workers(self) -> int:
        """Processes that may write at once, each of which may be killed with a temporary file of its own."""
        return int(self.options.get("workers", 2))

    def document(self, source: str, destination: str, state: str) -> dict[str, Any]:
        """sync.yaml, with one task `t`."""
        return {
            "version": 1,
            "settings": {"state": state},
            "locations": {
                "src": {"type": "local", "path": source},
                "dst": {"type": "local", "path": destination},
            },
            "tasks": {
                "t": {
                    "source": "src",
                    "destination": "dst",
                    "options": {"retries": {"attempts": 3, "delay": "1ms"}, **self.options},
                    "guards": {"max_deletions": {"percent": 100}},
                    "reports": ["json"],
                }
            },
        }


SCENES = (
    Scene("new", changed, nothing, {"durability": "none"}),
    Scene(
        "full", changed, before, {"durability": "full", "preserve_deleted_files": "remove", "sparse": True}
    ),
    Scene(
        "kernel",
        changed,
        before,
        {
            "durability": "file",
            "preserve_deleted_files": "quarantine",
            "integrity": "size",
            "verify_mode": "point_in_time_consistent",
        },
    ),
    Scene(
        "python",
        changed,
        before,
        {"durability": "none", "preserve_deleted_files": "remove"},
        {"SYNC_RUNNER_PURE_PYTHON": "1"},
    ),
    Scene(
        "pool", many, some_of_many, {"durability": "file", "preserve_deleted_files": "remove", "workers": 2}
    ),
)


class Place:
    """A folder with src/, dst/, state/ and sync.yaml, made afresh for each case."""

    def __init__(self, folder: Path, scene: Scene) -> None:
        self.folder = folder
        self.scene = scene
        self.source = folder / "src"
        self.destination = folder / "dst"
        self.state = folder / "state"
        self.temporary = folder / "tmp"
        self._source_tree = scene.source()
        self._destination_tree = scene.destination()

    def make(self, *, fresh_source: bool = True) -> None:
        """Both trees and the configuration as before the first run. `fresh_source` False: the source is untouched."""
        self.folder.mkdir(parents=True, exist_ok=True)
        remove_tree(self.temporary)
        self.temporary.mkdir()
        remove_tree(self.state)
        remove_tree(self.destination)
        if fresh_source:
            remove_tree(self.source)
            self._source_tree.write(str(self.source))
            os.utime(self.source, ns=(NEW_NS, NEW_NS))
        if self.scene.makes_root:
            self._destination_tree.write(str(self.destination))
        document = self.scene.document(str(self.source), str(self.destination), str(self.state))
        (self.folder / "sync.yaml").write_text(json.dumps(document))


def remove_tree(path: Path) -> None:
    """Remove what stands there, if anything does."""
    if os.path.lexists(path):
        shutil.rmtree(path)
