"""Symbolic links followed for `symlinks: follow`, and never out of the root.

The server is not asked to follow: each link's text is read and resolved to a path without links, name by name.
"""

from __future__ import annotations

from runner.errors import EntryCode, EntryError
from runner.model.entry import Kind

from .facts import kind_of
from .faults import StatusError, classify, shown
from .packets import Answer, Facts, MalformedError, Request, Status, read_names, text
from .paths import Paths
from .session import Session, facts_of

_LINKS_AT_MOST = 40  # as Linux: path_resolution(7)


class Follower:
    """Resolves paths below one root."""

    def __init__(self, session: Session, paths: Paths) -> None:
        self._session = session
        self._paths = paths

    def real(self, path: str) -> tuple[str, bool] | None:
        """(`path` without links, whether its last name was a link); None when, links apart, nothing is there.

        Raises EntryError LINK_ESCAPES, LINK_BROKEN or LINK_LOOP, and the wire's errors.
        """
        found: list[str] = []
        pending = path.split("/")[::-1]
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
                if not found:
                    raise _escapes(path)
                found.pop()
                continue
            target = self._text_or_none("/".join([*found, name]))
            if target is None:
                if links == 0:
                    return None
                message = f"{shown(path)}: the link points to nothing"
                raise EntryError(EntryCode.LINK_BROKEN, path, message)
            if target == "":
                found.append(name)
                continue
            links += 1
            last_was_link = True
            if target.startswith("/"):
                raise _escapes(path)
            if links > _LINKS_AT_MOST:
                raise EntryError(EntryCode.LINK_LOOP, path, f"{shown(path)}: the link leads back to itself")
            pending.extend(reversed(target.split("/")))
        return "/".join(found), last_was_link

    def target(self, path: str) -> str | EntryError:
        """Where the link at `path` leads, a folder with a slash; or why it leads nowhere."""
        try:
            resolved = self.real(path)
            if resolved is None:
                return EntryError(EntryCode.LINK_BROKEN, path, f"{shown(path)}: the link is gone")
            facts = self.facts(path, resolved[0])
        except EntryError as error:
            return error
        if isinstance(facts, EntryError):
            return facts
        real = resolved[0]
        return real + "/" if real and kind_of(facts) is Kind.DIRECTORY else real

    def facts(self, path: str, real: str) -> Facts | EntryError:
        """The facts of what stands at the real path that the link at `path` leads to."""
        wire = self._session.ready()
        try:
            facts = facts_of(wire.wait(self._session.lstat(wire, self._paths.full(real))))
            if facts is None:
                return EntryError(EntryCode.LINK_BROKEN, path, f"{shown(path)}: the link points to nothing")
            kind_of(facts)
        except (StatusError, MalformedError) as error:
            return classify(error, path, "follow")
        return facts

    def _text_or_none(self, path: str) -> str | None:
        """A link's text, "" for what is no link, None when nothing is there."""
        wire = self._session.ready()
        full = self._paths.full(path)
        slot = self._session.lstat(wire, full)
        link = wire.request(Request.READLINK, text(full))
        wire.wait_all(slot, link)
        facts = facts_of(slot)
        if facts is None:
            return None
        if kind_of(facts) is not Kind.SYMLINK:
            return ""
        if link.status == Status.NO_SUCH_FILE:
            return None
        names = read_names(link.expect(Answer.NAME))
        return names[0][0].decode("utf-8", "surrogateescape") if names else None


def _escapes(path: str) -> EntryError:
    return EntryError(
        EntryCode.LINK_ESCAPES, path, f"{shown(path)}: the link points outside the location's root"
    )
