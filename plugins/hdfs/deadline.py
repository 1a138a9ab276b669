"""Calls with an end: hdfs-native waits for a silent NameNode for ever, so each call runs beside its caller."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

Result = TypeVar("Result")


class _Call:
    """One call and its outcome; `done` is released when there is one."""

    __slots__ = ("arguments", "done", "error", "function", "result")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.result: Any = None
        self.error: BaseException | None = None
        self.done = threading.Lock()
        self.done.acquire()


class Deadline:
    """Runs calls in a thread of its own and stops waiting for one that takes too long.

    That thread cannot be ended: it is left alone (a daemon) until its call comes back, and the next call gets
    another. For one thread at a time.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._calls: queue.SimpleQueue[_Call | None] | None = None

    def __call__(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """What `function` returns or raises. Raises TimeoutError when it does neither in time."""
        if self._calls is None:
            self._calls = queue.SimpleQueue()
            threading.Thread(target=_serve, args=(self._calls,), name="hdfs-calls", daemon=True).start()
        call = _Call(function, arguments)
        self._calls.put(call)
        if not call.done.acquire(timeout=self._seconds):
            self.close()
            raise TimeoutError(f"no answer within {self._seconds:g} s")
        if call.error is not None:
            raise call.error
        result: Result = call.result
        return result

    def close(self) -> None:
        """Let the thread end when it has nothing left to do."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None


def _serve(calls: queue.SimpleQueue[_Call | None]) -> None:
    while True:
        call = calls.get()
        if call is None:
            return
        try:
            call.result = call.function(*call.arguments)
        except BaseException as error:
            # A panic of the library is no Exception, and the caller must hear of it too.
            call.error = error
        call.done.release()
        # Whoever waits for the next call must not keep the last one's result alive.
        del call
