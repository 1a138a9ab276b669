"""From facts of an object to an Entry: what a listing does not tell is asked for, or remembered."""

from __future__ import annotations

import msgspec

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.observer import NOBODY, Observer
from runner.model.entry import Entry, Kind

from .client import ConditionFailedError, ObjectClient, ObjectFacts
from .memory import Record
from .metadata import MAX_LINK_BYTES, Names, attributes_of, link_group_of, posix_of

_SECOND = 1_000_000_000
LOOKS = 3


class Looked(msgspec.Struct, frozen=True):
    """All that is known of one object, and the text of the link that it is."""

    facts: ObjectFacts
    link_target: str | None = None


class Looker:
    """Looks at objects and makes entries of them. Thread-safe."""

    def __init__(
        self,
        client: ObjectClient,
        wanted: frozenset[str],
        names: Names,
        *,
        posix: bool,
        observer: Observer = NOBODY,
    ) -> None:
        """`wanted`: the fields of Attributes to fill. `posix`: whether POSIX metadata is read. `observer` hears of looks
        that are tried again."""
        self._observer = observer
        self._client = client
        self._names = names
        self._posix = posix
        self._wanted = wanted
        self._tags = "tags" in wanted
        self.needs_look = posix or bool(wanted & {"user_metadata", "content_headers", "tags"})
        """False when a listing tells all that is wanted."""

    def look(self, key: str) -> Looked | None:
        """What stands at a key now, None when nothing does. Raises EntryError."""
        facts = self._client.head(key)
        return None if facts is None else self.completed(facts)

    def completed(self, facts: ObjectFacts) -> Looked | None:
        """The same with tags and link text; None when it is gone by now."""
        try:
            if self._tags and facts.tags is None:
                facts = msgspec.structs.replace(facts, tags=self._client.tags(facts.key))
            link_target = None
            if self._posix and self._may_be_link(facts):
                link_target = self._link_text(facts)
            return Looked(facts, link_target)
        except EntryError as error:
            if error.entry_code is EntryCode.NOT_FOUND:
                return None
            raise

    def look_patiently(self, key: str) -> Looked | None:
        """As `look`, asked again at once when a connection was lost: looking changes nothing."""
        for attempt in range(LOOKS):
            try:
                return self.look(key)
            except EntryError as error:
                if error.disposition is not Disposition.RETRY or attempt == LOOKS - 1:
                    raise
                self._observer.away()
        raise AssertionError("unreachable")

    def _may_be_link(self, facts: ObjectFacts) -> bool:
        return (
            facts.size_bytes <= MAX_LINK_BYTES
            and not facts.key.endswith("/")
            and posix_of(facts.metadata, self._names).kind is Kind.SYMLINK
        )

    def _link_text(self, facts: ObjectFacts) -> str:
        try:
            with self._client.get(facts.key, if_etag=facts.etag) as stream:
                return b"".join(bytes(chunk) for chunk in stream).decode("utf-8", "surrogateescape")
        except ConditionFailedError as error:
            raise EntryError(
                EntryCode.CHANGED_DURING_TRANSFER, facts.key, f"{facts.key} changed while it was looked at"
            ) from error

    def entry(self, path: str, looked: Looked) -> Entry:
        """The entry of an object at `path`; one whose path ends with `/` is a folder's marker."""
        facts = looked.facts
        posix = posix_of(facts.metadata if self._posix else None, self._names)
        attributes = attributes_of(facts, posix, self._wanted, self._names)
        if path.endswith("/") or path == "":
            return Entry(path, Kind.DIRECTORY, mtime_ns=posix.mtime_ns, attributes=attributes)
        mtime_ns = posix.mtime_ns
        if mtime_ns is None and facts.modified_ns is not None:
            # Listings tell it more exactly than a look at the object does.
            mtime_ns = facts.modified_ns - facts.modified_ns % _SECOND
        if looked.link_target is not None:
            return Entry(
                path,
                Kind.SYMLINK,
                mtime_ns=mtime_ns,
                version=facts.etag,
                link_target=looked.link_target,
                attributes=attributes,
            )
        return Entry(
            path,
            Kind.FILE,
            size_bytes=facts.size_bytes,
            mtime_ns=mtime_ns,
            version=facts.etag,
            attributes=attributes,
            link_group=link_group_of(facts, posix, self._names),
        )

    def record(self, looked: Looked) -> Record:
        """What there is to remember of a look."""
        facts = looked.facts
        return Record(facts.metadata or (), facts.headers or (), looked.link_target, facts.readable)

    @staticmethod
    def recalled(listed: ObjectFacts, record: Record) -> Looked:
        """The look that was remembered, for the same object in a listing."""
        facts = msgspec.structs.replace(
            listed, metadata=record.metadata, headers=record.headers, readable=record.readable
        )
        return Looked(facts, record.link_target)

    @property
    def needs_tags(self) -> bool:
        """Tags change without a trace in a listing: they are asked for each time."""
        return self._tags

    def needs_more(self, facts: ObjectFacts) -> bool:
        """Whether a listing that has metadata leaves something open."""
        return (self._tags and facts.tags is None) or (self._posix and self._may_be_link(facts))
