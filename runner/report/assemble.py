"""The end of an execution as a Report: counters that add up, one exit code, one sentence. Pure."""

from __future__ import annotations

import msgspec

from runner.errors import ExitCode
from runner.model.action import Finding, Outcome, OutcomeStatus, Verdict
from runner.model.execution import Counters, Counts
from runner.transfer.batch import BatchSummary

ECHOES = frozenset({Verdict.UNREADABLE, Verdict.LOCKED, Verdict.CHANGED_DURING_TRANSFER})
"""Verdicts that only repeat what TRANSFERRING has said already."""


def counters_after(planned: Counters, sums: BatchSummary | None) -> Counters:
    """Planned counters completed by what was done: what was prepared is now transferred or failed.

    `sums` None = nothing was transferred (a refused or cancelled execution): all that was prepared failed.
    """
    if sums is None:
        return msgspec.structs.replace(planned, failed=planned.failed + planned.prepared)
    # A folder made on the way and then found stale is one folder: what is not transferred has failed.
    failed = Counts(
        planned.prepared.files - sums.transferred.files, planned.prepared.folders - sums.transferred.folders
    )
    return msgspec.structs.replace(
        planned,
        transferred=sums.transferred,
        failed=planned.failed + failed,
        failed_transfer=failed,
        failed_delete=sums.failed_delete,
        stale=sums.stale,
        deleted=sums.deleted,
        quarantined=sums.quarantined,
        actions_planned=sums.actions,
        actions_done=sums.done,
        actions_failed=sums.actions - sums.done,
        bytes_transferred=sums.bytes,
        bytes_deleted=sums.bytes_deleted,
    )


def echoed_findings(attention: tuple[Outcome, ...]) -> list[Finding]:
    """Files that could not be read or were locked come back as verification errors, as the seed says."""
    findings = []
    for outcome in attention:
        problem = outcome.problem
        if outcome.status is not OutcomeStatus.FAILED or problem is None:
            continue
        if problem.code in ("locked", "changed_during_transfer"):
            verdict = Verdict(problem.code.value)
        elif problem.code in ("permission_denied", "io_error", "not_found"):
            verdict = Verdict.UNREADABLE
        else:
            continue
        findings.append(Finding(outcome.path, verdict, checked_by="transfer", message=problem.message))
    return findings


def exit_code_of(
    cancelled: bool, actions_failed: int, problems: int, findings: tuple[Finding, ...]
) -> ExitCode:
    """The one code: interrupted, then what verification found by itself, then failed actions."""
    if cancelled:
        return ExitCode.INTERRUPTED
    if any(finding.verdict not in ECHOES for finding in findings):
        return ExitCode.VERIFICATION_FAILED
    if actions_failed or problems:
        return ExitCode.ACTIONS_FAILED
    return ExitCode.VERIFICATION_FAILED if findings else ExitCode.DONE
