"""A task between two real locations, run by the real pipeline: plan, run, and what each side holds."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from runner.clock import Clock, SystemClock
from runner.config.describe import config_digest, filter_digest
from runner.execution.context import Cancellation, Context
from runner.locations.pair import asked_attributes
from runner.locations.protocol import Capabilities, Location, OpenSettings
from runner.locations.registry import Registry
from runner.model.action import Action, Outcome
from runner.model.entry import Entry, Kind, Problem
from runner.model.events import Event
from runner.model.execution import Report
from runner.model.plan import PlanSummary
from runner.model.task import (
    Configuration,
    DeletedFiles,
    FilterSettings,
    Guards,
    Limit,
    LocationSettings,
    Task,
    TaskOptions,
)
from runner.model.wire import decode_line
from runner.pipeline import apply_plan, plan_task, run_task, verify_task
from runner.plan.file import PlanReader

NO_GUARDS = Guards(
    max_deletions=Limit(),
    allow_empty_source=True,
    allow_wide_root=True,
    endpoint_identity=False,
    filter_change=False,
    free_space=False,
)
NO_FILTERS = FilterSettings()
MIRROR = TaskOptions(preserve_deleted_files=DeletedFiles.REMOVE, retry_delay_seconds=0.0)
"""Everything equal, extras removed, and no pause before something is tried again."""


def located(name: str, options: Mapping[str, Any], base: str = "/") -> LocationSettings:
    """Settings from options that hold the type too, as a server's `location()` gives them."""
    chosen = dict(options)
    return LocationSettings(name, chosen.pop("type"), chosen, base)


def local(folder: Path) -> dict[str, Any]:
    """A local location, given as a server's `location()` gives its own."""
    return {"type": "local", "path": str(folder)}


@dataclass
class RealPair:
    """A task between two locations, given by their options with the type. `folder` is for the state and the plan."""

    folder: Path
    source: Mapping[str, Any]
    destination: Mapping[str, Any]
    options: TaskOptions = MIRROR
    filters: FilterSettings = NO_FILTERS
    guards: Guards = NO_GUARDS
    clock: Clock = field(default_factory=SystemClock)
    registry: Registry = field(default_factory=Registry)
    events: list[Event] = field(default_factory=list)
    cancellation: Cancellation = field(default_factory=Cancellation)

    @property
    def task(self) -> Task:
        left, right = located("src", self.source), located("dst", self.destination)
        return Task(
            "t",
            left,
            right,
            self.options,
            self.filters,
            self.guards,
            None,
            (),
            config_digest(((left, "left"), (right, "right")), self.options, self.filters),
            filter_digest(self.filters, "/"),
        )

    @property
    def context(self) -> Context:
        task = self.task
        configuration = Configuration(
            str(self.folder / "sync.yaml"),
            {"src": task.source, "dst": task.destination},
            {"t": task},
            str(self.folder / ".sync-runner"),
        )
        return Context(
            configuration,
            self.registry,
            self.clock,
            self.events.append,
            frozenset(),
            self.cancellation,
        )

    @property
    def plan_path(self) -> str:
        return str(self.folder / "plan.jsonl")

    def plan(self) -> PlanSummary:
        """What has to be done; `actions` has it singly."""
        return plan_task(self.task, self.context, self.plan_path)

    def actions(self) -> list[Action]:
        """The actions of the last plan, without what only restores the times of folders."""
        return [action for action in PlanReader(self.plan_path).actions() if not action.is_housekeeping]

    def apply(self) -> Report:
        return apply_plan(self.plan_path, self.context)

    def run(self) -> Report:
        return run_task(self.task, self.context)

    def verify(self) -> Report:
        return verify_task(self.task, self.context)

    def outcomes(self, report: Report) -> list[Outcome]:
        """What the execution's journal holds."""
        folder = self.context.state.execution_folder(report.execution.execution_id)
        with open(os.path.join(folder, "outcomes.jsonl"), "rb") as journal:
            return [decode_line(line, Outcome) for line in journal]

    def second_plan(self) -> list[tuple[str, str]]:
        """(kind, path) of what a plan finds to do now: has to be empty after a run."""
        self.plan()
        return [(action.kind.value, action.path) for action in self.actions()]


def capabilities(options: Mapping[str, Any]) -> Capabilities:
    settings = located("asked", options)
    return Registry().driver(settings.type).capabilities(settings)


@contextmanager
def opened(
    options: Mapping[str, Any], *, create: bool = False, attributes: frozenset[str] | None = None
) -> Iterator[Location]:
    """A location object of its own; `attributes` None = all that this type of location carries."""
    settings = located("opened", options)
    driver = Registry().driver(settings.type)
    if attributes is None:
        attributes = driver.capabilities(settings).attributes & asked_attributes(TaskOptions())
    location = driver.open(settings, OpenSettings(attributes=attributes), create=create)
    try:
        yield location
    finally:
        location.close()


@dataclass(frozen=True)
class Held:
    """One entry with its content, as a location gives it."""

    entry: Entry
    content: bytes | None


def holding(options: Mapping[str, Any], attributes: frozenset[str] | None = None) -> dict[str, Held]:
    """Everything that a location holds below its root, read completely. AssertionError when it tells a problem."""
    held = {}
    with opened(options, create=True, attributes=attributes) as location:
        found = list(location.scan())
        problems = [one for one in found if isinstance(one, Problem)]
        assert problems == []
        for entry in found:
            assert isinstance(entry, Entry)
            content = None
            if entry.kind is Kind.FILE:
                content = b"".join(bytes(chunk) for chunk in location.read(entry))
            if entry.path:
                held[entry.path] = Held(entry, content)
    return held


def contents(options: Mapping[str, Any]) -> dict[str, bytes]:
    """Path -> content of the files that a location holds."""
    return {path: held.content for path, held in holding(options).items() if held.content is not None}


def with_options(options: TaskOptions, **changes: Any) -> TaskOptions:
    return msgspec.structs.replace(options, **changes)
