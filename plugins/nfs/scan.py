"""The walk: every entry below a folder, in canonical order, with problems in their places.

READDIRPLUS brings names, handles and facts page by page. Memory: what one directory holds, per level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

from runner.errors import Disposition, EntryCode, EntryError
from runner.model.entry import Entry, Phase, Problem, path_bytes
from runner.model.task import SymlinkMode

from ..local.faults import shown
from ..local.names import is_reserved, temporary_execution
from .calls import DIRECTORY, SYMLINK, Calls, Found, Listed
from .facts import FactReader, is_sane
from .faults import NOENT, NOTDIR, of_session, of_status
from .follow import Follower
from .session import NfsError, SessionError, Ticket
from .walking import Missing, Standing, Walker

Descend = Callable[[Entry], bool] | None

_REMEDY = (
    "Nothing below it is deleted in this run. Give the runner's user the right to list it, or exclude it."
)
_AT_ONCE = 32
_START = bytes(8)


class _Child(NamedTuple):
    """One entry of a directory, its key ending in "/" for folders."""

    key: str
    standing: Standing
    target: Ticket[bytes] | None


class _Level:
    """One directory on the way from the scan's top to where it is."""

    __slots__ = ("children", "path", "real", "standing")

    def __init__(self, path: str, real: str, standing: Standing, children: Iterator[_Child]) -> None:
        self.path = path
        self.real = real
        self.standing = standing
        self.children = children


