"""A simulation of schedules as text."""

from __future__ import annotations

from collections.abc import Iterator

from runner.cli.show_schedule import utc, zoned
from runner.cli.text import Page, Style, cell_width, counted, padded, safe
from runner.cli.upcoming import briefly
from runner.scheduling.simulate import Fate, Fire, Simulation, load_of
from runner.units import format_duration, format_rate, format_size

_FATE_STYLES = {Fate.RUNS: None, Fate.WAITS: Style.CHANGE, Fate.SKIPPED: Style.DIM}


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
