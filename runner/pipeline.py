"""The whole story: sync.yaml -> plan -> apply -> verify -> report. The command line and any service call this.

Every function takes a task and a Context; none prints. A run always ends in a Report, also when it was refused.
What only some of them need is imported there: a plan starts sooner.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from runner.errors import PlanFileError
from runner.execution.circumstances import circumstances, read_selection
from runner.execution.context import Cancellation, Context
from runner.execution.planning import NO_EXECUTION, PlanningCrew
from runner.locations.pair import Endpoints
from runner.model.entry import Phase
from runner.model.events import Planned
from runner.model.execution import Report, Trigger
from runner.model.plan import Explanation, PlanSummary
from runner.model.task import DeletedFiles, Task, VerifyMode
from runner.plan.file import PlanReader, PlanWriter, write_plan_file
from runner.plan.prepare import Prepared, endpoint_summary, prepare

if TYPE_CHECKING:
    from datetime import datetime

    from runner.execution.crew import Crew
    from runner.execution.record import ExecutionRecord
    from runner.execution.restoring import RestoreResult


def plan_task(task: Task, context: Context, output: str | None = None) -> PlanSummary:
    """List, compare and decide; nothing is written but the plan file, when `output` names one.

    Raises LocationUnavailableError, UsageError, EntryError (a listing that breaks its promises).
    """
    with (
        Endpoints(
            task, context.registry, NO_EXECUTION, context.state.cache_folder, context.clock
        ) as endpoints,
        contextlib.closing(PlanWriter()) as writer,
        contextlib.closing(PlanningCrew(task, context, endpoints)) as crew,
    ):
        prepared = _prepare(task, context, endpoints, writer, crew)
        trailer = prepared.trailer
        if output is not None:
            trailer = write_plan_file(output, writer, prepared.header, trailer)
        return PlanSummary(
            header=prepared.header,
            trailer=trailer,
            largest=prepared.largest,
            first=prepared.first,
            file=output,
        )


def run_task(task: Task, context: Context, trigger: Trigger = Trigger.MANUAL) -> Report:
    """Plan, apply, verify, report. Raises only for faults of the state folder or defects."""
    from runner.execution.record import ExecutionRecord

    with ExecutionRecord(task, context, trigger) as record:
        with record.guarded():
            record.enter(Phase.LAUNCHING)
            with (
                record.destination_lock(),
                record.begun(),
                record.opened() as endpoints,
                contextlib.closing(record.crew(endpoints, refresh=True)) as crew,
            ):
                record.enter(Phase.PREPARING)
                with contextlib.closing(PlanWriter()) as writer:
                    prepared = _prepare(task, context, endpoints, writer, crew)
                    reader = record.keep_plan(prepared)
                record.refuse_if_guarded()
                _carry_out(task, record, endpoints, crew, reader)
        return record.report()


def apply_plan(plan_file: str, context: Context) -> Report:
    """Carry out a plan file, action by action, exactly as it was reviewed.

    Raises PlanFileError when it is damaged or was made for another configuration: nothing was written then.
    """
    from runner.execution.record import ExecutionRecord

    reader = PlanReader(plan_file)
    task = _task_of(reader, context)
    with ExecutionRecord(task, context, Trigger.APPLY) as record:
        with record.guarded():
            record.enter(Phase.LAUNCHING)
            with (
                record.destination_lock(),
                record.begun(),
                record.opened() as endpoints,
                contextlib.closing(record.crew(endpoints, refresh=False)) as crew,
            ):
                record.enter(Phase.PREPARING)
                _check_endpoints(reader, task, endpoints)
                record.adopt_plan(reader)
                record.refuse_if_guarded()
                _carry_out(task, record, endpoints, crew, reader)
        return record.report()


def verify_task(task: Task, context: Context) -> Report:
    """Read both sides completely and say what differs; writes nothing at either."""
    from runner.execution.record import ExecutionRecord

    with ExecutionRecord(task, context, Trigger.VERIFY) as record:
        with record.guarded():
            record.enter(Phase.LAUNCHING)
            with record.opened() as endpoints:
                record.enter(Phase.VERIFYING)
                with contextlib.closing(record.crew(endpoints, refresh=False)) as crew:
                    record.verify_whole(endpoints, crew, allows_extras=False)
        return record.report()


def explain_path(task: Task, context: Context, path: str) -> Explanation:
    """Why `path` is or is not copied, changed or deleted: the planner's own answer."""
    from runner.plan.explain import explain

    with Endpoints(
        task, context.registry, NO_EXECUTION, context.state.cache_folder, context.clock
    ) as endpoints:
        selection = read_selection(task, context)
        return explain(task, endpoints, selection, circumstances(task, context), path)


