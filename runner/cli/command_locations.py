"""locations: what is declared, what answers, what a location really does, and which place is the right one."""

from __future__ import annotations

import concurrent.futures
from argparse import Namespace
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from runner.cli.parser import closest
from runner.cli.session import Session
from runner.cli.text import Page, Style, padded, safe, table, wrapped
from runner.errors import ExitCode, MissingExtraError, RunnerError, UsageError
from runner.model.events import ignore_events
from runner.units import format_resolution

if TYPE_CHECKING:
    from runner.locations.probe import Step
    from runner.locations.protocol import Capabilities
    from runner.model.task import Configuration, LocationSettings

CONTACTED_AT_ONCE = 16


class LocationDescription(msgspec.Struct, frozen=True):
    """A declared location, as locations list --json shows it. `status` is ONLINE or OFFLINE, None when it was not
    asked; `fault` is why it is OFFLINE, or why its type cannot be used."""

    name: str
    type: str
    address: str
    used_by: tuple[str, ...]
    capabilities: Capabilities | None
    status: str | None = None
    fault: str | None = None


class CheckResult(msgspec.Struct, frozen=True):
    """locations check --json. `ok`: no step failed."""

    location: str
    type: str
    address: str
    ok: bool
    steps: tuple[Step, ...]


class TypeDescription(msgspec.Struct, frozen=True):
    """A location type, as locations types --json shows it. `required` are options that have no default."""

    type: str
    title: str
    options: tuple[str, ...]
    required: tuple[str, ...]
    fault: str | None = None


def locations(session: Session, arguments: Namespace) -> int:
    """`locations [list|check|types|adopt] [NAME]`."""
    if arguments.what == "types":
        return _location_types(session)
    if arguments.what == "check":
        return _check(session, arguments)
    if arguments.what == "adopt":
        return _adopt(session, arguments)
    if arguments.name is not None:
        raise UsageError(
            "list takes no name", remedy=f"Check one: sync-runner locations check {arguments.name}"
        )
    return _list(session, connect=not arguments.no_connect)


def _list(session: Session, *, connect: bool) -> int:
    configuration = session.configuration()
    settings = list(configuration.locations.values())
    described = [_described(session, each) for each in settings]
    if connect and described:
        # One that does not answer must not keep the others waiting.
        with concurrent.futures.ThreadPoolExecutor(CONTACTED_AT_ONCE) as threads:
            faults = threads.map(lambda each: _contact(session, each), settings)
            described = [
                msgspec.structs.replace(
                    each, status="OFFLINE" if fault else "ONLINE", fault=each.fault or fault
                )
                for each, fault in zip(described, faults, strict=True)
            ]
    if session.output.json:
        session.output.value({"locations": described})
    rows = [
        (
            safe(each.name),
            each.type,
            each.status or "",
            ", ".join(map(safe, each.used_by)),
            safe(each.address),
        )
        for each in described
    ]
    headings = ("location", "type", "status" if connect else "", "used by", "address")
    lines = table(headings, rows, session.page, indent="")
    for each in described:
        if each.fault is not None:
            lines += [
                "",
                *wrapped(f"{safe(each.name)}: {_one_line(each.fault)}", session.page, first="! ", rest="  "),
            ]
    for each in described:
        if each.capabilities is not None:
            lines += ["", *_capability_lines(each.name, each.capabilities, session.page)]
    session.output.result(lines if described else ["No location is declared."])
    return ExitCode.DONE


def _contact(session: Session, settings: LocationSettings) -> str | None:
    """Why a location cannot be opened now, None when it can."""
    from runner.locations.protocol import OpenSettings
    from runner.locations.registry import check_installed

    try:
        driver = session.registry().driver(settings.type)
        check_installed(driver)
        # A destination that is made on the first write need not be there yet.
        driver.open(
            settings, OpenSettings(), create=_is_written(session.configuration(), settings.name)
        ).close()
    except RunnerError as error:
        return str(error)
    return None


def _is_written(configuration: Configuration, name: str) -> bool:
    return any(task.destination.name == name for task in configuration.tasks.values())


