"""Ctrl-C and its kin: the first drains an execution, the second stops it, the third gives up waiting."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Protocol

DRAINING = "finishing the files in flight; press Ctrl-C again to stop now"
STOPPING = "stopping now; what is half-written is undone"

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Cancels(Protocol):
    """What takes a request to stop, and says how many it has had."""

    def request(self) -> int: ...


@contextmanager
def draining(cancellation: Cancels, notice: Callable[[str], None]) -> Iterator[None]:
    """While in here, signals ask `cancellation` to stop, and `notice` says so to the user.

    A signal that the process ignores (nohup, a shell's background job) stays ignored. Outside the main thread
    nothing is installed: Python takes signals only there. `notice` must be safe to call at any moment.
    """

    def handle(number: int, frame: FrameType | None) -> None:
        level = cancellation.request()
        if level == 1:
            notice(DRAINING)
        elif level == 2:
            notice(STOPPING)
        else:
            raise KeyboardInterrupt

    with _handled(_SIGNALS, handle):
        yield


@contextmanager
def ending_on_termination() -> Iterator[None]:
    """While in here, SIGTERM and SIGHUP end a command as Ctrl-C does, with everything cleaned up."""

    def handle(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    with _handled((signal.SIGTERM, signal.SIGHUP), handle):
        yield


@contextmanager
def _handled(
    numbers: tuple[signal.Signals, ...], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {
        number: signal.getsignal(number) for number in numbers if signal.getsignal(number) != signal.SIG_IGN
    }
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, previous in before.items():
            # None: a handler that was not installed from Python cannot be put back.
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)
