"""Reading content: one request for a small file; ranges for a large one, some on their way ahead of the reader.

Every range names the etag of the first: what is put together is one version of the object, or nothing is. Ranges come in
their order, so whoever reads notices nothing but the speed.
"""

from __future__ import annotations

import collections
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.observer import NOBODY, Observer
from runner.locations.protocol import Buffer
from runner.model.entry import Entry

from .client import ConditionFailedError, ObjectClient, ObjectFacts
from .faults import changed
from .uploads import Budget, PartSettings

RANGE_BUDGET = Budget(128 << 20)
"""Memory for ranges that were read ahead, in one process."""
RANGE_ATTEMPTS = 3
AT_ONCE_BYTES = 1 << 20
Check = Callable[[ObjectFacts], None]


class ContentReader:
    """Reads objects of one client. `facts` are checked by the caller, who knows what is expected."""

    def __init__(self, client: ObjectClient, settings: PartSettings, observer: Observer = NOBODY) -> None:
        """Files of more than two parts' size are read in ranges of that size. `observer` hears of those that are asked for
        again."""
        self._observer = observer
        self._client = client
        self._settings = settings
        self._ranges = settings.concurrency > 1

    def chunks(self, key: str, entry: Entry, offset: int, check: Check) -> Iterator[Buffer]:
        """The content from `offset` in chunks valid until the next is asked for. `check` is called once, with the
        facts, before the first; it raises when they are not what is expected.

        Raises CHANGED_DURING_TRANSFER, at the latest after the last chunk. Memory: one chunk, or the ranges ahead.
        """
        try:
            if self._suits_ranges(entry, offset):
                try:
                    yield from self._in_ranges(key, entry, offset, check)
                    return
                except _NoRangesError:
                    self._ranges = False
            yield from self._whole(key, entry, offset, check)
        except ConditionFailedError as error:
            raise changed(entry.path, "its content was replaced (its etag is another)") from error

    def _suits_ranges(self, entry: Entry, offset: int) -> bool:
        # Without an etag, ranges of two versions could be put together.
        size = entry.size_bytes
        known = size is not None and entry.version is not None
        return self._ranges and known and (size or 0) - offset > 2 * self._settings.part_bytes

    def _whole(self, key: str, entry: Entry, offset: int, check: Check) -> Iterator[Buffer]:
        position = offset
        with self._client.get(key, offset=offset, if_etag=entry.version) as stream:
            facts = stream.facts
            check(facts)
            for chunk in stream:
                position += len(chunk)
                yield chunk
        self._conclude(entry, facts, offset, position)

    def _in_ranges(self, key: str, entry: Entry, offset: int, check: Check) -> Iterator[Buffer]:
        """Raises _NoRangesError before the first chunk where the service sends none."""
        length = self._settings.part_bytes
        position = offset
        try:
            stream = self._client.get(key, offset=offset, length=length, if_etag=entry.version)
        except EntryError as error:
            if error.entry_code is EntryCode.IO_ERROR and offset == 0:
                raise _NoRangesError from error
            raise
        with stream:
            facts = stream.facts
            check(facts)
            ahead = _Ahead(self._client, entry.path, facts, self._settings, offset + length, self._observer)
            with closing(ahead):
                ahead.fill()
                for chunk in stream:
                    position += len(chunk)
                    yield chunk
                if position != offset + length:
                    raise _cut(entry.path, position, offset + length)
                for chunk in ahead.chunks():
                    position += len(chunk)
                    yield chunk
        self._conclude(entry, facts, offset, position)

    def _conclude(self, entry: Entry, facts: ObjectFacts, offset: int, position: int) -> None:
        if position != facts.size_bytes:
            raise changed(entry.path, f"{position} bytes came, {facts.size_bytes} were announced")
        if position - offset > AT_ONCE_BYTES:
            # What came is one version; but reading took long enough for the file to become another one.
            now = self._client.head(facts.key)
            if now is None or now.etag != facts.etag:
                raise changed(entry.path, "its content was replaced while it was read")


class _NoRangesError(Exception):
    """The service does not send parts of an object."""


class _Ahead:
    """The ranges from `start` to the end of an object, a few on their way at once. Belongs to one thread; close it."""

    def __init__(
        self,
        client: ObjectClient,
        path: str,
        facts: ObjectFacts,
        settings: PartSettings,
        start: int,
        observer: Observer,
    ) -> None:
        self._observer = observer
        self._client = client
        self._path = path
        self._facts = facts
        self._length = settings.part_bytes
        self._concurrency = settings.concurrency
        self._next = start
        self._coming: collections.deque[Future[bytearray]] = collections.deque()
        self._executor = ThreadPoolExecutor(settings.concurrency, thread_name_prefix="range")
        self._given_up = threading.Event()

    def fill(self) -> None:
        """Ask for as many ranges as may be on their way, and as there is memory for."""
        while len(self._coming) < self._concurrency and self._next < self._facts.size_bytes:
            if not RANGE_BUDGET.take(self._length, wait=False):
                return
            start, self._next = self._next, min(self._next + self._length, self._facts.size_bytes)
            self._coming.append(self._executor.submit(self._patiently, start, self._next - start))

    def chunks(self) -> Iterator[Buffer]:
        """All that is left, in order. Where there is no memory to read ahead, ranges are read one by one."""
        while self._coming or self._next < self._facts.size_bytes:
            if not self._coming:
                start, self._next = self._next, min(self._next + self._length, self._facts.size_bytes)
                yield from self._range(start, self._next - start)
                self.fill()
                continue
            content = self._coming[0].result()
            view = memoryview(content)
            for begin in range(0, len(content), AT_ONCE_BYTES):
                yield view[begin : begin + AT_ONCE_BYTES]
            view.release()
            del content
            self._coming.popleft()
            RANGE_BUDGET.give_back(self._length)
            self.fill()

    def _patiently(self, start: int, length: int) -> bytearray:
        """One range whole; asked for again when its connection was lost, for that must not cost all the others."""
        for attempt in range(RANGE_ATTEMPTS):
            content = bytearray()
            try:
                for chunk in self._range(start, length):
                    if self._given_up.is_set():
                        break
                    content += chunk
                return content
            except EntryError as error:
                if error.disposition is not Disposition.RETRY or attempt == RANGE_ATTEMPTS - 1:
                    raise
                self._observer.away()
        raise AssertionError("unreachable")

    def _range(self, start: int, length: int) -> Iterator[Buffer]:
        came = 0
        with self._client.get(
            self._facts.key, offset=start, length=length, if_etag=self._facts.etag
        ) as stream:
            # A service may pass over the condition: then the answer tells.
            told = stream.facts
            if (told.etag, told.size_bytes) != (self._facts.etag, self._facts.size_bytes):
                raise changed(self._path, "its content was replaced while it was read")
            for chunk in stream:
                came += len(chunk)
                yield chunk
        if came != length:
            raise _cut(self._path, start + came, start + length)

    def close(self) -> None:
        """End what is on its way; its memory is free again."""
        self._given_up.set()
        self._executor.shutdown(wait=True, cancel_futures=True)
        for _ in self._coming:
            RANGE_BUDGET.give_back(self._length)
        self._coming.clear()


def _cut(path: str, position: int, expected: int) -> EntryError:
    return EntryError(
        EntryCode.UNAVAILABLE,
        path,
        f"the service sent another range than was asked for: it ends at {position}, not at {expected}",
        disposition=Disposition.RETRY,
    )
