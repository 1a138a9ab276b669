"""Apache with mod_dav: a WebDAV server as most are, which keeps no modification times of ours."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from runner.model.task import Secret
from servers.process import accepts, free_port, missing, program, running

HINT = "apt-get install apache2-bin"
USER = "tester"
PASSWORD = "a-Password-that-must-not-be-seen"
_MODULES = (
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    "auth_basic",
    "dav",
    "dav_fs",
)
_MODULE_FOLDERS = ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules", "/usr/lib/httpd/modules")
_PLAIN_PASSWORD_HASH = "{SHA}"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class ApacheDav:
    """A running Apache. `files` is what it serves."""

    port: int
    files: Path
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def location(self, **options: Any) -> dict[str, Any]:
        """Options (with "type") of a location at a root that is not made yet."""
        return {
            "type": "webdav",
            "url": self.url,
            "vendor": "other",
            "user": USER,
            "password": Secret(PASSWORD, "test"),
            "path": f"fresh-{next(_numbers)}",
            **options,
        }


@contextlib.contextmanager
def serve(folder: Path, port: int | None = None) -> Iterator[ApacheDav]:
    """A server of its own, with its files below `folder`."""
    apache = program("apache2", HINT)
    modules = next((name for name in _MODULE_FOLDERS if os.path.exists(f"{name}/mod_dav_fs.so")), None)
    if modules is None:
        missing("Apache's mod_dav", HINT)
    port = port or free_port()
    files, locks = folder / "files", folder / "locks"
    for one in (files, locks):
        one.mkdir(exist_ok=True)
    (folder / "passwords").write_text(f"{USER}:{_sha(PASSWORD)}\n")
    lines = [
        f"ServerRoot {folder}",
        "ServerName localhost",
        f"Listen 127.0.0.1:{port}",
        f"PidFile {folder}/pid",
        f"ErrorLog {folder}/errors",
        f"Mutex file:{locks}",
        *(f"LoadModule {name}_module {modules}/mod_{name}.so" for name in _MODULES),
        f"DavLockDB {locks}/db",
        f"DocumentRoot {files}",
        "LimitXMLRequestBody 0",
        "LimitRequestBody 0",
        f"<Directory {files}>",
        "Dav On",
        "DavDepthInfinity on",
        "AuthType Basic",
        "AuthName tests",
        f"AuthUserFile {folder}/passwords",
        "Require valid-user",
        "</Directory>",
    ]
    if os.geteuid() == 0:
        # Apache does not serve as root.
        lines += ["User www-data", "Group www-data"]
        for one in (files, locks):
            shutil.chown(one, "www-data", "www-data")
    (folder / "apache.conf").write_text("\n".join(lines) + "\n")
    argv = [apache, "-f", str(folder / "apache.conf"), "-DFOREGROUND"]
    with running(argv, folder / "log", lambda: accepts(port), group=True) as process:
        yield ApacheDav(port, files, process)


def _sha(password: str) -> str:
    import base64
    import hashlib

    return _PLAIN_PASSWORD_HASH + base64.b64encode(hashlib.sha1(password.encode()).digest()).decode()


@pytest.fixture(scope="session")
def apache_dav() -> Iterator[ApacheDav]:
    """The session's Apache; each test takes a root of its own and leaves the process alone."""
    # Its user cannot enter pytest's own folders.
    with tempfile.TemporaryDirectory(prefix="sync-runner-apache-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with serve(folder) as server:
            yield server
