"""That an execution began, in its own folder: what history takes over for those that have no report yet.

Writing it needs no database; reading history (which does) comes later, and may come from another process.
"""

from __future__ import annotations

import os
from datetime import datetime

import msgspec

from runner.durable import write_whole
from runner.errors import StateUnavailableError
from runner.history.process import process_key
from runner.model.execution import Trigger
from runner.model.wire import decode_line, encode_line

STARTED_FILE = "started.json"


class Started(msgspec.Struct, frozen=True):
    """Who began what, when, in which process of which host; `slot` is the scheduled time that was met."""

    execution_id: str
    task: str
    trigger: Trigger
    config_file: str
    config_digest: str
    filter_digest: str
    host: str
    pid: int
    process_key: str | None
    started_at: datetime
    slot: str | None = None


def note_start(folder: str, started: Started) -> None:
    """Write it down, mode 0600. Raises StateUnavailableError."""
    path = os.path.join(folder, STARTED_FILE)
    line = encode_line(started) + b"\n"
    try:
        write_whole(path, lambda stream: stream.write(line), durable=False)
    except OSError as error:
        raise StateUnavailableError(
            f"the execution cannot be recorded: {path}: {error.strerror or error}",
            remedy="Make room in the state folder, or set settings.state in sync.yaml to another one.",
        ) from error


def read_start(folder: str) -> Started | None:
    """What was written down; None when nothing was, or not completely."""
    try:
        with open(os.path.join(folder, STARTED_FILE), "rb") as stream:
            return decode_line(stream.read(), Started)
    except (OSError, msgspec.MsgspecError, ValueError):
        return None


def this_process() -> tuple[int, str | None]:
    """The process id, and what tells it from a later process of the same id."""
    pid = os.getpid()
    return pid, process_key(pid)
