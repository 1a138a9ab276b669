"""What is worth telling about an execution that ended. Pure."""

from __future__ import annotations

from runner.errors import ExitCode
from runner.history.standing import Standing, ended_by_itself
from runner.model.automation import NotifyRule, Occasion
from runner.model.entry import Phase
from runner.model.execution import Report

MOST_TELLING_FIRST = (
    Occasion.GUARD,
    Occasion.PARTIAL,
    Occasion.FAILURE,
    Occasion.RECOVERY,
    Occasion.ALWAYS,
)


def occasions_of(report: Report, before: Standing, after: Standing) -> frozenset[Occasion]:
    """Every occasion that an execution is, given how its task stood before it and stands after it.

    ALWAYS    each execution.
    FAILURE   it did not end with success. Not one that a person cancelled, who knows; but one that a
              time limit or the service ended.
    RECOVERY  the first success after a failure, however many cancelled executions lay between.
    GUARD     a guard refused (that is a failure, too).
    PARTIAL   it did not end with success, and something was done (that is a failure, too).
    """
    execution = report.execution
    found = {Occasion.ALWAYS}
    if execution.status is Phase.SUCCESS:
        if before.failures_in_a_row > 0 and after.failures_in_a_row == 0:
            found.add(Occasion.RECOVERY)
        return frozenset(found)
    if execution.status is Phase.CANCELLED and not ended_by_itself(report):
        return frozenset(found)
    found.add(Occasion.FAILURE)
    if execution.exit_code == ExitCode.GUARD_REFUSED:
        found.add(Occasion.GUARD)
    if report.counters.actions_done > 0:
        found.add(Occasion.PARTIAL)
    return frozenset(found)


def most_telling(occasions: frozenset[Occasion]) -> Occasion:
    """The occasion whose message is sent when several apply."""
    return next(occasion for occasion in MOST_TELLING_FIRST if occasion in occasions)


def channels_for(rules: tuple[NotifyRule, ...], occasions: frozenset[Occasion]) -> tuple[str, ...]:
    """The channels that hear of any of these occasions, each once, in the order of the rules."""
    return tuple(dict.fromkeys(name for rule in rules if occasions & set(rule.on) for name in rule.to))
