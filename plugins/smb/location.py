"""An open share, or a folder of it, as a Location with the roles that SMB can play."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import (
    Buffer,
    Capabilities,
    Identity,
    OpenSettings,
    Space,
    Throttle,
    Written,
)
from runner.model.entry import Entry, Kind, Problem, parent_path
from runner.model.task import Durability

from . import faults, messages
from .attributes import Wanted
from .client import Client
from .draft import Draft, Drafter
from .facts import FactReader, difference, is_plain
from .faults import StatusError, classified, stale
from .folders import Folders
from .lock import RootLock
from .messages import Facts, Opened
from .names import TemporaryNames, can_exist, check_path, refuse_name, shown, temporary_execution
from .publish import Publisher, Touch
from .reading import ContentReader
from .scan import Scanner

if TYPE_CHECKING:
    from .wire import Wire


class SmbLocation:
    """One share, or a folder of it. See the protocol for each method's contract.

    More than eight public methods: it is the protocol with the roles SetsAttributes, Renames, Identifies, Sweeps,
    TellsTime and HoldsLock. With `create`, a root that is absent is an empty location until the first write or
    `lock` makes it.
    """

    def __init__(
        self, client: Client, settings: OpenSettings, capabilities: Capabilities, *, create: bool, token: str
    ) -> None:
        """`token`: random hex digits that make this object's temporary names its own. Raises
        LocationUnavailableError."""
        self.capabilities = capabilities
        self._settings = settings
        self._client = client
        self._create = create
        self._folders = Folders(client, create=create)
        self._reader = FactReader(settings, client.options.attribute_mask)
        self._scanner = Scanner(client, self._folders, self._reader)
        self._publisher = Publisher(self._folders, TemporaryNames(settings.execution_id, token))
        self._drafter = Drafter(settings)
        self._content = ContentReader(self._wire, self._folders)
        self._lock = RootLock(self._folders)
        try:
            wire = client.open()
            with _at_open(client):
                self._folders.root_facts(wire)
                if self._reader.wants_sacl:
                    self._require_audit_right(wire)
        except BaseException:
            client.close()
            raise

    # Location

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        return self._scanner.scan(prefix, descend)

    def stat(self, path: str) -> Entry | None:
        if path == "":
            with classified(path, "look at"):
                wire = self._wire(path, "look at")
                facts = self._folders.root_facts(wire)
                return None if facts is None else self._reader.entry("", facts, self._descriptors(wire, ""))
        if not all(can_exist(name) for name in path.removesuffix("/").split("/")):
            return None
        check_path(path)
        with classified(path, "look at"):
            wire = self._wire(path, "look at")
            facts = self._folders.look_up(wire, path)
            if facts is None or (path.endswith("/") and not facts.is_directory):
                return None
            if not is_plain(facts):
                message = f"{shown(path)} is a link or another reparse point; it is not followed"
                raise EntryError(EntryCode.KIND_NOT_SUPPORTED, path, message)
            asked = path.removesuffix("/") + ("/" if facts.is_directory else "")
            try:
                return self._reader.entry(asked, facts, self._descriptors(wire, path))
            except StatusError as error:
                if error.status in faults.GONE:
                    return None
                raise

    def _descriptors(self, wire: Wire, path: str) -> tuple[bytes | None, bytes | None]:
        if not self._reader.reads_descriptors:
            return None, None
        answers = wire.ask(*self._reader.descriptor_requests(self._folders.name(path)))
        try:
            return self._reader.descriptors(wire, answers)
        except ValueError as error:
            raise EntryError(EntryCode.IO_ERROR, path, f"{shown(path)}: {error}") from error

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        return self._content.read(entry, offset)

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        path = entry.path
        refuse_name(path)
        if entry.kind not in self.capabilities.kinds:
            message = f"{shown(path)}: SMB holds no {entry.kind.value.replace('_', ' ')}"
            raise EntryError(EntryCode.KIND_NOT_SUPPORTED, path, message)
        with classified(path, "write"):
            wire = self._wire(path, "write")
            self._folders.make(wire, parent_path(path))
            if entry.kind is Kind.DIRECTORY:
                return self._put_folder(wire, entry, replaces)
            return self._put_file(wire, entry, content or (), replaces, throttle)

    def _put_file(
        self,
        wire: Wire,
        entry: Entry,
        content: Iterable[Buffer],
        replaces: Entry | None,
        throttle: Throttle,
    ) -> Written:
        path = entry.path
        if (entry.size_bytes or 0) > wire.chunk_bytes:
            self._check_early(wire, path, replaces)
        wanted = Wanted(entry, self._reader.attribute_mask)
        temporary = self._folders.name_below(path, self._publisher.names.next())
        draft, digest = self._drafter.file(wire, temporary, entry, content, throttle, wanted)
        with draft:
            size_bytes = draft.size_bytes
            after = self._publish(draft, path, replaces, wanted)
        self._sync_folder(wire, path)
        return Written(size_bytes, digest, wanted.refused(after))

    def _publish(self, draft: Draft, path: str, replaces: Entry | None, wanted: Wanted) -> Facts | None:
        """Set the draft's metadata, first who may do what, and give it its name."""
        stays_open = wanted.has_descriptors
        if stays_open:
            wanted.set_descriptors(draft.wire, draft.file)
        basic = wanted.basic(draft.file, draft.facts)
        touch = Touch(
            [] if basic is None else [basic],
            [wanted.after_rename(draft.file, draft.facts)],
            stays_open=stays_open,
        )
        after = self._publisher.publish(draft, path, replaces, touch)
        if touch.was_refused:
            wanted.basic_refused()
        return after

    def _check_early(self, wire: Wire, path: str, replaces: Entry | None) -> None:
        """Do not send a large file for nothing; what counts is looked at again when it is published."""
        facts = self._folders.look_up(wire, path)
        if replaces is None:
            if facts is not None:
                raise stale(path, "something stands there now; nothing was expected")
            return
        reason = "it is no longer there" if facts is None else difference(replaces, facts)
        if reason is not None:
            raise stale(path, reason)

    def _put_folder(self, wire: Wire, entry: Entry, replaces: Entry | None) -> Written:
        path = entry.path
        wanted = Wanted(entry, self._reader.attribute_mask)
        if path == "":
            return self._set_on(wire, entry, None, wanted)
        standing = self._folders.look_up(wire, path)
        if standing is not None and standing.is_directory and is_plain(standing):
            self._folders.remember(path)
            if replaces is not None and replaces.kind is not Kind.DIRECTORY:
                raise stale(path, "it is a folder now")
            return self._set_on(wire, entry, None, wanted)
        if standing is None and replaces is None and wanted.is_nothing:
            self._folders.make(wire, path)
            return Written(refused=wanted.refused(None))
        temporary = self._folders.name_below(path, self._publisher.names.next())
        with self._drafter.folder(wire, temporary, wanted) as draft:
            try:
                after = self._publish(draft, path, replaces, wanted)
            except EntryError as error:
                if error.entry_code is not EntryCode.STALE or replaces is not None:
                    raise
                after = None
        if after is None and not draft.is_published:
            # Another worker may have made it as a parent meanwhile: that is no reason to refuse.
            self._folders.make(wire, path)
            return self._set_on(wire, entry, None, wanted)
        self._folders.remember(path)
        self._sync_folder(wire, path)
        return Written(refused=wanted.refused(after))

    def remove(self, entry: Entry) -> None:
        path = entry.path
        with classified(path, "remove"):
            check_path(path)
            wire = self._wire(path, "remove")
            self._folders.require(wire, parent_path(path))
            self._publisher.remove(wire, entry)
            self._sync_folder(wire, path)

    def close(self) -> None:
        self._lock.release()
        self._client.close()

    # SetsAttributes

    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        path = entry.path
        with classified(path, "set attributes of"):
            wire = self._wire(path, "set attributes of")
            if path == "":
                self._folders.make_root(wire)
            else:
                self._folders.require(wire, parent_path(path))
            return self._set_on(wire, entry, expected, Wanted(entry, self._reader.attribute_mask))

    def _set_on(self, wire: Wire, entry: Entry, expected: Entry | None, wanted: Wanted) -> Written:
        """Set attributes of what stands at a path, provided it is what was expected."""
        path = entry.path
        name = self._folders.name(path)
        listed = self._folders.look_up(wire, path) if path else None
        if path and listed is None:
            raise StatusError(faults.NAME_NOT_FOUND)
        opened = self._open_to_set(wire, name, wanted)
        try:
            reason = None if expected is None else difference(expected, opened.facts)
            if reason is None and opened.facts.is_directory is not entry.is_directory:
                reason = "an entry of another kind stands there now"
            if reason is None and listed is not None and not is_plain(listed):
                reason = "it is a link now"
            if reason is not None:
                raise stale(path, reason)
            # First who may do what, times last.
            if wanted.has_descriptors:
                wanted.set_descriptors(wire, opened.file)
        except BaseException:
            if wire.is_open:
                wire.abandon(wire.begin([messages.close(opened.file)]))
            raise
        basic = wanted.basic(opened.file, opened.facts)
        requests = [messages.close(opened.file, facts=True)]
        if basic is not None:
            requests.insert(0, basic)
        *setting, closing = wire.finish(wire.begin(requests, related=False))
        for answer in setting:
            if answer.status in faults.DENIED or answer.status in faults.UNABLE:
                wanted.basic_refused()
            else:
                answer.require()
        return Written(refused=wanted.refused(messages.closed(closing.require(), opened.facts)))

    @staticmethod
    def _open_to_set(wire: Wire, name: str, wanted: Wanted) -> Opened:
        while True:
            answer = wire.ask(
                messages.create(
                    name,
                    wanted.access(),
                    messages.SHARE_ALL,
                    messages.OPEN,
                    messages.OPEN_REPARSE_POINT,
                )
            )[0]
            if answer.status in faults.DENIED and wanted.has_descriptors:
                wanted.without_descriptors()
                continue
            return messages.opened(answer.require(), name)

    # Renames

    def rename(self, entry: Entry, path: str) -> None:
        refuse_name(path)
        with classified(entry.path, "move"):
            check_path(entry.path)
            wire = self._wire(entry.path, "move")
            self._folders.require(wire, parent_path(entry.path))
            self._folders.make(wire, parent_path(path))
            self._publisher.move(wire, entry, path)
            self._sync_folder(wire, path)
            self._sync_folder(wire, entry.path)

    # Identifies

    def identity(self) -> Identity:
        """Server, share and volume, and the id of the share's own folder: a disk that is not mounted behind the
        share shows another one."""
        options = self._client.options
        with classified("", "identify"):
            wire = self._wire("", "identify")
            opening, volume, closing = wire.ask(
                _share_root(), messages.query_info(messages.INFO_FILE_SYSTEM, messages.FS_VOLUME, 4096),
                messages.close(),
            )  # fmt: skip
            opened = messages.opened(opening.require(), "")
            if not closing.ok:
                wire.abandon(wire.begin([messages.close(opened.file)]))
            facts = [("server", options.server.lower()), ("share", options.share.lower())]
            if self._identifies_server:
                facts.append(("server id", wire.server_id))
            if opened.facts.file_id:
                facts.append(("share folder", f"{opened.facts.file_id:x}"))
            if volume.ok:
                told = messages.volume(messages.information(volume.message))
                facts.append(("volume", f"{told.serial:08x}"))
        return Identity(tuple(facts))

    _identifies_server = True

    def space(self) -> Space:
        with classified("", "ask the free space of"):
            wire = self._wire("", "ask the free space of")
            opening, answer, closing = wire.ask(
                _share_root(), messages.query_info(messages.INFO_FILE_SYSTEM, messages.FS_FULL_SIZE, 32),
                messages.close(),
            )  # fmt: skip
            opened = messages.opened(opening.require(), "")
            if not closing.ok:
                wire.abandon(wire.begin([messages.close(opened.file)]))
            free = messages.free_bytes(messages.information(answer.message)) if answer.ok else None
        return Space(free_bytes=free, free_entries=None)

    # TellsTime

    def server_time_ns(self) -> int:
        """The server's clock as it told it when the connection was made, moved on by the time since."""
        wire = self._wire("", "ask the time of")
        passed_ns = int((time.monotonic() - wire.connected_at) * 1e9)
        return messages.to_nanoseconds(wire.server_ticks) + passed_ns

    # Sweeps

    def leftovers(self) -> Iterator[tuple[str, str]]:
        yield from list(self._scanner.leftovers.items())

    def remove_leftover(self, path: str) -> None:
        """Remove a temporary file of ours; anything with another name is refused with NAME_NOT_ALLOWED."""
        name = path.rpartition("/")[2]
        if temporary_execution(name) is None:
            message = f"{shown(path)} is no temporary file of sync-runner"
            raise EntryError(EntryCode.NAME_NOT_ALLOWED, path, message)
        with classified(path, "remove"):
            wire = self._wire(path, "remove")
            facts = self._folders.look_up(wire, path)
            if facts is None:
                raise StatusError(faults.NAME_NOT_FOUND)
            kind = Kind.DIRECTORY if facts.is_directory else Kind.FILE
            self._publisher.remove(wire, Entry(path, kind))
        self._scanner.leftovers.pop(path, None)

    # HoldsLock

    def lock(self) -> bool:
        """An open file that nobody else may open, and that the server deletes with the handle: nothing is left,
        also when this process dies."""
        with classified("", "lock"):
            return self._lock.take(self._wire("", "lock"))

    # -- connection and checks -------------------------------------------------------------------------------

    def _wire(self, path: str, doing: str) -> Wire:
        """The connection for one operation. A lock that was held is taken again on a new one."""
        wire = self._client.wire(path, doing)
        if self._lock.is_lost(wire):
            with classified(path, doing):
                if not self._lock.take(wire):
                    message = "the connection broke, and another execution holds the destination's lock now"
                    raise EntryError(EntryCode.UNAVAILABLE, path, message, disposition=Disposition.ABORT)
        return wire

    def _require_audit_right(self, wire: Wire) -> None:
        """Raises LocationUnavailableError unless audit lists can be read: better now than for every file."""
        first = wire.ask(*self._reader.descriptor_requests(""))[0]
        if first.status in faults.DENIED:
            raise LocationUnavailableError(
                f"{self._client.options.address}: the user may not see audit lists"
                f" ({faults.status_name(first.status)})",
                remedy="Grant the right SeSecurityPrivilege (manage auditing and security log), or set"
                " security_descriptor: owner_dacl.",
            )
        first.require()

    def _sync_folder(self, wire: Wire, path: str) -> None:
        """With durability `full`: the folder's new state survives a power cut, where the server can do that."""
        if self._settings.durability is not Durability.FULL:
            return
        opening, flushing, closing = wire.ask(
            messages.create(
                self._folders.name(parent_path(path)),
                messages.READ_ATTRIBUTES | messages.WRITE_DATA,
                messages.SHARE_ALL,
                messages.OPEN,
                messages.DIRECTORY_FILE,
                file_id=False,
            ),
            messages.flush(),
            messages.close(),
        )
        if not opening.ok:
            return
        if not closing.ok:
            wire.abandon(wire.begin([messages.close(messages.opened(opening.message, "").file)]))
        if flushing.status not in faults.UNABLE and flushing.status not in faults.DENIED:
            flushing.require()


class FsxLocation(SmbLocation):
    """The same. The two file servers of a Multi-AZ file system share their volumes and their name, not their id."""

    _identifies_server = False


def _share_root() -> messages.Request:
    return messages.create(
        "", messages.READ_ATTRIBUTES, messages.SHARE_ALL, messages.OPEN, messages.DIRECTORY_FILE
    )


@contextlib.contextmanager
def _at_open(client: Client) -> Iterator[None]:
    """What goes wrong while a location is opened means that it cannot be."""
    try:
        with classified("", "open"):
            yield
    except EntryError as error:
        raise LocationUnavailableError(f"{client.options.address}: {error.message}") from error