class Scanner:
    """Scans of one location. `leftovers` gathers (path, execution id) of temporary files that were seen."""

    def __init__(self, calls: Calls, walker: Walker, reader: FactReader, symlinks: SymlinkMode) -> None:
        self._calls = calls
        self._walker = walker
        self._reader = reader
        self._symlinks = symlinks
        self.follower = Follower(calls, walker) if symlinks is SymlinkMode.FOLLOW else None
        self.leftovers: dict[str, str] = {}

    def scan(self, prefix: str, descend: Descend) -> Iterator[Entry | Problem]:
        """Everything at and below `prefix`; nothing when it is not there. See `Location.scan`."""
        top = self._top(prefix)
        if top is None:
            return
        real, standing, followed = top
        entry = self._reader.entry(prefix, standing.facts, None, followed=followed)
        yield entry
        if descend is not None and not descend(entry):
            return
        stack: list[_Level] = []
        opened = self._opened(prefix, real, standing)
        if isinstance(opened, Problem):
            yield opened
            return
        stack.append(opened)
        while stack:
            child = None
            for found in self._children(stack, descend):
                if isinstance(found, _Level):
                    child = found
                    break
                yield found
            if child is None:
                stack.pop()
            else:
                stack.append(child)

    def _top(self, prefix: str) -> tuple[str, Standing, bool] | None:
        """(real path, standing, whether it was a link) of the scan's own folder; None when no folder is there."""
        try:
            real, followed = prefix, False
            if self.follower is not None and prefix:
                real_path, followed = self.follower.real(prefix)
                real = real_path + "/" if real_path else ""
            standing = self._walker.locate(real).standing if real else self._walker.root()
        except Missing:
            return None
        except NfsError as error:
            if error.status == NOTDIR:
                return None
            raise of_status(error, prefix, "list") from error
        except SessionError as error:
            raise of_session(error, prefix, "list") from error
        if standing is None or standing.facts.kind != DIRECTORY:
            return None
        return real, standing, followed

    def _children(self, stack: list[_Level], descend: Descend) -> Iterator[Entry | Problem | _Level]:
        """What the last level still has to offer, up to and including the first child to be walked."""
        level = stack[-1]
        for child in level.children:
            path = level.path + child.key
            if child.standing.facts.kind == SYMLINK:
                if self.follower is not None:
                    yield from self._followed(stack, child, descend)
                    continue
                if self._symlinks is SymlinkMode.ERROR:
                    message = f"{shown(path)} is a symbolic link, and the task says `symlinks: error`"
                    yield Problem(path, Phase.PREPARING, EntryCode.LINK_REFUSED, message)
                    continue
            found = self._told(path, child)
            if found is None:
                continue
            yield found
            if isinstance(found, Entry) and found.is_directory and (descend is None or descend(found)):
                opened = self._opened(path, level.real + child.key, child.standing)
                yield opened
                if isinstance(opened, _Level):
                    return

    def _told(self, path: str, child: _Child) -> Entry | Problem | None:
        """The entry of a child; None when it vanished since it was listed."""
        target = None
        if child.target is not None:
            try:
                target = child.target.result().decode("utf-8", "surrogateescape")
            except NfsError as error:
                if error.status == NOENT:
                    return None
                return _not_listed(path, of_status(error, path, "read"))
            except SessionError as error:
                return _not_listed(path, of_session(error, path, "read"))
        return self._reader.entry(path, child.standing.facts, target)

    def _followed(
        self, stack: list[_Level], child: _Child, descend: Descend
    ) -> Iterator[Entry | Problem | _Level]:
        """What a symlink of the last level points to."""
        level = stack[-1]
        path = level.path + child.key
        assert self.follower is not None
        try:
            real, _ = self.follower.real(child.key.removesuffix("/"), level.real)
            standing = self._walker.locate(real).standing if real else self._walker.root()
        except EntryError as error:
            yield Problem(path, Phase.PREPARING, error.entry_code, error.message)
            return
        except Missing:
            return
        except NfsError as error:
            yield _not_listed(path, of_status(error, path, "follow"))
            return
        except SessionError as error:
            yield _not_listed(path, of_session(error, path, "follow"))
            return
        if standing is None:
            return
        is_directory = standing.facts.kind == DIRECTORY
        if is_directory is not child.key.endswith("/"):
            yield _not_listed(path, _moved(path))
            return
        here = (standing.facts.fsid, standing.facts.fileid)
        if any((above.standing.facts.fsid, above.standing.facts.fileid) == here for above in stack):
            message = f"{shown(path)}: the link leads back to one of its own parent folders"
            yield Problem(path, Phase.PREPARING, EntryCode.LINK_LOOP, message)
            return
        entry = self._reader.entry(path, standing.facts, None, followed=True)
        yield entry
        if is_directory and (descend is None or descend(entry)):
            yield self._opened(path, real + "/" if real else "", standing)

    # -- one directory ---------------------------------------------------------------------------------------

    def _opened(self, path: str, real: str, standing: Standing) -> _Level | Problem:
        """The level of a directory, all its names read and sorted; a Problem when any of that fails."""
        try:
            listed = self._listed(path, standing.handle)
            known = self._completed(path, standing.handle, listed)
            keyed = self._keyed(path, real, known)
        except NfsError as error:
            return _not_listed(path, of_status(error, path, "list"))
        except SessionError as error:
            return _not_listed(path, of_session(error, path, "list"))
        except EntryError as error:
            return _not_listed(path, error)
        if real == path and path:
            self._walker.keep(path, standing)
        return _Level(path, real, standing, self._with_targets(keyed))

    def _listed(self, path: str, directory: bytes) -> list[Listed]:
        """All entries of a directory. Raises EntryError when the answers cannot be true."""
        entries: list[Listed] = []
        cookie, verifier = 0, _START
        while True:
            page = self._calls.list(directory, cookie, verifier).result()
            entries.extend(page.entries)
            if page.is_last:
                break
            if not page.entries or page.cookie == cookie:
                raise _untrue(path, "its listing stops before its end")
            cookie, verifier = page.cookie, page.verifier
        names = [entry.name for entry in entries if entry.name not in (b".", b"..")]
        if len(set(names)) != len(names):
            raise _untrue(path, "a name was listed twice")
        if any(not name or b"/" in name for name in names):
            raise _untrue(path, "a name in it holds '/', or is empty")
        return entries

    def _completed(self, path: str, directory: bytes, listed: list[Listed]) -> list[tuple[bytes, Standing]]:
        """Handles and facts of all entries; what the server did not list is asked for, many at once."""
        known: list[tuple[bytes, Standing]] = []
        unknown: list[bytes] = []
        for name, handle, facts in listed:
            if name == b"." or name == b"..":
                continue
            if facts is not None and (handle is not None or facts.kind not in (DIRECTORY, SYMLINK)):
                known.append((name, Standing(handle or b"", facts)))
            else:
                unknown.append(name)
        for start in range(0, len(unknown), _AT_ONCE):
            names = unknown[start : start + _AT_ONCE]
            questions = [(name, self._calls.lookup(directory, name)) for name in names]
            for name, question in questions:
                standing = self._looked_up(question)
                if standing is not None:
                    known.append((name, standing))
        if not all(is_sane(standing.facts) for _, standing in known):
            raise _untrue(path, "an entry in it has a kind or a size that no file has")
        return known

    def _looked_up(self, question: Ticket[Found]) -> Standing | None:
        try:
            handle, facts = question.result()
            return Standing(handle, facts or self._calls.getattr(handle).result())
        except NfsError as error:
            if error.status == NOENT:
                return None
            raise

    def _keyed(self, path: str, real: str, known: list[tuple[bytes, Standing]]) -> list[tuple[str, Standing]]:
        """The entries that count, sorted: a directory's name carries its slash while sorting."""
        keyed: list[tuple[str, Standing]] = []
        for raw, standing in known:
            name = raw.decode("utf-8", "surrogateescape")
            is_directory = standing.facts.kind == DIRECTORY
            if name.startswith(".sync-runner"):
                execution_id = temporary_execution(name)
                if execution_id is not None:
                    self.leftovers[path + name] = execution_id
                    continue
                if is_reserved(name, is_directory=is_directory, at_top=path == ""):
                    continue
            if self.follower is not None and standing.facts.kind == SYMLINK:
                is_directory = self.follower.leads_to_directory(name, real)
            keyed.append((name + "/" if is_directory else name, standing))
        keyed.sort(key=lambda pair: path_bytes(pair[0]))
        return keyed

    def _with_targets(self, keyed: list[tuple[str, Standing]]) -> Iterator[_Child]:
        """Links' texts are asked for some entries ahead."""
        preserves = self.follower is None and self._symlinks is not SymlinkMode.ERROR
        for start in range(0, len(keyed), _AT_ONCE):
            batch = []
            for key, standing in keyed[start : start + _AT_ONCE]:
                target = None
                if preserves and standing.facts.kind == SYMLINK:
                    try:
                        target = self._calls.readlink(standing.handle)
                    except SessionError as error:
                        target = _Failed(error)
                batch.append(_Child(key, standing, target))
            yield from batch


class _Failed(Ticket[bytes]):
    """A question that could not be sent."""

    def __init__(self, error: SessionError) -> None:
        self.failure = error
        self.status = None


def _untrue(path: str, what: str) -> EntryError:
    return EntryError(
        EntryCode.IO_ERROR, path, f"cannot list {shown(path)}: {what}", disposition=Disposition.RETRY
    )


def _moved(path: str) -> EntryError:
    return EntryError(
        EntryCode.IO_ERROR,
        path,
        f"{shown(path)} became another kind of entry while its folder was being listed",
        disposition=Disposition.RETRY,
    )


def _not_listed(path: str, cause: EntryError) -> Problem:
    retryable = cause.disposition is Disposition.RETRY
    return Problem(
        path, Phase.PREPARING, EntryCode.NOT_LISTED, f"{cause.message}. {_REMEDY}", retryable=retryable
    )
