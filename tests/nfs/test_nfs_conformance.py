"""The conformance suite over a real server, without a mount."""

from __future__ import annotations

from pathlib import Path

import pytest
from runner_plugins.nfs.driver import NFS
from servers.serve_ganesha import Ganesha

from runner.model.task import LocationSettings
from runner.testing.conformance import ConformanceSuite

pytestmark = [pytest.mark.servers, pytest.mark.root]


class TestNfsWithoutAMount(ConformanceSuite):
    driver = NFS

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, ganesha: Ganesha) -> None:
        self.ganesha = ganesha
        self.location_settings = ganesha.settings()

    def settings(self) -> LocationSettings:
        return self.location_settings

    @property
    def folder(self) -> Path:
        return self.ganesha.folder_of(self.location_settings)
