"""A simulation as a drawing: one SVG file that needs nothing else, for light and dark pages. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import msgspec

from runner.model.wire import terminal_safe
from runner.scheduling.simulate import Fate, Fire, Simulation, load_of
from runner.units import format_duration, format_rate

_LEFT, _PLOT, _RIGHT = 190, 1170, 24
_TOP, _ROW, _BAR, _STRIP = 92, 24, 12, 54
_LEAST_WIDTH, _CROSS = 2.0, 10.0
_LONGEST_NAME = 24
_TOLD_ONE_BY_ONE = 3000
"""With more marks than that, a task's marks are one path: a browser shows a year of 500 tasks, without tooltips."""
_DAY = timedelta(days=1)

_STYLE = """
svg{color-scheme:light dark;--page:#fff;--ink:#1f2328;--dim:#59636e;--line:#d8dee4;--band:#f3f5f7;--run:#0a6fb8;
--wait:#d4860b;--skip:#8c959f;--dst:#b3261e;--load:#7d8fa3}
@media (prefers-color-scheme:dark){svg{--page:#0f1419;--ink:#e6edf3;--dim:#9aa5b1;--line:#2c343d;--band:#171d24;
--run:#4ba3e3;--wait:#e3a63a;--skip:#707b87;--dst:#ff7b72;--load:#5d7186}}
text{font:12px system-ui,sans-serif;fill:var(--ink)}
.title{font-size:17px;font-weight:600}.dim{fill:var(--dim)}.small{font-size:11px}
.page{fill:var(--page)}.band{fill:var(--band)}.line{stroke:var(--line)}.edge{stroke:var(--dim)}
.run{fill:var(--run)}.wait{fill:var(--wait)}.skip{fill:none;stroke:var(--skip);stroke-width:1.4}.ticks{fill:var(--skip)}.dst{fill:var(--dst)}
.load{fill:var(--load);opacity:.75}.limit{stroke:var(--dst);stroke-dasharray:5 4}
"""


class _Scale(msgspec.Struct, frozen=True):
    """Instants -> pixels."""

    start: datetime
    end: datetime

    def x(self, instant: datetime) -> float:
        share = (instant - self.start) / (self.end - self.start)
        return _LEFT + min(max(share, 0.0), 1.0) * _PLOT


