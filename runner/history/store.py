"""The history of executions in SQL: what was started, how it ended, what failed, and the last success of a
task.

Nothing here may harm a transfer: every fault of the database is a HistoryUnavailable, which the pipeline
turns into a warning. The report in the execution's folder is the truth; `backfill` takes over what is missing
here.
"""

from __future__ import annotations

import builtins
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, exists, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from runner.clock import Clock
from runner.errors import UsageError
from runner.history.database import Database, backend_of
from runner.history.process import process_is_gone
from runner.history.records import FailedFinding, HistoryRow, HistoryStatus, SlotOutcome, SlotRecord
from runner.history.started import Started, read_start
from runner.history.state import StateDirectory
from runner.history.tables import EXECUTIONS, FINDINGS, SLOTS
from runner.model.action import Finding
from runner.model.entry import path_bytes
from runner.model.execution import Counters, Report, Trigger
from runner.report.stored import REPORT_FILE, load_report

_COLUMNS = [column for column in EXECUTIONS.columns if column.name in HistoryRow.__struct_fields__]


def open_history(url_or_path: str, clock: Clock, *, busy_timeout_seconds: float = 5.0) -> History:
    """History in a SQLite file (a path) or in PostgreSQL (a SQLAlchemy URL). Touches nothing yet: the first
    operation connects, and makes or migrates the tables; it raises MissingExtraError when PostgreSQL's package is
    not installed. `busy_timeout_seconds`: how long to wait for another program's lock.

    Raises:
        UsageError: the URL is none, or of another kind of database.
    """
    return History(Database(backend_of(url_or_path, busy_timeout_seconds=busy_timeout_seconds)), clock)


