"""Words of a command line -> the command, its arguments, the global flags. Errors say what was meant."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from runner.cli.commands import COMMANDS, GLOBAL_OPTIONS, command_named
from runner.cli.declaration import Command, Count, Option
from runner.errors import UsageError

_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


class Flags(msgspec.Struct, frozen=True):
    """The options of every command, the environment's defaults filled in. `config` None = not given."""

    config: str | None = None
    json: bool = False
    quiet: bool = False
    log_level: str = "warning"
    log_format: str = "human"
    no_progress: bool = False


class Invocation(msgspec.Struct, frozen=True):
    """What was asked for. `command` None with `help` shows the list of commands."""

    command: Command | None
    arguments: argparse.Namespace
    flags: Flags
    help: bool = False
    version: bool = False


def parse(words: Sequence[str], environment: Mapping[str, str]) -> Invocation:
    """Understand a command line. Raises UsageError, which names the closest thing that exists."""
    position = _command_position(words)
    if position is None:
        namespace = _parsed(None, words)
        return Invocation(
            None,
            namespace,
            _flags(namespace, environment),
            help=bool(namespace.help),
            version=bool(namespace.version),
        )
    command = command_named(words[position])
    if command is None:
        close = closest(words[position], [known.name for known in COMMANDS])
        raise UsageError(
            f"there is no command {words[position]!r}",
            remedy=f"Did you mean: sync-runner {close}" if close else "All commands: sync-runner help",
        )
    rest = [*words[:position], *words[position + 1 :]]
    if _asks_for_help(rest):
        return Invocation(command, argparse.Namespace(), Flags(), help=True)
    namespace = _parsed(command, rest)
    flags = _flags(namespace, environment, command.log_level)
    return Invocation(command, namespace, flags, version=bool(namespace.version))


def wants_json(words: Sequence[str], environment: Mapping[str, str]) -> bool:
    """Whether JSON was asked for, as far as a command line that may be wrong can tell."""
    before_end = words[: words.index("--")] if "--" in words else words
    return "--json" in before_end or environment.get("SYNC_RUNNER_JSON", "").lower() in _TRUE


