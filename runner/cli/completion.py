"""Completion scripts for bash and zsh, made from the command table. They complete words, and run nothing but
`sync-runner validate --json` for the names of tasks."""

from __future__ import annotations

from runner.cli.commands import COMMANDS, GLOBAL_OPTIONS
from runner.cli.declaration import Command, Option

_TASKS = (
    "sync-runner validate --json 2>/dev/null | "
    """sed -n 's/.*"tasks":\\[\\([^]]*\\)\\].*/\\1/p' | tr -d '"' | tr ',' '\\n'"""
)


def bash_script() -> str:
    """The script for `source <(sync-runner completion bash)`."""
    names = " ".join(command.name for command in COMMANDS)
    cases = []
    for command in COMMANDS:
        flags = " ".join(flag for option in _options(command) for flag in option.flags)
        cases.append(f'        {command.name}) flags="{flags}"; words="{_words(command)}" ;;')
    values = [
        f'        {"|".join(option.flags)}) words="{" ".join(option.choices)}" ;;'
        for option in _all_options()
        if option.choices
    ]
    files = "|".join(
        flag for option in _all_options() if option.value in ("FILE", "PLAN") for flag in option.flags
    )
    return "\n".join(
        [
            "# bash completion for sync-runner",
            "_sync_runner() {",
            '    local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
            '    local command="" flags="" words="" each',
            '    for each in "${COMP_WORDS[@]:1:COMP_CWORD-1}"; do',
            f'        case " {names} " in *" $each "*) command="$each"; break ;; esac',
            "    done",
            '    case "$before" in',
            *values,
            f"        {files}) words=files ;;",
            "    esac",
            '    if [[ -n "$words" ]]; then',
            '        command="(value)"',
            "    fi",
            '    case "$command" in',
            *cases,
            f'        "") words="{names}"; flags="{_flags(GLOBAL_OPTIONS)}" ;;',
            "    esac",
            '    if [[ "$word" == -* ]]; then',
            '        COMPREPLY=($(compgen -W "$flags" -- "$word"))',
            '    elif [[ "$words" == tasks ]]; then',
            f'        COMPREPLY=($(compgen -W "$({_TASKS})" -- "$word"))',
            '    elif [[ "$words" == files ]]; then',
            "        compopt -o default; COMPREPLY=()",
            "    else",
            '        COMPREPLY=($(compgen -W "$words" -- "$word"))',
            "    fi",
            "}",
            "complete -F _sync_runner sync-runner",
            "",
        ]
    )


def zsh_script() -> str:
    """The script for a file `_sync-runner` in a folder of $fpath."""
    lines = ["#compdef sync-runner", "_sync_runner() {", "    local -a commands tasks", "    commands=("]
    lines += [f"        '{command.name}:{_quoted(command.summary)}'" for command in COMMANDS]
    lines += ["    )", "    local command=${words[(r)(" + "|".join(each.name for each in COMMANDS) + ")]}"]
    lines += ['    case "$command" in']
    for command in COMMANDS:
        specifications = [_zsh_option(option) for option in _options(command)]
        action = {"tasks": "'*:task:(${tasks})'", "files": "'*:file:_files'"}.get(_words(command))
        specifications.append(action or f"'*:word:({_words(command)})'")
        fetch = f'tasks=(${{(f)"$({_TASKS})"}}); ' if _words(command) == "tasks" else ""
        lines.append(f"        {command.name}) {fetch}_arguments {' '.join(specifications)} ;;")
    lines += ["        *) _describe command commands ;;", "    esac", "}", '_sync_runner "$@"', ""]
    return "\n".join(lines)


def _options(command: Command) -> tuple[Option, ...]:
    return (*command.options, *GLOBAL_OPTIONS)


def _all_options() -> list[Option]:
    found: dict[tuple[str, ...], Option] = {}
    for command in COMMANDS:
        for option in _options(command):
            found.setdefault(option.flags, option)
    return list(found.values())


def _flags(options: tuple[Option, ...]) -> str:
    return " ".join(flag for option in options for flag in option.flags)


def _words(command: Command) -> str:
    """`tasks`, `files`, or the words themselves that fit the command's first argument."""
    if not command.positionals:
        return ""
    first = command.positionals[0]
    if first.words == "task":
        return "tasks"
    if first.words == "file":
        return "files"
    if first.words == "command":
        return " ".join(each.name for each in COMMANDS)
    return " ".join(first.choices)


def _zsh_option(option: Option) -> str:
    value = ""
    if option.value is not None:
        action = f"({' '.join(option.choices)})" if option.choices else ""
        action = "_files" if option.value in ("FILE", "PLAN") else action
        value = f":{option.value.lower()}:{action}"
    repeat = "*" if option.repeat else ""
    return " ".join(f"'{repeat}{flag}[{_quoted(option.help)}]{value}'" for flag in option.flags)


def _quoted(text: str) -> str:
    return text.replace("'", "").replace("[", "(").replace("]", ")").replace(":", "\\:")
