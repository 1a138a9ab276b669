"""The command in this very process, on a small job, and what is wrong with what it left."""

from __future__ import annotations

import gc
import io
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from runner.cli.main import run_command
from runner.cli.output import Output
from runner.cli.services import Services
from runner.clock import SystemClock
from runner.locations.registry import Registry
from runner.model.entry import Kind
from runner.model.task import Configuration
from runner.testing.trees import File, Folder, HardLink, Special, Symlink, Tree, tree

from . import judge
from .scenes import NEW_NS, OLD_NS, Place, Scene, content
from .seam import CrashError, Done, Fault, Operation, Seam

CODES = frozenset({0, 2, 4, 5, 6, 7, 8, 130})
CRASHED = -9
_UNCHAINED = "reports was not continued"
_LARGE_BYTES = (1 << 20) + 7
"""Enough for what only larger files meet."""


_SAME = {
    "same/": Folder(mtime_ns=OLD_NS),
    "same/file": File(content("same", 30), mtime_ns=OLD_NS),
    "same/cafe\u0301": File(content("two letters", 40), mtime_ns=OLD_NS),
}


def changed() -> Tree:
    """The source after every kind of edit, each once."""
    return tree(
        {
            **_SAME,
            "new/": Folder(mtime_ns=NEW_NS),
            "new/caf\u00e9": File(content("small", 500), mtime_ns=NEW_NS),
            "new/cafe\u0301": File(content("not the same", 60), mtime_ns=NEW_NS),
            "new/empty": File(mtime_ns=NEW_NS, mode=0o600, xattrs=(("user.note", b"kept"),)),
            "new/link": Symlink("caf\u00e9", mtime_ns=NEW_NS),
            "new/pipe": Special(Kind.FIFO, mtime_ns=NEW_NS),
            "new/pair-a": File(content("pair", 90), mtime_ns=NEW_NS),
            "new/pair-b": HardLink("new/pair-a"),
            "large": File(content("large", _LARGE_BYTES), mtime_ns=NEW_NS),
            "holes": File(content("holes", 4_096), mtime_ns=NEW_NS, holes=1 << 17),
            "replaced": File(content("replaced", 600), mtime_ns=NEW_NS),
            "relinked": Symlink("large", mtime_ns=NEW_NS),
            "chmodded": File(content("chmodded", 50), mtime_ns=OLD_NS, mode=0o640),
            "was-file/": Folder(mtime_ns=NEW_NS),
            "was-file/inside": File(content("inside", 80), mtime_ns=NEW_NS),
            "was-folder": File(content("was folder", 90), mtime_ns=NEW_NS),
        }
    )


def before() -> Tree:
    """The destination as it was before those edits."""
    return tree(
        {
            **_SAME,
            "replaced": File(content("old replaced", 550), mtime_ns=OLD_NS),
            "relinked": Symlink("replaced", mtime_ns=OLD_NS),
            "chmodded": File(content("chmodded", 50), mtime_ns=OLD_NS, mode=0o600),
            "was-file": File(content("was file", 70), mtime_ns=OLD_NS),
            "was-folder/": Folder(mtime_ns=OLD_NS),
            "was-folder/inside": File(content("old inside", 75), mtime_ns=OLD_NS),
            "gone": File(content("gone", 400), mtime_ns=OLD_NS),
            "gone-folder/": Folder(mtime_ns=OLD_NS),
            "gone-folder/a": File(content("gone a", 410), mtime_ns=OLD_NS),
        }
    )


def little() -> Tree:
    """Of each kind of work that is hard to undo one piece."""
    return tree(
        {
            "new/": Folder(mtime_ns=NEW_NS),
            "new/file": File(content("small", 500), mtime_ns=NEW_NS),
            "replaced": File(content("replaced", 600), mtime_ns=NEW_NS),
            "was-folder": File(content("was folder", 90), mtime_ns=NEW_NS),
            "chmodded": File(content("chmodded", 50), mtime_ns=OLD_NS, mode=0o640),
        }
    )


def little_before() -> Tree:
    return tree(
        {
            "gone": File(content("gone", 400), mtime_ns=OLD_NS),
            "replaced": File(content("old replaced", 550), mtime_ns=OLD_NS),
            "was-folder/": Folder(mtime_ns=OLD_NS),
            "chmodded": File(content("chmodded", 50), mtime_ns=OLD_NS, mode=0o600),
        }
    )


LITTLE = Scene(
    "little",
    little,
    little_before,
    {"durability": "full", "preserve_deleted_files": "remove", "sparse": True},
)
SCENES = (
    Scene("none", changed, before, {"durability": "none", "preserve_deleted_files": "remove"}),
    Scene(
        "file",
        changed,
        before,
        {"durability": "file", "preserve_deleted_files": "quarantine", "integrity": "size"},
    ),
    Scene(
        "full", changed, before, {"durability": "full", "preserve_deleted_files": "remove", "sparse": True}
    ),
)


class Ended(NamedTuple):
    """How a command ended: its exit code (CRASHED after a crash), what it said, and what it did to files."""

    code: int
    said: str
    operations: list[Operation]
    struck: Operation | None


