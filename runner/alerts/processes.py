"""Ending a program with all the processes it started, as far as Linux lets another process find them.

Found are: every process of its session (setsid(2) was called for it), the descendants of these, and, when a mark is
given, every process that has it in its environment: also one that left the session and whose parent has ended. Not
found is a process that left the session, lost its parent and wiped its environment; only a control group of its own
(a systemd unit) would hold such a one.
"""

from __future__ import annotations

import os
import signal
from typing import NamedTuple


class Process(NamedTuple):
    """One line of /proc: `start_tick` tells two processes of one pid apart."""

    pid: int
    parent: int
    session: int
    start_tick: bytes


def alive_in(session: int, mark: bytes | None) -> list[Process]:
    """The processes that belong to the session, its own leader included; zombies have ended.

    `mark`: also those that have `mark` (NAME=value) in their environment, and descendants that left the session.
    """
    known = {process.pid: process for process in map(_process, _pids()) if process is not None}
    found = {pid for pid, process in known.items() if process.session == session}
    if mark is not None:
        found |= {pid for pid in known.keys() - found if _is_marked(pid, mark)}
        children: dict[int, list[int]] = {}
        for process in known.values():
            children.setdefault(process.parent, []).append(process.pid)
        # The leader may be a zombie by now, whose children still name it as their parent.
        waiting = [session, *found]
        while waiting:
            below = set(children.get(waiting.pop(), ())) - found
            found |= below
            waiting += below
    found.discard(os.getpid())
    return [known[pid] for pid in sorted(found)]


def send(process: Process, number: signal.Signals) -> None:
    """Send a signal to this very process, never to another one that got its pid since."""
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    except (OSError, AttributeError):
        # An old kernel, or a sandbox without pidfd_open(2).
        handle = None
    try:
        present = _process(process.pid)
        if present is None or present.start_tick != process.start_tick:
            return
        if handle is None:
            os.kill(process.pid, number)
        else:
            signal.pidfd_send_signal(handle, number)
    except (ProcessLookupError, PermissionError):
        # Gone meanwhile; or it became another user, which is not ours to end.
        return
    finally:
        if handle is not None:
            os.close(handle)


def _pids() -> list[int]:
    try:
        return [int(name) for name in os.listdir("/proc") if name.isdigit()]
    except OSError:
        return []


def _process(pid: int) -> Process | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            line = file.read()
    except OSError:
        return None
    # The command's name, in parentheses, may hold spaces and parentheses: fields are counted behind it (proc(5)).
    fields = line[line.rindex(b")") + 2 :].split()
    if fields[0] in (b"Z", b"X"):
        return None
    return Process(pid, int(fields[1]), int(fields[3]), fields[19])


def _is_marked(pid: int, mark: bytes) -> bool:
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return mark in file.read().split(b"\0")
    except OSError:
        return False
