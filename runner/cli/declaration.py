"""The types a command is declared in. Data only: what follows from a declaration stands in other modules."""

from __future__ import annotations

import enum

import msgspec

from runner.errors import ExitCode


class Count(enum.Enum):
    """How many words a positional argument takes."""

    ONE = "one"
    OPTIONAL = "optional"
    ANY = "any"
    SOME = "some"


class Option(msgspec.Struct, frozen=True):
    """An option. `value` names what follows it; None makes it a switch. `environment` gives its default."""

    flags: tuple[str, ...]
    help: str
    value: str | None = None
    choices: tuple[str, ...] = ()
    repeat: bool = False
    is_number: bool = False
    environment: str | None = None

    @property
    def name(self) -> str:
        """The long flag as an attribute: `--detailed-exitcode` -> `detailed_exitcode`."""
        return self.flags[-1].lstrip("-").replace("-", "_")


class Positional(msgspec.Struct, frozen=True):
    """A word a command takes. `words` tells completion what fits: task, file, command, path or nothing."""

    name: str
    help: str
    count: Count = Count.ONE
    choices: tuple[str, ...] = ()
    words: str = ""

    @property
    def attribute(self) -> str:
        return self.name.lower()


class Command(msgspec.Struct, frozen=True):
    """One command. `handler` is `module:function`, imported only when the command runs. `log_level` holds unless
    another one is asked for. `brief`: it ends soon and logs nothing of its own, so that logging is set up only for who
    asks for a level or a format."""

    name: str
    group: str
    summary: str
    description: str
    handler: str
    positionals: tuple[Positional, ...] = ()
    options: tuple[Option, ...] = ()
    examples: tuple[tuple[str, str], ...] = ()
    exit_codes: tuple[ExitCode, ...] = (ExitCode.DONE, ExitCode.USAGE)
    log_level: str = "warning"
    brief: bool = False
