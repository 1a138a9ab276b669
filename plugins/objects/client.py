"""What an object store can do with keys, apart from what paths, folders, links and metadata mean.

A driver of one service (S3, Azure Blob, GCS) implements `ObjectClient`; `runner_plugins.objects.location` makes a
Location of it. Keys are whole keys of the bucket or container, `str` as the service has them: no rule of paths
applies here, a client passes every key on byte by byte or refuses it with NAME_NOT_ALLOWED.

Errors are EntryErrors, classified: UNAVAILABLE with RETRY for a connection that was lost or a service that asks to
slow down (with retry_after_seconds if it says so), TIMEOUT, PERMISSION_DENIED, NOT_FOUND, NAME_NOT_ALLOWED, IO_ERROR;
their `path` is the key, the Location puts the path there. A condition that does not hold raises
ConditionFailedError. Nothing retries, sleeps, logs or prints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Protocol

import msgspec

from runner.locations.protocol import Buffer

Pairs = tuple[tuple[str, str], ...]
"""(name, value) pairs sorted by name."""


class ConditionFailedError(Exception):
    """The object is not as the condition says (HTTP 412, 409 or 304); nothing was changed."""


class ObjectFacts(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """What is known of one object. None = unknown, or not told by the call that gave these facts.

    key            the whole key
    size_bytes     length of the content
    modified_ns    the server's time of the last write, nanoseconds since 1970, as exact as this call tells it
    etag           opaque, without quotes: equal means the same content; what conditions name
    version        id of this version in a versioned bucket, or the generation
    metadata       user metadata, names in lower case; () = none
    headers        content-type, content-encoding, content-language, content-disposition, cache-control; () = none
    tags           object tags; () = none
    storage_class  as the service names it
    digests        (algorithm, lowercase hex) of the content, only where the service says so for sure
    readable       False: the content has to be restored from an archive first
    served_ns      the server's clock when it told this (its Date header)
    """

    key: str
    size_bytes: int
    modified_ns: int | None = None
    etag: str | None = None
    version: str | None = None
    metadata: Pairs | None = None
    headers: Pairs | None = None
    tags: Pairs | None = None
    storage_class: str | None = None
    digests: tuple[tuple[str, str], ...] | None = None
    readable: bool = True
    served_ns: int | None = None


class Page(msgspec.Struct, frozen=True):
    """One answer of a listing: objects in the order of their keys' UTF-8 bytes, and what gives the next page.

    `next` None = the listing is complete. A client does not check the order, the Location does.
    `folders` are the common prefixes, when a delimiter was given, in the same order. `in_order` False: the service
    promises no order of bytes (Features.sorted_listing), only that what shares a folder stands together.
    """

    objects: Sequence[ObjectFacts]
    next: str | None = None
    served_ns: int | None = None
    folders: Sequence[str] = ()
    in_order: bool = True


class Description(msgspec.Struct, frozen=True):
    """All that an object carries beside its content; writing replaces the whole of it.

    `tags` None: none are sent (copying keeps those of the source). The client adds what its options say
    (storage class, encryption).
    """

    metadata: Pairs = ()
    headers: Pairs = ()
    tags: Pairs | None = None


class Condition(msgspec.Struct, frozen=True):
    """What has to stand at the key for a write to happen: nothing (`absent`), or an object with this `etag`.

    A client whose service does not honour a condition must say so in `Features`, and may then ignore it.
    """

    absent: bool = False
    etag: str | None = None


ALWAYS = Condition()
ABSENT = Condition(absent=True)


class Features(msgspec.Struct, frozen=True):
    """What the endpoint was proved (or by its maker is documented) to do. False = not, or not known.

    put_if_absent, put_if_match             conditions of put
    complete_if_absent, complete_if_match   conditions of complete_upload
    delete_if_match                         the condition of delete
    copy_source_if_match                    `source_etag` of copy
    copy_if_absent, copy_if_match           the condition of copy at its target
    describe_if_match                       the condition of describe
    tags                 tags are kept and told
    metadata             user metadata is kept
    listing_has_metadata list_page fills metadata and headers
    listing_has_tags     list_page fills tags
    etag_is_md5          the etag of an object that was written by one put is the MD5 of its content
    md5_checked          a put or part whose `md5` is not that of its body is refused
    sorted_listing       list_page gives UTF-8 byte order
    uploads              begin_upload and its companions exist
    markers              an object whose key ends with `/` is kept and listed as such, apart from one without it
    """

    put_if_absent: bool = False
    put_if_match: bool = False
    complete_if_absent: bool = False
    complete_if_match: bool = False
    delete_if_match: bool = False
    copy_source_if_match: bool = False
    copy_if_absent: bool = False
    copy_if_match: bool = False
    describe_if_match: bool = False
    tags: bool = False
    metadata: bool = True
    listing_has_metadata: bool = False
    listing_has_tags: bool = False
    etag_is_md5: bool = False
    md5_checked: bool = False
    sorted_listing: bool = True
    uploads: bool = True
    markers: bool = True


class Stored(msgspec.Struct, frozen=True):
    """What the service says of an object it has just stored. `digests` as in ObjectFacts: of what it holds."""

    etag: str | None = None
    version: str | None = None
    digests: tuple[tuple[str, str], ...] = ()
    modified_ns: int | None = None


class Upload(msgspec.Struct, frozen=True):
    """An upload in parts that was begun and is not complete. Nothing stands at its key because of it."""

    key: str
    id: str
    begun_ns: int | None = None


class Part(msgspec.Struct, frozen=True):
    """A part that the service holds. Numbers begin with 1. `digests` of the part's bytes as far as known."""

    number: int
    etag: str
    size_bytes: int
    digests: tuple[tuple[str, str], ...] = ()


