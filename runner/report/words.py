"""The sentences of a report: how an execution ended, and what to do next when it did not end well."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from runner.errors import ENTRY_CODE_MEANINGS, ExitCode
from runner.model.action import Verdict
from runner.model.activity import Concurrency
from runner.model.entry import Phase
from runner.model.execution import Counters, Counts, GuardVerdict, Report
from runner.units import format_size

_HEADLINES: dict[int, str] = {
    ExitCode.INTERNAL: "Stopped by an internal error",
    ExitCode.USAGE: "Stopped: the configuration or the plan file is wrong",
    ExitCode.DIFFERENCES: "Differences found",
    ExitCode.ACTIONS_FAILED: "Done in part",
    ExitCode.VERIFICATION_FAILED: "Verification found differences",
    ExitCode.GUARD_REFUSED: "Refused by a guard",
    ExitCode.LOCATION_UNAVAILABLE: "A location or the state folder cannot be used",
    ExitCode.LOCK_HELD: "Another execution holds the destination",
    ExitCode.OVERDUE: "Overdue",
    ExitCode.INTERRUPTED: "Cancelled",
}
VERDICT_MEANINGS: dict[Verdict, tuple[str, str]] = {
    Verdict.OK: ("Both sides are equal.", "Nothing to do."),
    Verdict.CHECKSUM_FAILURE: (
        "The destination's content is not the source's.",
        "Check the medium. The next run compares its content, whatever compare says, and copies it again.",
    ),
    Verdict.METADATA_FAILURE: (
        "The content is equal, some metadata is not.",
        "See which fields differ; another run sets them again where the destination allows it.",
    ),
    Verdict.FILE_ADDED: (
        "Only the destination has it.",
        "Find out who wrote it. Another run deletes it only where preserve_deleted_files says so.",
    ),
    Verdict.FILE_REMOVED: (
        "The source has it, the destination does not.",
        "Find out who removed it; another run copies it again.",
    ),
    Verdict.UNREADABLE: (
        "One side could not be read, so nothing is proven.",
        "Give the runner's user the right to read it, or check the medium.",
    ),
    Verdict.LOCKED: ("Another program holds a lock on the file.", "Close that program."),
    Verdict.CHANGED_DURING_TRANSFER: (
        "The source changed while it was copied or after.",
        "Run again when its writer has finished.",
    ),
}
STATE_UNAVAILABLE = (
    "A file of the state folder could not be read or written; what was transferred by then is whole."
)
HOOK_FAILED = "A hook failed before the start; nothing was listed or written."
_BEFORE_THE_COMMAND: dict[int, str] = {
    ExitCode.USAGE: "Correct the configuration, or make a new plan, then:",
    ExitCode.DIFFERENCES: "To make the destination equal:",
    ExitCode.ACTIONS_FAILED: "Then run again; what is done is not copied twice:",
    ExitCode.VERIFICATION_FAILED: "Then run again:",
    ExitCode.LOCATION_UNAVAILABLE: "Bring back what is missing, then:",
    ExitCode.LOCK_HELD: "When the other execution has ended:",
    ExitCode.INTERRUPTED: "To go on; what is done is not copied twice:",
}
_NOTHING_WRITTEN: dict[int, str] = {
    ExitCode.USAGE: "The configuration or the plan file is wrong; nothing was written.",
    ExitCode.LOCK_HELD: "Another execution holds the destination's lock; nothing was written.",
}


def summary_sentence(
    status: Phase,
    exit_code: int,
    counters: Counters,
    guards: Sequence[GuardVerdict],
    problems_total: int,
    findings_total: int,
    verified: bool,
) -> str:
    """How the execution ended, in one line: what went wrong first, then what was done, then what was deleted.

    `verified` says whether VERIFYING took place. Holds numbers and guard names only, never a path, so every
    sink can show it as it is.
    """
    refused = [verdict.guard for verdict in guards if not verdict.accepted]
    if exit_code == ExitCode.GUARD_REFUSED or (refused and exit_code != ExitCode.DONE):
        names = ", ".join(refused) or "unnamed"
        return f"Nothing was written: {'guards' if len(refused) > 1 else 'guard'} {names} refused."
    if exit_code in _NOTHING_WRITTEN:
        return _NOTHING_WRITTEN[exit_code]
    if exit_code == ExitCode.DIFFERENCES:
        return f"{_differences(counters)}; nothing was written."
    if exit_code == ExitCode.LOCATION_UNAVAILABLE and not _anything_done(counters):
        return "A location could not be opened; nothing was written."
    done = f"{_work(counters, verified and findings_total == 0)}; {_removed(counters)}."
    lead = _lead(status, exit_code, counters, problems_total, findings_total)
    return f"{lead}. {done}" if lead else done


def headline(exit_code: int, counters: Counters) -> str:
    """The outcome in two or three words, for the top of a report."""
    if exit_code == ExitCode.DONE:
        return "Done" if _anything_done(counters) else "In sync"
    if exit_code == ExitCode.ACTIONS_FAILED and counters == Counters():
        return "Stopped before the start"
    if exit_code == ExitCode.ACTIONS_FAILED and not _anything_done(counters):
        return "Not everything could be done"
    return _HEADLINES.get(exit_code, f"Ended with exit code {exit_code}")


class Step(NamedTuple):
    """One thing to do, and the command that does it; "" = no command."""

    text: str
    command: str = ""

    @property
    def line(self) -> str:
        return f"{self.text} {self.command}".rstrip()


def next_steps(report: Report) -> tuple[Step, ...]:
    """What a person should do, most important first; empty when all is well. Commands are shell-quoted."""
    execution = report.execution
    steps = [Step(guard.remedy) for guard in report.guards if not guard.accepted and guard.remedy]
    codes = Counter(problem.code for problem in report.problems)
    for code, count in codes.most_common():
        _, meaning, remedy = ENTRY_CODE_MEANINGS[code]
        steps.append(Step(f"{_number(count, 'problem')} with code {code}: {meaning} {remedy}"))
    verdicts = Counter(finding.verdict for finding in report.findings)
    for verdict, count in verdicts.most_common():
        meaning, remedy = VERDICT_MEANINGS[verdict]
        steps.append(Step(f"{_number(count, 'path')} with verdict {verdict}: {meaning} {remedy}"))
    command = f"sync-runner run {shlex.quote(execution.task)} -c {shlex.quote(execution.config_file)}"
    if execution.exit_code == ExitCode.INTERNAL:
        steps.append(Step("This is a defect of sync-runner: please report it with report.json."))
    elif execution.status is Phase.CANCELLED:
        steps.append(Step(_BEFORE_THE_COMMAND[ExitCode.INTERRUPTED], command))
    elif execution.exit_code in _BEFORE_THE_COMMAND:
        steps.append(Step(_BEFORE_THE_COMMAND[execution.exit_code], command))
    return tuple(steps)


def _number(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _both(counts: Counts) -> str:
    """'3 files and 1 folder', '3 files', '1 folder'; zero of both is '0 files'."""
    pieces = [_number(counts.files, "file")] if counts.files or not counts.folders else []
    if counts.folders:
        pieces.append(_number(counts.folders, "folder"))
    return " and ".join(pieces)


def _total(counts: Counts) -> int:
    return counts.files + counts.folders


def _anything_done(counters: Counters) -> bool:
    return counters.actions_done > 0 or any(
        _total(counts) for counts in (counters.transferred, counters.deleted, counters.quarantined)
    )


def _differences(counters: Counters) -> str:
    differences = counters.actions_planned or _total(counters.prepared)
    return f"{_number(differences, 'difference')} found"


def _work(counters: Counters, verified: bool) -> str:
    """What was transferred, of what was planned."""
    prepared, transferred = counters.prepared, counters.transferred
    confirmed = " and verified" if verified else ""
    if prepared.files or transferred.files:
        # Without content it was metadata, or empty files: "copied" alone would be wrong.
        size = counters.bytes_transferred
        done = f"copied ({format_size(size)})" if size else "copied or updated"
        planned = max(prepared.files, transferred.files)
        noun = "file" if planned == 1 else "files"
        return f"{transferred.files:,} of {planned:,} {noun} {done}{confirmed}"
    if transferred.folders:
        return f"{_number(transferred.folders, 'folder')} created or changed{confirmed}, no file to copy"
    if verified and _total(counters.verified):
        return f"{_both(counters.verified)} verified and found equal, nothing to copy"
    if _total(counters.listed) == 0:
        return "Nothing to copy"
    return f"{_both(counters.listed)} listed, nothing to copy"


def _removed(counters: Counters) -> str:
    pieces = []
    if _total(counters.deleted):
        pieces.append(f"{_both(counters.deleted)} deleted")
    if _total(counters.quarantined):
        pieces.append(f"{_both(counters.quarantined)} moved to quarantine")
    return ", ".join(pieces) or "nothing deleted"


def _lead(status: Phase, exit_code: int, counters: Counters, problems_total: int, findings_total: int) -> str:
    """What went wrong, without a full stop; empty when nothing did."""
    if status is Phase.CANCELLED or exit_code == ExitCode.INTERRUPTED:
        return "Cancelled before the end"
    if exit_code == ExitCode.INTERNAL:
        return "Stopped by an internal error"
    if exit_code == ExitCode.LOCATION_UNAVAILABLE:
        return "A location stopped answering"
    pieces = []
    if _total(counters.failed):
        pieces.append(f"{_both(counters.failed)} failed")
    if _total(counters.failed_delete):
        pieces.append(f"{_both(counters.failed_delete)} could not be deleted")
    if _total(counters.stale):
        stale = _total(counters.stale)
        pieces.append(f"{stale:,} of them" if pieces else _number(stale, "path"))
        pieces[-1] += " changed since the plan"
    if problems_total and not pieces:
        pieces.append(f"{_number(problems_total, 'problem')} came up")
    if findings_total:
        pieces.append(f"verification found {_number(findings_total, 'difference')}")
    text = ", ".join(pieces)
    return text[:1].upper() + text[1:]


def concurrency_words(told: Concurrency) -> str:
    """How many worked side by side, in one sentence."""
    if not told.adapted:
        text = f"{told.began} worked side by side, as the task says"
    elif told.least == told.most:
        text = f"{told.began} worked side by side"
    else:
        text = f"{told.least} to {told.most} worked side by side, {told.ended} at the end"
    if told.refusals:
        text += f"; the storage was overloaded or away {told.refusals:,} times"
    return text + "."
