"""One bucket as an ObjectClient: the requests of the S3 REST API."""

from __future__ import annotations

import hashlib
import re
import ssl
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from xml.etree.ElementTree import Element

import msgspec

from runner.clock import Clock
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
from . import replies
from .credentials import KeySource
from .options import S3Options
from .requests import Requests
from .signing import query_string, quote_key
from .stream import S3Stream

MAX_COPY_BYTES = 5 << 30
"""What one CopyObject takes; more goes by UploadPartCopy."""
COPY_PART_BYTES = 512 << 20
MAX_KEY_BYTES = 1024
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""What the name of a header may be (RFC 9110, 5.6.2)."""


class Tagging(msgspec.Struct, frozen=True):
    """What becomes of tags: `copies_keep` also where metadata is replaced, `copies_take` those of their request, `puts`
    a request of its own sets them. The defaults are Amazon's; they hold until the endpoint was tried out."""

    copies_keep: bool = True
    copies_take: bool = True
    puts: bool = False


class S3Client:
    """See ObjectClient. Thread-safe."""

    min_part_bytes = 5 << 20
    max_parts = 10_000
    max_put_bytes = 5 << 30

    def __init__(
        self,
        options: S3Options,
        keys: KeySource,
        context: ssl.SSLContext | None,
        clock: Clock,
        prove: Callable[[S3Client], Features],
    ) -> None:
        """`prove` finds out what the endpoint can do; asked once, before the first write."""
        self.options = options
        self._prove = prove
        self._features: Features | None = None
        self._requests = Requests(options, keys, context, clock)
        self._new_object = _new_object_headers(options)
        self.quoted_if_match = True
        """Whether an If-Match etag stands in quotes: Ceph 16 matches only bare ones."""

        self.tagging = Tagging()

    @property
    def features(self) -> Features:
        if self._features is None:
            self._features = self._prove(self)
        return self._features

    # -- the bucket ----------------------------------------------------------------------------------------

    def exists(self) -> bool:
        try:
            # Cheaper than a listing, which some servers begin by sorting the whole bucket; each worker asks.
            self._requests.call("HEAD", None, "look at")
            return True
        except ConditionFailedError:
            pass
        except EntryError as error:
            if error.disposition is Disposition.RETRY or error.entry_code is EntryCode.TIMEOUT:
                raise
        try:
            # The answer to a HEAD has no body to say why it was refused; and some may list a prefix only.
            self.list_page(self.options.prefix, limit=1)
        except EntryError as error:
            if error.entry_code in (EntryCode.NOT_FOUND, EntryCode.UNAVAILABLE) and (
                error.disposition is not Disposition.RETRY
            ):
                return False
            raise
        return True

    def create(self) -> None:
        region = self.options.signing_region
        body = b""
        if region != "us-east-1" and self.options.endpoint_url is None:
            body = (
                f"<CreateBucketConfiguration><LocationConstraint>{region}</LocationConstraint>"
                "</CreateBucketConfiguration>"
            ).encode()
        try:
            self._requests.call("PUT", None, "make", body=body)
        except (EntryError, ConditionFailedError):
            if not self.exists():
                raise

    def identity_facts(self) -> Pairs:
        facts = [("endpoint", self.options.endpoint), ("bucket", self.options.bucket)]
        if self.options.prefix:
            facts.append(("prefix", self.options.prefix))
        return tuple(facts)

    def server_time_ns(self) -> int:
        headers, _ = self._requests.call("HEAD", None, "ask the time of")
        served_ns = replies.http_date_ns(headers.get("date"))
        if served_ns is None:
            raise EntryError(EntryCode.IO_ERROR, "", "the server does not tell its time")
        return served_ns

    # -- listing and looking -------------------------------------------------------------------------------

    def list_page(
        self,
        prefix: str,
        *,
        start_after: str | None = None,
        token: str | None = None,
        limit: int | None = None,
        delimiter: str | None = None,
    ) -> Page:
        parameters = [("list-type", "2"), ("encoding-type", "url"), ("prefix", prefix)]
        if token is not None:
            parameters.append(("continuation-token", token))
        elif start_after is not None:
            parameters.append(("start-after", start_after))
        if limit is not None:
            parameters.append(("max-keys", str(limit)))
        if delimiter is not None:
            parameters.append(("delimiter", delimiter))
        headers, document = self._requests.document("GET", None, "list", parameters)
        try:
            return replies.page_of(document, replies.http_date_ns(headers.get("date")))
        except replies.ReplyError as error:
            raise EntryError(
                EntryCode.IO_ERROR, prefix, f"cannot list {self.options.bucket}: {error}"
            ) from error

    def head(self, key: str) -> ObjectFacts | None:
        try:
            headers, _ = self._requests.call("HEAD", key, "look at")
        except EntryError as error:
            if error.entry_code is EntryCode.NOT_FOUND:
                return None
            raise
        return _facts(key, headers, headers.get("content-length"))

    def get(
        self, key: str, *, offset: int = 0, length: int | None = None, if_etag: str | None = None
    ) -> ObjectStream:
        headers: dict[str, str] = {}
        if offset or length is not None:
            headers["range"] = f"bytes={offset}-" + (str(offset + length - 1) if length is not None else "")
        if if_etag is not None:
            headers["if-match"] = self._if_match(if_etag)
        return S3Stream(self._requests.request("GET", key, "read", headers=headers), key, offset, length)

    # -- writing -------------------------------------------------------------------------------------------

    def put(
        self,
        key: str,
        body: Buffer,
        description: Description,
        condition: Condition = ALWAYS,
        md5: bytes | None = None,
    ) -> Stored:
        headers = self._described(description, key)
        self._conditional(headers, condition)
        if md5 is not None:
            headers["content-md5"] = b64encode(md5).decode("ascii")
        return _stored(self._requests.call("PUT", key, "store", headers=headers, body=body)[0])

    def begin_upload(self, key: str, description: Description, condition: Condition = ALWAYS) -> Upload:
        headers = self._described(description, key)
        _, document = self._requests.document("POST", key, "store", [("uploads", "")], headers, b"")
        upload_id = self._tree(document, key).findtext("UploadId")
        if not upload_id:
            raise EntryError(EntryCode.IO_ERROR, key, f"the server began no upload for {key}")
        return Upload(key, upload_id)

    def put_part(self, upload: Upload, number: int, body: Buffer, md5: bytes | None = None) -> Part:
        digest = md5 or hashlib.md5(body, usedforsecurity=False).digest()
        parameters = [("partNumber", str(number)), ("uploadId", upload.id)]
        headers = {"content-md5": b64encode(digest).decode("ascii")}
        reply_headers, _ = self._requests.call("PUT", upload.key, "store", parameters, headers, body)
        etag = replies.bare_etag(reply_headers.get("etag"))
        if etag is None:
            raise EntryError(EntryCode.IO_ERROR, upload.key, "the server gave a part no etag")
        return Part(number, etag, len(body), (("md5", digest.hex()),))

    def complete_upload(
        self,
        upload: Upload,
        parts: Sequence[Part],
        description: Description,
        condition: Condition = ALWAYS,
    ) -> Stored:
        headers: dict[str, str] = {}
        self._conditional(headers, condition)
        reply_headers, document = self._requests.document(
            "POST", upload.key, "store", [("uploadId", upload.id)], headers, replies.completion(parts)
        )
        tree = self._tree(document, upload.key)
        etag = replies.bare_etag(tree.findtext("ETag"))
        return Stored(etag, reply_headers.get("x-amz-version-id"))

    def abort_upload(self, upload: Upload) -> None:
        try:
            self._requests.call("DELETE", upload.key, "give up the upload of", [("uploadId", upload.id)])
        except EntryError as error:
            if error.entry_code is not EntryCode.NOT_FOUND:
                raise

    def list_uploads(self, prefix: str) -> Iterator[Upload]:
        markers: tuple[str, str] | None = ("", "")
        while markers is not None:
            parameters = [("uploads", ""), ("encoding-type", "url"), ("prefix", prefix)]
            if markers[0]:
                parameters += [("key-marker", markers[0]), ("upload-id-marker", markers[1])]
            _, document = self._requests.document("GET", None, "list the uploads of", parameters)
            try:
                uploads, following = replies.uploads_of(document)
            except replies.ReplyError as error:
                raise EntryError(EntryCode.IO_ERROR, prefix, str(error)) from error
            yield from uploads
            if following == markers:
                raise EntryError(
                    EntryCode.IO_ERROR, prefix, "the server lists the same uploads again and again"
                )
            markers = following

    def list_parts(self, upload: Upload) -> Iterator[Part]:
        marker: str | None = "0"
        while marker is not None:
            parameters = [("uploadId", upload.id), ("part-number-marker", marker)]
            _, document = self._requests.document("GET", upload.key, "look at the upload of", parameters)
            try:
                parts, following = replies.parts_of(document)
            except replies.ReplyError as error:
                raise EntryError(EntryCode.IO_ERROR, upload.key, str(error)) from error
            yield from parts
            if following == marker:
                raise EntryError(
                    EntryCode.IO_ERROR, upload.key, "the server lists the same parts again and again"
                )
            marker = following

    def copies_from(self, source: ObjectClient) -> bool:
        return (
            isinstance(source, S3Client)
            and source.options.endpoint == self.options.endpoint
            and source._requests.keys() == self._requests.keys()
        )

    def copy(
        self,
        source: ObjectClient,
        facts: ObjectFacts,
        key: str,
        description: Description | None,
        condition: Condition = ALWAYS,
    ) -> Stored:
        assert isinstance(source, S3Client)
        headers = {"x-amz-copy-source": quote_key(f"/{source.options.bucket}/{facts.key}")}
        if facts.etag is not None:
            headers["x-amz-copy-source-if-match"] = self._if_match(facts.etag)
        if description is not None and description.tags is None and not self.tagging.copies_keep:
            description = msgspec.structs.replace(description, tags=source.tags(facts.key))
        afterwards: Pairs = ()
        if description is not None and description.tags and not self.tagging.copies_take:
            if not self.tagging.puts:
                message = f"cannot copy {key}: the server would lose its tags"
                raise EntryError(EntryCode.ATTRIBUTES_REFUSED, key, message)
            afterwards = description.tags
            description = msgspec.structs.replace(description, tags=())
        stored = self._copied(source, headers, facts, key, description, condition)
        if afterwards:
            self.put_tags(key, afterwards)
        return stored

    def _copied(
        self,
        source: S3Client,
        headers: dict[str, str],
        facts: ObjectFacts,
        key: str,
        description: Description | None,
        condition: Condition,
    ) -> Stored:
        if facts.size_bytes > MAX_COPY_BYTES:
            return self._copy_in_parts(headers, facts, key, description, condition)
        if description is None:
            headers |= self._new_object
        else:
            headers |= self._described(description, key)
            headers["x-amz-metadata-directive"] = "REPLACE"
            if description.tags is not None:
                headers["x-amz-tagging-directive"] = "REPLACE"
        if facts.storage_class and self.options.storage_class is None and source is self:
            headers["x-amz-storage-class"] = facts.storage_class
        self._conditional(headers, condition)
        reply_headers, document = self._requests.document("PUT", key, "copy", headers=headers)
        tree = self._tree(document, key)
        etag = replies.bare_etag(tree.findtext("ETag"))
        return Stored(etag, reply_headers.get("x-amz-version-id"))

    def describe(self, facts: ObjectFacts, description: Description, condition: Condition = ALWAYS) -> Stored:
        # S3 has no other way to change metadata than to copy the object onto itself.
        return self.copy(self, facts, facts.key, description, condition)

    def delete(self, key: str, if_etag: str | None = None) -> None:
        headers = {"if-match": self._if_match(if_etag)} if if_etag is not None else None
        try:
            self._requests.call("DELETE", key, "remove", headers=headers)
        except EntryError as error:
            if error.entry_code is not EntryCode.NOT_FOUND:
                raise

    def tags(self, key: str) -> Pairs:
        _, document = self._requests.document("GET", key, "read the tags of", [("tagging", "")])
        try:
            return replies.tags_of(document)
        except replies.ReplyError as error:
            raise EntryError(EntryCode.IO_ERROR, key, str(error)) from error

    def put_tags(self, key: str, tags: Pairs) -> None:
        """Only for servers that were proved to know the request: others store its body as the object."""
        body = replies.tagging(tags)
        md5 = b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode("ascii")
        self._requests.call("PUT", key, "tag", [("tagging", "")], {"content-md5": md5}, body)

    def close(self) -> None:
        self._requests.close()

    # -- headers -------------------------------------------------------------------------------------------

    def _described(self, description: Description, key: str) -> dict[str, str]:
        """Raises EntryError for metadata whose name no header can have."""
        headers = {}
        for name, value in description.metadata:
            if not _TOKEN.fullmatch(name):
                message = f"S3 holds no metadata of the name {name!r}: it has to be a word of ASCII letters and digits"
                raise EntryError(EntryCode.ATTRIBUTES_REFUSED, key, message)
            headers[f"x-amz-meta-{name}"] = replies.header_text(value)
        headers.update((name, replies.header_text(value)) for name, value in description.headers)
        if description.tags:
            headers["x-amz-tagging"] = query_string(description.tags)
        headers.update(self._new_object)
        return headers

    def _if_match(self, etag: str) -> str:
        return f'"{etag}"' if self.quoted_if_match else etag

    def _conditional(self, headers: dict[str, str], condition: Condition) -> None:
        if condition.absent:
            headers["if-none-match"] = "*"
        elif condition.etag is not None:
            headers["if-match"] = self._if_match(condition.etag)

    def _tree(self, document: bytes, key: str) -> Element:
        """A reply whose fields count, not its name: rclone serve s3 gives some another one."""
        try:
            return replies.tree_of(document)
        except replies.ReplyError as error:
            raise EntryError(EntryCode.IO_ERROR, key, f"the server's answer for {key}: {error}") from error

    def _copy_in_parts(
        self,
        source_headers: dict[str, str],
        facts: ObjectFacts,
        key: str,
        description: Description | None,
        condition: Condition,
    ) -> Stored:
        """More than one CopyObject takes. `description` None: that of the source, as far as `facts` tell it."""
        if description is None:
            description = Description(facts.metadata or (), facts.headers or (), facts.tags)
        upload = self.begin_upload(key, description)
        try:
            parts = []
            for number, start in enumerate(range(0, facts.size_bytes, COPY_PART_BYTES), 1):
                end = min(start + COPY_PART_BYTES, facts.size_bytes) - 1
                headers = {**source_headers, "x-amz-copy-source-range": f"bytes={start}-{end}"}
                parameters = [("partNumber", str(number)), ("uploadId", upload.id)]
                _, document = self._requests.document("PUT", key, "copy", parameters, headers)
                etag = replies.bare_etag(self._tree(document, key).findtext("ETag"))
                parts.append(Part(number, etag or "", end - start + 1))
            return self.complete_upload(upload, parts, description, condition)
        except BaseException:
            self.abort_upload(upload)
            raise


def _facts(key: str, headers: dict[str, str], length: str | None) -> ObjectFacts:
    if length is None or not length.isdigit():
        raise EntryError(EntryCode.IO_ERROR, key, f"the server does not say how long {key} is")
    return replies.facts_of_headers(key, headers, int(length))


def _stored(headers: dict[str, str]) -> Stored:
    return Stored(replies.bare_etag(headers.get("etag")), headers.get("x-amz-version-id"))


def _new_object_headers(options: S3Options) -> dict[str, str]:
    """What every object this location writes is given."""
    headers: dict[str, str] = {}
    if options.storage_class is not None:
        headers["x-amz-storage-class"] = options.storage_class
    if options.sse is not None:
        headers["x-amz-server-side-encryption"] = options.sse
    if options.sse_kms_key_id is not None:
        headers["x-amz-server-side-encryption-aws-kms-key-id"] = options.sse_kms_key_id
    return headers
