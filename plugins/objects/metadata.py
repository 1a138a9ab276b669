"""POSIX metadata in user metadata, as AWS DataSync, File Gateway and FSx for Lustre keep it.

Keys: file-permissions (octal st_mode), file-owner, file-group, file-mtime, file-atime. Times are written as
`1595002920000000000ns`; read are also DataSync's `seconds/nanoseconds` and its epoch milliseconds, and rclone's own
key `mtime` (`seconds.fraction`). A symbolic link is an object whose file-permissions say so and whose content is the
link's text. Names of one hard-linked file carry the same sync-runner-link.
"""

from __future__ import annotations

import hashlib
import re
import stat

import msgspec

from runner.model.entry import Attributes, Entry, Kind

from .client import Description, ObjectFacts, Pairs

MAX_LINK_BYTES = 4096
_NANOSECONDS = re.compile(r"(-?[0-9]{1,19})ns")
_SPLIT = re.compile(r"(-?[0-9]{1,12})/([0-9]{1,9})")
_MILLISECONDS = re.compile(r"-?[0-9]{1,16}")
_RCLONE = re.compile(r"(-?)([0-9]{1,12})(?:\.([0-9]{1,9})[0-9]*)?")
_OCTAL = re.compile(r"0?[0-7]{1,7}")
_TYPES = {Kind.FILE: stat.S_IFREG, Kind.DIRECTORY: stat.S_IFDIR, Kind.SYMLINK: stat.S_IFLNK}


class Names(msgspec.Struct, frozen=True):
    """The user-metadata keys; services that allow no hyphens in them use underscores."""

    permissions: str = "file-permissions"
    owner: str = "file-owner"
    group: str = "file-group"
    mtime: str = "file-mtime"
    atime: str = "file-atime"
    link: str = "sync-runner-link"
    rclone_mtime: str = "mtime"

    @property
    def ours(self) -> frozenset[str]:
        return frozenset(
            {self.permissions, self.owner, self.group, self.mtime, self.atime, self.link, self.rclone_mtime}
        )


HYPHENS = Names()
UNDERSCORES = Names(
    *(name.replace("-", "_") for name in msgspec.structs.astuple(HYPHENS)),
)


def parse_time(text: str | None) -> int | None:
    """DataSync's three forms in nanoseconds since 1970; None for anything else."""
    if text is None:
        return None
    if match := _NANOSECONDS.fullmatch(text):
        return int(match[1])
    if match := _SPLIT.fullmatch(text):
        return int(match[1]) * 1_000_000_000 + int(match[2])
    if _MILLISECONDS.fullmatch(text):
        return int(text) * 1_000_000
    return None


def parse_rclone_time(text: str | None) -> int | None:
    """`1595002920.123456789` in nanoseconds since 1970."""
    match = _RCLONE.fullmatch(text or "")
    if match is None:
        return None
    value = int(match[2]) * 1_000_000_000 + int((match[3] or "0").ljust(9, "0"))
    return -value if match[1] else value


class Posix(msgspec.Struct, frozen=True):
    """What the POSIX keys of one object say; None = nothing, or nothing that can be understood."""

    kind: Kind | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    user: str | None = None
    group: str | None = None
    mtime_ns: int | None = None
    atime_ns: int | None = None
    link: str | None = None


_NOTHING = Posix()


def posix_of(metadata: Pairs | None, names: Names) -> Posix:
    """The POSIX metadata among user metadata."""
    if not metadata:
        return _NOTHING
    held = dict(metadata)
    mode = None
    kind = None
    permissions = held.get(names.permissions)
    if permissions is not None and _OCTAL.fullmatch(permissions):
        bits = int(permissions, 8)
        mode = bits & 0o7777
        kind = Kind.SYMLINK if stat.S_IFMT(bits) == stat.S_IFLNK else None
    uid, user = _owner(held.get(names.owner))
    gid, group = _owner(held.get(names.group))
    mtime_ns = parse_time(held.get(names.mtime))
    if mtime_ns is None:
        mtime_ns = parse_rclone_time(held.get(names.rclone_mtime))
    return Posix(
        kind, mode, uid, gid, user, group, mtime_ns, parse_time(held.get(names.atime)), held.get(names.link)
    )


