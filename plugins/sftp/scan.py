"""The walk: every entry below a folder, in canonical order, with problems in their places.

Memory: the names of one directory per level, with their facts: READDIR brings both. A connection that breaks is made
anew once; when that fails, the folders still to come are problems at once, and nothing waits for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.model.entry import Entry, Kind, Phase, Problem, parent_path
from runner.model.task import SymlinkMode

from .facts import KINDS, entry_of
from .faults import RefusedError, StatusError, WireError, classified, classify, shown
from .follow import Follower
from .names import is_reserved, temporary_execution
from .packets import Answer, Facts, MalformedError, Request, Status, read_names, text
from .paths import Paths
from .session import Session, facts_of, is_directory
from .wire import Slot, Wire

_REMEDY = (
    "Nothing below it is deleted in this run. Give the runner's user the right to list it, or exclude it."
)
_LISTED_AHEAD = 4
_LINKS_AT_ONCE = 256

Descend = Callable[[Entry], bool] | None


class _Found(NamedTuple):
    """One name of a folder: what sorts, what the server said, and a link's text or why it is unknown."""

    key: bytes
    name: str
    facts: Facts
    target: str | EntryError | None = None


class _Level(NamedTuple):
    """A folder on the way from the scan's top to where it is. `real`: where it is when links are followed."""

    path: str
    real: str
    found: Iterator[_Found]


