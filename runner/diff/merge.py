"""The lock-step walk of two streams in canonical order: one pass, constant memory.

Both streams are sorted by the bytes of the path with `/` after folder names. A name that is a file on one side
and a folder on the other arrives as `a` and, a little later, as `a/`; what is found on one side only is therefore
held back until its twin can no longer come. At any moment the held names are prefixes of one another, so the
hold is as short as a path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from runner.diff.compare import Comparison, ContentEqual, compare_entries
from runner.diff.links import LinkGroups
from runner.diff.tally import Tally
from runner.errors import EntryCode, EntryError
from runner.model.difference import Difference, Reason
from runner.model.entry import DEVICE_KINDS, SPECIAL_KINDS, Entry, Kind, Phase, Problem, path_before
from runner.model.task import SymlinkMode

MISSING = (Reason.MISSING,)
_OF_LINKS = frozenset(
    {EntryCode.LINK_BROKEN, EntryCode.LINK_ESCAPES, EntryCode.LINK_LOOP, EntryCode.LINK_REFUSED}
)


def _may_have_twin(entry: Entry, other: Entry | None) -> bool:
    """True when a folder of the same name may still come on the other side, whose next entry is `other`: what
    stands between `a` and `a/` starts with `a`."""
    return other is not None and entry.kind is not Kind.DIRECTORY and other.path.startswith(entry.path)


class Scope(msgspec.Struct, frozen=True):
    """Which of the source's entries take part. `includes` None = all; without `asks_files` it need not be asked for
    files, whose folders were asked for. `hides_excluded`: an excluded entry counts as not there, so that the
    destination's is an extra (delete_excluded)."""

    includes: Callable[[Entry], bool] | None = None
    asks_files: bool = True
    hides_excluded: bool = False
    symlinks: SymlinkMode = SymlinkMode.PRESERVE
    special_files: bool = True
    devices: bool = False
    hard_links: bool = True

    def carries(self, entry: Entry) -> bool:
        """False for kinds the task leaves out."""
        kind = entry.kind
        if kind is Kind.FILE or kind is Kind.DIRECTORY:
            return True
        if kind is Kind.SYMLINK:
            return self.symlinks is not SymlinkMode.SKIP
        if kind in SPECIAL_KINDS:
            return self.special_files
        return kind not in DEVICE_KINDS or self.devices


class NotPlainError(Exception):
    """A folder was delegated that cannot be compared on its own: something in it, or in its place, concerns others."""


class Delegated:
    """Folders whose comparison is left to others. `paths` are those taken so far; once the walk has passed one, whoever
    takes it may strike it out."""

    def __init__(self, takes: Callable[[Entry], bool]) -> None:
        """`takes` is asked once for each of the source's folders, and for each that only the destination has, before it is
        listed."""
        self._takes = takes
        self.paths: set[str] = set()

    def takes(self, folder: Entry) -> bool:
        if not self._takes(folder):
            return False
        self.paths.add(folder.path)
        return True


_NOTHING_DELEGATED = Delegated(lambda folder: False)


