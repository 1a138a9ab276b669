"""A mount that is proved: found at a place, or made for as long as a location is open."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import tempfile

from runner.errors import LocationUnavailableError

from ..local.faults import shown
from ..local.syscalls import release
from .mount_table import Mount, mount_number, mount_of
from .sources import Expected

_FLAGS = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_DETACH, _NOFOLLOW = 2, 8  # umount2(2): MNT_DETACH, UMOUNT_NOFOLLOW
_SYSTEM_FOLDERS = "/usr/sbin:/sbin:/usr/bin:/bin"
_MOUNT_SECONDS = 120


class MountGone(Exception):
    """The mount is not, or no longer, the one that was proved; the message says why."""


class ProvedMount:
    """A folder of a mount, held open: paths below it lead into that mount and nowhere else, whatever is mounted or
    unmounted meanwhile. `check` tells whether it still stands where it stood."""

    def __init__(self, fd: int, mount: Mount, point: str | None) -> None:
        """`point`: where it has to stay; None for a mount that only this object can reach."""
        self.fd = fd
        self.mount = mount
        self.point = point
        facts = os.fstat(fd)
        self._device, self._inode = facts.st_dev, facts.st_ino
        self._left_mounted: str | None = None

    @property
    def path(self) -> str:
        """A path of this folder that no mount or unmount leads elsewhere."""
        return f"/proc/self/fd/{self.fd}"

    def check(self) -> None:
        """Raises MountGone."""
        if self.point is None:
            return
        try:
            fd = os.open(self.point, _FLAGS)
        except OSError as error:
            raise MountGone(f"{shown(self.point)} cannot be opened: {error.strerror}") from error
        try:
            facts = os.fstat(fd)
            if mount_number(fd) != self.mount.number or (facts.st_dev, facts.st_ino) != (
                self._device,
                self._inode,
            ):
                raise MountGone(
                    f"{shown(self.point)} is no longer the mount it was: it was unmounted or mounted anew"
                )
        finally:
            release(fd)

    def unmount_at_close(self, point: str) -> None:
        self._left_mounted = point

    def close(self) -> None:
        """Closing twice is harmless."""
        fd, self.fd = self.fd, -1
        if fd >= 0:
            release(fd)
        point, self._left_mounted = self._left_mounted, None
        if point is not None:
            _detach(point)
            _remove_folder(point)


def find_mount(point: str, expected: Expected) -> ProvedMount:
    """The mount at `point`, proved. Raises LocationUnavailableError with the command that mounts it."""
    remedy = f"Mount it, then run again: {expected.shown_command(point)}"
    try:
        fd = os.open(point, _FLAGS)
    except OSError as error:
        raise LocationUnavailableError(
            f"{expected.sources[0]} is not mounted at {shown(point)}: {error.strerror}", remedy=remedy
        ) from error
    try:
        mount = mount_of(fd)
        if mount is None or os.readlink(f"/proc/self/fd/{fd}") != mount.point:
            raise LocationUnavailableError(
                f"{expected.sources[0]} is not mounted at {shown(point)}: nothing is mounted there",
                remedy=remedy,
            )
        reason = expected.difference(mount)
        if reason is not None:
            raise LocationUnavailableError(
                f"{expected.sources[0]} is not mounted at {shown(point)}: {reason}",
                remedy="Correct the location's options, or what is mounted: " + expected.shown_command(point),
            )
        return ProvedMount(fd, mount, point)
    except BaseException:
        release(fd)
        raise


def make_mount(expected: Expected, program: str | None = None) -> ProvedMount:
    """Mount it at a private place. Raises LocationUnavailableError.

    The mount is taken out of the tree again at once and lives on in the open folder alone: nobody else sees it, and
    it ends with this process, however that ends. A tunnel's mount stays in the tree until `close`: its watchdog ends
    tunnels whose mounts it does not see.
    """
    if os.geteuid() != 0:
        raise LocationUnavailableError(
            f"mounting {expected.sources[0]} needs root",
            remedy="Run as root, or have it mounted and set `mounted_at`: "
            + expected.shown_command("/mnt/folder"),
        )
    program = program or shutil.which("mount", path=_SYSTEM_FOLDERS)
    if program is None:
        raise LocationUnavailableError(
            "there is no `mount` command here", remedy="Install it: apt install mount"
        )
    point = tempfile.mkdtemp(prefix="sync-runner-mount-")
    try:
        _run_mount([program, *expected.command(point)[1:]], expected)
        try:
            proved = find_mount(point, expected)
        except BaseException:
            _detach(point)
            raise
        proved.point = None
        if expected.tunnel_to is None:
            _detach(point)
        else:
            proved.unmount_at_close(point)
            return proved
    except BaseException:
        _remove_folder(point)
        raise
    _remove_folder(point)
    return proved


def _run_mount(argv: list[str], expected: Expected) -> None:
    what = f"cannot mount {expected.sources[0]}"
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_MOUNT_SECONDS,
            env={"PATH": _SYSTEM_FOLDERS, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise LocationUnavailableError(f"{what}: no answer within {_MOUNT_SECONDS} seconds") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())[:500]
        raise LocationUnavailableError(
            f"{what}: {shown(said) if said else f'exit code {done.returncode}'}",
            remedy=f"The type {expected.helper} needs its mount helper (package {expected.package}) and the kernel's "
            "support; then check the server's address and whom it lets mount.",
        )


def _detach(point: str) -> None:
    library = ctypes.CDLL(None, use_errno=True)
    library.umount2(os.fsencode(point), _DETACH | _NOFOLLOW)


def _remove_folder(point: str) -> None:
    # rmdir, not more: should the unmounting have failed, everything in it belongs to the server.
    with contextlib.suppress(OSError):
        os.rmdir(point)
