from __future__ import annotations

import io
import logging
import os
import re

import pytest
from cli_fakes import HOSTILE
from rich.console import Console

from runner.cli.live import LiveDisplay
from runner.cli.logs import configure_logging
from runner.cli.output import Output
from runner.cli.progress import Display, PlainDisplay, Tally, open_display
from runner.model.entry import Phase
from runner.model.events import Ended, Listed, Message, PhaseStarted, Planned, Progressed
from runner.testing.fake_clock import FakeClock

MIB = 1024**2


def output_to(stream) -> Output:
    return Output(io.StringIO(), stream, io.StringIO(), {})


def started(phase: Phase) -> PhaseStarted:
    return PhaseStarted("photos", "6741a2b30001", phase)


def progressed(done: int, failed: int = 0, path: str | None = None) -> Progressed:
    return Progressed(Phase.TRANSFERRING, done, 100, done * MIB, 100 * MIB, failed, path)


def test_plain_lines_at_each_phase_and_every_ten_seconds():
    stream, clock = io.StringIO(), FakeClock()
    display = PlainDisplay(output_to(stream), clock)
    display(started(Phase.LAUNCHING))
    display(started(Phase.PREPARING))
    for second in range(25):
        clock.advance(1)
        display(Listed(second * 1000, second * 500))
    display(Planned(100, 100 * MIB))
    display(started(Phase.TRANSFERRING))
    for second in range(1, 22):
        clock.advance(1)
        display(progressed(second * 2, failed=second // 20, path=HOSTILE))
    display(Message("warning", "slow \x1b[31mdisk"))
    display(started(Phase.VERIFYING))
    display(Ended("photos", "6741a2b30001", Phase.SUCCESS))

    assert stream.getvalue().splitlines() == [
        "photos: opening locations",
        "photos: comparing",
        "photos: comparing, 9,000 entries at the source, 4,500 at the destination so far",
        "photos: comparing, 19,000 entries at the source, 9,500 at the destination so far",
        "photos: planned 100 actions, 100.0 MiB",
        "photos: transferring",
        "photos: transferring 20%, 20 of 100, 20.0 MiB of 100.0 MiB, 2.0 MiB/s, about 40 s left",
        "photos: transferring 40%, 40 of 100, 40.0 MiB of 100.0 MiB, 2.0 MiB/s, about 30 s left, 1 failed",
        "photos: warning: slow \\x1b[31mdisk",
        "photos: verifying",
    ]


def test_estimates_wait_until_they_are_worth_something():
    clock = FakeClock()
    tally = Tally(clock)
    tally.take(started(Phase.TRANSFERRING))
    clock.advance(1)
    tally.take(progressed(1))

    assert (tally.seconds_left, tally.bytes_per_second) == (None, None)
    clock.advance(9)
    tally.take(progressed(50))
    assert tally.seconds_left == 10.0
    assert tally.bytes_per_second == pytest.approx(49 * MIB / 9)


def test_the_rate_is_that_of_the_last_seconds():
    clock = FakeClock()
    tally = Tally(clock)
    tally.take(started(Phase.TRANSFERRING))
    for done in [*range(60), *[60] * 30]:
        clock.advance(1)
        tally.take(progressed(done))

    assert tally.bytes_per_second is None


def test_small_files_count_beside_bytes():
    tally = Tally(FakeClock())
    tally.take(Progressed(Phase.TRANSFERRING, 1, 1000, 10 * MIB, 10 * MIB, 0))

    assert 0.1 < tally.fraction < 0.2


def test_no_work_is_all_done():
    tally = Tally(FakeClock())
    tally.take(Progressed(Phase.TRANSFERRING, 0, 0, 0, 0, 0))

    assert (tally.fraction, tally.seconds_left) == (1.0, None)


class Terminal(io.StringIO):
    def isatty(self):
        return True


def live(stream, clock, width=100):
    console = Console(file=stream, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    return LiveDisplay(output_to(stream), clock, console)


def test_live_display_shows_figures_and_the_path_and_leaves_nothing():
    stream, clock = Terminal(), FakeClock()
    display = live(stream, clock)
    display(started(Phase.TRANSFERRING))
    for second in range(1, 11):
        clock.advance(1)
        display(progressed(second * 2, failed=3, path=HOSTILE))
    drawn = stream.getvalue()
    display.close()

    assert "photos transferring" in drawn
    assert "20%" in drawn
    assert "20 of 100  20.0 MiB of 100.0 MiB  2.0 MiB/s" in drawn
    assert "evil\\x1b[31m\\nname\\xff[bold]\\u202e.txt" in drawn
    assert "\u202e" not in drawn
    ending = stream.getvalue()[len(drawn) :]
    assert ending.count("\x1b[2K") >= 2
    assert "\x1b[?25h" in ending


def test_live_display_redraws_at_most_ten_times_a_second():
    stream, clock = Terminal(), FakeClock()
    display = live(stream, clock)
    display(started(Phase.TRANSFERRING))
    for number in range(1000):
        clock.advance(0.001)
        display(progressed(number // 10))
    display.close()

    assert stream.getvalue().count("transferring") <= 12


def test_log_lines_stand_above_the_live_display():
    stream, clock = Terminal(), FakeClock()
    display = live(stream, clock)
    output = display._output
    display(started(Phase.TRANSFERRING))
    output.tell(["a log [bold]line"])
    display.close()
    output.tell(["after"])

    assert "a log [bold]line\n" in stream.getvalue()
    assert stream.getvalue().endswith("after\n")


class LostTerminal(Terminal):
    def write(self, text):
        raise OSError(5, "Input/output error")


def test_a_lost_terminal_stops_nothing():
    clock = FakeClock()
    display = live(LostTerminal(), clock)
    display(started(Phase.TRANSFERRING))
    display(Message("warning", "x"))
    display.close()


def test_a_notice_reaches_the_terminal_at_once_and_stays():
    reader, writer = os.pipe()
    with open(writer, "w", encoding="utf-8") as stream, open(reader, "rb") as received:
        console = Console(file=io.StringIO(), force_terminal=True, width=60)
        display = LiveDisplay(output_to(stream), FakeClock(), console)
        display(started(Phase.TRANSFERRING))
        display.notice("finishing the files in flight")
        assert os.read(received.fileno(), 100) == b"\r\x1b[2Kfinishing the files in flight"
        display(started(Phase.VERIFYING))
        display.close()

    assert "finishing the files in flight" in console.file.getvalue()


@pytest.mark.parametrize(
    ("wanted", "stream", "environment", "expected"),
    [
        (False, Terminal, {"TERM": "xterm"}, Display),
        (True, io.StringIO, {"TERM": "xterm"}, PlainDisplay),
        (True, Terminal, {"TERM": "dumb"}, PlainDisplay),
        (True, Terminal, {}, PlainDisplay),
        (True, Terminal, {"TERM": "xterm"}, LiveDisplay),
        (True, Terminal, {"TERM": "xterm", "NO_COLOR": "1"}, LiveDisplay),
    ],
)
def test_the_display_fits_where_it_goes(wanted, stream, environment, expected):
    output = Output(io.StringIO(), stream(), io.StringIO(), environment)
    display = open_display(output, FakeClock(), wanted=wanted)
    display.close()

    assert type(display) is expected


def test_the_silent_display_still_warns():
    stream = io.StringIO()
    display = Display(output_to(stream))
    display(started(Phase.PREPARING))
    display(Message("info", "x"))
    display(Message("warning", "careful"))

    assert stream.getvalue() == "warning: careful\n"


@pytest.fixture
def lines():
    written: list[str] = []
    yield written
    for name in ("runner", "runner_plugins"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.setLevel(logging.NOTSET)
        logger.propagate = True


def test_human_log_lines_are_safe_and_timed(lines):
    configure_logging(lines.extend, "info", "human")
    logging.getLogger("runner.transfer").info("copied %s", HOSTILE)
    logging.getLogger("runner.transfer").debug("hidden")

    assert len(lines) == 2
    assert re.fullmatch(r"\d\d:\d\d:\d\d info runner\.transfer: copied evil\\x1b\[31m", lines[0])
    assert lines[1] == "  name\\xff[bold]\\u202e.txt"


def test_json_log_lines_carry_their_context(lines):
    configure_logging(lines.extend, "debug", "json")
    logging.getLogger("runner.transfer").warning("odd", extra={"task": "photos", "path": HOSTILE})

    assert re.fullmatch(
        r'\{"time":"[^"]+Z","level":"warning","logger":"runner\.transfer","message":"odd","task":"photos",'
        r'"path":"[^"]+","path_b64":"[^"]+"\}',
        lines[0],
    )


def test_a_log_line_that_cannot_be_written_harms_nothing(lines):
    def broken(_):
        raise OSError

    configure_logging(broken, "info", "human")
    logging.getLogger("runner.transfer").info("x")
