"""The one error tree. Each class owns its code, its exit code and its disposition.

    RunnerError
    ├── UsageError                 2  a command line that makes no sense
    ├── ConfigurationError         2  sync.yaml (or what it includes) is wrong; carries Diagnostics
    ├── PlanFileError              2  a plan file that is damaged, foreign or made for another configuration
    ├── MissingExtraError          2  a package that an optional part needs is not installed
    ├── GuardRefusedError          6  a guard stopped the execution before its first write
    ├── LocationUnavailableError   7  a location cannot be opened at all
    ├── StateUnavailableError      7  a file that the runner itself keeps cannot be read or written
    ├── LockHeldError              8  another execution writes to the destination
    ├── HookFailedError            4  a program of hooks.before failed; nothing was listed or written
    ├── InterruptedByUserError   130  Ctrl-C
    └── EntryError                 4  one path could not be listed, read or written (see EntryCode)

Anything else that reaches the command line is a defect and ends with exit code 1.
Messages say what, where and what to do next.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec


class ExitCode(enum.IntEnum):
    """Every exit code of the command; docs/exit-codes.md is generated from here."""

    DONE = 0
    INTERNAL = 1
    USAGE = 2
    DIFFERENCES = 3
    ACTIONS_FAILED = 4
    VERIFICATION_FAILED = 5
    GUARD_REFUSED = 6
    LOCATION_UNAVAILABLE = 7
    LOCK_HELD = 8
    OVERDUE = 9
    INTERRUPTED = 130


EXIT_CODE_MEANINGS: dict[ExitCode, str] = {
    ExitCode.DONE: "In sync, or everything was done and checked.",
    ExitCode.INTERNAL: "Internal error: a defect of sync-runner. Please report it.",
    ExitCode.USAGE: "The command line, the configuration or a plan file is wrong. Nothing was written.",
    ExitCode.DIFFERENCES: "Differences were found (check, plan --detailed-exitcode). Nothing was written.",
    ExitCode.ACTIONS_FAILED: "Some actions failed or were stale, or something could not be listed; the rest was done.",
    ExitCode.VERIFICATION_FAILED: "The transfer ended, but verification found differences. "
    "Or a task's chain of reports is broken (report --verify-chain).",
    ExitCode.GUARD_REFUSED: "A guard refused before the first write. The message names the command that goes on.",
    ExitCode.LOCATION_UNAVAILABLE: "A location, the database of history or a file of the state folder cannot be used.",
    ExitCode.LOCK_HELD: "Another execution holds the destination's lock.",
    ExitCode.OVERDUE: "The last success of a task is older than its max_age allows (freshness).",
    ExitCode.INTERRUPTED: "Interrupted by the user; what was in flight was finished or undone.",
}


class Disposition(enum.Enum):
    """What the engine does about an error: try again, leave this path out, or stop the execution."""

    RETRY = "retry"
    SKIP = "skip"
    ABORT = "abort"


class EntryCode(enum.StrEnum):
    """Stable codes of problems with one path; docs/error-codes.md is generated from here."""

    NOT_FOUND = "not_found"
    PERMISSION_DENIED = "permission_denied"
    LOCKED = "locked"
    STALE = "stale"
    CHANGED_DURING_TRANSFER = "changed_during_transfer"
    CHECKSUM_FAILURE = "checksum_failure"
    NO_SPACE = "no_space"
    READ_ONLY = "read_only"
    NAME_NOT_ALLOWED = "name_not_allowed"
    KIND_CONFLICT = "kind_conflict"
    KIND_NOT_SUPPORTED = "kind_not_supported"
    LINK_ESCAPES = "link_escapes"
    LINK_BROKEN = "link_broken"
    LINK_LOOP = "link_loop"
    LINK_REFUSED = "link_refused"
    NOT_LISTED = "not_listed"
    ATTRIBUTES_REFUSED = "attributes_refused"
    IO_ERROR = "io_error"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    CANCELLED = "cancelled"
    HOOK_FAILED = "hook_failed"
    INTERNAL = "internal"


ENTRY_CODE_MEANINGS: dict[EntryCode, tuple[Disposition, str, str]] = {
    EntryCode.NOT_FOUND: (
        Disposition.SKIP,
        "The path vanished between listing and use.",
        "Nothing to do: the next run sees the present state.",
    ),
    EntryCode.PERMISSION_DENIED: (
        Disposition.SKIP,
        "The user the runner works as may not read, list or write this path.",
        "Give it the right (chmod, chown, ACL), or exclude the path, then run again.",
    ),
    EntryCode.LOCKED: (
        Disposition.SKIP,
        "Another program holds a mandatory lock or a lease on the file.",
        "Close that program, then run again.",
    ),
    EntryCode.STALE: (
        Disposition.SKIP,
        "The source or the destination is not in the state the plan was made for.",
        "Make a new plan.",
    ),
    EntryCode.CHANGED_DURING_TRANSFER: (
        Disposition.RETRY,
        "The source file changed while it was read, also on the last attempt; nothing was published.",
        "Run again when its writer has finished.",
    ),
    EntryCode.CHECKSUM_FAILURE: (
        Disposition.RETRY,
        "What was read back is not what was sent; nothing was published.",
        "Check the medium and the memory of both sides, then run again.",
    ),
    EntryCode.NO_SPACE: (
        Disposition.ABORT,
        "The destination has no space, no inodes or no quota left.",
        "Free space, then run again: what is done is not copied twice.",
    ),
    EntryCode.READ_ONLY: (
        Disposition.ABORT,
        "The destination's file system is mounted read-only.",
        "Mount it writable, then run again.",
    ),
    EntryCode.NAME_NOT_ALLOWED: (
        Disposition.SKIP,
        "The destination cannot hold an entry of this name.",
        "Rename it at the source, or exclude it.",
    ),
    EntryCode.KIND_CONFLICT: (
        Disposition.SKIP,
        "A folder stands where a file has to go (or the other way) and the options do not allow its removal.",
        "Set preserve_deleted_files to quarantine or remove, or move it away by hand.",
    ),
    EntryCode.KIND_NOT_SUPPORTED: (
        Disposition.SKIP,
        "The destination cannot hold entries of this kind.",
        "Exclude it, or choose another destination.",
    ),
    EntryCode.LINK_ESCAPES: (
        Disposition.SKIP,
        "With symlinks: follow, a link points outside the location's root.",
        "Use symlinks: preserve or skip, or exclude the link.",
    ),
    EntryCode.LINK_BROKEN: (
        Disposition.SKIP,
        "With symlinks: follow, a link points to nothing.",
        "Use symlinks: preserve or skip, or exclude the link.",
    ),
    EntryCode.LINK_LOOP: (
        Disposition.SKIP,
        "With symlinks: follow, a link leads back to one of its own parent folders.",
        "Use symlinks: preserve or skip, or exclude the link.",
    ),
    EntryCode.LINK_REFUSED: (
        Disposition.SKIP,
        "With symlinks: error, a symbolic link was found.",
        "Remove the link, exclude it, or choose another symlinks option.",
    ),
    EntryCode.NOT_LISTED: (
        Disposition.SKIP,
        "A folder could not be listed completely; all below it is unknown and nothing is deleted in this run.",
        "See the message for the cause, then run again.",
    ),
    EntryCode.ATTRIBUTES_REFUSED: (
        Disposition.SKIP,
        "The content arrived, but the destination refused some metadata.",
        "Run as a user who may set it, or switch that metadata off.",
    ),
    EntryCode.IO_ERROR: (
        Disposition.RETRY,
        "The storage answered with an input/output error.",
        "Check the medium and the system log, then run again.",
    ),
    EntryCode.TIMEOUT: (Disposition.RETRY, "The storage did not answer in time.", "Run again."),
    EntryCode.UNAVAILABLE: (
        Disposition.ABORT,
        "A location or the state folder stopped answering during the execution.",
        "Bring it back, then run again: what is done is not copied twice.",
    ),
    EntryCode.CANCELLED: (Disposition.SKIP, "The execution was cancelled before this action.", "Run again."),
    EntryCode.HOOK_FAILED: (
        Disposition.ABORT,
        "A program of the task's hooks.before failed, so nothing was listed or written.",
        "See hooks.log in the execution's folder, correct the program or the hook, then run again.",
    ),
    EntryCode.INTERNAL: (
        Disposition.SKIP,
        "A defect of sync-runner or of a driver, kept to this path.",
        "Please report it with the execution's report.",
    ),
}


class RunnerError(Exception):
    """Base of all errors that are shown to a person as `message`, then `remedy` on a line of its own."""

    code = "error"
    exit_code = ExitCode.INTERNAL

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    def __str__(self) -> str:
        return self.message if self.remedy is None else f"{self.message}\n{self.remedy}"


class UsageError(RunnerError):
    """The command line asks for something that does not exist or does not fit together."""

    code = "usage"
    exit_code = ExitCode.USAGE


class Diagnostic(msgspec.Struct, frozen=True):
    """One fault in a configuration file: where it stands, what is wrong, what was expected.

    Lines and columns count from 1. `excerpt` is the offending source line without its newline.
    """

    file: str
    line: int
    column: int
    message: str
    excerpt: str | None = None
    width: int = 1
    expected: str | None = None
    suggestion: str | None = None
    pointer: str = ""

    def render(self) -> str:
        """`file:line:column: message`, then the line with a caret under the fault, then what was expected."""
        lines = [f"{self.file}:{self.line}:{self.column}: {self.message}"]
        if self.excerpt is not None:
            number = str(self.line)
            caret = " " * (self.column - 1) + "^" * max(1, self.width)
            lines.append(f"  {number} | {self.excerpt}")
            lines.append(f"  {' ' * len(number)} | {caret}")
        if self.expected:
            lines.append(f"  expected: {self.expected}")
        if self.suggestion:
            lines.append(f"  {self.suggestion}")
        return "\n".join(lines)


class ConfigurationError(RunnerError):
    """sync.yaml is wrong. `diagnostics` holds every fault found, in file order."""

    code = "configuration"
    exit_code = ExitCode.USAGE

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__("\n".join(diagnostic.render() for diagnostic in self.diagnostics))


class PlanFileError(RunnerError):
    """A plan file that is damaged, of another version, or made for another configuration."""

    code = "plan_file"
    exit_code = ExitCode.USAGE


class MissingExtraError(RunnerError):
    """A package that an optional part needs is not installed; the remedy names the extra."""

    code = "missing_extra"
    exit_code = ExitCode.USAGE


class GuardRefusedError(RunnerError):
    """One or more guards refused before the first write; the remedy names the command that goes on.

    `guards` are the refusing guards' names, as `--accept` takes them.
    """

    code = "guard_refused"
    exit_code = ExitCode.GUARD_REFUSED

    def __init__(self, message: str, *, guards: Sequence[str], remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.guards = tuple(guards)


class LocationUnavailableError(RunnerError):
    """A location cannot be opened: missing root, refused credentials, no route."""

    code = "location_unavailable"
    exit_code = ExitCode.LOCATION_UNAVAILABLE


class StateUnavailableError(RunnerError):
    """A file that the runner itself keeps (plan, journal, report, memory) cannot be read or written.

    What was transferred by then is whole; what is missing in the state folder the next run makes anew.
    """

    code = "state_unavailable"
    exit_code = ExitCode.LOCATION_UNAVAILABLE


class LockHeldError(RunnerError):
    """Another execution writes to the same destination."""

    code = "lock_held"
    exit_code = ExitCode.LOCK_HELD


class HookFailedError(RunnerError):
    """A program of hooks.before failed; nothing was listed or written."""

    code = "hook_failed"
    exit_code = ExitCode.ACTIONS_FAILED


class InterruptedByUserError(RunnerError):
    """The user pressed Ctrl-C; what was in flight was finished or undone."""

    code = "interrupted"
    exit_code = ExitCode.INTERRUPTED


class EntryError(RunnerError):
    """One path could not be handled. Drivers raise it classified; the engine decides by `disposition`."""

    exit_code = ExitCode.ACTIONS_FAILED

    def __init__(
        self,
        entry_code: EntryCode,
        path: str,
        message: str,
        *,
        disposition: Disposition | None = None,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(message)
        self.entry_code = entry_code
        self.path = path
        self.disposition = disposition or ENTRY_CODE_MEANINGS[entry_code][0]
        self.retry_after_seconds = retry_after_seconds

    @property
    def remedy_text(self) -> str:
        """What a person can do about errors of this code."""
        return ENTRY_CODE_MEANINGS[self.entry_code][2]
