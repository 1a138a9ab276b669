"""DataSync's names and values -> ours, so that what its API prints can be pasted.

The schema's `x-datasync` and `x-datasync-values` are the table; only what no table can say is code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from typing import Any

import msgspec

from runner.config.nodes import (
    Faults,
    Mapping,
    Member,
    Node,
    Scalar,
    Sequence,
    Value,
    scalar_at,
    shown,
    text_of,
)
from runner.config.schema import Schema, resolve

NO_COUNTERPART = {
    "LogLevel": "every execution leaves a report; the log's level is a flag of the command line",
    "TaskMode": "there is one mode, without DataSync's quotas",
    "CloudWatchLogGroupArn": "every execution leaves a report, see reports",
    "TaskReportConfig": "see reports",
    "ManifestConfig": "see filters.manifest",
    "Tags": "see description",
}

_CLOCK_TIME = re.compile(r"([0-9-]{10}[Tt ])?[0-9]{2}:[0-9]{2}")
_DURATION = re.compile(r"([0-9.]+(ms|s|m|h|d|w) ?)+")


class Alias(msgspec.Struct, frozen=True):
    """One canonical key: where it stands below its section, DataSync's names for it, and for its values."""

    path: tuple[str, ...]
    names: tuple[str, ...]
    values: dict[str, Value]


class Aliases:
    """The tables of every section, read from the schema once."""

    def __init__(self, schema: Schema) -> None:
        filters = _collect(schema, "filters")
        nested = [
            Alias(("filters", *alias.path), alias.names, alias.values) for alias in filters if alias.names
        ]
        metadata = [
            Alias(("metadata", *alias.path), alias.names, alias.values)
            for alias in _collect(schema, "metadata")
        ]
        self.task = _Table([*_collect(schema, "task"), *nested])
        self.options = _Table([*_collect(schema, "options"), *metadata])
        self.metadata = _Table(_collect(schema, "metadata"))
        self.filters = _Table(filters)
        self.schedule = _Table(_collect(schema, "schedule"))


def canonical(root: Mapping, schema: Schema, faults: Faults) -> Mapping:
    """The document in our own words. A key together with its alias is a fault."""
    aliases = Aliases(schema)
    members = dict(root.members)
    defaults = members.get("defaults")
    if defaults is not None and isinstance(defaults.node, Mapping):
        members["defaults"] = Member(defaults.key, _sections(defaults.node, aliases, faults))
    tasks = members.get("tasks")
    if tasks is not None and isinstance(tasks.node, Mapping):
        named = {}
        for name, member in tasks.node.members.items():
            node = member.node
            if isinstance(node, Mapping):
                node = _sections(aliases.task.applied(node, faults), aliases, faults)
            named[name] = Member(member.key, node)
        members["tasks"] = Member(tasks.key, tasks.node.with_members(named))
    return root.with_members(members)


def _sections(node: Mapping, aliases: Aliases, faults: Faults) -> Mapping:
    members = node.members
    changed: dict[str, Member] = {}
    for section, table in (("options", aliases.options), ("filters", aliases.filters)):
        member = members.get(section)
        if member is not None and isinstance(member.node, Mapping):
            inner = table.applied(member.node, faults)
            metadata = inner.members.get("metadata") if section == "options" else None
            if metadata is not None and isinstance(metadata.node, Mapping):
                words = Member(metadata.key, aliases.metadata.applied(metadata.node, faults))
                inner = inner.with_members({**inner.members, "metadata": words})
            changed[section] = Member(member.key, inner)
    schedule = members.get("schedule")
    if schedule is not None:
        inner_node = _schedule_of_text(schedule.node)
        if isinstance(inner_node, Mapping):
            inner_node = aliases.schedule.applied(inner_node, faults)
        changed["schedule"] = Member(schedule.key, inner_node)
    return node.with_members({**members, **changed}) if changed else node


def _schedule_of_text(node: Node) -> Node:
    """`schedule: rate(12 hours)`, `schedule: 12h` or `schedule: 0 2 * * *` -> a map with one key."""
    text = text_of(node)
    if not text:
        return node
    key = _trigger_of(text)
    member = Member(scalar_at(node, key), node)
    return Mapping(node.source, node.line, node.column, node.width, {key: member})


def _trigger_of(text: str) -> str:
    if text.startswith("rate("):
        return "rate"
    if _CLOCK_TIME.fullmatch(text):
        return "at"
    return "every" if _DURATION.fullmatch(text) else "cron"


