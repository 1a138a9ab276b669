"""Log lines on standard error: for people, or one JSON object a line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from runner.cli.text import safe_lines
from runner.clock import iso_utc
from runner.model.wire import encode_line


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """A log record as --log-format json writes it. `time` is RFC 3339 UTC."""

    time: str
    level: str
    logger: str
    message: str
    task: str | None = None
    execution: str | None = None
    path: str | None = None
    exception: str | None = None


class _Handler(logging.Handler):
    def __init__(self, write: Callable[[Iterable[str]], None], *, as_json: bool) -> None:
        super().__init__()
        self._write = write
        self._as_json = as_json

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._write([_json(record)] if self._as_json else _human(record))
        except Exception:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Drop the line: a traceback in the middle of a display helps nobody."""


def configure_logging(write: Callable[[Iterable[str]], None], level: str, log_format: str) -> None:
    """Send the runner's log lines from `level` on to `write`. Replaces what an earlier call set up."""
    logger = logging.getLogger("runner")
    logger.handlers[:] = [_Handler(write, as_json=log_format == "json")]
    logger.setLevel(level.upper())
    logger.propagate = False
    plugins = logging.getLogger("runner_plugins")
    plugins.handlers[:] = logger.handlers
    plugins.setLevel(level.upper())
    plugins.propagate = False


def _human(record: logging.LogRecord) -> list[str]:
    # A person at a terminal reads the local time; JSON lines carry UTC.
    local = datetime.fromtimestamp(record.created, UTC).astimezone()
    first, *more = safe_lines(record.getMessage())
    lines = [
        f"{local:%H:%M:%S} {record.levelname.lower()} {record.name}: {first}",
        *(f"  {line}" for line in more),
    ]
    if record.exc_info and record.exc_info[1] is not None:
        lines.append(f"  {safe_lines(repr(record.exc_info[1]))[0]}")
    return lines


def _json(record: logging.LogRecord) -> str:
    line = LogLine(
        time=iso_utc(datetime.fromtimestamp(record.created, UTC)),
        level=record.levelname.lower(),
        logger=record.name,
        message=record.getMessage(),
        task=getattr(record, "task", None),
        execution=getattr(record, "execution", None),
        path=getattr(record, "path", None),
        exception=repr(record.exc_info[1]) if record.exc_info else None,
    )
    return encode_line(line).decode("utf-8")
