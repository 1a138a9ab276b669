"""The local driver keeps every promise of the driver protocol."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from runner_plugins.local.driver import DRIVER

from runner.locations.protocol import Location, OpenSettings
from runner.model.task import Durability, LocationSettings
from runner.testing.conformance import ConformanceSuite

NOBODY = 65534


class TestLocal(ConformanceSuite):
    driver = DRIVER

    @pytest.fixture(autouse=True)
    def _fresh_root(self, tmp_path: Path) -> Iterator[None]:
        self.root = tmp_path / "root"
        user = os.geteuid()
        yield
        os.seteuid(user)

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", "local", {"path": str(self.root)}, "/")

    def make_unlistable(self, path: str) -> bool:
        os.chmod(self.root, 0o755)
        os.chmod(self.root / path, 0o000)
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
        return True


class TestLocalWrittenInPlaceBehind(TestLocal):
    """As a program that opens the file and writes: the inode stays."""

    def write_behind(self, path: str, content: bytes) -> None:
        (self.root / path).write_bytes(content)


class TestLocalDurable(TestLocal):
    """fsync of files and folders changes no promise."""

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        settings = open_settings or OpenSettings(durability=Durability.FULL)
        return super().open(create=create, open_settings=settings)
