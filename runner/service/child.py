"""One execution in a process of its own: it takes its order from standard input and tells about itself on standard
output, a JSON object a line. A driver that crashes takes only its own execution with it.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Mapping
from typing import BinaryIO

from runner.clock import Clock
from runner.errors import ExitCode, RunnerError
from runner.execution.context import Cancellation, Context
from runner.locations.registry import Registry
from runner.model.entry import Phase
from runner.model.events import Event, Listed, PhaseStarted, Progressed
from runner.model.wire import encode_line
from runner.service.handover import Ending, Order, Said, said_of

_PR_SET_PDEATHSIG = 1
PROGRESS_EVERY_SECONDS = 0.25


def die_with_parent(parent: int) -> None:
    """From now on this process is killed when its parent ends: nothing may be written that nobody minds.

    Raises SystemExit when the parent is gone already.
    """
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        raise SystemExit(1)


def execute(order: Order, output: BinaryIO, clock: Clock, environment: Mapping[str, str]) -> int:
    """Run the order's task to its end; returns the exit code. Whatever happens, the last line says how it ended."""
    from runner.pipeline import run_task

    cancellation = Cancellation()
    signal.signal(signal.SIGTERM, lambda *_: cancellation.stop(1, "terminated by a signal"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    teller = _Teller(output, clock)
    task = order.configuration.tasks[order.task]
    context = Context(
        configuration=order.configuration,
        registry=Registry(),
        clock=clock,
        subscriber=teller,
        accept=frozenset(order.accept),
        cancellation=cancellation,
        slot=order.slot,
        environment=environment,
    )
    try:
        execution = run_task(task, context, order.trigger).execution
        ending = Ending(execution.status, execution.exit_code, execution.summary)
    except RunnerError as error:
        ending = Ending(Phase.ERROR, int(error.exit_code), error.message, reported=False)
    except Exception as error:
        teller.tell(Said(message=("warning", f"internal error: {type(error).__name__}: {error}")))
        ending = Ending(Phase.ERROR, int(ExitCode.INTERNAL), f"internal error: {type(error).__name__}", False)
    teller.tell(Said(execution_id=teller.execution_id, ended=ending))
    return ending.exit_code


class _Teller:
    """Writes events as lines; progress not more often than anybody looks."""

    def __init__(self, output: BinaryIO, clock: Clock) -> None:
        self._output = output
        self._clock = clock
        self._told_at = float("-inf")
        self.execution_id: str | None = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, PhaseStarted):
            self.execution_id = event.execution_id
        if isinstance(event, (Listed, Progressed)):
            now = self._clock.monotonic()
            if now - self._told_at < PROGRESS_EVERY_SECONDS:
                return
            self._told_at = now
        said = said_of(event, self.execution_id)
        if said is not None:
            self.tell(said)

    def tell(self, said: Said) -> None:
        try:
            self._output.write(encode_line(said) + b"\n")
            self._output.flush()
        except (BrokenPipeError, ValueError):
            # The service is gone, and this process a moment later.
            return
