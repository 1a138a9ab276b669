"""The generated pages of the documentation: `python -m runner.cli.reference docs/` writes them all.

cli.md comes from the command table, sync-yaml.md from the schemas, exit-codes.md and error-codes.md from
runner.errors and the guards, metrics.md from the table of metrics. A test holds the committed pages to this module.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from runner.cli.commands import COMMANDS
from runner.cli.endings import GRAVEST_FIRST
from runner.cli.help import reference as command_reference
from runner.cli.reference_locations import pages as location_pages
from runner.cli.reference_metrics import metrics_page
from runner.config.reference import render_reference
from runner.errors import (
    ENTRY_CODE_MEANINGS,
    EXIT_CODE_MEANINGS,
    Disposition,
    EntryError,
    ExitCode,
    RunnerError,
)
from runner.history.chain import ChainDamagedError
from runner.history.records import HistoryUnavailable
from runner.history.signing import SigningError
from runner.locations.registry import Registry
from runner.model.action import Verdict
from runner.plan.guards import GUARD_NAMES

_DISPOSITIONS = {
    Disposition.RETRY: "tries again, then leaves the path out",
    Disposition.SKIP: "leaves the path out and goes on",
    Disposition.ABORT: "stops: no other path would fare better",
}
VERDICT_MEANINGS = {
    Verdict.OK: "Equal, in content and in all metadata that the task carries. Counted, never listed.",
    Verdict.CHECKSUM_FAILURE: "The content, the size, the kind or a link's target is not what it should be.",
    Verdict.METADATA_FAILURE: "The content is right; mode, owner, time, an attribute, an ACL or a hard link is not.",
    Verdict.FILE_ADDED: "The destination has something that the source has not.",
    Verdict.FILE_REMOVED: "The source has something that the destination has not.",
    Verdict.UNREADABLE: "It could not be read, so nothing can be said about it.",
    Verdict.LOCKED: "Another program holds it, so nothing can be said about it.",
    Verdict.CHANGED_DURING_TRANSFER: "The source changed while it was read.",
}
_NEXT_STEPS = {
    ExitCode.DONE: "Nothing.",
    ExitCode.INTERNAL: "Report it, with the file that the message names.",
    ExitCode.USAGE: "Correct what the message points at; `sync-runner validate` checks again.",
    ExitCode.DIFFERENCES: "`sync-runner plan TASK` shows them, `sync-runner run TASK` settles them.",
    ExitCode.ACTIONS_FAILED: "The report names each path, its error code and a remedy. Then run again: "
    "what is done is not done twice.",
    ExitCode.VERIFICATION_FAILED: "The report names each path and what differs. Run again, and look at the "
    "destination's medium when the same path comes back.",
    ExitCode.GUARD_REFUSED: "Look at the plan. If it is what you want, run the command the message names.",
    ExitCode.LOCATION_UNAVAILABLE: "Mount, create or start what is missing, then run again.",
    ExitCode.LOCK_HELD: "Wait for the other execution; the message names it, its host and its process.",
    ExitCode.OVERDUE: "See whether the service runs, and why the task's executions fail: `sync-runner status`.",
    ExitCode.INTERRUPTED: "Run again when you like: it goes on where this one stopped.",
}


def exit_codes_page() -> str:
    """docs/exit-codes.md."""
    lines = [
        "# Exit codes",
        "",
        _generated("runner/errors.py"),
        "",
        "A script needs nothing but these. `run` of several tasks runs them all and ends with the gravest of their",
        "codes, in this order: " + ", ".join(str(int(code)) for code in GRAVEST_FIRST) + ".",
        "",
        "| Code | Meaning | What to do |",
        "|---|---|---|",
        *(f"| {int(code)} | {EXIT_CODE_MEANINGS[code]} | {_NEXT_STEPS[code]} |" for code in ExitCode),
        "",
        "## Which command ends with which",
        "",
        "Every command can also end with 1.",
        "",
        "| Command | Codes |",
        "|---|---|",
        *(
            f"| [`{command.name}`](cli.md#{command.name}) | "
            + ", ".join(str(int(code)) for code in command.exit_codes)
            + " |"
            for command in COMMANDS
        ),
        "",
        "## In a script",
        "",
        "```sh",
        "sync-runner run photos -q",
        "case $? in",
        "  0) ;;",
        '  4|5) mail -s "sync-runner: look at the report" ops@example.com < /dev/null ;;',
        '  6) mail -s "sync-runner: a guard refused" ops@example.com < /dev/null ;;',
        "  8) ;; # the run before is still at it",
        '  *) mail -s "sync-runner failed" ops@example.com < /dev/null ;;',
        "esac",
        "```",
    ]
    return "\n".join(lines) + "\n"


def error_codes_page() -> str:
    """docs/error-codes.md."""
    lines = [
        "# Error codes",
        "",
        _generated("runner/errors.py, runner/plan/guards.py and runner/model/action.py"),
        "",
        "Codes are stable: scripts may rely on them. They stand in reports, in `--json` output and in brackets in what",
        "the commands print.",
        "",
        "## Problems with one path",
        "",
        "A problem is kept to its path: the rest of the run goes on, unless the table says *stops*. The execution ends",
        "with exit code 4, and nothing is deleted when a folder could not be listed.",
        "",
        "| Code | What happened | What you can do | What the runner does |",
        "|---|---|---|---|",
        *(
            f"| `{code.value}` | {meaning} | {remedy} | {_DISPOSITIONS[disposition]} |"
            for code, (disposition, meaning, remedy) in ENTRY_CODE_MEANINGS.items()
        ),
        "",
        "## Findings of verification",
        "",
        "What [verification](verification.md) saw when it read again. Any of them but `ok` makes exit code 5; where a",
        "failed action explains it already (`unreadable`, `locked`, `changed_during_transfer`), the code is 4.",
        "",
        "| Verdict | Meaning |",
        "|---|---|",
        *(f"| `{verdict.value}` | {meaning} |" for verdict, meaning in VERDICT_MEANINGS.items()),
        "",
        "## Guards",
        "",
        "A [guard](plan-and-guards.md) refuses before the first write: exit code 6. `--accept NAME` goes on once.",
        "",
        "| Guard | It refuses because |",
        "|---|---|",
        *(f"| `{name}` | {meaning} |" for name, meaning in GUARD_NAMES.items()),
        "",
        "## Errors of a whole command",
        "",
        'With `--json` such an error is `{"error": {"code", "message", "remedy", "exit_code"}}`.',
        "",
        "| Code | Exit code | Meaning |",
        "|---|---|---|",
        *(
            f"| `{kind.code}` | {int(kind.exit_code)} | {_first_sentence(kind)} |"
            for kind in _command_errors()
        ),
    ]
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": command_reference,
    "sync-yaml.md": lambda: render_reference(Registry()),
    "exit-codes.md": exit_codes_page,
    "error-codes.md": error_codes_page,
    "metrics.md": metrics_page,
}


def all_pages() -> dict[str, str]:
    """Every generated page: its name below docs/, and what it holds."""
    return {**{name: render() for name, render in PAGES.items()}, **location_pages(Registry())}


def main(arguments: list[str]) -> int:
    """Write every generated page into the folder that is named."""
    if len(arguments) != 1 or not os.path.isdir(arguments[0]):
        print("usage: python -m runner.cli.reference FOLDER", file=sys.stderr)  # noqa: T201
        return 2
    for name, content in all_pages().items():
        path = os.path.join(arguments[0], name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as stream:
            stream.write(content)
    return 0


def _generated(sources: str) -> str:
    return f"<!-- Generated from {sources}: python -m runner.cli.reference docs/ -->"


def _command_errors() -> list[type[RunnerError]]:
    """In the order of the tree that runner.errors draws; those that live with what raises them come last."""
    inside = [kind for kind in RunnerError.__subclasses__() if kind.__module__ == RunnerError.__module__]
    return [
        *(kind for kind in inside if kind is not EntryError),
        HistoryUnavailable,
        ChainDamagedError,
        SigningError,
    ]


def _first_sentence(kind: type[RunnerError]) -> str:
    text = " ".join((kind.__doc__ or "").split())
    return text.partition(". ")[0].removesuffix(".") + "."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
