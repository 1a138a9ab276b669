"""plan, check, explain: what would happen and why. Nothing is written at a location."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence

from runner.cli.parser import closest
from runner.cli.session import Session
from runner.cli.show_plan import check_text, explanation_text, plan_text
from runner.errors import ExitCode, UsageError
from runner.model.plan import PlanSummary


def plan(session: Session, arguments: Namespace) -> int:
    """`plan TASK`: 6 when a guard refuses, 4 when something could not be listed, 3 on request for changes."""
    check_guard_names(arguments.accept)
    summary = _planned(session, arguments.task, arguments.output, arguments.accept)
    if session.output.json:
        session.output.value(summary)
    elif not session.output.quiet:
        session.output.result(plan_text(summary, session.page, config_flag=session.config_flag))
    return plan_exit_code(summary, detailed=arguments.detailed_exitcode)


def check(session: Session, arguments: Namespace) -> int:
    """`check TASK`: 0 in sync, 3 drifted, 4 when something could not be listed."""
    summary = _planned(session, arguments.task, None, ())
    if session.output.json:
        session.output.value(summary)
    elif not session.output.quiet:
        session.output.result(check_text(summary, session.page, config_flag=session.config_flag))
    return check_exit_code(summary)


def explain(session: Session, arguments: Namespace) -> int:
    """`explain TASK PATH`."""
    task = session.task(arguments.task)
    with session.watching() as display:
        context = session.context(subscriber=display)
        explanation = session.services.explain_path(task, context, arguments.path)
    if session.output.json:
        session.output.value(explanation)
    session.output.result(explanation_text(explanation, session.page))
    return ExitCode.DONE if explanation.problem is None else ExitCode.ACTIONS_FAILED


def plan_exit_code(summary: PlanSummary, *, detailed: bool) -> int:
    """A refusal outweighs an incomplete listing, which outweighs differences."""
    if summary.refused:
        return ExitCode.GUARD_REFUSED
    if _incomplete(summary):
        return ExitCode.ACTIONS_FAILED
    return ExitCode.DIFFERENCES if detailed and summary.trailer.totals.changes else ExitCode.DONE


def check_exit_code(summary: PlanSummary) -> int:
    """Guards do not matter: a check writes nothing. What could not be listed does: equal is not proven."""
    if _incomplete(summary):
        return ExitCode.ACTIONS_FAILED
    return ExitCode.DIFFERENCES if summary.trailer.totals.changes else ExitCode.DONE


def check_guard_names(names: Sequence[str]) -> None:
    """Raises UsageError for --accept with a guard that does not exist: a typo must not look like consent."""
    if not names:
        return
    from runner.plan.guards import GUARD_NAMES, NEVER_ACCEPTED

    for name in names:
        if name in NEVER_ACCEPTED:
            raise UsageError(
                f"option --accept: the guard {name} is not let pass so: it says which place is the wrong one",
                remedy="Bring the right one back. To take this one for it on purpose: sync-runner locations adopt NAME",
            )
        if name not in GUARD_NAMES:
            close = closest(name, GUARD_NAMES)
            raise UsageError(
                f"option --accept: there is no guard {name!r}",
                remedy=f"Did you mean {close}?" if close else f"Guards: {', '.join(GUARD_NAMES)}",
            )


def _incomplete(summary: PlanSummary) -> bool:
    return not summary.trailer.complete or summary.trailer.problems_total > 0


def _planned(session: Session, name: str, output: str | None, accept: Sequence[str]) -> PlanSummary:
    task = session.task(name)
    with session.watching() as display:
        context = session.context(subscriber=display, accept=accept)
        return session.services.plan_task(task, context, output)
