"""What the commands ask of the rest of the runner, each imported only when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    from datetime import datetime

    from runner.clock import Clock
    from runner.execution.adopting import Adopted
    from runner.execution.restoring import RestoreResult
    from runner.history.compare import Told
    from runner.history.state import StateDirectory
    from runner.history.store import History
    from runner.locations.probe import Step
    from runner.locations.protocol import Driver
    from runner.locations.registry import Registry
    from runner.model.events import Subscriber
    from runner.model.execution import Report
    from runner.model.plan import Explanation, PlanSummary
    from runner.model.task import Configuration, LocationSettings, ReportFormat, Task
    from runner.pipeline import Cancellation, Context
    from runner.service.loop import Service


class Services:
    """The runner's service calls. Stateless; tests hand the commands another object with the same methods."""

    def registry(self) -> Registry:
        from runner.locations.registry import Registry

        return Registry()

    def load_configuration(
        self, path: str, registry: Registry, environment: Mapping[str, str]
    ) -> Configuration:
        from runner.config.build import load_configuration

        return load_configuration(path, registry, environment)

    def sample_configuration(self, registry: Registry) -> str:
        from runner.config.sample import sample_configuration

        return sample_configuration(registry)

    def composed_schema(self, registry: Registry) -> Mapping[str, Any]:
        from runner.config.schema import composed_schema

        return composed_schema(registry)

    def cancellation(self) -> Cancellation:
        from runner.pipeline import Cancellation

        return Cancellation()

    def context(
        self,
        configuration: Configuration,
        registry: Registry,
        clock: Clock,
        subscriber: Subscriber,
        accept: frozenset[str],
        cancellation: Cancellation,
        standard_input: BinaryIO | None,
        environment: Mapping[str, str],
    ) -> Context:
        from runner.pipeline import Context

        return Context(
            configuration=configuration,
            registry=registry,
            clock=clock,
            subscriber=subscriber,
            accept=accept,
            cancellation=cancellation,
            standard_input=standard_input,
            environment=environment,
        )

    def plan_task(self, task: Task, context: Context, output: str | None = None) -> PlanSummary:
        from runner.pipeline import plan_task

        return plan_task(task, context, output)

    def run_task(self, task: Task, context: Context) -> Report:
        from runner.pipeline import run_task

        return run_task(task, context)

    def apply_plan(self, plan_file: str, context: Context) -> Report:
        from runner.pipeline import apply_plan

        return apply_plan(plan_file, context)

    def verify_task(self, task: Task, context: Context) -> Report:
        from runner.pipeline import verify_task

        return verify_task(task, context)

    def explain_path(self, task: Task, context: Context, path: str) -> Explanation:
        from runner.pipeline import explain_path

        return explain_path(task, context, path)

    def restore(
        self,
        task: Task,
        context: Context,
        execution: str | None,
        paths: Sequence[str],
        list_only: bool,
        as_of: datetime | None,
    ) -> RestoreResult:
        from runner.pipeline import restore

        return restore(task, context, execution, paths, list_only, as_of)

    def adopt(self, settings: LocationSettings, context: Context, *, accept_empty: bool) -> Adopted:
        from runner.execution.adopting import adopt

        return adopt(settings, context, accept_empty=accept_empty)

    def probe(
        self, driver: Driver, settings: LocationSettings, context: Context, *, write: bool
    ) -> Iterator[Step]:
        import secrets

        from runner.locations.probe import probe

        return probe(
            driver,
            settings,
            context.clock,
            secrets.token_hex(6),
            write=write,
            cache_directory=context.state.cache_folder,
        )

    def service(
        self,
        configuration: Configuration,
        registry: Registry,
        clock: Clock,
        environment: Mapping[str, str],
        load: Callable[[], Configuration],
        log: tuple[str, str],
    ) -> Service:
        from runner.service.loop import Service

        return Service(configuration, load, registry, clock, environment, log)

    def state(self, configuration: Configuration) -> StateDirectory:
        from runner.history.state import StateDirectory

        return StateDirectory(configuration.state_directory)

    def history(self, configuration: Configuration, clock: Clock) -> History:
        from runner.history.store import open_history

        return open_history(configuration.history_url or self.state(configuration).history_file, clock)

    def prune_history(
        self, configuration: Configuration, history: History, state: StateDirectory, clock: Clock
    ) -> list[str]:
        from runner.history.retention import prune_history

        return prune_history(configuration, history, state, clock)

    def told(self, configuration: Configuration, execution: str) -> Told:
        """An execution as it is compared; named as `report` takes it."""
        from runner.history.compare import told_in

        state = self.state(configuration)
        return told_in(state.execution_folder(state.resolve_execution(execution)))

    def export_metrics(self, configuration: Configuration, clock: Clock) -> str | None:
        from runner.monitoring.textfile import export_metrics

        return export_metrics(configuration, clock)

    def load_report(self, folder: str) -> Report:
        from runner.report.stored import load_report

        return load_report(folder)

    def render_report(self, folder: str, report_format: ReportFormat, output: BinaryIO) -> None:
        from runner.report.render import render

        render(folder, report_format, output)
