"""The command as a process of its own, without the third of a second that importing it takes.

A zygote is an interpreter that has imported everything. For each run it forks a child, which stops itself before its
first own step: whoever asked attaches a tracer, then lets it go on. So a tracer sees the run and nothing of the start,
and a call's number means the same from run to run.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_SECONDS = 60.0


class Ended(NamedTuple):
    """How a run ended: its exit code (negative: the signal that killed it) and what it said."""

    code: int
    out: str
    err: str


class Run:
    """One forked child, stopped before its first step. `go` lets it run, `wait` takes its end."""

    def __init__(self, zygote: Zygote, pid: int, output: Path) -> None:
        self.pid = pid
        self._zygote = zygote
        self._output = output

    def go(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wait(self, timeout_seconds: float = TIMEOUT_SECONDS) -> Ended:
        """Raises TimeoutError when it does not end; it is killed then."""
        code = self._zygote.reap(self.pid, timeout_seconds)
        if code is None:
            self.kill()
            self._zygote.reap(self.pid, TIMEOUT_SECONDS)
            raise TimeoutError(f"a run did not end within {timeout_seconds:g} s")
        texts = [(self._output / name).read_text("utf-8", "replace") for name in ("out", "err")]
        return Ended(code, *texts)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)


class Zygote:
    """A context manager. `output` is a folder for what the runs print. One thread."""

    def __init__(self, output: Path, environment: Mapping[str, str] | None = None) -> None:
        output.mkdir(parents=True, exist_ok=True)
        self._output = output
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=output,
            env={**os.environ, "NO_COLOR": "1", **(environment or {})},
            text=True,
        )
        self._ask({"warm": str(output / "warm")})

    def __enter__(self) -> Zygote:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def start(self, folder: Path, arguments: Sequence[str]) -> Run:
        """`sync-runner ARGUMENTS` in that folder, stopped before it begins."""
        pid = self._ask({"folder": str(folder), "arguments": list(arguments), "output": str(self._output)})
        assert pid is not None
        return Run(self, pid, self._output)

    def run(self, folder: Path, *arguments: str) -> Ended:
        run = self.start(folder, arguments)
        run.go()
        return run.wait()

    def reap(self, pid: int, timeout_seconds: float) -> int | None:
        """The exit code of a child, once it is gone; None when it is not within that time."""
        return self._ask({"reap": pid, "within": timeout_seconds})

    def _ask(self, question: dict[str, object]) -> int | None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the zygote is gone")
        return json.loads(answer)


# -- the zygote's own side -----------------------------------------------------------------------------------


def _command(arguments: Sequence[str]) -> int:
    from runner.__main__ import main

    sys.argv = ["sync-runner", *arguments]
    return main()


def _warm(folder: Path) -> None:
    """Run the command here, so that all of it is imported."""
    source = folder / "source"
    source.mkdir(parents=True)
    for number in range(40):
        (source / f"f{number}").write_bytes(b"warm")
    os.symlink("f1", source / "link")
    os.mkfifo(source / "pipe")
    (source / "big").write_bytes(bytes(9 << 20))
    locations = {name: {"type": "local", "path": str(folder / name)} for name in ("source", "destination")}
    task = {"source": "source", "destination": "destination", "reports": ["html", "json"]}
    document = {"version": 1, "locations": locations, "tasks": {"t": task}}
    (folder / "sync.yaml").write_text(json.dumps(document))
    os.chdir(folder)
    silence = os.open(os.devnull, os.O_RDWR)
    kept = os.dup(1), os.dup(2)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    for arguments in (["run", "t"], ["run", "t"], ["verify", "t"], ["history"], ["status"]):
        code = _command(arguments)
        sys.stdout.flush()
        if code not in (0,):
            os.write(kept[1], f"zygote: {arguments} ended with {code}\n".encode())
            os._exit(1)
    os.dup2(kept[0], 1)
    os.dup2(kept[1], 2)
    for descriptor in (silence, *kept):
        os.close(descriptor)


def _child(question: dict[str, object]) -> None:
    """Never returns."""
    code = 70
    try:
        output = str(question["output"])
        for number, name, flags in (
            (0, os.devnull, os.O_RDONLY),
            (1, os.path.join(output, "out"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
            (2, os.path.join(output, "err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ):
            descriptor = os.open(name, flags, 0o600)
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.closerange(3, 256)
        os.chdir(str(question["folder"]))
        arguments = question["arguments"]
        assert isinstance(arguments, list)
        os.kill(os.getpid(), signal.SIGSTOP)
        code = _command(arguments)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _reap(pid: int, within_seconds: float) -> int | None:
    handle = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        if not poll.poll(within_seconds * 1000):
            return None
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(handle)


def _serve() -> None:
    # This file runs as a script: what is beside it is found by its bare name.
    from mutations import mutate  # type: ignore[import-not-found,unused-ignore]

    mutate()
    for line in sys.stdin:
        question = json.loads(line)
        answer: int | None = 0
        if "warm" in question:
            _warm(Path(question["warm"]))
        elif "reap" in question:
            answer = _reap(question["reap"], question["within"])
        else:
            answer = os.fork()
            if answer == 0:
                _child(question)
            # Not before it has stopped: then nothing of it was missed.
            os.waitpid(answer, os.WUNTRACED)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    _serve()
