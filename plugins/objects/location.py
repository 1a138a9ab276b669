"""An object store's bucket, or a prefix of it, as a Location."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator

import msgspec

from runner.clock import Clock
from runner.errors import EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import (
    Buffer,
    Capabilities,
    Identity,
    Location,
    OpenSettings,
    Space,
    Throttle,
    Written,
)
from runner.model.entry import Entry, Kind, Problem

from .client import ConditionFailedError, Description, ObjectClient
from .copies import Copies
from .expectations import difference
from .faults import at_path, changed, shown, stale
from .folders import Folders
from .keys import check_name, name_rules, temporary_execution
from .looking import Looked, Looker
from .memory import Memory
from .metadata import HYPHENS, Names, description_of, posix_of
from .reading import ContentReader
from .scan import Scanner
from .writing import ContentWriter, Sizes, Standing


class ObjectSettings(msgspec.Struct, frozen=True):
    """What a location is, beside its client.

    where         the address for messages, without secrets
    prefix        of all keys: "" or ending in `/`
    identity      what tells the endpoint, bucket and prefix from any other: names the file of what is remembered
    create        make a missing bucket on the first write
    posix         keep and read POSIX metadata, links and folders' metadata
    markers       a folder is an object of its own
    names         of the metadata keys
    looks         how many objects a scan looks at, at once
    keep_uploads_seconds   after that, an upload of ours that nobody took up again is a leftover
    """

    where: str
    prefix: str
    identity: str
    create: bool = False
    posix: bool = True
    markers: bool = True
    names: Names = HYPHENS
    sizes: Sizes = Sizes()
    looks: int = 16
    keep_uploads_seconds: float = 86400.0


def object_capabilities(
    prefix: str,
    *,
    posix: bool = True,
    markers: bool = True,
    tags: bool = False,
    user_metadata: bool = True,
    max_key_bytes: int = 1024,
    max_concurrency: int = 32,
) -> Capabilities:
    """What a location on an object store can hold."""
    attributes = {"content_headers"}
    kinds = {Kind.FILE, Kind.DIRECTORY}
    if posix:
        attributes |= {"mode", "uid", "gid", "user", "group", "atime_ns", "mtime"}
        kinds.add(Kind.SYMLINK)
    if user_metadata:
        attributes.add("user_metadata")
    if tags:
        attributes.add("tags")
    return Capabilities(
        kinds=frozenset(kinds),
        attributes=frozenset(attributes),
        mtime_resolution_ns=1 if posix else None,
        empty_directories=markers,
        hard_links=posix,
        names=name_rules(prefix, max_key_bytes),
        max_concurrency=max_concurrency,
        remote=True,
        implicit_directories=True,
        file_beside_folder=True,
        contents_touch_folder=False,
    )


class ObjectLocation:
    """See the protocol for each method's contract.

    More than eight public methods: it is the protocol with nearly all roles. Several requests make up one promise
    where the service knows no condition for it; where it does not honour one, the key is looked at right before.
    """

    def __init__(
        self,
        client: ObjectClient,
        settings: ObjectSettings,
        open_settings: OpenSettings,
        capabilities: Capabilities,
        clock: Clock,
        *,
        create: bool,
        memory: Memory | None = None,
    ) -> None:
        """Raises LocationUnavailableError. Owns `client` and `memory`."""
        self.capabilities = capabilities
        self._client = client
        self._settings = settings
        self._open_settings = open_settings
        self._clock = clock
        self._prefix = settings.prefix
        self._memory = memory or Memory(open_settings.cache_directory, settings.identity)
        wanted = open_settings.attributes & capabilities.attributes
        observer = open_settings.observer
        self._looker = Looker(client, wanted, settings.names, posix=settings.posix, observer=observer)
        self._scanner = Scanner(
            client,
            self._looker,
            self._memory,
            self._prefix,
            markers=settings.markers,
            concurrency=settings.looks,
        )
        self._writer = ContentWriter(client, self._memory, open_settings, settings.sizes)
        self._reader = ContentReader(client, settings.sizes.parts, observer)
        self._copies = Copies(client, self._writer, settings.names, posix=settings.posix)
        self._folders = Folders(
            client, self._looker, self._copies, self._prefix, settings.names, posix=settings.posix
        )
        self._missing = not self._is_there()
        if self._missing and not (create and settings.create):
            self.close()
            raise LocationUnavailableError(
                f"{settings.where}: there is no such bucket",
                remedy="Make it, or correct the name.",
            )

    def _is_there(self) -> bool:
        try:
            return self._client.exists()
        except EntryError as error:
            self.close()
            raise LocationUnavailableError(
                f"{self._settings.where}: {error.message}",
                remedy="Check the address, the credentials and their rights, then run it again.",
            ) from error

    # -- Location ------------------------------------------------------------------------------------------

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        if self._missing and not self._is_there_now():
            return
        yield from self._scanner.scan(prefix, descend)

    def stat(self, path: str) -> Entry | None:
        if self._missing and not self._is_there_now():
            return None
        if path == "":
            with at_path(""):
                return self._folders.stat("")
        check_name(path, self.capabilities.names)
        with at_path(path):
            if not path.endswith("/"):
                looked = self._looker.look(self._key(path))
                if looked is not None:
                    # What is looked at to verify it need not be looked at again by the next plan.
                    self._memory.note(looked.facts, self._looker.record(looked))
                    return self._looker.entry(path, looked)
            return self._folders.stat(path.removesuffix("/") + "/")

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        path = entry.path
        check_name(path, self.capabilities.names)
        with at_path(path):
            if entry.size_bytes is not None and 0 < entry.size_bytes <= offset:
                self._expect_readable(self._present(entry), entry)
                return
            yield from self._reader.chunks(
                self._key(path),
                entry,
                offset,
                lambda facts: self._expect_readable(self._looker.entry(path, Looked(facts)), entry),
            )

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        if entry.kind not in self.capabilities.kinds:
            raise EntryError(
                EntryCode.KIND_NOT_SUPPORTED,
                entry.path,
                f"{shown(entry.path)}: no object is a {entry.kind.value}",
            )
        check_name(entry.path, self.capabilities.names)
        self._make_bucket()
        if entry.kind is Kind.DIRECTORY:
            return self._put_folder(entry, replaces)
        if entry.kind is Kind.SYMLINK:
            content = [(entry.link_target or "").encode("utf-8", "surrogateescape")]
            entry = msgspec.structs.replace(entry, size_bytes=None)
        assert content is not None
        link = secrets.token_hex(8) if entry.link_group is not None and self._settings.posix else None
        description = description_of(entry, link, self._settings.names, posix=self._settings.posix)
        with at_path(entry.path):
            standing = self._standing(entry.path, replaces)
            written = self._writer.write(
                self._key(entry.path), entry, content, description, standing, throttle
            )
            self._drop_replaced_folder(entry.path, replaces)
        return written

    def remove(self, entry: Entry) -> None:
        path = entry.path
        check_name(path, self.capabilities.names)
        with at_path(path):
            if entry.kind is Kind.DIRECTORY:
                self._folders.remove(path)
                return
            present = self._present(entry)
            if present is None:
                raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(path)}: nothing is there")
            self._expect(entry, present)
            self._copies.delete(self._key(path), present.version)

    def close(self) -> None:
        self._client.close()
        self._memory.close()

    # -- SetsAttributes ------------------------------------------------------------------------------------

    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        path = entry.path
        check_name(path, self.capabilities.names)
        with at_path(path):
            if entry.kind is Kind.DIRECTORY:
                if self._has_marker(path):
                    self._folders.set_attributes(entry)
                return Written()
            looked = self._looker.look(self._key(path))
            present = None if looked is None else self._looker.entry(path, looked)
            if expected is not None:
                self._expect(expected, present)
            if looked is None or present is None or present.kind is not entry.kind:
                raise stale(path, f"no {entry.kind.value} is there any more")
            self._copies.describe(looked.facts, entry)
        return Written()

    # -- Linking -------------------------------------------------------------------------------------------

    def link(self, path: str, target: str, replaces: Entry | None) -> None:
        """A copy inside the service that carries the same mark: the content is sent once."""
        check_name(path, self.capabilities.names)
        check_name(target, self.capabilities.names)
        with at_path(path):
            facts = self._client.head(self._key(target))
            if facts is None:
                raise EntryError(EntryCode.NOT_FOUND, path, f"{shown(target)}, to be linked to, is not there")
            if posix_of(facts.metadata, self._settings.names).link is None:
                metadata = {**dict(facts.metadata or ()), self._settings.names.link: secrets.token_hex(8)}
                described = Description(tuple(sorted(metadata.items())), facts.headers or ())
                facts = self._copies.described(facts, described)
            standing = self._standing(path, replaces)
            self._copies.copy(self._client, facts, self._key(path), path, None, standing)
            self._drop_replaced_folder(path, replaces)

    # -- CopiesFrom ----------------------------------------------------------------------------------------

    def copies_from(self, source: Location) -> bool:
        return isinstance(source, ObjectLocation) and self._client.copies_from(source._client)

    def copy(
        self, source: Location, entry: Entry, target: Entry, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        assert isinstance(source, ObjectLocation)
        check_name(target.path, self.capabilities.names)
        self._make_bucket()
        with at_path(target.path):
            looked = source._looker.look(source._key(entry.path))
            present = None if looked is None else source._looker.entry(entry.path, looked)
            self._expect_readable(present, entry)
            assert looked is not None
            facts = looked.facts
            link = secrets.token_hex(8) if target.link_group is not None and self._settings.posix else None
            description = description_of(target, link, self._settings.names, posix=self._settings.posix)
            standing = self._standing(target.path, replaces)
            throttle.take(facts.size_bytes)
            try:
                self._copies.copy(
                    source._client, facts, self._key(target.path), target.path, description, standing
                )
            except ConditionFailedError as error:
                if source._looker.look(facts.key) != looked:
                    raise changed(entry.path, "it changed while it was copied") from error
                raise
            self._drop_replaced_folder(target.path, replaces)
        return Written(facts.size_bytes)

    # -- Renames -------------------------------------------------------------------------------------------

    def rename(self, entry: Entry, path: str) -> None:
        """A copy that is proved, then a removal: a crash in between leaves both, never neither."""
        check_name(entry.path, self.capabilities.names)
        check_name(path, self.capabilities.names)
        with at_path(entry.path):
            facts = self._client.head(self._key(entry.path))
            if facts is None:
                raise EntryError(EntryCode.NOT_FOUND, entry.path, f"{shown(entry.path)}: nothing is there")
            looked = self._looker.completed(facts)
            self._expect(entry, None if looked is None else self._looker.entry(entry.path, looked))
            self._copies.copy(self._client, facts, self._key(path), path, None, Standing(None))
            self._copies.delete(facts.key, facts.etag)

    # -- Identifies, TellsTime -----------------------------------------------------------------------------

    def identity(self) -> Identity:
        return Identity(self._client.identity_facts())

    def space(self) -> Space:
        return Space(None, None)

    def server_time_ns(self) -> int:
        return self._client.server_time_ns()

    # -- Sweeps --------------------------------------------------------------------------------------------

    def leftovers(self) -> Iterator[tuple[str, str]]:
        """Temporary objects that scans have passed, and uploads of ours that nobody took up again in time."""
        yield from list(self._scanner.leftovers.items())
        oldest_ns = int((self._clock.now().timestamp() - self._settings.keep_uploads_seconds) * 1e9)
        for record in self._memory.uploads():
            key = record.upload.key
            if key.startswith(self._prefix) and (record.upload.begun_ns or 0) <= oldest_ns:
                yield key[len(self._prefix) :], record.execution_id

    def remove_leftover(self, path: str) -> None:
        """Remove a temporary object of ours, give up uploads of ours to that path. Never the object at the path."""
        with at_path(path):
            if temporary_execution(path) is not None:
                self._client.delete(self._key(path))
                self._scanner.leftovers.pop(path, None)
            for record in self._memory.uploads(self._key(path)):
                self._client.abort_upload(record.upload)
                self._memory.forget_upload(record.upload)

    # -- steps ---------------------------------------------------------------------------------------------

    def _key(self, path: str) -> str:
        return self._prefix + path

    def _is_there_now(self) -> bool:
        self._missing = not self._client.exists()
        return not self._missing

    def _make_bucket(self) -> None:
        if not self._missing or self._is_there_now():
            return
        self._client.create()
        self._missing = False

    def _present(self, entry: Entry) -> Entry | None:
        """What stands at a file's or link's path now."""
        looked = self._looker.look(self._key(entry.path))
        return None if looked is None else self._looker.entry(entry.path, looked)

    def _expect(self, expected: Entry, present: Entry | None) -> None:
        differs = difference(expected, present)
        if differs is not None:
            raise stale(expected.path, differs)

    def _expect_readable(self, present: Entry | None, entry: Entry) -> None:
        if present is None:
            raise EntryError(EntryCode.NOT_FOUND, entry.path, f"{shown(entry.path)}: nothing is there")
        differs = difference(entry, present)
        if differs is not None:
            raise changed(entry.path, differs)

    def _standing(self, path: str, replaces: Entry | None) -> Standing:
        """What may be written over at `path`. Raises STALE when it is not as `replaces` says."""
        if replaces is None:
            return Standing(None)
        if replaces.kind is Kind.DIRECTORY:
            self._folders.expect_empty(replaces.path)
            return Standing(None)
        present = self._present(replaces)
        self._expect(replaces, present)
        assert present is not None
        return Standing(present.version)

    def _drop_replaced_folder(self, path: str, replaces: Entry | None) -> None:
        """After the file that takes a folder's place was stored: its marker goes."""
        if replaces is not None and replaces.kind is Kind.DIRECTORY and not path.endswith("/"):
            self._folders.drop_empty(replaces.path)

    def _put_folder(self, entry: Entry, replaces: Entry | None) -> Written:
        """Make or complete a folder; what takes a file's place comes before that one goes."""
        with at_path(entry.path):
            old: Entry | None = None
            if replaces is not None and replaces.kind is not Kind.DIRECTORY:
                old = self._present(replaces)
                self._expect(replaces, old)
            if self._has_marker(entry.path):
                self._folders.put(entry)
            if old is not None:
                self._copies.delete(self._key(old.path), old.version)
        return Written()

    def _has_marker(self, path: str) -> bool:
        """False for the root of a bucket, and where folders are not objects."""
        return self._settings.markers and self._key(path) != ""
