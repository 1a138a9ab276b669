"""MiniStack: the S3 server that every modern condition and checksum works on. It checks no signatures and keeps
objects in memory: one that was killed comes back empty."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from servers.process import free_port, module, program, running
from servers.s3_endpoint import ACCESS_KEY, SECRET_KEY, S3Endpoint, s3_client

HINT = "pip install ministack"


@contextlib.contextmanager
def serve_ministack(folder: Path, port: int | None = None) -> Iterator[S3Endpoint]:
    """A server of its own, on `port` or a free one: for tests that stop or kill it. `folder`: for its log."""
    module("ministack", HINT)
    port = port or free_port()

    def ready() -> None:
        client = s3_client(f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY)
        try:
            client.list_buckets()
        finally:
            client.close()

    environment = {
        "SERVICES": "s3",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "S3_DATA_DIR": str(folder / "data"),
        "PERSIST_STATE": "0",
        "LOG_LEVEL": "ERROR",
    }
    log = folder / "ministack.log"
    with running(
        [program("ministack", HINT)], log, ready, environment=environment, directory=folder
    ) as process:
        yield S3Endpoint("ministack", port, ACCESS_KEY, SECRET_KEY, process)


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Endpoint]:
    """The session's MiniStack; each test makes its own buckets and leaves the process alone."""
    with serve_ministack(tmp_path_factory.mktemp("ministack")) as endpoint:
        yield endpoint
