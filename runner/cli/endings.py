"""How a command ends: every exception becomes an exit code, a message with its remedy, and a JSON value."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

import msgspec

from runner import __version__
from runner.cli.text import Page, Style, counted, safe_lines
from runner.errors import ConfigurationError, EntryError, ExitCode, RunnerError

REPORT_ADDRESS = "the project's issue tracker"

GRAVEST_FIRST = (
    ExitCode.INTERNAL,
    ExitCode.INTERRUPTED,
    ExitCode.USAGE,
    ExitCode.LOCATION_UNAVAILABLE,
    ExitCode.LOCK_HELD,
    ExitCode.GUARD_REFUSED,
    ExitCode.ACTIONS_FAILED,
    ExitCode.VERIFICATION_FAILED,
    ExitCode.OVERDUE,
    ExitCode.DIFFERENCES,
    ExitCode.DONE,
)
"""Exit codes of several executions: what keeps most from being done comes first."""


def gravest(codes: Iterable[int]) -> int:
    """The exit code that stands for several; 0 for none."""
    return min(codes, key=lambda code: GRAVEST_FIRST.index(ExitCode(code)), default=0)


class ErrorDescription(msgspec.Struct, frozen=True):
    """An error as --json prints it, under the key `error`."""

    code: str
    message: str
    remedy: str | None
    exit_code: int


class ErrorLine(msgspec.Struct, frozen=True):
    """The JSON object that stands where a result would have been."""

    error: ErrorDescription


class DiagnosticDescription(msgspec.Struct, frozen=True):
    """A fault in a configuration, as validate --json prints it. Lines and columns count from 1."""

    file: str
    line: int
    column: int
    message: str
    expected: str | None
    suggestion: str | None
    pointer: str


def exit_code_of(error: BaseException) -> ExitCode:
    """The exit code of any exception: our own say it themselves, Ctrl-C is 130, the rest are defects."""
    if isinstance(error, RunnerError):
        return error.exit_code
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    return ExitCode.INTERNAL


def error_line(error: BaseException, crash_file: str | None = None) -> ErrorLine:
    """The error as a JSON value. `crash_file` is where a defect's traceback was written."""
    code = exit_code_of(error)
    if isinstance(error, RunnerError):
        name = error.entry_code.value if isinstance(error, EntryError) else error.code
        return ErrorLine(ErrorDescription(name, error.message, remedy_of(error), int(code)))
    if isinstance(error, KeyboardInterrupt):
        return ErrorLine(ErrorDescription("interrupted", "interrupted", None, int(code)))
    message = f"internal error: {_in_short(error)}"
    return ErrorLine(ErrorDescription("internal", message, _crash_remedy(crash_file), int(code)))


def error_text(error: BaseException, page: Page, crash_file: str | None = None) -> list[str]:
    """The error for people: what, where, and what to do next."""
    if isinstance(error, ConfigurationError):
        return _configuration_text(error, page)
    described = error_line(error, crash_file).error
    if isinstance(error, KeyboardInterrupt):
        return [page.paint("interrupted", Style.CHANGE)]
    first, *more = safe_lines(described.message)
    lines = [page.paint(f"error[{described.code}]:", Style.BAD, Style.HEADING) + f" {first}"]
    lines += [f"  {line}" for line in more]
    if described.remedy:
        first, *more = safe_lines(described.remedy)
        lines += [f"-> {first}", *(f"   {line}" for line in more)]
    return lines


def remedy_of(error: RunnerError) -> str | None:
    """What the user can do, from the error itself or from its code."""
    return error.remedy_text if isinstance(error, EntryError) else error.remedy


def diagnostics_of(error: ConfigurationError) -> list[DiagnosticDescription]:
    """The faults as JSON values, in file order."""
    return [
        DiagnosticDescription(
            file=fault.file,
            line=fault.line,
            column=fault.column,
            message=fault.message,
            expected=fault.expected,
            suggestion=fault.suggestion,
            pointer=fault.pointer,
        )
        for fault in error.diagnostics
    ]


def _configuration_text(error: ConfigurationError, page: Page) -> list[str]:
    lines = []
    for fault in error.diagnostics:
        first, *more = safe_lines(fault.render())
        lines += [page.paint(first, Style.HEADING), *more, ""]
    count = counted(len(error.diagnostics), "fault")
    return [*lines, page.paint("error[configuration]:", Style.BAD, Style.HEADING) + f" {count} found"]


def write_crash_file(error: BaseException, folder: str | None) -> str | None:
    """Write a defect's traceback to a new file (0600) in `folder`, or in the temporary folder.

    Returns its path; None when neither takes it. Holds no values of variables, only the code's lines.
    """
    # Imported here: every command imports this module, few end with a defect.
    import platform
    import tempfile
    import traceback

    text = (
        f"sync-runner {__version__}, Python {platform.python_version()}, {platform.platform()}\n\n"
        + "".join(traceback.format_exception(error))
    ).encode("utf-8", "backslashreplace")
    for candidate in (folder, tempfile.gettempdir()):
        if candidate is None or not os.path.isdir(candidate):
            continue
        try:
            descriptor, path = tempfile.mkstemp(prefix="sync-runner-crash-", suffix=".txt", dir=candidate)
            with open(descriptor, "wb") as stream:
                stream.write(text)
        except OSError:
            continue
        return path
    return None


def show_traceback(error: BaseException) -> list[str]:
    """The traceback for standard error, asked for with SYNC_RUNNER_DEBUG=1."""
    import traceback

    return safe_lines("".join(traceback.format_exception(error)).rstrip("\n"))


def _in_short(error: BaseException) -> str:
    text = str(error).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _crash_remedy(crash_file: str | None) -> str:
    if crash_file is None:
        return (
            "This is a defect of sync-runner. Run again with SYNC_RUNNER_DEBUG=1 and report what it shows "
            f"to {REPORT_ADDRESS}."
        )
    return (
        f"This is a defect of sync-runner. Please report it to {REPORT_ADDRESS} with this file: {crash_file}"
    )


def python_version() -> str:
    """The interpreter's version, for bug reports."""
    return ".".join(str(part) for part in sys.version_info[:3])
