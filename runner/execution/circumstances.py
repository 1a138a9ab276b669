"""What planning is told from outside the listings: filters with their clock and manifest, the past, who accepts."""

from __future__ import annotations

import io

from runner.config.describe import describe_task
from runner.errors import UsageError
from runner.execution.context import Context
from runner.execution.doubts import read_doubts
from runner.execution.past import read_past
from runner.filters.manifest import Manifest, read_manifest
from runner.filters.selection import Selection
from runner.model.events import Listed
from runner.model.task import ManifestSettings, Task
from runner.plan.prepare import Circumstances


def read_selection(task: Task, context: Context, now_ns: int | None = None) -> Selection:
    """The task's filters at `now_ns` (None = now), its manifest read. Raises UsageError, ConfigurationError."""
    if now_ns is None:
        now_ns = int(context.clock.now().timestamp() * 1e9)
    settings = task.filters.manifest
    manifest = _read_manifest(settings, context) if settings is not None else None
    return Selection(task.filters, now_ns, manifest)


def circumstances(task: Task, context: Context) -> Circumstances:
    """The rest: settings for the header, what the last success saw, what verification doubted, and progress with a way
    out."""

    def on_listed(source: int, destination: int) -> None:
        context.cancellation.check()
        context.subscriber(Listed(source, destination))

    return Circumstances(
        described=describe_task(task),
        past=read_past(context.state, task.name),
        accepted=context.accept,
        config_file=context.configuration.file,
        on_listed=on_listed,
        doubted=read_doubts(context.state, task.name),
    )


def _read_manifest(settings: ManifestSettings, context: Context) -> Manifest:
    if settings.file is None:
        if context.standard_input is None:
            raise UsageError(
                "the task's manifest comes from standard input, which this command does not read"
            )
        # Planning may look twice (apply, explain): the input can be read once only.
        return read_manifest(io.BytesIO(context.standard_input.read()), settings.format, "standard input")
    try:
        with open(settings.file, "rb") as stream:
            return read_manifest(stream, settings.format, settings.file)
    except OSError as error:
        raise UsageError(
            f"cannot read the manifest {settings.file}: {error.strerror}",
            remedy="Check filters.manifest.file in the task's configuration.",
        ) from error
