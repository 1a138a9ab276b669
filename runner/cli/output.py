"""The three streams of the process, written so that no name and no closed pipe can do harm."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import BinaryIO, TextIO

from runner.cli.text import Page
from runner.errors import UsageError
from runner.model.wire import encode_line

WIDEST = 120


class Output:
    """Where a command writes: `result` to stdout, `tell` to stderr, `value` as JSON to stdout.

    A reader that goes away (`sync-runner run | head`) stops nothing: later text is dropped.
    """

    def __init__(
        self,
        stdout: TextIO,
        stderr: TextIO,
        stdin: TextIO,
        environment: Mapping[str, str],
        *,
        json: bool = False,
        quiet: bool = False,
    ) -> None:
        self.stdout = stdout
        self.stderr = stderr
        self.json = json
        self.quiet = quiet
        self._stdin = stdin
        self._environment = environment
        self._stdout_closed = False
        self._stderr_closed = False
        self._diverted: Callable[[Iterable[str]], None] | None = None

    @property
    def standard_input(self) -> BinaryIO | None:
        """Standard input as bytes, for a manifest that a pipe delivers."""
        return getattr(self._stdin, "buffer", None)

    def page(self, stream: TextIO) -> Page:
        """How text on `stream` is laid out: the terminal's width there, 100 cells elsewhere."""
        if not is_terminal(stream):
            return Page(width=_columns(self._environment, 100), colour=False)
        width = _columns(self._environment, 0)
        if not width:
            import shutil

            width = shutil.get_terminal_size((100, 24)).columns
        return Page(width=min(width, WIDEST), colour=self._colour())

    def result(self, lines: Iterable[str]) -> None:
        """Print what was asked for. With --json nothing: stdout then holds only `value`s."""
        if not self.json:
            self.text("".join(line + "\n" for line in lines))

    def text(self, text: str) -> None:
        """Print text to stdout as it is."""
        self.raw(text.encode(self.stdout.encoding or "utf-8", "backslashreplace"))

    def value(self, value: object) -> None:
        """Print one JSON object on one line; UTF-8 whatever the locale says."""
        self.raw(encode_line(value) + b"\n")

    def raw(self, content: bytes) -> None:
        """Write bytes to stdout. Raises UsageError, once, when they cannot be kept: a full disk, say."""
        if self._stdout_closed:
            return
        try:
            self.stdout.flush()
            self.stdout.buffer.write(content)
            self.stdout.buffer.flush()
        except BrokenPipeError:
            self._stdout_closed = True
            silence(self.stdout)
        except OSError as error:
            self._stdout_closed = True
            silence(self.stdout)
            raise UsageError(f"standard output cannot be written: {error.strerror or error}") from error

    def tell(self, lines: Iterable[str]) -> None:
        """Print to stderr: errors, warnings, progress. Never fails: a lost terminal must not stop a run."""
        if self._stderr_closed:
            return
        if self._diverted is not None:
            self._diverted(lines)
            return
        text = "".join(line + "\n" for line in lines)
        try:
            self.stderr.write(
                text.encode(self.stderr.encoding or "utf-8", "backslashreplace").decode(
                    self.stderr.encoding or "utf-8"
                )
            )
            self.stderr.flush()
        except (OSError, ValueError):
            self._stderr_closed = True
            silence(self.stderr)

    def divert(self, printer: Callable[[Iterable[str]], None] | None) -> None:
        """Let `printer` show what `tell` is given while a live display owns the terminal; None ends that."""
        self._diverted = printer

    @property
    def can_redraw(self) -> bool:
        """True when standard error is a terminal whose cursor can be moved."""
        return is_terminal(self.stderr) and self._environment.get("TERM", "dumb") != "dumb"

    def _colour(self) -> bool:
        return not self._environment.get("NO_COLOR") and self._environment.get("TERM") != "dumb"


def is_terminal(stream: TextIO) -> bool:
    """True when a person looks at `stream`."""
    try:
        return stream.isatty()
    except ValueError:
        return False


def silence(stream: TextIO) -> None:
    """Point a stream whose reader is gone at /dev/null, so that the last flush does not complain."""
    try:
        descriptor = stream.fileno()
    except (OSError, ValueError):
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, descriptor)
    os.close(sink)


def _columns(environment: Mapping[str, str], otherwise: int) -> int:
    text = environment.get("COLUMNS", "")
    return int(text) if text.isascii() and text.isdigit() and int(text) >= 40 else otherwise
