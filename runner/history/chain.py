"""The chain of a task's reports: a small file of its own in which each line vouches for all lines before it.

`tasks/NAME.chain.jsonl` in the state folder has one line a report (its SHA-256), and one for each time that retention
removed reports. A line's `chain` is SHA-256 over 0x02, the chain before it (32 bytes, zeros at the start) and the
line's own bytes before `,"chain":`. A report carries the chain as it was before it, so that whoever changes, removes
or inserts anything has to rewrite every later report. The file is never shortened: about 200 bytes an execution.

A report is published under a lock: first a pending line, then the report, then the line. After a crash between these
steps the next report settles what is pending.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from typing import IO

import msgspec

from runner.durable import append_whole, locked, sync_folder, write_whole
from runner.errors import ExitCode, RunnerError
from runner.history.standing import standing_file
from runner.history.state import StateDirectory
from runner.model.execution import PreviousReport
from runner.model.wire import decode_line, encode_line
from runner.report.stored import REPORT_FILE

RETIRED_PER_LINE = 100
_TAG = b"\x02"
_START = bytes(32)
_TAIL = b',"chain":"'
_WINDOW_BYTES = 8192


class ChainDamagedError(RunnerError):
    """The chain of a task's reports has a line that is not readable, so it cannot be continued."""

    code = "chain_damaged"
    exit_code = ExitCode.VERIFICATION_FAILED


