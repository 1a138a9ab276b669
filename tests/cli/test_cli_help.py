from __future__ import annotations

import importlib
import subprocess
from pathlib import Path

import pytest
from cli_fakes import command

from runner.cli.commands import COMMANDS, GLOBAL_OPTIONS
from runner.cli.completion import bash_script, zsh_script
from runner.cli.help import reference
from runner.cli.parser import parse
from runner.errors import EXIT_CODE_MEANINGS, ExitCode

ROOT = Path(__file__).parents[2]
NAMES = [each.name for each in COMMANDS]


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_in_three_ways(name):
    texts = {command("help", name).stdout, command(name, "--help").stdout, command("-h", name).stdout}

    assert len(texts) == 1
    text = texts.pop()
    assert text.startswith(f"Usage: sync-runner {name}")
    assert "Examples:" in text
    assert max(map(len, text.splitlines())) <= 100


def test_help_is_found_even_where_words_are_missing():
    assert command("explain", "--help").exit_code == 0


def test_overview_names_every_command_option_and_exit_code():
    text = command("--help").stdout

    assert command("help").stdout == text
    for each in COMMANDS:
        assert f"  {each.name} " in text
    for option in GLOBAL_OPTIONS:
        assert option.flags[-1] in text
    for code in EXIT_CODE_MEANINGS:
        assert f"\n  {int(code)} " in text


def test_no_command_is_a_usage_error_that_helps():
    ran = command()

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "Usage: sync-runner COMMAND" in ran.stderr


def test_help_for_an_unknown_command():
    ran = command("help", "verfy")

    assert ran.exit_code == 2
    assert "Did you mean: sync-runner help verify" in ran.stderr


@pytest.mark.parametrize("each", COMMANDS, ids=NAMES)
def test_handlers_exist_and_examples_parse(each):
    module, function = each.handler.split(":")
    assert callable(getattr(importlib.import_module(module), function))
    for example, _ in each.examples:
        start = example.index("sync-runner")
        words = example[start:].rstrip(")").split()[1:]
        for end in ("|", "||", ">"):
            if end in words:
                words = words[: words.index(end)]
        assert parse(words, {}).command is each


def test_reference_is_up_to_date():
    """To renew it: python -m runner.cli.help > docs/cli.md"""
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == reference()


def test_every_exit_code_is_promised_by_a_command_but_the_internal_one():
    promised = {code for each in COMMANDS for code in each.exit_codes}

    assert set(ExitCode) - promised == {ExitCode.INTERNAL}


def test_bash_accepts_the_completion_script_and_completes():
    script = (
        bash_script() + '\nCOMP_WORDS=(sync-runner re); COMP_CWORD=1; _sync_runner; echo "${COMPREPLY[@]}"'
    )
    script += '\nCOMP_WORDS=(sync-runner plan t --det); COMP_CWORD=3; _sync_runner; echo "${COMPREPLY[@]}"'
    script += (
        '\nCOMP_WORDS=(sync-runner report --format h); COMP_CWORD=3; _sync_runner; echo "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(["bash", "--norc", "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout.splitlines() == ["restore resume report", "--detailed-exitcode", "html"]
    assert ran.stderr == ""


def test_zsh_script_names_every_command():
    script = zsh_script()

    assert script.startswith("#compdef sync-runner\n")
    for name in NAMES:
        assert f"        {name})" in script
