"""schedule: what the clock will bring. list looks at each task alone; simulate is in command_simulate."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

import msgspec

from runner.cli.session import Session
from runner.cli.show_schedule import schedule_lines
from runner.cli.upcoming import TaskSchedule, upcoming
from runner.errors import ExitCode, UsageError
from runner.history.standing import read_standing
from runner.model.task import Task

SHOWN = 5


class ScheduleList(msgspec.Struct, frozen=True):
    """schedule list --json."""

    schedules: tuple[TaskSchedule, ...]


def schedule(session: Session, arguments: Namespace) -> int:
    """`schedule [list | simulate] [TASK...]`."""
    if (arguments.what or "list") == "list":
        for option in ("from", "days", "svg"):
            if getattr(arguments, option) is not None:
                raise UsageError(
                    f"option --{option} belongs to schedule simulate",
                    remedy=f"sync-runner schedule simulate{session.config_flag}",
                )
        return _list(session, arguments)
    from runner.cli.command_simulate import show_simulation

    return show_simulation(session, arguments, _chosen(session, arguments.task))


def _list(session: Session, arguments: Namespace) -> int:
    state = session.services.state(session.configuration())
    now = session.clock.now()
    schedules = tuple(
        upcoming(task, now, SHOWN, read_standing(state, task.name).rest, session.config_flag)
        for task in _chosen(session, arguments.task)
    )
    if session.output.json:
        session.output.value(ScheduleList(schedules))
    session.output.result(schedule_lines(schedules, session.page))
    return ExitCode.DONE


def _chosen(session: Session, names: Sequence[str]) -> list[Task]:
    """The tasks that are named, or all of them."""
    return session.tasks(names) if names else list(session.configuration().tasks.values())
