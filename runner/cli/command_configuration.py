"""init, validate, schema, locations: the configuration before anything runs."""

from __future__ import annotations

import json
import os
import shlex
from argparse import Namespace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from runner.cli.endings import DiagnosticDescription, diagnostics_of, error_text
from runner.cli.session import DEFAULT_CONFIG, Session
from runner.cli.text import Style, counted, safe, wrapped
from runner.errors import ConfigurationError, ExitCode, UsageError

if TYPE_CHECKING:
    from runner.cli.upcoming import TaskSchedule
    from runner.model.task import Configuration, Task

SHOWN_VERBOSE = 5


class TaskLosses(msgspec.Struct, frozen=True):
    """What a task asks for that its pair of locations cannot carry, one sentence each."""

    task: str
    losses: tuple[str, ...]


class Validity(msgspec.Struct, frozen=True):
    """validate --json. `losses` names only tasks that have some; `schedules` those that have one."""

    valid: bool
    file: str
    tasks: tuple[str, ...]
    locations: tuple[str, ...]
    losses: tuple[TaskLosses, ...]
    diagnostics: list[DiagnosticDescription]
    schedules: tuple[TaskSchedule, ...] = ()


def init(session: Session, arguments: Namespace) -> int:
    """`init [FILE]`: write the sample, never over another file."""
    path: str = arguments.file or session.flags.config or DEFAULT_CONFIG
    content = session.services.sample_configuration(session.registry())
    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(content)
    except FileExistsError as error:
        raise UsageError(
            f"{path} is already there; it was not touched",
            remedy="Write the sample elsewhere: sync-runner init FILE",
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    flag = "" if path == DEFAULT_CONFIG else f" -c {shlex.quote(safe(path))}"
    if session.output.json:
        session.output.value(Written(os.path.abspath(path)))
    session.output.result(
        [
            f"Wrote {safe(path)}. Now:",
            "  1. Open it and set the paths of your two locations.",
            f"  2. sync-runner validate{flag}",
            f"  3. sync-runner plan TASK{flag}   to see what a run would do; nothing is written",
            f"  4. sync-runner run TASK{flag}",
            "Editors complete and check it with: sync-runner schema > sync.schema.json",
        ]
    )
    return ExitCode.DONE


class Written(msgspec.Struct, frozen=True):
    """init --json: the absolute path of the new file."""

    written: str


def validate(session: Session, arguments: Namespace) -> int:
    """`validate`: every fault at once, or how much was declared."""
    try:
        configuration = session.configuration()
        check_message_templates(configuration)
    except ConfigurationError as error:
        if session.output.json:
            session.output.value(Validity(False, session.config_file, (), (), (), diagnostics_of(error)))
        session.output.tell(error_text(error, session.output.page(session.output.stderr)))
        return ExitCode.USAGE
    losses = tuple(
        each for each in map(partial(_losses, session), configuration.tasks.values()) if each.losses
    )
    schedules = _schedules(session, configuration, SHOWN_VERBOSE if arguments.verbose else 1)
    if session.output.json:
        session.output.value(
            Validity(
                valid=True,
                file=configuration.file,
                tasks=tuple(configuration.tasks),
                locations=tuple(configuration.locations),
                losses=losses,
                diagnostics=[],
                schedules=schedules,
            )
        )
    if session.output.quiet:
        return ExitCode.DONE
    tasks = counted(len(configuration.tasks), "task")
    locations = counted(len(configuration.locations), "location")
    verdict = session.page.paint("is valid", Style.GOOD)
    lines = [f"{safe(session.config_file)} {verdict}: {tasks}, {locations}."]
    for each in losses:
        for loss in each.losses:
            lines += wrapped(
                f"{safe(each.task)}: {safe(loss)}", session.page, first="  note: ", rest="        "
            )
    if schedules:
        from runner.cli.show_schedule import next_lines

        lines += next_lines(schedules, session.page)
    session.output.result(lines)
    return ExitCode.DONE


def check_message_templates(configuration: Configuration) -> None:
    """The message templates, where there are own ones. Raises ConfigurationError when one does not parse."""
    if configuration.notifications.templates is not None:
        from runner.alerts.messages import check_templates

        faults = check_templates(configuration.notifications.templates)
        if faults:
            raise ConfigurationError(faults)


def _schedules(session: Session, configuration: Configuration, count: int) -> tuple[TaskSchedule, ...]:
    """The scheduled tasks' next fire times. What rests is not looked up: this reads no state."""
    scheduled = [task for task in configuration.tasks.values() if task.schedule is not None]
    if not scheduled:
        return ()
    from runner.cli.upcoming import upcoming

    now = session.clock.now()
    return tuple(upcoming(task, now, count, None, session.config_flag) for task in scheduled)


def _losses(session: Session, task: Task) -> TaskLosses:
    from runner.locations.pair import losses

    source, destination = (
        session.registry().driver(settings.type).capabilities(settings)
        for settings in (task.source, task.destination)
    )
    return TaskLosses(task.name, losses(task.options, source, destination))


def schema(session: Session, arguments: Namespace) -> int:
    """`schema`: the composed JSON Schema, indented; with --json on one line."""
    composed = session.services.composed_schema(session.registry())
    if session.output.json:
        session.output.value(composed)
    else:
        session.output.text(json.dumps(composed, indent=2, ensure_ascii=False) + "\n")
    return ExitCode.DONE
