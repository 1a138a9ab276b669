"""Real servers through rclone: whole round trips, large files, and what happens when a server is gone, stopped or
refuses."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from runner_plugins.rclone.content import SMALL_BYTES
from runner_plugins.rclone.engine import ENGINES, TlsOptions
from servers import serve_ftp, serve_rclone
from servers.process import program, stop
from servers.real_pair import RealPair, contents, local, opened
from servers.s3_endpoint import S3Endpoint
from servers.serve_apache_dav import ApacheDav
from servers.serve_ftp import Ftp
from servers.serve_rclone import RcloneServers

from runner.errors import Disposition, EntryCode, EntryError, LocationUnavailableError
from runner.model.entry import Kind
from runner.model.task import Secret
from runner.testing.conformance_base import MTIME_NS, Meter, content_of, file_entry, listed, put_file, stated

pytestmark = pytest.mark.servers

SORTS = ("crypt_over_sftp", "webdav", "apache", "ftp", "s3")
TREE = {
    "a.txt": b"first",
    "empty": b"",
    "deep/er/and/deeper/leaf": b"leaf",
    "deep/er-sibling": b"sibling",
    "new\nline": b"newline",
    " lead and trail ": b"spaces",
    "-rf": b"dashes",
    "$(touch pwned)": b"shell",
    "caf\u00e9": b"composed",
    "tw\uff0fin": b"full width",
    "big": bytes(range(256)) * 5000,
}


@pytest.fixture(scope="module", autouse=True)
def _one_daemon() -> Iterator[None]:
    engine = ENGINES.take(TlsOptions())
    yield
    ENGINES.give_back(engine)


@pytest.fixture
def place(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Options of a fresh root of one sort."""
    if request.param == "apache":
        server: ApacheDav = request.getfixturevalue("apache_dav")
        return server.location()
    if request.param == "ftp":
        ftp: Ftp = request.getfixturevalue("ftp")
        return ftp.location()
    if request.param == "s3":
        endpoint: S3Endpoint = request.getfixturevalue("rclone_s3")
        settings = {
            "provider": "Rclone",
            "endpoint": endpoint.endpoint,
            "access_key_id": Secret(endpoint.access_key, "test"),
            "secret_access_key": Secret(endpoint.secret_key, "test"),
            "use_unsigned_payload": True,
        }
        path = endpoint.new_bucket() + "/root"
        return {"type": "rclone", "backend": "s3", "settings": settings, "path": path}
    servers: RcloneServers = request.getfixturevalue("rclone")
    if request.param == "webdav":
        return servers.webdav.location()
    under = servers.sftp.location()["path"]
    return {
        "type": "rclone",
        "backend": "crypt",
        "settings": {"remote": f"base:{under}", "password": Secret("of the vault", "test")},
        "remotes": {"base": servers.sftp.remote()},
    }


def fill(folder: Path) -> None:
    for number, (path, content) in enumerate(TREE.items()):
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        os.utime(file, ns=(MTIME_NS + number * 10**9, MTIME_NS + number * 10**9))


@pytest.mark.parametrize("place", SORTS, indirect=True)
def test_a_tree_goes_there_and_back(place: dict[str, Any], tmp_path: Path) -> None:
    """Copied, verified, nothing to do the second time; a deletion and a change follow; and back the same."""
    source, back = tmp_path / "source", tmp_path / "back"
    fill(source)
    there = RealPair(tmp_path, local(source), place)
    report = there.run()
    assert report.problems == ()
    assert there.second_plan() == []
    assert contents(place) == TREE

    (source / "a.txt").write_bytes(b"changed, longer")
    (source / "deep/er/and/deeper/leaf").unlink()
    report = there.run()
    assert report.problems == ()
    assert there.second_plan() == []

    returning = RealPair(tmp_path / "state", place, local(back))
    assert returning.run().problems == ()
    assert returning.second_plan() == []
    assert contents(local(back)) == contents(local(source))
    assert not Path("pwned").exists()
    with opened(place) as location:
        resolution = location.capabilities.mtime_resolution_ns
    if resolution is not None:
        for path in ("empty", "deep/er-sibling"):
            wanted = (source / path).stat().st_mtime_ns
            assert (back / path).stat().st_mtime_ns == wanted - wanted % resolution