class _Table:
    """The aliases of one section, by every name they have."""

    def __init__(self, aliases: list[Alias]) -> None:
        self._by_name: dict[str, Alias] = {}
        self._canonical: dict[str, Alias] = {}
        for alias in aliases:
            for name in alias.names:
                self._by_name[name] = alias
            if len(alias.path) == 1:
                self._canonical[alias.path[0]] = alias

    def applied(self, node: Mapping, faults: Faults) -> Mapping:
        """The same map with canonical keys and values; the same object when there is nothing to do."""
        members: dict[str, Member] = {}
        renamed: list[tuple[Alias, Member]] = []
        for key, member in node.members.items():
            alias = self._by_name.get(key)
            if alias is not None and key not in self._canonical:
                renamed.append((alias, member))
            elif key in NO_COUNTERPART:
                faults.add(member.key, f"DataSync's {key} has no counterpart here: {NO_COUNTERPART[key]}")
            else:
                own = self._canonical.get(key)
                text = text_of(member.node)
                if own is not None and text is not None and text in own.values:
                    member = Member(member.key, scalar_at(member.node, own.values[text]))
                members[key] = member
        for alias, member in renamed:
            self._place(members, alias, member, faults)
        return node.with_members(members)

    def _place(self, members: dict[str, Member], alias: Alias, member: Member, faults: Faults) -> None:
        name = str(member.key.value)
        node = _translated(name, alias, member.node, faults)
        if node is None:
            return
        path = alias.path
        if path == ("cron",) and (text_of(node) or "").startswith("rate("):
            path = ("rate",)
        for parent in path[:-1]:
            known = members.get(parent)
            if known is None:
                known = Member(member.key, Mapping(node.source, node.line, node.column, 1, {}))
            if not isinstance(known.node, Mapping):
                return
            inner = dict(known.node.members)
            members[parent] = Member(known.key, known.node.with_members(inner))
            members = inner
        other = members.get(path[-1])
        if other is None:
            members[path[-1]] = Member(member.key, node)
            return
        both_aliases = str(other.key.value) in alias.names
        if both_aliases and isinstance(other.node, Scalar) and isinstance(node, Scalar):
            if other.node.value == node.value:
                return
            message = f"{name} and {other.key.value} have to agree"
        else:
            message = f"{name} is DataSync's name for {'.'.join(alias.path)}, which is given as well"
        faults.add(
            member.key, f"{message}; the other is in line {other.key.line}, column {other.key.column}",
            expected="one of the two",
        )  # fmt: skip


def _translated(name: str, alias: Alias, node: Node, faults: Faults) -> Node | None:
    """The value in our words, or None and a fault."""
    if name == "BytesPerSecond":
        return _rate(node, faults)
    if name in ("Includes", "Excludes"):
        return _patterns(name, node, faults)
    if not alias.values or not isinstance(node, Scalar):
        return node
    if isinstance(node.value, str) and node.value in alias.values:
        return scalar_at(node, alias.values[node.value])
    if node.value in alias.values.values():
        return node
    faults.add(node, f"{shown(node)} is not a value of {name}", expected="one of " + ", ".join(alias.values))
    return None


def _rate(node: Node, faults: Faults) -> Node | None:
    value = node.value if isinstance(node, Scalar) else None
    if isinstance(value, int) and not isinstance(value, bool) and (value == -1 or value > 0):
        return scalar_at(node, "unlimited" if value == -1 else f"{value}B/s")
    faults.add(node, f"{shown(node)} is not a value of BytesPerSecond", expected="bytes per second, or -1")
    return None


def _patterns(name: str, node: Node, faults: Faults) -> Node | None:
    """[{FilterType: SIMPLE_PATTERN, Value: "/a|/b"}] -> ["/a|/b"]."""
    expected = '[{FilterType: SIMPLE_PATTERN, Value: "/a|/b*"}]'
    if isinstance(node, Scalar):
        return node
    children: list[Node] = []
    for child in node.children if isinstance(node, Sequence) else (node,):
        value = child
        if isinstance(child, Mapping):
            kind = text_of(child.get("FilterType"))
            found = child.get("Value")
            if (
                found is None
                or set(child.members) - {"FilterType", "Value"}
                or kind not in (None, "SIMPLE_PATTERN")
            ):
                faults.add(child, f"this is not a rule of {name}", expected=expected)
                return None
            value = found
        children.append(value)
    return Sequence(node.source, node.line, node.column, node.width, tuple(children))


def _collect(schema: Schema, definition: str) -> list[Alias]:
    found = []
    properties: MappingABC[str, Any] = schema["$defs"][definition]["properties"]
    for key, node in properties.items():
        names = node.get("x-datasync", ())
        names = (names,) if isinstance(names, str) else tuple(names)
        values = resolve(schema, node).get("x-datasync-values", {})
        if names or values:
            found.append(Alias((key,), names, values))
    return found
