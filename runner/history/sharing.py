"""Whether other hosts may have a folder's file system mounted, too: then this host's kernel does not see their locks."""

from __future__ import annotations

import os
from collections.abc import Iterable

_OF_ONE_HOST = frozenset(
    {
        "btrfs",
        "exfat",
        "ext2",
        "ext3",
        "ext4",
        "f2fs",
        "jfs",
        "ntfs3",
        "overlay",
        "tmpfs",
        "vfat",
        "xfs",
        "zfs",
    }
)


def may_be_shared(folder: str) -> bool:
    """False only for types of file system that one host alone mounts; others, and unknown ones, may be shared."""
    try:
        device = os.stat(folder).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
            kind = type_of_mount(os.path.realpath(folder), f"{os.major(device)}:{os.minor(device)}", mounts)
    except OSError:
        return True
    return kind not in _OF_ONE_HOST


def type_of_mount(path: str, device: str, mounts: Iterable[str]) -> str | None:
    """The type of the file system that holds `path`, from lines as in /proc/self/mountinfo (proc(5)); None = not found.

    `device` is major:minor. A btrfs subvolume has a number that no mount shows: then the place alone decides.
    """
    found: str | None = None
    highest = (False, -1)
    for line in mounts:
        fields = line.split()
        if "-" not in fields:
            continue
        point = fields[4].replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\")
        rank = (fields[2] == device, len(point))
        if (path == point or path.startswith(point.rstrip("/") + "/")) and rank >= highest:
            highest, found = rank, fields[fields.index("-") + 1]
    return found
