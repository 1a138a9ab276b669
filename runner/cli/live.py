"""The live display on a terminal: a bar with figures, the path at hand below it. Closed, it is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.text import Text

from runner.cli.progress import PHASE_WORDS, Display, Tally, status_line, write_unbuffered
from runner.cli.text import safe, safe_lines, shortened
from runner.clock import Clock
from runner.model.events import Event, Message, PhaseStarted

if TYPE_CHECKING:
    from runner.cli.output import Output

REFRESH_SECONDS = 0.1
BAR = "\u2501"
REST = "\u2500"
BAR_CELLS = 24


class LiveDisplay(Display):
    """Redraws on events, at most ten times a second. Not thread-safe beyond what one subscriber needs."""

    def __init__(self, output: Output, clock: Clock, console: Console | None = None) -> None:
        super().__init__(output)
        self._clock = clock
        self._tally = Tally(clock)
        self._drawn_at = float("-inf")
        self._console = console or Console(
            file=output.stderr,
            highlight=False,
            markup=False,
            emoji=False,
            no_color=not output.page(output.stderr).colour,
        )
        self._lost = False
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._guarded(self._live.start)
        output.divert(self._print_above)

    def __call__(self, event: Event) -> None:
        self._tally.take(event)
        if isinstance(event, Message):
            lead = "warning: " if event.level == "warning" else ""
            self._print_above([lead + line for line in safe_lines(event.text)])
        now = self._clock.monotonic()
        if isinstance(event, PhaseStarted) or now - self._drawn_at >= REFRESH_SECONDS:
            self._drawn_at = now
            self._guarded(lambda: self._live.update(self._drawing(), refresh=True))

    def notice(self, text: str) -> None:
        # Over the display's last line, without a line break: the next drawing starts from there and keeps it.
        self._tally.notice = text
        write_unbuffered(self._output, f"\r\x1b[2K{shortened(text, self._console.width - 1)}")

    def close(self) -> None:
        self._output.divert(None)
        self._guarded(self._live.stop)

    def _print_above(self, lines: Iterable[str]) -> None:
        for line in lines:
            self._guarded(partial(self._console.print, Text(line), soft_wrap=True))

    def _guarded(self, draw: Callable[[], None]) -> None:
        """A terminal that is gone must not stop the execution that is being shown."""
        if self._lost:
            return
        try:
            draw()
        except (OSError, ValueError):
            self._lost = True

    def _drawing(self) -> Text:
        """Two lines that fit the terminal: where room is short, the bar goes first, then the last figures."""
        tally = self._tally
        width = self._console.width - 1
        words = PHASE_WORDS.get(tally.phase, "working") if tally.phase else "starting"
        drawing = Text(no_wrap=True, overflow="crop")
        drawing.append(shortened(safe(tally.task), 30), style="bold")
        drawing.append(f" {words}", style="cyan")
        figures = tally.figures()
        while figures and drawing.cell_len + 8 + len("  ".join(figures)) > width:
            figures.pop()
        text = "  ".join(figures)
        if tally.progressed is not None:
            room = min(BAR_CELLS, width - drawing.cell_len - 8 - len(text))
            if room >= 4:
                filled = round(room * tally.fraction)
                drawing.append(" " + BAR * filled, style="cyan")
                drawing.append(REST * (room - filled), style="bright_black")
            drawing.append(f" {tally.fraction:4.0%}")
        drawing.append(f"  {text}\n  ")
        if tally.failures:
            drawing.append(f"{tally.failures}  ", style="red")
        room = width - 2 - (len(tally.failures) + 2 if tally.failures else 0)
        drawing.append(status_line(tally, room), style="yellow" if tally.notice else "bright_black")
        return drawing