def _owner(text: str | None) -> tuple[int | None, str | None]:
    """An owner is a number, or (from HDFS) a name."""
    if not text:
        return None, None
    return (int(text), None) if text.isascii() and text.isdigit() and len(text) <= 10 else (None, text)


def attributes_of(
    facts: ObjectFacts, posix: Posix, wanted: frozenset[str], names: Names
) -> Attributes | None:
    """The wanted fields; None when nothing is wanted."""
    if not wanted:
        return None
    user_metadata = None
    if "user_metadata" in wanted and facts.metadata is not None:
        ours = names.ours
        user_metadata = tuple(pair for pair in facts.metadata if pair[0] not in ours)
    link = posix.kind is Kind.SYMLINK
    return Attributes(
        mode=posix.mode if "mode" in wanted and not link else None,
        uid=posix.uid if "uid" in wanted else None,
        gid=posix.gid if "gid" in wanted else None,
        user=posix.user if "user" in wanted else None,
        group=posix.group if "group" in wanted else None,
        atime_ns=posix.atime_ns if "atime_ns" in wanted else None,
        tags=facts.tags if "tags" in wanted else None,
        content_headers=facts.headers if "content_headers" in wanted else None,
        user_metadata=user_metadata,
    )


def description_of(
    entry: Entry, link: str | None, names: Names, *, posix: bool, standing: ObjectFacts | None = None
) -> Description:
    """What an object for `entry` carries. What the entry leaves open stays as at `standing`, where that is given."""
    attributes = entry.attributes or Attributes()
    held = dict(standing.metadata or ()) if standing is not None else {}
    if attributes.user_metadata is not None:
        ours = names.ours
        held = {name: value for name, value in held.items() if name in ours}
        held.update((name, value) for name, value in attributes.user_metadata if name not in ours)
    if posix:
        if entry.kind is Kind.SYMLINK:
            held[names.permissions] = "0120777"
        elif attributes.mode is not None:
            held[names.permissions] = f"0{_TYPES[entry.kind] | attributes.mode:o}"
        for name, number, text in (
            (names.owner, attributes.uid, attributes.user),
            (names.group, attributes.gid, attributes.group),
        ):
            if number is not None or text is not None:
                held[name] = str(number) if number is not None else str(text)
        if entry.mtime_ns is not None:
            held[names.mtime] = f"{entry.mtime_ns}ns"
        if attributes.atime_ns is not None:
            held[names.atime] = f"{attributes.atime_ns}ns"
        if link is not None:
            held[names.link] = link
    headers = attributes.content_headers
    if headers is None:
        headers = standing.headers if standing is not None else ()
    return Description(tuple(sorted(held.items())), headers or (), attributes.tags)


def link_group_of(facts: ObjectFacts, posix: Posix, names: Names) -> str | None:
    """The hard-link group of an object: what it carries, and whatever all names of one file share.

    A member whose content or metadata became another one falls out of its group by that. Content is told by its MD5
    where the service knows it (Azure, GCS: each of their etags is another one), by the etag where that is the MD5 (S3).
    """
    if posix.link is None:
        return None
    # Some servers add rclone's time on their own, to each object another.
    counts = names.ours - {names.atime, names.rclone_mtime}
    shared = [pair for pair in facts.metadata or () if pair[0] in counts]
    content = dict(facts.digests or ()).get("md5") or facts.etag
    digest = hashlib.blake2b(
        repr((content, facts.size_bytes, shared)).encode("utf-8", "replace"), digest_size=8
    )
    return f"{posix.link}.{digest.hexdigest()}"
