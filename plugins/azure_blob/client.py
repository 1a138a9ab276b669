"""One container, asked over the REST interface of Azure Blob Storage.

Why not a library: docs/decisions/0017.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING

import msgspec

from runner.errors import EntryCode, EntryError
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
from . import answers
from .blocks import RunningDigests, block_id, block_list, new_token, part_of
from .describing import content_headers, metadata_headers, tags_body, tags_header
from .requests import Requests, conditions, etag_of, if_match, length_of

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse

MAX_PUT_BYTES = 5000 << 20
MAX_COPY_BYTES = 256 << 20
"""Copy Blob From URL takes no more; it is the only copy that is all or nothing."""

COPY_PART_BYTES = 16 << 20
BLOCK_BLOB = {"x-ms-blob-type": "BlockBlob"}


class AzureSettings(msgspec.Struct, frozen=True):
    """What is written with each blob, and what is asked for with each listing."""

    access_tier: str | None = None
    delete_snapshots: bool = False
    tags: bool = False


class AzureClient:
    """See ObjectClient. Safe for several threads."""

    features = Features(
        put_if_absent=True,
        put_if_match=True,
        complete_if_absent=True,
        complete_if_match=True,
        delete_if_match=True,
        copy_source_if_match=True,
        copy_if_absent=True,
        copy_if_match=True,
        describe_if_match=True,
        tags=True,
        listing_has_metadata=True,
        listing_has_tags=True,
        md5_checked=True,
        sorted_listing=False,
    )
    min_part_bytes = 1
    max_parts = 50_000
    max_put_bytes = MAX_PUT_BYTES

    def __init__(self, requests: Requests, settings: AzureSettings) -> None:
        self._requests = requests
        self._settings = settings
        self._ask = requests.ask
        self._running = RunningDigests()

    # -- the container ---------------------------------------------------------------------------------------

    def exists(self) -> bool:
        response = self._ask("HEAD", "", {"restype": "container"}, expected=(200, 404))
        return response.status == 200

    def create(self) -> None:
        self._ask("PUT", "", {"restype": "container"}, expected=(201, 409))

    def list_page(
        self,
        prefix: str,
        *,
        start_after: str | None = None,
        token: str | None = None,
        limit: int | None = None,
        delimiter: str | None = None,
    ) -> Page:
        include = "metadata,tags" if self._settings.tags else "metadata"
        parameters = {"restype": "container", "comp": "list", "include": include}
        optional = {"prefix": prefix, "marker": token, "delimiter": delimiter}
        parameters |= {name: value for name, value in optional.items() if value}
        if limit is not None:
            parameters["maxresults"] = str(limit)
        response = self._ask("GET", "", parameters)
        try:
            page = answers.page(
                response.data, date_ns(response.headers.get("date")), with_tags=self._settings.tags
            )
        except answers.UnreadableAnswerError as error:
            raise EntryError(
                EntryCode.IO_ERROR, prefix, f"the listing cannot be understood: {error}"
            ) from error
        if start_after is None:
            return page
        # The service has no such parameter in this version.
        return msgspec.structs.replace(
            page,
            objects=[facts for facts in page.objects if facts.key.encode() > start_after.encode()],
            folders=[folder for folder in page.folders if folder.encode() > start_after.encode()],
        )

    def server_time_ns(self) -> int:
        response = self._ask("HEAD", "", {"restype": "container"}, expected=(200, 404))
        told = date_ns(response.headers.get("date"))
        if told is None:
            raise EntryError(EntryCode.IO_ERROR, "", "the service does not tell its time")
        return told

    def identity_facts(self) -> Pairs:
        # Azure gives a container no id of its own; when it is deleted and made again, nothing tells.
        return (("service", self._requests.service), ("container", self._requests.container))

    def close(self) -> None:
        self._requests.rest.close()

    # -- reading ---------------------------------------------------------------------------------------------

    def head(self, key: str) -> ObjectFacts | None:
        if not key:
            return None
        response = self._ask("HEAD", key, expected=(200, 404))
        if response.status == 404:
            return None
        return answers.facts(key, response.headers, length_of(response, key))

    def get(
        self, key: str, *, offset: int = 0, length: int | None = None, if_etag: str | None = None
    ) -> ObjectStream:
        headers = if_match(if_etag)
        if offset or length is not None:
            headers["range"] = f"bytes={offset}-" + ("" if length is None else str(offset + length - 1))
        response = self._ask("GET", key, headers=headers, expected=(200, 206, 416), stream=True)
        if response.status == 416:
            response.close()
            facts = self.head(key)
            if facts is None:
                raise EntryError(EntryCode.NOT_FOUND, key, "nothing is there")
            if if_etag is not None and facts.etag != if_etag:
                raise ConditionFailedError(key)
            return _Stream(facts, None)
        size = length_of(response, key)
        told = response.headers.get("content-range")
        whole = int(told.rpartition("/")[2]) if told else size
        facts = answers.facts(key, response.headers, whole)
        if facts is None:
            response.close()
            raise EntryError(EntryCode.NOT_FOUND, key, "a folder stands there")
        if if_etag is not None and facts.etag != if_etag:
            response.close()
            raise ConditionFailedError(key)
        due = whole - offset if length is None else min(length, whole - offset)
        if due <= 0:
            response.close()
            return _Stream(facts, None)
        if not told and offset:
            response.close()
            raise EntryError(
                EntryCode.IO_ERROR, key, "the service sent the whole content where a part was asked for"
            )
        return _Stream(facts, Body(self._requests.rest, response, key, due))

    def tags(self, key: str) -> Pairs:
        response = self._ask("GET", key, {"comp": "tags"})
        try:
            return answers.tags(response.data)
        except answers.UnreadableAnswerError as error:
            raise EntryError(EntryCode.IO_ERROR, key, f"the tags cannot be understood: {error}") from error

    # -- writing ---------------------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        body: Buffer,
        description: Description,
        condition: Condition = ALWAYS,
        md5: bytes | None = None,
    ) -> Stored:
        sent = md5 or hashlib.md5(body, usedforsecurity=False).digest()
        headers = {
            **BLOCK_BLOB,
            **self._describing(key, description),
            **conditions(condition),
            "content-md5": base64.b64encode(sent).decode(),
        }
        response = self._ask("PUT", key, headers=headers, body=body, expected=(201,))
        # The service refuses content whose MD5 is another (400 Md5Mismatch).
        return _stored(response, sent)

    def begin_upload(self, key: str, description: Description, condition: Condition = ALWAYS) -> Upload:
        return Upload(key, new_token())

    def put_part(self, upload: Upload, number: int, body: Buffer, md5: bytes | None = None) -> Part:
        sent = md5 or hashlib.md5(body, usedforsecurity=False).digest()
        self._ask(
            "PUT",
            upload.key,
            {"comp": "block", "blockid": block_id(upload.id, number, sent.hex())},
            {"content-md5": base64.b64encode(sent).decode()},
            body,
            expected=(201,),
        )
        self._running.add(upload.id, number, body)
        return Part(number, sent.hex(), memoryview(body).nbytes, (("md5", sent.hex()),))

    def complete_upload(
        self, upload: Upload, parts: Sequence[Part], description: Description, condition: Condition = ALWAYS
    ) -> Stored:
        headers = {**self._describing(upload.key, description), **conditions(condition)}
        whole = self._running.take(upload.id, len(parts))
        if whole is not None:
            headers["x-ms-blob-content-md5"] = base64.b64encode(whole).decode()
        response = self._ask(
            "PUT", upload.key, {"comp": "blocklist"}, headers, block_list(upload.id, parts), expected=(201,)
        )
        # Each block's MD5 was compared when it came: the list in this order is what was sent.
        return _stored(response, whole)

    def abort_upload(self, upload: Upload) -> None:
        # Blocks that were never committed are invisible, cost nothing to readers, and the service drops them a
        # week after the last one came. There is no request that drops them and nothing else.
        self._running.take(upload.id, 0)

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        yield from ()

    def list_parts(self, upload: Upload) -> Iterator[Part]:
        response = self._ask("GET", upload.key, {"comp": "blocklist", "blocklisttype": "uncommitted"})
        try:
            blocks = list(answers.uncommitted_blocks(response.data))
        except answers.UnreadableAnswerError as error:
            raise EntryError(EntryCode.IO_ERROR, upload.key, str(error)) from error
        for block, size in sorted(blocks):
            part = part_of(upload.id, block, size)
            if part is not None:
                yield part

    def delete(self, key: str, if_etag: str | None = None) -> None:
        headers = if_match(if_etag)
        if self._settings.delete_snapshots:
            headers["x-ms-delete-snapshots"] = "include"
        self._ask("DELETE", key, headers=headers, expected=(202, 404))

    # -- inside the account ----------------------------------------------------------------------------------

    def copies_from(self, source: ObjectClient) -> bool:
        return isinstance(source, AzureClient) and source._requests.service == self._requests.service

    def copy(
        self,
        source: ObjectClient,
        facts: ObjectFacts,
        key: str,
        description: Description | None,
        condition: Condition = ALWAYS,
    ) -> Stored:
        assert isinstance(source, AzureClient)
        if facts.size_bytes > MAX_COPY_BYTES:
            return self._copy_in_parts(source, facts, key, description, condition)
        address, headers = source._requests.source_address(facts.key)
        asked = {
            "x-ms-copy-source": address,
            "x-ms-requires-sync": "true",
            **headers,
            **conditions(condition),
        }
        if facts.etag is not None:
            asked["x-ms-source-if-match"] = f'"{facts.etag}"'
        if self._settings.access_tier:
            asked["x-ms-access-tier"] = self._settings.access_tier
        if description is not None:
            asked |= metadata_headers(description.metadata, key)
            if description.tags:
                asked["x-ms-tags"] = tags_header(description.tags)
        if description is None or description.tags is None:
            asked["x-ms-copy-source-tag-option"] = "COPY"
        response = self._ask("PUT", key, headers=asked, expected=(202,))
        state = response.headers.get("x-ms-copy-status")
        if state not in (None, "success"):
            raise EntryError(EntryCode.IO_ERROR, key, f"the service copies with state {state!r}")
        stored = _stored(response, None)
        if description is None or description.headers == facts.headers:
            return stored
        # Copying always takes the source's headers along.
        etag = self._set_properties(key, description.headers, self._content_md5(key), stored.etag)
        return msgspec.structs.replace(stored, etag=etag)

    def _copy_in_parts(
        self,
        source: AzureClient,
        facts: ObjectFacts,
        key: str,
        description: Description | None,
        condition: Condition,
    ) -> Stored:
        """Through this process: a blob larger than the service copies all or nothing."""
        with source.get(facts.key, if_etag=facts.etag) as stream:
            told = description or Description(
                facts.metadata or stream.facts.metadata or (), facts.headers or stream.facts.headers or ()
            )
            if told.tags is None:
                told = msgspec.structs.replace(
                    told, tags=source.tags(facts.key) if self._settings.tags else ()
                )
            upload = self.begin_upload(key, told)
            parts: list[Part] = []
            gathered = bytearray()
            for chunk in stream:
                gathered += chunk
                if len(gathered) >= COPY_PART_BYTES:
                    parts.append(self.put_part(upload, len(parts) + 1, bytes(gathered)))
                    gathered.clear()
            if gathered or not parts:
                parts.append(self.put_part(upload, len(parts) + 1, bytes(gathered)))
        return self.complete_upload(upload, parts, told, condition)

    def describe(self, facts: ObjectFacts, description: Description, condition: Condition = ALWAYS) -> Stored:
        key = facts.key
        present = facts
        if facts.metadata is None or facts.headers is None:
            present = self.head(key) or facts
        etag = condition.etag or facts.etag
        if present.metadata != description.metadata:
            headers = {**self._metadata(key, description.metadata), **if_match(etag)}
            etag = etag_of(self._ask("PUT", key, {"comp": "metadata"}, headers))
        if present.headers != description.headers:
            etag = self._set_properties(key, description.headers, self._content_md5(key), etag)
        if description.tags is not None and (present.tags is None or present.tags != description.tags):
            self._ask("PUT", key, {"comp": "tags"}, {}, tags_body(description.tags), expected=(200, 204))
        return Stored(etag=etag)

    def _set_properties(self, key: str, pairs: Pairs, md5: str | None, etag: str | None) -> str | None:
        """Set the headers. Those that are not sent along are cleared, Content-MD5 too."""
        headers = {**content_headers(pairs), **if_match(etag)}
        if md5 is not None:
            headers["x-ms-blob-content-md5"] = md5
        return etag_of(self._ask("PUT", key, {"comp": "properties"}, headers))

    def _content_md5(self, key: str) -> str | None:
        return self._ask("HEAD", key).headers.get("content-md5")

    def _describing(self, key: str, description: Description) -> dict[str, str]:
        headers = {**self._metadata(key, description.metadata), **content_headers(description.headers)}
        if description.tags:
            headers["x-ms-tags"] = tags_header(description.tags)
        if self._settings.access_tier:
            headers["x-ms-access-tier"] = self._settings.access_tier
        return headers

    def _metadata(self, key: str, metadata: Pairs) -> dict[str, str]:
        if key.endswith("/"):
            metadata = (*metadata, (answers.FOLDER_MARK, "true"))
        return metadata_headers(metadata, key)


def _stored(response: BaseHTTPResponse, md5: bytes | None) -> Stored:
    """`md5` of the content, where the service has compared it."""
    return Stored(
        etag=etag_of(response),
        digests=() if md5 is None else (("md5", md5.hex()),),
        modified_ns=date_ns(response.headers.get("last-modified")),
    )


class _Stream:
    """See ObjectStream."""

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
