"""Who takes part, what they have to do, and how long they take: whole processes, in interleaved rounds."""

from __future__ import annotations

import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from runner.testing.manifest import Row, manifest


@dataclass(frozen=True)
class Contestant:
    """A command that makes `dst` equal `src` in the present folder. `name` stands in the table.

    `exact` False: it carries all content, but not all metadata (rclone leaves out the root folder's).
    """

    name: str
    command: tuple[str, ...]
    exact: bool = True


@dataclass
class Times:
    """What one contestant took in each round: seconds on the clock, seconds of processor."""

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def median_wall(self) -> float:
        return statistics.median(self.wall)

    @property
    def median_processor(self) -> float:
        return statistics.median(self.processor)


def configuration() -> str:
    """sync.yaml for the contest (JSON is YAML)."""
    locations = {name: {"type": "local", "path": f"./{name}"} for name in ("src", "dst")}
    ends = {"source": "src", "destination": "dst", "reports": ["json"]}
    tasks = {
        "plain": {**ends, "options": {"verify_mode": "none"}},
        "verified": {**ends, "options": {"verify_mode": "only_files_transferred"}},
    }
    return json.dumps({"version": 1, "locations": locations, "tasks": tasks})


def contestants() -> list[Contestant]:
    """The runner, and those of its peers that are installed."""
    runner = (sys.executable, "-m", "runner", "run")
    found = [
        Contestant("sync-runner", (*runner, "plain", "-q")),
        Contestant("sync-runner, verified", (*runner, "verified", "-q")),
    ]
    if shutil.which("rsync"):
        found.append(Contestant("rsync -a", ("rsync", "-a", "src/", "dst/")))
    if shutil.which("rclone"):
        found.append(Contestant("rclone sync", ("rclone", "sync", "--metadata", "src", "dst"), False))
    found.append(Contestant("cp -a", ("cp", "-a", "-T", "src", "dst")))
    return found


def rounds(
    folder: str, competing: list[Contestant], count: int, before: Callable[[], None], check: bool
) -> Iterator[dict[str, Times]]:
    """Times after each round. `before` is called before each command; `check` compares every result with `src`."""
    times = {contestant.name: Times() for contestant in competing}
    wanted = manifest(os.path.join(folder, "src")) if check else {}
    for number in range(count):
        # Each round starts with another one: nobody always runs on a warm machine.
        for contestant in competing[number % len(competing) :] + competing[: number % len(competing)]:
            before()
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            subprocess.run(contestant.command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
            times[contestant.name].wall.append(time.perf_counter() - began)
            now = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
            times[contestant.name].processor.append(spent)
            if check and not _arrived(manifest(os.path.join(folder, "dst")), wanted, contestant.exact):
                raise SystemExit(f"{contestant.name}: the destination is not the source")
        yield times


def _arrived(found: dict[bytes, Row], wanted: dict[bytes, Row], exact: bool) -> bool:
    if exact:
        return found == wanted
    return {path: row.sha256 for path, row in found.items()} == {
        path: row.sha256 for path, row in wanted.items()
    }
