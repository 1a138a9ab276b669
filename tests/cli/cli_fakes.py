"""What the command's tests run it with: streams in memory, and services that answer from a script."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import msgspec

from runner.cli.main import run_command
from runner.cli.output import Output
from runner.cli.parser import wants_json
from runner.cli.services import Services
from runner.model.action import Action, ActionKind, Stage
from runner.model.difference import Reason
from runner.model.entry import Entry, Kind, Phase, Problem
from runner.model.execution import (
    Counters,
    Counts,
    EndpointSummary,
    Execution,
    GuardVerdict,
    Report,
    Trigger,
)
from runner.model.plan import ActionTotals, Explanation, PlanHeader, PlanSummary, PlanTrailer
from runner.model.task import (
    Configuration,
    FilterSettings,
    Guards,
    LocationSettings,
    ReportFormat,
    Task,
    TaskOptions,
)
from runner.testing.fake_clock import FakeClock

HOSTILE = "evil\x1b[31m\nname\udcff[bold]\u202e.txt"
SOURCE = EndpointSummary(name="photos", type="local", description="/srv/photos")
DESTINATION = EndpointSummary(name="archive", type="local", description="/mnt/archive")


def make_task(name: str = "photos", **changes: Any) -> Task:
    settings = {
        "name": name,
        "source": LocationSettings("photos", "local", {"path": "/srv/photos"}, "/"),
        "destination": LocationSettings("archive", "local", {"path": "/mnt/archive"}, "/"),
        "options": TaskOptions(),
        "filters": FilterSettings(),
        "guards": Guards(),
        "schedule": None,
        "reports": (ReportFormat.JSON,),
        "config_digest": "c" * 64,
        "filter_digest": "f" * 64,
    }
    return Task(**(settings | changes))


def make_configuration(*tasks: Task, state: str = "/nonexistent/state") -> Configuration:
    tasks = tasks or (make_task(),)
    locations = {each.name: each for task in tasks for each in (task.source, task.destination)}
    return Configuration(
        file="/etc/sync.yaml",
        locations=locations,
        tasks={task.name: task for task in tasks},
        state_directory=state,
    )


def make_report(task: str = "photos", exit_code: int = 0, **changes: Any) -> Report:
    status = {0: Phase.SUCCESS, 130: Phase.CANCELLED}.get(exit_code, Phase.ERROR)
    execution = Execution(
        execution_id="6741a2b30001",
        task=task,
        trigger=Trigger.MANUAL,
        status=status,
        exit_code=exit_code,
        summary=changes.pop("summary", "3 of 3 files copied (1.5 KiB) and verified; nothing deleted."),
        started_at="2026-11-22T18:57:34.120Z",
        ended_at="2026-11-22T18:57:46.420Z",
        duration_seconds=12.3,
        host="archivist",
        runner_version="0.1.0",
        config_file="/etc/sync.yaml",
        config_digest="c" * 64,
        filter_digest="f" * 64,
    )
    settings: dict[str, Any] = {
        "version": 1,
        "execution": execution,
        "source": SOURCE,
        "destination": DESTINATION,
        "settings": {},
        "phases": (),
        "counters": Counters(
            listed=Counts(4, 2),
            skipped=Counts(1, 2),
            transferred=Counts(3, 0),
            bytes_listed=2048,
            bytes_transferred=1536,
        ),
        "guards": (),
        "problems": (),
        "problems_total": 0,
        "findings": (),
        "findings_total": 0,
    }
    return Report(**(settings | changes))


def make_action(
    number: int, kind: ActionKind, path: str, *reasons: Reason, size: int = 0, **more: Any
) -> Action:
    entry = Entry(path=path, kind=Kind.FILE, size_bytes=size)
    removes = kind in (ActionKind.DELETE, ActionKind.QUARANTINE)
    return Action(
        id=number,
        kind=kind,
        stage=Stage.REMOVE if removes else Stage.WRITE,
        path=path,
        source=None if removes else entry,
        destination=entry if removes else None,
        reasons=reasons,
        size_bytes=size,
        **more,
    )


NO_CHANGES = ActionTotals()


def make_summary(
    totals: ActionTotals = NO_CHANGES,
    *,
    actions: Sequence[Action] = (),
    largest: Sequence[Action] = (),
    problems: Sequence[Problem] = (),
    guards: Sequence[GuardVerdict] = (),
    losses: Sequence[str] = (),
    complete: bool = True,
    file: str | None = None,
    counters: Counters | None = None,
) -> PlanSummary:
    return PlanSummary(
        header=PlanHeader(
            task="photos",
            config_digest="c" * 64,
            filter_digest="f" * 64,
            source=SOURCE,
            destination=DESTINATION,
            options={},
        ),
        trailer=PlanTrailer(
            actions=len(actions),
            stages=(0, len(actions), 0, 0, 0),
            totals=totals,
            counters=counters or Counters(listed=Counts(12, 3), skipped=Counts(9, 3), bytes_listed=4096),
            complete=complete,
            problems=tuple(problems),
            problems_total=len(problems),
            guards=tuple(guards),
            losses=tuple(losses),
            destination_entries=Counts(),
            destination_bytes=0,
        ),
        largest=tuple(largest),
        first=tuple(actions),
        file=file,
    )


class FakeCancellation:
    """Counts requests, as the real one does."""

    def __init__(self) -> None:
        self.level = 0

    def request(self) -> int:
        self.level += 1
        return self.level


@dataclass(frozen=True)
class FakeContext:
    """What a service was handed."""

    configuration: Configuration
    accept: frozenset[str]
    subscriber: Callable[[Any], None]
    cancellation: FakeCancellation


@dataclass
class FakeServices(Services):
    """Services that answer what the test says: an exception is raised, a callable asked, a value returned."""

    configuration_answer: Any = field(default_factory=make_configuration)
    answers: dict[str, Any] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)

    def load_configuration(self, path: str, registry: Any, environment: Mapping[str, str]) -> Configuration:
        return self._answer("load_configuration", path, otherwise=self.configuration_answer)

    def cancellation(self) -> Any:
        return FakeCancellation()

    def context(  # type: ignore[override]
        self,
        configuration: Any,
        registry: Any,
        clock: Any,
        subscriber: Any,
        accept: Any,
        cancellation: Any,
        standard_input: Any,
        environment: Any,
    ) -> Any:
        return FakeContext(configuration, accept, subscriber, cancellation)

    def sample_configuration(self, registry: Any) -> str:
        return "version: 1\n"

    def composed_schema(self, registry: Any) -> Mapping[str, Any]:
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ümlaut"}

    def plan_task(self, task: Any, context: Any, output: str | None = None) -> PlanSummary:
        return self._answer("plan_task", (task.name, output, context), otherwise=make_summary())

    def run_task(self, task: Any, context: Any) -> Report:
        answer = self.answers.get(task.name)
        return (
            self._answer(task.name, context, otherwise=make_report(task.name))
            if answer is not None
            else (self._answer("run_task", context, otherwise=make_report(task.name)))
        )

    def apply_plan(self, plan_file: str, context: Any) -> Report:
        return self._answer("apply_plan", plan_file, otherwise=make_report())

    def verify_task(self, task: Any, context: Any) -> Report:
        return self._answer("verify_task", task.name, otherwise=make_report())

    def explain_path(self, task: Any, context: Any, path: str) -> Explanation:
        return self._answer(
            "explain_path", path, otherwise=Explanation(task.name, path, "It is in sync.", None, ())
        )

    def restore(
        self, task: Any, context: Any, execution: Any, paths: Any, list_only: bool, as_of: Any
    ) -> Any:
        asked = (execution, tuple(paths), list_only)
        return self._answer(
            "restore", asked if as_of is None else (*asked, as_of), otherwise=FakeRestoreResult()
        )

    def _answer(self, name: str, arguments: Any, *, otherwise: Any) -> Any:
        self.asked.append((name, arguments))
        answer = self.answers.get(name, otherwise)
        if isinstance(answer, BaseException):
            raise answer
        return answer(arguments) if callable(answer) else answer


class FakeRestoreResult(msgspec.Struct, frozen=True):
    entries: tuple[str, ...] = ()
    restored: int = 0
    problems: tuple[Problem, ...] = ()
    executions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it wrote."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def values(self) -> list[Any]:
        """Standard output as JSON, one value a line; fails when anything else stands there."""
        return [json.loads(line) for line in self.stdout.splitlines()]


def command(
    *arguments: str, services: Services | None = None, environment: Mapping[str, str] | None = None
) -> Ran:
    """Run one command line in this process."""
    environment = dict(environment or {})
    stdout, stderr, stdin = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(3))
    output = Output(stdout, stderr, stdin, environment, json=wants_json(arguments, environment))
    clock = FakeClock(datetime(2026, 11, 22, 19, 0, tzinfo=UTC))
    exit_code = run_command(arguments, output, environment, services or FakeServices(), clock)
    stdout.flush()
    stderr.flush()
    return Ran(exit_code, stdout.buffer.getvalue().decode(), stderr.buffer.getvalue().decode())  # type: ignore[attr-defined]
