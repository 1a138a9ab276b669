"""The conformance suite on locations of type azure_blob, against a real server."""

from __future__ import annotations

import pytest
from runner_plugins.azure_blob.driver import DRIVER
from servers.serve_azurite import Azurite

from runner.model.task import LocationSettings
from runner.testing.conformance import ConformanceSuite

pytestmark = pytest.mark.servers


class TestAzureBlob(ConformanceSuite):
    """A folder in a container."""

    driver = DRIVER
    root_is_made_on_first_write = False

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, azurite: Azurite) -> None:
        self.options = azurite.location(prefix="some/folder")
        self.type = self.options.pop("type")

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", self.type, self.options, "/")


class TestAzureBlobRoot(ConformanceSuite):
    """A whole container, made on the first write."""

    driver = DRIVER

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, azurite: Azurite, request: pytest.FixtureRequest) -> None:
        name = f"made-{abs(hash(request.node.nodeid)) % 10**15}"
        self.options = azurite.location(container=name, create_container=True)
        self.type = self.options.pop("type")

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", self.type, self.options, "/")
