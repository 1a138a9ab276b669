"""help, version, completion: what the command says about itself."""

from __future__ import annotations

from argparse import Namespace

import msgspec

from runner import __version__
from runner.cli.commands import COMMANDS, command_named
from runner.cli.endings import python_version
from runner.cli.help import command_help, overview
from runner.cli.parser import closest
from runner.cli.session import Session
from runner.errors import ExitCode, UsageError


class VersionFacts(msgspec.Struct, frozen=True):
    """version --json."""

    version: str
    python: str
    platform: str


def show_help(session: Session, arguments: Namespace) -> int:
    """`help [COMMAND]`: help is text, with --json too."""
    name: str | None = arguments.command
    if name is None:
        session.output.text("\n".join(overview(session.page)) + "\n")
        return ExitCode.DONE
    command = command_named(name)
    if command is None:
        close = closest(name, [known.name for known in COMMANDS])
        raise UsageError(
            f"there is no command {name!r}",
            remedy=f"Did you mean: sync-runner help {close}" if close else "All commands: sync-runner help",
        )
    session.output.text("\n".join(command_help(command, session.page)) + "\n")
    return ExitCode.DONE


def version(session: Session, arguments: Namespace) -> int:
    """`version`: one line; JSON with what a bug report needs."""
    import platform

    if session.output.json:
        session.output.value(VersionFacts(__version__, python_version(), platform.platform()))
    session.output.result([f"sync-runner {__version__}"])
    return ExitCode.DONE


def completion(session: Session, arguments: Namespace) -> int:
    """`completion bash|zsh`: a script, from the command table."""
    from runner.cli.completion import bash_script, zsh_script

    session.output.text(bash_script() if arguments.shell == "bash" else zsh_script())
    return ExitCode.DONE