class History:
    """Executions, newest first. Every method raises HistoryUnavailable when the database cannot answer.

    More than eight methods: this is the one door to one database. Threads may share it.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should hear about the database so far, such as a corrupt file kept aside."""
        return tuple(self._database.warnings)

    def record_start(self, started: Started) -> None:
        """Write down that an execution runs. Durable on return."""
        values = {
            **_UNKNOWN,
            **{name: getattr(started, name) for name in Started.__struct_fields__ if name != "slot"},
            "trigger": started.trigger.value,
            "status": HistoryStatus.RUNNING.value,
        }
        self._database.write(lambda connection: _put(connection, values, ()))

    def record_end(self, report: Report, folder: str) -> None:
        """Write down how an execution ended, whether or not its start is known. Durable on return."""
        self._database.write(lambda connection: _put(connection, _ended(report, folder), report.findings))

    def list(
        self,
        task: str | None = None,
        limit: int = 20,
        failed: bool = False,
        since: datetime | None = None,
    ) -> builtins.list[HistoryRow]:
        """Newest first. `failed`: only those that ended and not with SUCCESS. `since`: started then or
        later."""
        query = select(*_COLUMNS).order_by(EXECUTIONS.c.started_at.desc(), EXECUTIONS.c.execution_id.desc())
        if task is not None:
            query = query.where(EXECUTIONS.c.task == task)
        if failed:
            query = query.where(
                EXECUTIONS.c.status.in_([HistoryStatus.ERROR.value, HistoryStatus.CANCELLED.value])
            )
        if since is not None:
            query = query.where(EXECUTIONS.c.started_at >= since)
        if not self._database.exists:
            return []
        return self._database.read(lambda connection: _rows(connection, query.limit(limit)))

    def get(self, execution_id: str) -> HistoryRow | None:
        """One execution, None when history does not know it."""
        query = select(*_COLUMNS).where(EXECUTIONS.c.execution_id == execution_id)
        if not self._database.exists:
            return None
        rows = self._database.read(lambda connection: _rows(connection, query))
        return rows[0] if rows else None

    def report_digests(self, task: str) -> dict[str, str | None]:
        """Of each of a task's executions that ended the SHA-256 of its report, None where it was not noted."""
        query = select(EXECUTIONS.c.execution_id, EXECUTIONS.c.report_digest).where(
            EXECUTIONS.c.task == task, EXECUTIONS.c.status != HistoryStatus.RUNNING.value
        )
        if not self._database.exists:
            return {}
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return {row.execution_id: row.report_digest for row in rows}

    def failed_findings(self, execution_id: str) -> builtins.list[FailedFinding]:
        """What verification found wrong in an execution, in the order of its report."""
        query = select(FINDINGS).where(FINDINGS.c.execution_id == execution_id).order_by(FINDINGS.c.number)
        if not self._database.exists:
            return []
        rows = self._database.read(lambda connection: connection.execute(query).all())
        return [
            FailedFinding(
                path=bytes(row.path).decode("utf-8", "surrogateescape"),
                verdict=row.verdict,
                fields=tuple(row.fields.split(",")) if row.fields else (),
            )
            for row in rows
        ]

    def record_slots(self, records: Iterable[SlotRecord]) -> None:
        """Write down what became of scheduled times, all in one transaction. Durable on return.

        Of two records of one slot the one decided later stays, in whatever order they come and how often.
        """
        rows = [
            {name: getattr(record, name) for name in SlotRecord.__struct_fields__}
            | {"outcome": record.outcome.value}
            for record in records
        ]
        if rows:
            self._database.write(lambda connection: connection.execute(_upsert_slots(connection), rows))

    def slots(
        self,
        task: str | None = None,
        since: datetime | None = None,
        limit: int = 100,
        outcome: SlotOutcome | None = None,
    ) -> builtins.list[SlotRecord]:
        """What became of scheduled times, the latest first. `since`: times from then on."""
        query = select(SLOTS).order_by(SLOTS.c.slot.desc(), SLOTS.c.task).limit(limit)
        if task is not None:
            query = query.where(SLOTS.c.task == task)
        if since is not None:
            query = query.where(SLOTS.c.slot >= since)
        if outcome is not None:
            query = query.where(SLOTS.c.outcome == outcome.value)
        if not self._database.exists:
            return []
        rows = self._database.read(lambda connection: connection.execute(query).mappings().all())
        return [SlotRecord(**{**row, "outcome": SlotOutcome(row["outcome"])}) for row in rows]

    def mark_interrupted(
        self, host: str, is_gone: Callable[[int, str | None], bool] = process_is_gone
    ) -> builtins.list[HistoryRow]:
        """Close the rows that say RUNNING while their process on this host has ended; returns them as they
        are now.

        Call it after `backfill`: an execution that still wrote its report is not interrupted.
        """
        if not self._database.exists:
            return []
        query = select(*_COLUMNS).where(EXECUTIONS.c.status == HistoryStatus.RUNNING.value)
        running = self._database.read(lambda connection: _rows(connection, query))
        gone = [
            row
            for row in running
            if row.host == host and row.pid is not None and is_gone(row.pid, row.process_key)
        ]
        if not gone:
            return []
        marked = [
            msgspec.structs.replace(
                row,
                status=HistoryStatus.ERROR,
                summary=f"Interrupted: process {row.pid} ended without a report.",
                ended_at=self._clock.now(),
            )
            for row in gone
        ]

        def close_rows(connection: Connection) -> None:
            for row in marked:
                connection.execute(
                    update(EXECUTIONS)
                    .where(EXECUTIONS.c.execution_id == row.execution_id)
                    # Its end may have been recorded since it was read.
                    .where(EXECUTIONS.c.status == HistoryStatus.RUNNING.value)
                    .values(status=row.status.value, summary=row.summary, ended_at=row.ended_at)
                )

        self._database.write(close_rows)
        return marked

    def backfill(self, state: StateDirectory) -> builtins.list[str]:
        """Take over what the execution folders say and history does not know: those that began, and those that
        ended. Returns the ids of those that were taken over as ended, oldest first.

        A report that cannot be read is left out and named in `warnings`.
        """
        ids = state.execution_ids()
        if not ids:
            return []
        # A database that several hosts share may know of many more.
        query = select(EXECUTIONS.c.execution_id, EXECUTIONS.c.status).where(
            EXECUTIONS.c.execution_id.between(ids[0], ids[-1])
        )
        known = {
            row.execution_id: row.status
            for row in self._database.read(lambda connection: connection.execute(query).all())
        }
        taken = []
        for execution_id in ids:
            if known.get(execution_id, HistoryStatus.RUNNING.value) != HistoryStatus.RUNNING.value:
                continue
            folder = state.execution_folder(execution_id)
            if not os.path.exists(os.path.join(folder, REPORT_FILE)):
                started = read_start(folder) if execution_id not in known else None
                if started is not None and started.execution_id == execution_id:
                    self.record_start(started)
                continue
            try:
                report = load_report(folder)
            except UsageError as error:
                self._database.warnings.append(f"not taken over into history: {error.message}")
                continue
            if report.execution.execution_id == execution_id:
                self.record_end(report, folder)
                taken.append(execution_id)
        return taken

    def prune(
        self,
        keep_days: float,
        keep_last: int,
        state: StateDirectory | None = None,
        before_removal: Callable[[builtins.list[HistoryRow]], None] = lambda rows: None,
    ) -> builtins.list[str]:
        """Forget executions that are older than `keep_days`, but of each task never the latest `keep_last`,
        the last success, or one that runs. Returns the forgotten ids, oldest first. Scheduled times that are
        older go too, unless one waits, or the execution that it led to stays.

        With `state` their folders are removed too, and first: a folder left behind would be taken over again. Whoever
        has to know of it beforehand is told by `before_removal`.
        """
        if not self._database.exists:
            return []
        before = self._clock.now() - timedelta(days=keep_days)
        query = select(*_COLUMNS).order_by(EXECUTIONS.c.started_at.desc(), EXECUTIONS.c.execution_id.desc())
        rows = self._database.read(lambda connection: _rows(connection, query))
        forgotten = _to_forget(rows, before, keep_last)
        if state is not None:
            going = set(forgotten)
            before_removal([row for row in rows if row.execution_id in going])
            for execution_id in forgotten:
                state.discard_execution(execution_id)

        def forget(connection: Connection) -> None:
            for execution_id in forgotten:
                connection.execute(delete(EXECUTIONS).where(EXECUTIONS.c.execution_id == execution_id))
            connection.execute(
                delete(SLOTS)
                .where(SLOTS.c.slot < before)
                .where(SLOTS.c.outcome != SlotOutcome.QUEUED.value)
                .where(~exists().where(EXECUTIONS.c.execution_id == SLOTS.c.execution_id))
            )

        self._database.write(forget)
        return forgotten

    def close(self) -> None:
        """Give the database back; closing twice is harmless."""
        self._database.close()


