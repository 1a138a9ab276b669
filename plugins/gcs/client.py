"""One bucket, asked over the JSON API of Google Cloud Storage.

The JSON API tells metadata with the listing, takes conditions on generation and metageneration, compares CRC32C and
MD5 before an object appears, and changes metadata without a new generation: docs/decisions/0017.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any

import msgspec

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.protocol import Buffer

from ..objects.client import (
    ALWAYS,
    Condition,
    ConditionFailedError,
    Description,
    Features,
    ObjectClient,
    ObjectFacts,
    ObjectStream,
    Page,
    Pairs,
    Part,
    Stored,
    Upload,
)
from ..objects.rest import Body, date_ns
from .requests import JSON, Requests, conditions, encoded, matching
from .resources import (
    FIELDS,
    LISTING,
    OBJECT,
    REWRITING,
    ObjectResource,
    digests_of,
    etag_of,
    facts_of,
    metadata_of,
    page_of,
    patched,
    written,
)
from .sessions import Session, Sessions, encoded_crc

MAX_PUT_BYTES = 1 << 40
MAX_PARTS = 1_000_000
MAX_REWRITES = 10_000
"""A copy to another region or class goes on in steps of what the service does in 30 seconds."""

GOOGLE = Features(
    put_if_absent=True,
    put_if_match=True,
    complete_if_absent=True,
    complete_if_match=True,
    delete_if_match=True,
    copy_source_if_match=True,
    copy_if_absent=True,
    copy_if_match=True,
    describe_if_match=True,
    listing_has_metadata=True,
    listing_has_tags=True,
    md5_checked=True,
)
OTHER = Features(put_if_absent=True, put_if_match=True, listing_has_metadata=True, listing_has_tags=True)
"""What emulators are known to keep (fake-gcs-server): conditions of uploads in one request, nothing else."""


class GcsSettings(msgspec.Struct, frozen=True):
    """`project`: where a bucket is made. `storage_class` of what is written; None = the bucket's."""

    project: str | None = None
    storage_class: str | None = None


