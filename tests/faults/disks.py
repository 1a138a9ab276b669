"""File systems of their own in an image file, and the end of their power supply.

XFS and ext4 are shut down where they stand (ioctl XFS_IOC_GOINGDOWN, EXT4_IOC_SHUTDOWN), in two forms: what the
journal holds in memory is lost, or is written while data is lost. btrfs knows no such call: its image is copied at
that instant, and the copy is what the machine finds when it starts again.

Only for root, and only in a mount namespace of its own (unshare -m): the mounts vanish with the process.
"""

from __future__ import annotations

import enum
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_GOING_DOWN = 0x8004587D  # _IOR('X', 125, __u32), linux/fs/xfs/libxfs/xfs_fs.h and fs/ext4/ext4.h
_FORMAT = {
    "xfs": (320 << 20, ["mkfs.xfs", "-q", "-f"]),
    "ext4": (96 << 20, ["mkfs.ext4", "-q", "-F"]),
    "btrfs": (256 << 20, ["mkfs.btrfs", "-q", "-f"]),
}


class Form(enum.Enum):
    """What a power cut takes: `JOURNAL_LOST` everything that is not flushed; `JOURNAL_KEPT` data that is not flushed,
    while the journal's metadata arrives; `COPIED`: the image as it is."""

    JOURNAL_LOST = 2
    JOURNAL_KEPT = 1
    COPIED = 0


class Cut(NamedTuple):
    """A file system, how it is mounted, and the form of its power cut."""

    system: str
    form: Form
    options: str = "loop"

    def __str__(self) -> str:
        mounted = self.options.removeprefix("loop").removeprefix(",")
        return "-".join(filter(None, (self.system, self.form.name.lower(), mounted)))


CUTS = (
    Cut("xfs", Form.JOURNAL_LOST),
    Cut("xfs", Form.JOURNAL_KEPT),
    Cut("ext4", Form.JOURNAL_LOST),
    Cut("ext4", Form.JOURNAL_KEPT),
    # As other file systems are: without the kernel's own help for programs that forget to flush.
    Cut("ext4", Form.JOURNAL_KEPT, "loop,noauto_da_alloc"),
    Cut("btrfs", Form.COPIED),
)


def missing_programs() -> list[str]:
    """What has to be installed for it."""
    needed = {"mkfs.xfs": "xfsprogs", "mkfs.btrfs": "btrfs-progs", "mkfs.ext4": "e2fsprogs", "mount": "mount"}
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    return [package for program, package in needed.items() if shutil.which(program, path=path) is None]


class NotMountedError(Exception):
    """Nothing can be mounted on this machine."""


class Disk:
    """A mounted file system in a folder. A context manager."""

    def __init__(self, cut: Cut, folder: Path) -> None:
        self.mount = folder / "mounted"
        self._cut = cut
        self._image = folder / "image"
        self._copy = folder / "image.copy"
        self.mount.mkdir(parents=True)
        size, command = _FORMAT[cut.system]
        with open(self._image, "wb") as image:
            image.truncate(size)
        _run([*command, str(self._image)])
        try:
            self._mounted()
        except RuntimeError as error:
            raise NotMountedError(str(error)) from error

    def __enter__(self) -> Disk:
        return self

    def __exit__(self, *_: object) -> None:
        _run(["umount", str(self.mount)])

    def flush(self) -> None:
        """All that was written so far is on the disk."""
        _run(["sync", "-f", str(self.mount)])

    def cut_power(self) -> None:
        """Now. Nothing that is still in memory reaches the disk any more."""
        if self._cut.form is Form.COPIED:
            _run(["cp", "--sparse=always", str(self._image), str(self._copy)])
            return
        root = os.open(self.mount, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(root, _GOING_DOWN, struct.pack("I", self._cut.form.value))
        finally:
            os.close(root)

    def start_again(self) -> None:
        """As after the power came back. Nobody may have a file open there."""
        _run(["umount", str(self.mount)])
        if self._cut.form is Form.COPIED:
            os.replace(self._copy, self._image)
        self._mounted()

    def _mounted(self) -> None:
        _run(["mount", "-t", self._cut.system, "-o", self._cut.options, str(self._image), str(self.mount)])


def _run(command: Sequence[str]) -> None:
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
