"""Help texts and docs/cli.md from the command table; the same on every Python, so that golden files hold."""

from __future__ import annotations

import re

from runner import __version__
from runner.cli.commands import COMMANDS, GLOBAL_OPTIONS
from runner.cli.declaration import Command, Count, Option, Positional
from runner.cli.endings import GRAVEST_FIRST
from runner.cli.text import Page, Style, padded, wrapped
from runner.errors import EXIT_CODE_MEANINGS

_INTRODUCTION = (
    "Declare locations and tasks in sync.yaml, read the plan of a task, apply exactly that plan, and get a "
    "verification report."
)


def overview(page: Page) -> list[str]:
    """The list of all commands, what every command takes, and the exit codes."""
    lines = [
        f"sync-runner {__version__}",
        "",
        *wrapped(_INTRODUCTION, page),
        "",
        page.paint("Usage:", Style.HEADING) + " sync-runner COMMAND [ARGUMENTS] [OPTIONS]",
    ]
    for group in dict.fromkeys(command.group for command in COMMANDS):
        members = [(command.name, command.summary) for command in COMMANDS if command.group == group]
        lines += ["", page.paint(f"{group}:", Style.HEADING), *_definitions(members, page, 12)]
    lines += ["", page.paint("Options of every command:", Style.HEADING)]
    lines += _definitions(
        [(_option_form(option), _option_help(option)) for option in GLOBAL_OPTIONS], page, 23
    )
    lines += ["", page.paint("Exit codes:", Style.HEADING)]
    lines += _definitions(
        [(str(int(code)), meaning) for code, meaning in EXIT_CODE_MEANINGS.items()], page, 5
    )
    lines += ["", "Help for one command: sync-runner help COMMAND"]
    return lines


def command_help(command: Command, page: Page) -> list[str]:
    """Everything about one command."""
    lines = [
        *_usage_lines(command, page),
        "",
        *wrapped(command.summary, page),
        "",
        *wrapped(command.description, page),
    ]
    if command.positionals:
        lines += ["", page.paint("Arguments:", Style.HEADING)]
        lines += _definitions([(each.name, each.help) for each in command.positionals], page, 23)
    if command.options:
        lines += ["", page.paint("Options:", Style.HEADING)]
        lines += _definitions(
            [(_option_form(each), _option_help(each)) for each in command.options], page, 23
        )
    lines += ["", page.paint("Options of every command:", Style.HEADING)]
    lines += _definitions([(_option_form(each), _option_help(each)) for each in GLOBAL_OPTIONS], page, 23)
    if command.examples:
        lines += ["", page.paint("Examples:", Style.HEADING)]
        for example, effect in command.examples:
            lines += [f"  {page.paint(example, Style.COMMAND)}", f"      {effect}"]
    lines += ["", page.paint("Exit codes:", Style.HEADING)]
    codes = [(str(int(code)), EXIT_CODE_MEANINGS[code]) for code in command.exit_codes]
    return lines + _definitions(codes, page, 5)


def _usage_lines(command: Command, page: Page) -> list[str]:
    """Broken between arguments, never within one."""
    whole = re.sub(r" (?=[^\[\]]*\])", "\u00a0", usage(command))
    title = "Usage: "
    first, *rest = wrapped(whole, page, first=title, rest=" " * len(title))
    painted = page.paint(title.rstrip(), Style.HEADING) + first.removeprefix(title.rstrip())
    return [line.replace("\u00a0", " ") for line in (painted, *rest)]


def usage(command: Command) -> str:
    """One line: `sync-runner plan TASK [-o PLAN] [--detailed-exitcode] [--accept GUARD]...`."""
    pieces = ["sync-runner", command.name, *(_positional_form(each) for each in command.positionals)]
    for option in command.options:
        form = option.flags[0] + (f" {option.value}" if option.value else "")
        pieces.append(f"[{form}]" + ("..." if option.repeat else ""))
    return " ".join(pieces)