_UNKNOWN: Mapping[str, Any] = {
    "exit_code": None,
    "summary": "",
    "counters": "{}",
    "problems_total": 0,
    "findings_total": 0,
}


def _ended(report: Report, folder: str) -> dict[str, Any]:
    execution = report.execution
    return {
        "execution_id": execution.execution_id,
        "task": execution.task,
        "trigger": execution.trigger.value,
        "status": HistoryStatus(execution.status.value).value,
        "exit_code": execution.exit_code,
        "summary": execution.summary,
        "started_at": datetime.fromisoformat(execution.started_at),
        "ended_at": datetime.fromisoformat(execution.ended_at),
        "duration_seconds": execution.duration_seconds,
        "host": execution.host,
        "runner_version": execution.runner_version,
        "config_file": execution.config_file,
        "config_digest": execution.config_digest,
        "filter_digest": execution.filter_digest,
        "plan_digest": execution.plan_digest,
        "source": report.source.description,
        "source_identity": report.source.identity,
        "destination": report.destination.description,
        "destination_identity": report.destination.identity,
        "counters": msgspec.json.encode(report.counters).decode("ascii"),
        "problems_total": report.problems_total,
        "findings_total": report.findings_total,
        "folder": folder,
        "report_digest": _digest_in(folder),
    }


def _digest_in(folder: str) -> str | None:
    """SHA-256 of the report in an execution's folder: what tells later whether it is still the same."""
    try:
        with open(os.path.join(folder, REPORT_FILE), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _put(connection: Connection, values: Mapping[str, Any], findings: tuple[Finding, ...]) -> None:
    """Insert or update one execution and its findings."""
    execution_id = values["execution_id"]
    changed = connection.execute(
        update(EXECUTIONS).where(EXECUTIONS.c.execution_id == execution_id).values(**values)
    )
    if changed.rowcount == 0:
        connection.execute(insert(EXECUTIONS).values(**values))
    connection.execute(delete(FINDINGS).where(FINDINGS.c.execution_id == execution_id))
    if findings:
        connection.execute(
            insert(FINDINGS),
            [
                {
                    "execution_id": execution_id,
                    "number": number,
                    "path": path_bytes(finding.path),
                    "verdict": finding.verdict.value,
                    "fields": ",".join(finding.fields),
                }
                for number, finding in enumerate(findings)
            ],
        )


def _upsert_slots(connection: Connection) -> Any:
    """Each dialect spells it for itself, both alike."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(SLOTS)
    told = statement.excluded
    return statement.on_conflict_do_update(
        index_elements=[SLOTS.c.task, SLOTS.c.slot],
        set_={
            name: told[name] for name in SlotRecord.__struct_fields__ if name not in SLOTS.primary_key.columns
        },
        where=SLOTS.c.decided_at <= told.decided_at,
    )


def _rows(connection: Connection, query: Any) -> list[HistoryRow]:
    return [_as_row(dict(row)) for row in connection.execute(query).mappings()]


def _as_row(fields: dict[str, Any]) -> HistoryRow:
    fields["status"] = HistoryStatus(fields["status"])
    fields["counters"] = msgspec.json.decode(fields["counters"], type=Counters)
    return HistoryRow(**fields)


def _to_forget(newest_first: list[HistoryRow], before: datetime, keep_last: int) -> list[str]:
    seen: dict[str, int] = {}
    succeeded: set[str] = set()
    forgotten = []
    for row in newest_first:
        seen[row.task] = seen.get(row.task, 0) + 1
        is_last_success = (
            row.status is HistoryStatus.SUCCESS
            and row.trigger != Trigger.VERIFY.value
            and row.task not in succeeded
        )
        if is_last_success:
            succeeded.add(row.task)
        kept = row.status is HistoryStatus.RUNNING or is_last_success or seen[row.task] <= keep_last
        if not kept and row.started_at < before:
            forgotten.append(row.execution_id)
    return forgotten[::-1]
