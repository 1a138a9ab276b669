from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cli_fakes import (
    HOSTILE,
    FakeRestoreResult,
    FakeServices,
    command,
    make_configuration,
    make_report,
    make_summary,
    make_task,
)

from runner.errors import EntryCode, LocationUnavailableError
from runner.model.action import Action
from runner.model.entry import Phase, Problem
from runner.model.execution import GuardVerdict
from runner.model.plan import ActionTotals, ExplainStep, Explanation

PROBLEM = Problem("private/", Phase.PREPARING, EntryCode.NOT_LISTED, "permission denied", side="source")
REFUSAL = GuardVerdict("max_deletions", "4 of 5 entries", "sync-runner run photos --accept max_deletions")
ACCEPTED = GuardVerdict("max_deletions", "4 of 5 entries", "", accepted=True)
CHANGES = ActionTotals(to_copy=2, bytes_to_copy=10)

PLAN_CODES = [
    ("in sync", make_summary(), [], 0, 0),
    ("changes", make_summary(CHANGES), [], 0, 3),
    ("changes, detailed", make_summary(CHANGES), ["--detailed-exitcode"], 3, 3),
    ("in sync, detailed", make_summary(), ["--detailed-exitcode"], 0, 0),
    ("incomplete", make_summary(CHANGES, complete=False), ["--detailed-exitcode"], 4, 4),
    ("a problem", make_summary(problems=[PROBLEM]), [], 4, 4),
    ("refused", make_summary(CHANGES, guards=[REFUSAL], problems=[PROBLEM]), [], 6, 4),
    ("refused, complete", make_summary(CHANGES, guards=[REFUSAL]), [], 6, 3),
    ("accepted", make_summary(CHANGES, guards=[ACCEPTED]), [], 0, 3),
]


@pytest.mark.parametrize(
    ("summary", "options", "plan_code", "check_code"),
    [row[1:] for row in PLAN_CODES],
    ids=[row[0] for row in PLAN_CODES],
)
def test_exit_codes_of_plan_and_check(summary, options, plan_code, check_code):
    services = FakeServices(answers={"plan_task": summary})

    assert command("plan", "photos", *options, services=services).exit_code == plan_code
    assert command("check", "photos", services=services).exit_code == check_code


def test_plan_hands_on_where_to_write_and_what_to_accept():
    services = FakeServices()
    ran = command("plan", "photos", "-o", "p.jsonl", "--accept", "wide_root", services=services)

    [(_, (name, output, context))] = [each for each in services.asked if each[0] == "plan_task"]
    assert (ran.exit_code, name, output, context.accept) == (0, "photos", "p.jsonl", {"wide_root"})


def test_a_guard_that_does_not_exist_cannot_be_accepted():
    ran = command("run", "photos", "--accept", "max_deletion")

    assert ran.exit_code == 2
    assert ran.stderr == (
        "error[usage]: option --accept: there is no guard 'max_deletion'\n-> Did you mean max_deletions?\n"
    )


def test_an_unknown_task_names_the_closest_and_all():
    services = FakeServices(configuration_answer=make_configuration(make_task("photos"), make_task("mail")))
    ran = command("plan", "phtos", services=services)

    assert ran.exit_code == 2
    assert ran.stderr == (
        "error[usage]: there is no task 'phtos' in sync.yaml\n"
        "-> Did you mean photos? Tasks in sync.yaml: photos, mail\n"
    )


def three_tasks(**answers):
    tasks = (make_task("a"), make_task("b", enabled=False), make_task("c"))
    return FakeServices(configuration_answer=make_configuration(*tasks), answers=answers)


RUNS = [
    ("all enabled in file order", [], {}, ["a", "c"], 0),
    ("named ones in that order, also disabled", ["c", "b"], {}, ["c", "b"], 0),
    ("each once", ["c", "a", "c"], {}, ["c", "a"], 0),
    ("a failure does not stop the others", [], {"a": make_report("a", 4)}, ["a", "c"], 4),
    ("the gravest counts", [], {"a": make_report("a", 6), "c": make_report("c", 5)}, ["a", "c"], 6),
    ("a raised error neither", [], {"a": LocationUnavailableError("gone")}, ["a", "c"], 7),
    ("a defect neither", [], {"a": ZeroDivisionError()}, ["a", "c"], 1),
]


