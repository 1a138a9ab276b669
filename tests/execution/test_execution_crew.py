"""How many work at once: as many as the network is worth, and as there are descriptors for."""

from __future__ import annotations

import os
import resource
from types import SimpleNamespace
from typing import Any

import pytest
from runner_plugins.local.driver import DRIVER as LOCAL
from runner_plugins.s3.driver import S3

from runner.agents.worker import DESCRIPTORS_A_THREAD, _working_threads
from runner.execution.concurrency import (
    BULK_CONCURRENCY,
    LOCAL_PROCESSES,
    PROCESSORS,
    REMOTE_CONCURRENCY,
    Shape,
    demands,
    pool_shape,
)
from runner.execution.crew import EARLY_ENTRIES, Crew
from runner.model.task import LocationSettings

DISK = LOCAL.capabilities(LocationSettings("disk", "local", {"path": "/data"}, "/"))
BUCKET = S3.capabilities(LocationSettings("there", "s3", {"bucket": "b", "region": "eu-west-1"}, "/"))


def task_and_endpoints(
    source: Any,
    destination: Any,
    workers: int | None = None,
    copies_many: bool = False,
    bounds: tuple[int | None, int | None] = (None, None),
) -> tuple[Any, Any]:
    task: Any = SimpleNamespace(
        options=SimpleNamespace(workers=workers),
        source=LocationSettings("a", "one", {}, "/", max_concurrency=bounds[0]),
        destination=LocationSettings("b", "two", {}, "/", max_concurrency=bounds[1]),
    )
    driver = SimpleNamespace(describe=lambda settings: f"at {settings.name}")
    endpoints: Any = SimpleNamespace(
        source=SimpleNamespace(capabilities=source),
        destination=SimpleNamespace(capabilities=destination),
        source_driver=driver,
        destination_driver=driver,
        remote=source.remote or destination.remote,
        copies_many=copies_many,
    )
    return task, endpoints


def shape(*arguments: Any, **more: Any) -> Shape:
    return pool_shape(*task_and_endpoints(*arguments, **more))


def demanded(*arguments: Any, **more: Any) -> list[tuple[str, int, int, bool]]:
    task, endpoints = task_and_endpoints(*arguments, **more)
    return [
        (one.name, one.bounds.start, one.bounds.most, one.fixed)
        for one in demands(task, endpoints, pool_shape(task, endpoints))
    ]


@pytest.fixture
def two_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})


@pytest.mark.parametrize("processors", [1, 2, 4, 16])
def test_a_disk_does_not_bound_what_waits_for_the_network(
    processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    for source, destination in ((DISK, BUCKET), (BUCKET, DISK)):
        made = shape(source, destination)
        assert made.processes == min(processors, REMOTE_CONCURRENCY // 4)
        assert (made.start, made.most) == (REMOTE_CONCURRENCY, BUCKET.max_concurrency)
        assert made.processes * made.threads >= made.most
        assert not made.fixed


@pytest.mark.usefixtures("two_processors")
def test_the_task_fixes_it() -> None:
    assert shape(BUCKET, DISK, workers=6) == Shape(2, 3, 6, 6, fixed=True)
    assert demanded(BUCKET, DISK, workers=6) == [("one at a", 6, BUCKET.max_concurrency, True)]
    assert shape(DISK, DISK, workers=12) == Shape(12, 1, 12, 12, fixed=True)


@pytest.mark.usefixtures("two_processors")
def test_a_location_bounds_it() -> None:
    assert shape(DISK, BUCKET, bounds=(None, 4)) == Shape(1, 4, 4, 4)
    assert shape(DISK, BUCKET, workers=6, bounds=(None, 4)) == Shape(1, 4, 4, 4, fixed=True)
    assert shape(DISK, DISK, bounds=(1, None)) == Shape(1, 1, 1, 1)
    assert demanded(DISK, DISK, bounds=(1, None)) == [("one at a", 1, 1, False), (PROCESSORS, 1, 1, False)]
    # Each side that waits for a network, or was given a bound, is shared with other executions.
    assert demanded(BUCKET, BUCKET, bounds=(None, 40)) == [
        ("one at a", 32, 40, False),
        ("two at b", 32, 40, False),
    ]


@pytest.mark.usefixtures("two_processors")
def test_copies_in_bulk_have_a_concurrency_of_their_own() -> None:
    assert shape(BUCKET, BUCKET, copies_many=True) == Shape(
        1, BULK_CONCURRENCY, BULK_CONCURRENCY, BULK_CONCURRENCY, fixed=True
    )


@pytest.mark.parametrize(("processors", "start"), [(1, 1), (4, 4), (64, LOCAL_PROCESSES)])
def test_local_work_has_as_many_processes_as_there_are_processors_at_most(
    processors: int, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    assert shape(DISK, DISK) == Shape(start, 1, start, processors)
    assert demanded(DISK, DISK) == [(PROCESSORS, start, processors, False)]


@pytest.mark.parametrize(
    ("soft", "hard", "threads", "raised_to"),
    [
        (1024, 1 << 20, 16, 16 * DESCRIPTORS_A_THREAD),
        (1024, 1024, 4, None),
        (1024, 2048, 8, 2048),
        (1 << 16, 1 << 20, 16, None),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 16, None),
    ],
)
def test_no_more_threads_than_there_are_descriptors_for(
    soft: int, hard: int, threads: int, raised_to: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append(limit))
    assert _working_threads(16) == threads
    assert limits in ([], [(raised_to or soft, hard)])
    assert (raised_to is None) or limits


@pytest.mark.parametrize(
    ("remote", "in_process_only", "listed", "begun"),
    [
        (True, False, [(2_000, 0), (EARLY_ENTRIES, 0), (2 * EARLY_ENTRIES, 0)], True),
        (True, False, [(EARLY_ENTRIES, 1), (10 * EARLY_ENTRIES, 10 * EARLY_ENTRIES)], False),
        (True, True, [(EARLY_ENTRIES, 0)], False),
        (False, False, [(EARLY_ENTRIES, 0)], False),
    ],
)
def test_workers_get_ready_while_a_network_is_listed_and_much_is_missing(
    remote: bool, in_process_only: bool, listed: list[tuple[int, int]], begun: bool
) -> None:
    crew: Any = object.__new__(Crew)
    crew._remote, crew._in_process_only = remote, in_process_only
    asked: list[None] = []
    crew.pool = lambda: asked.append(None)
    heard: list[tuple[int, int]] = []
    hear = crew.listening(lambda source, destination: heard.append((source, destination)))
    for counts in listed:
        hear(*counts)
    assert heard == listed
    assert bool(asked) is begun
