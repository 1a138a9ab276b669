"""The SFTP driver keeps every promise of the driver protocol, against OpenSSH."""

from __future__ import annotations

import os

import pytest
from runner_plugins.sftp.driver import DRIVER
from servers.serve_openssh import OpenSsh

from runner.locations.protocol import Location, OpenSettings
from runner.model.task import Durability, LocationSettings
from runner.testing.conformance import ConformanceSuite

pytestmark = pytest.mark.servers


class TestSftp(ConformanceSuite):
    driver = DRIVER

    @pytest.fixture(autouse=True)
    def _fresh_root(self, openssh: OpenSsh) -> None:
        self.server = openssh
        self.root = openssh.new_root()

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", "sftp", self.server.options(self.root), "/")


class TestSftpWrittenBehind(TestSftp):
    """As a program on the server that opens the file and writes: the inode stays."""

    def write_behind(self, path: str, content: bytes) -> None:
        file = self.root / path
        present = file.stat()
        file.write_bytes(content)
        os.utime(file, (present.st_atime, present.st_mtime + 5))


class TestSftpDurable(TestSftp):
    """fsync of files and folders changes no promise."""

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        settings = open_settings or OpenSettings(durability=Durability.FULL)
        return super().open(create=create, open_settings=settings)
