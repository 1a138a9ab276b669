"""serve, and what tells a running service or execution something: cancel, pause, resume, bandwidth."""

from __future__ import annotations

import signal
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from runner.cli.session import Session
from runner.cli.text import counted, safe
from runner.clock import iso_utc
from runner.errors import ExitCode, UsageError
from runner.units import format_rate, parse_duration, parse_rate

if TYPE_CHECKING:
    from runner.history.started import Started
    from runner.model.task import Configuration
    from runner.service.loop import Service

TASKS_OWN = "default"


class Told(msgspec.Struct, frozen=True):
    """cancel and bandwidth --json: which executions were told, and how many left the queue."""

    executions: tuple[str, ...]
    withdrawn: int = 0


class Resting(msgspec.Struct, frozen=True):
    """pause and resume --json: the tasks whose schedule rests, or goes on."""

    tasks: tuple[str, ...]
    paused: bool
    until: datetime | None = None


def serve(session: Session, arguments: Namespace) -> int:
    """`serve`: until SIGTERM or Ctrl-C."""
    from runner.service.only_one import only_service

    configuration = _usable(session.configuration())
    state = session.services.state(configuration)
    state.prepare()
    with only_service(state):
        service = session.services.service(
            configuration,
            session.registry(),
            session.clock,
            session.environment,
            lambda: _usable(
                session.services.load_configuration(
                    session.config_file, session.registry(), session.environment
                )
            ),
            (session.flags.log_level, session.flags.log_format),
        )
        with _signals(service):
            service.run()
    return ExitCode.DONE


def _usable(configuration: Configuration) -> Configuration:
    """The configuration, when what only shows at the first alarm is there, too. Raises RunnerError."""
    from runner.cli.command_configuration import check_message_templates

    check_message_templates(configuration)
    if configuration.notifications.channels:
        from runner.alerts.notify import require_apprise

        require_apprise()
    return configuration


def cancel(session: Session, arguments: Namespace) -> int:
    """`cancel TASK`: out of the queue, and what runs is stopped."""
    task = session.task(arguments.task).name
    withdrawn = _ask_service(session, "cancel", task, now=arguments.now)
    told = []
    for started in _running(session, task):
        level = 2 if arguments.now else 1
        _tell(session, started, stop=level, reason="cancelled by a user")
        told.append(started.execution_id)
    waiting = max(0, withdrawn - len(told))
    if not told and not waiting:
        raise UsageError(
            f"no execution of task {task!r} runs or waits",
            remedy=f"See: sync-runner status{session.config_flag}",
        )
    if session.output.json:
        session.output.value(Told(tuple(told), waiting))
    lines = [f"Execution {one} is told to stop." for one in told]
    if waiting:
        lines.append(f"{counted(waiting, 'waiting execution')} left the queue.")
    session.output.result(lines)
    return ExitCode.DONE


def pause(session: Session, arguments: Namespace) -> int:
    """`pause TASK...`: the schedule rests; what is asked for by hand still runs."""
    from runner.history.standing import BY_USER, Rest, update_standing

    names = [session.task(name).name for name in arguments.task]
    now = session.clock.now()
    until = None
    if arguments.duration is not None:
        try:
            until = now + parse_duration(arguments.duration)
        except (ValueError, OverflowError) as error:
            raise UsageError(f"option --for: {error}") from error
    reason = f"paused by a user since {iso_utc(now)}" + (f": {arguments.reason}" if arguments.reason else "")
    state = session.services.state(session.configuration())
    state.prepare()
    for name in names:
        rest = Rest(BY_USER, now, reason, until)
        update_standing(state, name, lambda standing, rest=rest: msgspec.structs.replace(standing, rest=rest))  # type: ignore[misc]
    _ask_service(session, "wake")
    if session.output.json:
        session.output.value(Resting(tuple(names), True, until))
    ending = "" if until is None else f" until {iso_utc(until)}"
    session.output.result(
        [
            *(f"The schedule of {safe(name)} rests{ending}." for name in names),
            f"To go on: sync-runner resume {' '.join(map(safe, names))}{session.config_flag}",
        ]
    )
    return ExitCode.DONE


