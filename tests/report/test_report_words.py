"""The sentences: every way an execution ends, in words a manager understands."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest
from report_stories import calm_story, make_execution, make_report, troubled_story

from runner.errors import ENTRY_CODE_MEANINGS, ExitCode
from runner.model.action import Verdict
from runner.model.entry import Phase
from runner.model.execution import Counters, Counts, GuardVerdict
from runner.report.words import VERDICT_MEANINGS, Step, headline, next_steps, summary_sentence

GIB = 1024**3
REFUSED = GuardVerdict("max_deletions", "1,204 of 1,300 entries", "sync-runner run t --accept max_deletions")


@dataclasses.dataclass(frozen=True)
class End:
    """The arguments of `summary_sentence`, calm unless said otherwise."""

    status: Phase = Phase.SUCCESS
    exit_code: int = 0
    counters: Counters = dataclasses.field(default_factory=Counters)
    guards: tuple[GuardVerdict, ...] = ()
    problems_total: int = 0
    findings_total: int = 0
    verified: bool = True


SENTENCES = [
    (
        "all copied and verified",
        End(counters=Counters(prepared=Counts(12), transferred=Counts(12), bytes_transferred=int(3.1 * GIB))),
        "12 of 12 files copied (3.1 GiB) and verified; nothing deleted.",
    ),
    (
        "one file, not verified",
        End(
            counters=Counters(prepared=Counts(1), transferred=Counts(1), bytes_transferred=5), verified=False
        ),
        "1 of 1 file copied (5 B); nothing deleted.",
    ),
    (
        "deleted and quarantined",
        End(
            counters=Counters(
                prepared=Counts(2), transferred=Counts(2), deleted=Counts(5, 1), quarantined=Counts(0, 2)
            )
        ),
        "2 of 2 files copied or updated and verified; "
        "5 files and 1 folder deleted, 2 folders moved to quarantine.",
    ),
    ("nothing at all", End(), "Nothing to copy; nothing deleted."),
    (
        "in sync",
        End(counters=Counters(listed=Counts(1200, 30), skipped=Counts(1200, 30)), verified=False),
        "1,200 files and 30 folders listed, nothing to copy; nothing deleted.",
    ),
    (
        "a verification alone",
        End(counters=Counters(verified=Counts(120))),
        "120 files verified and found equal, nothing to copy; nothing deleted.",
    ),
    (
        "folders only",
        End(counters=Counters(prepared=Counts(0, 3), transferred=Counts(0, 3))),
        "3 folders created or changed and verified, no file to copy; nothing deleted.",
    ),
    (
        "some failed, one of them stale",
        End(
            Phase.ERROR,
            4,
            Counters(
                prepared=Counts(10),
                transferred=Counts(7),
                failed=Counts(3),
                stale=Counts(1),
                bytes_transferred=2048,
            ),
            problems_total=3,
        ),
        "3 files failed, 1 of them changed since the plan. "
        "7 of 10 files copied (2.0 KiB) and verified; nothing deleted.",
    ),
    (
        "an unreadable folder only",
        End(
            Phase.ERROR,
            4,
            Counters(listed=Counts(9, 2), skipped=Counts(9, 1)),
            problems_total=1,
            verified=False,
        ),
        "1 problem came up. 9 files and 2 folders listed, nothing to copy; nothing deleted.",
    ),
    (
        "only a stale deletion",
        End(Phase.ERROR, 4, Counters(stale=Counts(1)), problems_total=1),
        "1 path changed since the plan. Nothing to copy; nothing deleted.",
    ),
    (
        "a deletion that failed",
        End(Phase.ERROR, 4, Counters(failed_delete=Counts(2), deleted=Counts(1)), problems_total=2),
        "2 files could not be deleted. Nothing to copy; 1 file deleted.",
    ),
    (
        "verification failed",
        End(Phase.ERROR, 5, Counters(prepared=Counts(4), transferred=Counts(4)), findings_total=1),
        "Verification found 1 difference. 4 of 4 files copied or updated; nothing deleted.",
    ),
    (
        "both failed",
        End(
            Phase.ERROR,
            5,
            Counters(prepared=Counts(4), transferred=Counts(3), failed=Counts(1)),
            problems_total=1,
            findings_total=2,
        ),
        "1 file failed, verification found 2 differences. 3 of 4 files copied or updated; nothing deleted.",
    ),
    (
        "differences",
        End(exit_code=3, counters=Counters(actions_planned=7), verified=False),
        "7 differences found; nothing was written.",
    ),
    (
        "a guard",
        End(Phase.ERROR, 6, guards=(REFUSED,), verified=False),
        "Nothing was written: guard max_deletions refused.",
    ),
    (
        "an accepted guard does not matter",
        End(
            counters=Counters(prepared=Counts(1), transferred=Counts(1)),
            guards=(msgspec.structs.replace(REFUSED, accepted=True),),
        ),
        "1 of 1 file copied or updated and verified; nothing deleted.",
    ),
    (
        "a location that never opened",
        End(Phase.ERROR, 7, verified=False),
        "A location could not be opened; nothing was written.",
    ),
    (
        "a location that went away",
        End(Phase.ERROR, 7, Counters(prepared=Counts(4), transferred=Counts(1)), verified=False),
        "A location stopped answering. 1 of 4 files copied or updated; nothing deleted.",
    ),
    (
        "a lock",
        End(Phase.ERROR, 8, verified=False),
        "Another execution holds the destination's lock; nothing was written.",
    ),
    (
        "a wrong plan file",
        End(Phase.ERROR, 2, verified=False),
        "The configuration or the plan file is wrong; nothing was written.",
    ),
    (
        "cancelled",
        End(Phase.CANCELLED, 130, Counters(prepared=Counts(40), transferred=Counts(12)), verified=False),
        "Cancelled before the end. 12 of 40 files copied or updated; nothing deleted.",
    ),
    (
        "a defect",
        End(Phase.ERROR, 1, verified=False),
        "Stopped by an internal error. Nothing to copy; nothing deleted.",
    ),
]


@pytest.mark.parametrize(
    ("end", "expected"), [row[1:] for row in SENTENCES], ids=[row[0] for row in SENTENCES]
)
def test_summary_sentence(end: End, expected: str) -> None:
    arguments = [getattr(end, field.name) for field in dataclasses.fields(end)]
    assert summary_sentence(*arguments) == expected


def test_every_exit_code_has_a_headline() -> None:
    headlines = [headline(code, Counters()) for code in ExitCode]
    assert len(set(headlines)) == len(ExitCode)
    assert not any("exit code" in text for text in headlines)
    assert headline(0, Counters()) == "In sync"
    assert headline(0, Counters(actions_done=1)) == "Done"
    assert headline(4, Counters(actions_done=1)) == "Done in part"
    assert headline(4, Counters(listed=Counts(1, 1))) == "Not everything could be done"
    assert headline(4, Counters()) == "Stopped before the start"
    assert headline(77, Counters()) == "Ended with exit code 77"


def test_every_verdict_and_code_has_words() -> None:
    assert list(VERDICT_MEANINGS) == list(Verdict)
    assert all(meaning and remedy for _, meaning, remedy in ENTRY_CODE_MEANINGS.values())


def test_nothing_to_do_when_all_is_well() -> None:
    assert next_steps(calm_story().report) == ()


def test_next_steps_name_the_code_the_verdict_and_the_command() -> None:
    steps = next_steps(troubled_story().report)
    assert [step.text.split(":")[0] for step in steps] == [
        "1 problem with code not_listed",
        "1 problem with code locked",
        "1 path with verdict checksum_failure",
        "1 path with verdict metadata_failure",
        "1 path with verdict file_added",
        "Then run again",
    ]
    assert steps[-1].command == "sync-runner run photos-to-archive -c /srv/sync/sync.yaml"


@pytest.mark.parametrize(
    ("exit_code", "status", "expected"),
    [
        (3, Phase.SUCCESS, "To make the destination equal:"),
        (7, Phase.ERROR, "Bring back what is missing, then:"),
        (8, Phase.ERROR, "When the other execution has ended:"),
        (130, Phase.CANCELLED, "To go on; what is done is not copied twice:"),
    ],
)
def test_next_steps_by_exit_code(exit_code: int, status: Phase, expected: str) -> None:
    report = make_report(
        execution=make_execution(exit_code=exit_code, status=status, task="my task; rm -rf /")
    )
    command = "sync-runner run 'my task; rm -rf /' -c /srv/sync/sync.yaml"
    assert next_steps(report) == (Step(expected, command),)


def test_a_refusing_guard_says_how_to_go_on() -> None:
    report = make_report(execution=make_execution(exit_code=6, status=Phase.ERROR), guards=(REFUSED,))
    assert next_steps(report) == (Step("sync-runner run t --accept max_deletions"),)
