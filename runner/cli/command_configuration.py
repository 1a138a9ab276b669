"""init, validate, schema, locations: the configuration before anything runs."""

from __future__ import annotations

import json
import os
import shlex
from argparse import Namespace
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from runner.cli.endings import DiagnosticDescription, diagnostics_of, error_text
from runner.cli.session import DEFAULT_CONFIG, Session
from runner.cli.text import Page, Style, counted, safe, table, wrapped
from runner.errors import ConfigurationError, ExitCode, MissingExtraError, UsageError

if TYPE_CHECKING:
    from runner.locations.protocol import Capabilities
    from runner.model.task import LocationSettings, Task


class TaskLosses(msgspec.Struct, frozen=True):
    """What a task asks for that its pair of locations cannot carry, one sentence each."""

    task: str
    losses: tuple[str, ...]


class Validity(msgspec.Struct, frozen=True):
    """validate --json. `losses` names only tasks that have some."""

    valid: bool
    file: str
    tasks: tuple[str, ...]
    locations: tuple[str, ...]
    losses: tuple[TaskLosses, ...]
    diagnostics: list[DiagnosticDescription]


class LocationDescription(msgspec.Struct, frozen=True):
    """A declared location, as locations list --json shows it. `fault` is why its type cannot be used."""

    name: str
    type: str
    address: str
    used_by: tuple[str, ...]
    capabilities: Capabilities | None
    fault: str | None = None


class TypeDescription(msgspec.Struct, frozen=True):
    """A location type, as locations types --json shows it. `required` are options that have no default."""

    type: str
    title: str
    options: tuple[str, ...]
    required: tuple[str, ...]
    fault: str | None = None


def init(session: Session, arguments: Namespace) -> int:
    """`init [FILE]`: write the sample, never over another file."""
    path: str = arguments.file or session.flags.config or DEFAULT_CONFIG
    content = session.services.sample_configuration(session.registry())
    try:
        with open(path, "x", encoding="utf-8") as stream:
            stream.write(content)
    except FileExistsError as error:
        raise UsageError(
            f"{path} is already there; it was not touched",
            remedy="Write the sample elsewhere: sync-runner init FILE",
        ) from error
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    flag = "" if path == DEFAULT_CONFIG else f" -c {shlex.quote(safe(path))}"
    if session.output.json:
        session.output.value(Written(os.path.abspath(path)))
    session.output.result(
        [
            f"Wrote {safe(path)}. Now:",
            "  1. Open it and set the paths of your two locations.",
            f"  2. sync-runner validate{flag}",
            f"  3. sync-runner plan TASK{flag}   to see what a run would do; nothing is written",
            f"  4. sync-runner run TASK{flag}",
            "Editors complete and check it with: sync-runner schema > sync.schema.json",
        ]
    )
    return ExitCode.DONE


class Written(msgspec.Struct, frozen=True):
    """init --json: the absolute path of the new file."""

    written: str


def validate(session: Session, arguments: Namespace) -> int:
    """`validate`: every fault at once, or how much was declared."""
    try:
        configuration = session.configuration()
    except ConfigurationError as error:
        if session.output.json:
            session.output.value(Validity(False, session.config_file, (), (), (), diagnostics_of(error)))
        session.output.tell(error_text(error, session.output.page(session.output.stderr)))
        return ExitCode.USAGE
    losses = tuple(
        each for each in map(partial(_losses, session), configuration.tasks.values()) if each.losses
    )
    if session.output.json:
        session.output.value(
            Validity(
                valid=True,
                file=configuration.file,
                tasks=tuple(configuration.tasks),
                locations=tuple(configuration.locations),
                losses=losses,
                diagnostics=[],
            )
        )
    if session.output.quiet:
        return ExitCode.DONE
    tasks = counted(len(configuration.tasks), "task")
    locations = counted(len(configuration.locations), "location")
    verdict = session.page.paint("is valid", Style.GOOD)
    lines = [f"{safe(session.config_file)} {verdict}: {tasks}, {locations}."]
    for each in losses:
        for loss in each.losses:
            lines += wrapped(
                f"{safe(each.task)}: {safe(loss)}", session.page, first="  note: ", rest="        "
            )
    session.output.result(lines)
    return ExitCode.DONE


