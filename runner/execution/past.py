"""The last success of a task, in a small file of its own: guards need it also when the database is down, and
reading it costs nothing."""

from __future__ import annotations

import os

import msgspec

from runner.history.state import StateDirectory
from runner.model.hashing import sha256_hex
from runner.model.wire import decode_line, encode_line
from runner.plan.guards import Past


def read_past(state: StateDirectory, task: str) -> Past:
    """What is remembered of a task's last success; nothing when there is none or the file cannot be read."""
    try:
        with open(_file(state, task), "rb") as stream:
            return decode_line(stream.read(), Past)
    except (OSError, msgspec.DecodeError, ValueError):
        return Past()


def write_past(state: StateDirectory, task: str, past: Past) -> None:
    """Remember a success: whole or not at all, mode 0600. Raises OSError."""
    import tempfile

    path = _file(state, task)
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".past-", dir=os.path.dirname(path))
    with os.fdopen(handle, "wb") as stream:
        stream.write(encode_line(past) + b"\n")
    os.replace(temporary, path)


def _file(state: StateDirectory, task: str) -> str:
    name = sha256_hex(task.encode("utf-8", "surrogateescape"))[:32]
    return os.path.join(state.path, "tasks", f"{name}.json")