class GcsClient:
    """See ObjectClient. Safe for several threads."""

    min_part_bytes = 256 << 10
    max_parts = MAX_PARTS
    max_put_bytes = MAX_PUT_BYTES

    def __init__(self, requests: Requests, settings: GcsSettings) -> None:
        self._requests = requests
        self._settings = settings
        self._ask = requests.ask
        self._sessions = Sessions()
        google = requests.rest.host == "googleapis.com" or requests.rest.host.endswith(".googleapis.com")
        self.features = GOOGLE if google else OTHER

    # -- the bucket ------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        """Asked by a listing: who may use objects often may not ask for the bucket itself."""
        response = self._ask(
            "GET",
            self._requests.objects_path,
            {"maxResults": "1", "fields": "nextPageToken"},
            expected=(200, 404),
        )
        return response.status == 200

    def create(self) -> None:
        body = encoded({"name": self._requests.bucket})
        parameters = {} if self._settings.project is None else {"project": self._settings.project}
        self._ask("POST", "/storage/v1/b", parameters, JSON, body, expected=(200, 409))

    def list_page(
        self,
        prefix: str,
        *,
        start_after: str | None = None,
        token: str | None = None,
        limit: int | None = None,
        delimiter: str | None = None,
    ) -> Page:
        optional = {"prefix": prefix, "pageToken": token, "startOffset": start_after, "delimiter": delimiter}
        parameters = {name: value for name, value in optional.items() if value}
        parameters["fields"] = f"nextPageToken,prefixes,items({FIELDS})"
        if limit is not None:
            # startOffset includes its own key, which is left out below.
            parameters["maxResults"] = str(limit + (start_after is not None))
        response = self._ask("GET", self._requests.objects_path, parameters, key=prefix)
        listing = self._requests.decoded(response, LISTING, prefix)
        try:
            page = page_of(listing, date_ns(response.headers.get("date")))
        except ValueError as error:
            raise EntryError(
                EntryCode.IO_ERROR, prefix, f"the listing cannot be understood: {error}"
            ) from error
        if start_after is None:
            return page
        return msgspec.structs.replace(
            page, objects=[facts for facts in page.objects if facts.key != start_after]
        )

    def server_time_ns(self) -> int:
        response = self._ask(
            "GET",
            self._requests.objects_path,
            {"maxResults": "1", "fields": "nextPageToken"},
            expected=(200, 404),
        )
        told = date_ns(response.headers.get("date"))
        if told is None:
            raise EntryError(EntryCode.IO_ERROR, "", "the service does not tell its time")
        return told

    def identity_facts(self) -> Pairs:
        # Bucket names are unique in all of Google Cloud; the bucket's own facts need a right that few have.
        return (("service", self._requests.rest.address), ("bucket", self._requests.bucket))

    def close(self) -> None:
        self._requests.rest.close()

    # -- reading ---------------------------------------------------------------------------------------------

    def head(self, key: str) -> ObjectFacts | None:
        if not key:
            return None
        response = self._ask(
            "GET", self._requests.object_path(key), {"fields": FIELDS}, key=key, expected=(200, 404)
        )
        if response.status == 404:
            return None
        return self._facts(self._requests.decoded(response, OBJECT, key), key, response.headers.get("date"))

    def _facts(self, resource: ObjectResource, key: str, date: str | None = None) -> ObjectFacts:
        try:
            facts = facts_of(resource, date_ns(date))
        except ValueError as error:
            raise EntryError(EntryCode.IO_ERROR, key, f"the answer cannot be understood: {error}") from error
        if facts.key != key:
            raise EntryError(EntryCode.IO_ERROR, key, f"the service told of another object, {facts.key!r}")
        return facts

    def get(
        self, key: str, *, offset: int = 0, length: int | None = None, if_etag: str | None = None
    ) -> ObjectStream:
        headers = {}
        if offset or length is not None:
            headers["range"] = f"bytes={offset}-" + ("" if length is None else str(offset + length - 1))
        response = self._ask(
            "GET",
            self._requests.object_path(key),
            {"alt": "media", **matching(if_etag)},
            headers,
            key=key,
            expected=(200, 206, 416),
            stream=True,
        )
        told = response.headers
        if response.status == 416:
            response.close()
            facts = self.head(key)
            if facts is None:
                raise EntryError(EntryCode.NOT_FOUND, key, "nothing is there")
            if if_etag is not None and facts.etag != if_etag:
                raise ConditionFailedError(key)
            return _Stream(facts, None)
        content_range, size = told.get("content-range"), told.get("content-length", "")
        if not size.isdigit() or (offset and not content_range):
            response.close()
            message = "the service does not tell what part of the content, or how much of it, it sends"
            raise EntryError(EntryCode.IO_ERROR, key, message)
        whole = int(content_range.rpartition("/")[2]) if content_range else int(size)
        etag = f"{told.get('x-goog-generation', '')}.{told.get('x-goog-metageneration', '1')}"
        if if_etag is not None and etag != if_etag:
            # Emulators do not keep the condition of reading.
            response.close()
            raise ConditionFailedError(key)
        facts = ObjectFacts(
            key,
            whole,
            etag=etag,
            version=told.get("x-goog-generation"),
            metadata=metadata_of(told),
            served_ns=date_ns(told.get("date")),
        )
        due = whole - offset if length is None else min(length, whole - offset)
        if due <= 0:
            response.close()
            return _Stream(facts, None)
        return _Stream(facts, Body(self._requests.rest, response, key, due))

    def tags(self, key: str) -> Pairs:
        return ()

    # -- writing ---------------------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        body: Buffer,
        description: Description,
        condition: Condition = ALWAYS,
        md5: bytes | None = None,
    ) -> Stored:
        import google_crc32c

        self._requests.object_path(key)
        crc = encoded_crc(google_crc32c.value(bytes(body)))
        resource = self._new(key, description, crc32c=crc)
        if md5 is not None:
            resource["md5Hash"] = base64.b64encode(md5).decode("ascii")
        # The content stands between the borders as it is: the border must not be in it.
        border = secrets.token_hex(16).encode("ascii")
        content_type = dict(description.headers).get("content-type", "application/octet-stream")
        related = b"".join(
            (
                b"--%b\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n" % border,
                encoded(resource),
                b"\r\n--%b\r\nContent-Type: %b\r\n\r\n" % (border, content_type.encode("utf-8")),
                body,
                b"\r\n--%b--\r\n" % border,
            )
        )
        response = self._ask(
            "POST",
            self._requests.upload_path,
            {"uploadType": "multipart", "fields": FIELDS, **conditions(condition)},
            {"content-type": f"multipart/related; boundary={border.decode('ascii')}"},
            related,
            key=key,
        )
        return self._proved(self._requests.decoded(response, OBJECT, key), key, crc)

    def _new(self, key: str, description: Description, **fields: Any) -> dict[str, Any]:
        return written(description, name=key, storageClass=self._settings.storage_class, **fields)

    def _proved(self, resource: ObjectResource, key: str, crc: str) -> Stored:
        """What was stored, once the service's own CRC32C is ours. Google refuses other content before it appears;
        of what an emulator let through, exactly this generation is taken away again."""
        if resource.crc32c not in (None, crc):
            if resource.generation is not None:
                self._ask(
                    "DELETE",
                    self._requests.object_path(key),
                    {"ifGenerationMatch": resource.generation},
                    key=key,
                    expected=(200, 204, 404, 412),
                )
            message = f"the service holds content of CRC32C {resource.crc32c}, {crc} was sent"
            raise EntryError(EntryCode.CHECKSUM_FAILURE, key, message)
        return _stored(resource)

    def begin_upload(self, key: str, description: Description, condition: Condition = ALWAYS) -> Upload:
        self._requests.object_path(key)
        response = self._ask(
            "POST",
            self._requests.upload_path,
            {"uploadType": "resumable", "name": key, "fields": FIELDS, **conditions(condition)},
            JSON,
            encoded(self._new(key, description)),
            key=key,
        )
        target = self._requests.session_target(response.headers.get("location"), key)
        return Upload(
            key,
            self._sessions.add(
                Session(self._requests, target, key, condition, tells_state=self.features is GOOGLE)
            ),
        )

    def put_part(self, upload: Upload, number: int, body: Buffer, md5: bytes | None = None) -> Part:
        self._sessions.get(upload.id, upload.key).add(number, body)
        return Part(number, f"{upload.id}-{number}", memoryview(body).nbytes)

    def complete_upload(
        self, upload: Upload, parts: Sequence[Part], description: Description, condition: Condition = ALWAYS
    ) -> Stored:
        session = self._sessions.get(upload.id, upload.key)
        if not self.features.complete_if_absent or session.condition != condition:
            self._require(upload.key, condition)
        response, crc = session.finish()
        self._sessions.take(upload.id)
        return self._proved(self._requests.decoded(response, OBJECT, upload.key), upload.key, crc)

    def _require(self, key: str, condition: Condition) -> None:
        """Look where the endpoint does not: between this and the write another writer can come."""
        if condition.absent or condition.etag is not None:
            facts = self.head(key)
            if (None if facts is None else facts.etag) != condition.etag:
                raise ConditionFailedError(key)

    def abort_upload(self, upload: Upload) -> None:
        session = self._sessions.take(upload.id)
        if session is not None:
            session.cancel()

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        # Google lists no sessions.
        yield from ()

    def list_parts(self, upload: Upload) -> Iterator[Part]:
        self._sessions.get(upload.id, upload.key)
        yield from ()

    def delete(self, key: str, if_etag: str | None = None) -> None:
        if not self.features.delete_if_match and if_etag is not None:
            facts = self.head(key)
            if facts is None:
                return
            if facts.etag != if_etag:
                raise ConditionFailedError(key)
        self._ask(
            "DELETE",
            self._requests.object_path(key),
            matching(if_etag),
            key=key,
            expected=(200, 204, 404),
        )

    # -- inside the service ----------------------------------------------------------------------------------

    def copies_from(self, source: ObjectClient) -> bool:
        return (
            isinstance(source, GcsClient)
            and source._requests.rest.address == self._requests.rest.address
            and source._requests.identity == self._requests.identity
        )

    def copy(
        self,
        source: ObjectClient,
        facts: ObjectFacts,
        key: str,
        description: Description | None,
        condition: Condition = ALWAYS,
    ) -> Stored:
        assert isinstance(source, GcsClient)
        if not self.features.copy_source_if_match:
            source._require(facts.key, Condition(etag=facts.etag))
            self._require(key, condition)
        body = None
        if description is not None:
            body = encoded(written(description, storageClass=self._settings.storage_class))
        elif self._settings.storage_class is not None:
            # A resource in the request replaces all that the source carries.
            present = source.head(facts.key) or facts
            kept = Description(present.metadata or (), present.headers or ())
            body = encoded(written(kept, storageClass=self._settings.storage_class))
        path = f"{source._requests.object_path(facts.key)}/rewriteTo{self._place(key)}"
        parameters = {**conditions(condition), **matching(facts.etag, "ifSource")}
        for _ in range(MAX_REWRITES):
            response = self._ask("POST", path, parameters, JSON, body, key=key)
            answer = self._requests.decoded(response, REWRITING, key)
            if answer.done and answer.resource is not None:
                return _stored(answer.resource)
            if not answer.rewrite_token:
                break
            parameters["rewriteToken"] = answer.rewrite_token
        raise EntryError(
            EntryCode.IO_ERROR, key, "the service does not finish the copy", disposition=Disposition.RETRY
        )

    def _place(self, key: str) -> str:
        """`/b/BUCKET/o/OBJECT`."""
        return self._requests.object_path(key).removeprefix("/storage/v1")

    def describe(self, facts: ObjectFacts, description: Description, condition: Condition = ALWAYS) -> Stored:
        key = facts.key
        present: ObjectFacts | None = facts
        if facts.metadata is None or facts.headers is None or not self.features.describe_if_match:
            present = self.head(key)
        etag = condition.etag or facts.etag
        if present is None or (etag is not None and present.etag != etag):
            raise ConditionFailedError(key)
        patch = patched(present, description)
        if not patch:
            return Stored(present.etag, present.version)
        response = self._ask(
            "PATCH",
            self._requests.object_path(key),
            {"fields": FIELDS, **matching(etag)},
            JSON,
            encoded(patch),
            key=key,
        )
        return _stored(self._requests.decoded(response, OBJECT, key))


def _stored(resource: ObjectResource) -> Stored:
    return Stored(etag_of(resource), resource.generation, digests_of(resource))


class _Stream:
    """See ObjectStream. Headers are not told with the content, metadata not by every endpoint."""

    def __init__(self, facts: ObjectFacts, body: Body | None) -> None:
        self.facts = facts
        self._body = body

    def __iter__(self) -> Iterator[Buffer]:
        if self._body is not None:
            yield from self._body

    def __enter__(self) -> _Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._body is not None:
            self._body.close()