def closest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant, or None."""
    import difflib

    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


class _Parser(argparse.ArgumentParser):
    """argparse, with errors as our own and no exits."""

    def __init__(self, command: Command | None) -> None:
        # Help is written elsewhere; asked for no width, argparse would load shutil to find one, for each option.
        formatter = functools.partial(argparse.HelpFormatter, width=80)
        super().__init__(
            prog="sync-runner", add_help=False, allow_abbrev=False, formatter_class=formatter
        )  # fmt: skip
        self.command = command
        self.options = (*(command.options if command else ()), *GLOBAL_OPTIONS)
        for option in self.options:
            _add_option(self, option)
        for positional in command.positionals if command else ():
            self.add_argument(
                positional.attribute,
                metavar=positional.name,
                nargs={Count.ONE: None, Count.OPTIONAL: "?", Count.ANY: "*", Count.SOME: "+"}[
                    positional.count
                ],
            )

    def error(self, message: str) -> NoReturn:
        # argparse names an option by all its flags: "argument -c/--config: expected one argument"
        raise UsageError(message.replace("argument -", "option -"), remedy=_help_hint(self.command))


def _add_option(parser: argparse.ArgumentParser, option: Option) -> None:
    settings: dict[str, Any] = {"dest": option.name}
    if option.value is None:
        settings |= {"action": "count", "default": 0} if option.repeat else {"action": "store_true"}
    else:
        settings |= {"metavar": option.value, "action": "append" if option.repeat else "store"}
        settings["default"] = [] if option.repeat else None
    parser.add_argument(*option.flags, **settings)


def _parsed(command: Command | None, words: Sequence[str]) -> argparse.Namespace:
    parser = _Parser(command)
    namespace, unknown = parser.parse_known_intermixed_args(list(words))
    if unknown:
        _refuse_unknown(parser, unknown)
    for option in parser.options:
        _check_value(option, getattr(namespace, option.name), parser)
    for positional in command.positionals if command else ():
        value = getattr(namespace, positional.attribute)
        if positional.choices and value is not None and value not in positional.choices:
            _refuse_choice(positional.name, value, positional.choices, parser.command)
    return namespace


def _check_value(option: Option, value: Any, parser: _Parser) -> None:
    if value is None or option.value is None:
        return
    if option.choices and value not in option.choices:
        _refuse_choice(option.flags[-1], value, option.choices, parser.command)
    if option.is_number and not (value.isascii() and value.isdigit() and int(value) > 0):
        raise UsageError(
            f"option {option.flags[-1]}: {value!r} is not a number above zero",
            remedy=_help_hint(parser.command),
        )


def _refuse_choice(name: str, value: str, choices: tuple[str, ...], command: Command | None) -> NoReturn:
    close = closest(value, choices)
    raise UsageError(
        f"{name}: {value!r} is not one of {', '.join(choices)}",
        remedy=f"Did you mean {close}?" if close else _help_hint(command),
    )


def _refuse_unknown(parser: _Parser, unknown: list[str]) -> NoReturn:
    word = unknown[0]
    subject = f"sync-runner {parser.command.name}" if parser.command else "sync-runner"
    if not word.startswith("-") or word == "-":
        raise UsageError(f"{subject} takes no further word {word!r}", remedy=_help_hint(parser.command))
    flag = word.split("=", 1)[0]
    close = closest(flag, [known for option in parser.options for known in option.flags])
    elsewhere = [
        command.name for command in COMMANDS if any(flag in option.flags for option in command.options)
    ]
    if close is None and elsewhere:
        remedy = f"It belongs to: sync-runner {elsewhere[0]}"
    else:
        remedy = f"Did you mean {close}?" if close else _help_hint(parser.command)
    raise UsageError(f"{subject} has no option {flag}", remedy=remedy)


def _help_hint(command: Command | None) -> str:
    return f"See: sync-runner help {command.name}" if command else "See: sync-runner help"


def _command_position(words: Sequence[str]) -> int | None:
    """Index of the first word that is neither a global option nor the value of one."""
    takes_value = {flag for option in GLOBAL_OPTIONS if option.value for flag in option.flags}
    position = 0
    while position < len(words):
        word = words[position]
        if word == "--":
            return None
        if word in takes_value:
            position += 1
        elif not word.startswith("-"):
            return position
        position += 1
    return None


def _asks_for_help(words: Sequence[str]) -> bool:
    before_end = words[: words.index("--")] if "--" in words else words
    return "-h" in before_end or "--help" in before_end


def _flags(
    namespace: argparse.Namespace, environment: Mapping[str, str], log_level: str = "warning"
) -> Flags:
    values: dict[str, Any] = {}
    for option in GLOBAL_OPTIONS:
        given = getattr(namespace, option.name)
        if not given and option.environment is not None:
            given = _from_environment(option, environment.get(option.environment))
        values[option.name] = given
    if namespace.verbose and not namespace.log_level:
        # -v was typed now; the environment's level was set some time ago.
        values["log_level"] = ("info", "debug")[min(namespace.verbose, 2) - 1]
    return Flags(
        config=values["config"],
        json=bool(values["json"]),
        quiet=bool(values["quiet"]),
        log_level=values["log_level"] or log_level,
        log_format=values["log_format"] or "human",
        no_progress=bool(values["no_progress"]),
    )


def _from_environment(option: Option, text: str | None) -> str | bool | None:
    if text is None or (option.value is not None and text == ""):
        return None
    if option.value is not None:
        if option.choices and text not in option.choices:
            raise UsageError(
                f"environment variable {option.environment}: "
                f"{text!r} is not one of {', '.join(option.choices)}"
            )
        return text
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise UsageError(f"environment variable {option.environment}: {text!r} is neither 1 nor 0")