def reference() -> str:
    """docs/cli.md. A test holds the file to it; `python -m runner.cli.help` prints it."""
    lines = [
        "# Command line",
        "",
        "<!-- Generated from runner/cli/commands.py: python -m runner.cli.help > docs/cli.md -->",
        "",
        _INTRODUCTION,
        "",
        "| Command | What it does |",
        "|---|---|",
        *(f"| [`{command.name}`](#{command.name}) | {command.summary} |" for command in COMMANDS),
        "",
        "## Options of every command",
        "",
        "They stand before or after the command. An option wins over its environment variable.",
        "",
        "| Option | Environment | Meaning |",
        "|---|---|---|",
    ]
    for option in GLOBAL_OPTIONS:
        variable = f"`{option.environment}`" if option.environment else ""
        lines.append(f"| `{_option_form(option)}` | {variable} | {option.help} |")
    lines += _reference_conduct()
    for command in COMMANDS:
        lines += _reference_command(command)
    return "\n".join(lines) + "\n"


def _reference_conduct() -> list[str]:
    paragraphs = (
        "`NO_COLOR` switches colours off, `COLUMNS` sets the width. `SYNC_RUNNER_DEBUG=1` shows the "
        "traceback of an internal error, which otherwise only goes to a file that the message names.",
        "## Output",
        "What was asked for goes to standard output; progress, log lines and errors go to standard error. "
        "Where standard error is no terminal, progress is one line at each phase and at most one every ten "
        "seconds between. With `--json` standard output holds only JSON, one object a line, in UTF-8, and no "
        'progress is shown; an error is `{"error": {"code", "message", "remedy", "exit_code"}}`. A name that '
        "is not valid UTF-8 has its true bytes beside it in base64, in a key that ends with `_b64`.",
        "Symbols in plans: `+` create, `~` replace, `m` change metadata, `-` delete or quarantine, "
        "`=` same, `!` a problem or a guard that refuses.",
        "## Signals",
        "`run`, `apply` and `verify`: the first Ctrl-C (SIGINT), SIGTERM or SIGHUP finishes the "
        "files in flight and stops; the second stops at once; the third gives up waiting. The exit code is "
        "130. Other commands stop at once. A reader that goes away (`sync-runner run | head`) does not stop "
        "a run.",
        "## Exit codes",
        "`run` of several tasks runs them all and ends with the gravest of their codes, in this order: "
        + ", ".join(str(int(code)) for code in GRAVEST_FIRST)
        + ".",
    )
    lines = []
    for paragraph in paragraphs:
        lines += ["", *wrapped(paragraph, Page(width=100))]
    lines += ["", "| Code | Meaning |", "|---|---|"]
    return lines + [f"| {int(code)} | {meaning} |" for code, meaning in EXIT_CODE_MEANINGS.items()]


def _reference_command(command: Command) -> list[str]:
    lines = ["", f"## {command.name}", "", command.description, "", "```", usage(command), "```"]
    if command.positionals or command.options:
        lines += ["", "| Argument | Meaning |", "|---|---|"]
        lines += [f"| `{each.name}` | {each.help} |" for each in command.positionals]
        lines += [f"| `{_option_form(each)}` | {each.help} |" for each in command.options]
    lines += ["", "```sh"]
    lines += [f"{example}  # {effect}" for example, effect in command.examples]
    codes = ", ".join(str(int(code)) for code in command.exit_codes)
    return [*lines, "```", "", f"Exit codes: {codes}."]


def _positional_form(positional: Positional) -> str:
    name = "|".join(positional.choices) if positional.choices else positional.name
    return {
        Count.ONE: name,
        Count.OPTIONAL: f"[{name}]",
        Count.ANY: f"[{name}...]",
        Count.SOME: f"{name}...",
    }[positional.count]


def _option_form(option: Option) -> str:
    return ", ".join(option.flags) + (f" {option.value}" if option.value else "")


def _option_help(option: Option) -> str:
    return f"{option.help} [{option.environment}]" if option.environment else option.help


def _definitions(pairs: list[tuple[str, str]], page: Page, width: int) -> list[str]:
    """Terms at the left, their meanings beside them; a term that is too long gets a line of its own."""
    lines = []
    for term, meaning in pairs:
        indent = " " * (width + 4)
        if len(term) > width:
            lines.append(f"  {term}")
            lines += wrapped(meaning, page, first=indent, rest=indent)
        else:
            lines += wrapped(meaning, page, first=f"  {padded(term, width)}  ", rest=indent)
    return lines


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201
