"""A text file in Prometheus' format, for node_exporter's textfile collector: for those who run without a service."""

from __future__ import annotations

import fcntl
import os
import tempfile

from runner.clock import Clock
from runner.errors import MissingExtraError
from runner.history.standing import read_standing
from runner.history.state import StateDirectory
from runner.model.task import Configuration
from runner.monitoring.figures import Figures, figures_of
from runner.monitoring.metrics import metrics_text

MODE = 0o644
"""node_exporter reads it as another user; it holds task names and figures, nothing private."""


def export_metrics(configuration: Configuration, clock: Clock) -> str | None:
    """Bring settings.monitoring.metrics_file up to date; None, or a sentence that says why it could not be.

    Does nothing where no file is declared. Never raises. Executions that end at once take turns, so that the last
    one to write is the last one to have looked.
    """
    path = configuration.monitoring.metrics_file
    if path is None:
        return None
    state = StateDirectory(configuration.state_directory)
    try:
        state.prepare()
        lock = os.open(
            os.path.join(state.locks_folder, "metrics"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )  # fmt: skip
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            standings = [read_standing(state, task) for task in configuration.tasks]
            return write_metrics_file(path, figures_of(configuration, standings, clock.now()))
        finally:
            os.close(lock)
    except Exception as error:
        return _failure(path, error)


def write_metrics_file(path: str, figures: Figures) -> str | None:
    """Replace the file whole, mode 0644; None, or a sentence that says why it could not be. Never raises.

    A link at `path` is replaced, not followed. Figures of the service are left out: two services on one host, each
    with its own file, would both claim them.
    """
    try:
        content = metrics_text(Figures(figures.tasks))
        # node_exporter reads what ends in .prom: this does not.
        handle, temporary = tempfile.mkstemp(prefix=".sync-runner-", suffix=".tmp", dir=os.path.dirname(path))
        try:
            with os.fdopen(handle, "wb") as stream:
                os.fchmod(stream.fileno(), MODE)
                stream.write(content)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except Exception as error:
        return _failure(path, error)
    return None


def _failure(path: str, error: Exception) -> str:
    if isinstance(error, MissingExtraError):
        return f"{error.message}. {error.remedy}"
    reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}"
    return f"settings.monitoring.metrics_file {path} was not written: {reason}"
