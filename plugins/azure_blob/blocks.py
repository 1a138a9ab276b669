"""Uploads in blocks: their ids, and the MD5 of the whole while they come in order.

Staged blocks wait, invisible, at the name of the blob that they will be. Each id begins with the upload's token, so
that two writers of one name never mix their blocks. The service drops what is not committed within a week.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
from collections.abc import Sequence

from runner.locations.protocol import Buffer

from ..objects.client import Part

MAX_EARLY = 4
"""Parts that arrived before their turn and are kept for the MD5 of the whole: those on their way at once."""


def new_token() -> str:
    return secrets.token_hex(8)


def block_id(token: str, number: int, md5: str) -> str:
    """The MD5 in it tells an upload that is taken up again what a block holds. All ids of a blob have to be of one
    length, 64 bytes at most."""
    return base64.b64encode(f"{token}-{number:06d}-{md5}".encode("ascii")).decode("ascii")


def part_of(token: str, block: str, size_bytes: int) -> Part | None:
    """The part that a staged block is; None for blocks of other uploads."""
    try:
        owner, number, md5 = base64.b64decode(block, validate=True).decode("ascii").split("-")
    except ValueError:
        return None
    if owner != token or not number.isdigit():
        return None
    return Part(int(number), md5, size_bytes)


def block_list(token: str, parts: Sequence[Part]) -> bytes:
    blocks = "".join(
        f"<Uncommitted>{block_id(token, part.number, part.etag)}</Uncommitted>" for part in parts
    )
    return f'<?xml version="1.0" encoding="utf-8"?><BlockList>{blocks}</BlockList>'.encode("ascii")


class RunningDigests:
    """The MD5 of each upload's content, put together from parts that come nearly in their order."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._uploads: dict[str, _Running] = {}

    def add(self, token: str, number: int, body: Buffer) -> None:
        with self._lock:
            running = self._uploads.setdefault(token, _Running())
        running.add(number, body)

    def take(self, token: str, count: int) -> bytes | None:
        """The digest after `count` blocks; None when it is not known. It is forgotten here."""
        with self._lock:
            running = self._uploads.pop(token, None)
        return None if running is None else running.digest(count)


class _Running:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._hash = hashlib.md5(usedforsecurity=False)
        self._next: int | None = 1
        self._early: dict[int, bytes] = {}

    def add(self, number: int, body: Buffer) -> None:
        with self._lock:
            if self._next is None:
                return
            if number != self._next:
                self._early[number] = bytes(body)
                if len(self._early) > MAX_EARLY:
                    # The parts before were sent by an execution that was interrupted: this one never sees them.
                    self._next = None
                    self._early.clear()
                return
            self._hash.update(body)
            self._next += 1
            while (waiting := self._early.pop(self._next, None)) is not None:
                self._hash.update(waiting)
                self._next += 1

    def digest(self, count: int) -> bytes | None:
        with self._lock:
            return self._hash.digest() if self._next == count + 1 else None
