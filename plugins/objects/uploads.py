"""Large content: an upload in parts, several at once in bounded memory, taken up again after a crash.

Parts that the service holds are kept only when their etags prove them: each is compared with the MD5 of the very
bytes the source gives now.
"""

from __future__ import annotations

import collections
import contextlib
import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec

from runner.errors import Disposition, EntryCode, EntryError
from runner.locations.observer import NOBODY, Observer
from runner.locations.protocol import Buffer
from runner.model.entry import Entry

from .client import Condition, Description, ObjectClient, Part, Stored, Upload
from .faults import shown
from .memory import Memory, UploadRecord

_MIB = 1 << 20
UNKNOWN_PART_BYTES = 64 * _MIB
PART_ATTEMPTS = 3


class Budget:
    """Memory for parts in one process, whatever the number of location objects. Thread-safe."""

    def __init__(self, size_bytes: int) -> None:
        self._whole = self._free = size_bytes
        self._changed = threading.Condition()

    def take(self, size_bytes: int, *, wait: bool) -> bool:
        """True when that much may be held. `wait` only while nothing is held: so nobody waits for ever."""
        size_bytes = min(size_bytes, self._whole)
        with self._changed:
            while self._free < size_bytes:
                if not wait:
                    return False
                self._changed.wait()
            self._free -= size_bytes
            return True

    def give_back(self, size_bytes: int) -> None:
        with self._changed:
            self._free += min(size_bytes, self._whole)
            self._changed.notify_all()


PART_BUDGET = Budget(256 * _MIB)


class PartSettings(msgspec.Struct, frozen=True):
    """Parts of at least `part_bytes`, `concurrency` of them on their way at once."""

    part_bytes: int = 8 * _MIB
    concurrency: int = 4