def draw_timeline(simulation: Simulation, zone: ZoneInfo, executions: int) -> str:
    """The simulation as SVG: a row a task, days by the clock of `zone`, below it how many run at once.

    `executions` is how many may. Tooltips tell each mark when there are not too many of them.
    """
    scale = _Scale(simulation.start, simulation.end)
    rows: dict[str, list[Fire]] = {name: [] for name in simulation.tasks}
    for fire in simulation.fires:
        rows[fire.task].append(fire)
    bottom = _TOP + _ROW * len(rows)
    load = load_of(simulation.fires)
    at_once = [(step.at, float(step.executions)) for step in load]
    strips: list[tuple[str, list[tuple[datetime, float]], int | None]]
    strips = [(f"at once, of {executions}", at_once, executions)]
    moving = [(step.at, step.bytes_per_second) for step in load]
    peak = max((rate for _, rate in moving), default=0.0)
    if peak > 0:
        strips.append((f"usual rate, peak {format_rate(peak)}", moving, None))
    width, height = _LEFT + _PLOT + _RIGHT, bottom + (_STRIP + 16) * len(strips) + 46
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{_text(_title(simulation, zone))}"><style>{_STYLE}</style>',
        f'<rect class="page" width="{width}" height="{height}"/>',
        f'<text class="title" x="16" y="28">{_text(_title(simulation, zone))}</text>',
        *_legend(simulation),
        *_grid(scale, zone, bottom),
    ]
    one_by_one = len(simulation.fires) <= _TOLD_ONE_BY_ONE
    for number, (name, fires) in enumerate(rows.items()):
        y = _TOP + _ROW * number
        label = _shortened(terminal_safe(name))
        parts.append(
            f'<line class="line" x1="{_LEFT}" x2="{_LEFT + _PLOT}" y1="{y + _ROW}" y2="{y + _ROW}"/>'
            f'<text x="{_LEFT - 10}" y="{y + 16}" text-anchor="end">{_text(label)}'
            f"<title>{_text(terminal_safe(name))}</title></text>"
        )
        parts += _marks(fires, scale, y + (_ROW - _BAR) // 2, one_by_one)
    for number, (label, steps, limit) in enumerate(strips):
        parts += _strip(label, steps, limit, scale, bottom + 16 + (_STRIP + 16) * number)
    parts.append(
        f'<text class="dim small" x="16" y="{height - 14}">{_text(_footnote(simulation))}</text></svg>'
    )
    return "\n".join(parts) + "\n"


def _title(simulation: Simulation, zone: ZoneInfo) -> str:
    start, end = (instant.astimezone(zone) for instant in (simulation.start, simulation.end))
    return f"Schedules, {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} ({zone.key})"


def _footnote(simulation: Simulation) -> str:
    words = ["Executions take as long as they usually did."]
    if simulation.unknown:
        words.append(
            f"Unknown for {len(simulation.unknown)} of {len(simulation.tasks)} tasks: drawn as instants."
        )
    if simulation.complete_until < simulation.end:
        words.append(f"Ends early, at {simulation.complete_until:%Y-%m-%d %H:%M} UTC: too many fire times.")
    return " ".join(words)


def _legend(simulation: Simulation) -> Iterator[str]:
    changes = sum(1 for fire in simulation.fires if fire.dst_kind is not None)
    waits, skipped = simulation.count(Fate.WAITS), simulation.count(Fate.SKIPPED)
    entries = (
        (
            f"runs ({len(simulation.fires) - skipped:,})",
            '<rect class="run" x="{x}" y="43" width="16" height="11"/>',
        ),
        (f"waits first ({waits:,})", '<rect class="wait" x="{x}" y="43" width="16" height="11"/>'),
        (f"skipped ({skipped:,})", '<path class="skip" d="M{x} 44l10 9m0 -9l-10 9"/>'),
        (f"clocks change ({changes:,})", '<path class="dst" d="M{x} 44h12l-6 9z"/>'),
    )
    x = 16
    for words, shape in entries:
        yield shape.format(x=x) + f'<text class="dim" x="{x + 22}" y="53">{words}</text>'
        x += 46 + 7 * len(words)


def _grid(scale: _Scale, zone: ZoneInfo, bottom: int) -> Iterator[str]:
    """Weekends as bands, and lines with dates: so many that their words do not touch."""
    days = list(_days(scale, zone))
    every = next(step for step in (1, 2, 7, 14, 28, 91, 10**6) if _PLOT / max(len(days), 1) * step >= 62)
    if len(days) > 120:
        # In a year weekends are noise, and months are what people look for.
        named = [
            (at, local.strftime("%b %Y" if local.month == 1 else "%b"))
            for at, local in days
            if local.day == 1
        ]
    else:
        for at, local in days:
            if local.weekday() >= 5:
                left, right = scale.x(at), scale.x(at + _DAY)
                yield f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{bottom - _TOP}"/>'
        named = [(at, local.strftime("%a %d %b")) for at, local in days[::every]]
    for at, words in named:
        x = scale.x(at)
        yield f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP - 6}" y2="{bottom}"/>'
        if x < _LEFT + _PLOT - 40:
            yield f'<text class="dim small" x="{x + 3:.1f}" y="{_TOP - 10}">{words}</text>'
    yield f'<line class="edge" x1="{_LEFT}" x2="{_LEFT + _PLOT}" y1="{_TOP}" y2="{_TOP}"/>'


def _days(scale: _Scale, zone: ZoneInfo) -> Iterator[tuple[datetime, datetime]]:
    """(instant, local midnight) of each day that begins in the drawing."""
    local = scale.start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0)
    while True:
        instant = local.astimezone(scale.start.tzinfo)
        if instant >= scale.end:
            return
        if instant >= scale.start:
            yield instant, local
        local += _DAY


