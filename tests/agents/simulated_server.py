"""A server with a capacity, and clients that keep as many requests on their way as a controller says. Virtual time."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runner.agents.concurrency import Seen

TICK_SECONDS = 0.1
PAUSE_SECONDS = 1.0
"""How long a client waits after a refusal, holding its place."""


class Steered(Protocol):
    """Who says how many requests may be on their way."""

    @property
    def limit(self) -> int: ...

    def observe(self, seen: Seen) -> object: ...


@dataclass
class Fixed:
    """Always the same."""

    limit: int

    def observe(self, seen: Seen) -> object:
        return None


@dataclass
class Server:
    """`parallel` requests are worked on at once, each for `service_seconds` on average; the network takes
    `latency_seconds`. Both vary by `noise` (sigma of a log-normal). More than `rate` requests a second are refused."""

    latency_seconds: float
    parallel: int
    service_seconds: float
    noise: float = 0.5
    rate: float | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._free = [0.0] * self.parallel
        self._tokens = self._at = 0.0

    def ask(self, now: float) -> tuple[float, bool]:
        """When the answer comes, and whether it is one."""
        if self.rate is not None:
            self._tokens = min(self.rate / 4, self._tokens + (now - self._at) * self.rate)
            self._at = now
            if self._tokens < 1:
                return now + self._about(self.latency_seconds), False
            self._tokens -= 1
        begin = max(now + self.latency_seconds / 2, heapq.heappop(self._free))
        end = begin + self._about(self.service_seconds)
        heapq.heappush(self._free, end)
        return end + self._about(self.latency_seconds / 2), True

    def _about(self, mean: float) -> float:
        return mean * self._random.lognormvariate(-self.noise * self.noise / 2, self.noise) if mean else 0.0


@dataclass
class Course:
    """What happened, one value a tick for each client: its limit, and what it has had answered so far."""

    limits: list[list[int]] = field(default_factory=list)
    done: list[list[int]] = field(default_factory=list)

    def rate(self, begin: float, end: float, client: int | None = None) -> float:
        """Answers a second between two times, of one client or of all."""
        first, last = (self.done[min(len(self.done), round(at / TICK_SECONDS)) - 1] for at in (begin, end))
        chosen = range(len(last)) if client is None else [client]
        return sum(last[one] - first[one] for one in chosen) / (end - begin)

    def limit_at(self, seconds: float, client: int = 0) -> int:
        return self.limits[round(seconds / TICK_SECONDS) - 1][client]


class _Client:
    def __init__(self) -> None:
        self.in_flight = self.done = self.work = self.refusals = 0
        self.taken_seconds = 0.0


def simulate(
    server: Server,
    steered: Sequence[Steered],
    seconds: float,
    on_tick: Callable[[float], None] = lambda now: None,
) -> Course:
    """Run the clients side by side. `on_tick` is told the time before each look: it may change the server."""
    course = Course()
    clients = [_Client() for _ in steered]
    events: list[tuple[float, int, int, str]] = []
    number = 0
    now = 0.0

    def push(at: float, client: int, what: str) -> None:
        nonlocal number
        number += 1
        heapq.heappush(events, (at, number, client, what))

    def fill(index: int) -> None:
        client = clients[index]
        while client.in_flight < steered[index].limit:
            client.in_flight += 1
            end, answered = server.ask(now)
            push(end, index, "answered" if answered else "refused")

    push(TICK_SECONDS, -1, "tick")
    for index in range(len(clients)):
        fill(index)
    while now < seconds:
        at, _, index, what = heapq.heappop(events)
        for client in clients:
            client.taken_seconds += client.in_flight * (at - now)
        now = at
        if what == "tick":
            on_tick(now)
            for one, client in zip(steered, clients, strict=True):
                taken = client.taken_seconds / TICK_SECONDS
                one.observe(Seen(TICK_SECONDS, float(client.work), client.work, client.refusals, taken))
                client.work = client.refusals = 0
                client.taken_seconds = 0.0
            course.limits.append([one.limit for one in steered])
            course.done.append([client.done for client in clients])
            push(now + TICK_SECONDS, -1, "tick")
            for every in range(len(clients)):
                fill(every)
            continue
        client = clients[index]
        if what == "refused":
            client.refusals += 1
            push(now + PAUSE_SECONDS, index, "paused")
            continue
        client.in_flight -= 1
        if what == "answered":
            client.work += 1
            client.done += 1
        fill(index)
    return course


def best_rate(server: Callable[[], Server], seconds: float = 10.0) -> float:
    """What the best fixed number of requests brings."""
    rates = [
        simulate(server(), [Fixed(limit)], seconds).rate(1, seconds)
        for limit in (1, 2, 4, 8, 16, 32, 64, 128)
    ]
    return max(rates)
