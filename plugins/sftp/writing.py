"""Writing entries: a file by way of a draft, a folder, a symlink; and metadata by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Buffer, OpenSettings, Throttle, Written
from runner.model.entry import Entry, Kind, parent_path
from runner.model.task import Durability

from .attributes import Wanted, apply, refuses
from .drafts import Draft, Filler, begin, sync_folder
from .faults import RefusedError, StatusError, WireError, shown, stale
from .packets import Facts, MalformedError, Request, Status, attributes, text
from .paths import Paths
from .publish import Publisher
from .reading import Reader
from .session import Session, facts_of, is_directory
from .wire import LSETSTAT, Slot, Wire

_READ_ONLY_VOLUME = 1
_FULL_BELOW_BYTES = 256 << 10


class Writer:
    """Writes to one location. All methods raise EntryError, StatusError and the wire's errors."""

    def __init__(self, session: Session, paths: Paths, publisher: Publisher, settings: OpenSettings) -> None:
        self._session = session
        self._paths = paths
        self._publisher = publisher
        self._filler = Filler(settings)
        self._sync_folders = settings.durability is Durability.FULL
        self._owner: tuple[int | None, int | None] | None = None

    def put_file(
        self, entry: Entry, content: Iterable[Buffer], replaces: Entry | None, throttle: Throttle
    ) -> Written:
        def fill(draft: Draft) -> None:
            self._filler.fill(draft, entry, content, throttle, early=self._owns_already(entry))

        return self._published(self._session.ready(), entry, replaces, fill)

    def copy_file(
        self, reader: Reader, entry: Entry, target: Entry, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        """Let the server copy what `reader`, of a location on the same server, finds as `entry`."""
        wire = self._session.ready()
        source, listed = reader.open(wire, entry, entry.path)

        def fill(draft: Draft) -> None:
            reader.check_unmoved(wire, entry, entry.path, source, listed)
            self._filler.fill_by_copying(draft, target, source, listed.size or 0, throttle)
            reader.check_unmoved(wire, entry, entry.path, source, listed)

        try:
            return self._published(wire, target, replaces, fill)
        finally:
            if wire.error is None:
                wire.request(Request.CLOSE, source)

    def _published(
        self, wire: Wire, entry: Entry, replaces: Entry | None, fill: Callable[[Draft], None]
    ) -> Written:
        """A draft, filled, under its name; nothing of it stays after an exception."""
        path = entry.path
        self._publisher.look(wire, path, replaces).expect(replaces)
        draft = self._begin(wire, path)
        try:
            fill(draft)
            # Nothing came between this look and the name but the name itself.
            if not self._publisher.look(wire, path, replaces).expect(replaces):
                raise stale(path, "its folder is gone")
            self._publisher.publish(wire, draft.full, path, replaces)
        except BaseException as error:
            # Before the draft goes, and gives its space back.
            reason = self.explain(error, entry) if isinstance(error, StatusError) else None
            draft.discard(self._session)
            if reason is not None:
                raise reason from error
            raise
        if (draft.facts is not None and parent_path(path) == "") or (
            draft.facts is not None and self._owner is None
        ):
            self._owner = (draft.facts.uid, draft.facts.gid)
        self.sync(wire, path)
        return Written(draft.size_bytes, draft.digest, draft.refused)

    def _begin(self, wire: Wire, path: str) -> Draft:
        """An empty draft beside `path`; missing folders are made."""
        full = self._publisher.temporary(path)
        try:
            return begin(wire, full)
        except StatusError as error:
            if error.code != Status.NO_SUCH_FILE:
                raise
        self._paths.make(wire, parent_path(path))
        return begin(wire, full)

    def _owns_already(self, entry: Entry) -> bool:
        """True when a new file most likely gets the wanted owner by itself."""
        given = entry.attributes
        if given is None:
            return True
        if given.mode is not None and given.mode & 0o6000:
            return False
        uid, gid = self._owner or (None, None)
        return given.uid in (None, uid) and given.gid in (None, gid)

    def put_folder(self, entry: Entry, replaces: Entry | None) -> Written:
        path = entry.path
        wire = self._session.ready()
        full = self._paths.full(path)
        if path == "":
            self._paths.make(wire, "")
        look = self._publisher.look(wire, path.removesuffix("/"), replaces)
        facts = facts_of(wire.wait(self._session.lstat(wire, full)))
        if facts is not None and is_directory(facts):
            if not look.is_inside():
                raise stale(path, "its folder is gone")
            return Written(refused=self.set_by_name(wire, full, entry, facts))
        look.expect(replaces)
        if replaces is None:
            made = self._make_folder(wire, full, path)
        else:
            with self._publisher.aside(wire, path.removesuffix("/")):
                made = self._make_folder(wire, full, path)
        refused = self.set_by_name(wire, full, entry, made)
        self.sync(wire, path.removesuffix("/"))
        return Written(refused=refused)

    def _make_folder(self, wire: Wire, full: bytes, path: str) -> Facts:
        """A folder where nothing stands, with the folders above it; a folder that came meanwhile is as good."""
        made = wire.wait(wire.request(Request.MKDIR, text(full), attributes(mode=0o700)))
        if made.status == Status.NO_SUCH_FILE:
            self._paths.make(wire, parent_path(path))
            made = wire.wait(wire.request(Request.MKDIR, text(full), attributes(mode=0o700)))
        facts = facts_of(wire.wait(self._session.lstat(wire, full)))
        if made.status != Status.OK and not is_directory(facts):
            if facts is not None:
                raise stale(path, "something stands there now; nothing was expected")
            made.check()
        assert facts is not None
        return facts

    def put_symlink(self, entry: Entry, replaces: Entry | None) -> Written:
        path = entry.path
        wire = self._session.ready()
        self._publisher.look(wire, path, replaces).expect(replaces)
        full = self._paths.full(path)
        place = full if replaces is None else self._publisher.temporary(path)
        if replaces is None:
            self._paths.make(wire, parent_path(path))
        made = wire.wait(self._publisher.make_symlink(wire, place, entry))
        if made.status != Status.OK:
            self._publisher.look(wire, path, replaces).expect(replaces)
            made.check()
        refused = self.set_by_name(wire, place, entry, None)
        if replaces is not None:
            try:
                self._publisher.look(wire, path, replaces).expect(replaces)
                self._publisher.publish(wire, place, path, replaces)
            except BaseException:
                if wire.error is None:
                    wire.wait(wire.request(Request.REMOVE, text(place)))
                else:
                    self._session.leave(place)
                raise
        self.sync(wire, path)
        return Written(refused=refused)

    def set_by_name(self, wire: Wire, full: bytes, entry: Entry, facts: Facts | None) -> tuple[str, ...]:
        """Set the entry's metadata without following a link, where the server can. Returns what was refused."""
        if facts is None:
            facts = facts_of(wire.wait(self._session.lstat(wire, full)))
            if facts is None:
                return ()
        wanted = Wanted(entry, facts)

        def send(encoded: bytes) -> Slot:
            if LSETSTAT in wire.extensions:
                slot = wire.wait(wire.extended(LSETSTAT, text(full), encoded))
                if entry.kind is Kind.SYMLINK or not refuses(slot):
                    return slot
            return wire.request(Request.SETSTAT, text(full), encoded)

        if entry.kind is Kind.SYMLINK and LSETSTAT not in wire.extensions:
            # SETSTAT would follow the link. Its time and owner are the making's.
            return ()
        refused = apply(wire, wanted, send, facts)
        if self._sync_folders and entry.kind is Kind.DIRECTORY:
            sync_folder(wire, full)
        return refused

    def sync(self, wire: Wire, path: str) -> None:
        """Flush the folder that holds `path`, when the task wants that."""
        if self._sync_folders:
            sync_folder(wire, self._paths.full(parent_path(path)))

    def explain(self, error: StatusError, entry: Entry) -> EntryError | None:
        """SFTP has one word for most failures: ask the server whether it is the space. NO_SPACE, READ_ONLY or None."""
        if error.code not in (Status.FAILURE, Status.PERMISSION_DENIED):
            return None
        try:
            volume = self._session.volume()
        except (StatusError, WireError, RefusedError, MalformedError):
            return None
        if volume is None:
            return None
        where = shown(entry.path)
        if volume.flags & _READ_ONLY_VOLUME:
            message = f"cannot write {where}: the server's file system is mounted read-only"
            return EntryError(EntryCode.READ_ONLY, entry.path, message)
        free = volume.free_fragments * volume.fragment_bytes
        if free < _FULL_BELOW_BYTES or (volume.entries and not volume.free_entries):
            message = f"cannot write {where}: the server's file system is full ({free} bytes are left)"
            return EntryError(EntryCode.NO_SPACE, entry.path, message)
        return None
