"""One execution from its first moment to its report: phases, lock, plan, journal, history."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

import msgspec

import runner
from runner.clock import iso_utc
from runner.config.describe import describe_task
from runner.diff.tally import Tally
from runner.durable import sync_folder, write_whole
from runner.errors import (
    EntryCode,
    EntryError,
    ExitCode,
    GuardRefusedError,
    HookFailedError,
    InterruptedByUserError,
    LocationUnavailableError,
    LockHeldError,
    RunnerError,
    StateUnavailableError,
)
from runner.execution.context import Context
from runner.execution.control import Watch
from runner.execution.crew import Crew
from runner.execution.journal import Journal
from runner.execution.locking import destination_lock, hold
from runner.execution.marking import Marked, mark
from runner.execution.notebook import Notebook
from runner.execution.past import read_past
from runner.execution.phases import Phases
from runner.execution.remembering import doubt, remember, stand, unavailable
from runner.execution.sealing import seal
from runner.execution.surroundings import Surroundings
from runner.execution.timesheet import Timesheet
from runner.execution.working import transfer, verify_everything, verify_what_was_transferred
from runner.history.lock import DestinationLock
from runner.history.standing import Standing
from runner.locations.pair import Endpoints
from runner.locations.protocol import Renames, Sweeps
from runner.model.action import Finding
from runner.model.activity import Concurrency
from runner.model.entry import Phase, Problem
from runner.model.events import Ended, Message
from runner.model.execution import (
    LISTED_AT_MOST,
    Counters,
    Counts,
    EndpointSummary,
    Execution,
    GuardVerdict,
    Report,
    Trigger,
)
from runner.model.task import Durability, LocationSettings, Task
from runner.model.wire import encode_line
from runner.plan.file import PlanReader, write_plan_file
from runner.plan.prepare import Prepared, endpoint_summary
from runner.report.assemble import counters_after, echoed_findings, exit_code_of
from runner.report.render import write_formats
from runner.report.stored import FINDINGS_FILE, PLAN_FILE, PROBLEMS_FILE
from runner.report.words import HOOK_FAILED, STATE_UNAVAILABLE, summary_sentence
from runner.transfer.coordinate import Transferred
from runner.transfer.quarantine import announce, purge
from runner.verify.whole import Verified

REPORT_VERSION = 1
_PROBLEM_CODES = {
    LocationUnavailableError: EntryCode.UNAVAILABLE,
    LockHeldError: EntryCode.LOCKED,
    InterruptedByUserError: EntryCode.CANCELLED,
    HookFailedError: EntryCode.HOOK_FAILED,
    StateUnavailableError: EntryCode.UNAVAILABLE,
}
_SUMMARIES: dict[type[RunnerError], str] = {
    HookFailedError: HOOK_FAILED,
    StateUnavailableError: STATE_UNAVAILABLE,
}
"""In the place of a sentence made from counters."""


class ExecutionRecord:
    """A context manager. Whatever happens inside, a report is written and history is told.

    More than eight methods: these are the steps that pipeline.py tells in order.
    """

    def __init__(self, task: Task, context: Context, trigger: Trigger) -> None:
        self.task = task
        self.context = context
        self.trigger = trigger
        state = context.state
        self.execution_id = state.new_execution_id(context.clock)
        self.folder = state.execution_folder(self.execution_id)
        self._started_at = context.clock.now()
        self._began = context.clock.monotonic()
        self._phases = Phases(task.name, self.execution_id, context.clock, context.subscriber)
        self._timesheet = Timesheet(context.clock)
        self._concurrency: Callable[[], Concurrency | None] = lambda: None
        self._notebook = Notebook(context)
        self._endpoints: dict[str, EndpointSummary] = {
            side: EndpointSummary(settings.name, settings.type, _describe(context, settings))
            for side, settings in (("source", task.source), ("destination", task.destination))
        }
        self._counters = Counters()
        self._transferred: Transferred | None = None
        self._verified: Verified | None = None
        self._guards: tuple[GuardVerdict, ...] = ()
        self._problems: list[Problem] = []
        self._problems_total = 0
        self._findings: list[Finding] = []
        self._plan_digest: str | None = None
        self._error_code: ExitCode | None = None
        self._report: Report | None = None
        self._standings: tuple[Standing, Standing] | None = None
        self._summary: str | None = None
        self._marked: Marked | None = None
        self._still_doubted: frozenset[str] = frozenset()
        self._surroundings = Surroundings(task, context, trigger)
        self._watch = Watch(
            self.folder, context.cancellation, context.clock, task.automation.max_duration_seconds
        )

    # -- steps, in the order of the story ------------------------------------------------------------------

    def __enter__(self) -> ExecutionRecord:
        self._notebook.started(
            self.execution_id, self.task, self.trigger, self._started_at, self.context.slot
        )
        self._watch.__enter__()
        return self

    def enter(self, phase: Phase) -> None:
        self._phases.enter(phase)
        self._timesheet.enter(phase)
        if phase in (Phase.TRANSFERRING, Phase.VERIFYING):
            self._notebook.begin()

    @property
    def cancelled(self) -> bool:
        return self.context.cancellation.level > 0

    def destination_lock(self) -> DestinationLock:
        """One writer per destination. A context manager that raises LockHeldError."""
        lock = destination_lock(self.task, self.context, self.execution_id)
        self._watch.beat = lock.beat
        return lock

    @contextlib.contextmanager
    def begun(self) -> Iterator[None]:
        """Inside, the start is told and the task's hooks of `before` have run. Raises HookFailedError."""
        self._surroundings.before(self.execution_id, self.folder)
        yield

    @contextlib.contextmanager
    def opened(self) -> Iterator[Endpoints]:
        """Both locations. Raises LocationUnavailableError."""
        with Endpoints(
            self.task,
            self.context.registry,
            self.execution_id,
            self.context.state.cache_folder,
            self.context.clock,
            self._timesheet.observer,
        ) as endpoints:
            for side in ("source", "destination"):
                self._endpoints[side] = endpoint_summary(endpoints, self.task, side)
            yield endpoints

    def keep_plan(self, prepared: Prepared) -> PlanReader:
        """Write this execution's plan into its folder; returns it, open for reading."""
        self._still_doubted = prepared.still_doubted
        path = os.path.join(self.folder, PLAN_FILE)
        trailer = write_plan_file(path, prepared.writer, prepared.header, prepared.trailer)
        self._adopt(
            trailer.counters, trailer.guards, trailer.problems, trailer.problems_total, trailer.digest
        )
        return PlanReader(path, (prepared.header, trailer))

    def adopt_plan(self, reader: PlanReader) -> None:
        """Take a reviewed plan as this execution's own; a copy is kept in its folder."""
        trailer = reader.trailer
        guards = tuple(
            msgspec.structs.replace(
                verdict, accepted=verdict.accepted or verdict.guard in self.context.accept
            )
            for verdict in trailer.guards
        )
        reader.copy_to(os.path.join(self.folder, PLAN_FILE))
        self._adopt(trailer.counters, guards, trailer.problems, trailer.problems_total, trailer.digest)

    def refuse_if_guarded(self) -> None:
        """Raises GuardRefusedError when a guard objects and is not accepted."""
        refusing = [verdict for verdict in self._guards if not verdict.accepted]
        if refusing:
            raise GuardRefusedError(
                "; ".join(f"{verdict.guard}: {verdict.message}" for verdict in refusing),
                guards=[verdict.guard for verdict in refusing],
                remedy=refusing[0].remedy,
            )

    def hold_destination(self, endpoints: Endpoints) -> None:
        """The lock on the destination itself, where it can be held; then what dead executions left is removed."""
        destination = endpoints.destination
        hold(destination, self.task.destination.name)
        if isinstance(destination, Sweeps):
            known = set(self.context.state.execution_ids()) - {self.execution_id}
            for path, execution_id in list(destination.leftovers()):
                if execution_id in known:
                    self._tried_at_destination(functools.partial(destination.remove_leftover, path))

    def crew(self, endpoints: Endpoints, *, refresh: bool) -> Crew:
        """Workers, started when they are needed. Close it."""
        crew = Crew(
            self.task, self.context, endpoints, self.execution_id, refresh, told=self._watch.bandwidth
        )
        self._timesheet.of_workers, self._concurrency = crew.spent, crew.concurrency
        return crew

    def transfer(self, reader: PlanReader, crewed: Crew) -> None:
        # What writes is known by its folder: a later run removes what is left of it.
        self._sync_executions()
        durable = self.task.options.durability is Durability.FULL
        with Journal(self._journal, durable=durable) as journal:
            self._transferred = transfer(reader, self.context, crewed, journal)
        self._counters = counters_after(self._counters, self._transferred.sums)
        problems = [outcome.problem for outcome in self._transferred.attention if outcome.problem is not None]
        self._add_problems(problems, self._transferred.attention_total)
        self._findings += echoed_findings(self._transferred.attention)

    def announce_quarantine(self, endpoints: Endpoints, reader: PlanReader) -> None:
        """What goes into quarantine is known there before it comes: whose it is, and for how long."""
        if not reader.trailer.totals.to_quarantine or not isinstance(endpoints.destination, Renames):
            return
        keep_days = self.task.options.quarantine_keep_days
        now_seconds = self.context.clock.now().timestamp()
        self._tried_at_destination(
            lambda: announce(endpoints.destination, self.execution_id, self.task.name, keep_days, now_seconds)
        )

    def purge_quarantine(self, endpoints: Endpoints) -> None:
        """Quarantined entries past their time go."""
        if self.cancelled or self._transferred is None or self._transferred.aborted:
            return
        now_seconds = self.context.clock.now().timestamp()
        options = self.task.options
        # With delete_excluded, what the source has is quarantined as well.
        source = None if self.task.filters.delete_excluded else endpoints.source
        self._tried_at_destination(
            lambda: purge(
                endpoints.destination, source, self.task.name, now_seconds, options.quarantine_keep_days
            )
        )

    def _tried_at_destination(self, work: Callable[[], object]) -> None:
        """What fails is a problem of the execution, and nothing else."""
        try:
            work()
        except EntryError as error:
            self._add_problems([Problem.from_error(error, self._phases.current, "destination")], 1)

    def mark(self, endpoints: Endpoints) -> None:
        """What was transferred is there: the markers that the task keeps say so."""
        if self.cancelled or self._transferred is None or self._transferred.aborted:
            return
        marked = mark(
            self.task,
            endpoints,
            read_past(self.context.state, self.task.name),
            self.execution_id,
            iso_utc(self.context.clock.now()),
            self._transferred.sums.done > 0,
        )
        for warning in marked.warnings:
            self.context.subscriber(Message("warning", warning))
        self._add_problems(marked.problems, len(marked.problems))
        self._marked = marked

    def verify_transferred(self, reader: PlanReader, crewed: Crew) -> None:
        assert self._transferred is not None
        verified = verify_what_was_transferred(reader, self._transferred, self._journal, self.context, crewed)
        self._add_verified(verified)

    def verify_whole(self, endpoints: Endpoints, crewed: Crew, *, allows_extras: bool) -> None:
        verified, tally = verify_everything(
            self.task, self.context, endpoints, crewed, allows_extras=allows_extras
        )
        if self.trigger is Trigger.VERIFY:
            self._counters = _counters_of_verification(tally, verified)
            self._add_problems(tally.problems, tally.problems_total)
        self._add_verified(verified)

    @property
    def standings(self) -> tuple[Standing, Standing] | None:
        """The task's standing before and after this execution, once its report is written."""
        return self._standings

    # -- the end -------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """What an error inside means: an end of the execution with its own exit code, and a report."""
        try:
            yield
        except GuardRefusedError:
            self._error_code = ExitCode.GUARD_REFUSED
            self._counters = counters_after(self._counters, None)
        except tuple(_PROBLEM_CODES) as error:
            self._error_code = error.exit_code
            self._summary = _SUMMARIES.get(type(error))
            self._counters = (
                counters_after(self._counters, None) if self._transferred is None else self._counters
            )
            message = error.message if error.remedy is None else f"{error.message}. {error.remedy}"
            self._add_problems([Problem("", self._phases.current, _PROBLEM_CODES[type(error)], message)], 1)
        except EntryError as error:
            self._error_code = ExitCode.ACTIONS_FAILED
            self._add_problems([Problem.from_error(error, self._phases.current)], 1)

    def report(self) -> Report:
        """Write everything down; the report is whole on disk and in history when this returns."""
        if self._report is not None:
            return self._report
        findings = tuple(self._findings)
        if self._error_code is not None:
            exit_code = self._error_code
        else:
            failed = self._counters.actions_failed
            exit_code = exit_code_of(self.cancelled, failed, self._problems_total, findings)
        status = Phase.SUCCESS if exit_code is ExitCode.DONE else Phase.ERROR
        if exit_code is ExitCode.INTERRUPTED:
            status = Phase.CANCELLED
        self._phases.close(status)
        self._timesheet.end()
        if exit_code is ExitCode.INTERRUPTED and self.context.cancellation.reason:
            reason = self.context.cancellation.reason
            self._add_problems([Problem("", self._phases.current, EntryCode.CANCELLED, reason)], 1)
        self._report = self._assembled(exit_code, status, findings)
        try:
            self._report = self._written(self._report)
        except StateUnavailableError as error:
            # Whoever is told of this execution hears that it is not on record.
            self._add_problems([Problem("", self._phases.current, EntryCode.UNAVAILABLE, error.message)], 1)
            self._summary = STATE_UNAVAILABLE
            self._report = self._assembled(error.exit_code, Phase.ERROR, findings)
            raise
        self.context.subscriber(Ended(self.task.name, self.execution_id, status))
        return self._report

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._report is None:
            # A defect or a fault of configuration that shows late: history has to know that this ended.
            self._error_code = error.exit_code if isinstance(error, RunnerError) else ExitCode.INTERNAL
            message = f"{type(error).__name__}: {error}"
            self._add_problems([Problem("", self._phases.current, EntryCode.INTERNAL, message)], 1)
            self.report()
        self._watch.__exit__()
        for warning in self._notebook.close():
            self.context.subscriber(Message("warning", warning))
        if self._report is not None:
            self._surroundings.ended(self._report, self.folder, self._standings)

    # -- parts ---------------------------------------------------------------------------------------------

    @property
    def _journal(self) -> str:
        return os.path.join(self.folder, "outcomes.jsonl")

    def _adopt(
        self,
        counters: Counters,
        guards: tuple[GuardVerdict, ...],
        problems: tuple[Problem, ...],
        problems_total: int,
        digest: str,
    ) -> None:
        self._counters, self._guards, self._plan_digest = counters, guards, digest
        self._add_problems(problems, problems_total)

    def _add_problems(self, problems: Sequence[Problem], total: int) -> None:
        self._problems_total += total
        self._problems.extend(problems)

    def _add_verified(self, verified: Verified) -> None:
        self._verified = verified
        # A file that could not be read is missing, too: that follows, and is said once.
        told = {finding.path for finding in self._findings}
        self._findings += [finding for finding in verified.findings if finding.path not in told]
        self._counters = msgspec.structs.replace(
            self._counters,
            verified=verified.verified,
            failed_verify=verified.failed,
            bytes_verified=verified.bytes,
        )

    def _assembled(self, exit_code: ExitCode, status: Phase, findings: tuple[Finding, ...]) -> Report:
        ended_at = self.context.clock.now()
        counters = self._counters
        summary = summary_sentence(
            status,
            exit_code,
            counters,
            self._guards,
            self._problems_total,
            len(findings),
            self._verified is not None,
        )
        execution = Execution(
            execution_id=self.execution_id,
            task=self.task.name,
            trigger=self.trigger,
            status=status,
            exit_code=int(exit_code),
            summary=self._summary or summary,
            started_at=iso_utc(self._started_at),
            ended_at=iso_utc(ended_at),
            duration_seconds=self.context.clock.monotonic() - self._began,
            host=socket.gethostname(),
            runner_version=runner.__version__,
            config_file=self.context.configuration.file,
            config_digest=self.task.config_digest,
            filter_digest=self.task.filter_digest,
            plan_digest=self._plan_digest,
        )
        return Report(
            version=REPORT_VERSION,
            execution=execution,
            source=self._endpoints["source"],
            destination=self._endpoints["destination"],
            settings=describe_task(self.task),
            phases=self._phases.timings(),
            time=self._timesheet.spent(),
            concurrency=self._concurrency(),
            counters=counters,
            guards=self._guards,
            problems=tuple(self._problems[:LISTED_AT_MOST]),
            problems_total=self._problems_total,
            findings=findings[:LISTED_AT_MOST],
            findings_total=len(findings),
            outcomes_file="outcomes.jsonl" if self._transferred is not None else None,
        )

    def _written(self, report: Report) -> Report:
        """The report as it stands on disk, with its evidence. Raises StateUnavailableError."""
        for path, values in (
            (os.path.join(self.folder, PROBLEMS_FILE), self._problems),
            (os.path.join(self.folder, FINDINGS_FILE), self._findings),
        ):
            _write_lines(path, values)
        report = seal(report, self.folder, self._transferred, self._findings, self.context)
        write_formats(self.folder, report, self.task.reports)
        if self._transferred is None:
            self._sync_executions()
        self._notebook.ended(report, self.folder)
        doubt(report, self._findings, self._still_doubted, self.context)
        if self.trigger is not Trigger.VERIFY:
            self._standings = stand(report, self.context)
            remember(report, self._marked, self.context)
        return report

    def _sync_executions(self) -> None:
        """The folder of this execution survives a power cut from here on."""
        folder = self.context.state.executions_folder
        try:
            sync_folder(folder)
        except OSError as error:
            raise unavailable(folder, error) from error


def _describe(context: Context, settings: LocationSettings) -> str:
    return context.registry.driver(settings.type).describe(settings)


def _counters_of_verification(tally: Tally, verified: Verified) -> Counters:
    """A verification transfers nothing: what was listed at the source is excluded, failed or left as it was."""
    counters = tally.counters()
    left = Counts(
        counters.listed.files - counters.excluded.files - counters.failed.files,
        counters.listed.folders - counters.excluded.folders - counters.failed.folders,
    )
    return msgspec.structs.replace(counters, skipped=left, kept=Counts(verified.kept, 0))


def _write_lines(path: str, values: Sequence[Problem] | Sequence[Finding]) -> None:
    lines = b"".join(encode_line(value) + b"\n" for value in values)
    try:
        write_whole(path, lambda output: output.write(lines), durable=bool(lines))
    except OSError as error:
        raise unavailable(path, error) from error
