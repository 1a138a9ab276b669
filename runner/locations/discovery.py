"""Which entry points of a group the installed packages declare, read from their entry_points.txt.

The answer is importlib.metadata's; but that takes 17 ms of imports and reads far more, and every command would pay.
It is asked where packages lie in archives or eggs, or come from finders of their own.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

_OURS = "sync_runner"
_ENDINGS = (".dist-info", ".egg-info")


def declared(group: str, paths: Sequence[str] | None = None) -> dict[str, str]:
    """Entry points by name, each as it is declared: `module:attribute`. What this program declares itself nobody can
    replace; of two others with one name, the package whose name comes later in the alphabet counts.

    `paths`: where packages are looked for, by default where Python looks for modules.
    """
    if paths is None and any(map(_finds_packages, sys.meta_path)):
        return _thoroughly(group, paths)
    found: list[tuple[str, dict[str, str]]] = []
    try:
        for package, content in _declarations(sys.path if paths is None else paths):
            if group in content:
                found.append((package, _points(content, group)))
    except _UnusualPlace:
        return _thoroughly(group, paths)
    return _merged(found)


def _merged(found: list[tuple[str, dict[str, str]]]) -> dict[str, str]:
    """All points of all packages, each with its normalised name: ours count most."""
    merged: dict[str, str] = {}
    for _, points in sorted(found, key=lambda one: (one[0] == _OURS, one[0])):
        merged.update(points)
    return merged


def load(declaration: str) -> Any:
    """What `module:attribute` names. Raises ImportError, and AttributeError when the module has no such attribute."""
    module, _, attributes = declaration.partition("[")[0].partition(":")
    loaded: Any = importlib.import_module(module.strip())
    for attribute in filter(None, attributes.strip().split(".")):
        loaded = getattr(loaded, attribute)
    return loaded


class _UnusualPlace(Exception):
    """Packages may lie where only importlib.metadata finds them."""


def _finds_packages(finder: object) -> bool:
    """A finder besides Python's own that knows of installed packages."""
    own = getattr(finder, "__module__", None) == "_frozen_importlib_external"
    return not own and hasattr(finder, "find_distributions")


def _declarations(paths: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each package and the text of its entry_points.txt. A package that is found twice counts where it is found first."""
    seen = set()
    for path in paths:
        for name in _names_in(path):
            low = name.lower()
            if not low.endswith(_ENDINGS):
                continue
            package = _normalized(low.rpartition(".")[0].partition("-")[0])
            if package in seen:
                continue
            seen.add(package)
            try:
                with open(os.path.join(path, name, "entry_points.txt"), encoding="utf-8") as stream:
                    yield package, stream.read()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
                continue


def _names_in(path: str) -> list[str]:
    if path.endswith((".egg", ".egg/")):
        raise _UnusualPlace
    try:
        return os.listdir(path or ".")
    except NotADirectoryError:
        raise _UnusualPlace from None
    except OSError:
        return []


def _normalized(name: str) -> str:
    """PEP 503: runs of -, _ and . are one."""
    name = name.replace(".", "_")
    while "__" in name:
        name = name.replace("__", "_")
    return name


def _points(content: str, group: str) -> dict[str, str]:
    """The lines `name = value` of one section."""
    points = {}
    inside = False
    for raw in content.splitlines():
        line = raw.strip()
        if line.startswith("[") and line.endswith("]"):
            inside = line[1:-1] == group
        elif inside and line and not line.startswith("#"):
            name, _, value = line.partition("=")
            points[name.strip()] = value.strip()
    return points


def _thoroughly(group: str, paths: Sequence[str] | None) -> dict[str, str]:
    from importlib.metadata import distributions

    found: dict[str, dict[str, str]] = {}
    for package in distributions() if paths is None else distributions(path=list(paths)):
        points = {point.name: point.value for point in package.entry_points if point.group == group}
        found.setdefault(_normalized(package.name.lower().replace("-", "_")), points)
    return _merged(list(found.items()))
