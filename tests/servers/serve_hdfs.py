"""A real NameNode and DataNode in one Java process: Hadoop's MiniDFSCluster (tests/servers/hadoop/Mini.java)."""

from __future__ import annotations

import contextlib
import getpass
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import pytest
import urllib3

from servers.process import ServerError, free_port, missing, program, spawn, stop, tail, wait_until_ready

HINT = "tests/servers/install_hdfs.sh (needs apt-get install openjdk-17-jdk-headless maven)"
_PLACE = Path(__file__).parents[2] / ".ci-cache" / "hadoop"

KERBEROS = "sync-runner.kerberos=true"
"""Configuration of a cluster with a key distribution centre of its own: krb5.conf and keytab in its folder."""


@dataclass(frozen=True)
class Hdfs:
    """A running cluster. `user` is its superuser; everybody may write into its root folder."""

    process: subprocess.Popen[bytes]
    folder: Path
    ports: tuple[int, ...]
    user: str
    _count: Iterator[int] = field(default_factory=count)

    @property
    def rpc(self) -> list[str]:
        """host:port of each NameNode's RPC server."""
        return [f"127.0.0.1:{port}" for port in self.ports[::2]]

    @property
    def http(self) -> list[str]:
        """host:port of each NameNode's HTTP server."""
        return [f"127.0.0.1:{port}" for port in self.ports[1::2]]

    def new_root(self) -> str:
        """A path for a new root; nothing is there yet."""
        return f"/root-{next(self._count)}"

    def options(self, path: str, transport: str = "native", **more: Any) -> dict[str, Any]:
        """The options of a location at `path`."""
        namenodes = self.rpc if transport == "native" else self.http
        return {
            "transport": transport,
            "namenodes": namenodes,
            "path": path,
            "user": self.user,
            "timeout": "30s",
            **more,
        }

    def location(self, **options: Any) -> dict[str, Any]:
        """A location of sync.yaml with a fresh empty root."""
        root = self.new_root()
        self.web("PUT", "MKDIRS", root)
        return {"type": "hdfs", **self.options(root, **options)}

    def web(self, method: str, operation: str, path: str, user: str | None = None, **parameters: str) -> Any:
        """What an operation of WebHDFS answers, asked independently of the driver."""
        return web(self.http[0], method, operation, path, user or self.user, **parameters)

    def tell(self, command: str) -> str:
        """Give Mini.java a command and wait for its answer."""
        assert self.process.stdin is not None
        log = self.folder / "log"
        before = log.read_bytes().count(b"\nOK ") + log.read_bytes().count(b"\nERROR ")
        self.process.stdin.write(command.encode() + b"\n")
        self.process.stdin.flush()
        answer: list[bytes] = []

        def answered() -> None:
            lines = [one for one in log.read_bytes().split(b"\n")[:-1] if one.startswith((b"OK ", b"ERROR "))]
            if len(lines) <= before:
                raise ServerError(f"no answer to {command!r} yet")
            answer.append(lines[-1])

        wait_until_ready(self.process, log, answered)
        text = answer[0].decode()
        if not text.startswith("OK"):
            raise ServerError(f"{command!r}: {text}")
        return text


def web(address: str, method: str, operation: str, path: str, user: str, **parameters: str) -> Any:
    with urllib3.PoolManager(retries=False, timeout=30) as pool:
        fields = {"op": operation, "user.name": user, **parameters}
        url = f"http://{address}/webhdfs/v1{quote(path)}?{urlencode(fields)}"
        response = pool.request(method, url)
        if response.status != 200:
            raise ServerError(f"{operation} {path}: {response.status} {response.data[:300]!r}")
        return response.json() if response.data else None


@contextlib.contextmanager
def serve_hdfs(
    folder: Path,
    *,
    ports: Sequence[int] = (),
    keep: bool = False,
    configuration: Sequence[str] = (),
) -> Iterator[Hdfs]:
    """A cluster of its own: for tests that stop or kill it. `ports`: RPC and HTTP port of each NameNode; `keep`:
    with what an earlier cluster left in `folder`."""
    if not (_PLACE / "stamp").exists():
        missing("Hadoop", HINT)
    java = program("java", HINT)
    chosen = tuple(ports) or (free_port(), free_port())
    log = folder / "log"
    # An earlier cluster's word that it is ready says nothing of this one.
    log.unlink(missing_ok=True)
    argv = [
        java,
        "-Xmx512m",
        "-XX:+UseSerialGC",
        "-XX:TieredStopAtLevel=1",
        "--add-opens=java.base/java.lang=ALL-UNNAMED",
        "-cp",
        f"{_PLACE / 'classes'}:{_PLACE / 'lib'}/*",
        "Mini",
        str(folder / "dfs"),
        "keep" if keep else "format",
        ",".join(map(str, chosen)),
        *configuration,
    ]
    process = spawn(argv, log, directory=folder, stdin=subprocess.PIPE)
    cluster = Hdfs(process, folder, chosen, getpass.getuser())

    def ready() -> None:
        if b"READY" not in log.read_bytes():
            raise ServerError(f"not ready: {tail(log)}")
        if KERBEROS not in configuration:
            cluster.web("GET", "GETFILESTATUS", "/")

    try:
        wait_until_ready(process, log, ready, 120)
        yield cluster
    finally:
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        stop(process)


@pytest.fixture(scope="session")
def hdfs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hdfs]:
    """The session's cluster; each test makes its own root and leaves the process alone."""
    with serve_hdfs(tmp_path_factory.mktemp("hdfs")) as cluster:
        yield cluster
