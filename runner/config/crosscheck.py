"""What no schema can say: names that point to nothing, endpoints that overlap, secrets where none may be."""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from typing import Any

from runner.config.nodes import Faults, Mapping, Node, Scalar, close_match, quoted, text_of
from runner.locations.registry import Registry
from runner.model.task import LocationSettings


def check_names(task: Mapping, name: str, declared: MappingABC[str, Any], faults: Faults) -> None:
    """The locations that a task names have to be declared."""
    for side in ("source", "destination"):
        node = task.get(side)
        text = text_of(node)
        if node is None or not text or text in declared:
            continue
        faults.add(
            node,
            f"the {side} of task {quoted(name)} names a location that is not declared: {quoted(text)}",
            expected="one of " + ", ".join(declared) if declared else "a location declared under locations:",
            suggestion=close_match(text, declared),
        )


def check_names_after(tasks: Node | None, built: MappingABC[str, Any], faults: Faults) -> None:
    """A schedule's `after` names tasks that exist, and no circle of them."""
    if not isinstance(tasks, Mapping):
        return
    follows = {name: task.schedule.after for name, task in built.items() if task.schedule is not None}
    for name, member in tasks.members.items():
        if name not in built or not follows.get(name):
            continue
        schedule = member.node.get("schedule") if isinstance(member.node, Mapping) else None
        place = schedule.get("after") if isinstance(schedule, Mapping) else None
        for other in follows[name]:
            if other not in tasks.members:
                faults.add(
                    place or member.key,
                    f"task {quoted(name)} runs after a task that is not declared: {quoted(other)}",
                    expected="a task of this file",
                    suggestion=close_match(other, tasks.members),
                )
        if _leads_to(name, name, follows):
            faults.add(place or member.key, f"task {quoted(name)} runs after itself, by way of its `after`")


def _leads_to(start: str, wanted: str, follows: MappingABC[str, tuple[str, ...]]) -> bool:
    waiting, seen = list(follows.get(start, ())), set()
    while waiting:
        name = waiting.pop()
        if name == wanted:
            return True
        if name not in seen:
            seen.add(name)
            waiting += follows.get(name, ())
    return False


def check_endpoints(
    source: LocationSettings,
    destination: LocationSettings,
    task: Mapping,
    registry: Registry,
    faults: Faults,
) -> None:
    """Source and destination must not share entries: a task would copy into itself, or delete its source."""
    node = task.get("destination")
    if node is None or source.type != destination.type:
        return
    if source.name == destination.name:
        faults.add(node, f"source and destination are the same location {quoted(source.name)}")
        return
    driver = registry.driver(source.type)
    if driver.overlaps(source, destination):
        faults.add(
            node,
            f"the destination lies inside the source, or the other way: "
            f"source {driver.describe(source)}, destination {driver.describe(destination)}",
            expected="two locations that share nothing",
        )


def refuse_secrets(root: Mapping, faults: Faults) -> None:
    """Secrets belong where something connects: anything else is shown to people."""
    for key, member in root.members.items():
        if key in ("locations", "vars"):
            continue
        _refuse(member.node, (key,), faults)


def _refuse(node: Node, path: tuple[str, ...], faults: Faults) -> None:
    if isinstance(node, Scalar):
        if node.secret and not _may_be_secret(path):
            faults.add(
                node,
                f"a secret cannot be used in {'.'.join(path)}",
                expected="secrets only in the options of locations, in settings.history, and in the addresses of "
                "notifications, pings and traces",
            )
    elif isinstance(node, Mapping):
        for key, member in node.members.items():
            inline = len(path) == 2 and path[0] == "tasks" and key in ("source", "destination")
            if not (inline and isinstance(member.node, Mapping)):
                _refuse(member.node, (*path, key), faults)
    else:
        for child in node.children:
            _refuse(child, path, faults)


def _may_be_secret(path: tuple[str, ...]) -> bool:
    return (
        path in (("settings", "history"), ("settings", "monitoring", "traces_headers"))
        or path[:2] == ("notifications", "channels")
        or (path[0] == "defaults" and path[1:2] == ("pings",))
        or (path[0] == "tasks" and path[2:3] == ("pings",))
    )