class ObjectStream(Protocol):
    """An object that is being read. Iterating gives the content in chunks valid until the next is asked for;
    a body shorter than announced raises EntryError (UNAVAILABLE, RETRY), never ends quietly."""

    @property
    def facts(self) -> ObjectFacts:
        """Facts of the object whose content comes (metadata, headers, etag); size_bytes is of the whole object."""
        ...

    def __iter__(self) -> Iterator[Buffer]: ...

    def __enter__(self) -> ObjectStream: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Ends the request, also half-way."""
        ...


class ObjectClient(Protocol):
    """One bucket or container at one endpoint. Thread-safe: a scan looks at several objects at once."""

    @property
    def features(self) -> Features:
        """Asked before writing; may cost requests the first time (probes), then is remembered."""
        ...

    @property
    def min_part_bytes(self) -> int:
        """Smallest size of every part but the last."""
        ...

    @property
    def max_parts(self) -> int: ...

    @property
    def max_put_bytes(self) -> int:
        """Largest content of one put; above it an upload in parts is used."""
        ...

    def exists(self) -> bool:
        """Whether the bucket is there. Raises EntryError(PERMISSION_DENIED, ...) when it may not be asked."""
        ...

    def create(self) -> None:
        """Make the bucket; harmless when it is ours already."""
        ...

    def list_page(
        self,
        prefix: str,
        *,
        start_after: str | None = None,
        token: str | None = None,
        limit: int | None = None,
        delimiter: str | None = None,
    ) -> Page:
        """Objects whose keys begin with `prefix`, after `start_after`, or from where `token` (Page.next) says."""
        ...

    def head(self, key: str) -> ObjectFacts | None:
        """All facts but tags (those are given where they cost nothing); None when nothing is there."""
        ...

    def get(
        self, key: str, *, offset: int = 0, length: int | None = None, if_etag: str | None = None
    ) -> ObjectStream:
        """Read from `offset`. NOT_FOUND when nothing is there, ConditionFailedError when its etag is another."""
        ...

    def put(
        self,
        key: str,
        body: Buffer,
        description: Description,
        condition: Condition = ALWAYS,
        md5: bytes | None = None,
    ) -> Stored:
        """Store the whole content in one request, all or nothing. `md5` of the body, where it is known, is
        sent along where the service compares it."""
        ...

    def begin_upload(self, key: str, description: Description, condition: Condition = ALWAYS) -> Upload:
        """`condition` is the one that complete_upload will be given: some services (GCS) fix it here, and check it
        again when the upload is completed."""
        ...

    def put_part(self, upload: Upload, number: int, body: Buffer, md5: bytes | None = None) -> Part: ...

    def complete_upload(
        self,
        upload: Upload,
        parts: Sequence[Part],
        description: Description,
        condition: Condition = ALWAYS,
    ) -> Stored:
        """Publish the parts, in their order, as the object. `description` is what begin_upload was given."""
        ...

    def abort_upload(self, upload: Upload) -> None:
        """Give up an upload and what it holds; harmless when it is gone."""
        ...

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        """Uploads below `prefix` that are not complete, whoever began them."""
        ...

    def list_parts(self, upload: Upload) -> Iterator[Part]:
        """Parts held, by number. NOT_FOUND when there is no such upload."""
        ...

    def copies_from(self, source: ObjectClient) -> bool:
        """Whether `copy` takes objects of that client: the same endpoint and the same credentials."""
        ...

    def copy(
        self,
        source: ObjectClient,
        facts: ObjectFacts,
        key: str,
        description: Description | None,
        condition: Condition = ALWAYS,
    ) -> Stored:
        """Copy an object inside the service. `facts.etag` is what it has to be (ConditionFailedError where
        Features.copy_source_if_match), `description` None: everything goes along as it is."""
        ...

    def describe(self, facts: ObjectFacts, description: Description, condition: Condition = ALWAYS) -> Stored:
        """Replace all that the object carries beside its content."""
        ...

    def delete(self, key: str, if_etag: str | None = None) -> None:
        """Remove; harmless when nothing is there."""
        ...

    def tags(self, key: str) -> Pairs:
        """The object's tags. NOT_FOUND when nothing is there."""
        ...

    def server_time_ns(self) -> int:
        """The service's clock."""
        ...

    def identity_facts(self) -> Pairs:
        """What tells this bucket from another, without secrets, in the order for people to read."""
        ...

    def close(self) -> None:
        """Drop connections; closing twice is harmless."""
        ...
