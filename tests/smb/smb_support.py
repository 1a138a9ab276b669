"""What the tests of the SMB driver share: opening, small steps, security descriptors in words."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from typing import Any

from runner_plugins.smb.client import Client
from runner_plugins.smb.driver import SMB
from runner_plugins.smb.location import SmbLocation
from runner_plugins.smb.options import SmbOptions
from servers.serve_samba import Samba

from runner.locations.protocol import OpenSettings
from runner.model.entry import Attributes, Entry, Kind
from runner.model.task import LocationSettings

MTIME_NS = 1_700_000_000_123_456_700
EVERYTHING = OpenSettings(attributes=frozenset({"created_ns", "dos_attributes", "security", "sacl"}))
PLAIN = OpenSettings(attributes=frozenset())


class Unlimited:
    """A throttle that lets everything pass."""

    def take(self, size_bytes: int) -> None:
        pass


FREE = Unlimited()


@contextlib.contextmanager
def opened(
    settings: LocationSettings, open_settings: OpenSettings = PLAIN, *, create: bool = True
) -> Iterator[SmbLocation]:
    location = SMB.open(settings, open_settings, create=create)
    assert isinstance(location, SmbLocation)
    try:
        yield location
    finally:
        location.close()


@contextlib.contextmanager
def wired(samba: Samba, share: str = "plain", **options: Any) -> Iterator[Any]:
    """A connection below the driver, as another program has one."""
    client = Client(SmbOptions.of(samba.settings(share, path="", **options)))
    try:
        yield client.open()
    finally:
        client.close()


def file_entry(path: str, content: bytes, attributes: Attributes | None = None) -> Entry:
    return Entry(path, Kind.FILE, size_bytes=len(content), mtime_ns=MTIME_NS, attributes=attributes)


def put(
    location: SmbLocation, path: str, content: bytes = b"content", attributes: Attributes | None = None
) -> Entry:
    """A new file; its entry as `stat` gives it."""
    written = location.put(file_entry(path, content, attributes), [content], None, FREE)
    assert written.refused == ()
    return stated(location, path)


def stated(location: SmbLocation, path: str) -> Entry:
    entry = location.stat(path)
    assert entry is not None, f"nothing at {path!r}"
    return entry


def content_of(location: SmbLocation, path: str) -> bytes:
    return b"".join(bytes(chunk) for chunk in location.read(stated(location, path)))


def paths(location: SmbLocation) -> list[str]:
    return [found.path for found in location.scan()]


def sid(text: str) -> bytes:
    """S-1-5-32-544 in bytes."""
    parts = [int(part) for part in text.split("-")[1:]]
    return (
        bytes([parts[0], len(parts) - 2])
        + parts[1].to_bytes(6, "big")
        + b"".join(struct.pack("<I", part) for part in parts[2:])
    )


def ace(kind: int, flags: int, mask: int, who: str) -> bytes:
    return struct.pack("<BBHI", kind, flags, 8 + len(sid(who)), mask) + sid(who)


def descriptor(
    *,
    owner: str | None = None,
    group: str | None = None,
    dacl: list[bytes] | None = None,
    sacl: list[bytes] | None = None,
    control: int = 0,
    gap: bytes = b"",
    dacl_first: bool = False,
) -> bytes:
    """A self-relative descriptor as a server may give it: `gap` between its parts, the lists before the SIDs."""
    parts: list[tuple[int, bytes]] = []
    if owner is not None:
        parts.append((4, sid(owner)))
    if group is not None:
        parts.append((8, sid(group)))
    for offset, entries in ((12, sacl), (16, dacl)):
        if entries is not None:
            body = b"".join(entries)
            parts.append((offset, struct.pack("<BBHHH", 2, 0, 8 + len(body), len(entries), 0) + body))
    if dacl_first:
        parts.reverse()
    raw = bytearray(struct.pack("<BBHIIII", 1, 0, 0x8000 | control, 0, 0, 0, 0))
    for offset, part in parts:
        raw += gap
        raw[offset : offset + 4] = struct.pack("<I", len(raw))
        raw += part
    return bytes(raw)
