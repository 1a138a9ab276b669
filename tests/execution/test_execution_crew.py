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
from runner.execution.crew import EARLY_ENTRIES, LOCAL_PROCESSES, REMOTE_CONCURRENCY, Crew, _pool_shape
from runner.model.task import LocationSettings

DISK = LOCAL.capabilities(LocationSettings("disk", "local", {"path": "/data"}, "/"))
BUCKET = S3.capabilities(LocationSettings("there", "s3", {"bucket": "b", "region": "eu-west-1"}, "/"))


def shape(
    source: Any, destination: Any, workers: int | None = None, copies_many: bool = False
) -> tuple[int, int]:
    task: Any = SimpleNamespace(options=SimpleNamespace(workers=workers))
    endpoints: Any = SimpleNamespace(
        source=SimpleNamespace(capabilities=source),
        destination=SimpleNamespace(capabilities=destination),
        remote=source.remote or destination.remote,
        copies_many=copies_many,
    )
    return _pool_shape(task, endpoints)


@pytest.mark.parametrize("processors", [1, 2, 4, 16])
def test_a_disk_does_not_bound_what_waits_for_the_network(
    processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    for source, destination in ((DISK, BUCKET), (BUCKET, DISK)):
        processes, threads = shape(source, destination)
        assert processes == min(processors, REMOTE_CONCURRENCY // 4)
        assert processes * threads == REMOTE_CONCURRENCY


def test_the_task_bounds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    assert shape(BUCKET, DISK, workers=6) == (2, 3)


@pytest.mark.parametrize(("processors", "expected"), [(1, 2), (4, 4), (64, LOCAL_PROCESSES)])
def test_local_work_has_a_process_for_each_processor_up_to_a_bound(
    processors: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(processors)))
    assert shape(DISK, DISK) == (expected, 1)
    assert shape(DISK, DISK, workers=12) == (12, 1)


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
