"""The service's one thread: everything that happens comes in as a call through the inbox, and is done in order.

Executions, the socket, history and HTTP have threads or processes of their own; they only put something in here.
"""

from __future__ import annotations

import logging
import os
import queue
from collections.abc import Callable, Mapping
from datetime import datetime

import msgspec

from runner.clock import Clock, iso_utc
from runner.errors import RunnerError
from runner.execution.control import read_wanted, write_wanted
from runner.execution.locking import destination_key
from runner.history.standing import Rest, read_standing
from runner.history.state import StateDirectory
from runner.locations.registry import Registry
from runner.model.entry import Phase
from runner.model.task import BandwidthWindow, Configuration, Task
from runner.service.answers import (
    ELSEWHERE,
    Accepted,
    Done,
    NextStart,
    Refused,
    RunningExecution,
    ServiceStatus,
    WaitingExecution,
)
from runner.service.clockwork import Clockwork
from runner.service.digest import DigestClock, send_in_background
from runner.service.dispatcher import Dispatcher
from runner.service.door import Reply, Request, ServiceSocket
from runner.service.handover import Order, Said
from runner.service.launcher import Launcher
from runner.service.ledger import Ledger
from runner.service.publisher import Publisher
from runner.service.queue import Demands, Waiting
from runner.service.recovery import Survey
from runner.service.reload import Watched
from runner.service.systemd import Systemd, without_notify_socket
from runner.service.vitals import MetricsFile, open_http

TURN_SECONDS = 1.0
JUMP_SECONDS = 2.0
UNDO_AFTER_SECONDS = 10.0
KILL_AFTER_SECONDS = 30.0
STOPPING = "the service is being stopped; the next execution goes on from here"

_log = logging.getLogger(__name__)


class Live(msgspec.Struct):
    """What an execution has said of itself so far."""

    execution_id: str | None = None
    phase: Phase | None = None
    progress: tuple[int, int, int, int, int] | None = None
    ending: Said | None = None
    followers: list[Reply] = []