def part_size(size_bytes: int | None, settings: PartSettings, client: ObjectClient) -> int:
    """Bytes of each part but the last, so that there are no more parts than the service takes."""
    wanted = max(settings.part_bytes, client.min_part_bytes)
    if size_bytes is None:
        return max(wanted, UNKNOWN_PART_BYTES)
    least = -(-size_bytes // (client.max_parts - 1))
    return max(wanted, -(-least // _MIB) * _MIB)


class PartsWriter:
    """One upload. `feed` the content, then `finish`; `give_up` when something went wrong."""

    def __init__(
        self,
        client: ObjectClient,
        memory: Memory,
        settings: PartSettings,
        key: str,
        entry: Entry,
        description: Description,
        execution_id: str,
        condition: Condition,
        observer: Observer = NOBODY,
    ) -> None:
        """`observer` hears of parts that are sent again."""
        self._observer = observer
        self._client = client
        self._memory = memory
        self._settings = settings
        self._key = key
        self._path = entry.path
        self._description = description
        self._condition = condition
        self._part_bytes = part_size(entry.size_bytes, settings, client)
        self._buffer = bytearray()
        self._number = 0
        self._size = 0
        self._size_reserved = False
        self._parts: dict[int, Part] = {}
        self._flying: collections.deque[tuple[int, Future[Part]]] = collections.deque()
        self._executor: ThreadPoolExecutor | None = None
        self._held: dict[int, Part] = {}
        # Another content must never be mixed in: what tells it is noted with the upload.
        facts = (entry.size_bytes, entry.mtime_ns, entry.version, description, condition)
        content = hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()
        self._upload = self._resumed(content) or self._begun(entry, content, execution_id)

    @property
    def upload(self) -> Upload:
        return self._upload

    def _resumed(self, content: str) -> Upload | None:
        """An upload of ours for the same content; others of this key are given up."""
        for record in self._memory.uploads(self._key):
            upload = record.upload
            if record.content == content and record.part_bytes == self._part_bytes:
                try:
                    self._held = {part.number: part for part in self._client.list_parts(upload)}
                    return upload
                except EntryError as error:
                    if error.entry_code is not EntryCode.NOT_FOUND:
                        raise
                    self._held = {}
            else:
                self._client.abort_upload(upload)
            self._memory.forget_upload(upload)
        return None

    def _begun(self, entry: Entry, content: str, execution_id: str) -> Upload:
        upload = self._client.begin_upload(self._key, self._description, self._condition)
        self._memory.note_upload(
            UploadRecord(upload, execution_id, entry.size_bytes, self._part_bytes, content)
        )
        return upload

    def feed(self, chunk: Buffer) -> None:
        """More content, in order."""
        view = memoryview(chunk)
        while len(view):
            if not self._buffer and not self._size_reserved:
                self._reserve()
            taken = view[: self._part_bytes - len(self._buffer)]
            self._buffer += taken
            view = view[len(taken) :]
            if len(self._buffer) == self._part_bytes:
                self._send()

    def _reserve(self) -> None:
        """Room for one more part: at once, or when one of ours has arrived."""
        while not PART_BUDGET.take(self._part_bytes, wait=not self._flying):
            self._land()
        self._size_reserved = True

    def _send(self) -> None:
        body, self._buffer = self._buffer, bytearray()
        self._number += 1
        self._size += len(body)
        self._size_reserved = False
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self._settings.concurrency, thread_name_prefix="part")
        self._flying.append((self._number, self._executor.submit(self._part, self._number, body)))
        while len(self._flying) >= self._settings.concurrency:
            self._land()

    def _part(self, number: int, body: bytearray) -> Part:
        """Store one part, unless the service holds these very bytes as that part."""
        try:
            md5 = hashlib.md5(body, usedforsecurity=False).digest()
            held = self._held.get(number)
            if held is not None and held.size_bytes == len(body) and held.etag == md5.hex():
                return msgspec.structs.replace(held, digests=(("md5", md5.hex()),))
            part = self._stored_part(number, body, md5)
            if not self._proves(part, md5):
                message = f"{shown(self._path)}: part {number} arrived damaged"
                raise EntryError(EntryCode.CHECKSUM_FAILURE, self._path, message)
            return part
        finally:
            PART_BUDGET.give_back(self._part_bytes)

    def _stored_part(self, number: int, body: bytearray, md5: bytes) -> Part:
        """Storing a part again does no harm: one lost connection need not cost a whole upload."""
        for _ in range(PART_ATTEMPTS - 1):
            try:
                return self._client.put_part(self._upload, number, body, md5)
            except EntryError as error:
                if error.disposition is not Disposition.RETRY:
                    raise
                self._observer.away()
        return self._client.put_part(self._upload, number, body, md5)

    def _proves(self, part: Part, md5: bytes) -> bool:
        return not self._client.features.etag_is_md5 or part.etag == md5.hex()

    def _land(self) -> None:
        number, future = self._flying.popleft()
        self._parts[number] = future.result()

    def finish(self) -> int:
        """Everything is on its way: wait for it. Bytes of the whole."""
        if self._buffer or self._number == 0:
            if not self._size_reserved:
                self._reserve()
            self._send()
        while self._flying:
            self._land()
        return self._size

    def publish(self, condition: Condition) -> Stored:
        """Make the object of the parts. Raises ConditionFailedError."""
        parts = [self._parts[number] for number in sorted(self._parts)]
        stored = self._client.complete_upload(self._upload, parts, self._description, condition)
        self._memory.forget_upload(self._upload)
        return stored

    def expected_etag(self) -> str | None:
        """S3's etag of the whole: the MD5 of the parts' MD5s, and their number."""
        digests = [dict(self._parts[number].digests).get("md5") for number in sorted(self._parts)]
        if None in digests:
            return None
        joined = b"".join(bytes.fromhex(digest) for digest in digests if digest is not None)
        return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(digests)}"

    def give_up(self) -> None:
        """Drop the upload. One that cannot be dropped stays noted: the next attempt takes it up again."""
        for _, future in self._flying:
            future.cancel()
        for _, future in self._flying:
            if future.cancelled():
                PART_BUDGET.give_back(self._part_bytes)
            else:
                future.exception()
        self._flying.clear()
        with contextlib.suppress(EntryError):
            self._client.abort_upload(self._upload)
            self._memory.forget_upload(self._upload)

    def close(self) -> None:
        """End the threads; nothing is kept."""
        if self._size_reserved:
            PART_BUDGET.give_back(self._part_bytes)
            self._size_reserved = False
        if self._executor is not None:
            self._executor.shutdown(wait=True)


@contextlib.contextmanager
def parts_written(writer: PartsWriter) -> Iterator[PartsWriter]:
    """The upload is published by the block, or given up."""
    try:
        yield writer
    except BaseException:
        writer.give_up()
        raise
    finally:
        writer.close()