class Scanner:
    """Scans of one location. `leftovers` gathers (path, execution id) of temporary files that were seen."""

    def __init__(
        self,
        session: Session,
        paths: Paths,
        wanted: frozenset[str],
        symlinks: SymlinkMode,
        *,
        absent_is_empty: bool,
    ) -> None:
        """`absent_is_empty`: a root that was never there is an empty location."""
        self._session = session
        self._paths = paths
        self._wanted = wanted
        self._symlinks = symlinks
        self._follower = Follower(session, paths) if symlinks is SymlinkMode.FOLLOW else None
        self.absent_is_empty = absent_is_empty
        self.leftovers: dict[str, str] = {}

    def scan(self, prefix: str, descend: Descend) -> Iterator[Entry | Problem]:
        """Everything at and below `prefix`; nothing when it is not there. See `Location.scan`."""
        with classified(prefix, "list"):
            top = self._top(prefix)
        if top is None:
            return
        entry, real = top
        yield entry
        if descend is not None and not descend(entry):
            return
        yield from self._walk(prefix, real, descend)

    def _top(self, prefix: str) -> tuple[Entry, str] | None:
        """(entry, real path) of the scan's own folder; None when no folder is there."""
        real, followed = prefix, False
        if self._follower is not None and prefix:
            resolved = self._follower.real(prefix.removesuffix("/"))
            if resolved is None:
                return None
            real, followed = resolved
            real += "/" if real else ""
        wire = self._session.ready()
        guard = self._paths.guard(wire, parent_path(real))
        facts = facts_of(wire.wait(self._session.lstat(wire, self._paths.full(real))))
        if facts is None or not is_directory(facts):
            if prefix == "" and not (facts is None and self.absent_is_empty):
                raise LocationUnavailableError(
                    f"{shown(self._session.root.decode('utf-8', 'surrogateescape'))} is no longer there",
                    remedy="Bring it back, or check `path`; nothing was read as empty.",
                )
            return None
        if not guard.exists():
            return None
        return entry_of(prefix.removesuffix("/"), facts, self._wanted, followed=followed), real

    def _walk(self, top: str, real: str, descend: Descend) -> Iterator[Entry | Problem]:
        lost = False
        opened = self._opened(top, real)
        if isinstance(opened, Problem):
            yield opened
            return
        stack = [opened]
        while stack:
            level = stack[-1]
            child: _Level | None = None
            for found in level.found:
                entry, below = self._entry(level, found, stack)
                yield entry
                if below is None or not isinstance(entry, Entry):
                    continue
                if descend is not None and not descend(entry):
                    continue
                if lost:
                    yield _unknown(entry.path)
                    continue
                opened = self._opened(entry.path, below)
                if isinstance(opened, Problem):
                    yield opened
                    lost = opened.retryable and not self._is_back()
                    continue
                child = opened
                break
            if child is not None:
                stack.append(child)
            else:
                stack.pop()

    def _is_back(self) -> bool:
        """True when there is a connection, or one can be made."""
        try:
            self._session.ready()
        except (RefusedError, WireError, StatusError, MalformedError):
            return False
        return True

    def _entry(self, level: _Level, found: _Found, stack: list[_Level]) -> tuple[Entry | Problem, str | None]:
        """(what to yield for a name, the real path of the folder to walk next or None)."""
        path = level.path + found.name
        if isinstance(found.target, EntryError):
            return _problem_of(path, found.target), None
        kind = KINDS[(found.facts.mode or 0) & 0o170000]
        if kind is not Kind.SYMLINK:
            below = level.real + found.name + "/" if kind is Kind.DIRECTORY else None
            return entry_of(path, found.facts, self._wanted), below
        if self._symlinks is SymlinkMode.ERROR:
            message = f"{shown(path)} is a symbolic link, and the task says `symlinks: error`"
            return Problem(path, Phase.PREPARING, EntryCode.LINK_REFUSED, message), None
        if self._follower is None:
            return entry_of(path, found.facts, self._wanted, found.target), None
        return self._followed(path, found, [above.real for above in stack])

    def _followed(self, path: str, found: _Found, above: list[str]) -> tuple[Entry | Problem, str | None]:
        """What a symlink points to. Its real path stands in `target`, a folder's with a slash."""
        real = found.target
        assert isinstance(real, str) and self._follower is not None
        facts = self._follower.facts(path, real)
        if isinstance(facts, EntryError):
            return _problem_of(path, facts), None
        entry = entry_of(path, facts, self._wanted, followed=True)
        if entry.kind is not Kind.DIRECTORY:
            return entry, None
        folder = real.removesuffix("/") + "/" if real.removesuffix("/") else ""
        if folder in above:
            message = f"{shown(path)}: the link leads back to one of its own parent folders"
            return Problem(path, Phase.PREPARING, EntryCode.LINK_LOOP, message), None
        return entry, folder

    # -- one folder ----------------------------------------------------------------------------------------------

    def _opened(self, path: str, real: str) -> _Level | Problem:
        """The level of a folder, its names read and sorted; a Problem when any of that fails."""
        try:
            wire = self._session.ready()
            return _Level(path, real, self._sorted(wire, path, real, self._listed(wire, real)))
        except (StatusError, WireError, RefusedError, MalformedError) as error:
            return _not_listed(path, classify(error, path, "list"))
        except EntryError as error:
            return _not_listed(path, error)

    def _listed(self, wire: Wire, real: str) -> list[tuple[bytes, Facts]]:
        """All names of a folder. Raises what `_opened` makes a Problem of; never a part of them."""
        guard = self._paths.guard(wire, real)
        opened = wire.wait(wire.request(Request.OPENDIR, text(self._paths.full(real))))
        handle = opened.expect(Answer.HANDLE)
        try:
            guard.wait(wire)
            guard.check()
            names: list[tuple[bytes, Facts]] = []
            asked: list[Slot] = []
            while True:
                while len(asked) < (_LISTED_AHEAD if names else 2):
                    asked.append(wire.request(Request.READDIR, handle))
                slot = wire.wait(asked.pop(0))
                if slot.status == Status.EOF:
                    return names
                names += read_names(slot.expect(Answer.NAME))
        finally:
            if wire.error is None:
                wire.request(Request.CLOSE, handle)

    def _sorted(self, wire: Wire, path: str, real: str, names: list[tuple[bytes, Facts]]) -> Iterator[_Found]:
        """The names in canonical order: a folder's name carries its slash while sorting."""
        found: list[_Found] = []
        seen: set[bytes] = set()
        unknown: list[tuple[bytes, str]] = []
        links: list[tuple[bytes, str, Facts]] = []
        for raw, facts in names:
            if raw in (b".", b".."):
                continue
            if raw == b"" or b"/" in raw or b"\0" in raw or raw in seen:
                raise MalformedError("the server lists an impossible name, or one name twice")
            seen.add(raw)
            name = raw.decode("utf-8", "surrogateescape")
            kind = KINDS.get((facts.mode or 0) & 0o170000)
            if kind is None:
                unknown.append((raw, name))
            elif not self._is_hidden(path, name, kind):
                if kind is Kind.SYMLINK:
                    links.append((raw, name, facts))
                else:
                    found.append(_Found(raw + b"/" if kind is Kind.DIRECTORY else raw, name, facts))
        for raw, name in unknown:
            full = self._paths.full(real + name)
            later = facts_of(wire.wait(self._session.lstat(wire, full)))
            if later is None:
                continue
            kind = entry_of(name, later, frozenset()).kind
            if kind is Kind.SYMLINK:
                links.append((raw, name, later))
            elif not self._is_hidden(path, name, kind):
                found.append(_Found(raw + b"/" if kind is Kind.DIRECTORY else raw, name, later))
        found += self._links(wire, real, links)
        found.sort()
        return iter(found)

    def _is_hidden(self, path: str, name: str, kind: Kind) -> bool:
        """True for our own temporary files, which are noted, and for folders that are never content."""
        if not name.startswith(".sync-runner"):
            return False
        execution_id = temporary_execution(name)
        if execution_id is not None:
            self.leftovers[path + name] = execution_id
            return True
        return is_reserved(name, is_directory=kind is Kind.DIRECTORY, at_top=path == "")

    def _links(self, wire: Wire, real: str, links: list[tuple[bytes, str, Facts]]) -> Iterator[_Found]:
        """Symlinks with their text; or, when they are followed, with where they lead."""
        if self._symlinks in (SymlinkMode.ERROR, SymlinkMode.SKIP):
            yield from (_Found(raw, name, facts, "") for raw, name, facts in links)
            return
        if self._follower is not None:
            for raw, name, facts in links:
                target = self._follower.target(real + name)
                is_folder = isinstance(target, str) and (target == "" or target.endswith("/"))
                yield _Found(raw + b"/" if is_folder else raw, name, facts, target)
            return
        for start in range(0, len(links), _LINKS_AT_ONCE):
            some = links[start : start + _LINKS_AT_ONCE]
            slots = [
                wire.request(Request.READLINK, text(self._paths.full(real + name))) for _, name, _ in some
            ]
            wire.wait_all(*slots)
            for (raw, name, facts), slot in zip(some, slots, strict=True):
                if slot.status == Status.NO_SUCH_FILE:
                    continue  # it vanished since the folder was listed
                yield _Found(raw, name, facts, _text_of(real + name, slot))


def link_text(slot: Slot) -> str:
    """The text of a symlink from the answer to READLINK. Raises StatusError."""
    names = read_names(slot.expect(Answer.NAME))
    if len(names) != 1:
        raise MalformedError("the server gives no text for a link")
    return names[0][0].decode("utf-8", "surrogateescape")


def _text_of(path: str, slot: Slot) -> str | EntryError:
    try:
        return link_text(slot)
    except (StatusError, MalformedError) as error:
        return classify(error, path, "read the link")


def _problem_of(path: str, error: EntryError) -> Problem:
    return Problem(path, Phase.PREPARING, error.entry_code, error.message)


def _not_listed(path: str, cause: EntryError) -> Problem:
    retryable = cause.disposition is Disposition.RETRY
    message = f"{cause.message}. {_REMEDY}"
    return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, message, retryable=retryable)


def _unknown(path: str) -> Problem:
    message = f"{shown(path)} was not listed: the connection was lost before, and could not be made again. {_REMEDY}"
    return Problem(path, Phase.PREPARING, EntryCode.NOT_LISTED, message, retryable=True)
