"""A stand-in for kernel mounts of NFS and Lustre: a tmpfs whose source reads as theirs does."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runner.model.task import LocationSettings

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
