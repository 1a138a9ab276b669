"""Ceph's RADOS Gateway on one monitor and one in-memory OSD: an S3 server that people run in production. It checks
signatures, and knows fewer conditions than S3: a client must notice what it ignores."""

from __future__ import annotations

import contextlib
import os
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from servers.process import free_port, program, running, spawn, stop, wait_until_ready
from servers.s3_endpoint import ACCESS_KEY, SECRET_KEY, S3Endpoint, s3_client

HINT = "apt-get install --no-install-recommends radosgw ceph-mon ceph-osd"

_CONFIGURATION = """
[global]
fsid = {cluster}
mon host = v2:127.0.0.1:{monitor_port}/0
mon initial members = a
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon max pg per osd = 1000
# Without these two a command to the monitor takes a second or two.
paxos propose interval = 0.05
paxos min wait = 0.01
public addr = 127.0.0.1
cluster addr = 127.0.0.1
run dir = {folder}/run
log file = {folder}/log/$name.log
admin socket = {sockets}/$name.$pid.asok
pid file = {folder}/run/$name.pid
keyring = {folder}/keyring
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = 4294967296
# A gateway that was killed is not waited for.
osd client watch timeout = 1
osd class load list = *
osd class default list = *
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:{port}
"""


class _Cluster:
    """The steps from an empty folder to a gateway; `call` runs a command of Ceph's to its end."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self._folder = folder
        self.environment = environment

    def call(self, name: str, *arguments: str, seconds: float = 60) -> None:
        done = subprocess.run(
            [program(name, HINT), *arguments],
            cwd=self._folder,
            env={**os.environ, **self.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=seconds,
        )
        if done.returncode:
            output = (done.stdout + done.stderr).decode("utf-8", "replace")
            raise RuntimeError(f"{name} {' '.join(arguments)} ended with {done.returncode}: {output}")

    def make_keys(self) -> None:
        self.call("ceph-authtool", "-C", "keyring", "--gen-key", "-n", "mon.", "--cap", "mon", "allow *")
        for name in ("client.admin", "osd.0", "client.rgw"):
            rights = ("--cap", "mon", "allow *", "--cap", "osd", "allow *")
            self.call("ceph-authtool", "keyring", "--gen-key", "-n", name, *rights)

    @contextlib.contextmanager
    def monitor(self, cluster: str, port: int) -> Iterator[None]:
        self.call(
            "monmaptool", "--create", "--fsid", cluster, "--addv", "a", f"[v2:127.0.0.1:{port}]", "monmap"
        )
        self.call("ceph-mon", "--mkfs", "-i", "a", "--monmap", "monmap", "--keyring", "keyring")
        log = self._folder / "log" / "mon.out"
        argv = [program("ceph-mon", HINT), "-f", "-i", "a"]

        def answers() -> None:
            self.call("ceph", "--connect-timeout", "2", "mon", "stat")

        with running(argv, log, answers, environment=self.environment, directory=self._folder):
            yield

    @contextlib.contextmanager
    def storage(self) -> Iterator[None]:
        number = str(uuid.uuid4())
        self.call("ceph", "osd", "create", number)
        self.call("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", number)
        self.call("ceph", "osd", "crush", "add", "osd.0", "1", "root=default", "host=localhost")
        log = self._folder / "log" / "osd.out"
        process = spawn(
            [program("ceph-osd", HINT), "-f", "-i", "0"],
            log,
            environment=self.environment,
            directory=self._folder,
        )
        try:
            wait_until_ready(process, log, self._storage_is_up)
            yield
        finally:
            # It holds nothing worth a clean end, and waits long for a monitor that may be gone.
            stop(process, 0.5)

    def _storage_is_up(self) -> None:
        done = subprocess.run(
            [program("ceph", HINT), "osd", "stat"],
            env={**os.environ, **self.environment},
            capture_output=True,
            check=True,
            timeout=30,
        )
        if b"1 up" not in done.stdout:
            raise RuntimeError(done.stdout.decode())

    @contextlib.contextmanager
    def gateway(self, port: int) -> Iterator[_Gateway]:
        gateway = _Gateway(self._folder, self.environment, port)
        gateway.start()
        try:
            user = ("--uid", "t", "--display-name", "t", "--access-key", ACCESS_KEY)
            self.call(
                "radosgw-admin", "-n", "client.rgw", "user", "create", *user, "--secret-key", SECRET_KEY
            )
            gateway.wait()
            yield gateway
        finally:
            stop(gateway.process, 0.5)


class _Gateway:
    """The process that speaks S3; the objects are not in it."""

    process: subprocess.Popen[bytes]

    def __init__(self, folder: Path, environment: Mapping[str, str], port: int) -> None:
        self._folder = folder
        self._environment = environment
        self._port = port
        self._log = folder / "log" / "rgw.out"

    def start(self) -> None:
        argv = [program("radosgw", HINT), "-f", "-n", "client.rgw"]
        self.process = spawn(argv, self._log, environment=self._environment, directory=self._folder)

    def wait(self) -> None:
        def answers() -> None:
            client = s3_client(f"http://127.0.0.1:{self._port}", ACCESS_KEY, SECRET_KEY)
            try:
                client.list_buckets()
            finally:
                client.close()

        wait_until_ready(self.process, self._log, answers)

    def start_again(self) -> None:
        self.process.kill()
        self.process.wait()
        self.start()
        self.wait()


@contextlib.contextmanager
def serve_ceph(folder: Path) -> Iterator[S3Endpoint]:
    """A cluster of its own below `folder`."""
    for name in ("ceph-mon", "ceph-osd", "ceph", "ceph-authtool", "monmaptool", "radosgw", "radosgw-admin"):
        program(name, HINT)
    port, monitor_port = free_port(), free_port()
    cluster = str(uuid.uuid4())
    for name in ("mon", "osd", "run", "log"):
        (folder / name).mkdir()
    # A socket's address holds 107 bytes only, fewer than the folder of a test may have.
    sockets = os.path.relpath(folder / "run", folder)
    text = _CONFIGURATION.format(
        cluster=cluster, monitor_port=monitor_port, folder=folder, port=port, sockets=sockets
    )
    (folder / "ceph.conf").write_text(text)
    made = _Cluster(folder, {"CEPH_CONF": str(folder / "ceph.conf")})
    made.make_keys()
    with made.monitor(cluster, monitor_port), made.storage(), made.gateway(port) as gateway:
        yield S3Endpoint(
            "ceph", port, ACCESS_KEY, SECRET_KEY, gateway.process, start_again=gateway.start_again
        )


@pytest.fixture(scope="session")
def ceph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Endpoint]:
    """The session's Ceph; each test makes its own buckets and leaves the processes alone."""
    with serve_ceph(tmp_path_factory.mktemp("ceph")) as endpoint:
        yield endpoint
