from __future__ import annotations

import pytest
from cli_fakes import command

from runner.cli.parser import parse
from runner.errors import UsageError

ACCEPTED = [
    ("no task runs all", ["run"], {"task": []}),
    ("several tasks", ["run", "a", "b"], {"task": ["a", "b"]}),
    ("an option between tasks", ["run", "a", "-c", "f.yaml", "b"], {"task": ["a", "b"], "config": "f.yaml"}),
    ("the file before the command", ["-c", "f.yaml", "run", "a"], {"task": ["a"], "config": "f.yaml"}),
    ("the file as --config=", ["--config=f.yaml", "plan", "t"], {"task": "t", "config": "f.yaml"}),
    ("the file glued on", ["plan", "-cf.yaml", "t"], {"task": "t", "config": "f.yaml"}),
    ("repeated guards", ["run", "--accept", "a", "--accept=b"], {"accept": ["a", "b"]}),
    ("a switch", ["plan", "t", "--detailed-exitcode"], {"detailed_exitcode": True}),
    ("a path with a dash", ["explain", "t", "--", "-odd"], {"task": "t", "path": "-odd"}),
    ("a path like an option", ["explain", "t", "--", "--json"], {"path": "--json", "json": False}),
    ("optional word left out", ["report"], {"id": None, "format": None}),
    (
        "short and long",
        ["report", "-o", "x.html", "--format", "html"],
        {"output": "x.html", "format": "html"},
    ),
    ("many paths", ["restore", "t", "a", "b", "--list"], {"task": "t", "path": ["a", "b"], "list": True}),
    ("verbosity adds up", ["run", "-vv"], {"verbose": 2}),
]


@pytest.mark.parametrize(
    ("words", "expected"), [row[1:] for row in ACCEPTED], ids=[row[0] for row in ACCEPTED]
)
def test_accepted(words, expected):
    namespace = vars(parse(words, {}).arguments)

    assert {name: namespace[name] for name in expected} == expected


REFUSED = [
    ("unknown command", ["plna"], "there is no command 'plna'", "Did you mean: sync-runner plan"),
    ("nothing like it", ["xyzzy"], "there is no command 'xyzzy'", "All commands: sync-runner help"),
    (
        "misspelt option",
        ["plan", "t", "--jsno"],
        "sync-runner plan has no option --jsno",
        "Did you mean --json?",
    ),
    (
        "misspelt option with a value",
        ["run", "--acept=x"],
        "sync-runner run has no option --acept",
        "Did you mean --accept?",
    ),
    (
        "another command's option",
        ["run", "--detailed-exitcode"],
        "sync-runner run has no option --detailed-exitcode",
        "It belongs to: sync-runner plan",
    ),
    ("abbreviation", ["plan", "t", "--detailed"], "sync-runner plan has no option --detailed", None),
    ("missing word", ["plan"], "the following arguments are required: TASK", "See: sync-runner help plan"),
    ("one word too many", ["check", "a", "b"], "sync-runner check takes no further word 'b'", None),
    ("missing value", ["plan", "t", "-o"], "option -o/--output: expected one argument", None),
    (
        "bad choice",
        ["report", "--format", "htlm"],
        "--format: 'htlm' is not one of html, json, csv, junit, md",
        "Did you mean html?",
    ),
    (
        "bad word",
        ["locations", "tpyes"],
        "WHAT: 'tpyes' is not one of list, check, types, adopt",
        "Did you mean types?",
    ),
    ("no number", ["history", "--limit", "many"], "option --limit: 'many' is not a number above zero", None),
    ("zero", ["history", "--limit", "0"], "option --limit: '0' is not a number above zero", None),
    ("unknown global option", ["--jsno"], "sync-runner has no option --jsno", "Did you mean --json?"),
]


@pytest.mark.parametrize(
    ("words", "message", "remedy"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED]
)
def test_refused(words, message, remedy):
    with pytest.raises(UsageError) as caught:
        parse(words, {})

    assert caught.value.message == message
    if remedy is not None:
        assert caught.value.remedy == remedy


def test_every_refusal_ends_with_2_and_no_traceback():
    for _, words, message, _ in REFUSED:
        ran = command(*words)

        assert (ran.exit_code, ran.stdout) == (2, "")
        assert ran.stderr.splitlines()[0] == f"error[usage]: {message}"


ENVIRONMENT = [
    ("file", {"SYNC_RUNNER_CONFIG": "e.yaml"}, [], "config", "e.yaml"),
    ("an option wins", {"SYNC_RUNNER_CONFIG": "e.yaml"}, ["-c", "o.yaml"], "config", "o.yaml"),
    ("empty is unset", {"SYNC_RUNNER_CONFIG": ""}, [], "config", None),
    ("json", {"SYNC_RUNNER_JSON": "1"}, [], "json", True),
    ("json off", {"SYNC_RUNNER_JSON": "0"}, [], "json", False),
    ("quiet", {"SYNC_RUNNER_QUIET": "yes"}, [], "quiet", True),
    ("no progress", {"SYNC_RUNNER_NO_PROGRESS": "true"}, [], "no_progress", True),
    ("level", {"SYNC_RUNNER_LOG_LEVEL": "error"}, [], "log_level", "error"),
    ("-v wins over the level", {"SYNC_RUNNER_LOG_LEVEL": "error"}, ["-v"], "log_level", "info"),
    ("--log-level wins over -v", {}, ["-v", "--log-level", "error"], "log_level", "error"),
    ("-vvv is debug", {}, ["-vvv"], "log_level", "debug"),
    ("warnings by default", {}, [], "log_level", "warning"),
    ("format", {"SYNC_RUNNER_LOG_FORMAT": "json"}, [], "log_format", "json"),
]


@pytest.mark.parametrize(
    ("environment", "words", "name", "expected"),
    [row[1:] for row in ENVIRONMENT],
    ids=[row[0] for row in ENVIRONMENT],
)
def test_flags_from_environment(environment, words, name, expected):
    assert getattr(parse(["status", *words], environment).flags, name) == expected


@pytest.mark.parametrize("variable", ["SYNC_RUNNER_JSON", "SYNC_RUNNER_LOG_LEVEL"])
def test_a_wrong_environment_variable_is_named(variable):
    with pytest.raises(UsageError, match=variable):
        parse(["status"], {variable: "perhaps"})
