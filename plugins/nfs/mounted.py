"""A location over a mount: the local driver below a folder whose mount is proved, before and after each step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator

import msgspec

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.locations.protocol import (
    Buffer,
    Capabilities,
    Identity,
    Location,
    OpenSettings,
    Space,
    Throttle,
    Written,
)
from runner.model.entry import Entry, Problem

from ..local.location import LocalLocation
from .mount_table import mount_number
from .mounting import MountGone, ProvedMount

_FOLDERS_KEPT_OPEN = 24
"""For each of many location objects: descriptors are few."""


class MountedLocation(LocalLocation):
    """The local driver, with the mount proved anew around everything that is decided or written.

    A lock is not offered: flock(2) on a folder fails over NFS, and holds on one machine only elsewhere.
    """

    lock = None  # type: ignore[assignment]  # how a protocol's role is withdrawn

    def __init__(
        self,
        proved: ProvedMount,
        path: str,
        settings: OpenSettings,
        capabilities: Capabilities,
        *,
        create: bool,
        token: str,
    ) -> None:
        """`path`: the root below the mount. Takes `proved` over. Raises LocationUnavailableError."""
        self._proved = proved
        self._step_ns = capabilities.mtime_resolution_ns or 1
        self._root_proved = False
        inside = proved.path
        try:
            super().__init__(
                f"{inside}/{path or '.'}",
                settings,
                capabilities,
                create=create,
                token=token,
                folders_kept_open=_FOLDERS_KEPT_OPEN,
            )
            self._check()
        except LocationUnavailableError as error:
            self.close()
            # The path below /proc says nothing to people.
            where = f"{proved.mount.source} ({proved.point or 'mounted for this run'})"
            message = error.message.replace(inside, where)
            raise LocationUnavailableError(message, remedy=error.remedy) from error
        except MountGone as error:
            self.close()
            raise LocationUnavailableError(str(error)) from error
        except BaseException:
            self.close()
            raise

    # Location

    def scan(
        self, prefix: str = "", descend: Callable[[Entry], bool] | None = None
    ) -> Iterator[Entry | Problem]:
        """Raises LocationUnavailableError when the mount goes, also in the middle: what was listed says nothing."""
        try:
            self._check()
            for found in super().scan(prefix, descend):
                if isinstance(found, Problem) or found.is_directory:
                    self._check()
                yield found
            self._check()
        except MountGone as error:
            raise LocationUnavailableError(
                f"the mount went away while it was listed: {error}", remedy="Mount it, then run again."
            ) from error

    def stat(self, path: str) -> Entry | None:
        with self._mounted(path):
            return super().stat(path)

    def read(self, entry: Entry, offset: int = 0) -> Iterator[Buffer]:
        with self._mounted(entry.path):
            yield from super().read(entry, offset)

    def put(
        self, entry: Entry, content: Iterable[Buffer] | None, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        with self._mounted(entry.path):
            return super().put(self._storable(entry), content, replaces, throttle)

    def remove(self, entry: Entry) -> None:
        with self._mounted(entry.path):
            super().remove(entry)

    def close(self) -> None:
        if hasattr(self, "_lock_fd"):  # the base was opened
            super().close()
        self._proved.close()

    # Roles

    def set_attributes(self, entry: Entry, expected: Entry | None) -> Written:
        with self._mounted(entry.path):
            return super().set_attributes(self._storable(entry), expected)

    def link(self, path: str, target: str, replaces: Entry | None) -> None:
        with self._mounted(path):
            super().link(path, target, replaces)

    def copy(
        self, source: Location, entry: Entry, target: Entry, replaces: Entry | None, throttle: Throttle
    ) -> Written:
        with self._mounted(target.path):
            return super().copy(source, entry, self._storable(target), replaces, throttle)

    def rename(self, entry: Entry, path: str) -> None:
        with self._mounted(entry.path):
            super().rename(entry, path)

    def remove_leftover(self, path: str) -> None:
        with self._mounted(path):
            super().remove_leftover(path)

    def identity(self) -> Identity:
        """What is mounted, where, and which folder of it."""
        with self._mounted(""):
            mount = self._proved.mount
            facts = [("file system", mount.fs_type), ("device", mount.full_source)]
            if self._proved.point is not None:
                facts.append(("mounted at", self._proved.point))
            return Identity(tuple(facts))

    def space(self) -> Space:
        with self._mounted(""):
            return super().space()

    # Steps

    def _check(self) -> None:
        """Raises MountGone when the mount is not where it was, or the root lies on another one."""
        self._proved.check()
        if not self._root_proved:
            root_fd = self._handles.root_fd
            if root_fd is None:
                return
            if mount_number(root_fd) != self._proved.mount.number:
                raise MountGone(
                    f"the location's path leads from {self._proved.mount.source} to another file system; name where "
                    "that one is mounted"
                )
            self._root_proved = True

    @contextlib.contextmanager
    def _mounted(self, path: str) -> Generator[None]:
        """Before, and after whatever came of it. UNAVAILABLE, and the execution stops, when the mount is gone."""
        try:
            self._check()
            try:
                yield
            except EntryError:
                self._check()
                raise
            self._check()
        except MountGone as error:
            raise EntryError(
                EntryCode.UNAVAILABLE,
                path,
                f"{error}. Mount it, then run again",
                disposition=Disposition.ABORT,
            ) from error

    def _storable(self, entry: Entry) -> Entry:
        """The entry with its time cut to what the file system keeps."""
        mtime_ns = entry.mtime_ns
        if self._step_ns == 1 or mtime_ns is None or mtime_ns % self._step_ns == 0:
            return entry
        return msgspec.structs.replace(entry, mtime_ns=mtime_ns - mtime_ns % self._step_ns)
