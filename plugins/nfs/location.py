"""An export as a Location, without a mount: NFSv3 calls on file handles."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import (
    Buffer,
    Capabilities,
    Identity,
    OpenSettings,
    Space,
    Throttle,
    Written,
)
from runner.model.entry import Entry, Kind, Problem
from runner.model.task import SymlinkMode

from ..local.faults import changed, shown, stale
from ..local.names import TemporaryNames, temporary_execution
from .attributes import AttributeSetter
from .calls import DIRECTORY, REGULAR, SYMLINK, Calls
from .content import Reader, Writer
from .facts import FactReader, difference, is_sane
from .faults import GONE_HANDLES, NAMETOOLONG, NOENT, NOTDIR, NOTEMPTY, told
from .publish import Orphan, Publisher
from .scan import Scanner
from .session import Endpoint, MountRefused, NfsError, Session, SessionError, SessionTimeout
from .walking import Located, Missing, Standing, Walker

_NOTHING_THERE = frozenset({NOENT, NOTDIR, NAMETOOLONG})


class NfsLocation:
    """One folder of an export. See the protocol for each method's contract.

    More than eight public methods: it is the protocol with the roles NFSv3 can play.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        root: tuple[bytes, ...],
        settings: OpenSettings,
        capabilities: Capabilities,
        *,
        create: bool,
        token: str,
    ) -> None:
        """Connects. `token`: random hex digits that make this object's temporary names its own.

        Raises LocationUnavailableError, and MissingExtraError without libnfs.
        """
        self.capabilities = capabilities
        self._create = create
        self._endpoint = endpoint
        self._session = Session(endpoint)
        self._calls = Calls(self._session)
        self._walker = Walker(self._calls, root)
        self._reader = FactReader(settings.attributes, link_times=not create)
        symlinks = SymlinkMode.PRESERVE if create else settings.symlinks
        self._scanner = Scanner(self._calls, self._walker, self._reader, symlinks)
        self._follower = self._scanner.follower
        self._setter = AttributeSetter(self._calls, capabilities.mtime_resolution_ns or 1)
        self._publisher = Publisher(self._calls, TemporaryNames(settings.execution_id, token))
        self._content = Reader(self._session, self._calls)
        self._writer = Writer(self._session, self._calls, settings)
        self._is_closed = False
        try:
            self._open()
        except BaseException:
            self._session.close()
            raise

    def _open(self) -> None:
        where = f"{self._endpoint.server}:{shown(self._endpoint.export.decode('utf-8', 'surrogateescape'))}"
        try:
            self._connect()
            root = self._walker.root()
        except MountRefused as error:
            raise LocationUnavailableError(
                f"{where} cannot be mounted: {error}",
                remedy="See the server's list of exports and who may mount them. A client without root comes from a "
                "port above 1023, which Linux exports to with the option `insecure` only.",
            ) from error
        except SessionTimeout as error:
            raise LocationUnavailableError(f"{where} cannot be reached: {error}") from error
        except SessionError as error:
            raise LocationUnavailableError(
                f"{where} cannot be reached: {error}",
                remedy="Check server, nfs_port and mount_port; without these ports the server's portmapper "
                "(port 111) is asked.",
            ) from error
        except NfsError as error:
            reason = "its path leads through something that is no folder (a symbolic link is not followed)"
            if error.status != NOTDIR:
                reason = f"the server answered with status {error.status}"
            raise LocationUnavailableError(f"{where} cannot be opened: {reason}") from error
        if root is None and not self._create:
            raise LocationUnavailableError(
                f"{where} has no folder at the location's path", remedy="Make it, or correct `path`."
            )

    def _connect(self) -> None:
        """Have a connection. Raises SessionError, and EntryError when another root is there."""
        if self._is_closed:
            raise SessionError("the location was closed")
        if not self._session.is_connected:
            self._session.connect()
            self._walker.reconnected(self._session.root)
            self._publisher.reconnected()

    # Location

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        with told(prefix, "list"):
            self._connect()
        if prefix == "" and not self._create:
            with told(prefix, "list"):
                root = self._walker.root()
            if root is None:
                raise LocationUnavailableError("the location's root folder is gone")
        yield from self._scanner.scan(prefix, descend)

    def stat(self, path: str) -> Entry | None:
        """With `symlinks: follow`, of what a link points to. Raises LINK_ESCAPES, _BROKEN or _LOOP."""
        with told(path, "look at"):
            self._connect()
            try:
                standing, followed = self._found(path)
                if standing is None:
                    return None
                is_directory = standing.facts.kind == DIRECTORY
                if path.endswith("/") and not is_directory:
                    return None
                target = None
                if standing.facts.kind == SYMLINK:
                    target = self._calls.readlink(standing.handle).result().decode("utf-8", "surrogateescape")
            except NfsError as error:
                if error.status in _NOTHING_THERE:
                    return None
                raise
            if not is_sane(standing.facts):
                raise EntryError(
                    EntryCode.IO_ERROR, path, f"{shown(path)} has a kind or size that no file has"
                )
            asked = path.removesuffix("/") + ("/" if is_directory and path else "")
            return self._reader.entry(asked, standing.facts, target, followed=followed)

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        with told(entry.path, "read"):
            self._connect()
            try:
                standing, _ = self._found(entry.path)
                if standing is None:
                    raise EntryError(EntryCode.NOT_FOUND, entry.path, f"{shown(entry.path)} is not there")
                facts = standing.facts
                if facts.kind != REGULAR:
                    raise changed(entry.path, "it is no longer a regular file")
                reason = difference(entry, facts)
                if reason is not None:
                    raise changed(entry.path, reason)
                yield from self._content.chunks(standing.handle, facts, entry.path, offset)
            except NfsError as error:
                if error.status in GONE_HANDLES or error.status == NOTDIR:
                    raise changed(entry.path, "it was removed while it was read") from error
                raise

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        self._check_name(entry.path)
        with told(entry.path, "write"):
            self._connect()
            if entry.kind is Kind.DIRECTORY:
                return self._put_directory(entry, replaces)
            located = self._locate_to_write(entry.path)
            self._check_early(located, entry.path, replaces)
            if entry.kind is Kind.FILE:
                return self._put_file(entry, content or (), located, replaces, throttle)
            with self._publisher.draft_special(located.directory, entry) as draft:
                refused = self._setter.apply(draft.standing.handle, entry, draft.standing.facts)
                self._publisher.publish(draft, located, entry.path, replaces)
            self._forget_replaced(entry.path, replaces)
            return Written(refused=refused)

    def remove(self, entry: Entry) -> None:
        path = entry.path
        with told(path, "remove"):
            self._connect()
            located = self._locate(path)
            if located is None or located.standing is None:
                raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(path)} is not there")
            self._publisher.check(located, path, entry)
            if not entry.is_directory:
                self._calls.remove(located.directory, located.name).result()
                return
            self._walker.forget(path)
            try:
                self._calls.rmdir(located.directory, located.name).result()
            except NfsError as error:
                if error.status == NOTEMPTY:
                    raise stale(path, "the folder is not empty") from error
                raise

    def close(self) -> None:
        self._is_closed = True
        self._session.close()

    # SetsAttributes

    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        path = entry.path
        with told(path, "set attributes of"):
            self._connect()
            if path == "":
                standing = self._walker.root(make=True)
            else:
                located = self._locate(path)
                standing = None if located is None else located.standing
                if located is not None and expected is not None:
                    self._publisher.check(located, path, expected)
            if standing is None:
                raise stale(path, "it is no longer there")
            if (standing.facts.kind == DIRECTORY) is not entry.is_directory:
                raise stale(path, "an entry of another kind stands there now")
            # The change time as a guard: what is set is what was looked at. Folders, and files with several names,
            # change while other work goes on.
            guarded = expected is not None and not entry.is_directory and standing.facts.nlink == 1
            guard_ns = standing.facts.ctime_ns if guarded else None
            return Written(refused=self._setter.apply(standing.handle, entry, standing.facts, guard_ns))

    # Linking

    def link(self, path: str, target: str, replaces: Entry | None) -> None:
        self._check_name(path)
        with told(path, "link"):
            self._connect()
            located_target = self._locate(target)
            if located_target is None or located_target.standing is None:
                raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(target)}, to be linked to, is not there")
            located = self._locate_to_write(path)
            self._publisher.link(located_target.standing, located, path, replaces)
            self._forget_replaced(path, replaces)

    # Renames

    def rename(self, entry: Entry, path: str) -> None:
        self._check_name(path)
        with told(entry.path, "move"):
            self._connect()
            target = self._locate_to_write(path)
            source = self._locate(entry.path)
            if source is None or source.standing is None:
                raise stale(entry.path, "it is no longer there")
            self._publisher.check(source, entry.path, entry)
            if target.standing is not None:
                raise stale(entry.path, f"something stands at {shown(path)} already")
            self._publisher.move(source, target, path)
            if entry.is_directory:
                self._walker.forget(entry.path)

    # Identifies

    def identity(self) -> Identity:
        """The server, the export, and the file system behind it as the server numbers it."""
        with told("", "identify"):
            self._connect()
            facts = self._walker.export_facts
        export = self._endpoint.export.decode("utf-8", "surrogateescape")
        return Identity(
            (
                ("server", self._endpoint.server),
                ("export", export),
                ("file system id", f"{facts.fsid:x}"),
                ("folder id", str(facts.fileid)),
            )
        )

    def space(self) -> Space:
        with told("", "ask the free space of"):
            self._connect()
            root = self._walker.root()
            room = self._calls.fsstat(self._walker.export if root is None else root.handle).result()
        return Space(room.free_bytes, room.free_files if room.files else None)

    # Sweeps

    def leftovers(self) -> Iterator[tuple[str, str]]:
        yield from list(self._scanner.leftovers.items())

    def remove_leftover(self, path: str) -> None:
        """Remove a temporary file of ours; anything with another name is refused with NAME_NOT_ALLOWED."""
        with told(path, "remove"):
            self._connect()
            located = self._locate(path)
            name = path.removesuffix("/").rpartition("/")[2]
            if temporary_execution(name) is None:
                raise EntryError(
                    EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)} is no temporary file of sync-runner"
                )
            if located is not None and located.standing is not None:
                is_directory = located.standing.facts.kind == DIRECTORY
                self._publisher.discard(Orphan(located.directory, located.name, is_directory))
            self._scanner.leftovers.pop(path, None)

    # Steps

    def _found(self, path: str) -> tuple[Standing | None, bool]:
        """(what stands at `path`, whether a link was followed there)."""
        followed = False
        try:
            if self._follower is not None and path:
                path, followed = self._follower.real(path)
            if path == "":
                return self._walker.root(), followed
            return self._walker.locate(path).standing, followed
        except Missing:
            return None, followed

    def _locate(self, path: str) -> Located | None:
        try:
            return self._walker.locate(path)
        except Missing:
            return None

    def _locate_to_write(self, path: str) -> Located:
        """Missing folders on the way are made."""
        return self._walker.locate(path, make=True)

    def _check_name(self, path: str) -> None:
        reason = self.capabilities.names.refusal(path)
        if reason is not None:
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)}: {reason}")

    def _check_early(self, located: Located, path: str, replaces: Entry | None) -> None:
        """Do not move gigabytes for a name that is taken; publishing looks again."""
        if replaces is not None:
            self._publisher.check(located, path, replaces)
        elif located.standing is not None:
            raise stale(path, "something stands there now; nothing was expected")

    def _put_file(
        self,
        entry: Entry,
        content: Iterable[Buffer],
        located: Located,
        replaces: Entry | None,
        throttle: Throttle,
    ) -> Written:
        """Content, check, metadata, then the name: in this order, for what has its name is complete."""
        with self._publisher.draft_file(located.directory) as draft:
            handle = draft.standing.handle
            digest, size = self._writer.fill(handle, entry, content, throttle)
            if entry.size_bytes is not None and size != entry.size_bytes:
                raise changed(entry.path, f"{size} bytes came, {entry.size_bytes} were announced")
            facts = self._calls.getattr(handle).result()
            self._writer.check(handle, facts, entry.path, size, digest, self._content)
            refused = self._setter.apply(handle, entry, facts)
            self._publisher.publish(draft, located, entry.path, replaces)
        self._forget_replaced(entry.path, replaces)
        return Written(size, digest, refused)

    def _put_directory(self, entry: Entry, replaces: Entry | None) -> Written:
        path = entry.path.removesuffix("/")
        if path == "":
            return self.set_attributes(entry, None)
        located = self._locate_to_write(path)
        standing = located.standing
        if replaces is not None and not replaces.is_directory:
            self._check_early(located, path, replaces)
            with self._publisher.draft_directory(located.directory) as draft:
                refused = self._setter.apply(draft.standing.handle, entry, draft.standing.facts)
                self._publisher.publish(draft, located, path, replaces)
            return Written(refused=refused)
        if standing is None:
            self._calls.mkdir(located.directory, located.name, 0o700).result()
            standing = self._publisher.now(located).standing
        if standing is None or standing.facts.kind != DIRECTORY:
            raise stale(entry.path, "something that is no folder stands there now")
        return Written(refused=self._setter.apply(standing.handle, entry, standing.facts))

    def _forget_replaced(self, path: str, replaces: Entry | None) -> None:
        if replaces is not None and replaces.is_directory:
            self._walker.forget(path + "/")
