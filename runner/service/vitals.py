"""The service's answers over HTTP: metrics, whether it is alive, whether it starts executions.

Figures come from the loop itself, so that they fit together; whether it is alive is judged without asking it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from runner.clock import Clock
from runner.errors import MissingExtraError, UsageError
from runner.history.state import StateDirectory
from runner.model.task import Configuration
from runner.monitoring.figures import LiveState, RunningFigures
from runner.monitoring.metrics import require_prometheus
from runner.monitoring.textfile import export_metrics
from runner.web.respond import Answers
from runner.web.server import HttpServer, serve_http

if TYPE_CHECKING:
    from runner.service.loop import Service

ALIVE_SECONDS = 30.0
"""A loop that has not turned for so long hangs. Loading a large configuration takes a second or two."""
PATIENCE_SECONDS = 5.0

_log = logging.getLogger(__name__)


def open_http(service: Service) -> HttpServer | None:
    """Serve where settings.service.http says; None where it says off.

    Where nothing was said and the port is taken, the service goes on without. Raises UsageError when the place was asked
    for and cannot be had.
    """
    listen = service.configuration.service.http
    if listen is None:
        return None
    try:
        require_prometheus()
    except MissingExtraError as error:
        _log.warning("/metrics is not served: %s. %s", error.message, error.remedy)
    answers = Answers(
        metrics=_metrics(service.state, service.clock, lambda: _from_loop(service)),
        health=lambda: health(service),
        ready=lambda: ready(service),
    )
    try:
        return serve_http(listen, answers, service.clock)
    except (OSError, UsageError) as error:
        if listen != type(service.configuration.service)().http:
            raise
        _log.warning(
            "no /metrics and /healthz: %s. Set settings.service.http to another port, or to off", error
        )
        return None


class MetricsFile:
    """Brings the text file for node_exporter up to date, in a thread of its own: what ends in a burst is written once."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._something = threading.Event()
        self._ending = False
        self._trouble: str | None = None
        self._thread = threading.Thread(target=self._work, name="metrics-file", daemon=True)

    def start(self) -> None:
        self._something.set()
        self._thread.start()

    def poke(self) -> None:
        """An execution has ended, or another configuration is in force."""
        self._something.set()

    def stop(self) -> None:
        """Write once more, and end."""
        self._ending = True
        self._something.set()
        self._thread.join(PATIENCE_SECONDS)

    def _work(self) -> None:
        while True:
            self._something.wait()
            self._something.clear()
            ending = self._ending
            trouble = export_metrics(self._service.configuration, self._service.clock)
            if trouble is not None and trouble != self._trouble:
                _log.warning("%s", trouble)
            self._trouble = trouble
            if ending:
                return


def health(service: Service) -> tuple[bool, str]:
    """Whether the loop turns."""
    silent = service.clock.monotonic() - service.heartbeat
    if silent > ALIVE_SECONDS:
        return False, f"The service's loop has not turned for {silent:.0f} s."
    return True, "The service is alive."


def ready(service: Service) -> tuple[bool, str]:
    """Whether executions are started."""
    good, text = health(service)
    if not good:
        return good, text
    if service.draining:
        return False, "The service is being stopped: nothing more is started."
    return True, f"The service works with {len(service.configuration.tasks)} tasks."


def live_state(service: Service) -> LiveState:
    """What only the service knows. Call it in the loop's thread."""
    dispatcher = service.dispatcher
    starts = ((name, dispatcher.next_start(name)) for name in service.configuration.tasks)
    running = []
    for number, one in dispatcher.running.items():
        live = service.live.get(number)
        figures: tuple[int | None, ...] = (None,) * 4
        if live is not None and live.progress is not None:
            figures = live.progress[:4]
        running.append(
            RunningFigures(
                task=one.waiting.task,
                started_at=one.started_at,
                execution_id=one.execution_id,
                phase=None if live is None else live.phase,
                actions_done=figures[0],
                actions_total=figures[1],
                bytes_done=figures[2],
                bytes_total=figures[3],
            )
        )
    return LiveState(
        started_at=service.started_at,
        configuration_loaded_at=service.loaded_at,
        configuration_error=service.configuration_error,
        draining=service.draining,
        running=tuple(running),
        queued=tuple(one.task for one in dispatcher.waiting),
        next_starts={name: at for name, at in starts if at is not None},
        history_trouble=service.publisher.trouble,
        slots={outcome.value: count for outcome, count in dispatcher.outcomes.items()},
    )


def _from_loop(service: Service) -> tuple[Configuration, LiveState]:
    answer: queue.SimpleQueue[tuple[Configuration, LiveState]] = queue.SimpleQueue()
    service.put(lambda: answer.put((service.configuration, live_state(service))))
    return answer.get(timeout=PATIENCE_SECONDS)


def _metrics(
    state: StateDirectory, clock: Clock, live: Callable[[], tuple[Configuration, LiveState]]
) -> Callable[[], tuple[bytes, str]]:
    from runner.monitoring.scrape import MetricsPage

    return MetricsPage(state, clock, live)
