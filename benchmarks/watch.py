"""What whole process trees use: time, processor, memory. Linux only."""

from __future__ import annotations

import os
import resource
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Spent:
    """What one command took: seconds on the clock, of its processors, of the server's."""

    wall: float
    processor: float
    server: float


def run(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    server: int | None,
    timeout: float = 3600,
) -> Spent:
    """Run a command to its end in `folder`. `server`: the process id of the server it speaks to, if any.

    Raises CalledProcessError; after `timeout` seconds the command is killed.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    served = _processor_seconds(server)
    began = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    # A wait with a time limit looks only every 50 ms: too coarse for what takes 20.
    limit = threading.Timer(timeout, process.kill)
    limit.start()
    try:
        status = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        limit.cancel()
    wall = time.perf_counter() - began
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status != 0:
        raise subprocess.CalledProcessError(status, list(command))
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Spent(wall, processor, _processor_seconds(server) - served)


def peak_memory(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> int:
    """The most bytes all processes of a command held together: sums of PSS (shared pages counted once), looked at
    every 50 ms."""
    process = subprocess.Popen(
        command, cwd=folder, env={**os.environ, **environment}, stdout=subprocess.DEVNULL
    )
    ended = threading.Event()
    peak = 0

    def look() -> None:
        nonlocal peak
        while not ended.wait(0.05):
            peak = max(peak, sum(_pss_bytes(number) for number in family(process.pid)))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        status = process.wait()
    finally:
        ended.set()
        watcher.join()
    if status != 0:
        raise SystemExit(f"{command[0]} ended with {status}")
    return peak


def family(process: int) -> list[int]:
    """The process and all that it has begun, as far as they are there."""
    found = [process]
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            children = Path(f"/proc/{process}/task/{thread}/children").read_text().split()
            for child in children:
                found += family(int(child))
    except OSError:
        pass
    return found


def _processor_seconds(server: int | None) -> float:
    ticks = 0
    if server is None:
        return 0.0
    for process in family(server):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])
    return ticks / _TICKS


def _pss_bytes(process: int) -> int:
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0
