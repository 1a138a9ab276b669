"""An FTP server, plain or with TLS: pyftpdlib in a process of its own."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.model.task import Secret
from servers.process import accepts, free_port, module, running

HINT = "pip install pyftpdlib pyopenssl"
USER = "tester"
PASSWORD = "a-Password-that-must-not-be-seen"
_SERVER = """
import sys
from pyftpdlib.authorizers import DummyAuthorizer
from pyftpdlib.handlers import FTPHandler
from pyftpdlib.servers import FTPServer
port, files, user, password, certificate = sys.argv[1:6]
handler = FTPHandler
if certificate:
    from pyftpdlib.handlers import TLS_FTPHandler as handler
    handler.certfile = certificate
    handler.tls_control_required = handler.tls_data_required = True
handler.authorizer = DummyAuthorizer()
handler.authorizer.add_user(user, password, files, perm="elradfmwMT")
FTPServer(("127.0.0.1", int(port)), handler).serve_forever()
"""
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Ftp:
    """A running FTP server. `files` is the folder a login leads to."""

    port: int
    files: Path
    process: subprocess.Popen[bytes]

    def location(self, **options: Any) -> dict[str, Any]:
        """Options (with "type") of a location at a root that is not made yet."""
        return {
            "type": "ftp",
            "host": "127.0.0.1",
            "port": self.port,
            "tls": "none",
            "user": USER,
            "password": Secret(PASSWORD, "test"),
            "path": f"fresh-{next(_numbers)}",
            **options,
        }


@contextlib.contextmanager
def serve(folder: Path, *, port: int | None = None, certificate: Path | None = None) -> Iterator[Ftp]:
    """A server of its own, with its files below `folder`; with TLS when it gets a certificate and key."""
    module("pyftpdlib", HINT)
    port = port or free_port()
    files = folder / "files"
    files.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-W", "ignore", "-c", _SERVER, str(port), str(files), USER, PASSWORD]
    with running([*argv, str(certificate or "")], folder / "log", lambda: accepts(port)) as process:
        yield Ftp(port, files, process)


@pytest.fixture(scope="session")
def ftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ftp]:
    """The session's FTP server; each test takes a root of its own and leaves the process alone."""
    with serve(tmp_path_factory.mktemp("ftp")) as server:
        yield server
