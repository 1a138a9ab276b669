"""The driver contract: six methods every location has, and one-method roles it may add.

Rules for all methods:
- Paths are as in `runner.model.entry.Entry.path`. A driver never leaves its root, whatever a path or a link says.
- A driver classifies and raises `EntryError`; it never retries, sleeps, logs or prints.
- A location object belongs to one thread at a time. Workers open their own, in other processes and other threads.
- After an error whose disposition is RETRY the object can be used again: it connects anew when it is next used.
- A role that is not offered is never called; nothing raises NotImplementedError.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from runner.errors import EntryError
from runner.locations.names import NameRules
from runner.locations.observer import NOBODY, Observer
from runner.model.entry import Attributes, Entry, Kind, Problem
from runner.model.task import DigestAlgorithm, Durability, Integrity, LocationSettings, SymlinkMode

Buffer = bytes | bytearray | memoryview


class Capabilities(msgspec.Struct, frozen=True):
    """What a location can hold and promise. The conformance suite asserts that behaviour agrees.

    kinds                  kinds of entries it can hold
    attributes             fields of Attributes it carries, plus "mtime"
    mtime_resolution_ns    granularity of stored modification times; None = it keeps none of ours
    sorted_scan            scan yields canonical order
    atomic_put             put publishes all or nothing
    empty_directories      a folder can exist without content
    hard_links             link_group is reported and `Linking` offered
    digests                algorithms it knows without reading
    range_read             read honours offset
    case_sensitive         names that differ by case are different
    names                  which names it can hold; a source entry with another name is refused in the plan
    max_concurrency        operations it takes at once, of all executions together
    remote                 each operation waits for a network: the engine runs many at once, each with a location
                           object of its own, in threads
    implicit_directories   a folder can exist through its content alone: such an entry has no mtime, no attributes
                           and no version, and nothing is lost when it is not made
    file_beside_folder     a file `a` and a folder `a/` can both exist
    contents_touch_folder  writing into a folder changes the folder's mtime
    """

    kinds: frozenset[Kind]
    attributes: frozenset[str]
    mtime_resolution_ns: int | None = 1
    sorted_scan: bool = True
    atomic_put: bool = True
    empty_directories: bool = True
    hard_links: bool = False
    digests: tuple[str, ...] = ()
    range_read: bool = True
    case_sensitive: bool = True
    names: NameRules = NameRules()
    max_concurrency: int = 8
    remote: bool = False
    implicit_directories: bool = False
    file_beside_folder: bool = False
    contents_touch_folder: bool = True


class OpenSettings(msgspec.Struct, frozen=True):
    """What the engine asks of a driver for one task: what to list, and how to write.

    `attributes` are the fields of Attributes that scan and stat fill; others stay None (reading them costs).
    `execution_id` (12 lowercase hex digits) names temporary files, so that leftovers are recognisable.
    `cache_directory` (0700, may be missing) is where a driver may keep what can be worked out again; several
    processes use it at once. None = keep nothing. `observer` may be told what takes time, and what is tried again.
    """

    attributes: frozenset[str] = frozenset({"mode", "uid", "gid", "xattrs", "acls"})
    symlinks: SymlinkMode = SymlinkMode.PRESERVE
    durability: Durability = Durability.NONE
    integrity: Integrity = Integrity.READ_BACK
    digest: DigestAlgorithm = DigestAlgorithm.XXH3_128
    sparse: bool = True
    execution_id: str = "000000000000"
    cache_directory: str | None = None
    observer: Observer = NOBODY


class Identity(msgspec.Struct, frozen=True):
    """Facts that tell one endpoint from another at the same address: file-system type, mount source, mount point,
    bucket owner. Equal tuples = the same endpoint as far as can be told."""

    facts: tuple[tuple[str, str], ...]

    def describe(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.facts)


class Space(msgspec.Struct, frozen=True):
    """Free space for the runner's user; None = unknown or unlimited."""

    free_bytes: int | None
    free_entries: int | None


