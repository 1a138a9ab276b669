"""The conformance suite on a real NameNode and DataNode, through both transports."""

from __future__ import annotations

from typing import ClassVar

import pytest
from runner_plugins.hdfs.driver import DRIVER
from servers.serve_hdfs import Hdfs

from runner.model.task import LocationSettings
from runner.testing.conformance import ConformanceSuite

pytestmark = pytest.mark.servers


class _OnHdfs(ConformanceSuite):
    driver = DRIVER
    transport = ""
    more: ClassVar[dict[str, bool]] = {}

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, hdfs: Hdfs) -> None:
        self.hdfs = hdfs
        self.root = hdfs.new_root()

    def settings(self) -> LocationSettings:
        options = self.hdfs.options(self.root, self.transport, **self.more)
        return LocationSettings("tested", "hdfs", options, "/")


class TestNative(_OnHdfs):
    transport = "native"


class TestWebHdfs(_OnHdfs):
    transport = "webhdfs"
    more: ClassVar[dict[str, bool]] = {"xattrs": True, "acls": True}
