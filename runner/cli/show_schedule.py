"""Schedules as text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from runner.cli.text import Page, Style, cell_width, padded, safe
from runner.cli.upcoming import FireTime, ScheduleState, TaskSchedule, briefly
from runner.units import format_duration

_STATE_STYLES = {
    ScheduleState.PAUSED: Style.CHANGE,
    ScheduleState.STOPPED: Style.BAD,
    ScheduleState.DISABLED: Style.DIM,
    ScheduleState.NONE: Style.DIM,
    ScheduleState.ENDED: Style.DIM,
}


def schedule_lines(schedules: Sequence[TaskSchedule], page: Page) -> list[str]:
    """A block a task: how it is scheduled, what keeps it from running, its next fire times."""
    if not schedules:
        return ["No task is declared."]
    lines: list[str] = []
    for each in schedules:
        if lines:
            lines.append("")
        name = page.paint(safe(each.task), Style.HEADING)
        if each.state is ScheduleState.NONE:
            lines.append(f"{name}: {page.paint('no schedule', Style.DIM)}")
            continue
        words = [safe(each.schedule), *([each.timezone] if each.timezone else [])]
        if each.jitter_seconds:
            words.append(f"up to {briefly(each.jitter_seconds)} later")
        if each.catch_up:
            words.append("catches up")
        lines.append(f"{name}: {', '.join(words)}")
        style = _STATE_STYLES.get(each.state)
        if style is not None:
            lines.append("  " + page.paint(f"{each.state.value}: {safe(each.reason)}", style))
        if each.resume:
            lines.append(f"  To go on: {page.paint(each.resume, Style.COMMAND)}")
        lines += [f"  {fire_time_line(fire, page)}" for fire in each.next]
    return lines


def next_lines(schedules: Sequence[TaskSchedule], page: Page) -> list[str]:
    """For `validate`: the next fire times of tasks that have some; one line each, the task named once."""
    widest = max((cell_width(safe(each.task)) for each in schedules), default=0)
    lines = []
    for each in schedules:
        name = padded(safe(each.task), widest)
        if not each.next:
            what = safe(each.schedule) if each.state is ScheduleState.ACTIVE else safe(each.reason)
            lines.append(f"  next: {name}  {page.paint(what, Style.DIM)}")
        for fire in each.next:
            lines.append(f"  next: {name}  {fire_time_line(fire, page, each.timezone or '')}")
            name = " " * widest
    return lines


def fire_time_line(fire: FireTime, page: Page, zone: str = "") -> str:
    """'Sun 2026-03-29 03:00 +02:00 Europe/Berlin  2026-03-29 01:00 UTC  clocks skip ...'."""
    text = f"{zoned(fire.local)}{' ' if zone else ''}{safe(zone)}  {utc(fire.slot)}"
    late = (fire.starts_at - fire.slot).total_seconds()
    words = [fire.note] if fire.note else []
    words += [f"starts {format_duration(late)} later"] if late else []
    words += [f"skipped: {fire.skipped}"] if fire.skipped else []
    return text + ("  " + page.paint("; ".join(words), Style.CHANGE) if words else "")


def zoned(local: datetime) -> str:
    """A local time with its offset: Sun 2026-03-29 03:00 +02:00."""
    offset = local.strftime("%z")
    seconds = f":{local:%S}" if local.second else ""
    return f"{local:%a %Y-%m-%d %H:%M}{seconds} {offset[:3]}:{offset[3:5]}"


def utc(instant: datetime) -> str:
    """An instant to the minute: 2026-03-29 01:00 UTC."""
    seconds = f":{instant:%S}" if instant.second else ""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}{seconds} UTC"
