"""Listing ahead of whoever compares: while one page is compared, the next is on its way."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import TypeVar

from runner.locations.observer import NOBODY, Observer, spent
from runner.model.activity import Activity

T = TypeVar("T")

_AT_ONCE = 256
_WAITING = 16


def ahead(stream: Iterator[T], observer: Observer = NOBODY) -> Iterator[T]:
    """The same values, taken from `stream` by a thread of its own. Memory: 16 lists of 256 values. `observer`: of the
    thread that asks for them; hears when it waits.

    Until the end (or until this iterator is closed) whatever `stream` uses belongs to that thread. An exception out
    of `stream` is raised here, in its place.
    """
    waiting: queue.Queue[list[T] | BaseException | None] = queue.Queue(_WAITING)
    given_up = threading.Event()

    def offer(value: list[T] | BaseException | None) -> bool:
        while not given_up.is_set():
            try:
                waiting.put(value, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def read() -> None:
        gathered: list[T] = []
        try:
            for value in stream:
                gathered.append(value)
                # The first values go at once: whoever waits has something to do.
                if len(gathered) >= _AT_ONCE or waiting.empty():
                    if not offer(gathered):
                        return
                    gathered = []
            offer(gathered)
            offer(None)
        except BaseException as error:
            offer(gathered)
            offer(error)
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()

    reader = threading.Thread(target=read, name="listing", daemon=True)
    reader.start()

    def following() -> list[T] | BaseException | None:
        with spent(observer, Activity.LISTING):
            return waiting.get()

    try:
        while (values := following()) is not None:
            if isinstance(values, BaseException):
                raise values
            yield from values
    finally:
        given_up.set()
        reader.join()
