"""The end of an execution's folder: the report gets its evidence, its place in the task's chain, and a signature."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress

import msgspec

from runner.durable import sync_folder, write_whole
from runner.errors import RunnerError
from runner.execution.context import Context
from runner.history.chain import Extension, extended
from runner.model.action import Finding
from runner.model.events import Message
from runner.model.execution import Evidence, Report
from runner.model.task import ReportFormat
from runner.report.as_json import json_content
from runner.report.evidence import FILES, Slice, evidence_of
from runner.report.render import publish
from runner.report.stored import PLAN_FILE, SIGNATURE_FILE
from runner.transfer.coordinate import Transferred


def seal(
    report: Report,
    folder: str,
    transferred: Transferred | None,
    findings: Iterable[Finding],
    context: Context,
) -> Report:
    """Write report.json into `folder`, whose other files are complete; returns the report as it was written.

    `findings` are all there are. A chain that cannot be continued, or a key that does not sign, costs a warning, not
    the report. Raises RunnerError when the report itself cannot be written.
    """
    evidence: Evidence | None = None
    sealed: list[Report] = []
    try:
        _settle_on_disk(folder)
        evidence = evidence_of(folder, _slices(transferred), findings)
        with extended(context.state, report.execution.task) as chain:
            _publish(chain, report, evidence, folder, context, sealed)
    except (OSError, RunnerError, msgspec.MsgspecError, ValueError) as error:
        reason = error.message if isinstance(error, RunnerError) else str(error)
        _warn(context, f"the chain of task {report.execution.task}'s reports was not continued: {reason}")
        if not sealed:
            # A signature of what was not published says nothing.
            with suppress(OSError):
                os.unlink(os.path.join(folder, SIGNATURE_FILE))
            sealed.append(msgspec.structs.replace(report, evidence=evidence))
            publish(folder, sealed[0], ReportFormat.JSON)
    return sealed[0]


def _publish(
    chain: Extension, report: Report, evidence: Evidence, folder: str, context: Context, sealed: list[Report]
) -> None:
    """Report, signature and the chain's line; `sealed` holds the report from the moment it stands in its place."""
    place = chain.place
    whole = msgspec.structs.replace(
        report,
        evidence=msgspec.structs.replace(
            evidence, sequence=place.sequence, previous=place.previous, chain=place.chain
        ),
    )
    content = json_content(whole)
    _sign(content, folder, context)

    def write() -> None:
        publish(folder, whole, ReportFormat.JSON, content)
        sealed.append(whole)

    chain.publish(report.execution.execution_id, content, report.execution.ended_at, write)


def _slices(transferred: Transferred | None) -> list[Slice] | None:
    if transferred is None:
        return None
    return [Slice(batch.first_id, batch.offset, batch.length) for batch in transferred.batches]


def _settle_on_disk(folder: str) -> None:
    """What the report vouches for is on the disk before the report is."""
    for name in (PLAN_FILE, *FILES):
        with suppress(FileNotFoundError):
            handle = os.open(os.path.join(folder, name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fdatasync(handle)
            finally:
                os.close(handle)
    sync_folder(folder)


def _sign(content: bytes, folder: str, context: Context) -> None:
    key = context.configuration.signing.key
    if key is None:
        return
    # Only those who sign need what starts programs.
    from runner.history.signing import SigningError, sign

    try:
        signature = sign(content, key, context.environment)
    except SigningError as error:
        _warn(context, error.message if error.remedy is None else f"{error.message}. {error.remedy}")
        return
    write_whole(os.path.join(folder, SIGNATURE_FILE), lambda output: output.write(signature))


def _warn(context: Context, text: str) -> None:
    context.subscriber(Message("warning", text))
