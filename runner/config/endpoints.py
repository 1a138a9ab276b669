"""The locations of a document: their drivers, their options as drivers get them, and their secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping as MappingABC
from typing import Any

from runner.config.nodes import Faults, Mapping, Node, Sequence, plain, text_of
from runner.config.schema import COMMON_KEYS, LIMIT_KEYS, secret_paths
from runner.errors import MissingExtraError
from runner.locations.registry import Registry
from runner.model.task import LocationSettings, MarkerMode, Secret

_SUSPICIOUS = re.compile("pass?w|pwd|passphrase|secret|token|credential|_?key$|sas", re.IGNORECASE)
"""Keys whose written-out values no excerpt shows, even where no schema marks them: a misspelt `pasword2`."""


class Endpoints:
    """Every location that the document declares, and the drivers they name: no other driver is loaded."""

    def __init__(self, root: Mapping, registry: Registry, faults: Faults) -> None:
        self.registry = registry
        self._faults = faults
        self._secret_paths: dict[str, frozenset[tuple[str, ...]]] = {}
        self.schemas: dict[str, MappingABC[str, Any] | None] = dict.fromkeys(registry.types())
        """Options schema by type; None for types that no location names, or whose packages are missing."""
        for node in location_nodes(root):
            location_type = text_of(node.get("type"))
            if location_type in self.schemas:
                self._load(location_type, node)
            for key, member in node.members.items():
                self._mask(member.node, (key,), self._secret_paths.get(location_type or "", frozenset()))

    def settings(self, name: str, node: Mapping) -> LocationSettings | None:
        """The location as drivers get it; None when its driver is not at hand.

        Notes a fault for every secret that is written out.
        """
        location_type = text_of(node.get("type"))
        if location_type is None or self.schemas.get(location_type) is None:
            return None
        marked = self._secret_paths[location_type]
        options = {
            key: self._value(member.node, (key,), marked)
            for key, member in node.members.items()
            if key != "type" and key not in COMMON_KEYS
        }
        limits = {key: plain(limit) for key in LIMIT_KEYS if (limit := node.get(key)) is not None}
        return LocationSettings(
            name,
            location_type,
            options,
            base_directory=node.source.directory,
            **{key: int(limit) for key, limit in limits.items()},
            marker=_marker_mode(text_of(node.get("marker"))),
        )

    def _load(self, location_type: str, node: Mapping) -> None:
        try:
            driver_schema = self.registry.driver(location_type).options_schema()
        except MissingExtraError as error:
            self._faults.add(node.members["type"].node, error.message, suggestion=error.remedy)
            return
        self.schemas[location_type] = driver_schema
        if location_type not in self._secret_paths:
            self._secret_paths[location_type] = secret_paths(driver_schema)

    def _value(self, node: Node, path: tuple[str, ...], marked: frozenset[tuple[str, ...]]) -> Any:
        if isinstance(node, Mapping):
            return {
                key: self._value(member.node, (*path, key), marked) for key, member in node.members.items()
            }
        if isinstance(node, Sequence):
            return [self._value(child, (*path, "*"), marked) for child in node.children]
        is_secret_key = _is_marked(path, marked)
        if node.secret or (is_secret_key and node.template is not None):
            return Secret(str(node.value), node.template or "")
        if is_secret_key and node.value is not None:
            self._faults.add(
                node,
                f"the value of {'.'.join(path)} is written out",
                expected="secrets by reference only: {{ secret_file('/run/secrets/name') }}, "
                "{{ secret_env('NAME') }} or {{ credential('name') }}",
            )
        return plain(node)

    def _mask(self, node: Node, path: tuple[str, ...], marked: frozenset[tuple[str, ...]]) -> None:
        if isinstance(node, Mapping):
            for key, member in node.members.items():
                self._mask(member.node, (*path, key), marked)
        elif isinstance(node, Sequence):
            for child in node.children:
                self._mask(child, (*path, "*"), marked)
        elif node.template is None and node.value is not None and _is_telling(path, marked):
            node.source.mask(node)


def _marker_mode(text: str | None) -> MarkerMode:
    """AUTO for what the schema refuses: that is told already."""
    return next((mode for mode in MarkerMode if mode == text), MarkerMode.AUTO)


def location_nodes(root: Mapping) -> list[Mapping]:
    """Every location of the document: the declared ones, then those written inside tasks."""
    found: list[Node | None] = []
    locations, tasks = root.get("locations"), root.get("tasks")
    if isinstance(locations, Mapping):
        found += [member.node for member in locations.members.values()]
    for task in tasks.members.values() if isinstance(tasks, Mapping) else ():
        if isinstance(task.node, Mapping):
            found += [task.node.get("source"), task.node.get("destination")]
    return [node for node in found if isinstance(node, Mapping)]


def _is_telling(path: tuple[str, ...], marked: frozenset[tuple[str, ...]]) -> bool:
    return _is_marked(path, marked) or any(_SUSPICIOUS.search(step) for step in path)


def _is_marked(path: tuple[str, ...], marked: frozenset[tuple[str, ...]]) -> bool:
    return any(
        len(mark) == len(path) and all(one in ("*", step) for one, step in zip(mark, path, strict=True))
        for mark in marked
    )
