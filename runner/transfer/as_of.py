"""What stood at the destination at a moment that is past, as far as quarantine and the runner's own records tell.

Pure. Two things are known: what executions moved aside since, and what they wrote since. The oldest of what was moved
aside at a path is what stood there, unless something was written there before: then what was moved aside is younger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from runner.model.action import ActionKind

MAKES = frozenset({ActionKind.COPY, ActionKind.LINK, ActionKind.CREATE_DIRECTORY})
"""Actions that make what was not there before."""
WRITES = MAKES | {ActionKind.REPLACE}


class Aside(NamedTuple):
    """What an execution moved aside; `path` is where it stood, of a folder with a slash at its end."""

    execution: str
    path: str


class Written(NamedTuple):
    """The first execution after the moment that wrote to a path, and how (one of WRITES)."""

    execution: str
    kind: ActionKind


class Standing(NamedTuple):
    """`back`: what stood there, in the order of `aside`. `replaced`: what stood there was replaced, and is nowhere; what was
    moved aside later is another content."""

    back: tuple[Aside, ...]
    replaced: tuple[Aside, ...]


def stood(aside: Iterable[Aside], written: Mapping[str, Written]) -> Standing:
    """What of `aside` stood there at the moment.

    `aside` holds what was moved aside after it, the oldest execution first, folders before what is in them. `written` has
    paths without a slash at their end. Executions' ids sort by their start. Where an execution both moves aside and
    writes at one path, it moves aside first.
    """
    back: list[Aside] = []
    replaced: list[Aside] = []
    taken: dict[str, bool] = {}  # paths of which it is known what stood there: whether that was a folder
    for one in aside:
        name, is_folder = one.path.removesuffix("/"), one.path.endswith("/")
        above = list(_folders_above(name))
        if name in taken or any(taken.get(folder) is False for folder in above):
            continue
        first = written.get(name)
        younger = first is not None and first.execution < one.execution
        if younger and first is not None and first.kind in MAKES:
            continue
        (replaced if younger else back).append(one)
        taken[name] = is_folder
        for folder in above:
            taken.setdefault(folder, True)
    return Standing(tuple(back), tuple(replaced))


def _folders_above(name: str) -> Iterator[str]:
    while "/" in name:
        name = name.rpartition("/")[0]
        yield name
