"""Scripted faults of a network connection, as values, and the counts of their triggers and firings."""

from __future__ import annotations

import enum
import threading
from collections.abc import Sequence
from dataclasses import dataclass


class NetworkEffect(enum.Enum):
    """What a fault does to its connection."""

    REFUSE = "refuse"
    RESET = "reset"
    CUT = "cut"
    SWALLOW = "swallow"
    SLOW = "slow"
    FLIP = "flip"


@dataclass(frozen=True, slots=True)
class NetworkFault:
    """One scripted fault: made by the functions below.

    It is triggered by each new connection, or, when `said` is given, each time a client sends these bytes; it acts
    on the `nth` trigger and the `times - 1` after it (`times` None: on all after it), once `after_bytes` more have
    passed: of the server's answer, or with `upward` of what the client sends.
    """

    effect: NetworkEffect
    nth: int = 1
    times: int | None = 1
    after_bytes: int = 0
    said: bytes = b""
    upward: bool = False
    delay_seconds: float = 0.0
    bytes_per_second: float | None = None

    def __post_init__(self) -> None:
        if self.nth < 1 or (self.times is not None and self.times < 1):
            raise ValueError("nth and times count from 1")
        if self.after_bytes < 0 or self.delay_seconds < 0:
            raise ValueError("bytes and seconds are not negative")

    def describe(self) -> str:
        trigger = f"the client's {self.said!r}" if self.said else "connection"
        return f"{self.effect.value} after {self.after_bytes} bytes at {trigger} number {self.nth}"


def refuses(*, nth: int = 1, times: int | None = 1) -> NetworkFault:
    """The connection is reset as soon as it is there. (Truly refused: `FaultProxy.door_closed`.)"""
    return NetworkFault(NetworkEffect.REFUSE, nth, times)


def resets(
    *, after_bytes: int = 0, nth: int = 1, times: int | None = 1, said: bytes = b"", upward: bool = False
) -> NetworkFault:
    """Both sides see the connection reset."""
    return NetworkFault(NetworkEffect.RESET, nth, times, after_bytes, said, upward)


def cuts(*, after_bytes: int = 0, nth: int = 1, times: int | None = 1, said: bytes = b"") -> NetworkFault:
    """The answer ends after so many bytes as if all had been said; the server sees the client leave."""
    return NetworkFault(NetworkEffect.CUT, nth, times, after_bytes, said)


def swallows(
    *, after_bytes: int = 0, nth: int = 1, times: int | None = 1, said: bytes = b"", upward: bool = False
) -> NetworkFault:
    """The connection stays open and nothing comes through any more, in either direction."""
    return NetworkFault(NetworkEffect.SWALLOW, nth, times, after_bytes, said, upward)


def slows(
    *,
    delay_seconds: float = 0.0,
    bytes_per_second: float | None = None,
    after_bytes: int = 0,
    nth: int = 1,
    times: int | None = None,
    said: bytes = b"",
    upward: bool = False,
) -> NetworkFault:
    """What passes is late by `delay_seconds`, and no faster than `bytes_per_second`."""
    return NetworkFault(
        NetworkEffect.SLOW, nth, times, after_bytes, said, upward, delay_seconds, bytes_per_second
    )


def flips(
    *, after_bytes: int = 0, nth: int = 1, times: int | None = 1, said: bytes = b"", upward: bool = False
) -> NetworkFault:
    """The lowest bit of the byte after `after_bytes` is another."""
    return NetworkFault(NetworkEffect.FLIP, nth, times, after_bytes, said, upward)


@dataclass(slots=True)
class _Counts:
    triggered: int = 0
    fired: int = 0


class NetworkScript:
    """Faults with their counts; may be used from any thread."""

    def __init__(self, faults: Sequence[NetworkFault] = ()) -> None:
        self._faults: list[tuple[NetworkFault, _Counts]] = [(fault, _Counts()) for fault in faults]
        self._lock = threading.Lock()

    def add(self, faults: Sequence[NetworkFault]) -> None:
        """Add faults that count from now on."""
        with self._lock:
            self._faults += [(fault, _Counts()) for fault in faults]

    def words(self) -> tuple[bytes, ...]:
        """What a client can say that triggers a fault."""
        with self._lock:
            return tuple({fault.said: None for fault, _ in self._faults if fault.said})

    def triggered(self, said: bytes) -> list[NetworkFault]:
        """Count a trigger: a connection (no words), or words of the client. The faults that act on it."""
        acting = []
        with self._lock:
            for fault, counts in self._faults:
                if fault.said != said:
                    continue
                counts.triggered += 1
                late = fault.times is not None and counts.triggered >= fault.nth + fault.times
                if counts.triggered >= fault.nth and not late:
                    acting.append(fault)
        return acting

    def fire(self, fault: NetworkFault) -> None:
        """Count a firing."""
        with self._lock:
            next(counts for one, counts in self._faults if one is fault).fired += 1

    @property
    def fired(self) -> tuple[int, ...]:
        """How often each fault fired, in the order of the script."""
        with self._lock:
            return tuple(counts.fired for _, counts in self._faults)

    def assert_all_fired(self) -> None:
        """AssertionError that names each fault that never fired."""
        with self._lock:
            silent = [fault.describe() for fault, counts in self._faults if not counts.fired]
        if silent:
            raise AssertionError("these scripted faults never fired: " + "; ".join(silent))
