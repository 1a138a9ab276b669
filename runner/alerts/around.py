"""What happens around one execution, as its task declares it: the pipeline's one door to hooks, pings, notifications.

`before` may stop the execution; `ended` never changes how it ended, and never raises. Pings and messages go out in
threads of their own, while hooks run; in the end they are waited for, though not for long.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping

from runner.alerts import hooks
from runner.alerts.occasions import channels_for, most_telling, occasions_of
from runner.clock import Clock
from runner.history.standing import Standing, error_signature
from runner.model.automation import Occasion
from runner.model.entry import Phase
from runner.model.execution import Report, Trigger
from runner.model.secret import Secret
from runner.model.task import Configuration, Task
from runner.model.wire import terminal_safe

WAIT_SECONDS = 30.0
"""How long the end of an execution waits for pings and messages at most, its hooks not counted."""
_KINDS = {
    Occasion.FAILURE: "failure",
    Occasion.GUARD: "warning",
    Occasion.PARTIAL: "warning",
    Occasion.RECOVERY: "success",
    Occasion.ALWAYS: "info",
}


class Around:
    """Everything around one execution. `warn` takes sentences for a person; `level` is how urgently the execution is
    to stop (0 not at all, 1 soon, 2 now). Use from one thread."""

    def __init__(
        self,
        task: Task,
        configuration: Configuration,
        environment: Mapping[str, str],
        clock: Clock,
        warn: Callable[[str], None],
        level: Callable[[], int] = lambda: 0,
    ) -> None:
        self._task = task
        self._configuration = configuration
        self._environment = environment
        self._clock = clock
        self._warn = warn
        self._level = level
        self._ping: threading.Thread | None = None
        self._failed_pings: list[str] = []
        self._began = False

    def before(self, execution_id: str, trigger: Trigger, folder: str) -> None:
        """Ping, and run the hooks of `before`.

        Raises HookFailedError, and InterruptedByUserError when the execution is stopped while a hook runs.
        """
        self._began = True
        self._start_ping("start", self._task.automation.pings.start)
        around = self._surroundings(hooks.BEFORE, folder, self._variables(execution_id, trigger, folder))
        hooks.run_before(self._task.name, self._task.automation.hooks.before, around)

    def ended(self, report: Report, folder: str, before: Standing, after: Standing, disabled: bool) -> None:
        """Ping, run the hooks of on_error and after, and tell the channels. The report is written already.

        `disabled`: the task's schedule rests from now on, because it failed too often.
        """
        good = report.execution.status is Phase.SUCCESS
        urls = self._task.automation.pings
        body = None if good else f"{report.execution.task}: {report.execution.summary}"
        self._start_ping("success" if good else "fail", urls.success if good else urls.fail, body)
        finish = self._start_notifying(report, folder, before, after, disabled)
        self._run_hooks(report, folder)
        began = self._clock.monotonic()
        finish()
        self._finish_pings(began)

    # -- hooks ---------------------------------------------------------------------------------------------

    def _run_hooks(self, report: Report, folder: str) -> None:
        declared = self._task.automation.hooks
        variables = {
            **self._variables(report.execution.execution_id, report.execution.trigger, folder),
            **_outcome(report, folder),
        }
        for moment, chosen in (
            (hooks.ON_ERROR, () if report.execution.status is Phase.SUCCESS else declared.on_error),
            # An execution that never began owes nothing: what another one needs is not thawed or unmounted.
            (hooks.AFTER, declared.after if self._began else ()),
        ):
            around = self._surroundings(moment, folder, variables)
            for failure in hooks.run_all(chosen, around):
                self._warn(f"{failure} (task {self._task.name})")

    def _surroundings(self, moment: str, folder: str, variables: Mapping[str, str]) -> hooks.Surroundings:
        return hooks.Surroundings(
            moment=moment,
            folder=folder,
            directory=os.path.dirname(os.path.abspath(self._configuration.file)),
            environment=self._environment,
            variables={**variables, "SYNC_RUNNER_MOMENT": moment},
            clock=self._clock,
            level=self._level,
        )

    def _variables(self, execution_id: str, trigger: Trigger, folder: str) -> dict[str, str]:
        return {
            "SYNC_RUNNER_TASK": self._task.name,
            "SYNC_RUNNER_EXECUTION": execution_id,
            "SYNC_RUNNER_TRIGGER": trigger.value,
            "SYNC_RUNNER_CONFIG": os.path.abspath(self._configuration.file),
            "SYNC_RUNNER_FOLDER": folder,
        }

    # -- pings ---------------------------------------------------------------------------------------------

    def _start_ping(self, name: str, url: Secret | None, body: str | None = None) -> None:
        """Ping in a thread; after the ping before, so that a service never sees the end before the start."""
        if url is None:
            return
        earlier = self._ping

        def fetch() -> None:
            from runner.alerts import pings

            if earlier is not None:
                earlier.join()
            failure = pings.ping(url, self._environment, self._clock, body)
            if failure is not None:
                self._failed_pings.append(
                    f"the ping {name} of task {self._task.name} was not taken: {failure}"
                )

        self._ping = threading.Thread(target=fetch, name=f"ping-{name}", daemon=True)
        self._ping.start()

    def _finish_pings(self, began: float) -> None:
        if self._ping is not None:
            self._ping.join(max(0.0, began + WAIT_SECONDS - self._clock.monotonic()))
            if self._ping.is_alive():
                self._failed_pings.append(
                    f"a ping of task {self._task.name} was given up after {WAIT_SECONDS:g} s"
                )
        for failure in self._failed_pings:
            self._warn(failure)

    # -- notifications -------------------------------------------------------------------------------------

    def _start_notifying(
        self, report: Report, folder: str, before: Standing, after: Standing, disabled: bool
    ) -> Callable[[], None]:
        """Begin to send; the result waits for what was begun and warns of what was not sent."""
        occasions = occasions_of(report, before, after)
        names = channels_for(self._task.automation.notify, occasions)
        if not names:
            return lambda: None
        try:
            from runner.alerts.facts import facts_of
            from runner.alerts.messages import Template, compose
            from runner.alerts.notify import Sending

            occasion = most_telling(occasions)
            settings = self._configuration.notifications
            facts = facts_of(self._task, report, folder, before, after, disabled)
            template = Template.DISABLED if disabled else Template(occasion.value)
            message = compose(template, {**facts, "occasion": occasion.value}, settings.templates, self._warn)
            sending = Sending(self._clock)
            for name in names:
                sending.send(name, settings.channels[name], message, _KINDS[occasion])
        except Exception as error:
            # A defect here is worth a warning, not an execution's result. Its text may hold anything.
            self._warn(f"no notification of task {self._task.name} was sent: {type(error).__name__}")
            return lambda: None

        def finish() -> None:
            for sent in sending.wait(WAIT_SECONDS):
                if sent.error is not None:
                    self._warn(
                        f"channel {sent.channel} was not told of task {self._task.name}: {terminal_safe(sent.error)}"
                    )

        return finish


def _outcome(report: Report, folder: str) -> dict[str, str]:
    """How it ended, as variables of hooks."""
    execution, counters = report.execution, report.counters
    return {
        "SYNC_RUNNER_STATUS": execution.status.value,
        "SYNC_RUNNER_EXIT_CODE": str(execution.exit_code),
        "SYNC_RUNNER_SUMMARY": terminal_safe(execution.summary),
        "SYNC_RUNNER_ERROR": error_signature(report) or "",
        "SYNC_RUNNER_REPORT": os.path.join(folder, "report.json"),
        "SYNC_RUNNER_DURATION_SECONDS": f"{execution.duration_seconds:.3f}",
        "SYNC_RUNNER_FILES_TRANSFERRED": str(counters.transferred.files),
        "SYNC_RUNNER_FILES_DELETED": str(counters.deleted.files + counters.quarantined.files),
        "SYNC_RUNNER_FILES_FAILED": str(counters.failed.files),
        "SYNC_RUNNER_BYTES_TRANSFERRED": str(counters.bytes_transferred),
        "SYNC_RUNNER_PROBLEMS": str(report.problems_total),
        "SYNC_RUNNER_FINDINGS": str(report.findings_total),
    }
