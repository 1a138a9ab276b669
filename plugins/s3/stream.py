"""An object that is being read."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType

from runner.errors import EntryCode, EntryError
from runner.locations.protocol import Buffer

from . import replies
from .faults import lost
from .wire import Reply, WireError


class S3Stream:
    """See ObjectStream."""

    def __init__(self, reply: Reply, key: str, offset: int, length: int | None) -> None:
        """Raises EntryError when the server sends another range than was asked for."""
        self._reply = reply
        self._key = key
        told = reply.headers.get("content-length")
        if told is None or not told.isdigit():
            reply.abandon()
            raise EntryError(EntryCode.IO_ERROR, key, f"the server does not say how long {key} is")
        total = told
        # rclone serve s3 sends ranges with status 200.
        if reply.status == 206 or "content-range" in reply.headers:
            ranged, _, total = reply.headers.get("content-range", "").removeprefix("bytes ").partition("/")
            if ranged.partition("-")[0] != str(offset) or not total.isdigit():
                reply.abandon()
                raise EntryError(
                    EntryCode.IO_ERROR, key, f"the server sent another range of {key} than was asked for"
                )
        elif offset or length is not None:
            reply.abandon()
            raise EntryError(EntryCode.IO_ERROR, key, "the server does not send ranges of an object")
        self.facts = replies.facts_of_headers(key, reply.headers, int(total))

    def __iter__(self) -> Iterator[Buffer]:
        try:
            yield from self._reply.chunks()
        except WireError as error:
            raise lost(error, self._key, "read") from error

    def __enter__(self) -> S3Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._reply.abandon()
