"""What an endpoint really does: tried out with an object of a name that nobody uses, not believed.

Some servers ignore the conditions they are given (rclone serve s3 all of them, Ceph 16 some), compare no checksums, or
make something else of a request. Whatever is not proved is done in another way, and the README says with which gap.
"""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import threading
from collections.abc import Callable

import msgspec

from runner.errors import Disposition, EntryCode, EntryError

from ..objects.client import (
    ABSENT,
    ALWAYS,
    Condition,
    ConditionFailedError,
    Description,
    Features,
    ObjectFacts,
    Pairs,
)
from ..objects.memory import Memory, UploadRecord
from .client import S3Client, Tagging

_FIRST = b"sync-runner proves what this server does\n"
_SECOND = b"sync-runner proves what this server does.\n"
_WRONG = "0" * 32
_NOTED = Description((("sync-runner-proof", "1"),))
_NOTED_ANEW = Description((("sync-runner-proof", "2"),))
PROOF_VERSION = "s3-features-2"


class Proof(msgspec.Struct, frozen=True):
    """`quoted_if_match`: how etags stand in If-Match. `tagging`: see there. `complete`: nothing kept the endpoint from
    showing what it does."""

    features: Features
    quoted_if_match: bool = True
    complete: bool = True
    tagging: Tagging = Tagging()


# msgspec (0.22) crashes when two threads look into the same types for the first time at once: this is that time.
for _kind in (Proof,):
    msgspec.json.Decoder(_kind)


_proofs: dict[tuple[str, str], Proof] = {}
_proving = threading.Lock()


def prove(client: S3Client, memory: Callable[[], Memory], execution_id: str) -> Features:
    """The endpoint's features: known in this process, remembered from an earlier one, or tried out now.

    Thread-safe: several objects at the same bucket wait for one proof. Raises EntryError where nothing can be written.
    """
    options = client.options
    name = (options.endpoint, options.bucket)
    with _proving:
        proof = _proofs.get(name)
        if proof is None:
            remembered = memory()
            try:
                record = remembered.proved(PROOF_VERSION)
                proof = _decoded(record)
                if proof is None:
                    proof = _tried(client, remembered, execution_id)
                    if proof.complete:
                        remembered.keep_proof(PROOF_VERSION, msgspec.json.encode(proof))
            finally:
                remembered.close()
            _proofs[name] = proof
    client.quoted_if_match = proof.quoted_if_match
    client.tagging = proof.tagging
    return proof.features


def _decoded(record: bytes | None) -> Proof | None:
    try:
        return msgspec.json.decode(record, type=Proof) if record is not None else None
    except msgspec.DecodeError:
        return None


def _tried(client: S3Client, memory: Memory, execution_id: str) -> Proof:
    key = f"{client.options.prefix}.sync-runner-{execution_id}-{secrets.token_hex(8)}.part"
    try:
        return _Trial(client, memory, key, execution_id).run()
    finally:
        with contextlib.suppress(EntryError):
            client.delete(key)


