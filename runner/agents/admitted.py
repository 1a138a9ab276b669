"""Actions and checks that take a place first: how jobs keep to the concurrency that was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from runner.agents.gate import Seat
from runner.model.action import Action, Outcome
from runner.transfer.perform import Performer


class AdmittedPerformer(Performer):
    """Each action waits for its place, holds it over its retries (a busy storage is left alone meanwhile), and gives it
    back. Copies that are handed over together are one operation of the driver's own concurrency: they only count."""

    def __init__(self, seat: Seat, *arguments: Any) -> None:
        """`arguments`: those of Performer."""
        super().__init__(*arguments)
        self._seat = seat

    def perform(self, action: Action) -> Outcome:
        self._seat.enter(action.size_bytes)
        try:
            return super().perform(action)
        finally:
            self._seat.leave()


def taking_turns(seat: Seat, stopping: Callable[[], bool]) -> Callable[[], bool]:
    """`stopping`, asked between two checks: the place is given back and taken anew, others may be waiting for it."""

    def stopping_or_next() -> bool:
        seat.leave()
        seat.enter(0)
        return stopping()

    return stopping_or_next


def seated(seat: Seat, job: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """`job`, which begins with a place taken and leaves none behind."""

    def answer(request: bytes) -> bytes:
        seat.enter(0)
        try:
            return job(request)
        finally:
            seat.leave()

    return answer
