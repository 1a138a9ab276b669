"""strace around a run: which calls it makes, and one of them failing, lying, stopping or killing."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .zygote import TIMEOUT_SECONDS, Run

AVAILABLE = shutil.which("strace") is not None
MISSING = "strace injects faults: apt-get install strace"

_LINE = re.compile(r"^(\d+) +(?:<\.\.\. )?(\w+)(?:\(| resumed)")
_BEGUN = re.compile(r"^(\d+) +(\w+)\(")


class Call(NamedTuple):
    """The `number`th call of that name in one thread (`thread`: 0 is the run's first)."""

    thread: int
    name: str
    number: int
    line: str


@contextmanager
def traced(run: Run, log: Path, options: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """`run` under strace, attached before its first step; it goes on inside. The tracer ends with it."""
    log.unlink(missing_ok=True)
    tracer = subprocess.Popen(
        ["strace", "-f", "-o", str(log), *options, "-p", str(run.pid)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        await_attached(tracer, run.pid)
        run.go()
        yield tracer
        tracer.communicate(timeout=TIMEOUT_SECONDS)
    finally:
        if tracer.poll() is None:
            tracer.kill()
            tracer.wait()
        assert tracer.stderr is not None
        tracer.stderr.close()


def await_attached(tracer: subprocess.Popen[str], pid: int) -> None:
    """strace says so itself, before anything else."""
    assert tracer.stderr is not None
    watchdog = threading.Timer(TIMEOUT_SECONDS, tracer.kill)
    watchdog.start()
    try:
        said = tracer.stderr.readline()
    finally:
        watchdog.cancel()
    if said != f"strace: Process {pid} attached\n":
        raise RuntimeError("strace did not attach: " + said + tracer.stderr.read())


def calls(log: Path) -> list[Call]:
    """Every call of a trace, numbered as `when=` counts them."""
    threads: dict[str, int] = {}
    counts: Counter[tuple[str, str]] = Counter()
    found = []
    for line in log.read_text("utf-8", "replace").splitlines():
        match = _BEGUN.match(line)
        if match is None:
            continue
        thread, name = match[1], match[2]
        counts[thread, name] += 1
        number = threads.setdefault(thread, len(threads))
        found.append(Call(number, name, counts[thread, name], line))
    return found


def injected(log: Path) -> tuple[list[str], bool]:
    """The calls of a trace whose results were altered, and whether one killed."""
    altered = []
    begun: dict[str, str] = {}
    text = log.read_text("utf-8", "replace")
    for line in text.splitlines():
        thread = line.split(" ", 1)[0]
        if line.endswith("<unfinished ...>"):
            begun[thread] = line
        if "(INJECTED)" in line:
            altered.append(begun[thread] if " resumed>" in line else line)
    return altered, "+++ killed by SIGKILL +++" in text