@pytest.mark.parametrize("place", SORTS, indirect=True)
def test_large_files_come_whole_with_their_time(place: dict[str, Any]) -> None:
    """Too large to wait in memory: as a stream, or through the spool where a stream would lose the time."""
    content = os.urandom(SMALL_BYTES + 12_345)
    chunks = [content[start : start + (1 << 20)] for start in range(0, len(content), 1 << 20)]
    with opened(place, create=True) as location:
        location.put(file_entry("big", content), chunks, None, Meter())
        assert content_of(location, "big") == content
        resolution = location.capabilities.mtime_resolution_ns
        if resolution is not None:
            assert stated(location, "big").mtime_ns == MTIME_NS - MTIME_NS % resolution
        with pytest.raises(EntryError) as caught:
            location.put(file_entry("short", content), chunks[:-1], None, Meter())
        assert caught.value.entry_code is EntryCode.CHANGED_DURING_TRANSFER
        with pytest.raises(EntryError):
            location.put(file_entry("cut", content), chunks, None, Meter(cancel_after_bytes=10 << 20))
        assert listed(location) == ["big"]


def test_a_file_in_the_place_of_a_parent_is_never_replaced(
    rclone: RcloneServers, apache_dav: ApacheDav
) -> None:
    for place in (rclone.webdav.location(), apache_dav.location()):
        with opened(place, create=True) as location:
            put_file(location, "a", b"kept")
            with pytest.raises(EntryError) as caught:
                put_file(location, "a/b/c", b"new")
            assert caught.value.entry_code is EntryCode.KIND_CONFLICT
            assert content_of(location, "a") == b"kept"


@pytest.mark.parametrize("place", ["webdav", "apache", "ftp"], indirect=True)
def test_refused_credentials_say_so(place: dict[str, Any]) -> None:
    wrong = Secret("wrong", "test")
    if "settings" in place:
        place = {**place, "settings": {**place["settings"], "pass": wrong}}
    else:
        place = {**place, "password": wrong}
    with pytest.raises(LocationUnavailableError) as caught, opened(place):
        pass
    assert "user, password" in str(caught.value)
    assert "wrong" not in str(caught.value)


def test_nobody_listens(rclone: RcloneServers) -> None:
    for place in (
        {**rclone.sftp.location(), "settings": {"host": "127.0.0.1", "port": 1}},
        {"type": "webdav", "url": "http://127.0.0.1:1"},
        {"type": "ftp", "host": "127.0.0.1", "port": 1},
    ):
        with pytest.raises(LocationUnavailableError, match="does the server run"), opened(place):
            pass


@pytest.mark.parametrize("protocol", ["sftp", "webdav"])
def test_a_server_that_comes_back_is_used_again(protocol: str, tmp_path: Path) -> None:
    with serve_rclone.serve(protocol, tmp_path) as first:
        port = first.port
        with opened(first.location(timeout="10s"), create=True) as location:
            before = put_file(location, "a", b"before")
            stop(first.process)
            with pytest.raises(EntryError) as caught:
                list(location.read(before))
            assert caught.value.disposition is Disposition.RETRY
            problems = [found for found in location.scan() if found.path == ""]
            assert problems
            with serve_rclone.serve(protocol, tmp_path, port=port):
                assert content_of(location, "a") == b"before"


