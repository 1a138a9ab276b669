"""Symbolic links followed by the runner itself, for `symlinks: follow`, and never out of the location's root.

Each link's text is read and resolved to a path without links, which is then reached without following. A link swapped
meanwhile makes that fail; it cannot lead anywhere.
"""

from __future__ import annotations

from runner.errors import EntryCode, EntryError

from ..local.faults import shown
from .calls import DIRECTORY, SYMLINK, Calls
from .faults import NOTDIR
from .session import NfsError
from .walking import Missing, Walker

_LINKS_AT_MOST = 40  # as Linux: path_resolution(7)


class Follower:
    """Resolves paths below one root."""

    def __init__(self, calls: Calls, walker: Walker) -> None:
        self._calls = calls
        self._walker = walker

    def real(self, path: str, base: str = "") -> tuple[str, bool]:
        """(`path` without links and without a trailing slash, whether its last name was a link).

        `path` starts at the real directory `base` ("" or ending in "/"). Raises EntryError LINK_ESCAPES, LINK_BROKEN
        or LINK_LOOP, and Missing when, links apart, nothing is there.
        """
        asked = base + path
        current = base
        pending = list(reversed(path.removesuffix("/").split("/")))
        own_names = len(pending)  # names still to come that are not from a link's text
        links = 0
        last_was_link = False
        while pending:
            name = pending.pop()
            if len(pending) < own_names:
                own_names = len(pending)
                last_was_link = False
            if name in ("", "."):
                continue
            if name == "..":
                if current == "":
                    raise _escapes(asked)
                current = current[: current.rstrip("/").rfind("/") + 1]
                continue
            target = self._target(current + name, links, asked)
            if target is None:
                current += name + "/"
                continue
            links += 1
            last_was_link = True
            if target.startswith("/"):
                raise _escapes(asked)
            if links > _LINKS_AT_MOST:
                raise EntryError(EntryCode.LINK_LOOP, asked, f"{shown(asked)}: the link leads back to itself")
            pending.extend(reversed(target.split("/")))
        return current.removesuffix("/"), last_was_link

    def _target(self, path: str, links: int, asked: str) -> str | None:
        """The text of the link at `path`; None when something else stands there."""
        try:
            standing = self._walker.locate(path).standing
            if standing is None:
                raise Missing
            if standing.facts.kind != SYMLINK:
                return None
            return self._calls.readlink(standing.handle).result().decode("utf-8", "surrogateescape")
        except (Missing, NfsError) as error:
            if isinstance(error, NfsError) and error.status != NOTDIR:
                raise
            if links == 0:
                raise Missing from error
            message = f"{shown(asked)}: the link points to nothing"
            raise EntryError(EntryCode.LINK_BROKEN, asked, message) from error

    def leads_to_directory(self, name: str, base: str) -> bool:
        """Whether the link `name` in the real directory `base` is, in the end, a folder; False when that cannot be
        told: reading its entry then says why."""
        try:
            real, _ = self.real(name, base)
            standing = self._walker.locate(real).standing if real else self._walker.root()
        except (EntryError, Missing, NfsError):
            return False
        return standing is not None and standing.facts.kind == DIRECTORY


def _escapes(path: str) -> EntryError:
    return EntryError(
        EntryCode.LINK_ESCAPES, path, f"{shown(path)}: the link points outside the location's root"
    )
