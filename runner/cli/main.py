"""Arguments in, exit code out: dispatch to a command, and every way it can end."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence

from runner.cli.commands import ABOUT
from runner.cli.declaration import Command
from runner.cli.endings import error_line, error_text, exit_code_of, show_traceback, write_crash_file
from runner.cli.output import Output
from runner.cli.parser import Flags, Invocation, parse, wants_json
from runner.cli.services import Services
from runner.cli.session import Session
from runner.clock import Clock, SystemClock
from runner.errors import ExitCode, RunnerError

Handler = Callable[[Session, object], int]


def run_process() -> int:
    """The command line of this process: its arguments, streams and environment."""
    from runner.cli.signals import ending_on_termination

    environment = dict(os.environ)
    arguments = sys.argv[1:]
    output = Output(sys.stdout, sys.stderr, sys.stdin, environment, json=wants_json(arguments, environment))
    with ending_on_termination():
        return run_command(arguments, output, environment, Services(), SystemClock())


def run_command(
    arguments: Sequence[str],
    output: Output,
    environment: Mapping[str, str],
    services: Services,
    clock: Clock,
) -> int:
    """Do what the arguments say; the result is the exit code. A defect becomes a message and code 1."""
    session = None
    try:
        invocation = parse(arguments, environment)
        answered = _answer_about(invocation, output)
        if answered is not None:
            return answered
        assert invocation.command is not None
        output.json, output.quiet = invocation.flags.json, invocation.flags.quiet
        session = Session(invocation.flags, output, services, clock, environment)
        if _logs(invocation.command, invocation.flags):
            from runner.cli.logs import configure_logging

            configure_logging(output.tell, invocation.flags.log_level, invocation.flags.log_format)
        return int(_handler(invocation.command)(session, invocation.arguments))
    except (Exception, KeyboardInterrupt) as error:
        return report_error(error, output, environment, session.state_folder if session else None)


def report_error(
    error: BaseException, output: Output, environment: Mapping[str, str], state_folder: str | None
) -> int:
    """Show an exception, as JSON too when that was asked for, and return its exit code."""
    crash_file = None
    if not isinstance(error, (RunnerError, KeyboardInterrupt)):
        crash_file = write_crash_file(error, state_folder)
        if environment.get("SYNC_RUNNER_DEBUG") == "1":
            output.tell(show_traceback(error))
    if output.json:
        output.value(error_line(error, crash_file))
    output.tell(error_text(error, output.page(output.stderr), crash_file))
    return int(exit_code_of(error))


def _answer_about(invocation: Invocation, output: Output) -> int | None:
    """Answer --help and --version; None when a command is to run."""
    if invocation.version:
        from runner import __version__

        output.text(f"sync-runner {__version__}\n")
        return ExitCode.DONE
    if invocation.command is not None and not invocation.help:
        return None
    from runner.cli.help import command_help, overview

    if invocation.command is not None:
        output.text("\n".join(command_help(invocation.command, output.page(output.stdout))) + "\n")
        return ExitCode.DONE
    if invocation.help:
        output.text("\n".join(overview(output.page(output.stdout))) + "\n")
        return ExitCode.DONE
    output.tell(overview(output.page(output.stderr)))
    return ExitCode.USAGE


def _logs(command: Command, flags: Flags) -> bool:
    """Whether log lines may come. Setting up logging costs a command that ends soon more than parsing its words."""
    if command.brief:
        return flags.log_level != command.log_level or flags.log_format != "human"
    return command.group != ABOUT


def _handler(command: Command) -> Handler:
    module, function = command.handler.split(":")
    handler: Handler = getattr(importlib.import_module(module), function)
    return handler