@pytest.mark.parametrize("protocol", ["sftp", "webdav"])
def test_a_stopped_server_costs_one_timeout(protocol: str, tmp_path: Path) -> None:
    with serve_rclone.serve(protocol, tmp_path) as server:
        with opened(server.location(timeout="2s"), create=True) as location:
            put_file(location, "d/a")
            server.process.send_signal(signal.SIGSTOP)
            try:
                with pytest.raises(EntryError) as caught:
                    location.stat("d/a")
                assert caught.value.entry_code is EntryCode.TIMEOUT
                assert caught.value.disposition is Disposition.RETRY
            finally:
                server.process.send_signal(signal.SIGCONT)
            assert stated(location, "d/a").kind is Kind.FILE


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1 in one file; the certificate is its own authority."""
    folder = tmp_path_factory.mktemp("certificate")
    openssl = program("openssl", "apt-get install openssl")
    subprocess.run(
        [
            *(
                openssl,
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=127.0.0.1",
            ),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(folder / "key.pem")),
            *("-out", str(folder / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
    )
    both = folder / "both.pem"
    both.write_bytes((folder / "key.pem").read_bytes() + (folder / "certificate.pem").read_bytes())
    return both


def test_ftp_with_tls(certificate: Path, tmp_path: Path) -> None:
    """The server is believed only with its authority at hand, or when told not to check."""
    authority = str(certificate.with_name("certificate.pem"))
    with serve_ftp.serve(tmp_path, certificate=certificate) as server:
        with pytest.raises(LocationUnavailableError, match="certificate"):
            with opened(server.location(tls="explicit"), create=True) as location:
                put_file(location, "a")
        for options in ({"ca_file": authority}, {"verify_certificate": False}):
            with opened(server.location(tls="explicit", **options), create=True) as location:
                put_file(location, "d/a", b"content")
                assert content_of(location, "d/a") == b"content"
                assert listed(location) == ["d/", "d/a"]


def test_webdav_with_tls(certificate: Path, tmp_path: Path) -> None:
    folder = certificate.parent
    arguments = ["--cert", str(folder / "certificate.pem"), "--key", str(folder / "key.pem")]
    with serve_rclone.serve("webdav", tmp_path, arguments=arguments) as server:
        place = {
            "type": "webdav",
            "url": f"https://127.0.0.1:{server.port}",
            "vendor": "rclone",
            "user": serve_rclone.USER,
            "password": Secret(serve_rclone.PASSWORD, "test"),
        }
        with pytest.raises(LocationUnavailableError, match="certificate"), opened(place):
            pass
        with opened({**place, "ca_file": str(folder / "certificate.pem")}, create=True) as location:
            put_file(location, "a", b"content")
            assert content_of(location, "a") == b"content"


def test_a_listing_that_fails_half_way_is_a_problem(rclone: RcloneServers) -> None:
    """A folder that goes between its listing and its own: told, never passed over."""
    place = rclone.sftp.location()
    root = rclone.sftp.files / place["path"]
    with opened(place, create=True) as location:
        # More folders than are listed ahead, so that the last is asked for after it is gone.
        for number in range(12):
            put_file(location, f"d{number:02d}/file")
        stream = location.scan()
        assert [next(stream).path for _ in range(3)] == ["", "d00/", "d00/file"]
        shutil.rmtree(root / "d11")
        rest = list(stream)
        assert [one.path for one in rest][-2:] == ["d11/", "d11/"]
        assert getattr(rest[-1], "code", None) is EntryCode.NOT_LISTED
        assert getattr(rest[-1], "retryable", None) is True


def test_a_server_s_own_times_tell_a_change_once_they_lie_behind(apache_dav: ApacheDav) -> None:
    """Apache keeps no times of ours; its own tell a change of the same size, but not within one second."""
    place = apache_dav.location()
    file = apache_dav.files / place["path"] / "a"
    with opened(place, create=True) as location:
        fresh = put_file(location, "a", b"old")
        assert (fresh.mtime_ns, fresh.version) == (None, None)
        os.utime(file, (1_600_000_000, 1_600_000_000))
        settled = stated(location, "a")
        assert settled.version is not None
        file.write_bytes(b"new")
        for refused_action in (
            lambda: location.remove(settled),
            lambda: location.put(file_entry("a", b"own"), [b"own"], settled, Meter()),
        ):
            with pytest.raises(EntryError) as caught:
                refused_action()
            assert caught.value.entry_code is EntryCode.STALE
        assert content_of(location, "a") == b"new"