def _marks(fires: Sequence[Fire], scale: _Scale, y: int, one_by_one: bool) -> Iterator[str]:
    shapes: dict[str, list[tuple[float, float, Fire]]] = {"wait": [], "run": [], "skip": [], "dst": []}
    for fire in fires:
        due = scale.x(fire.due)
        if fire.starts_at is None:
            shapes["skip"].append((due, 0.0, fire))
        else:
            left = scale.x(fire.starts_at)
            if fire.fate is Fate.WAITS:
                shapes["wait"].append((due, left - due, fire))
            shapes["run"].append((left, scale.x(fire.ends_at or fire.starts_at) - left, fire))
        if fire.dst_kind is not None:
            shapes["dst"].append((due, 0.0, fire))
    skips = [left for left, _, _ in shapes["skip"]]
    if any(right - left < _CROSS for left, right in pairwise(skips)):
        shapes = {"ticks" if kind == "skip" else kind: found for kind, found in shapes.items()}
    for kind, found in shapes.items():
        if one_by_one:
            for left, width, fire in found:
                yield f'<path class="{kind}" d="{_shape(kind, left, width, y)}"><title>{_text(_told(fire))}</title></path>'
        elif found:
            paths = "".join(_shape(kind, left, width, y) for left, width in _merged(found))
            yield f'<path class="{kind}" d="{paths}"/>'


def _merged(found: Sequence[tuple[float, float, Fire]]) -> Iterator[tuple[float, float]]:
    """Marks that nobody could tell apart are one."""
    left, right = found[0][0], found[0][0] + found[0][1]
    for start, width, _ in found[1:]:
        if start > right + 1.0:
            yield left, right - left
            left, right = start, start + width
        right = max(right, start + width)
    yield left, right - left


def _shape(kind: str, left: float, width: float, y: int) -> str:
    if kind == "skip":
        return f"M{left - 4:.1f} {y + 2}l8 8m0 -8l-8 8"
    if kind == "ticks":
        return f"M{left:.1f} {y + _BAR + 1}h{max(width, 1.0):.1f}v4h-{max(width, 1.0):.1f}z"
    if kind == "dst":
        return f"M{left - 5:.1f} {y - 6}h10l-5 7z"
    width = max(width, _LEAST_WIDTH)
    top, height = (y + _BAR // 2 - 2, 4) if kind == "wait" else (y, _BAR)
    return f"M{left:.1f} {top}h{width:.1f}v{height}h-{width:.1f}z"


def _strip(
    label: str, steps: Sequence[tuple[datetime, float]], limit: int | None, scale: _Scale, y: int
) -> Iterator[str]:
    """A step curve; of what falls into one pixel the highest is drawn."""
    most = max([value for _, value in steps] + [float(limit or 0)]) or 1.0
    columns = [0.0] * (_PLOT + 1)
    ends = [*(at for at, _ in steps[1:]), scale.end]
    for (at, value), end in zip(steps, ends, strict=False):
        if value:
            for column in range(int(scale.x(at) - _LEFT), int(scale.x(end) - _LEFT) + 1):
                columns[column] = max(columns[column], value)
    base = y + _STRIP
    path = [f"M{_LEFT} {base}"]
    before = 0.0
    for column, value in enumerate(columns):
        if value != before:
            path.append(f"H{_LEFT + column}V{base - value / most * _STRIP:.1f}")
            before = value
    yield f'<text class="dim small" x="{_LEFT - 10}" y="{base - 4}" text-anchor="end">{_text(label)}</text>'
    yield f'<path class="load" d="{"".join(path)}H{_LEFT + _PLOT}V{base}z"/>'
    yield f'<line class="edge" x1="{_LEFT}" x2="{_LEFT + _PLOT}" y1="{base}" y2="{base}"/>'
    if limit is not None:
        top = base - limit / most * _STRIP
        yield f'<line class="limit" x1="{_LEFT}" x2="{_LEFT + _PLOT}" y1="{top:.1f}" y2="{top:.1f}"/>'


def _told(fire: Fire) -> str:
    words = [f"{terminal_safe(fire.task)}: {fire.local:%a %Y-%m-%d %H:%M} ({fire.slot:%H:%M} UTC)"]
    if fire.after:
        words.append(f"after {terminal_safe(fire.after)}")
    if fire.fate is Fate.SKIPPED:
        words.append(f"skipped: {terminal_safe(fire.reason)}")
    elif fire.fate is Fate.WAITS:
        words.append(f"waits {format_duration(fire.wait_seconds)}: {terminal_safe(fire.reason)}")
    if fire.starts_at and fire.ends_at:
        words.append(f"takes {format_duration((fire.ends_at - fire.starts_at).total_seconds())}")
    if fire.limit_bytes_per_second is not None:
        words.append(f"at most {format_rate(fire.limit_bytes_per_second)}")
    return "\n".join([*words, *([fire.dst] if fire.dst else [])])


def _shortened(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    half = (_LONGEST_NAME - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _text(text: str) -> str:
    return html.escape(text)
