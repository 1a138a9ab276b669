"""An open root of an rclone remote as a Location."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from runner.clock import SystemClock
from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import (
    Buffer,
    Copying,
    Identity,
    Location,
    OpenSettings,
    Space,
    Throttle,
    Written,
)
from runner.model.entry import Entry, Kind, Problem, leaf_name
from runner.model.task import DigestAlgorithm

from .address import Address, shaped
from .bulk import copy_many
from .content import OWN_HASH
from .engine import ENGINES, Engine
from .faults import changed, is_bad_request, means_absent, shown, stale
from .names import TemporaryNames, refusal, temporary_execution
from .remote import Information, Listed, Remote
from .scan import Scanner
from .writing import FileWriter, SpoolRemotes, is_atomic

_EARLY_BYTES = 1 << 20
_SETTLED_NS = 60_000_000_000
_ROOT = Entry("", Kind.DIRECTORY)
_KNOWN_FOLDERS = 10_000


class RcloneLocation:
    """See the protocol for each method's contract. More than eight public methods: it is the protocol with roles."""

    def __init__(
        self,
        address: Address,
        engine: Engine,
        remote: Remote,
        information: Information,
        backends: tuple[str, ...],
        spools: SpoolRemotes,
        settings: OpenSettings,
        *,
        create: bool,
        token: str,
    ) -> None:
        """`backends`: the remote's own, then those it wraps. The engine is given back on close."""
        features = information.Features
        self.remote = remote
        self.information = information
        self.settings = settings
        self.capabilities = shaped(
            information.resolution_ns,
            buckets=not features.CanHaveEmptyDirectories,
            max_concurrency=address.max_concurrency,
            atomic=is_atomic(information, backends),
            case_sensitive=not features.CaseInsensitive,
        )
        self.names = TemporaryNames(settings.execution_id, token)
        self.writer = FileWriter(
            remote,
            information,
            backends,
            settings,
            spools,
            address.spool_folder,
            self.names.next,
            self.expect_place,
        )
        self._address = address
        self._engine: Engine | None = engine
        self._create = create
        self._clock = SystemClock()
        self._scanner = Scanner(
            remote,
            self.entry_of,
            slow_times=features.SlowModTime and information.resolution_ns is not None,
        )
        self._folders: set[str] = {""}

    # Location

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        try:
            first = self._scanner.folder(prefix)
        except EntryError as error:
            if not means_absent(error):
                first = [self._scanner.not_listed(prefix, error)]
            elif prefix or self._create:
                return
            else:
                raise LocationUnavailableError(
                    f"location {self._address.name!r}: its root is not there any more"
                ) from error
        if prefix and not first and not self._is_folder(prefix):
            return
        yield from self._scanner.scan(Entry(prefix, Kind.DIRECTORY), descend, first)

    def stat(self, path: str) -> Entry | None:
        if path == "":
            return _ROOT if self.remote.has_root() else None
        if not _is_speakable(path):
            return None
        if not path.endswith("/") and (listed := self.remote.file(path)) is not None:
            if listed.Size < 0:
                raise EntryError(
                    EntryCode.KIND_NOT_SUPPORTED, path, f"{shown(path)}: the storage does not tell its size"
                )
            return self.entry_of(path, listed)
        return Entry(path.removesuffix("/") + "/", Kind.DIRECTORY) if self._is_folder(path) else None

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        path = entry.path
        before = self.remote.file(path)
        if before is None:
            raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(path)} is not there any more")
        if (reason := difference(entry, self.entry_of(path, before))) is not None:
            raise changed(path, reason)
        yield from self.remote.read(path, offset, max(0, before.Size - offset))
        after = self.remote.file(path)
        if after is None or (after.Size, after.ModTime) != (before.Size, before.ModTime):
            raise changed(path, "it changed while it was read")

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        if entry.kind not in self.capabilities.kinds:
            raise EntryError(
                EntryCode.KIND_NOT_SUPPORTED,
                entry.path,
                f"{shown(entry.path)}: the storage holds files and folders only",
            )
        self.check_name(entry.path)
        self.make_way(entry.path)
        if entry.kind is Kind.DIRECTORY:
            return self._put_folder(entry, replaces)
        if (entry.size_bytes or 0) > _EARLY_BYTES:
            # Do not move gigabytes for a name that is taken; publishing looks again.
            self.expect_place(entry.path, replaces, clear=False)
        return self.writer.write(entry, content or (), replaces, throttle)

    def remove(self, entry: Entry) -> None:
        if entry.kind is not Kind.DIRECTORY:
            self.expect_standing(entry)
            self.remote.remove_file(entry.path)
            return
        self._folders.discard(entry.path)
        if self.remote.file(entry.path) is not None:
            raise stale(entry.path, "a file stands there now")
        self._remove_empty(entry.path)

    def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            ENGINES.give_back(engine)

    # Renames

    def rename(self, entry: Entry, path: str) -> None:
        self.check_name(path)
        self.make_way(path)
        if entry.kind is Kind.DIRECTORY:
            self.put(msgspec.structs.replace(entry, path=path.removesuffix("/") + "/"), None, None, _Free())
            self.remove(entry)
            return
        self.expect_standing(entry)
        self.expect_place(path, None)
        self.remote.move(entry.path, path, checked=False, size_bytes=entry.size_bytes or 0)

    # CopiesMany

    def copies_many_from(self, source: Location) -> bool:
        """Remotes of one daemon: what is on one server then stays there."""
        return isinstance(source, RcloneLocation) and source.remote.engine is self.remote.engine

    def copy_many(
        self, source: Location, copies: Sequence[Copying], throttle: Throttle
    ) -> Iterator[Written | EntryError]:
        assert isinstance(source, RcloneLocation)
        return copy_many(source, self, copies, throttle)

    # Identifies

    def identity(self) -> Identity:
        return Identity(self._address.facts)

    def space(self) -> Space:
        if not self.information.Features.About:
            return Space(None, None)
        try:
            return Space(self.remote.free_bytes(), None)
        except EntryError as error:
            if means_absent(error) or error.entry_code in (EntryCode.IO_ERROR, EntryCode.PERMISSION_DENIED):
                # A root that is not made yet, or a server that does not tell.
                return Space(None, None)
            raise

    # Sweeps

    def leftovers(self) -> Iterator[tuple[str, str]]:
        yield from list(self._scanner.leftovers.items())

    def remove_leftover(self, path: str) -> None:
        """Remove a temporary file of ours; anything with another name is refused with NAME_NOT_ALLOWED."""
        if temporary_execution(leaf_name(path)) is None or refusal(path) is not None:
            raise EntryError(
                EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)} is no temporary file of sync-runner"
            )
        self.remote.remove_file(path)
        self._scanner.leftovers.pop(path, None)

    # For the modules of this driver

    def entry_of(self, path: str, listed: Listed) -> Entry:
        """A file's entry."""
        resolution = self.information.resolution_ns
        told = listed.mtime_ns
        if told is None:
            return Entry(path, Kind.FILE, size_bytes=listed.Size)
        if resolution is not None:
            return Entry(path, Kind.FILE, size_bytes=listed.Size, mtime_ns=told - told % resolution)
        # A time that is the server's own, in whole seconds, tells a change only once it lies behind: another one
        # within the same second would not show.
        now_ns = int(self._clock.now().timestamp() * 1e9)
        version = listed.ModTime if now_ns - told > _SETTLED_NS else None
        return Entry(path, Kind.FILE, size_bytes=listed.Size, version=version)

    def check_name(self, path: str) -> None:
        if (reason := refusal(path)) is not None:
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)}: {reason}")

    def make_way(self, path: str) -> None:
        """Make sure that no parent of `path` is a file: some servers would put a folder in its place. The folders
        themselves are made by rclone."""
        if not self.capabilities.empty_directories:
            return
        names = path.removesuffix("/").split("/")[:-1]
        for depth in range(len(names)):
            folder = "/".join(names[: depth + 1]) + "/"
            if folder in self._folders:
                continue
            if self.remote.file(folder) is not None:
                raise EntryError(
                    EntryCode.KIND_CONFLICT,
                    path,
                    f"{shown(path)}: a file stands in the place of {shown(folder)}",
                )
            if len(self._folders) >= _KNOWN_FOLDERS:
                self._folders = {""}
            self._folders.add(folder)

    def expect_place(self, path: str, replaces: Entry | None, *, clear: bool = True) -> None:
        """Raises STALE unless what stands at `path` is as `replaces` says. `clear`: an empty folder or, where
        a folder is to be made, a file that is to be replaced goes."""
        if replaces is not None and replaces.kind is Kind.DIRECTORY:
            if self.remote.file(path) is not None:
                raise stale(path, "a file stands there now, a folder was expected")
            if clear:
                self._remove_empty(path, absent=EntryCode.STALE)
            elif not self._is_folder(path):
                raise stale(path, "nothing is there any more")
            return
        listed = self.remote.file(path)
        self.judge_place(path, replaces, listed)
        if replaces is None and self.capabilities.empty_directories and self._is_folder(path):
            raise stale(path, "a folder stands there now; nothing was expected")

    def judge_place(self, path: str, replaces: Entry | None, listed: Listed | None) -> None:
        """The same for a file that was looked at already."""
        if replaces is None:
            if listed is not None:
                raise stale(path, "something stands there now; nothing was expected")
            return
        if listed is None:
            raise stale(path, "nothing is there any more")
        if (reason := difference(replaces, self.entry_of(path, listed))) is not None:
            raise stale(path, reason)

    def expect_standing(self, entry: Entry) -> None:
        """Raises STALE unless the file stands as `entry` says; NOT_FOUND when nothing is there."""
        listed = self.remote.file(entry.path)
        if listed is None:
            if self.capabilities.empty_directories and self._is_folder(entry.path):
                raise stale(entry.path, "a folder stands there now")
            raise EntryError(EntryCode.NOT_FOUND, entry.path, f"{shown(entry.path)} is not there")
        if (reason := difference(entry, self.entry_of(entry.path, listed))) is not None:
            raise stale(entry.path, reason)

    def _put_folder(self, entry: Entry, replaces: Entry | None) -> Written:
        path = entry.path.removesuffix("/")
        if not self.capabilities.empty_directories:
            return Written()
        if path == "":
            self.remote.make_folder("")
            return Written()
        if replaces is not None and replaces.kind is not Kind.DIRECTORY:
            self.expect_standing(msgspec.structs.replace(replaces, path=path))
            self.remote.remove_file(path)
        elif self.remote.file(path) is not None:
            raise stale(entry.path, "a file stands there now")
        self.remote.make_folder(path)
        return Written()

    def _is_folder(self, path: str) -> bool:
        try:
            held = self.remote.listing(path, times=False)
        except EntryError as error:
            if means_absent(error) or (is_bad_request(error) and self.remote.leads_through_file(path)):
                return False
            raise
        if held or not self.capabilities.empty_directories:
            return bool(held)
        # Some WebDAV servers list a file as an empty folder.
        return self.remote.file(path) is None

    def _remove_empty(self, path: str, absent: EntryCode = EntryCode.NOT_FOUND) -> None:
        """Remove a folder, which must be empty: some servers would remove it with all that is in it."""
        try:
            held = self.remote.listing(path, times=False)
        except EntryError as error:
            if means_absent(error):
                raise EntryError(absent, path, f"{shown(path)} is not there") from error
            raise
        if held:
            raise stale(path, f"the folder is not empty: it holds {shown(held[0].Name)}")
        if self.capabilities.empty_directories:
            self.remote.remove_folder(path)
        elif not held:
            raise EntryError(absent, path, f"{shown(path)} is not there")


