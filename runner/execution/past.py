"""The last success of a task, in a small file of its own: guards need it also when the database is down, and
reading it costs nothing."""

from __future__ import annotations

import os

import msgspec

from runner.durable import write_whole
from runner.errors import StateUnavailableError
from runner.history.state import StateDirectory
from runner.model.wire import decode_line, encode_line
from runner.plan.guards import Past


def read_past(state: StateDirectory, task: str) -> Past:
    """What is remembered of a task's last success; nothing when there is none.

    Raises StateUnavailableError when the file cannot be read: without it guards would let pass what they are for.
    """
    path = _file(state, task)
    try:
        with open(path, "rb") as stream:
            return decode_line(stream.read(), Past)
    except FileNotFoundError:
        return Past()
    except OSError as error:
        reason = error.strerror or str(error)
    except (msgspec.MsgspecError, ValueError):
        reason = "it is damaged"
    raise StateUnavailableError(
        f"what guards know of the last success of task {task} cannot be read: {path}: {reason}",
        remedy="If it cannot be read again: see that both locations are the right ones, then remove that file.",
    )


def write_past(state: StateDirectory, task: str, past: Past) -> None:
    """Remember a success: whole or not at all, mode 0600, durable on return. Raises OSError."""
    path = _file(state, task)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    write_whole(path, lambda stream: stream.write(encode_line(past) + b"\n"))


def _file(state: StateDirectory, task: str) -> str:
    return state.task_file(task, ".json")
