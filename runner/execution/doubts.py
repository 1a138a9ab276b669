"""Paths that a verification found wrong or could not read, in a small file of the task.

Size and time of such a file may be equal on both sides, so that nothing but content tells the next run what is the matter:
that run reads these files on both sides, whatever `compare` says. Without this a run would end well, one night after
another, on a copy that is known to be damaged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import msgspec

from runner.durable import locked, write_whole
from runner.errors import StateUnavailableError
from runner.history.state import StateDirectory
from runner.model.action import Finding, Verdict
from runner.model.wire import decode_line, encode_line

_SUFFIX = ".doubts.json"
_DOUBTFUL = frozenset(
    {Verdict.CHECKSUM_FAILURE, Verdict.UNREADABLE, Verdict.LOCKED, Verdict.CHANGED_DURING_TRANSFER}
)


class _Doubts(msgspec.Struct, frozen=True):
    paths: tuple[str, ...]


def doubted_by(findings: Iterable[Finding]) -> frozenset[str]:
    """The files whose content these findings leave open; what is missing, too much, or has other metadata shows itself."""
    return frozenset(
        finding.path
        for finding in findings
        if finding.verdict in _DOUBTFUL and finding.path and not finding.path.endswith("/")
    )


def read_doubts(state: StateDirectory, task: str) -> frozenset[str]:
    """Files to be compared by content. Raises StateUnavailableError: a run that does not know ends well on a bad copy."""
    path = state.task_file(task, _SUFFIX)
    try:
        with open(path, "rb") as stream:
            return frozenset(decode_line(stream.read(), _Doubts).paths)
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        reason = error.strerror or str(error)
    except (msgspec.MsgspecError, ValueError):
        reason = "it is damaged"
    raise StateUnavailableError(
        f"what verification found wrong in task {task} cannot be read: {path}: {reason}",
        remedy=f"If it cannot be read again: remove that file, then sync-runner verify {task}.",
    )


def update_doubts(
    state: StateDirectory, task: str, change: Callable[[frozenset[str]], frozenset[str]]
) -> None:
    """Replace a task's doubts by what `change` makes of them; durable on return, mode 0600. Raises OSError."""
    path = state.task_file(task, _SUFFIX)
    if not os.path.lexists(path) and not change(frozenset()):
        return  # nearly always
    with locked(path):
        try:
            before = read_doubts(state, task)
        except StateUnavailableError:
            # Damaged: whoever reads it is told so. What is known now is not added to what nobody knows.
            return
        after = change(before)
        if after != before:
            line = encode_line(_Doubts(tuple(sorted(after, key=os.fsencode))))
            write_whole(path, lambda stream: stream.write(line + b"\n"))
