"""Large objects come in ranges, several at once: one version, in order, in bounded memory, or an error."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from runner_plugins.objects.client import ConditionFailedError, ObjectFacts
from runner_plugins.objects.reading import RANGE_BUDGET, ContentReader
from runner_plugins.objects.uploads import PartSettings

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.entry import Entry, Kind

PART = 100_000
CONTENT = random.Random(7).randbytes(10 * PART + 17)
SETTINGS = PartSettings(part_bytes=PART, concurrency=4)


class Stream:
    def __init__(self, facts: ObjectFacts, content: bytes, fault: EntryError | None = None) -> None:
        self.facts = facts
        self._content = content
        self._fault = fault

    def __iter__(self) -> Iterator[bytes]:
        for begin in range(0, len(self._content), 30_000):
            yield self._content[begin : begin + 30_000]
            if self._fault is not None:
                raise self._fault

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class Client:
    """One object. `before` is called with the number of each GET, and may change the object or raise."""

    def __init__(
        self, before: Callable[[Client, int], EntryError | None] = lambda client, number: None
    ) -> None:
        self.content, self.etag = CONTENT, "one"
        self.honours_match = True
        self.sends_ranges = True
        self.gets: list[tuple[int, int | None]] = []
        self._before = before
        self._lock = threading.Lock()

    def facts(self) -> ObjectFacts:
        return ObjectFacts("big", len(self.content), etag=self.etag)

    def get(
        self, key: str, *, offset: int = 0, length: int | None = None, if_etag: str | None = None
    ) -> Stream:
        with self._lock:
            number = len(self.gets)
            self.gets.append((offset, length))
            fault = self._before(self, number)
            if self.honours_match and if_etag not in (None, self.etag):
                raise ConditionFailedError
            if not self.sends_ranges and (offset or length is not None):
                raise EntryError(EntryCode.IO_ERROR, key, "the server does not send ranges of an object")
            end = None if length is None else offset + length
            return Stream(self.facts(), self.content[offset:end], fault)

    def head(self, key: str) -> ObjectFacts:
        return self.facts()


ENTRY = Entry("big", Kind.FILE, size_bytes=len(CONTENT), version="one")


def chunks(
    client: Any, entry: Entry = ENTRY, offset: int = 0, settings: PartSettings = SETTINGS
) -> Iterator[bytes]:
    for chunk in ContentReader(client, settings).chunks("big", entry, offset, lambda facts: None):
        yield bytes(chunk)


def is_all_memory_free() -> bool:
    whole = 128 << 20
    free = RANGE_BUDGET.take(whole, wait=False)
    if free:
        RANGE_BUDGET.give_back(whole)
    return free


@pytest.mark.parametrize("offset", [0, 1, PART, 3 * PART + 5])
def test_a_large_object_comes_in_ranges_and_in_order(offset: int) -> None:
    client = Client()
    assert b"".join(chunks(client, offset=offset)) == CONTENT[offset:]
    assert len(client.gets) > 6
    assert is_all_memory_free()


def test_a_small_one_comes_in_one_request() -> None:
    client = Client()
    client.content = CONTENT[: 2 * PART]
    assert (
        b"".join(chunks(client, Entry("big", Kind.FILE, size_bytes=2 * PART, version="one")))
        == client.content
    )
    assert client.gets == [(0, None)]


def test_without_an_etag_nothing_is_put_together_of_ranges() -> None:
    client = Client()
    entry = Entry("big", Kind.FILE, size_bytes=len(CONTENT))
    assert b"".join(chunks(client, entry)) == CONTENT
    assert client.gets == [(0, None)]


def test_no_more_ranges_are_on_their_way_than_allowed() -> None:
    client = Client()
    stream = chunks(client)
    next(stream)
    # The first range, which is being read, and four ahead of it.
    assert len(client.gets) <= 5
    stream.close()
    assert len(client.gets) <= 5
    assert is_all_memory_free()


def test_without_memory_to_read_ahead_ranges_come_one_by_one() -> None:
    whole = 128 << 20
    assert RANGE_BUDGET.take(whole, wait=False)
    try:
        client = Client()
        assert b"".join(chunks(client)) == CONTENT
        assert [offset for offset, _ in client.gets] == list(range(0, len(CONTENT), PART))
    finally:
        RANGE_BUDGET.give_back(whole)


def replace_at(number: int) -> Callable[[Client, int], EntryError | None]:
    def before(client: Client, now: int) -> EntryError | None:
        if now == number:
            client.content, client.etag = bytes(len(CONTENT)), "two"
        return None

    return before


@pytest.mark.parametrize("honours_match", [True, False])
@pytest.mark.parametrize("number", [1, 4, 10])
def test_an_object_that_is_replaced_between_ranges_is_never_half_and_half(
    number: int, honours_match: bool
) -> None:
    client = Client(replace_at(number))
    client.honours_match = honours_match
    with pytest.raises(EntryError) as caught:
        b"".join(chunks(client))
    assert caught.value.entry_code is EntryCode.CHANGED_DURING_TRANSFER
    assert len(client.gets) > number
    assert is_all_memory_free()


def test_one_lost_connection_costs_one_range() -> None:
    def before(client: Client, number: int) -> EntryError | None:
        lost = EntryError(EntryCode.UNAVAILABLE, "big", "cut", disposition=Disposition.RETRY)
        return lost if number in (2, 3) else None

    client = Client(before)
    assert b"".join(chunks(client)) == CONTENT
    assert len(client.gets) == 11 + 2


def test_a_service_without_ranges_sends_the_whole() -> None:
    client = Client()
    client.sends_ranges = False
    assert b"".join(chunks(client)) == CONTENT
    assert client.gets[-1] == (0, None)
