"""The SMB driver keeps every promise of the driver protocol, against Samba."""

from __future__ import annotations

import pytest
from runner_plugins.smb.driver import FSX_WINDOWS, SMB
from servers.serve_samba import Samba

from runner.locations.protocol import Location, OpenSettings
from runner.model.task import Durability, Integrity, LocationSettings
from runner.testing.conformance import ConformanceSuite

pytestmark = pytest.mark.servers


class TestSmb(ConformanceSuite):
    driver = SMB
    share = "plain"
    user = "root"

    @pytest.fixture(autouse=True)
    def _fresh_root(self, samba: Samba) -> None:
        self.samba = samba
        self.chosen = samba.plain_settings(self.share, self.user, timeout="20s")

    def settings(self) -> LocationSettings:
        return self.chosen


class TestSmbAsPlainUser(TestSmb):
    """A user who is not root: what the server's file system denies is denied."""

    user = "games"

    def make_unlistable(self, path: str) -> bool:
        (self.samba.folder_of(self.chosen) / path).chmod(0o000)
        return True


class TestSmbEncrypted(TestSmb):
    """A share that takes only encrypted messages."""

    share = "sealed"


class TestSmbWithDescriptors(TestSmb):
    """All metadata asked for that looking does not move, and everything flushed."""

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        settings = open_settings or OpenSettings(
            attributes=frozenset({"created_ns", "dos_attributes", "security"}),
            durability=Durability.FULL,
        )
        return super().open(create=create, open_settings=settings)


class TestSmbOldDialect(TestSmb):
    """SMB 2.1, lengths alone checked."""

    @pytest.fixture(autouse=True)
    def _fresh_root(self, samba: Samba) -> None:
        self.samba = samba
        self.chosen = samba.plain_settings(timeout="20s", dialect_max="2.1")

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Location:
        return super().open(
            create=create, open_settings=open_settings or OpenSettings(integrity=Integrity.SIZE)
        )


class TestFsxWindows(ConformanceSuite):
    driver = FSX_WINDOWS

    @pytest.fixture(autouse=True)
    def _fresh_root(self, samba: Samba) -> None:
        options = dict(samba.plain_settings().options)
        options["file_system"] = options.pop("server")
        self.chosen = LocationSettings("tested", "fsx_windows", options, "/")

    def settings(self) -> LocationSettings:
        return self.chosen