class DigestingLocation(RcloneLocation):
    """A location whose backend works out one of our digests itself."""

    def digest(self, entry: Entry, algorithm: DigestAlgorithm, throttle: Throttle) -> str:
        """Role Digests. An algorithm that the backend lacks is worked out here, from the content read."""
        path = entry.path
        before = self.remote.file(path)
        if before is None:
            raise changed(path, "it is gone")
        if (reason := difference(entry, self.entry_of(path, before))) is not None:
            raise changed(path, reason)
        throttle.take(before.Size)
        hash_type = OWN_HASH[algorithm]
        value = self.remote.hash(
            path,
            hash_type,
            download=hash_type not in self.information.Hashes,
            size_bytes=before.Size,
        )
        if value is None:
            raise EntryError(EntryCode.IO_ERROR, path, f"{shown(path)}: the storage gives no {hash_type}")
        after = self.remote.file(path)
        if after is None or (after.Size, after.ModTime) != (before.Size, before.ModTime):
            raise changed(path, "it changed while it was read")
        return f"{algorithm.value}:{value}"


class _Free:
    """A throttle for what moves no bytes."""

    def take(self, size_bytes: int) -> None:
        return


def difference(expected: Entry, actual: Entry) -> str | None:
    """What of a file is not as expected, None when all known facts agree."""
    if expected.kind is not actual.kind:
        return "an entry of another kind stands there now"
    if expected.size_bytes is not None and expected.size_bytes != actual.size_bytes:
        return f"it has {actual.size_bytes} bytes now, not {expected.size_bytes}"
    if expected.mtime_ns is not None and expected.mtime_ns != actual.mtime_ns:
        return "it was modified since"
    if expected.version is not None and expected.version != actual.version:
        return "it was written anew since"
    return None


def _is_speakable(path: str) -> bool:
    """False for a path that no call can name: it holds `..`, an empty name, a NUL, or bytes that are not UTF-8."""
    if any(name in ("", ".", "..") for name in path.removesuffix("/").split("/")) or "\0" in path:
        return False
    return path.isascii() or not any("\ud800" <= character <= "\udfff" for character in path)