def _losses(session: Session, task: Task) -> TaskLosses:
    from runner.locations.pair import losses

    source, destination = (
        session.registry().driver(settings.type).capabilities(settings)
        for settings in (task.source, task.destination)
    )
    return TaskLosses(task.name, losses(task.options, source, destination))


def schema(session: Session, arguments: Namespace) -> int:
    """`schema`: the composed JSON Schema, indented; with --json on one line."""
    composed = session.services.composed_schema(session.registry())
    if session.output.json:
        session.output.value(composed)
    else:
        session.output.text(json.dumps(composed, indent=2, ensure_ascii=False) + "\n")
    return ExitCode.DONE


def locations(session: Session, arguments: Namespace) -> int:
    """`locations [list|types]`."""
    if arguments.what == "types":
        return _location_types(session)
    configuration = session.configuration()
    described = [_described(session, settings) for settings in configuration.locations.values()]
    if session.output.json:
        session.output.value({"locations": described})
    rows = [
        (safe(each.name), each.type, ", ".join(map(safe, each.used_by)), safe(each.fault or each.address))
        for each in described
    ]
    lines = table(("location", "type", "used by", "address"), rows, session.page, indent="")
    for each in described:
        if each.capabilities is not None:
            lines += ["", *_capability_lines(each.name, each.capabilities, session.page)]
    session.output.result(lines if described else ["No location is declared."])
    return ExitCode.DONE


def _described(session: Session, settings: LocationSettings) -> LocationDescription:
    used_by = tuple(
        task.name
        for task in session.configuration().tasks.values()
        if settings.name in (task.source.name, task.destination.name)
    )
    try:
        driver = session.registry().driver(settings.type)
    except MissingExtraError as error:
        return LocationDescription(settings.name, settings.type, "", used_by, None, str(error))
    return LocationDescription(
        settings.name, settings.type, driver.describe(settings), used_by, driver.capabilities(settings)
    )


def _capability_lines(name: str, capabilities: Capabilities, page: Page) -> list[str]:
    resolution = capabilities.mtime_resolution_ns
    times = "keeps no modification times" if resolution is None else f"times to {_resolution(resolution)}"
    facts = [
        ("holds", ", ".join(sorted(kind.value for kind in capabilities.kinds))),
        ("metadata", ", ".join(sorted(capabilities.attributes)) or "none"),
        ("times", times),
        ("digests", ", ".join(capabilities.digests) or "none without reading"),
        (
            "names",
            "upper and lower case differ" if capabilities.case_sensitive else "upper and lower case are one",
        ),
    ]
    return [page.paint(safe(name), Style.HEADING), *table(("", ""), facts, page)]


def _resolution(nanoseconds: int) -> str:
    for size, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "µs")):
        if nanoseconds >= size:
            return f"{nanoseconds // size} {unit}"
    return f"{nanoseconds} ns"


def _location_types(session: Session) -> int:
    described = [_described_type(session, each) for each in session.registry().types()]
    if session.output.json:
        session.output.value({"types": described})
    rows = [(each.type, ", ".join(each.required), each.fault or each.title) for each in described]
    session.output.result(table(("type", "needs", "what it is"), rows, session.page, indent=""))
    return ExitCode.DONE


def _described_type(session: Session, location_type: str) -> TypeDescription:
    try:
        driver = session.registry().driver(location_type)
    except MissingExtraError as error:
        return TypeDescription(location_type, "", (), (), str(error).replace("\n", " "))
    options = driver.options_schema()
    return TypeDescription(
        location_type, driver.title, tuple(options.get("properties", {})), tuple(options.get("required", ()))
    )
