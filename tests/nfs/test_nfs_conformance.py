"""The conformance suite: without a mount over a real server, with one over a stand-in for the kernel's mounts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from nfs_support import StandIn, mounted, mounted_settings
from runner_plugins.nfs.driver import EFS, FSX_LUSTRE, FSX_ONTAP, FSX_OPENZFS, NFS
from servers.serve_ganesha import Ganesha

from runner.model.task import LocationSettings
from runner.testing.conformance import ConformanceSuite


@pytest.mark.servers
@pytest.mark.root
class TestNfsWithoutAMount(ConformanceSuite):
    driver = NFS

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, ganesha: Ganesha) -> None:
        self.ganesha = ganesha
        self.tested = ganesha.settings()

    def settings(self) -> LocationSettings:
        return self.tested


@pytest.mark.servers
@pytest.mark.root
class TestNfsWithoutAMountAsAUser(ConformanceSuite):
    """Everything that needs no root at the server: files and folders of one's own."""

    driver = NFS

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, ganesha: Ganesha) -> None:
        self.ganesha = ganesha
        self.tested = ganesha.settings(export="/squashed", uid=1234, gid=1234)

    def settings(self) -> LocationSettings:
        return self.tested

    def make_unlistable(self, path: str) -> bool:
        (self.ganesha.folder_of(self.tested) / os.fsencode(path).decode()).chmod(0o300)
        return True


class _OverAMount(ConformanceSuite):
    source = "nas.example.org:/exports/projects"

    @pytest.fixture(autouse=True)
    def _fresh_storage(self, tmp_path: Path) -> Iterator[None]:
        with mounted(tmp_path / "mount", self.source) as self.stand_in:
            yield

    stand_in: StandIn


@pytest.mark.root
class TestNfsOverAMount(_OverAMount):
    driver = NFS

    def settings(self) -> LocationSettings:
        return self.stand_in.settings(path="fresh/root")


@pytest.mark.slow
@pytest.mark.root
class TestEfs(_OverAMount):
    driver = EFS
    source = "fs-0123456789abcdef0.efs.eu-central-1.amazonaws.com:/"

    def settings(self) -> LocationSettings:
        name = self.source.removesuffix(":/")
        return mounted_settings(self.stand_in.point, "efs", dns_name=name, path="fresh")


@pytest.mark.slow
@pytest.mark.root
class TestFsxOpenzfs(_OverAMount):
    driver = FSX_OPENZFS
    source = "fs-0123456789abcdef0.fsx.eu-central-1.amazonaws.com:/fsx/projects/"

    def settings(self) -> LocationSettings:
        name, folder = self.source.split(":")
        return mounted_settings(
            self.stand_in.point, "fsx_openzfs", dns_name=name, subdirectory=folder, path="fresh"
        )


@pytest.mark.slow
@pytest.mark.root
class TestFsxOntap(_OverAMount):
    driver = FSX_ONTAP
    source = "svm-0123456789abcdef0.fs-0123456789abcdef0.fsx.eu-central-1.amazonaws.com:/vol1"

    def settings(self) -> LocationSettings:
        name, folder = self.source.split(":")
        return mounted_settings(
            self.stand_in.point, "fsx_ontap", dns_name=name, subdirectory=folder, path="fresh"
        )


@pytest.mark.slow
@pytest.mark.root
class TestFsxLustre(_OverAMount):
    """Whole seconds of modification times."""

    driver = FSX_LUSTRE
    source = "127.0.0.1@tcp:/fzu4xbev"

    def settings(self) -> LocationSettings:
        # The mount table shows Lustre's servers by address.
        return mounted_settings(
            self.stand_in.point, "fsx_lustre", dns_name="localhost", mount_name="fzu4xbev", path="fresh"
        )
