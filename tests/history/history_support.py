"""Reports for history's tests, and where the pipeline puts them."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from runner.clock import iso_utc
from runner.history.process import process_key
from runner.history.started import Started
from runner.history.state import StateDirectory
from runner.model.action import Finding
from runner.model.entry import Phase
from runner.model.execution import Counters, Counts, EndpointSummary, Execution, Report, Trigger
from runner.model.wire import encode_line
from runner.testing.fake_clock import START


class MakesReport(Protocol):
    def __call__(
        self,
        execution_id: str,
        *,
        task: str = "photos",
        status: Phase = Phase.SUCCESS,
        trigger: Trigger = Trigger.MANUAL,
        started_at: datetime = START,
        findings: tuple[Finding, ...] = (),
        config_file: str = "/etc/sync.yaml",
    ) -> Report: ...


def make_report(
    execution_id: str,
    *,
    task: str = "photos",
    status: Phase = Phase.SUCCESS,
    trigger: Trigger = Trigger.MANUAL,
    started_at: datetime = START,
    findings: tuple[Finding, ...] = (),
    config_file: str = "/etc/sync.yaml",
) -> Report:
    return Report(
        version=1,
        execution=Execution(
            execution_id=execution_id,
            task=task,
            trigger=trigger,
            status=status,
            exit_code=0 if status is Phase.SUCCESS else 4,
            summary=f"{status.value} of {task}",
            started_at=iso_utc(started_at),
            ended_at=iso_utc(started_at + timedelta(seconds=90)),
            duration_seconds=90.0,
            host="nas",
            runner_version="0.1.0",
            config_file=config_file,
            config_digest="c0ffee",
            filter_digest="f11",
            plan_digest="9a1",
        ),
        source=EndpointSummary("src", "local", "/data/photos", identity="device 8:1"),
        destination=EndpointSummary("dst", "local", "/mnt/photos", identity="device 8:2"),
        settings={},
        phases=(),
        counters=Counters(listed=Counts(files=12, folders=3), bytes_transferred=4096),
        guards=(),
        problems=(),
        problems_total=0,
        findings=findings,
        findings_total=len(findings),
    )


def store_report(state: StateDirectory, report: Report) -> str:
    """Put report.json where the pipeline puts it."""
    folder = state.execution_folder(report.execution.execution_id, create=True)
    Path(folder, "report.json").write_bytes(encode_line(report))
    return folder


def started(
    execution_id: str,
    *,
    task: str = "photos",
    host: str = "nas",
    pid: int = 1,
    started_at: datetime = START,
) -> Started:
    """What an execution notes when it begins in process `pid`."""
    return Started(
        execution_id=execution_id,
        task=task,
        trigger=Trigger.MANUAL,
        config_file="/etc/sync.yaml",
        config_digest="c0ffee",
        filter_digest="f11",
        host=host,
        pid=pid,
        process_key=process_key(pid),
        started_at=started_at,
    )