@pytest.mark.parametrize(
    ("words", "answers", "expected", "code"), [r[1:] for r in RUNS], ids=[r[0] for r in RUNS]
)
def test_run_of_several_tasks(words, answers, expected, code, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    reports = {name: make_report(name) for name in "abc"} | answers
    services = three_tasks(**reports)
    ran = command("run", *words, services=services)

    assert [name for name, _ in services.asked if name in "abc"] == expected
    assert ran.exit_code == code


def test_run_json_is_one_report_object_a_line_whatever_happens(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    services = three_tasks(a=LocationUnavailableError("gone"), c=make_report("c", 4))
    ran = command("run", "--json", services=services)

    first, second = ran.values
    assert first["error"]["code"] == "location_unavailable"
    assert second["execution"]["task"] == "c"
    assert ran.exit_code == 7


def test_a_request_to_stop_ends_the_row_of_tasks():
    def stopped(context):
        context.cancellation.request()
        return make_report("a", 130)

    services = three_tasks(a=stopped)
    ran = command("run", services=services)

    assert [name for name, _ in services.asked if name in "abc"] == ["a"]
    assert ran.exit_code == 130
    assert "not started" in ran.stdout


def test_no_enabled_task_is_a_usage_error():
    services = FakeServices(configuration_answer=make_configuration(make_task("a", enabled=False)))

    assert command("run", services=services).exit_code == 2


def test_bandwidth_replaces_the_limits_of_every_task():
    services = FakeServices()
    command("run", "--bandwidth", "20MiB/s", services=services)

    [(_, context)] = [each for each in services.asked if each[0] == "run_task"]
    [window] = context.configuration.tasks["photos"].options.bandwidth
    assert window.limit_bytes_per_second == 20 * 1024 * 1024


def test_a_rate_that_is_none_is_refused():
    ran = command("run", "--bandwidth", "fast")

    assert ran.exit_code == 2
    assert "option --bandwidth: 'fast' is not a rate" in ran.stderr


def test_quiet_says_nothing_when_all_is_well_and_speaks_when_not():
    assert command("run", "-q") == command("run", "-q", environment={"COLUMNS": "80"})
    assert (command("run", "-q").stdout, command("run", "-q").stderr) == ("", "")
    ran = command(
        "run", "-q", services=FakeServices(answers={"run_task": make_report(exit_code=4, summary="So so.")})
    )
    assert (ran.exit_code, ran.stdout, ran.stderr) == (4, "", "photos: So so.\n")


JSON_COMMANDS = [
    ["validate"],
    ["schema"],
    ["init", "FILE"],
    ["locations", "list"],
    ["locations", "types"],
    ["plan", "photos"],
    ["check", "photos"],
    ["run"],
    ["apply", "p.jsonl"],
    ["verify", "photos"],
    ["restore", "photos"],
    ["explain", "photos", "a"],
    ["version"],
    ["plan", "nosuch"],
    ["nosuch"],
    ["plan"],
]


@pytest.mark.parametrize("words", JSON_COMMANDS, ids=" ".join)
def test_json_means_only_json(words, tmp_path):
    words = [str(tmp_path / "new.yaml") if word == "FILE" else word for word in words]
    services = FakeServices(configuration_answer=make_configuration(state=str(tmp_path)))
    for place in (["--json", *words], [*words, "--json"]):
        ran = command(*place, services=services)
        assert len(ran.values) == 1
        assert isinstance(ran.values[0], dict)
        (tmp_path / "new.yaml").unlink(missing_ok=True)


def test_names_that_are_no_utf8_survive_json():
    services = FakeServices(
        answers={
            "plan_task": make_summary(problems=[Problem(HOSTILE, Phase.PREPARING, EntryCode.LOCKED, "x")])
        }
    )
    [value] = command("plan", "photos", "--json", services=services).values

    [problem] = value["trailer"]["problems"]
    assert "path_b64" in problem
    assert "\ufffd" in problem["path"]


def test_init_writes_once_and_never_over_a_file(tmp_path):
    path = tmp_path / "my sync.yaml"
    first, second = command("init", str(path)), command("init", str(path))

    assert (first.exit_code, second.exit_code) == (0, 2)
    assert path.read_text() == "version: 1\n"
    assert f"sync-runner validate -c '{path}'" in first.stdout
    assert "is already there; it was not touched" in second.stderr


def test_init_does_not_follow_a_link_that_dangles(tmp_path):
    (tmp_path / "link.yaml").symlink_to(tmp_path / "elsewhere.yaml")

    assert command("init", str(tmp_path / "link.yaml")).exit_code == 2
    assert not (tmp_path / "elsewhere.yaml").exists()


def test_init_in_a_folder_that_is_not_there_is_a_plain_error(tmp_path):
    ran = command("init", str(tmp_path / "no" / "sync.yaml"))

    assert (ran.exit_code, "cannot be written: No such file or directory" in ran.stderr) == (2, True)


def test_validate_counts_what_is_declared():
    assert command("validate").stdout == "sync.yaml is valid: 1 task, 2 locations.\n"


def test_schema_is_json_with_and_without_the_flag():
    assert json.loads(command("schema").stdout) == command("schema", "--json").values[0]
    assert "ümlaut" in command("schema").stdout


def test_explain_says_the_verdict_first():
    explanation = Explanation(
        task="photos",
        path=HOSTILE,
        verdict="Excluded by rule *.tmp.",
        action=None,
        steps=(
            ExplainStep("Is it in the manifest?", "There is none."),
            ExplainStep("Which rule matches?", "*.tmp", decided=True),
        ),
    )
    ran = command("explain", "photos", HOSTILE, services=FakeServices(answers={"explain_path": explanation}))

    assert ran.exit_code == 0
    assert ran.stdout.splitlines() == [
        "evil\\x1b[31m\\nname\\xff[bold]\\u202e.txt",
        "  Excluded by rule *.tmp.",
        "",
        "Why:",
        "  Is it in the manifest?  There is none.",
        "> Which rule matches?     *.tmp",
        "",
        "A run would do:",
        "  = nothing",
    ]


def test_explain_of_what_cannot_be_read_ends_with_4():
    explanation = Explanation("photos", "a", "It cannot be listed.", None, (), problem=PROBLEM)
    services = FakeServices(answers={"explain_path": explanation})

    assert command("explain", "photos", "a", services=services).exit_code == 4


def test_restore_lists_and_restores():
    services = FakeServices(answers={"restore": FakeRestoreResult(("a", HOSTILE), 2)})
    listed = command("restore", "photos", "--list", services=services)
    restored = command("restore", "photos", "a", "--execution", "6741a2b30001", services=services)

    assert listed.stdout.splitlines()[-1] == "2 entries can be restored."
    assert restored.stdout.splitlines() == [
        "  + a",
        "  + evil\\x1b[31m\\nname\\xff[bold]\\u202e.txt",
        "2 entries restored.",
    ]
    assert [asked for name, asked in services.asked if name == "restore"] == [
        (None, (), True),
        ("6741a2b30001", ("a",), False),
    ]


def test_restore_as_of_a_moment():
    services = FakeServices(
        answers={"restore": FakeRestoreResult(("a", "b/"), 0, executions=("6741a2b30001", "6741a2b30002"))}
    )
    listed = command("restore", "photos", "--as-of", "2026-01-31", "--list", services=services)
    assert listed.stdout.splitlines() == [
        "    a  (moved aside by 6741a2b30001)",
        "    b/  (moved aside by 6741a2b30002)",
        "2 entries can be restored.",
        "Files replaced since then keep their present content: no run keeps what it replaces.",
    ]
    ((_, asked),) = [one for one in services.asked if one[0] == "restore"]
    assert asked == (None, (), True, datetime(2026, 1, 31, tzinfo=UTC))
    both = command("restore", "photos", "--as-of", "7d", "--execution", "6741a2b30001", services=services)
    assert both.exit_code == 2
    assert "--as-of and --execution ask for different things" in both.stderr
    unclear = command("restore", "photos", "--as-of", "yesterday", services=services)
    assert unclear.exit_code == 2
    assert "option --as-of: 'yesterday' is neither a duration" in unclear.stderr
    no_day = command("restore", "photos", "--as-of", "2026-02-30", services=services)
    assert no_day.exit_code == 2
    assert "option --as-of: '2026-02-30' is not a date such as 2026-01-31 or" in no_day.stderr


def test_restore_with_problems_ends_with_4():
    services = FakeServices(answers={"restore": FakeRestoreResult(problems=(PROBLEM,))})

    assert command("restore", "photos", services=services).exit_code == 4


def test_locations_types_shows_the_local_type():
    [value] = command("locations", "types", "--json").values

    assert "local" in [each["type"] for each in value["types"]]


def test_actions_in_json_carry_their_kind():
    action = Action(id=1, kind="copy", stage=1, path="a", source=None, destination=None, reasons=("missing",))
    [value] = command(
        "plan",
        "photos",
        "--json",
        services=FakeServices(answers={"plan_task": make_summary(actions=[action])}),
    ).values

    assert value["first"][0]["kind"] == "copy"
