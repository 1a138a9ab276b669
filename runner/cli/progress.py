"""Progress while an execution runs: a live display on a terminal, plain lines elsewhere.

No thread is started: events drive the display, and worker processes are never forked from a process with a
refreshing thread in it.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING

from runner.cli.text import counted, number, safe, safe_lines, shortened
from runner.clock import Clock
from runner.model.entry import Phase
from runner.model.events import Ended, Event, Listed, Message, PhaseStarted, Planned, Progressed
from runner.units import format_duration, format_rate, format_size

if TYPE_CHECKING:
    from runner.cli.output import Output

PLAIN_INTERVAL_SECONDS = 10.0
RATE_WINDOW_SECONDS = 15.0
ETA_AFTER_SECONDS = 3.0
ACTION_WEIGHT_BYTES = 64 * 1024
"""A small file's cost beside its bytes, so that a tree of tiny files does not look finished too soon."""

PHASE_WORDS: dict[Phase, str] = {
    Phase.QUEUED: "waiting",
    Phase.LAUNCHING: "opening locations",
    Phase.PREPARING: "comparing",
    Phase.TRANSFERRING: "transferring",
    Phase.VERIFYING: "verifying",
}


class Tally:
    """What the events so far add up to. Pure but for the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._phase_started = clock.monotonic()
        self._samples: deque[tuple[float, int]] = deque()
        self.task = ""
        self.phase: Phase | None = None
        self.listed: Listed | None = None
        self.progressed: Progressed | None = None
        self.notice: str | None = None

    def take(self, event: Event) -> None:
        """Fold one event in."""
        if isinstance(event, PhaseStarted):
            self.task, self.phase = event.task, event.phase
            self.listed = self.progressed = None
            self._phase_started = self._clock.monotonic()
            self._samples.clear()
        elif isinstance(event, Listed):
            self.listed = event
        elif isinstance(event, Progressed):
            self.progressed = event
            now = self._clock.monotonic()
            self._samples.append((now, event.bytes_done))
            while len(self._samples) > 2 and now - self._samples[0][0] > RATE_WINDOW_SECONDS:
                self._samples.popleft()

    @property
    def bytes_per_second(self) -> float | None:
        """The rate over the last seconds; None while there is too little to tell."""
        if len(self._samples) < 2:
            return None
        (first_at, first_bytes), (last_at, last_bytes) = self._samples[0], self._samples[-1]
        if last_at - first_at < 0.5 or last_bytes <= first_bytes:
            return None
        return (last_bytes - first_bytes) / (last_at - first_at)

    @property
    def fraction(self) -> float:
        """How much of the phase is done, from 0 to 1, by bytes and by actions."""
        event = self.progressed
        if event is None:
            return 0.0
        total = event.bytes_total + ACTION_WEIGHT_BYTES * event.actions_total
        done = event.bytes_done + ACTION_WEIGHT_BYTES * event.actions_done
        return min(1.0, done / total) if total else 1.0

    @property
    def seconds_left(self) -> float | None:
        """An estimate; None until it would be worth something."""
        elapsed = self._clock.monotonic() - self._phase_started
        if elapsed < ETA_AFTER_SECONDS or not 0.01 <= self.fraction < 1.0:
            return None
        return elapsed * (1.0 - self.fraction) / self.fraction

    def figures(self) -> list[str]:
        """The phase in numbers: '120 of 4,000', '1.2 GiB of 3.1 GiB', rate, time left."""
        if self.progressed is None:
            return self._listing()
        event = self.progressed
        pieces = [f"{number(event.actions_done)} of {number(event.actions_total)}"]
        if event.bytes_total:
            pieces.append(f"{format_size(event.bytes_done)} of {format_size(event.bytes_total)}")
        if self.bytes_per_second is not None:
            pieces.append(format_rate(self.bytes_per_second))
        if self.seconds_left is not None:
            pieces.append(f"about {_roughly(self.seconds_left)} left")
        return pieces

    @property
    def failures(self) -> str:
        """'3 failed', or nothing."""
        failed = self.progressed.failed if self.progressed else 0
        return f"{number(failed)} failed" if failed else ""

    def _listing(self) -> list[str]:
        if self.listed is None:
            return []
        return [
            f"{counted(self.listed.source_entries, 'entry', 'entries')} at the source",
            f"{number(self.listed.destination_entries)} at the destination so far",
        ]


class Display:
    """Takes events and shows nothing but warnings: the display for --quiet, --json and --no-progress."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def __call__(self, event: Event) -> None:
        if isinstance(event, Message) and event.level == "warning":
            self._output.tell([f"warning: {line}" for line in safe_lines(event.text)])

    def notice(self, text: str) -> None:
        """Tell the user something from a signal handler: past all buffers, for it may interrupt anything."""
        write_unbuffered(self._output, f"\n{text}\n")

    def close(self) -> None:
        """Leave the terminal clean. Closing twice is harmless."""


class PlainDisplay(Display):
    """Lines for logs and pipes: one at each phase change, and at most one every ten seconds between."""

    def __init__(self, output: Output, clock: Clock) -> None:
        super().__init__(output)
        self._clock = clock
        self._tally = Tally(clock)
        self._last_line = clock.monotonic()

    def __call__(self, event: Event) -> None:
        self._tally.take(event)
        if isinstance(event, PhaseStarted):
            if event.phase in PHASE_WORDS:
                self._line(PHASE_WORDS[event.phase])
        elif isinstance(event, Planned) and self._tally.phase is not None:
            size = f", {format_size(event.size_bytes)}" if event.size_bytes else ""
            self._line(f"planned {counted(event.actions, 'action')}{size}")
        elif isinstance(event, Message):
            lead = "warning: " if event.level == "warning" else ""
            for line in safe_lines(event.text):
                self._line(lead + line)
        elif (
            not isinstance(event, Ended)
            and self._clock.monotonic() - self._last_line >= PLAIN_INTERVAL_SECONDS
        ):
            failures = [self._tally.failures] if self._tally.failures else []
            self._line(", ".join([self._percent(), *self._tally.figures(), *failures]))

    def _percent(self) -> str:
        word = PHASE_WORDS.get(self._tally.phase, "working") if self._tally.phase else "working"
        return word if self._tally.progressed is None else f"{word} {self._tally.fraction:.0%}"

    def _line(self, text: str) -> None:
        self._last_line = self._clock.monotonic()
        lead = f"{safe(self._tally.task)}: " if self._tally.task else ""
        self._output.tell([lead + text])


def _roughly(seconds: float) -> str:
    """An estimate without decimals: nobody should set a watch by it."""
    return f"{max(1, round(seconds))} s" if seconds < 59.5 else format_duration(seconds)


def open_display(output: Output, clock: Clock, *, wanted: bool) -> Display:
    """The display that fits where standard error goes."""
    if not wanted:
        return Display(output)
    if output.can_redraw:
        from runner.cli.live import LiveDisplay

        return LiveDisplay(output, clock)
    return PlainDisplay(output, clock)


def write_unbuffered(output: Output, text: str) -> None:
    """Write to standard error's descriptor at once: a signal handler must not enter a buffer in use."""
    try:
        os.write(output.stderr.fileno(), text.encode("utf-8", "backslashreplace"))
    except (OSError, ValueError):
        # A lost terminal must not keep a request to stop from being heard.
        return


def status_line(tally: Tally, width: int) -> str:
    """The current path in what room there is, or the notice that a signal left."""
    if tally.notice is not None:
        return shortened(tally.notice, width)
    path = tally.progressed.current_path if tally.progressed else None
    return shortened(safe(path), width) if path else ""
