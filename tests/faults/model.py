"""Edits, and a sync in which something fails, again and again: what may come of it is held against everything that ever was.

    python -m tests.faults model                     100 examples
    python -m tests.faults model --examples 20000    a soak

Hypothesis makes up a few edits of a source whose few names collide and hurt, then one sync with one fault, at an operation
that a run without faults was seen to do. Needs Linux and nothing else; where rsync is installed, it has a word at the end of
each example. Prints the shortest example that goes wrong. Exits with 0 only if none did and faults did happen.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test

from . import judge
from .inprocess import CODES, CRASHED, Command, Ended, in_memory
from .seam import CHANGES, Fault, Operation, effects_of

_NAMES = ["a", "-rf", "new\nline", "caf\u00e9", "cafe\u0301", "\udcff"]
_PATHS = [
    *_NAMES,
    *(f"{folder}/{name}" for folder in ("a", "caf\u00e9") for name in ("a", "cafe\u0301", "\udcff")),
]
_SIZES = [0, 10, 5_000, 70_000, (1 << 20) + 7]
_MODES = [0o600, 0o644, 0o755]
_FIRST_MTIME_NS = 1_700_000_000_000_000_000
_DEEDS = frozenset({
    "create", "pwrite", "copy_file_range", "link", "symlink", "mkdir", "rename", "renameat2", "unlink", "rmdir",
})  # fmt: skip
TASKS = {
    "remove": {"preserve_deleted_files": "remove"},
    "quarantine": {"preserve_deleted_files": "quarantine", "durability": "full"},
    "keep": {"preserve_deleted_files": "preserve", "durability": "file", "sparse": True},
}


class Edit(NamedTuple):
    """One change of the source: what, where, and what else it needs."""

    kind: str
    path: str
    other: str
    number: int


def _fault(operations: Sequence[Operation], destination: str, chance: random.Random) -> Fault:
    """One fault for a run: half of them where content and names of the destination are made, as far as they are."""
    changes = [number for number, one in enumerate(operations, 1) if one.name in CHANGES]
    deeds: dict[str, list[int]] = {}
    for number in changes:
        one = operations[number - 1]
        if one.name in _DEEDS and one.path.startswith(destination):
            deeds.setdefault(one.name, []).append(number)
    rest = sorted({*range(1, len(operations) + 1)} - {*changes})
    among = chance.choice([*[list(deeds.values()) or [changes]] * 2, [changes], [rest]])
    number = chance.choice(chance.choice(among))
    return Fault(number, chance.choice(effects_of(operations[number - 1].name)))


EDITS = st.lists(
    st.builds(
        Edit,
        st.sampled_from(
            ["write", "delete", "move", "link", "chmod", "utime", "sparse", "hard link", "folder"]
        ),
        st.sampled_from(_PATHS),
        st.sampled_from(_PATHS),
        st.integers(0, 11),
    ),
    min_size=1,
    max_size=6,
)
STRIKES = st.one_of(st.integers(1, 1_000_000), st.none())
"""What the fault is chosen by, with the number of edits so far: Hypothesis likes small numbers, and here all are alike."""


class Counted:
    """What happened in all examples together."""

    syncs = 0
    faults = 0
    faults_in_changes = 0


def counts() -> str:
    return f"{Counted.syncs} syncs, {Counted.faults} faults injected, {Counted.faults_in_changes} of them in changes"


class Syncs(RuleBasedStateMachine):
    """One source, one destination, and every content that each path ever had."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = Path(tempfile.mkdtemp(dir=_ROOT[-1]))
        self.source, self.destination = self._folder / "src", self._folder / "dst"
        self._tick = 0
        self._ever: dict[bytes, set[tuple[object, ...]]] = {}
        for folder in (self.source, self.destination):
            folder.mkdir()
        # Never edited: an empty source is for guards to mind.
        (self.source / "anchor").write_bytes(b"anchor")
        task = {
            "source": "src",
            "destination": "dst",
            "guards": {"max_deletions": {"percent": 100}},
        }
        retries = {"attempts": 3, "delay": "1ms"}
        document = {
            "version": 1,
            "settings": {"state": str(self._folder / "state")},
            "locations": {
                "src": {"type": "local", "path": str(self.source)},
                "dst": {"type": "local", "path": str(self.destination)},
            },
            "tasks": {
                name: {**task, "options": {"retries": retries, **options}} for name, options in TASKS.items()
            },
        }
        (self._folder / "sync.yaml").write_text(json.dumps(document))
        self._command = Command(self._folder)

    @rule(edits=EDITS, strike=STRIKES, task=st.sampled_from(list(TASKS)), settled=st.booleans())
    def step(self, edits: list[Edit], strike: int | None, task: str, settled: bool) -> None:
        """A few edits, then one sync with one fault; `settled`: the next one comes before anything else happens."""
        for edit in edits:
            self._edit(edit)
        wanted = judge.rows_of(self.source)
        for path, row in wanted.items():
            self._ever.setdefault(path, set()).add(_thing(row))
        self._sync(task, strike, wanted)
        if settled:
            self._settle()

    def teardown(self) -> None:
        try:
            self._settle()
            self._ask_rsync()
        finally:
            shutil.rmtree(self._folder)

    # -- syncs ---------------------------------------------------------------------------------------------------

    def _sync(self, task: str, strike: int | None, wanted: judge.Rows) -> None:
        fault = None
        if strike is not None:
            chance = random.Random(f"{strike} {self._tick}")
            fault = _fault(self._operations(task), str(self.destination), chance)
        before = judge.rows_of(self.destination)
        ended = self._command("run", task, fault=fault)
        Counted.syncs += 1
        if ended.struck is not None:
            Counted.faults += 1
            Counted.faults_in_changes += ended.struck.name in CHANGES
        present = judge.rows_of(self.destination)
        faults = [*self._told(ended), *self._mixed(present), *_gone(task, before, present, wanted)]
        if ended.code == 0:
            extras = set(before) - set(wanted) if task == "keep" else set()
            content = {path: row for path, row in judge.content_rows(present).items() if path not in extras}
            faults += [f"exit 0, but {one}" for one in judge.unequal(_among_themselves(content), wanted)]
        if judge.rows_of(self.source) != wanted:
            faults.append("the source was touched")
        assert not faults, _shown(f"{task} with {fault} at {ended.struck}: exit {ended.code}", faults)

    def _operations(self, task: str) -> list[Operation]:
        """What the sync would do, tried and taken back."""
        aside = self._folder / "aside"
        aside.mkdir()
        folders = [self.destination, self._folder / "state"]
        for folder in folders:
            if folder.exists():
                subprocess.run(["cp", "-a", folder, aside / folder.name], check=True)
        operations = self._command("run", task).operations
        for folder in folders:
            if folder.exists():
                shutil.rmtree(folder)
            if (aside / folder.name).exists():
                os.rename(aside / folder.name, folder)
        aside.rmdir()
        return operations

    def _told(self, ended: Ended) -> list[str]:
        faults = []
        if ended.code not in CODES and ended.code != CRASHED:
            faults.append(f"exit {ended.code}: {ended.said[-900:]}")
        if "Traceback" in ended.said:
            faults.append(f"a traceback: {ended.said[-900:]}")
        return faults

    def _mixed(self, present: judge.Rows) -> list[str]:
        """Paths that hold what they never were to hold."""
        return [
            f"{path!r} holds what it never was to hold"
            for path, row in judge.content_rows(present).items()
            if path and _thing(row) not in self._ever.get(path, ())
        ]

    def _settle(self) -> None:
        """A sync without a fault ends it, and leaves nothing to be done."""
        wanted = judge.rows_of(self.source)
        for path, row in wanted.items():
            self._ever.setdefault(path, set()).add(_thing(row))
        ended = self._command("run", "remove")
        present = judge.rows_of(self.destination)
        faults = [] if ended.code == 0 else [f"exit {ended.code}: {ended.said[-900:]}"]
        faults += judge.unequal(_among_themselves(judge.content_rows(present)), wanted)
        faults += [f"left behind: {path!r}" for path in judge.temporaries(present)]
        faults += [f"left behind: {path}" for path in judge.state_leftovers(self._folder / "state")]
        plan = self._command("plan", "remove", "--detailed-exitcode")
        if plan.code:
            faults.append(f"the next plan is not empty: exit {plan.code}: {plan.said[-900:]}")
        assert not faults, _shown("without a fault", faults)

    def _ask_rsync(self) -> None:
        """Another program's word for it."""
        if shutil.which("rsync") is None:
            return
        done = subprocess.run(
            ["rsync", "-naicH", "--delete", f"--exclude=/{judge.QUARANTINE.decode()}", "src/", "dst/"],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
        )
        assert done.stdout == b"", done.stdout

    # -- edits ---------------------------------------------------------------------------------------------------

    def _edit(self, edit: Edit) -> None:
        edits: dict[str, Callable[[Edit, Path], None]] = {
            "write": self._write,
            "sparse": self._sparse,
            "folder": self._make_folder,
            "link": self._symlink,
            "hard link": self._hard_link,
            "move": self._move,
        }
        self._tick += 1
        path = self.source / edit.path
        if edit.kind in edits:
            edits[edit.kind](edit, path)
        elif not os.path.lexists(path):
            return
        elif edit.kind == "delete":
            _take_away(path)
        elif edit.kind == "chmod" and not path.is_symlink():
            os.chmod(path, _MODES[edit.number % len(_MODES)] | (0o100 if path.is_dir() else 0))
        self._date(path)

    def _date(self, path: Path) -> None:
        """Another time for each edit: content of one size and time is taken for equal, as is told."""
        if os.path.lexists(path):
            now = _FIRST_MTIME_NS + self._tick * 1_000_000_007
            os.utime(path, ns=(now, now), follow_symlinks=False)

    def _write(self, edit: Edit, path: Path) -> None:
        self._make_room(path)
        path.write_bytes((b"%d;" % self._tick * _SIZES[-1])[: _SIZES[edit.number % len(_SIZES)]])

    def _sparse(self, edit: Edit, path: Path) -> None:
        self._make_room(path)
        with path.open("wb") as file:
            file.truncate(_SIZES[edit.number % len(_SIZES)])
            file.write(b"%d" % self._tick)

    def _make_folder(self, edit: Edit, path: Path) -> None:
        self._make_room(path)
        path.mkdir()

    def _symlink(self, edit: Edit, path: Path) -> None:
        self._make_room(path)
        os.symlink(edit.other, path)

    def _hard_link(self, edit: Edit, path: Path) -> None:
        other = self.source / edit.other
        if other.is_file() and not other.is_symlink() and not _one_in_another(edit):
            self._make_room(path)
            if other.is_file():
                os.link(other, path)

    def _move(self, edit: Edit, path: Path) -> None:
        other = self.source / edit.other
        if os.path.lexists(path) and not _one_in_another(edit):
            self._make_room(other)
            if os.path.lexists(path):
                os.rename(path, other)
                self._date(other)

    def _make_room(self, path: Path) -> None:
        """Nothing at the path, and a folder around it."""
        folder = path.parent
        if folder.is_symlink() or not folder.is_dir():
            _take_away(folder)
            folder.mkdir()
        _take_away(path)


