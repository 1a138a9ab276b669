"""Schedules and simulations as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from runner.cli.text import Page, Style, cell_width, counted, padded, safe
from runner.cli.upcoming import FireTime, ScheduleState, TaskSchedule, briefly
from runner.scheduling.simulate import Fate, Fire, Simulation, load_of
from runner.units import format_duration, format_rate, format_size

_STATE_STYLES = {
    ScheduleState.PAUSED: Style.CHANGE,
    ScheduleState.STOPPED: Style.BAD,
    ScheduleState.DISABLED: Style.DIM,
    ScheduleState.NONE: Style.DIM,
    ScheduleState.ENDED: Style.DIM,
}
_FATE_STYLES = {Fate.RUNS: None, Fate.WAITS: Style.CHANGE, Fate.SKIPPED: Style.DIM}


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


def simulation_lines(simulation: Simulation, page: Page) -> Iterator[str]:
    """A line a fire time, oldest first, and what it all comes to."""
    widest = max((cell_width(safe(name)) for name in simulation.tasks), default=4)
    local = max((len(zoned(fire.local)) for fire in simulation.fires), default=0)
    if simulation.fires:
        yield page.paint(f"{'local':{local}}  {'UTC':16}  {padded('task', widest)}  what", Style.DIM)
    for fire in simulation.fires:
        style = _FATE_STYLES[fire.fate]
        told = page.paint(_told(fire), style) if style else _told(fire)
        note = "" if not fire.dst else "; " + page.paint(fire.dst, Style.CHANGE)
        times = f"{zoned(fire.local):{local}}  {fire.slot:%Y-%m-%d %H:%M}"
        yield f"{times}  {padded(safe(fire.task), widest)}  {told}{note}"
    yield from _summary(simulation, page)


def zoned(local: datetime) -> str:
    """A local time with its offset: Sun 2026-03-29 03:00 +02:00."""
    offset = local.strftime("%z")
    seconds = f":{local:%S}" if local.second else ""
    return f"{local:%a %Y-%m-%d %H:%M}{seconds} {offset[:3]}:{offset[3:5]}"


def utc(instant: datetime) -> str:
    """An instant to the minute: 2026-03-29 01:00 UTC."""
    seconds = f":{instant:%S}" if instant.second else ""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M}{seconds} UTC"


def _told(fire: Fire) -> str:
    words = []
    if fire.after is not None:
        words.append(f"after {safe(fire.after)}")
    if fire.fate is Fate.SKIPPED:
        words.append(f"skipped: {safe(fire.reason)}")
        return ", ".join(words)
    late = (fire.due - fire.slot).total_seconds()
    if late:
        words.append(f"{format_duration(late)} later")
    if fire.fate is Fate.WAITS:
        words.append(f"waits ~{_roughly(fire.wait_seconds)}: {safe(fire.reason)}")
    if fire.starts_at is not None and fire.ends_at is not None:
        words.append(f"takes ~{_roughly((fire.ends_at - fire.starts_at).total_seconds())}")
    if fire.size_bytes:
        words.append(f"moves ~{format_size(fire.size_bytes)}")
    if fire.limit_bytes_per_second is not None:
        words.append(f"at most {format_rate(fire.limit_bytes_per_second)}")
    return ", ".join(words) or "runs"


def _roughly(seconds: float) -> str:
    """An estimate for people: no seconds where there are minutes."""
    return briefly(round(seconds / 60) * 60 if seconds >= 90 else seconds)


def _summary(simulation: Simulation, page: Page) -> Iterator[str]:
    waits = [fire for fire in simulation.fires if fire.fate is Fate.WAITS]
    skipped, changes = simulation.count(Fate.SKIPPED), sum(1 for fire in simulation.fires if fire.dst_kind)
    if simulation.fires:
        yield ""
    words = [f"{simulation.count(Fate.RUNS):,} run at once"]
    if waits:
        longest = max(waits, key=lambda fire: fire.wait_seconds)
        waited = f"{_roughly(longest.wait_seconds)}, {safe(longest.task)} at {zoned(longest.local)}"
        words.append(f"{len(waits):,} wait (longest ~{waited})")
    else:
        words.append("none waits")
    words.append(f"{skipped:,} skipped")
    if changes:
        words.append(f"{changes:,} where clocks change")
    total = counted(len(simulation.fires), "fire time")
    yield (
        page.paint(f"{total} of {counted(len(simulation.tasks), 'task')}:", Style.HEADING)
        + f" {', '.join(words)}."
    )
    load = load_of(simulation.fires)
    if load:
        busiest = max(load, key=lambda step: step.executions)
        line = f"At most {busiest.executions} at once, first at {utc(busiest.at)}"
        fastest = max(load, key=lambda step: step.bytes_per_second)
        if fastest.bytes_per_second:
            line += f"; usually at most {format_rate(fastest.bytes_per_second)} together, first at {utc(fastest.at)}"
        yield line + "."
    if simulation.unknown:
        names = ", ".join(map(safe, simulation.unknown[:10])) + (
            ", ..." if len(simulation.unknown) > 10 else ""
        )
        yield f"How long these take is not known, so they hold up nobody here: {names}."
    if simulation.complete_until < simulation.end:
        yield f"Too many fire times: this ends at {utc(simulation.complete_until)}. Name tasks, or fewer --days."