class _Unknown:
    """Regions that could not be listed, while the walk is inside them. `path` covers itself and all below it."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: list[str] = []

    def add(self, path: str) -> None:
        self._paths.append(path)

    def covers(self, path: str) -> bool:
        if not self._paths:
            return False  # nearly always
        for unknown in self._paths:
            if path == unknown or unknown == "":
                return True
            if path.startswith(unknown if unknown.endswith("/") else unknown + "/"):
                return True
        # "0" follows "/" in byte order: a path past it can no longer be below.
        self._paths = [
            unknown for unknown in self._paths if not path_before(unknown.removesuffix("/") + "0", path)
        ]
        return False


class Merge:
    """One comparison of two streams. Iterate `differences()` once; `tally` is complete afterwards."""

    def __init__(
        self,
        source: Iterator[Entry | Problem],
        destination: Iterator[Entry | Problem],
        comparison: Comparison,
        scope: Scope,
        tally: Tally,
        content_equal: ContentEqual | None = None,
        reports_equal: bool = False,
        delegated: Delegated | None = None,
    ) -> None:
        """`reports_equal`: files that are equal come as differences without reasons too, not only counted.
        `delegated`: folders that others compare; each comes as a difference too, and nothing of it is counted."""
        self._source = source
        self._destination = destination
        self._comparison = comparison
        self._scope = scope
        self._tally = tally
        self._content_equal = content_equal
        self._reports_equal = reports_equal
        self._includes = scope.includes
        self._asks_files = scope.asks_files
        self._delegated = delegated if delegated is not None else _NOTHING_DELEGATED
        self._links = LinkGroups(scope.hard_links)
        self._held: list[Difference] = []
        self._peeked: Entry | Problem | None = None
        self._make_way: str | None = None
        self._unknown_source = _Unknown()
        self._unknown_destination = _Unknown()

    def differences(self) -> Iterator[Difference]:
        """Differences in canonical order, but for one-sided files: they come when their folder twin has passed.

        Folders that are equal on both sides come too, with no reasons. Equal files are only counted. Problems
        of both streams are noted in the tally; what they hide is neither missing nor extra.
        """
        next_source, next_destination = self._next_source, self._next_destination
        source, destination = next_source(), next_destination()
        while source is not None or destination is not None:
            if source is not None and destination is not None:
                if source.path == destination.path:
                    if self._held:
                        yield from self._release(source.path)
                    difference = self._pair(source, destination)
                    if difference is not None:
                        yield difference
                    source, destination = next_source(), next_destination()
                    continue
                source_first = path_before(source.path, destination.path)
            else:
                source_first = source is not None
            if source_first:
                assert source is not None
                if self._held:
                    yield from self._beside_held(source, destination, from_source=True)
                else:
                    difference = self._missing(source)
                    if difference is not None:
                        if _may_have_twin(source, destination):
                            self._held.append(difference)
                        elif difference.reasons:
                            yield difference
                source = next_source()
            else:
                assert destination is not None
                if self._held:
                    yield from self._beside_held(destination, source, from_source=False)
                else:
                    difference = self._extra(destination)
                    if difference is not None:
                        if _may_have_twin(destination, source):
                            self._held.append(difference)
                        else:
                            yield difference
                destination = next_destination()
        yield from _innermost_first(self._held)
        self._held = []

    # -- the streams ---------------------------------------------------------------------------------------

    def _next_source(self) -> Entry | None:
        tally = self._tally
        while True:
            found = self._peeked or next(self._source, None)
            self._peeked = None
            if found is None:
                return None
            if isinstance(found, Problem):
                self._note(found, self._unknown_source, from_source=True)
                continue
            if found.kind is Kind.DIRECTORY:
                if self._delegated.takes(found):
                    return found
                tally.list_source(found)
                # A folder that cannot be listed has failed as a whole: its problem follows it at once.
                self._peeked = next(self._source, None)
                if isinstance(self._peeked, Problem) and self._peeked.path == found.path:
                    continue
                return found
            tally.list_source(found)
            return found

    def _next_destination(self) -> Entry | None:
        for found in self._destination:
            if isinstance(found, Problem):
                self._note(found, self._unknown_destination, from_source=False)
                continue
            self._tally.list_destination(found)
            return found
        return None

    def _note(self, problem: Problem, unknown: _Unknown, *, from_source: bool) -> None:
        tally = self._tally
        unknown.add(problem.path)
        if from_source and self._excludes_problem(problem):
            tally.listed_files += 1
            tally.excluded_files += 1
            return
        if problem.code is EntryCode.NOT_LISTED:
            tally.incomplete = True
        side = "source" if from_source else "destination"
        tally.note(msgspec.structs.replace(problem, side=side))
        if not from_source:
            return
        if problem.path.endswith("/") or problem.path == "":
            # The folder's own entry was counted as listed just before.
            tally.failed_folders += 1
        else:
            tally.listed_files += 1
            tally.failed_files += 1

    def _excludes_problem(self, problem: Problem) -> bool:
        """True when the filters leave out the entry that could not be looked at: then nobody misses it."""
        if self._includes is None or problem.path == "" or problem.path.endswith("/"):
            return False
        kind = Kind.SYMLINK if problem.code in _OF_LINKS else Kind.FILE
        return not self._includes(Entry(problem.path, kind))

    # -- one side only -------------------------------------------------------------------------------------

    def _beside_held(self, entry: Entry, other: Entry | None, *, from_source: bool) -> Iterator[Difference]:
        """One one-sided entry while others are held: it may be the twin one of them waits for."""
        if entry.kind is Kind.DIRECTORY:
            twin = self._take_twin(entry, from_source=from_source)
            if twin is not None:
                if entry.path in self._delegated.paths:
                    raise NotPlainError
                yield from self._release(entry.path)
                yield from self._kind_change(entry, twin, from_source=from_source)
                return
        yield from self._release(entry.path)
        difference = self._missing(entry) if from_source else self._extra(entry)
        if difference is None:
            return
        if _may_have_twin(entry, other):
            self._held.append(difference)
        elif difference.reasons:
            yield difference

    def _missing(self, entry: Entry) -> Difference | None:
        """Without reasons: an entry that takes no part, held to protect a folder that stands in its place."""
        if entry.path in self._delegated.paths:
            if self._unknown_destination.covers(entry.path):
                raise NotPlainError
            return Difference(entry.path, entry, None, MISSING)
        if not self._takes_part(entry):
            return None if entry.kind is Kind.DIRECTORY or self._hides(entry) else _bystander(entry)
        if self._unknown_destination.covers(entry.path):
            self._tally.fail(entry)
            return None
        link_to = None
        if entry.link_group is not None:
            link_to = self._links.leader(entry)
            if link_to is None:
                self._links.leader_written(entry)
        return Difference(entry.path, entry, None, MISSING, link_to=link_to)

    def _extra(self, entry: Entry) -> Difference | None:
        if self._unknown_source.covers(entry.path):
            self._tally.keep(entry)
            return None
        make_way = self._make_way is not None and entry.path.startswith(self._make_way)
        if entry.kind is Kind.DIRECTORY and not make_way and self._delegated.takes(entry):
            self._tally.destination_folders -= 1
        return Difference(entry.path, None, entry, (Reason.EXTRA,), make_way=make_way)

    def _kind_change(self, folder: Entry, twin: Difference, *, from_source: bool) -> Iterator[Difference]:
        if from_source:
            # The destination has a file where the source has a folder.
            if self._takes_part(folder):
                yield Difference(folder.path, folder, twin.destination, (Reason.KIND,))
            elif twin.destination is not None and self._hides(folder):
                yield msgspec.structs.replace(twin, reasons=(Reason.EXCLUDED,))
            elif twin.destination is not None:
                self._tally.keep(twin.destination)
            return
        if not twin.reasons:
            # The source has something here that the task leaves alone: so it leaves alone what stands there.
            self._unknown_source.add(folder.path)
            self._tally.keep(folder)
            return
        # The destination has a folder where the source has a file; what is in it is in the way.
        self._make_way = folder.path
        yield Difference(twin.path, twin.source, folder, (Reason.KIND,), link_to=twin.link_to)
        yield Difference(folder.path, None, folder, (Reason.EXTRA,), make_way=True)

    def _take_twin(self, folder: Entry, *, from_source: bool) -> Difference | None:
        name = folder.path[:-1]
        for index, held in enumerate(self._held):
            if held.path == name and (held.source is None) == from_source:
                return self._held.pop(index)
        return None

    def _release(self, path: str) -> Iterator[Difference]:
        """Held differences whose folder twin can no longer come, now that the walk is at `path`."""
        # The twin of `a` is `a/`; it can still come while the walk stands before it.
        staying = [
            difference
            for difference in self._held
            if path.startswith(difference.path) and path_before(path, difference.path + "/")
        ]
        passed, self._held = self._held[len(staying) :], staying
        yield from _innermost_first(passed)

    # -- both sides ----------------------------------------------------------------------------------------

    def _takes_part(self, entry: Entry) -> bool:
        includes = self._includes
        kind = entry.kind
        if includes is not None and (self._asks_files or kind is Kind.DIRECTORY) and not includes(entry):
            self._tally.exclude(entry)
            return False
        if kind is Kind.FILE or kind is Kind.DIRECTORY or self._scope.carries(entry):
            return True
        self._tally.skip(entry)
        return False

    def _hides(self, entry: Entry) -> bool:
        """True for an excluded entry that counts as not there (delete_excluded)."""
        return self._scope.hides_excluded and self._includes is not None and not self._includes(entry)

    def _pair(self, source: Entry, destination: Entry) -> Difference | None:
        if source.path in self._delegated.paths:
            self._tally.destination_folders -= 1
            return Difference(source.path, source, destination, ())
        if not self._takes_part(source):
            if self._hides(source):
                return Difference(source.path, None, destination, (Reason.EXCLUDED,))
            self._tally.keep(destination)
            return None
        link_to = None
        if source.link_group is not None or destination.link_group is not None:
            link_to = self._links.leader(source)
            if link_to is not None:
                if source.kind is destination.kind and self._links.follows(source, destination):
                    # Same file as the leader: whatever differs is the leader's to mend.
                    return self._equal(source, destination)
            elif not self._links.claim(source, destination):
                self._links.leader_written(source)
                return Difference(source.path, source, destination, (Reason.LINK_GROUP,))
        try:
            reasons, attributes = compare_entries(source, destination, self._comparison, self._content_equal)
        except EntryError as error:
            self._links.forsake(source)
            self._tally.note(Problem.from_error(error, Phase.PREPARING))
            self._tally.fail(source)
            return None
        if link_to is not None:
            # What differs besides counts only if the leader turns out to stay as it is.
            reasons = (Reason.LINK_GROUP, *reasons)
            return Difference(source.path, source, destination, reasons, attributes, link_to)
        if reasons and reasons != (Reason.ATTRIBUTES,):
            self._links.leader_written(source)
        if not reasons:
            return self._equal(source, destination)
        return Difference(source.path, source, destination, reasons, attributes)

    def _equal(self, source: Entry, destination: Entry) -> Difference | None:
        if source.kind is not Kind.DIRECTORY:
            self._tally.skip(source)
            if not self._reports_equal:
                return None
        return Difference(source.path, source, destination, ())


def _innermost_first(held: list[Difference]) -> Iterator[Difference]:
    """`a!/a` before `a`: whoever plans has then left `a!/` when `a` comes, as it would have at `a/`."""
    return (difference for difference in reversed(held) if difference.reasons)


def _bystander(entry: Entry) -> Difference:
    return Difference(entry.path, entry, None, ())
