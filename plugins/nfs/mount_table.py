"""The kernel's mount table: what is mounted where, from what (proc(5), /proc/PID/mountinfo)."""

from __future__ import annotations

import os
import re
from typing import NamedTuple

_ESCAPE = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """One line of the table. `folder` is the part of the file system that is mounted; "/" is all of it."""

    number: int
    folder: str
    point: str
    fs_type: str
    source: str
    options: tuple[str, ...]

    @property
    def full_source(self) -> str:
        """The source with the folder: what a bind mount of a part of it shows."""
        if self.folder == "/":
            return self.source
        return self.source.rstrip("/") + self.folder


def mount_of(fd: int) -> Mount | None:
    """The mount an open file lies on; None when it is no longer in the table (detached)."""
    number = mount_number(fd)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            if line.startswith(f"{number} "):
                return parsed(line)
    return None


def mount_number(fd: int) -> int:
    """The number of the mount an open file lies on; no other mount gets it while the file is open."""
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name == "mnt_id":
                return int(value)
    raise OSError("the kernel tells no mnt_id in fdinfo")


def parsed(line: str) -> Mount:
    """36 35 98:0 /folder /point rw,noatime shared:1 - nfs4 server:/export rw,vers=4.1"""
    fields = line.rstrip("\n").split(" ")
    separator = fields.index("-", 6)
    fs_type, source, *options = fields[separator + 1 :]
    return Mount(
        int(fields[0]),
        _plain(fields[3]),
        _plain(fields[4]),
        fs_type,
        _plain(source),
        tuple(options[0].split(",")) if options else (),
    )


def _plain(text: str) -> str:
    """Blanks, newlines and backslashes are octal escapes of bytes."""
    return _ESCAPE.sub(lambda match: os.fsdecode(bytes([int(match[1], 8)])), text)