class Written(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of a put or copy: what was sent, and the digest (algorithm:hex) of the content read.

    `refused` names metadata fields the destination would not take; the content stands.
    """

    bytes: int = 0
    digest: str | None = None
    refused: tuple[str, ...] = ()


class Throttle(Protocol):
    """Asked before each chunk of content is moved; returns when that many bytes may pass.

    Raises EntryError(CANCELLED) when the execution is being stopped now.
    """

    def take(self, size_bytes: int) -> None: ...


class Location(Protocol):
    """An open location. Close it when done; closing twice is harmless."""

    capabilities: Capabilities

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        """All entries below `prefix` ("" or a directory path ending in `/`), the prefix's own entry first.

        Canonical order when `capabilities.sorted_scan`. `descend` is asked for each directory after it was
        yielded; False leaves out what is below. A directory that cannot be listed completely yields its entry,
        then a Problem(not_listed) with the directory's path in place of its content. Memory: names of one
        directory per level. A root that is not there: raises LocationUnavailableError.
        """
        ...

    def stat(self, path: str) -> Entry | None:
        """The entry at `path` now (a directory's path may lack its slash), None when nothing is there."""
        ...

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        """The content of a file from `offset`, in chunks valid until the next one is asked for.

        Raises CHANGED_DURING_TRANSFER, at the latest after the last chunk, when the file is not, or was not to
        the end, what `entry` says (size, mtime, version where they are not None).
        """
        ...

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        """Make `entry` exist at its path, all or nothing: content for files, None for every other kind.

        `replaces` None: nothing may stand there, else STALE. Otherwise what stands there must still be as
        `replaces` says, else STALE; an entry of another kind is replaced as one step. For a directory where one
        already stands, only its attributes are set. Missing parent folders are made (mode 0700). Attributes
        that are None are not set. Nothing half-written stays after an exception.
        """
        ...

    def remove(self, entry: Entry) -> None:
        """Remove exactly this entry. STALE when it is not as `entry` says, or a directory is not empty.
        NOT_FOUND when nothing is there."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class SetsAttributes(Protocol):
    """Role: change metadata without content."""

    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        """Set mtime and attributes of what stands at entry.path. STALE when it is not as `expected` says
        (directories: when it is no directory)."""
        ...


@runtime_checkable
class Linking(Protocol):
    """Role: hard links."""

    def link(self, path: str, target: str, replaces: Entry | None) -> None:
        """Make `path` another name of the file at `target` (a path in this location), atomically."""
        ...


@runtime_checkable
class CopiesFrom(Protocol):
    """Role: a faster way than read + put for some sources. Same promises as put, incl. digest and checks."""

    def copies_from(self, source: Location) -> bool:
        """True when `copy` takes entries of that location."""
        ...

    def copy(
        self, source: Location, entry: Entry, target: Entry, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        """Copy the content of file `entry` of `source` to `target` (same path; the attributes to set)."""
        ...


QuickFile = tuple[Entry, Entry | None]
"""A file of the source, and what it replaces."""
QuickDone = tuple[Written, float]
"""What was written, and the seconds it took."""
QuickCopy = Callable[[Sequence[QuickFile]], Sequence[QuickDone]]
"""Copies files of one folder, in their order, as far as it goes: of the first that it does not tell of, and of all after
it, nothing was done. That one is for `copy`, which says what is the matter. Raises EntryError(CANCELLED) only."""
QuickRemove = Callable[[Sequence[Entry]], Sequence[float]]
"""Removes files of one folder in the same way; the seconds that each took."""
QUICK_AT_ONCE = 32
"""So many files are handed over together at most, so that nobody who wants to stop has to wait."""
QUICK_BYTES = 256 << 10
"""So much content together, unless one file has more."""


@runtime_checkable
class CopiesQuickly(Protocol):
    """Role, beside CopiesFrom: a short way for the most frequent case."""

    def quick_copy(self, source: Location, throttle: Throttle) -> QuickCopy | None:
        """Of the same effect as `copy` of an entry with itself as the target; None when there is no such way from that
        source."""
        ...


class Copying(msgspec.Struct, frozen=True):
    """One file to copy: the source's entry, the entry to make (same path), what it replaces."""

    entry: Entry
    target: Entry
    replaces: Entry | None


@runtime_checkable
class CopiesMany(Protocol):
    """Role: many files at once from some sources, where one by one is slower (rclone). Same promises as put."""

    def copies_many_from(self, source: Location) -> bool:
        """True when `copy_many` takes entries of that location."""
        ...

    def copy_many(
        self, source: Location, copies: Sequence[Copying], throttle: Throttle
    ) -> Iterator[Written | EntryError]:
        """One result for each of `copies`, in their order. Nothing is raised but EntryError(CANCELLED)."""
        ...


@runtime_checkable
class Renames(Protocol):
    """Role: move an entry inside the location (quarantine, restore)."""

    def rename(self, entry: Entry, path: str) -> None:
        """Move exactly this entry to `path`, where nothing may stand; parents are made."""
        ...


@runtime_checkable
class Digests(Protocol):
    """Role: the digest of content, read from the storage now."""

    def digest(self, entry: Entry, algorithm: DigestAlgorithm, throttle: Throttle) -> str:
        """algorithm:hex of the file's present content; CHANGED_DURING_TRANSFER when it moves meanwhile."""
        ...


class EqualFiles(msgspec.Struct, frozen=True):
    """When two ordinary files at one path are equal: in size, in `attributes`, and in mtime but for the tolerance.

    `mtime_tolerance_ns` None = times are not compared. `content`: and in every byte, read now. `takes_part`, where it is
    given, is asked for each equal file (path, kind, size and mtime are told); False = it is listed as ever.
    `on_settled(files, bytes)` hears of those that are not listed.
    """

    attributes: frozenset[str]
    mtime_tolerance_ns: int | None
    on_settled: Callable[[int, int], None]
    takes_part: Callable[[Entry], bool] | None = None
    content: bool = False


Scan = Callable[[str, Callable[[Entry], bool] | None], Iterator[Entry | Problem]]
"""`Location.scan`, with both arguments."""


@runtime_checkable
class RemovesQuickly(Protocol):
    """Role: a short way for the most frequent case."""

    def quick_remove(self, source: Location) -> QuickRemove | None:
        """Of the same effect as `remove` for what is as it was listed while `source` has nothing at its path. None when
        there is no such way beside that source."""
        ...


class FolderWays(Protocol):
    """Short ways for plain folders; False: it has to be done the general way, from its start."""

    def make(self, entry: Entry) -> bool:
        """As `put` of a folder that is new, mode 0700 and nothing else of its metadata, while the source has it."""
        ...

    def finish(self, entry: Entry) -> bool:
        """As `set_attributes` of a folder, while the source has it."""
        ...


@runtime_checkable
class FoldersQuickly(Protocol):
    """Role: a short way for the most frequent case."""

    def quick_folders(self, source: Location) -> FolderWays | None:
        """None when there is no such way beside that source."""
        ...


@runtime_checkable
class ChecksQuickly(Protocol):
    """Role: a short way for the most frequent case."""

    def quick_check(self) -> QuickCheck | None:
        """None when there is no such way."""
        ...


QuickExpected = tuple[Entry, str]
"""What is expected, and algorithm:hex of its content."""
QuickCheck = Callable[[Sequence[QuickExpected], int, Throttle], int]
"""(files of one folder, tolerance of their mtimes in nanoseconds, throttle) -> how many of them, from the first on, are
ordinary files that were read now, and are exactly that in content and in every attribute that is expected. Of the next one
nothing is known: it has to be looked at. Raises EntryError(CANCELLED) only."""


@runtime_checkable
class ListsBeside(Protocol):
    """Role: listing this destination and some sources together, faster than one after the other."""

    def lists_beside(self, source: Location, equal: EqualFiles) -> tuple[Scan, Scan] | None:
        """Scans of the source and of this location for one comparison, each to be used once, with equal arguments,
        and by one thread. Together they leave out ordinary files, with one name each, that are equal on both sides; in
        all else they are as `Location.scan`. None when that source cannot be listed so."""
        ...


@runtime_checkable
class Identifies(Protocol):
    """Role: facts about the endpoint."""

    def identity(self) -> Identity: ...

    def space(self) -> Space: ...


@runtime_checkable
class Sweeps(Protocol):
    """Role: remove this driver's own leftovers of dead executions."""

    def leftovers(self) -> Iterator[tuple[str, str]]:
        """(path, execution id) of temporary files seen by this object's scans so far."""
        ...

    def remove_leftover(self, path: str) -> None: ...


@runtime_checkable
class TellsTime(Protocol):
    """Role: the server's clock, for `locations check`."""

    def server_time_ns(self) -> int:
        """The server's time now, nanoseconds since 1970, as exact as the service tells it."""
        ...


class Unfinished(msgspec.Struct, frozen=True):
    """An upload that was begun and neither completed nor given up. `begun_ns`: nanoseconds since 1970."""

    path: str
    begun_ns: int | None = None


@runtime_checkable
class TellsUnfinished(Protocol):
    """Role: uploads that take space and show in no listing, for `locations check`."""

    def unfinished(self) -> Iterator[Unfinished]:
        """Those that other programs began; none of them is ours to remove. Raises EntryError, also where asking
        for them takes a right that nothing else takes."""
        ...


@runtime_checkable
class HoldsLock(Protocol):
    """Role: a lock on the destination itself that leaves nothing behind and ends with the process."""

    def lock(self) -> bool:
        """True when the lock is now held by this object until close; False when another holds it."""
        ...


class DriverOpen(Protocol):
    def __call__(self, settings: LocationSettings, open_settings: OpenSettings, *, create: bool) -> Location:
        """Open a location. `create`: a missing root is made on the first write (destination); otherwise a
        missing root raises LocationUnavailableError."""
        ...


class Driver(msgspec.Struct, frozen=True):
    """What an entry point of group `runner.locations` names.

    `describe` gives the one-line address for people, without secrets. `overlaps(a, b)` tells whether two
    locations of this type share entries. `wide_root` says why a root is dangerously wide as a destination, or
    None. `in_process_only` keeps batches out of worker processes (objects that live in this process's memory).
    `extra` is the extra of sync-runner that brings the modules in `requires`: driver modules import those only
    when a location is opened, so that schemas and capabilities can be told without them.
    """

    type: str
    title: str
    options_schema: Callable[[], Mapping[str, Any]]
    open: DriverOpen
    describe: Callable[[LocationSettings], str]
    capabilities: Callable[[LocationSettings], Capabilities]
    overlaps: Callable[[LocationSettings, LocationSettings], bool]
    wide_root: Callable[[LocationSettings], str | None]
    in_process_only: bool = False
    requires: tuple[str, ...] = ()
    extra: str | None = None


def wanted_attributes(attributes: Attributes | None, names: frozenset[str]) -> Attributes | None:
    """`attributes` with every field None that is not in `names`."""
    if attributes is None:
        return None
    return Attributes(
        **{name: getattr(attributes, name) for name in Attributes.__struct_fields__ if name in names}
    )