def _check(session: Session, arguments: Namespace) -> int:
    if arguments.read_only and arguments.write:
        raise UsageError("--read-only and --write exclude one another")
    settings = _named(session, arguments.name, "check")
    driver = session.registry().driver(settings.type)
    write = arguments.write or (
        not arguments.read_only and _is_written(session.configuration(), settings.name)
    )
    page = session.page
    address = driver.describe(settings)
    session.output.result(
        [page.paint(f"Location {safe(settings.name)}", Style.HEADING) + f": {safe(address)}"]
    )
    done: list[Step] = []
    for step in session.services.probe(
        driver, settings, session.context(subscriber=ignore_events), write=write
    ):
        done.append(step)
        session.output.result(_step_lines(step, page))
    failed = [step for step in done if step.verdict == "failed"]
    if session.output.json:
        session.output.value(CheckResult(settings.name, settings.type, address, not failed, tuple(done)))
    verdict = page.paint("fails", Style.BAD) if failed else page.paint("works", Style.GOOD)
    session.output.result(
        [f"{safe(settings.name)} {verdict}" + (f" at: {failed[0].name}" if failed else ".")]
    )
    return ExitCode.LOCATION_UNAVAILABLE if failed else ExitCode.DONE


def _adopt(session: Session, arguments: Namespace) -> int:
    settings = _named(session, arguments.name, "adopt")
    adopted = session.services.adopt(
        settings, session.context(subscriber=ignore_events), accept_empty=arguments.empty
    )
    if session.output.json:
        session.output.value(adopted)
    page = session.page
    lines = [page.paint(f"Location {safe(adopted.location)}", Style.HEADING) + f": {safe(adopted.address)}"]
    if adopted.facts is not None:
        lines += wrapped(safe(adopted.facts), page, first="  is     ", rest="         ")
    if adopted.marker is None:
        lines.append("  has    no marker")
    else:
        news = "written just now" if adopted.written else "found there"
        lines += wrapped(f"{adopted.marker.describe()} ({news})", page, first="  has    ", rest="         ")
    lines.append(f"  tasks  {', '.join(map(safe, adopted.tasks)) or 'none'}")
    lines += [f"Next: sync-runner plan {safe(task)}{session.config_flag}" for task in adopted.tasks]
    session.output.result(lines)
    return ExitCode.DONE


def _named(session: Session, name: str | None, verb: str) -> LocationSettings:
    known = session.configuration().locations
    if name is None:
        raise UsageError(f"{verb} needs a location's name", remedy=f"Declared: {', '.join(known) or 'none'}")
    if name not in known:
        close = closest(name, known)
        raise UsageError(
            f"there is no location {name!r} in {session.config_file}",
            remedy=f"Did you mean {close}?" if close else f"Declared: {', '.join(known) or 'none'}",
        )
    return known[name]


_SIGNS = {
    "ok": ("=", Style.GOOD),
    "noted": ("~", Style.CHANGE),
    "failed": ("!", Style.BAD),
    "not_tried": (" ", Style.DIM),
}


def _one_line(text: str) -> str:
    """A message and its remedy, which stands on a line of its own, as one line."""
    return " ".join(safe(line) for line in text.split("\n"))


def _step_lines(step: Step, page: Page) -> Iterator[str]:
    sign, style = _SIGNS[step.verdict.value]
    head = f"  {page.paint(sign, style)} {padded(step.name, 26)} "
    took = f" ({step.seconds:.2f} s)" if step.seconds >= 0.1 else ""
    yield from wrapped(_one_line(step.detail) + took, page, first=head, rest=" " * 31)


def _described(session: Session, settings: LocationSettings) -> LocationDescription:
    used_by = tuple(
        task.name
        for task in session.configuration().tasks.values()
        if settings.name in (task.source.name, task.destination.name)
    )
    try:
        driver = session.registry().driver(settings.type)
    except MissingExtraError as error:
        return LocationDescription(settings.name, settings.type, "", used_by, None, fault=str(error))
    return LocationDescription(
        settings.name, settings.type, driver.describe(settings), used_by, driver.capabilities(settings)
    )


def _capability_lines(name: str, capabilities: Capabilities, page: Page) -> list[str]:
    resolution = capabilities.mtime_resolution_ns
    times = (
        "keeps no modification times" if resolution is None else f"times to {format_resolution(resolution)}"
    )
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