def restore(
    task: Task,
    context: Context,
    execution: str | None,
    paths: Sequence[str],
    list_only: bool,
    as_of: datetime | None = None,
) -> RestoreResult:
    """Bring quarantined entries back to where they were; nothing is overwritten. `execution` None = the latest. `as_of`:
    what stood there then, of all executions since."""
    from runner.execution.restoring import restore_as_of, restore_execution

    with Endpoints(
        task, context.registry, NO_EXECUTION, context.state.cache_folder, context.clock
    ) as endpoints:
        if as_of is not None:
            return restore_as_of(task, context, endpoints, as_of, paths, list_only)
        return restore_execution(task, context, endpoints, execution, paths, list_only)


def read_plan_summary(plan_file: str) -> PlanSummary:
    """A plan file as `plan` showed it when it was made. Raises PlanFileError."""
    from runner.plan.preview import previewed

    return previewed(PlanReader(plan_file))


# -- steps ---------------------------------------------------------------------------------------------------


def _prepare(
    task: Task,
    context: Context,
    endpoints: Endpoints,
    writer: PlanWriter,
    crew: Crew | PlanningCrew,
) -> Prepared:
    selection = read_selection(task, context, crew.now_ns)
    told = circumstances(task, context)
    if not isinstance(crew, PlanningCrew):
        told = msgspec.structs.replace(told, on_listed=crew.listening(told.on_listed))
    prepared = prepare(task, endpoints, selection, told, writer, workers=crew.pool)
    totals = prepared.trailer.totals
    context.subscriber(Planned(totals.changes, totals.bytes_to_write))
    return prepared


def _carry_out(
    task: Task, record: ExecutionRecord, endpoints: Endpoints, crew: Crew, reader: PlanReader
) -> None:
    options = task.options
    record.hold_destination(endpoints)
    record.enter(Phase.TRANSFERRING)
    record.announce_quarantine(endpoints, reader)
    record.transfer(reader, crew)
    if options.uses_quarantine:
        record.purge_quarantine(endpoints)
    record.mark(endpoints)
    if record.cancelled or options.verify_mode is VerifyMode.NONE:
        return
    record.enter(Phase.VERIFYING)
    if options.verify_mode is VerifyMode.ONLY_FILES_TRANSFERRED:
        record.verify_transferred(reader, crew)
    else:
        keeps = options.preserve_deleted_files is DeletedFiles.PRESERVE or not reader.trailer.complete
        record.verify_whole(endpoints, crew, allows_extras=keeps)


def _task_of(reader: PlanReader, context: Context) -> Task:
    name = reader.header.task
    task = context.configuration.tasks.get(name)
    again = f"Make a new plan: sync-runner plan {name} -c {context.configuration.file} -o {reader.path}"
    if task is None:
        raise PlanFileError(
            f"{reader.path} is a plan for task {name!r}, which {context.configuration.file} does not declare",
            remedy="Name the configuration it was made for: sync-runner apply PLAN -c FILE",
        )
    if task.config_digest != reader.header.config_digest:
        raise PlanFileError(
            f"{reader.path} was made for another configuration of task {name!r}: it changed since",
            remedy=again,
        )
    return task


def _check_endpoints(reader: PlanReader, task: Task, endpoints: Endpoints) -> None:
    """A plan is for these very endpoints: not for another disk mounted at the same place."""
    for side in ("source", "destination"):
        planned = getattr(reader.header, side)
        present = endpoint_summary(endpoints, task, side)
        if planned.marker is not None:
            if present.marker == planned.marker:
                continue
            found = f"it has the marker {present.marker}" if present.marker else "it has no marker"
            raise PlanFileError(
                f"the {side} is not the one the plan was made for: that had the marker {planned.marker}, {found}",
                remedy="See that everything is mounted that should be, or make a new plan.",
            )
        if planned.identity is not None and present.identity != planned.identity:
            raise PlanFileError(
                f"the {side} is not the one the plan was made for: it was {planned.identity}, "
                f"it is {present.identity}",
                remedy="See that everything is mounted that should be, or make a new plan.",
            )


__all__ = [
    "Cancellation",
    "Context",
    "apply_plan",
    "explain_path",
    "plan_task",
    "read_plan_summary",
    "restore",
    "run_task",
    "verify_task",
]
