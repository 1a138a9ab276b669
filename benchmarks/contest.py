"""A contest: who takes part, what they have to do, and what they take: whole processes, in interleaved rounds."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.watch import peak_memory, run
from runner.testing.manifest import manifest

RUNNER = "sync-runner"
_TIMEOUT_SECONDS = 900


@dataclass(frozen=True)
class Contestant:
    """A command, run in the ground's folder. `target`: the runner's time may be this many times this one's; where
    memory is measured, the bytes this one may hold.

    `exact` False: it carries all content, but not all metadata (rclone leaves out modes).
    """

    name: str
    command: tuple[str, ...]
    target: float | None = None
    exact: bool = True


@dataclass(frozen=True)
class Ground:
    """Where a contest takes place: its own empty folder, and a fraction of the full size."""

    folder: Path
    scale: float

    def sized(self, full: int) -> int:
        return max(1, round(full * self.scale))

    @property
    def source(self) -> Path:
        return self.folder / "src"

    @property
    def destination(self) -> Path:
        return self.folder / "dst"


@dataclass(frozen=True)
class Job:
    """`prepare` makes the data once and says what it is; `before` comes before each command, `check` after each
    contestant's first one and raises WrongResult; `finish` undoes what removing the folder would not.

    `measures`: seconds, or bytes of memory. `beside_first`: the first is not the runner but what all are held against.
    `grows_from`: the job on fewer files, and how many times its memory this one's may be. `lacks`: what is missing
    here for this job, in words; None: nothing.
    """

    name: str
    title: str
    prepare: Callable[[Ground], str]
    contestants: Callable[[Ground], list[Contestant]]
    before: Callable[[Ground], None] = lambda ground: None
    check: Callable[[Ground, Contestant], None] = lambda ground, contestant: None
    finish: Callable[[Ground], None] = lambda ground: None
    measures: str = "seconds"
    beside_first: bool = False
    needs_disk: bool = False
    grows_from: tuple[str, float] | None = None
    lacks: Callable[[], str | None] = lambda: None


@dataclass
class Times:
    """What one contestant took in each round: seconds on the clock and of processors; bytes at the most."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    peak_bytes: list[int] = field(default_factory=list)

    @property
    def median_wall(self) -> float:
        return statistics.median(self.wall)


class WrongResult(Exception):
    """A contestant did not do its work: its time says nothing."""


def compete(
    job: Job, ground: Ground, competing: Sequence[Contestant], rounds: int, tell: Callable[[str], None]
) -> dict[str, Times]:
    """The times of all, by name. Every round begins with another one: nobody always runs on a warm machine.

    Raises WrongResult; CalledProcessError when a command fails, TimeoutExpired after 15 minutes of one.
    """
    times = {one.name: Times() for one in competing}
    for number in range(rounds):
        for one in [*competing[number % len(competing) :], *competing[: number % len(competing)]]:
            job.before(ground)
            if job.measures == "bytes":
                peak = peak_memory(one.command, ground.folder, {}, _TIMEOUT_SECONDS)
                times[one.name].peak_bytes.append(peak)
                tell(f"{job.name}, round {number + 1}: {one.name} {peak / 1e6:.1f} MB")
            else:
                spent = run(one.command, ground.folder, {}, None, _TIMEOUT_SECONDS)
                times[one.name].wall.append(spent.wall)
                times[one.name].processor.append(spent.processor)
                tell(
                    f"{job.name}, round {number + 1}: {one.name} {spent.wall:.3f} s "
                    f"({spent.processor:.2f} s of processors)"
                )
            if number == 0:
                job.check(ground, one)
    return times


def same_content(ground: Ground, contestant: Contestant) -> None:
    """The destination is the source, byte by byte; with all metadata where the contestant carries them."""
    wanted = manifest(str(ground.source))
    found = manifest(str(ground.destination)) if ground.destination.is_dir() else {}
    if not contestant.exact:
        if {path: row.sha256 for path, row in found.items()} == {
            path: row.sha256 for path, row in wanted.items()
        }:
            return
    elif found == wanted:
        return
    wrong = [path for path in wanted.keys() | found.keys() if wanted.get(path) != found.get(path)]
    raise WrongResult(f"{contestant.name}: the destination is not the source: {sorted(wrong)[:3]}")


def version_of(command: str) -> str:
    """The first line that `command --version` prints."""
    shown = subprocess.run([command, "--version"], capture_output=True, text=True, check=False, timeout=60)
    lines = (shown.stdout or shown.stderr).splitlines()
    return lines[0].strip() if lines else ""


def runner_command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "runner", *arguments)


def cold(folder: Path) -> None:
    """What was written is on the disk and what was read is forgotten, where that is allowed (root)."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        print(f"caches of {folder} could not be dropped (root is needed): they are warm for all", flush=True)