def resume(session: Session, arguments: Namespace) -> int:
    """`resume TASK...`: after pause, or after the service disabled it."""
    from runner.history.standing import update_standing

    names = [session.task(name).name for name in arguments.task]
    state = session.services.state(session.configuration())
    state.prepare()
    lines = []
    for name in names:
        before, _ = update_standing(
            state, name, lambda standing: msgspec.structs.replace(standing, rest=None, same_error_in_a_row=0)
        )
        lines.append(
            f"{safe(name)} goes on." if before.rest is not None else f"{safe(name)} was not resting."
        )
    _ask_service(session, "wake")
    if session.output.json:
        session.output.value(Resting(tuple(names), False))
    session.output.result(lines)
    return ExitCode.DONE


def unlock(session: Session, arguments: Namespace) -> int:
    """`unlock TASK`: give up the lock of an execution that nobody can prove to be gone."""
    from runner.execution.locking import destination_key
    from runner.history.lock import break_lock

    task = session.task(arguments.task)
    state = session.services.state(session.configuration())
    key = destination_key(task, session.registry().driver(task.destination.type))
    owner = break_lock(state.locks_folder, key)
    if session.output.json:
        session.output.value({"owner": owner})
    if owner is None:
        session.output.result([f"The destination of {safe(task.name)} is not locked."])
    else:
        session.output.result(
            [
                f"The lock of execution {safe(owner.execution_id)} (task {safe(owner.task)}, process {owner.pid} on "
                f"{safe(owner.host)}) is given up."
            ]
        )
    return ExitCode.DONE


def bandwidth(session: Session, arguments: Namespace) -> int:
    """`bandwidth TASK LIMIT`: another limit for the executions of a task that run now."""
    task = session.task(arguments.task).name
    limit = parse_limit(arguments.limit)
    told = []
    for started in _running(session, task):
        _tell(session, started, bandwidth_bytes_per_second=limit)
        told.append(started.execution_id)
    if not told:
        raise UsageError(
            f"no execution of task {task!r} is running",
            remedy="For later executions, change options.bandwidth of the task in the configuration.",
        )
    if session.output.json:
        session.output.value(Told(tuple(told)))
    words = "the task's own limit" if limit is None else format_rate(limit or None)
    session.output.result([f"Execution {one}: {words}." for one in told])
    return ExitCode.DONE


def parse_limit(text: str) -> int | None:
    """`20MiB/s` -> bytes per second; unlimited -> 0; default (the task's own) -> None. Raises UsageError."""
    if text == TASKS_OWN:
        return None
    try:
        return parse_rate(text) or 0
    except ValueError as error:
        raise UsageError(str(error), remedy=f"Or write {TASKS_OWN}: the task's own limit.") from error


def _running(session: Session, task: str) -> Iterator[Started]:
    from runner.history.running import running

    return running(session.services.state(session.configuration()), task)


def _tell(session: Session, started: Started, **wanted: object) -> None:
    from runner.execution.control import read_wanted, write_wanted

    folder = session.services.state(session.configuration()).execution_folder(started.execution_id)
    try:
        write_wanted(folder, msgspec.structs.replace(read_wanted(folder), **wanted))
    except OSError as error:
        raise UsageError(
            f"execution {started.execution_id} cannot be told: {error.strerror or error}",
            remedy="Ask as the user that runs it.",
        ) from error


def _ask_service(session: Session, verb: str, task: str | None = None, *, now: bool = False) -> int:
    """Tell the service, where one runs; how much it did."""
    from runner.service.door import Client, Request

    client = Client.connect(session.services.state(session.configuration()).service_socket)
    if client is None:
        return 0
    try:
        return sum(int(answer.get("count", 0)) for answer in client.ask(Request(verb, task=task, now=now)))
    except OSError:
        return 0
    finally:
        client.close()


@contextmanager
def _signals(service: Service) -> Iterator[None]:
    """SIGTERM and Ctrl-C drain, again and again with less patience; SIGHUP loads the configuration anew."""
    calls: dict[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: service.stop,
        signal.SIGINT: service.stop,
        signal.SIGHUP: service.reload,
    }
    before = {
        number: signal.signal(number, lambda *_, call=call: service.put(call))
        for number, call in calls.items()
    }
    try:
        yield
    finally:
        for number, previous in before.items():
            signal.signal(number, previous if previous is not None else signal.SIG_DFL)
