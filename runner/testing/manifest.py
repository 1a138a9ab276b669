"""An independent judge: what a real folder holds, byte by byte, by code that no driver shares."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Row:
    """One path. `hard_link_of` is the group's first path in byte order; None when the file has one name.

    `xattrs` include system.posix_acl_*; `kind` is the letter `ls -l` shows.
    """

    kind: str
    mode: int
    uid: int
    gid: int
    size: int
    sha256: str | None
    link_target: bytes | None
    hard_link_of: bytes | None
    mtime_ns: int
    xattrs: tuple[tuple[bytes, bytes], ...]
    device: int


def manifest(path: str, *, folder_times: bool = True) -> dict[bytes, Row]:
    """Every path below `path` (b"" is the folder itself), relative, as bytes; directories without a slash.

    `folder_times=False` puts 0 for the mtime of directories. Never follows a link; opens regular files only;
    deeper than PATH_MAX is no obstacle. Raises OSError for whatever cannot be read. Holds all rows in memory.
    """
    top = os.fsencode(path)
    rows: dict[bytes, Row] = {}
    inodes: dict[tuple[int, int], list[bytes]] = {}
    for folder, directories, files, handle in os.fwalk(top, onerror=_raise):
        relative = folder[len(top) :].lstrip(b"/")
        if not relative:
            rows[b""] = _row(b".", handle)
        for name in (*directories, *files):
            full = relative + b"/" + name if relative else name
            rows[full] = _row(name, handle)
            status = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if not stat.S_ISDIR(status.st_mode) and status.st_nlink > 1:
                inodes.setdefault((status.st_dev, status.st_ino), []).append(full)
    for group in inodes.values():
        if len(group) > 1:
            for full in group:
                rows[full] = replace(rows[full], hard_link_of=min(group))
    if not folder_times:
        rows = {full: replace(row, mtime_ns=0) if row.kind == "d" else row for full, row in rows.items()}
    return dict(sorted(rows.items()))


def _raise(error: OSError) -> None:
    raise error


def _row(name: bytes, handle: int) -> Row:
    status = os.stat(name, dir_fd=handle, follow_symlinks=False)
    is_file = stat.S_ISREG(status.st_mode)
    is_link = stat.S_ISLNK(status.st_mode)
    return Row(
        kind=stat.filemode(status.st_mode)[0],
        mode=stat.S_IMODE(status.st_mode),
        uid=status.st_uid,
        gid=status.st_gid,
        size=status.st_size if is_file else 0,
        sha256=_sha256(name, handle) if is_file else None,
        link_target=os.readlink(name, dir_fd=handle) if is_link else None,
        hard_link_of=None,
        mtime_ns=status.st_mtime_ns,
        xattrs=_xattrs(name, handle),
        device=status.st_rdev,
    )


def _sha256(name: bytes, handle: int) -> str:
    descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=handle)
    with os.fdopen(descriptor, "rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


def _xattrs(name: bytes, handle: int) -> tuple[tuple[bytes, bytes], ...]:
    # The xattr calls take no dir_fd; the kernel's own link to the handle is a short path to it.
    path = b"/proc/self/fd/%d/%s" % (handle, name)
    names = os.listxattr(path, follow_symlinks=False)
    pairs = ((os.fsencode(one), os.getxattr(path, one, follow_symlinks=False)) for one in names)
    return tuple(sorted(pairs))
