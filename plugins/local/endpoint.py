"""What tells this endpoint from another at the same path, and how much room it has."""

from __future__ import annotations

import os

from runner.locations.protocol import Identity, Space

_STABLE_IDS = frozenset({"ext2", "ext3", "ext4", "btrfs"})
"""File systems whose statvfs id comes from their UUID; others derive it from the device or the mount."""


def identity_of(fd: int) -> Identity:
    """File-system type, where it is mounted, and what: its own id where that is stable, else what it is mounted from.

    A device's name is no such id: after a restart, or at another port, the same disk has another one. `fd` is the root,
    or its nearest existing parent. From /proc/self/mountinfo (proc(5)) by the mount's own id, for device numbers are
    ambiguous on btrfs and overlay.
    """
    mount_id = _mount_id(fd)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as mounts:
        for line in mounts:
            fields = line.split()
            if fields[0] != mount_id:
                continue
            separator = fields.index("-")
            file_system, source = fields[separator + 1], _plain(fields[separator + 2])
            facts = [("file system", file_system)]
            if file_system in _STABLE_IDS:
                facts.append(("file system id", f"{os.fstatvfs(fd).f_fsid:x}"))
            else:
                facts.append(("device", source))
            facts.append(("mounted at", _plain(fields[4])))
            if fields[3] != "/":
                facts.append(("folder of the device", _plain(fields[3])))
            return Identity(tuple(facts))
    return Identity((("device number", str(os.fstat(fd).st_dev)),))


def _mount_id(fd: int) -> str | None:
    with open(f"/proc/self/fdinfo/{fd}", encoding="ascii") as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name == "mnt_id":
                return value.strip()
    return None


def _plain(text: str) -> str:
    """mountinfo writes blanks and backslashes as octal escapes."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def space_of(fd: int) -> Space:
    """Room for this user. File systems that make inodes as needed report none in all: unknown."""
    facts = os.fstatvfs(fd)
    return Space(
        free_bytes=facts.f_bavail * facts.f_frsize,
        free_entries=facts.f_favail if facts.f_files else None,
    )


def open_nearest(path: str) -> int:
    """A handle of the directory at `path`, or of its nearest parent that exists. The caller closes it."""
    while True:
        try:
            return os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            parent = os.path.dirname(path)
            if parent == path:
                raise
            path = parent