def _one_in_another(edit: Edit) -> bool:
    path, other = f"{edit.path}/", f"{edit.other}/"
    return path.startswith(other) or other.startswith(path)


_ROOT: list[Path] = []
"""Where examples work: one folder while they run."""


def _take_away(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def _thing(row: judge.Row) -> tuple[object, ...]:
    return row.kind, row.size, row.sha256, row.link_target


def _among_themselves(rows: judge.Rows) -> judge.Rows:
    """With hard links as these paths have them: what is kept beside them, or in quarantine, may share their inodes."""
    groups: dict[bytes, list[bytes]] = {}
    for path, row in rows.items():
        if row.hard_link_of is not None:
            groups.setdefault(row.hard_link_of, []).append(path)
    first = {path: min(group) for group in groups.values() if len(group) > 1 for path in group}
    return {path: dataclasses.replace(row, hard_link_of=first.get(path)) for path, row in rows.items()}


def _gone(task: str, before: judge.Rows, present: judge.Rows, wanted: judge.Rows) -> list[str]:
    """What was taken away and was not to be."""
    kept = {_thing(row) for row in present.values() if row.kind == "-"}
    content = judge.content_rows(present)
    faults = []
    for path, row in judge.content_rows(before).items():
        if path in content or not path:
            continue
        if path in wanted and (row.kind != "d" or judge.same_thing(row, wanted[path])):
            faults.append(f"{path!r} is gone, and the source has it")
        elif task == "keep" and path not in wanted:
            faults.append(f"{path!r} is gone, and nothing was to be deleted")
        elif task == "quarantine" and path not in wanted and row.kind == "-" and _thing(row) not in kept:
            faults.append(f"{path!r} is neither at its place nor in quarantine")
    return faults


def _shown(what: str, faults: Sequence[str]) -> str:
    return "\n    ".join([what, *faults])


def run_model(
    examples: int, steps: int, *, derandomize: bool, shrink: bool = True, number: int | None = None
) -> None:
    """Raises AssertionError, and prints the example, when one goes wrong."""
    phases = [Phase.generate, *([Phase.shrink] if shrink else [])]
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=derandomize,
        database=None,
        deadline=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    machine = Syncs if number is None else seed(number)(Syncs)
    with in_memory() as folder:
        _ROOT.append(folder)
        try:
            run_state_machine_as_test(machine, settings=chosen)
        finally:
            _ROOT.pop()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults model",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--examples", type=int, default=100, help="how many (default: 100)")
    parser.add_argument("--steps", type=int, default=8, help="syncs in each at most (default: 8)")
    parser.add_argument("--seed", type=int, help="the same examples as another time")
    parser.add_argument(
        "--no-shrink", action="store_true", help="show the first that goes wrong, not the shortest"
    )
    asked = parser.parse_args(arguments)
    began = time.monotonic()
    wrong = 0
    try:
        run_model(
            asked.examples, asked.steps, derandomize=False, shrink=not asked.no_shrink, number=asked.seed
        )
    except AssertionError as error:
        wrong = 1
        print(error, *getattr(error, "__notes__", ()), sep="\n")
    print(f"{counts()}, {wrong} wrong, {time.monotonic() - began:.0f} s")
    return 0 if not wrong and Counted.faults_in_changes else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
