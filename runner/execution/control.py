"""Telling a running execution something: stop, or another bandwidth limit.

Whoever may write the execution's folder may tell it, from any process: what is wanted stands in a small file there.
The execution looks several times a second, in a thread of its own, also while a location does not answer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import msgspec

from runner.clock import Clock
from runner.durable import write_whole
from runner.execution.context import Cancellation
from runner.history.lock import BEAT_SECONDS
from runner.model.wire import decode_line, encode_line
from runner.units import format_duration

CONTROL_FILE = "control.json"
LOOK_EVERY_SECONDS = 0.2
UNDO_AFTER_SECONDS = 60.0
"""After a time limit, files in flight have this long to be finished; then they are undone."""


class Wanted(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is wanted of an execution. `stop`: 0 go on, 1 finish the files in flight, 2 undo them and end.

    `bandwidth_bytes_per_second`: None = the task's own limit, 0 = unlimited. `reason` is for the report.
    """

    stop: int = 0
    reason: str = ""
    bandwidth_bytes_per_second: int | None = None


def read_wanted(folder: str) -> Wanted:
    """What stands in an execution's folder; nothing wanted when nothing does."""
    try:
        with open(os.path.join(folder, CONTROL_FILE), "rb") as stream:
            return decode_line(stream.read(), Wanted)
    except (OSError, msgspec.MsgspecError, ValueError):
        return Wanted()


def write_wanted(folder: str, wanted: Wanted) -> None:
    """Tell the execution whose folder it is: whole or not at all, mode 0600. Raises OSError."""
    write_whole(
        os.path.join(folder, CONTROL_FILE),
        lambda stream: stream.write(encode_line(wanted) + b"\n"),
        durable=False,
    )


class Watch:
    """Looks what is wanted of one execution, and at its time limit. A context manager: its thread ends with it.

    A limit that is told holds from the next look on; stops are passed to `cancellation`, which never goes back.
    """

    def __init__(
        self, folder: str, cancellation: Cancellation, clock: Clock, max_duration_seconds: float | None
    ) -> None:
        self._folder = folder
        self._path = os.path.join(folder, CONTROL_FILE)
        self._cancellation = cancellation
        self._clock = clock
        self._limit_seconds = max_duration_seconds
        self._seen: tuple[int, int] | None = None
        self._wanted = Wanted()
        self._ending = threading.Event()
        self.beat: Callable[[], None] = lambda: None
        """Called every BEAT_SECONDS: says that this execution is alive."""
        self._thread = threading.Thread(target=self._look_on, name="control", daemon=True)

    def bandwidth(self) -> int | None:
        """The limit that was told: None = the task's own, 0 = unlimited."""
        return self._wanted.bandwidth_bytes_per_second

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    def _look_on(self) -> None:
        began = beaten_at = self._clock.monotonic()
        while not self._ending.wait(LOOK_EVERY_SECONDS):
            self._look()
            now = self._clock.monotonic()
            self._mind_the_time(now - began)
            if now - beaten_at >= BEAT_SECONDS:
                beaten_at = now
                self.beat()

    def _look(self) -> None:
        try:
            facts = os.stat(self._path)
        except OSError:
            return
        seen = (facts.st_mtime_ns, facts.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        self._wanted = read_wanted(self._folder)
        if self._wanted.stop:
            self._cancellation.stop(self._wanted.stop, self._wanted.reason)

    def _mind_the_time(self, elapsed: float) -> None:
        limit = self._limit_seconds
        if limit is None or elapsed < limit:
            return
        level = 2 if elapsed >= limit + UNDO_AFTER_SECONDS else 1
        self._cancellation.stop(level, f"stopped: it took longer than max_duration, {format_duration(limit)}")
