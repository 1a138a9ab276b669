"""Small steps, and a stand-in for kernel mounts of NFS and Lustre: a tmpfs whose source reads as theirs does."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner_plugins.nfs.driver import NFS

from runner.locations.protocol import Location, OpenSettings
from runner.model.entry import Entry
from runner.model.task import LocationSettings
from runner.testing.conformance_base import Meter

SOURCE = "nas.example.org:/exports/projects"


class StandIn:
    """A tmpfs at `point`, mounted from `source` as far as the mount table tells."""

    def __init__(self, point: Path, source: str = SOURCE) -> None:
        self.point = point
        self.source = source
        point.mkdir(parents=True, exist_ok=True)

    def mount(self, *, bind: Path | None = None) -> None:
        what = ["--bind", str(bind)] if bind else ["-t", "tmpfs", "-o", "size=64m", self.source]
        subprocess.run(["mount", *what, str(self.point)], check=True)

    def unmount(self) -> None:
        """Also while it is in use, as an administrator in a hurry does."""
        subprocess.run(["umount", "-l", str(self.point)], check=True)

    def settings(self, **options: Any) -> LocationSettings:
        return mounted_settings(self.point, **options)


def mounted_settings(point: Path, location_type: str = "nfs", **options: Any) -> LocationSettings:
    """Settings of a location over a stand-in."""
    chosen = {"mounted_at": str(point), "fs_types": ["tmpfs"], **options}
    if location_type == "nfs":
        chosen = {"server": "nas.example.org", "export": "/exports/projects", **chosen}
    return LocationSettings("tested", location_type, chosen, "/")


@contextlib.contextmanager
def mounted(point: Path, source: str = SOURCE) -> Iterator[StandIn]:
    stand_in = StandIn(point, source)
    stand_in.mount()
    try:
        yield stand_in
    finally:
        while point.is_mount():
            stand_in.unmount()


EVERYTHING = frozenset({"mode", "uid", "gid", "atime_ns", "device"})
FREE = Meter()


@contextlib.contextmanager
def opened(
    settings: LocationSettings, open_settings: OpenSettings | None = None, *, create: bool = True
) -> Iterator[Any]:
    """An open location. `Any`: tests use roles that the protocol's Location does not name."""
    location = NFS.open(settings, open_settings or OpenSettings(attributes=EVERYTHING), create=create)
    try:
        yield location
    finally:
        location.close()


def paths(location: Location) -> list[str]:
    """Everything a scan lists below the root; a problem fails the test."""
    found = list(location.scan())
    assert all(isinstance(one, Entry) for one in found), found
    return [one.path for one in found if one.path]


def names_in(folder: Path) -> list[str]:
    """What really lies in a folder of the server, temporary names too."""
    return sorted(
        os.path.relpath(os.path.join(top, name), folder)
        for top, folders, files in os.walk(folder)
        for name in folders + files
    )