class Service:
    """One service for one state folder. `run` returns when it has been told to stop and nothing runs any more."""

    def __init__(
        self,
        configuration: Configuration,
        load: Callable[[], Configuration],
        registry: Registry,
        clock: Clock,
        environment: Mapping[str, str],
        log: tuple[str, str],
    ) -> None:
        """`load` reads the configuration anew; `log` is level and format for the executions' processes."""
        self.configuration = configuration
        self.state = StateDirectory(configuration.state_directory)
        self.clock = clock
        self._load = load
        self._registry = registry
        self._log = log
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._systemd = Systemd(environment, os.getpid())
        self._watched = Watched(configuration.files)
        self.started_at = self.loaded_at = clock.now()
        self.configuration_error: str | None = None
        self._stopping_since: float | None = None
        self._stop_level = 0
        self._offset = self._clock_offset()
        self._turned_at = clock.monotonic()
        self._trouble: str | None = None
        self.live: dict[int, Live] = {}
        self.ledger = Ledger(self.state.ledger_file)
        for warning in self.ledger.warnings:
            _log.warning("%s", warning)
        self._launcher = Launcher(
            without_notify_socket(environment),
            lambda number, said: self.put(lambda: self._said(number, said)),
            lambda number, code: self.put(lambda: self._gone(number, code)),
        )
        self.dispatcher = Dispatcher(self.ledger, self._begin, self._rest_of, self._demands_of)
        self._clockwork = Clockwork(lambda: self.put(self._advance), self.dispatcher.next_start)
        self.publisher = Publisher(configuration, self.state, self.state.ledger_file, clock)
        self._bandwidths: dict[int, int] = {}
        self._digest = DigestClock(configuration, self.started_at)
        self._metrics_file = MetricsFile(self)

    # -- from other threads and signal handlers ------------------------------------------------------------

    def put(self, call: Callable[[], None]) -> None:
        """Have the loop do something. Safe from any thread and from signal handlers."""
        self._inbox.put(call)

    def ask(self, request: Request, reply: Reply) -> None:
        """A client's request; the answer is given by the loop."""
        self.put(lambda: self._answer(request, reply))

    # -- the loop ------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Work until told to stop. Call it in the thread that lives as long as the process."""
        now = self.clock.now()
        self.dispatcher.configure(self.configuration.tasks, self.configuration.service.executions, now)
        survey = Survey(self.state, slots=bool(self.ledger.unfinished()))
        self.dispatcher.recover(survey.execution_of, survey.interrupted, now)
        for execution_id in survey.interrupted:
            _log.info("execution %s was cut off; its task goes on with the next one", execution_id)
        self._clockwork.start()
        self.publisher.start()
        door = ServiceSocket(self.state.service_socket, self.ask)
        http = open_http(self)
        self._metrics_file.start()
        try:
            self._advance()
            self._systemd.tell("READY=1", f"STATUS={self._in_short()}")
            _log.info("serving %s: %s", self.configuration.file, self._in_short())
            while not self._finished():
                self._turn()
        finally:
            self._systemd.tell("STOPPING=1")
            door.close()
            if http is not None:
                http.close()
            self._clockwork.stop()
            for number in list(self.live):
                self._launcher.kill(number)
            self._flush()
            self._metrics_file.stop()
            self.publisher.stop(10.0)
            self.ledger.close()
        _log.info("stopped")

    def stop(self) -> None:
        """Drain: start nothing more, let what runs go on for a while. Each further call is less patient."""
        if self._stopping_since is None:
            self._stopping_since = self.clock.monotonic()
            self.dispatcher.drain()
            _log.info("draining: %d executions run, they have %.0f s", len(self.live), self._drain_seconds)
            self._systemd.tell("STOPPING=1", "STATUS=draining")
            return
        self._stop_running(min(2, self._stop_level + 1))

    def reload(self) -> None:
        """Load the configuration anew. One with faults changes nothing, and is told of."""
        self._systemd.tell("RELOADING=1", f"MONOTONIC_USEC={int(self.clock.monotonic() * 1e6)}")
        try:
            configuration = self._load()
        except RunnerError as error:
            self.configuration_error = error.message
            _log.error("the changed configuration is not taken over, the one before holds: %s", error)
        else:
            self._take_over(configuration)
        self._systemd.tell("READY=1", f"STATUS={self._in_short()}")

    @property
    def draining(self) -> bool:
        """Whether the service was told to stop."""
        return self._stopping_since is not None

    @property
    def heartbeat(self) -> float:
        """When the loop last turned, by the monotonic clock."""
        return self._turned_at

    def status(self) -> ServiceStatus:
        """How things stand."""
        dispatcher = self.dispatcher
        running = []
        for number, one in dispatcher.running.items():
            live = self.live.get(number, Live())
            figures = live.progress or (None,) * 5
            phase = None if live.phase is None else live.phase.value
            running.append(
                RunningExecution(
                    one.waiting.task,
                    live.execution_id,
                    one.waiting.trigger.value,
                    one.started_at,
                    phase,
                    *figures,
                )
            )
        waiting = sorted(
            dispatcher.waiting,
            key=lambda one: (-self.configuration.tasks[one.task].automation.priority, one.number),
        )
        starts = ((name, dispatcher.next_start(name)) for name in self.configuration.tasks)
        return ServiceStatus(
            pid=os.getpid(),
            started_at=self.started_at,
            configuration_file=self.configuration.file,
            configuration_loaded_at=self.loaded_at,
            configuration_error=self.configuration_error,
            draining=self._stopping_since is not None,
            history_trouble=self.publisher.trouble,
            running=tuple(running),
            waiting=tuple(
                WaitingExecution(
                    one.task,
                    one.trigger.value,
                    one.since,
                    self._why(one),
                    one.slots[-1] if one.slots else None,
                )
                for one in waiting
            ),
            next_starts=tuple(NextStart(name, at) for name, at in starts if at is not None),
        )

    # -- turns ---------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        try:
            self._inbox.get(timeout=TURN_SECONDS)()
            while True:
                self._inbox.get_nowait()()
        except queue.Empty:
            pass
        now = self.clock.monotonic()
        if now - self._turned_at >= TURN_SECONDS:
            self._turned_at = now
            self._regularly()

    def _regularly(self) -> None:
        if self._systemd.watchdog_seconds is not None:
            self._systemd.tell("WATCHDOG=1")
        offset = self._clock_offset()
        if abs(offset - self._offset) > JUMP_SECONDS:
            _log.info("the clock was set by %+.0f s", offset - self._offset)
            self._offset = offset
            self.dispatcher.mind_the_clock(self.clock.now())
            self._clockwork.wake()
        if self._stopping_since is None:
            if self._watched.changed():
                self.reload()
            self._advance()
            if self._digest.is_due(self.clock.now()):
                send_in_background(self.configuration, self.state.history_file, self.clock)
        else:
            self._mind_the_drain()

    def _advance(self) -> None:
        self.dispatcher.advance(self.clock.now())
        self._flush()
        self._clockwork.arm(self.dispatcher.take_moved())

    def _flush(self) -> None:
        if not self.ledger.has_news:
            return
        trouble = self.ledger.flush()
        if trouble is not None and self._trouble is None:
            _log.error("%s; executions go on, and it is tried again", trouble)
        self._trouble = trouble
        self.publisher.poke()

    def _finished(self) -> bool:
        return self._stopping_since is not None and not self.live

    def _mind_the_drain(self) -> None:
        assert self._stopping_since is not None
        elapsed = self.clock.monotonic() - self._stopping_since - self._drain_seconds
        if elapsed > KILL_AFTER_SECONDS:
            for number in self.live:
                self._launcher.kill(number)
        elif elapsed > UNDO_AFTER_SECONDS:
            self._stop_running(2)
        elif elapsed >= 0:
            self._stop_running(1)

    def _stop_running(self, level: int) -> None:
        if level <= self._stop_level:
            return
        self._stop_level = level
        for live in self.live.values():
            if live.execution_id is not None:
                self._tell(live.execution_id, level, STOPPING)

    @property
    def _drain_seconds(self) -> float:
        return self.configuration.service.drain_seconds

    # -- executions ----------------------------------------------------------------------------------------

    def _begin(self, waiting: Waiting) -> None:
        """Start a process; called by the dispatcher."""
        task = self.configuration.tasks[waiting.task]
        limit = self._bandwidths.pop(waiting.number, None)
        if limit is not None:
            window = BandwidthWindow(limit_bytes_per_second=limit or None)
            task = msgspec.structs.replace(
                task, options=msgspec.structs.replace(task.options, bandwidth=(window,))
            )
        order = Order(
            configuration=msgspec.structs.replace(
                self.configuration,
                tasks={task.name: task},
                locations={one.name: one for one in (task.source, task.destination)},
                files=(),
            ),
            task=task.name,
            trigger=waiting.trigger,
            accept=waiting.accept,
            slot=iso_utc(waiting.slots[-1]) if waiting.slots else None,
            log_level=self._log[0],
            log_format=self._log[1],
        )
        live = self.live.setdefault(waiting.number, Live(followers=[]))
        _log.info("task %s starts (%s)", task.name, waiting.trigger.value, extra={"task": task.name})
        # What is promised has to stand on the disk before it is begun.
        self._flush()
        try:
            self._launcher.start(waiting.number, order)
        except OSError as error:
            _log.error("task %s cannot be started: %s", task.name, error, extra={"task": task.name})
            live.ending = None
            self.put(lambda: self._gone(waiting.number, 1))

    def _said(self, number: int, said: Said) -> None:
        live = self.live.get(number)
        if live is None:
            return
        if said.execution_id is not None and live.execution_id is None:
            live.execution_id = said.execution_id
            self.dispatcher.started(number, said.execution_id, self.clock.now())
            self._flush()
            self.publisher.poke()
            if self._stop_level:
                self._tell(said.execution_id, self._stop_level, STOPPING)
        if said.progress is not None:
            live.progress = said.progress
        if said.phase is not None and said.phase is not live.phase:
            live.phase, live.progress = said.phase, said.progress
        if said.message is not None and said.message[0] == "warning":
            task = self.dispatcher.running[number].waiting.task
            _log.warning(
                "task %s: %s", task, said.message[1], extra={"task": task, "execution": live.execution_id}
            )
        if said.ended is not None:
            live.ending = said
        for reply in live.followers:
            reply(said)

    def _gone(self, number: int, returncode: int) -> None:
        live = self.live.pop(number)
        ending = None if live.ending is None else live.ending.ended
        success = ending is not None and ending.status is Phase.SUCCESS
        reported = ending is not None and ending.reported
        running = self.dispatcher.ended(number, self.clock.now(), success=success, reported=reported)
        task = running.waiting.task
        extra = {"task": task, "execution": live.execution_id}
        if ending is None:
            _log.error("task %s: its process ended without a word (code %d)", task, returncode, extra=extra)
        elif success:
            _log.info("task %s: %s", task, ending.summary, extra=extra)
        else:
            _log.error("task %s: %s (code %d)", task, ending.summary, ending.exit_code, extra=extra)
        self.publisher.poke()
        self._metrics_file.poke()
        for reply in live.followers:
            if ending is None:
                reply(Refused(f"its process ended without a word (code {returncode})", "internal"))
            reply(None)
        self._advance()

    def _tell(self, execution_id: str, level: int, reason: str) -> None:
        folder = self.state.execution_folder(execution_id)
        wanted = read_wanted(folder)
        try:
            write_wanted(
                folder,
                msgspec.structs.replace(wanted, stop=max(level, wanted.stop), reason=wanted.reason or reason),
            )
        except OSError as error:
            _log.error("execution %s cannot be told to stop: %s", execution_id, error)

    # -- requests ------------------------------------------------------------------------------------------

    def _answer(self, request: Request, reply: Reply) -> None:
        answer: object | None
        match request.verb:
            case "status":
                answer = self.status()
            case "run":
                answer = self._run_request(request, reply)
            case "cancel":
                answer = self._cancel(request)
            case "reload":
                self.reload()
                error = self.configuration_error
                answer = Done("reloaded") if error is None else Refused(error, "configuration")
            case "wake":
                self._advance()
                answer = Done("awake")
            case _:
                answer = Refused(f"the service does not know the request {request.verb!r}")
        if answer is not None:
            reply(answer)
            reply(None)

    def _run_request(self, request: Request, reply: Reply) -> object | None:
        if self._stopping_since is not None:
            return Refused("the service is being stopped")
        if request.configuration_file not in (None, self.configuration.file):
            return Refused(f"the service works with {self.configuration.file}", ELSEWHERE)
        if self._watched.changed_at_once():
            self.reload()
        if request.task not in self.configuration.tasks:
            return Refused(f"the service does not know task {request.task!r}")
        number = self.dispatcher.next_number
        if request.bandwidth_bytes_per_second is not None:
            self._bandwidths[number] = request.bandwidth_bytes_per_second
        self.live[number] = Live(followers=[reply] if request.follow else [])
        waiting = self.dispatcher.request(request.task, self.clock.now(), request.accept)
        if isinstance(waiting, str):
            del self.live[number]
            self._bandwidths.pop(number, None)
            return Refused(waiting, "lock_held")
        blocked = self.dispatcher.blocked.get(number)
        self._flush()
        answer = Accepted(number, None if blocked is None else blocked.reason)
        if not request.follow:
            return answer
        reply(answer)
        return None

    def _cancel(self, request: Request) -> object:
        task = request.task or ""
        count = 0
        for one in [one for one in self.dispatcher.waiting if one.task == task]:
            for reply in self.live.pop(one.number, Live()).followers:
                reply(Refused("cancelled while it waited", "interrupted"))
                reply(None)
        count += self.dispatcher.withdraw(task, self.clock.now())
        for number, running in self.dispatcher.running.items():
            live = self.live.get(number)
            if running.waiting.task == task and live is not None and live.execution_id is not None:
                self._tell(live.execution_id, 2 if request.now else 1, "cancelled by a user")
                count += 1
        self._advance()
        return Done("cancelled", count)

    # -- parts ---------------------------------------------------------------------------------------------

    def _take_over(self, configuration: Configuration) -> None:
        if configuration.state_directory != self.configuration.state_directory:
            self.configuration_error = "settings.state cannot change while the service runs: restart it"
            _log.error("%s", self.configuration_error)
            return
        self.configuration_error = None
        self.configuration = configuration
        self.loaded_at = self.clock.now()
        self._watched = Watched(configuration.files)
        self.dispatcher.configure(configuration.tasks, configuration.service.executions, self.clock.now())
        self.publisher.configure(configuration)
        self._metrics_file.poke()
        self._digest = DigestClock(configuration, self.clock.now())
        self._advance()
        _log.info("the configuration was loaded anew: %s", self._in_short())

    def _why(self, one: Waiting) -> str:
        blocked = self.dispatcher.blocked.get(one.number)
        return "it is about to start" if blocked is None else blocked.reason

    def _rest_of(self, task: str) -> Rest | None:
        return read_standing(self.state, task).rest

    def _demands_of(self, task: Task) -> Demands:
        driver = self._registry.driver(task.destination.type)
        return Demands(
            destination=destination_key(task, driver),
            locations=tuple((one.name, one.max_executions) for one in (task.source, task.destination)),
            priority=task.automation.priority,
            queueing=task.automation.queueing,
        )

    def _clock_offset(self) -> float:
        return self.clock.now().timestamp() - self.clock.monotonic()

    def _in_short(self) -> str:
        tasks = self.configuration.tasks
        following: datetime | None = self.dispatcher.next_due()
        ahead = "nothing is scheduled" if following is None else f"next at {iso_utc(following)}"
        return f"{len(tasks)} tasks, {ahead}"
