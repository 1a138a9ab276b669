"""The local driver keeps every promise of the driver protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.locations.protocol import Location, OpenSettings
from runner.model.task import Durability, LocationSettings
from runner.testing.conformance import ConformanceSuite
from runner_plugins.local.driver import DRIVER


class TestLocal(ConformanceSuite):
    driver = DRIVER

    @pytest.fixture(autouse=True)
    def _fresh_root(self, tmp_path: Path) -> None:
        self.root = tmp_path / "root"

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", "local", {"path": str(self.root)}, "/")


class TestLocalWrittenInPlaceBehind(TestLocal):
    """As a program that opens the file and writes: the inode stays."""

    def write_behind(self, path: str, content: bytes) -> None:
        (self.root / path).write_bytes(content)


class TestLocalDurable(TestLocal):
    """fsync of files and folders changes no promise."""

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        settings = open_settings or OpenSettings(durability=Durability.FULL)
        return super().open(create=create, open_settings=settings)
