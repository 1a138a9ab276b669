"""What one invocation of the command works with: flags, streams, and the configuration once it is needed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from runner.cli.parser import Flags, closest
from runner.cli.text import Page, safe
from runner.clock import Clock
from runner.errors import UsageError

if TYPE_CHECKING:
    from runner.cli.output import Output
    from runner.cli.progress import Display
    from runner.cli.services import Services
    from runner.locations.registry import Registry
    from runner.model.events import Subscriber
    from runner.model.task import Configuration, Task
    from runner.pipeline import Cancellation, Context

DEFAULT_CONFIG = "sync.yaml"


class Session:
    """One invocation. The configuration is loaded on the first call that needs it, and once."""

    def __init__(
        self,
        flags: Flags,
        output: Output,
        services: Services,
        clock: Clock,
        environment: Mapping[str, str],
    ) -> None:
        self.flags = flags
        self.output = output
        self.services = services
        self.clock = clock
        self.environment = environment
        self._registry: Registry | None = None
        self._configuration: Configuration | None = None

    @property
    def page(self) -> Page:
        """How text on standard output is laid out."""
        return self.output.page(self.output.stdout)

    @property
    def config_file(self) -> str:
        return self.flags.config or DEFAULT_CONFIG

    @property
    def config_flag(self) -> str:
        """' -c FILE' for commands that are suggested, where the file was named on this command line."""
        if self.flags.config is None or self.flags.config == self.environment.get("SYNC_RUNNER_CONFIG"):
            return ""
        return f" -c {shlex.quote(safe(self.flags.config))}"

    def registry(self) -> Registry:
        """The location types that are installed."""
        if self._registry is None:
            self._registry = self.services.registry()
        return self._registry

    def configuration(self) -> Configuration:
        """The configuration. Raises ConfigurationError, UsageError when there is no such file."""
        if self._configuration is None:
            self._configuration = self.services.load_configuration(
                self.config_file, self.registry(), self.environment
            )
        return self._configuration

    @property
    def state_folder(self) -> str | None:
        """Where state is kept, as far as the configuration was read."""
        return None if self._configuration is None else self._configuration.state_directory

    def set_bandwidth(self, rate: str | None) -> None:
        """Give all tasks this limit in place of their own. Raises UsageError for a rate that is none."""
        if rate is None:
            return
        import msgspec

        from runner.model.task import BandwidthWindow
        from runner.units import parse_rate

        try:
            window = BandwidthWindow(limit_bytes_per_second=parse_rate(rate))
        except ValueError as error:
            raise UsageError(f"option --bandwidth: {error}") from error
        configuration = self.configuration()
        tasks = {
            name: msgspec.structs.replace(
                task, options=msgspec.structs.replace(task.options, bandwidth=(window,))
            )
            for name, task in configuration.tasks.items()
        }
        self._configuration = msgspec.structs.replace(configuration, tasks=tasks)

    def task(self, name: str) -> Task:
        """The task of that name. Raises UsageError with the closest name and all names."""
        tasks = self.configuration().tasks
        if name in tasks:
            return tasks[name]
        close = closest(name, tasks)
        known = f"Tasks in {self.config_file}: {', '.join(tasks)}"
        raise UsageError(
            f"there is no task {name!r} in {self.config_file}",
            remedy=f"Did you mean {close}? {known}" if close else known,
        )

    def tasks(self, names: Sequence[str]) -> list[Task]:
        """The named tasks in that order, each once; without names all enabled ones in file order."""
        if names:
            return [self.task(name) for name in dict.fromkeys(names)]
        enabled = [task for task in self.configuration().tasks.values() if task.enabled]
        if not enabled:
            raise UsageError(
                f"no task in {self.config_file} is enabled",
                remedy=f"Name one: sync-runner run TASK{self.config_flag}",
            )
        return enabled

    def context(
        self,
        *,
        subscriber: Subscriber,
        cancellation: Cancellation | None = None,
        accept: Sequence[str] = (),
    ) -> Context:
        """What a service call needs from this invocation."""
        return self.services.context(
            self.configuration(),
            self.registry(),
            self.clock,
            subscriber,
            frozenset(accept),
            cancellation or self.services.cancellation(),
            self.output.standard_input,
            self.environment,
        )

    def export_metrics(self) -> str | None:
        """Bring the text file for node_exporter up to date, where one is declared; a sentence when it could not be."""
        if self.configuration().monitoring.metrics_file is None:
            return None
        return self.services.export_metrics(self.configuration(), self.clock)

    @contextmanager
    def watching(self) -> Iterator[Display]:
        """A progress display on standard error for the duration; it shows nothing where none is wanted."""
        from runner.cli.progress import open_display

        display = open_display(
            self.output,
            self.clock,
            wanted=not (self.flags.no_progress or self.flags.quiet or self.flags.json),
        )
        try:
            yield display
        finally:
            display.close()
