"""A folder of an SSH server as a Location."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import Buffer, Identity, Location, OpenSettings, Space, Throttle, Written
from runner.model.entry import Entry, Kind, Problem, leaf_name, parent_path
from runner.model.task import Durability, SymlinkMode

from .address import SftpOptions, capabilities_below
from .facts import entry_of, kind_of
from .faults import RefusedError, StatusError, WireError, classified, shown, stale
from .follow import Follower
from .names import TemporaryNames, temporary_execution
from .packets import Facts, MalformedError, Request, Status, text
from .paths import Paths, check_new_path, check_path
from .publish import Publisher
from .reading import Reader
from .scan import Scanner, link_text
from .session import Session, facts_of, is_directory
from .wire import FSYNC, Wire
from .writing import Writer


class SftpLocation:
    """One folder of one server, over one connection. See the protocol for each method's contract.

    With `create`, a root that is absent is an empty location until the first write makes it. `symlinks: follow` and
    `error` concern reading only: with `create` (a destination) links are listed as such and never followed.
    """

    def __init__(
        self, name: str, options: SftpOptions, settings: OpenSettings, *, create: bool, token: str
    ) -> None:
        """`token`: random hex digits that make this object's temporary names its own.

        Raises LocationUnavailableError.
        """
        self._settings = settings
        self._session = session = Session(name, options)
        try:
            self._paths = paths = Paths(session)
            root = session.root.decode("utf-8", "surrogateescape")
            self.capabilities = capabilities_below(root, options.max_connections)
            seen = self._look_at_root(name, create=create)
            symlinks = SymlinkMode.PRESERVE if create else settings.symlinks
            self._follower = Follower(session, paths) if symlinks is SymlinkMode.FOLLOW else None
            wanted = settings.attributes & self.capabilities.attributes
            self._wanted = wanted
            self._scanner = Scanner(session, paths, wanted, symlinks, absent_is_empty=create and not seen)
            self._reader = Reader(session, paths)
            self._publisher = Publisher(session, paths, TemporaryNames(settings.execution_id, token))
            self._writer = Writer(session, paths, self._publisher, settings)
        except BaseException:
            session.close()
            raise

    def _look_at_root(self, name: str, *, create: bool) -> bool:
        """True when the root is there. Raises LocationUnavailableError."""
        session = self._session
        root = shown(session.root.decode("utf-8", "surrogateescape"))
        try:
            wire = session.ready()
            facts = facts_of(wire.wait(session.lstat(wire, session.root)))
        except (StatusError, WireError, RefusedError, MalformedError) as error:
            message = f"location {name!r}: cannot look at {root} on the server: {error}"
            raise LocationUnavailableError(
                message, remedy="Check `path` and the user's rights there."
            ) from error
        if facts is not None and not is_directory(facts):
            raise LocationUnavailableError(f"location {name!r}: {root} on the server is no folder")
        if facts is None and not create:
            remedy = (
                "Check `path`: it counts from the server's root, or from the login folder without a slash."
            )
            raise LocationUnavailableError(
                f"location {name!r}: there is no {root} on the server", remedy=remedy
            )
        if create and self._settings.durability is not Durability.NONE and FSYNC not in wire.extensions:
            raise LocationUnavailableError(
                f"location {name!r}: the server cannot flush files to its disk (it lacks fsync@openssh.com)",
                remedy="Set `durability: none` for tasks that write there.",
            )
        return facts is not None

    # Location

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        return self._scanner.scan(prefix, descend)

    def stat(self, path: str) -> Entry | None:
        """With `symlinks: follow`, of what a link points to. Raises LINK_ESCAPES, _BROKEN or _LOOP."""
        try:
            check_path(path)
        except EntryError:
            return None
        with classified(path, "look at"):
            real, followed = path, False
            if self._follower is not None and path:
                resolved = self._follower.real(path.removesuffix("/"))
                if resolved is None:
                    return None
                real, followed = resolved
            wire = self._session.ready()
            guard = self._paths.guard(wire, parent_path(real))
            facts = facts_of(wire.wait(self._session.lstat(wire, self._paths.full(real))))
            guard.wait(wire)
            try:
                if facts is None or not guard.exists():
                    return None
            except EntryError:
                return None
            kind = kind_of(facts)
            if path.endswith("/") and kind is not Kind.DIRECTORY:
                return None
            target = None
            if kind is Kind.SYMLINK:
                link = wire.wait(wire.request(Request.READLINK, text(self._paths.full(real))))
                if link.status == Status.NO_SUCH_FILE:
                    return None
                target = link_text(link)
            return entry_of(path.removesuffix("/"), facts, self._wanted, target, followed=followed)

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        check_path(entry.path)
        path = entry.path
        if self._follower is not None:
            with classified(path, "read"):
                resolved = self._follower.real(path)
            if resolved is None:
                raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(path)}: the file is gone")
            path = resolved[0]
        return self._reader.read(entry, path, offset)

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        check_new_path(entry.path, self.capabilities.names)
        if entry.kind not in self.capabilities.kinds:
            message = f"{shown(entry.path)}: SFTP cannot make a {entry.kind.value}"
            raise EntryError(EntryCode.KIND_NOT_SUPPORTED, entry.path, message)
        with classified(entry.path, "write"):
            try:
                if entry.kind is Kind.FILE:
                    return self._writer.put_file(entry, content or (), replaces, throttle)
                if entry.kind is Kind.DIRECTORY:
                    return self._writer.put_folder(entry, replaces)
                return self._writer.put_symlink(entry, replaces)
            except StatusError as error:
                reason = self._writer.explain(error, entry)
                if reason is None:
                    raise
                raise reason from error

    def remove(self, entry: Entry) -> None:
        check_path(entry.path)
        with classified(entry.path, "remove"):
            wire = self._session.ready()
            self._expect_present(wire, entry)
            full = self._paths.full(entry.path)
            if entry.kind is Kind.DIRECTORY:
                self._publisher.remove_folder(wire, full, entry.path)
            else:
                wire.wait(wire.request(Request.REMOVE, text(full))).check()
            self._writer.sync(wire, entry.path)

    def close(self) -> None:
        self._session.close()

    # SetsAttributes

    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        path = entry.path
        check_path(path)
        with classified(path, "set attributes of"):
            wire = self._session.ready()
            if path == "":
                self._paths.make(wire, "")
            facts = self._expect_present(wire, expected or Entry(path, entry.kind))
            if kind_of(facts) is not entry.kind and (entry.is_directory or is_directory(facts)):
                raise stale(path, "an entry of another kind stands there now")
            full = self._paths.full(path)
            return Written(refused=self._writer.set_by_name(wire, full, entry, facts))

    # CopiesFrom

    def copies_from(self, source: Location) -> bool:
        """True for a location of the same server and user, when the server can copy by itself."""
        if not isinstance(source, SftpLocation) or source._follower is not None:
            return False
        return self._session.is_same_account(source._session)

    def copy(
        self, source: Location, entry: Entry, target: Entry, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        assert isinstance(source, SftpLocation)
        check_path(entry.path)
        check_new_path(target.path, self.capabilities.names)
        with classified(target.path, "copy"):
            return self._writer.copy_file(source._reader, entry, target, replaces, throttle)

    # Renames

    def rename(self, entry: Entry, path: str) -> None:
        check_path(entry.path)
        check_new_path(path, self.capabilities.names)
        with classified(entry.path, "move"):
            wire = self._session.ready()
            self._expect_present(wire, entry)
            self._paths.make(wire, parent_path(path))
            self._publisher.look(wire, path, None).expect(None)
            self._expect_present(wire, entry)
            source, target = self._paths.full(entry.path), self._paths.full(path)
            self._publisher.move_to_free(wire, source, target, path)
            self._writer.sync(wire, path)
            if parent_path(path) != parent_path(entry.path):
                self._writer.sync(wire, entry.path)

    # Identifies

    def identity(self) -> Identity:
        with classified("", "identify"):
            self._session.ready()
            facts = [
                ("host key", self._session.host_key),
                ("root", self._session.root.decode("utf-8", "surrogateescape")),
            ]
            volume = self._session.volume()
            if volume is not None:
                facts.append(("file system", f"{volume.volume_id:016x}"))
        return Identity(tuple(facts))

    def space(self) -> Space:
        with classified("", "ask for the space of"):
            volume = self._session.volume()
        if volume is None:
            return Space(None, None)
        # btrfs and others count no entries.
        entries = volume.free_entries if volume.entries else None
        return Space(volume.free_fragments * volume.fragment_bytes, entries)

    # Sweeps

    def leftovers(self) -> Iterator[tuple[str, str]]:
        return iter(list(self._scanner.leftovers.items()))

    def remove_leftover(self, path: str) -> None:
        check_path(path)
        if temporary_execution(leaf_name(path)) is None:
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, f"{shown(path)} is no temporary file")
        with classified(path, "remove"):
            wire = self._session.ready()
            guard = self._paths.guard(wire, parent_path(path))
            facts = facts_of(wire.wait(self._session.lstat(wire, self._paths.full(path))))
            if facts is not None and guard.exists() and not is_directory(facts):
                wire.wait(wire.request(Request.REMOVE, text(self._paths.full(path)))).check()
        self._scanner.leftovers.pop(path, None)

    # -- small steps --------------------------------------------------------------------------------------------

    def _expect_present(self, wire: Wire, entry: Entry) -> Facts:
        """The facts of what stands at the entry's path. Raises STALE unless it is as the entry says, NOT_FOUND
        when nothing is there."""
        path = entry.path
        name = path.removesuffix("/")
        look = self._publisher.look(wire, name, entry)
        facts = facts_of(wire.wait(self._session.lstat(wire, self._paths.full(name))))
        if facts is None:
            raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(path)}: nothing is there")
        look.expect(entry)
        return facts
