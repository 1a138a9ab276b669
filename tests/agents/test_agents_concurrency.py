"""The controller: its decisions one by one, its bounds whatever it sees, and how it does with a simulated server."""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Callable

import pytest
from agents.simulated_server import TICK_SECONDS, Server, best_rate, simulate
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.agents.concurrency import HALVE_AGAIN_SECONDS, Bounds, Controller, Seen, Step

BOUNDS = Bounds(32, 128)


def fed(controller: Controller, rate: float, taken: float | None = None, refusals: int = 0) -> int:
    """One judgement's worth of what is seen, at that rate; the limit afterwards."""
    limit, step = controller.limit, controller.step
    for _ in range(100):
        seen = Seen(0.25, rate / 4, int(rate / 4), refusals, controller.limit if taken is None else taken)
        controller.observe(seen)
        if (controller.limit, controller.step) != (limit, step):
            break
    return controller.limit


def test_it_starts_where_it_is_told_within_its_bounds() -> None:
    assert [Controller(bounds).limit for bounds in (Bounds(32, 128), Bounds(32, 8), Bounds(1, 9, 4))] == [
        32,
        8,
        4,
    ]


def test_it_grows_while_throughput_does() -> None:
    controller = Controller(BOUNDS)
    limits = [fed(controller, 20.0 * controller.limit) for _ in range(5)]
    assert limits == [48, 72, 108, 128, 128]
    assert controller.step is Step.HOLD


def test_when_more_brings_no_more_it_gets_by_with_less() -> None:
    """32 are worth 1000 a second, 48 too: so are 24 and 18, but 13 are not."""
    controller = Controller(BOUNDS)
    limits = [fed(controller, min(1000.0, 56.0 * controller.limit)) for _ in range(5)]
    assert limits == [48, 24, 18, 13, 18]
    assert controller.step is Step.HOLD


def test_once_grown_in_vain_it_adds_a_constant() -> None:
    controller = Controller(BOUNDS)
    while not (controller.step is Step.HOLD and controller.limit == 18):
        fed(controller, min(1000.0, 56.0 * controller.limit))
    # What was found is held for long, then the storage has become faster.
    limits = [fed(controller, 56.0 * controller.limit) for _ in range(4)]
    assert limits == [26, 34, 42, 50]


def test_it_halves_when_the_storage_refuses() -> None:
    controller = Controller(BOUNDS)
    assert controller.observe(Seen(0.1, 100, 100, 20, 32)) == 16
    # What was on its way then is refused, too.
    assert controller.observe(Seen(0.1, 50, 50, 20, 32)) == 16
    assert controller.observe(Seen(HALVE_AGAIN_SECONDS, 50, 50, 20, 16)) == 8


def test_one_lost_request_among_many_is_no_refusal() -> None:
    controller = Controller(BOUNDS)
    assert controller.observe(Seen(0.1, 100, 100, 1, 32)) == 32
    assert controller.observe(Seen(0.1, 0, 0, 1, 32)) == 16


def test_after_a_refusal_it_stays_below_for_a_while() -> None:
    controller = Controller(BOUNDS)
    controller.observe(Seen(0.1, 100, 100, 20, 32))
    limits = [fed(controller, 20.0 * controller.limit) for _ in range(4)]
    assert limits == [24, 31, 31, 39]


def test_a_storage_that_was_away_is_used_again_in_leaps() -> None:
    """Halved to one while nothing answered: 2, 4, 8, 16, and from there by steps."""
    controller = Controller(BOUNDS)
    while controller.limit > 1:
        controller.observe(Seen(HALVE_AGAIN_SECONDS, 0, 0, 5, controller.limit))
    limits = [fed(controller, 20.0 * controller.limit) for _ in range(6)]
    assert limits == [2, 4, 8, 16, 24, 31]


def test_places_that_stay_empty_are_not_added_to() -> None:
    """Bandwidth or the disk bound it: 20 of 32 are in use."""
    controller = Controller(BOUNDS)
    assert [fed(controller, 500.0, taken=20.0) for _ in range(20)] == [32] * 20


def test_no_time_is_no_information() -> None:
    controller = Controller(BOUNDS)
    assert controller.observe(Seen(0.0, 0.0, 0, 100, 32.0)) == 32


