"""Real runs that end with a power cut: right after exit 0, or at a call at which they were stopped.

    unshare -m python -m tests.faults power               at the end, everywhere
    unshare -m python -m tests.faults power --stops 40    and at 40 calls of each scene, on each file system

Each line of output is one case, and `right` or what is wrong. Needs root, mkfs.xfs, mkfs.ext4, mkfs.btrfs and strace.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from . import judge, strace
from .disks import CUTS, Cut, Disk, NotMountedError, missing_programs
from .scenes import SCENES, Place, Scene
from .sweep import Case, sample
from .zygote import Run, Zygote

STOPPED_AT = (
    "linkat",
    "renameat",
    "renameat2",
    "rename",
    "fsync",
    "unlinkat",
    "mkdirat",
    "mkdir",
    "symlinkat",
    "pwrite64",
    "write",
    "utimensat",
)

NOT_HERE = 2
"""The exit code where this cannot be tried out."""


class Judged(NamedTuple):
    """One power cut, and what was wrong afterwards."""

    case: str
    faults: tuple[str, ...]


def scenes() -> list[Scene]:
    """Those of the sweep, durable in full, and one whose destination folder is not there yet."""
    durable = [
        dataclasses.replace(scene, options={**scene.options, "durability": "full"})
        for scene in SCENES
        if scene.name in ("full", "kernel", "pool")
    ]
    first = next(scene for scene in SCENES if scene.name == "new")
    options = {**first.options, "durability": "full"}
    return [*durable, dataclasses.replace(first, options=options, makes_root=False)]


class PowerBench:
    """One scene on one disk. A context manager."""

    def __init__(self, cut: Cut, scene: Scene, folder: Path) -> None:
        self._scene = scene
        self._cut = cut
        self._folder = folder
        self._disk = Disk(cut, folder)
        self.place = Place(self._disk.mount / "place", scene)
        self._zygote = Zygote(folder / "output", scene.environment)
        self.place.make()
        self._old = judge.rows_of(self.place.destination)
        self._new = judge.rows_of(self.place.source)

    def __enter__(self) -> PowerBench:
        return self

    def __exit__(self, *_: object) -> None:
        self._zygote.__exit__(None, None, None)
        self._disk.__exit__(None, None, None)

    def at_the_end(self) -> Judged:
        """The power goes as soon as the command has ended with 0: all of it has to be there."""
        self._prepare()
        ended = self._zygote.run(self.place.folder, "run", "t")
        self._disk.cut_power()
        self._disk.start_again()
        faults = [f"exit {ended.code}: {ended.err[-300:]}"] if ended.code else []
        faults += [f"lost: {one}" for one in self._unlike_source()]
        faults += [f"history: {one}" for one in self._unlike_history(["SUCCESS"])]
        faults += self._faults_after()
        return Judged(f"{self._cut}:{self._scene.name}:end", tuple(faults))

    def at_call(self, case: Case) -> Judged:
        """The power goes when the run is about to make that call."""
        self._prepare()
        run = self._zygote.start(self.place.folder, ("run", "t"))
        with _stopped(run, case) as stopped:
            if stopped:
                self._disk.cut_power()
                run.kill()
        run.wait()
        name = f"{self._cut}:{self._scene.name}:{case.call}:{case.number}"
        if not stopped:
            return Judged(name, ("it was not stopped there",))
        self._disk.start_again()
        present = judge.rows_of(self.place.destination)
        faults = judge.torn(present, self._old, self._new)
        if self._scene.quarantines:
            faults += judge.lost(present, self._old, self._new)
        told = self._history()
        if "SUCCESS" in told and self._unlike_source():
            faults.append("history tells of a success, but " + "; ".join(self._unlike_source()[:3]))
        faults += self._faults_after()
        return Judged(name, tuple(faults))

    def calls(self) -> list[Case]:
        """Where a run can be stopped: its calls on the destination and on the state folder."""
        self._prepare()
        log = self._folder / "trace"
        run = self._zygote.start(self.place.folder, ("run", "t"))
        with strace.traced(run, log, ("-y", "-e", "trace=" + ",".join(STOPPED_AT))):
            pass
        run.wait()
        folder = str(self.place.folder)
        found = {
            Case(self._scene.name, call.name, call.number, "STOP"): None
            for call in strace.calls(log)
            if folder in call.line.replace(f"AT_FDCWD<{folder}>", "")
        }
        return list(found)

    def _prepare(self) -> None:
        self.place.make()
        self._disk.flush()

    def _unlike_source(self) -> list[str]:
        return judge.unequal(judge.content_rows(judge.rows_of(self.place.destination)), self._new)

    def _history(self) -> list[str]:
        """The statuses of all executions, the oldest first."""
        told = self._zygote.run(self.place.folder, "history", "--json")
        if told.code:
            return [f"exit {told.code}: {told.err}"]
        return [row["status"] for row in reversed(json.loads(told.out)["executions"])]

    def _unlike_history(self, expected: list[str]) -> list[str]:
        found = self._history()
        return [] if found == expected else [f"{found}, not {expected}"]

    def _faults_after(self) -> list[str]:
        """What is wrong once it ran again, with power."""
        again = self._zygote.run(self.place.folder, "run", "t")
        faults = []
        if again.code:
            faults.append(f"run again: exit {again.code}: {(again.out + again.err)[-600:]}")
        faults += [f"run again, but {one}" for one in self._unlike_source()]
        present = judge.rows_of(self.place.destination)
        faults += [f"left behind: {path!r}" for path in judge.temporaries(present)]
        faults += [f"left behind: {path}" for path in judge.state_leftovers(self.place.state)]
        chain = self._zygote.run(self.place.folder, "report", "--verify-chain", "t")
        if chain.code:
            faults.append(f"the chain of reports: exit {chain.code}: {(chain.out + chain.err)[-600:]}")
        return faults


@contextmanager
def _stopped(run: Run, case: Case) -> Iterator[bool]:
    """Inside, the run stands still before that call (False: it never came there). It must end inside."""
    reading, writing = os.pipe()
    injection = f"inject={case.call}:signal=STOP:when={case.number}"
    with open(reading, encoding="utf-8", errors="replace") as log:
        tracer = subprocess.Popen(
            [
                *("strace", "-f", "-o", f"/dev/fd/{writing}"),
                *("-e", f"trace={case.call}", "-e", injection, "-p", str(run.pid)),
            ],
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(writing,),
            text=True,
        )
        os.close(writing)
        try:
            strace.await_attached(tracer, run.pid)
            run.go()
            # The SIGCONT that lets it go on may be told as a stop that was before.
            yield any("--- stopped by SIGSTOP ---" in line for line in log)
            for _ in log:
                pass
            tracer.communicate(timeout=60)
        finally:
            if tracer.poll() is None:
                tracer.kill()
                tracer.wait()
            assert tracer.stderr is not None
            tracer.stderr.close()


def judge_cut(cut: Cut, folder: Path, stops: int, seed: int) -> Iterator[Judged]:
    """Every scene on one file system: at the end, then at that many calls."""
    for scene in scenes():
        with PowerBench(cut, scene, Path(tempfile.mkdtemp(dir=folder))) as bench:
            yield bench.at_the_end()
            if stops:
                for case in sample(bench.calls(), stops, seed):
                    yield bench.at_call(case)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults power",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = [str(cut) for cut in CUTS]
    parser.add_argument("--cut", action="append", choices=names, default=[], help="only these")
    parser.add_argument("--stops", type=int, default=0, help="calls of each scene at which it is stopped")
    parser.add_argument("--seed", type=int, default=1, help="which calls")
    asked = parser.parse_args(arguments)
    missing = missing_programs()
    if os.geteuid() != 0 or missing or not strace.AVAILABLE:
        print(f"needs root, strace and these packages: {', '.join(missing) or 'all there'}", file=sys.stderr)
        return NOT_HERE
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-power-"))
    run = wrong = 0
    try:
        for cut in CUTS:
            if not asked.cut or str(cut) in asked.cut:
                for judged in judge_cut(cut, folder, asked.stops, asked.seed):
                    run += 1
                    wrong += bool(judged.faults)
                    print(f"{judged.case}: {'; '.join(judged.faults) or 'right'}", flush=True)
    except NotMountedError as error:
        print(f"a file system in an image cannot be mounted here: {error}", file=sys.stderr)
        return NOT_HERE
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{run} power cuts, {wrong} wrong")
    return 1 if wrong or not run else 0


if __name__ == "__main__":
    sys.exit(main())
