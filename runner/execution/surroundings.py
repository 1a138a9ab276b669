"""What is declared around executions, as far as anything is: where nothing is, nothing is loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from runner.execution.context import Context
from runner.history.standing import Standing
from runner.model.events import Message
from runner.model.execution import Report, Trigger
from runner.model.task import Task

if TYPE_CHECKING:
    from runner.alerts.around import Around


class Surroundings:
    """Hooks, pings and notifications of one execution, of which a verification, which changes nothing, has none; and
    its trace."""

    def __init__(self, task: Task, context: Context, trigger: Trigger) -> None:
        self._task = task
        self._context = context
        self._trigger = trigger
        self._around: Around | None = None
        if trigger is not Trigger.VERIFY and task.automation.acts_around:
            from runner.alerts.around import Around

            self._around = Around(
                task,
                context.configuration,
                context.environment,
                context.clock,
                self._warn,
                lambda: context.cancellation.level,
            )

    def before(self, execution_id: str, folder: str) -> None:
        """Raises HookFailedError, InterruptedByUserError."""
        if self._around is not None:
            self._around.before(execution_id, self._trigger, folder)

    def ended(self, report: Report, folder: str, standings: tuple[Standing, Standing] | None) -> None:
        """`standings`: the task's before and after this execution; None when they could not be written."""
        if self._around is not None:
            before, after = standings or (Standing(self._task.name), Standing(self._task.name))
            disabled = after.rest is not None and before.rest is None
            self._around.ended(report, folder, before, after, disabled)
        settings = self._context.configuration.monitoring
        if settings.traces_endpoint is not None:
            from runner.monitoring.traces import export_report

            export_report(report, settings, self._context.environment, self._warn)

    def _warn(self, text: str) -> None:
        self._context.subscriber(Message("warning", text))
