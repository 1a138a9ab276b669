"""A plan made folder by folder is the one walk's, byte for byte: on random trees, with answers in any order."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Iterable, Iterator

import msgspec
import pytest
from engine_support import Rig, declared_trees, memory_of, rig, with_options
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_execution_options import filter_sets, option_sets

from runner.diff.merge import NotPlainError
from runner.diff.tally import Tally
from runner.execution.circumstances import circumstances, read_selection
from runner.locations.pair import Endpoints
from runner.model.task import DeletedFiles, FilterSettings, TaskOptions
from runner.model.wire import decode_line
from runner.plan import divide
from runner.plan.divide import divided
from runner.plan.file import PlanWriter
from runner.plan.folder import FolderNames, FolderPlanner
from runner.plan.prepare import _concluded, prepare
from runner.testing.faults import FaultScript, not_listed
from runner.testing.trees import Declared, File, Folder


class Shuffled:
    """Plans folders with endpoints of its own and answers late, in an order of its own."""

    def __init__(self, made: Rig, dice: random.Random) -> None:
        context = made.context
        self._endpoints = Endpoints(made.task, context.registry, "000000000000")
        self._planner = FolderPlanner(made.task, self._endpoints, int(context.clock.now().timestamp() * 1e9))
        self._dice = dice
        self.paths: list[str] = []
        self.requests = 0

    def ready(self) -> bool:
        return self._dice.random() < 0.8

    def run(self, job: str, requests: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
        assert job == "plan_folder"
        waiting: list[tuple[int, bytes]] = []
        for number, request in enumerate(requests):
            self.paths += decode_line(request, FolderNames).paths
            self.requests += 1
            waiting.append((number, self._planner.plan(request)))
            while waiting and self._dice.random() < 0.5:
                yield waiting.pop(self._dice.randrange(len(waiting)))
        self._dice.shuffle(waiting)
        yield from waiting


def _one_walk(made: Rig) -> bytes:
    context = made.context
    output = io.BytesIO()
    with Endpoints(made.task, context.registry, "000000000000") as endpoints:
        with contextlib.closing(PlanWriter()) as writer:
            selection = read_selection(made.task, context)
            told = circumstances(made.task, context)
            prepared = prepare(made.task, endpoints, selection, told, writer)
            writer.write(output, prepared.header, prepared.trailer)
            shown = repr((prepared.largest, prepared.first)).encode()
    return output.getvalue() + shown


def _side_by_side(made: Rig, dice: random.Random) -> tuple[bytes | None, Shuffled]:
    """The plan, None where it takes one walk; and those to whom folders were left."""
    context = made.context
    output = io.BytesIO()
    workers = Shuffled(made, dice)
    with Endpoints(made.task, context.registry, "000000000000") as endpoints:
        with contextlib.closing(PlanWriter()) as writer:
            selection = read_selection(made.task, context)
            told = circumstances(made.task, context)
            tally = Tally()
            try:
                planner = divided(
                    made.task, endpoints, selection, lambda left, right: None, writer, tally, lambda: workers
                )
            except NotPlainError:
                return None, workers
            prepared = _concluded(made.task, endpoints, told, tally, planner, writer, {})
            writer.write(output, prepared.header, prepared.trailer)
            shown = repr((prepared.largest, prepared.first)).encode()
    return output.getvalue() + shown, workers


@pytest.fixture(autouse=True)
def divide_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divide, "DIVIDE_AFTER_ENTRIES", 0)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    declared_trees(14, plain=True),
    declared_trees(14, plain=True),
    option_sets,
    filter_sets,
    st.one_of(
        st.none(), st.tuples(st.sampled_from(("left", "right")), st.sampled_from(("a/", "a!/", "b/", "a/a/")))
    ),
    st.integers(0, 99),
)
def test_side_by_side_is_as_in_one_walk(
    left: dict[str, Declared],
    right: dict[str, Declared],
    options: TaskOptions,
    filters: FilterSettings,
    closed: tuple[str, str] | None,
    seed: int,
) -> None:
    # What is never divided (see can_be_divided) is not asked for.
    filters = msgspec.structs.replace(filters, delete_excluded=False)
    if options.preserve_deleted_files is DeletedFiles.QUARANTINE:
        options = with_options(options, preserve_deleted_files=DeletedFiles.REMOVE)
    made = rig("/nowhere", memory_of(left, "l"), memory_of(right, "r", 3), options, filters)
    if closed is not None:
        made.scripts = {closed[0]: FaultScript([not_listed(closed[1])])}
    whole = _one_walk(made)
    parts, _ = _side_by_side(made, random.Random(seed))
    assert parts is None or parts == whole


def test_folders_are_really_left_to_others() -> None:
    left: dict[str, Declared] = {}
    for name in "abcdef":
        left[f"{name}/"] = Folder(mtime_ns=5)
        left[f"{name}/x"] = File(b"1")
        left[f"{name}/y/z"] = File(b"2")
    right: dict[str, Declared] = {
        "a/x": File(b"3"),
        "b/extra": File(b""),
        **{f"{name}/h": File(b"") for name in "ghijk"},
    }
    options = TaskOptions(preserve_deleted_files=DeletedFiles.REMOVE)
    made = rig("/nowhere", memory_of(left), memory_of(right), options)
    parts, workers = _side_by_side(made, random.Random(1))
    assert len(workers.paths) >= 5
    assert any(
        path in workers.paths for path in ("g/", "h/", "i/", "j/", "k/")
    )  # only the destination has them
    assert parts == _one_walk(made)


def test_small_neighbours_go_together() -> None:
    left: dict[str, Declared] = {}
    for number in range(400):
        left[f"{number:03}/f"] = File(b"1")
    made = rig("/nowhere", memory_of(left), memory_of({}))
    parts, workers = _side_by_side(made, random.Random(1))
    assert len(workers.paths) > 100
    assert workers.requests < len(workers.paths) / 3
    assert parts == _one_walk(made)
