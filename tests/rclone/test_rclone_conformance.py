"""The rclone driver keeps every promise of the driver protocol, over each sort of backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_plugins.rclone.driver import DRIVER, FTP, WEBDAV
from runner_plugins.rclone.engine import ENGINES, TlsOptions
from servers.s3_endpoint import S3Endpoint
from servers.serve_apache_dav import ApacheDav
from servers.serve_ftp import Ftp
from servers.serve_rclone import RcloneServers, settings_of

from runner.errors import EntryCode
from runner.locations.protocol import OpenSettings
from runner.model.task import Integrity, LocationSettings, Secret
from runner.testing.conformance import ConformanceSuite
from runner.testing.conformance_base import content_of, put_file, refused


@pytest.fixture(scope="module", autouse=True)
def _one_daemon() -> Iterator[None]:
    """Held for all tests of this module: starting one for each costs 0.2 s."""
    engine = ENGINES.take(TlsOptions())
    yield
    ENGINES.give_back(engine)


class Conformance(ConformanceSuite):
    driver = DRIVER
    chosen: dict[str, Any]

    def settings(self) -> LocationSettings:
        return settings_of(self.chosen)


class TestLocal(Conformance):
    """rclone's own backend for local disks: every hash, nanoseconds."""

    @pytest.fixture(autouse=True)
    def _fresh_root(self, tmp_path: Path) -> None:
        self.chosen = {"type": "rclone", "backend": "local", "path": str(tmp_path / "root")}


@pytest.mark.slow
class TestCrypt(Conformance):
    """Encrypted names and content: no hash to compare by, so all is read back."""

    @pytest.fixture(autouse=True)
    def _fresh_root(self, tmp_path: Path) -> None:
        self.chosen = {
            "type": "rclone",
            "backend": "crypt",
            "settings": {"remote": f"{tmp_path}/encrypted", "password": Secret("of the vault", "test")},
            "path": "inside",
        }


@pytest.mark.slow
class TestMemory(Conformance):
    """An object store without empty folders that keeps everything in the daemon."""

    root_is_made_on_first_write = False

    @pytest.fixture(autouse=True)
    def _fresh_root(self, tmp_path: Path) -> None:
        self.chosen = {"type": "rclone", "backend": "memory", "path": f"bucket-{tmp_path.name}/root"}
        # An object store lists nothing for a bucket that is not there.
        location = self.open()
        location.remote.make_folder("")  # type: ignore[attr-defined]
        location.close()


@pytest.mark.servers
class TestSftp(Conformance):
    @pytest.fixture(autouse=True)
    def _fresh_root(self, rclone: RcloneServers) -> None:
        self.chosen = rclone.sftp.location()


@pytest.mark.servers
class TestSftpSizeOnly(TestSftp):
    """Lengths alone are checked before a file gets its name."""

    def open(self, *, create: bool = True, open_settings: OpenSettings | None = None) -> Any:
        return super().open(
            create=create, open_settings=open_settings or OpenSettings(integrity=Integrity.SIZE)
        )


@pytest.mark.servers
class TestCryptOverSftp(Conformance):
    @pytest.fixture(autouse=True)
    def _fresh_root(self, rclone: RcloneServers) -> None:
        place = rclone.sftp.location()["path"]
        self.chosen = {
            "type": "rclone",
            "backend": "crypt",
            "settings": {"remote": f"base:{place}", "password": Secret("of the vault", "test")},
            "remotes": {"base": rclone.sftp.remote()},
        }


@pytest.mark.servers
class TestWebdavOfRclone(Conformance):
    """A WebDAV server that keeps times (X-OC-Mtime) and replaces a folder by whatever is moved onto it."""

    @pytest.fixture(autouse=True)
    def _fresh_root(self, rclone: RcloneServers) -> None:
        self.chosen = rclone.webdav.location()


@pytest.mark.servers
class TestS3(Conformance):
    """A poor S3 server: it ignores conditions. Folders exist through their content."""

    root_is_made_on_first_write = False

    @pytest.fixture(autouse=True)
    def _fresh_root(self, rclone_s3: S3Endpoint) -> None:
        self.chosen = {
            "type": "rclone",
            "backend": "s3",
            "settings": {
                "provider": "Rclone",
                "endpoint": rclone_s3.endpoint,
                "access_key_id": Secret(rclone_s3.access_key, "test"),
                "secret_access_key": Secret(rclone_s3.secret_key, "test"),
                "use_unsigned_payload": True,
            },
            "path": rclone_s3.new_bucket() + "/root",
        }

    def test_hostile_names_live_side_by_side(self) -> None:
        """This server takes names that differ only by Unicode normalisation for one: they are refused, not merged."""
        location = self._opened()
        put_file(location, "cafe\u0301", b"decomposed")
        with refused(EntryCode.STALE):
            put_file(location, "caf\u00e9", b"composed")
        assert content_of(location, "cafe\u0301") == b"decomposed"


@pytest.mark.servers
class TestApache(Conformance):
    """A WebDAV server without times of ours, hashes or streams of unknown length."""

    driver = WEBDAV

    @pytest.fixture(autouse=True)
    def _fresh_root(self, apache_dav: ApacheDav) -> None:
        self.files = apache_dav.files
        self.chosen = apache_dav.location()

    def write_behind(self, path: str, content: bytes) -> None:
        """At another time: what changes twice within one second shows to nobody who asks this server."""
        place = self.files / self.chosen["path"] / path
        other = place.with_name("other")
        other.write_bytes(content)
        os.utime(other, (1_600_000_000, 1_600_000_000))
        other.rename(place)


@pytest.mark.servers
class TestFtp(Conformance):
    driver = FTP

    @pytest.fixture(autouse=True)
    def _fresh_root(self, ftp: Ftp) -> None:
        self.chosen = ftp.location()
