"""Which executions are which occasions, as a table."""

from __future__ import annotations

import pytest
from alerts_support import failed, make_report, standings, with_problem

from runner.alerts.occasions import MOST_TELLING_FIRST, channels_for, most_telling, occasions_of
from runner.errors import EntryCode, ExitCode
from runner.model.automation import NotifyRule, Occasion
from runner.model.entry import Phase, Problem
from runner.model.execution import GuardVerdict, Report
from runner.service.loop import STOPPING

ALWAYS, FAILURE, RECOVERY, GUARD, PARTIAL = (
    Occasion.ALWAYS,
    Occasion.FAILURE,
    Occasion.RECOVERY,
    Occasion.GUARD,
    Occasion.PARTIAL,
)
SUCCESS = make_report()
FAILED = failed()
PARTLY = failed(done=2)
REFUSED = make_report(
    Phase.ERROR, ExitCode.GUARD_REFUSED, guards=(GuardVerdict("max_deletions", "too many", "look"),)
)
CANCELLED = make_report(Phase.CANCELLED, ExitCode.INTERRUPTED)


def cancelled_because(reason: str) -> Report:
    return with_problem(CANCELLED, Problem("", Phase.TRANSFERRING, EntryCode.CANCELLED, reason))


TABLE = [
    ("the first success", [SUCCESS], {ALWAYS}),
    ("success after success", [SUCCESS, SUCCESS], {ALWAYS}),
    ("success after a failure", [FAILED, SUCCESS], {ALWAYS, RECOVERY}),
    ("success after several", [SUCCESS, FAILED, REFUSED, SUCCESS], {ALWAYS, RECOVERY}),
    ("the second success after a failure", [FAILED, SUCCESS, SUCCESS], {ALWAYS}),
    ("a success after a failure and a cancelled one", [FAILED, CANCELLED, SUCCESS], {ALWAYS, RECOVERY}),
    ("a success after a cancelled one", [SUCCESS, CANCELLED, SUCCESS], {ALWAYS}),
    ("a failure with nothing done", [FAILED], {ALWAYS, FAILURE}),
    ("a failure with something done", [PARTLY], {ALWAYS, FAILURE, PARTIAL}),
    ("findings of verification", [make_report(Phase.ERROR, ExitCode.VERIFICATION_FAILED, done=1)],
     {ALWAYS, FAILURE, PARTIAL}),
    ("a guard", [REFUSED], {ALWAYS, FAILURE, GUARD}),
    ("a location that cannot be opened", [make_report(Phase.ERROR, ExitCode.LOCATION_UNAVAILABLE)],
     {ALWAYS, FAILURE}),
    ("a held lock", [make_report(Phase.ERROR, ExitCode.LOCK_HELD)], {ALWAYS, FAILURE}),
    ("cancelled by Ctrl-C", [CANCELLED], {ALWAYS}),
    ("cancelled by a command", [cancelled_because("cancelled by a user")], {ALWAYS}),
    ("cancelled by its time limit", [cancelled_because("stopped: it took longer than max_duration, 1 s")],
     {ALWAYS, FAILURE}),
    ("cancelled because the service ends", [cancelled_because(STOPPING)], {ALWAYS}),
]  # fmt: skip


@pytest.mark.parametrize(("description", "executions", "expected"), TABLE, ids=[row[0] for row in TABLE])
def test_occasions(description: str, executions: list[Report], expected: set[Occasion]) -> None:
    before, after = standings(*executions)
    assert (description, occasions_of(executions[-1], before, after)) == (description, expected)


def test_every_occasion_has_its_place() -> None:
    assert sorted(MOST_TELLING_FIRST) == sorted(Occasion)
    assert most_telling(frozenset(Occasion)) is GUARD
    assert most_telling(frozenset({ALWAYS, FAILURE})) is FAILURE


@pytest.mark.parametrize(
    ("description", "rules", "occasions", "expected"),
    [
        ("no rule", (), {ALWAYS}, ()),
        ("what a rule hears of by itself", (NotifyRule(("ops",)),), {ALWAYS, FAILURE}, ("ops",)),
        ("not every success", (NotifyRule(("ops",)),), {ALWAYS}, ()),
        ("each channel once", (NotifyRule(("a", "b")), NotifyRule(("b", "c"), (GUARD,))), {FAILURE, GUARD},
         ("a", "b", "c")),
        ("only the rule that fits", (NotifyRule(("a",), (RECOVERY,)), NotifyRule(("b",), (FAILURE,))), {FAILURE},
         ("b",)),
    ],
)  # fmt: skip
def test_who_hears_of_it(
    description: str, rules: tuple[NotifyRule, ...], occasions: set[Occasion], expected: tuple[str, ...]
) -> None:
    assert (description, channels_for(rules, frozenset(occasions))) == (description, expected)