class _Clock(SystemClock):
    """The machine's, but waiting takes no time."""

    def sleep(self, seconds: float) -> None:
        pass


class _Services(Services):
    """The runner's, but sync.yaml is read once: reading it takes a third of such a run."""

    def __init__(self, file: Path) -> None:
        self._registry = Registry()
        self._configuration = super().load_configuration(str(file), self._registry, {})

    def registry(self) -> Registry:
        return self._registry

    def load_configuration(
        self, path: str, registry: Registry, environment: Mapping[str, str]
    ) -> Configuration:
        return self._configuration


class Command:
    """`sync-runner` in this process, with the sync.yaml of a folder, which is read once and in which all happens."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._services = _Services(folder / "sync.yaml")

    def __call__(self, *arguments: str, fault: Fault | None = None, done: Done | None = None) -> Ended:
        printed = io.BytesIO()
        output = io.TextIOWrapper(printed, "utf-8", "backslashreplace", write_through=True)
        environment = {"NO_COLOR": "1", "HOME": str(self._folder)}
        with Seam([str(self._folder)], fault, done) as seam:
            try:
                code = run_command(
                    ["-c", str(self._folder / "sync.yaml"), *arguments],
                    Output(output, output, io.StringIO(), environment),
                    environment,
                    self._services,
                    _Clock(),
                )
            except CrashError:
                code = CRASHED
            if code == CRASHED:
                # What still hangs on the dead goes before its handles do.
                gc.collect()
        return Ended(code, printed.getvalue().decode(), seam.operations, seam.happened)


class Workshop:
    """One scene in one folder. One thread."""

    def __init__(self, scene: Scene, folder: Path) -> None:
        self.scene = scene
        self.place = Place(folder, scene)
        self.place.make()
        self._command = Command(folder)
        self.old = judge.rows_of(self.place.destination)
        self.new = judge.rows_of(self.place.source)

    def command(self, *arguments: str, fault: Fault | None = None, done: Done | None = None) -> Ended:
        """`sync-runner ARGUMENTS` here, with that fault."""
        return self._command(*arguments, fault=fault, done=done)

    def run(self, fault: Fault | None = None, done: Done | None = None) -> Ended:
        return self.command("run", "t", fault=fault, done=done)

    def unlike_source(self) -> list[str]:
        return judge.unequal(judge.content_rows(judge.rows_of(self.place.destination)), self.new)

    def faults_of(self, ended: Ended) -> list[str]:
        """What a run with a fault did wrong."""
        present = judge.rows_of(self.place.destination)
        faults = judge.torn(present, self.old, self.new)
        if self.scene.quarantines:
            faults += judge.lost(present, self.old, self.new)
        if ended.code == 0:
            faults += [f"exit 0, but {difference}" for difference in self.unlike_source()]
        elif ended.code != CRASHED and ended.code not in CODES:
            faults.append(f"exit {ended.code}: {ended.said[-600:]} {self._crash_files()}")
        if len(judge.temporaries(present)) > 1:
            faults.append(f"left behind: {judge.temporaries(present)}")
        if "Traceback" in ended.said:
            faults.append(f"a traceback: {ended.said[-1500:]}")
        if judge.rows_of(self.place.source) != self.new:
            faults.append("the source was touched")
            self.place.make()
        return faults

    def faults_after(self, *, chained: bool = True) -> list[str]:
        """What is wrong once it ran again without a fault. `chained`: it was not said that a report is no link."""
        again = self.run()
        faults = [f"run again: exit {again.code}: {again.said[-600:]}"] if again.code else []
        faults += [f"run again, but {difference}" for difference in self.unlike_source()]
        present = judge.rows_of(self.place.destination)
        if self.scene.quarantines:
            faults += [f"run again: {one}" for one in judge.lost(present, self.old, self.new)]
        faults += [f"left behind: {path!r}" for path in judge.temporaries(present)]
        faults += [f"left behind: {path}" for path in judge.state_leftovers(self.place.state)]
        chain = self.command("report", "--verify-chain", "t")
        if chained and chain.code:
            faults.append(f"the chain of reports: exit {chain.code}: {chain.said[-600:]}")
        plan = self.command("plan", "t", "--detailed-exitcode")
        if plan.code:
            faults.append(f"the next plan is not empty: exit {plan.code}: {plan.said[-600:]}")
        return faults

    def _crash_files(self) -> str:
        return "\n".join(file.read_text() for file in self.place.state.glob("sync-runner-crash-*"))


def chained(ended: Ended) -> bool:
    return _UNCHAINED not in ended.said


@contextmanager
def in_memory() -> Iterator[Path]:
    """A new folder, in memory where there is such a place: thousands of runs wait for no disk."""
    shared = Path("/dev/shm")
    where = shared if os.access(shared, os.W_OK) else None
    # What was there before is not looked through again and again.
    gc.freeze()
    try:
        with tempfile.TemporaryDirectory(prefix="sync-runner-faults-", dir=where) as folder:
            yield Path(folder)
    finally:
        gc.unfreeze()
        sys.stdout.flush()
