from __future__ import annotations

import os
import stat

import pytest
from cli_fakes import HOSTILE, FakeServices, command, make_configuration

from runner.cli.endings import GRAVEST_FIRST, gravest
from runner.errors import (
    ConfigurationError,
    Diagnostic,
    EntryCode,
    EntryError,
    ExitCode,
    GuardRefusedError,
    InterruptedByUserError,
    LocationUnavailableError,
    LockHeldError,
    MissingExtraError,
    PlanFileError,
    UsageError,
)

FAULT = Diagnostic(
    file="sync.yaml",
    line=3,
    column=5,
    message="unknown key 'optoins'",
    excerpt="    optoins: {}",
    width=7,
    expected="one of source, destination, options",
    suggestion="did you mean 'options'?",
    pointer="/tasks/t",
)

ENDINGS = [
    (UsageError("no", remedy="yes"), 2, "usage", "yes"),
    (PlanFileError("damaged", remedy="plan again"), 2, "plan_file", "plan again"),
    (MissingExtraError("needs boto3", remedy="pip"), 2, "missing_extra", "pip"),
    (GuardRefusedError("too many", guards=["max_deletions"], remedy="go on"), 6, "guard_refused", "go on"),
    (LocationUnavailableError("gone"), 7, "location_unavailable", None),
    (LockHeldError("busy", remedy="wait"), 8, "lock_held", "wait"),
    (InterruptedByUserError("stopped"), 130, "interrupted", None),
    (
        EntryError(EntryCode.NO_SPACE, "a", "no space"),
        4,
        "no_space",
        "Free space, then run again: what is done is not copied twice.",
    ),
]


@pytest.mark.parametrize(("error", "exit_code", "code", "remedy"), ENDINGS, ids=[row[2] for row in ENDINGS])
def test_errors_become_exit_codes_and_words(error, exit_code, code, remedy):
    services = FakeServices(answers={"plan_task": error})
    ran = command("plan", "photos", services=services)
    as_json = command("plan", "photos", "--json", services=services)

    assert (ran.exit_code, ran.stdout) == (exit_code, "")
    expected = [f"error[{code}]: {error.message}"] + ([f"-> {remedy}"] if remedy else [])
    assert [line for line in ran.stderr.splitlines() if line] == expected
    assert as_json.exit_code == exit_code
    assert as_json.values == [
        {"error": {"code": code, "message": error.message, "remedy": remedy, "exit_code": exit_code}}
    ]


def test_ctrl_c_is_130():
    ran = command("plan", "photos", services=FakeServices(answers={"plan_task": KeyboardInterrupt()}))

    assert (ran.exit_code, ran.stdout, ran.stderr) == (130, "", "interrupted\n")


def test_configuration_errors_are_shown_like_a_compiler_does():
    services = FakeServices(answers={"load_configuration": ConfigurationError([FAULT, FAULT])})
    ran = command("plan", "photos", services=services)

    assert ran.exit_code == 2
    one = [
        "sync.yaml:3:5: unknown key 'optoins'",
        "  3 |     optoins: {}",
        "    |     ^^^^^^^",
        "  expected: one of source, destination, options",
        "  did you mean 'options'?",
        "",
    ]
    assert ran.stderr.splitlines() == [*one, *one, "error[configuration]: 2 faults found"]


def test_validate_lists_faults_as_json():
    services = FakeServices(answers={"load_configuration": ConfigurationError([FAULT])})
    ran = command("validate", "--json", services=services)

    assert ran.exit_code == 2
    [value] = ran.values
    assert value["valid"] is False
    assert value["diagnostics"][0] == {
        "file": "sync.yaml",
        "line": 3,
        "column": 5,
        "message": "unknown key 'optoins'",
        "expected": "one of source, destination, options",
        "suggestion": "did you mean 'options'?",
        "pointer": "/tasks/t",
    }


def test_a_defect_leaves_a_private_file_and_no_traceback(tmp_path):
    services = FakeServices(
        configuration_answer=make_configuration(state=str(tmp_path)),
        answers={"plan_task": ZeroDivisionError("so sorry")},
    )
    ran = command("plan", "photos", services=services)

    [name] = os.listdir(tmp_path)
    crash_file = tmp_path / name
    assert ran.exit_code == 1
    assert ran.stderr.splitlines()[0] == "error[internal]: internal error: ZeroDivisionError: so sorry"
    assert str(crash_file) in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "Traceback" in crash_file.read_text()
    assert stat.S_IMODE(crash_file.stat().st_mode) == 0o600


def test_a_defect_shows_its_traceback_on_request(tmp_path):
    services = FakeServices(
        configuration_answer=make_configuration(state=str(tmp_path)),
        answers={"plan_task": ZeroDivisionError("so sorry")},
    )
    ran = command("plan", "photos", services=services, environment={"SYNC_RUNNER_DEBUG": "1"})

    assert ran.stderr.startswith("Traceback (most recent call last):")


def test_a_defect_without_a_state_folder_goes_to_the_temporary_folder(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    services = FakeServices(answers={"load_configuration": RuntimeError("early")})

    assert command("plan", "photos", services=services).exit_code == 1
    assert len(os.listdir(tmp_path)) == 1


def test_hostile_names_in_messages_cannot_steer_the_terminal():
    services = FakeServices(answers={"plan_task": UsageError(f"bad {HOSTILE}", remedy=HOSTILE)})
    ran = command("plan", "photos", services=services)

    assert "\x1b" not in ran.stderr
    assert "\u202e" not in ran.stderr
    assert all(line.startswith(("error[usage]: ", "  ", "-> ")) for line in ran.stderr.splitlines())


GRAVEST = [
    ([], 0),
    ([0, 0], 0),
    ([0, 3], 3),
    ([3, 5], 5),
    ([5, 4], 4),
    ([4, 6], 6),
    ([6, 8], 8),
    ([8, 7], 7),
    ([7, 2], 2),
    ([2, 130], 130),
    ([130, 1], 1),
    ([0, 4, 6, 5], 6),
]


@pytest.mark.parametrize(("codes", "expected"), GRAVEST)
def test_gravest(codes, expected):
    assert gravest(codes) == expected
    assert gravest(reversed(codes)) == expected


def test_gravest_knows_every_code():
    assert set(GRAVEST_FIRST) == set(ExitCode)