class Link(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line: a report (`execution_id`, `report` = SHA-256 of report.json), or what retention removed by `rule`.

    `at` is when it was written, RFC 3339 UTC. `chain` is 64 hex digits.
    """

    sequence: int
    at: str
    execution_id: str = ""
    report: str = ""
    retired: tuple[str, ...] = ()
    rule: str = ""
    chain: str = ""


class Place(msgspec.Struct, frozen=True):
    """Where the next line goes, as a report's evidence tells it."""

    sequence: int
    previous: PreviousReport | None
    chain: str | None


class Extension:
    """A chain that is held for the next report. `place` is for the report; then `publish` it."""

    def __init__(self, state: StateDirectory, path: str, place: Place) -> None:
        self.place = place
        self._state = state
        self._path = path

    def publish(self, execution_id: str, content: bytes, at: str, write: Callable[[], None]) -> None:
        """Let `write` put `content` in its place as report.json, and append its line. Raises OSError."""
        digest = hashlib.sha256(content).hexdigest()
        link = Link(self.place.sequence, at, execution_id=execution_id, report=digest)
        line = _line(link, self.place.chain)
        write_whole(_pending(self._path), lambda output: output.write(line))
        write()
        for folder in (self._state.execution_folder(execution_id), self._state.executions_folder):
            sync_folder(folder)
        append_whole(self._path, line)
        os.unlink(_pending(self._path))


@contextlib.contextmanager
def extended(state: StateDirectory, task: str) -> Iterator[Extension]:
    """The task's chain, held until the block ends. Raises OSError, ChainDamagedError."""
    path = chain_file(state, task)
    with locked(path):
        _settle(state, path)
        yield Extension(state, path, _place(path))


def retire(state: StateDirectory, task: str, execution_ids: Iterable[str], rule: str, at: str) -> None:
    """Write down that reports are about to be removed by a rule; those the chain does not know are left out.

    Raises OSError, ChainDamagedError.
    """
    path = chain_file(state, task)
    if not os.path.exists(path):
        return
    with locked(path):
        _settle(state, path)
        wanted = set(execution_ids)
        for link in read_links(path):
            wanted.difference_update(link.retired)
        known = sorted(link.execution_id for link in read_links(path) if link.execution_id in wanted)
        for start in range(0, len(known), RETIRED_PER_LINE):
            place = _place(path)
            retired = tuple(known[start : start + RETIRED_PER_LINE])
            append_whole(path, _line(Link(place.sequence, at, retired=retired, rule=rule), place.chain))


def chain_file(state: StateDirectory, task: str) -> str:
    """Where a task's chain lies."""
    return standing_file(state, task).removesuffix(".standing.json") + ".chain.jsonl"


def settled_links(state: StateDirectory, task: str) -> list[tuple[Link, bytes]]:
    """Every line with its bytes, as they stand while no report is being published; what is pending and was published
    counts. Nothing is written. A line that is none is a Link with sequence 0.

    Memory: the whole file. Raises OSError.
    """
    path = chain_file(state, task)
    if not os.path.exists(path):
        return []
    with contextlib.ExitStack() as held:
        # A copy that somebody audits may lie where nothing can be written, and then nobody else writes either.
        with contextlib.suppress(OSError):
            held.enter_context(locked(path, fcntl.LOCK_SH))
        with open(path, "rb") as file:
            lines = [line for line in file if line.endswith(b"\n")]
        pending = _published(state, path)
    if pending is not None and (not lines or lines[-1] != pending):
        lines.append(pending)
    return [(_decoded(line), line) for line in lines]


def chain_after(before: str | None, line: bytes) -> str:
    """The chain that a line should carry, 64 hex digits. `before` None = the line is the first."""
    head = line.rpartition(_TAIL)[0]
    return hashlib.sha256(_TAG + (_START if before is None else bytes.fromhex(before)) + head).hexdigest()


def read_links(path: str) -> Iterator[Link]:
    """The lines of a chain file; raises ChainDamagedError at one that is none, OSError."""
    with open(path, "rb") as file:
        for line in file:
            yield _readable(path, line)


def _readable(path: str, line: bytes) -> Link:
    link = _decoded(line)
    if link.sequence == 0:
        raise ChainDamagedError(
            f"{path}: a line of the chain is not readable",
            remedy="sync-runner report --verify-chain TASK says where. To begin a new chain, move the file away.",
        )
    return link


def _decoded(line: bytes) -> Link:
    try:
        link = decode_line(line, Link)
        # What other lines and reports are checked against has to be what it looks like.
        return link if len(bytes.fromhex(link.chain)) == 32 else Link(0, "")
    except (msgspec.MsgspecError, ValueError):
        return Link(0, "")


def _line(link: Link, before: str | None) -> bytes:
    head = encode_line(link).removesuffix(b"}") + _TAIL
    return head + chain_after(before, head).encode("ascii") + b'"}\n'


def _place(path: str) -> Place:
    """Read from the end: all of a chain may be long."""
    last: Link | None = None
    for line in _backwards(path):
        link = _readable(path, line)
        last = last or link
        if link.report:
            return Place(last.sequence + 1, PreviousReport(link.execution_id, link.report), last.chain)
    return Place(1, None, None) if last is None else Place(last.sequence + 1, None, last.chain)


def _backwards(path: str) -> Iterator[bytes]:
    try:
        file = open(path, "rb")
    except FileNotFoundError:
        return
    with file:
        at = file.seek(0, os.SEEK_END)
        rest = b""
        while at > 0:
            step = min(_WINDOW_BYTES, at)
            at -= step
            file.seek(at)
            first, *lines = (file.read(step) + rest).split(b"\n")
            yield from (line for line in reversed(lines) if line)
            rest = first
            if lines:
                rest = first + b"\n"
        if rest.strip():
            yield rest.removesuffix(b"\n")


def _settle(state: StateDirectory, path: str) -> None:
    """Put right what a crash left: half a line at the end, a report whose line is missing, a line without a report."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb+") as file:
        _cut_half_a_line(file)
    pending = _published(state, path)
    if pending is not None and next(_backwards(path), b"") != pending.removesuffix(b"\n"):
        append_whole(path, pending)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_pending(path))


def _cut_half_a_line(file: IO[bytes]) -> None:
    size = file.seek(0, os.SEEK_END)
    window = min(size, _WINDOW_BYTES)
    file.seek(size - window)
    tail = file.read(window)
    half = len(tail) - (tail.rfind(b"\n") + 1)
    if half:
        file.truncate(size - half)


def _published(state: StateDirectory, path: str) -> bytes | None:
    """The pending line, if there is one whose report stands in its place."""
    try:
        with open(_pending(path), "rb") as file:
            line = file.read()
        link = _decoded(line)
        if link.sequence == 0 or not link.report:
            return None
        with open(os.path.join(state.execution_folder(link.execution_id), REPORT_FILE), "rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except (FileNotFoundError, RunnerError):
        return None
    return line if found == link.report else None


def _pending(path: str) -> str:
    return path + ".pending"
