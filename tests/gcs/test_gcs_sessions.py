"""A session against a service that answers as Google does: it keeps less than was sent, loses answers, tells its state."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import pytest
from runner_plugins.gcs.sessions import Session, encoded_crc
from runner_plugins.objects.client import ALWAYS

from runner.errors import Disposition, EntryCode, EntryError

UNIT = 256 << 10
CONTENT = os.urandom(5 * UNIT + 77)


class Answer:
    def __init__(self, status: int, held: int = 0) -> None:
        self.status = status
        self.headers = {"range": f"bytes=0-{held - 1}"} if held else {}


class Google:
    """Keeps what it is sent as far as `keeps` says, by request; `loses` are the requests whose answers are lost."""

    def __init__(self, keeps: Mapping[int, int] | None = None, loses: frozenset[int] = frozenset()) -> None:
        self.held = b""
        self.finished = False
        self.crc: str | None = None
        self._keeps = keeps or {}
        self._loses = loses
        self._count = 0

    def ask_target(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
        *,
        key: str = "",
        expected: tuple[int, ...] = (200,),
    ) -> Answer:
        assert headers is not None and (method, target) == ("PUT", "/session")
        number, self._count = self._count, self._count + 1
        span, _, total = headers["content-range"].removeprefix("bytes ").partition("/")
        if span != "*":
            begin, _, last = span.partition("-")
            assert int(last) - int(begin) + 1 == len(body), "the range is not that of the body"
            assert int(begin) <= len(self.held), "a gap"
            assert total != "*" or len(body) % UNIT == 0
            kept = bytes(body)[: self._keeps.get(number, len(body))]
            self.held = self.held[: int(begin)] + kept
        if total != "*":
            assert len(self.held) == int(total)
            self.finished, self.crc = True, headers["x-goog-hash"]
        if number in self._loses:
            raise EntryError(EntryCode.UNAVAILABLE, key, "lost", disposition=Disposition.RETRY)
        return Answer(200 if self.finished else 308, len(self.held))


def sent(google: Google, *, tells_state: bool = True) -> None:
    session = Session(google, "/session", "a", ALWAYS, tells_state=tells_state)  # type: ignore[arg-type]
    for number, begin in enumerate(range(0, len(CONTENT), 2 * UNIT), 1):
        for attempt in range(3):
            try:
                session.add(number, CONTENT[begin : begin + 2 * UNIT])
                break
            except EntryError:
                if attempt == 2:
                    raise
    session.finish()


@pytest.mark.parametrize(
    "google",
    [
        Google(),
        Google(keeps={0: UNIT}),
        Google(keeps={0: 0, 1: UNIT, 2: 0}),
        Google(loses=frozenset({0})),
        Google(loses=frozenset({1}), keeps={1: UNIT}),
        Google(loses=frozenset({1}), keeps={1: 0}),
        Google(loses=frozenset({0, 1}), keeps={0: UNIT}),
    ],
)
def test_all_of_the_content_arrives_once(google: Google) -> None:
    import google_crc32c

    sent(google)
    assert google.held == CONTENT
    assert google.crc == f"crc32c={encoded_crc(google_crc32c.value(CONTENT))}"


def test_a_service_that_keeps_nothing_is_not_asked_for_ever() -> None:
    with pytest.raises(EntryError) as caught:
        sent(Google(keeps=dict.fromkeys(range(100), 0)))
    assert caught.value.disposition is Disposition.RETRY


def test_where_the_state_cannot_be_asked_the_upload_ends() -> None:
    google = Google(loses=frozenset({1}))
    with pytest.raises(EntryError, match="begin anew"):
        sent(google, tells_state=False)
    assert not google.finished
