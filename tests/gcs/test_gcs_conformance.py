"""The conformance suite on locations of type gcs, against a real server."""

from __future__ import annotations

import pytest
from runner_plugins.gcs.driver import DRIVER
from servers.serve_fake_gcs import FakeGcs

from runner.model.task import LocationSettings
from runner.testing.conformance import ConformanceSuite

pytestmark = pytest.mark.servers


class TestGcs(ConformanceSuite):
    """A folder in a bucket."""

    driver = DRIVER
    root_is_made_on_first_write = False

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, fake_gcs: FakeGcs) -> None:
        self.options = fake_gcs.location(prefix="some/folder")
        self.type = self.options.pop("type")

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", self.type, self.options, "/")


class TestGcsRoot(ConformanceSuite):
    """A whole bucket, made on the first write."""

    driver = DRIVER

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, fake_gcs: FakeGcs, request: pytest.FixtureRequest) -> None:
        name = f"made-{abs(hash(request.node.nodeid)) % 10**15}"
        self.options = fake_gcs.location(bucket=name, create_bucket=True)
        self.type = self.options.pop("type")

    def settings(self) -> LocationSettings:
        return LocationSettings("tested", self.type, self.options, "/")