class _Trial:
    def __init__(self, client: S3Client, memory: Memory, key: str, execution_id: str) -> None:
        self._client = client
        self._memory = memory
        self._key = key
        self._execution_id = execution_id
        self._etag: str | None = None

    def run(self) -> Proof:
        client = self._client
        self._etag = self._put(_FIRST, ABSENT)
        md5 = hashlib.md5(_FIRST, usedforsecurity=False).hexdigest()
        etag_is_md5 = self._etag == md5
        metadata = self._metadata() == "1"
        put_if_absent = self._refuses(lambda: self._put(_SECOND, ABSENT))
        put_if_match = self._refuses(lambda: self._put(_SECOND, Condition(etag=_WRONG)))
        if put_if_match:
            put_if_match = self._accepts_match()
        md5_checked = self._refuses_wrong_md5()
        if not md5_checked:
            self._etag = self._put(_FIRST, ALWAYS)
        facts = self._facts()
        copy_source = self._refuses(lambda: self._copy(facts, _WRONG, ALWAYS))
        copy_absent = self._refuses(lambda: self._copy(facts, facts.etag, ABSENT))
        copy_match = self._refuses(lambda: self._copy(facts, facts.etag, Condition(etag=_WRONG)))
        if copy_match:
            copy_match = not self._refuses(lambda: self._copy(facts, facts.etag, Condition(etag=facts.etag)))
        uploads, complete_absent, complete_match, complete = self._uploads()
        markers = self._keeps_markers()
        tags, tagging = self._tags()
        delete_match = self._refuses(lambda: client.delete(self._key, _WRONG)) and not self._refuses(
            lambda: client.delete(self._key, self._facts().etag)
        )
        return Proof(
            Features(
                put_if_absent=put_if_absent,
                put_if_match=put_if_match,
                complete_if_absent=complete_absent,
                complete_if_match=complete_match,
                delete_if_match=delete_match,
                copy_source_if_match=copy_source,
                copy_if_absent=copy_absent,
                copy_if_match=copy_match,
                # An object is described by copying it onto itself: that its source is unchanged says all.
                describe_if_match=copy_source,
                metadata=metadata,
                etag_is_md5=etag_is_md5,
                md5_checked=md5_checked,
                uploads=uploads,
                markers=markers,
                tags=tags,
            ),
            client.quoted_if_match,
            complete,
            tagging,
        )

    def _put(self, body: bytes, condition: Condition, md5: bytes | None = None) -> str | None:
        return self._client.put(self._key, body, _NOTED, condition, md5).etag

    def _facts(self) -> ObjectFacts:
        facts = self._client.head(self._key)
        return facts or ObjectFacts(self._key, 0)

    def _metadata(self) -> str | None:
        return dict(self._facts().metadata or ()).get("sync-runner-proof")

    def _copy(self, facts: ObjectFacts, source_etag: str | None, condition: Condition) -> None:
        self._client.describe(msgspec.structs.replace(facts, etag=source_etag), _NOTED_ANEW, condition)

    def _refuses(self, attempt: Callable[[], object]) -> bool:
        """True when a condition that does not hold is seen. Errors that may pass are no proof: they are raised."""
        try:
            attempt()
        except ConditionFailedError:
            return True
        except EntryError as error:
            if error.disposition is Disposition.RETRY:
                raise
            return False
        return False

    def _accepts_match(self) -> bool:
        """Whether the right etag passes, quoted as RFC 9110 has it or (Ceph 16) bare."""
        for quoted in (True, False):
            self._client.quoted_if_match = quoted
            etag = self._facts().etag
            if not self._refuses(lambda: self._put(_FIRST, Condition(etag=etag))):  # noqa: B023 - called at once
                return True
        self._client.quoted_if_match = True
        return False

    def _refuses_wrong_md5(self) -> bool:
        try:
            self._put(_FIRST, ALWAYS, hashlib.md5(_SECOND, usedforsecurity=False).digest())
        except (EntryError, ConditionFailedError):
            return self._facts().size_bytes == len(_FIRST)
        return False

    def _tags(self) -> tuple[bool, Tagging]:
        """Whether tags are kept, and how they get onto a copy (Ceph 16 drops them, and breaks those of its request)."""
        client, tags, others = self._client, (("sync-runner-proof", "1"),), (("sync-runner-proof", "2"),)
        if not self._has_tags(lambda: client.put(self._key, _FIRST, Description(tags=tags)), tags):
            # rclone serve s3 answers 500 where it is given tags, and stores a PUT of ?tagging as the object.
            return False, Tagging()
        kept = self._has_tags(lambda: client.describe(self._facts(), _NOTED), tags)
        replaced = Description(_NOTED_ANEW.metadata, tags=others)
        given = self._has_tags(lambda: client.describe(self._facts(), replaced), others)
        put = self._has_tags(lambda: client.put_tags(self._key, tags), tags)
        return True, Tagging(kept, given, put and self._facts().size_bytes == len(_FIRST))

    def _has_tags(self, act: Callable[[], object], tags: Pairs) -> bool:
        try:
            act()
            return self._client.tags(self._key) == tags
        except (EntryError, ConditionFailedError):
            return False

    def _keeps_markers(self) -> bool:
        """Whether `key/` is an object beside `key`: on servers that keep files it would overwrite that one."""
        client, marker = self._client, f"{self._key}/"
        try:
            client.put(marker, b"", _NOTED)
        except (EntryError, ConditionFailedError) as error:
            if isinstance(error, EntryError) and error.disposition is Disposition.RETRY:
                raise
            return False
        beside = self._facts()
        listed = [facts.key for facts in client.list_page(self._key).objects]
        client.delete(marker)
        if listed != sorted(set(listed)) or not set(listed) <= {self._key, marker}:
            # What such a listing says is remembered by nobody.
            message = "the server's listing cannot be believed: it repeats, reorders or invents keys"
            raise EntryError(EntryCode.IO_ERROR, "", message, disposition=Disposition.RETRY)
        if listed == [self._key, marker] and beside.size_bytes:
            return self._facts().size_bytes == beside.size_bytes
        self._etag = self._put(_FIRST, ALWAYS)
        return False

    def _uploads(self) -> tuple[bool, bool, bool, bool]:
        """Whether uploads in parts work, whether completing one honours `absent` and an etag, and whether that was
        found out: what fails for a passing reason here must not keep small files from being stored."""
        try:
            absent = self._completing_refuses(ABSENT)
            match = self._completing_refuses(Condition(etag=_WRONG))
        except EntryError as error:
            passing = error.disposition is Disposition.RETRY
            return passing, False, False, not passing
        return True, absent, match, True

    def _completing_refuses(self, condition: Condition) -> bool:
        client = self._client
        upload = client.begin_upload(self._key, _NOTED)
        # Noted as one that nobody takes up again: should it not be given up here, the next execution does it.
        abandoned = msgspec.structs.replace(upload, begun_ns=0)
        self._memory.note_upload(UploadRecord(abandoned, self._execution_id, None, 0, ""))
        try:
            part = client.put_part(upload, 1, _SECOND)
            refused = self._refuses(lambda: client.complete_upload(upload, [part], _NOTED, condition))
        finally:
            with contextlib.suppress(EntryError):
                client.abort_upload(upload)
                self._memory.forget_upload(upload)
        return refused