def test_what_another_found_is_taken_over() -> None:
    controller = Controller(BOUNDS)
    controller.adopt(90)
    assert (controller.limit, controller.step) == (90, Step.HOLD)


def test_where_fewer_are_not_tried_the_most_stays() -> None:
    controller = Controller(Bounds(4, 4, doubts_most=False))
    assert [fed(controller, 100.0) for _ in range(20)] == [4] * 20


looks = st.builds(
    Seen,
    st.floats(0, 5),
    st.floats(0, 1e9),
    st.integers(0, 10_000),
    st.integers(0, 100),
    st.floats(0, 200),
)


@settings(deadline=None)
@given(st.integers(1, 64), st.integers(1, 256), st.lists(looks, max_size=200))
def test_whatever_it_sees_it_stays_within_its_bounds(start: int, most: int, seen: list[Seen]) -> None:
    controller = Controller(Bounds(start, most))
    for one in seen:
        before = controller.limit
        after = controller.observe(one)
        assert 1 <= after <= most
        assert after == controller.limit
        overloaded = one.refusals > 0.02 * (one.operations + one.refusals)
        if overloaded:
            assert after in (before, max(1, before // 2))


SERVERS: list[tuple[str, Callable[[], Server]]] = [
    ("a service that takes any number", lambda: Server(0.03, 1000, 0.005)),
    ("40 at once, behind 20 ms", lambda: Server(0.02, 40, 0.02)),
    ("one thread", lambda: Server(0.0005, 1, 0.0008, noise=0.3)),
    ("four disks, and very uneven", lambda: Server(0.001, 4, 0.01, noise=1.0)),
    ("a rate of 300 a second, more is refused", lambda: Server(0.03, 1000, 0.02, rate=300)),
]


@pytest.mark.parametrize("server", [case[1] for case in SERVERS], ids=[case[0] for case in SERVERS])
def test_it_comes_near_the_best_and_stays_there(server: Callable[[], Server]) -> None:
    course = simulate(server(), [Controller(BOUNDS)], 60)
    asks = server()
    best = asks.rate if asks.rate is not None else best_rate(server)
    assert 0.8 * best <= course.rate(20, 60) <= 1.05 * best
    # Its throughput, in pieces of five seconds, does not swing.
    pieces = [course.rate(begin, begin + 5) for begin in range(20, 60, 5)]
    assert statistics.pstdev(pieces) <= 0.15 * statistics.mean(pieces)


def test_what_is_found_is_rarely_given_up() -> None:
    course = simulate(Server(0.02, 40, 0.02), [Controller(BOUNDS)], 120)
    limits = [limits[0] for limits in course.limits[round(30 / TICK_SECONDS) :]]
    changes = sum(before != after for before, after in itertools.pairwise(limits))
    assert changes <= 15


def test_it_halves_on_throttling_and_comes_back() -> None:
    """Five seconds in which the server takes 100 a second instead of 2000."""
    server = Server(0.02, 40, 0.02)

    def throttle(now: float) -> None:
        server.rate = 100.0 if 30 <= now < 35 else None

    course = simulate(server, [Controller(BOUNDS)], 70, throttle)
    before = course.rate(20, 30)
    assert course.limit_at(31) <= course.limit_at(29.9) / 2
    assert course.limit_at(34.9) <= course.limit_at(29.9) / 4
    assert course.rate(50, 70) >= 0.85 * before


@pytest.mark.parametrize(
    ("server", "fairness"),
    [(lambda: Server(0.02, 40, 0.02), 2), (lambda: Server(0.03, 1000, 0.02, rate=300), 4)],
    ids=["of a capacity", "that refuses"],
)
def test_of_two_that_do_not_see_each_other_none_starves(
    server: Callable[[], Server], fairness: float
) -> None:
    """Those that do see each other: test_agents_lanes.py."""
    course = simulate(server(), [Controller(BOUNDS), Controller(BOUNDS)], 90)
    one, other = course.rate(20, 90, 0), course.rate(20, 90, 1)
    assert max(one, other) <= fairness * min(one, other)
    best = server().rate or best_rate(server)
    assert one + other >= 0.75 * best
