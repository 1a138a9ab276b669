"""What whole process trees use: time, processor, memory. Linux only."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
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

    Raises CalledProcessError; TimeoutExpired after `timeout` seconds. Nothing it began outlives it in either case,
    nor when somebody stops the benchmark.
    """
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    served = _processor_seconds(server)
    began = time.perf_counter()
    _wait(_begin(command, folder, environment), timeout)
    wall = time.perf_counter() - began
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return Spent(wall, processor, _processor_seconds(server) - served)


def peak_memory(
    command: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float = 3600
) -> int:
    """The most bytes all processes of a command held together: sums of PSS (shared pages counted once), looked at
    every 50 ms. Raises as `run` does."""
    process = _begin(command, folder, environment)
    ended = threading.Event()
    peak = 0

    def look() -> None:
        nonlocal peak
        while not ended.wait(0.05):
            peak = max(peak, sum(_pss_bytes(number) for number in family(process.pid)))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        _wait(process, timeout)
    finally:
        ended.set()
        watcher.join()
    return peak


def _begin(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """In a process group of its own, so that all of it can be ended."""
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )


def _wait(process: subprocess.Popen[bytes], timeout: float) -> None:
    late = threading.Event()

    def end() -> None:
        late.set()
        _end(process)

    # A wait with a time limit looks only every 50 ms: too coarse for what takes 20.
    limit = threading.Timer(timeout, end)
    limit.start()
    try:
        status = process.wait()
    except BaseException:
        _end(process)
        process.wait()
        raise
    finally:
        limit.cancel()
    if late.is_set():
        raise subprocess.TimeoutExpired(process.args, timeout)
    if status != 0:
        raise subprocess.CalledProcessError(status, process.args)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


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
