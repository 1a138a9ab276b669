"""A real PostgreSQL server: own data folder, password login on the loopback and on a unix socket; a database a test."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from servers.process import free_port, missing, module, program, spawn, stop, wait_until_ready

HINT = "apt-get install postgresql"
USER = "keeper"
PASSWORD = "pa55/w@rd:ü%"
"""With everything in it that a URL has to quote."""
_USER_OF_THE_PACKAGE = "postgres"


@dataclass
class Postgres:
    """A running server. `process` is the postmaster: killed, all its sessions end."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] = field(init=False)
    _count: Iterator[int] = field(default_factory=count)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def url(self, database: str, *, user: str = USER, password: str = PASSWORD, socket: bool = False) -> str:
        """settings.history for a database of this server, through the loopback or its unix socket."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        if socket:
            return f"postgresql+psycopg://{login}@/{database}?host={self.folder}&port={self.port}"
        return f"postgresql+psycopg://{login}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The name of a fresh, empty database."""
        name = f"history_{next(self._count)}"
        self.execute("postgres", f'CREATE DATABASE "{name}"')
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever uses it."""
        self.execute("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def connect(self, database: str, **options: Any) -> Any:
        """A connection of psycopg, each statement on its own. Close it."""
        import psycopg

        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user=USER,
            password=PASSWORD,
            dbname=database,
            autocommit=True,
            connect_timeout=10,
            **options,
        )

    def execute(self, database: str, statement: str) -> list[tuple[Any, ...]]:
        """Run one statement in a session of its own; its rows, if it has any."""
        with contextlib.closing(self.connect(database)) as connection:
            cursor = connection.execute(statement)
            return [] if cursor.description is None else cursor.fetchall()

    def kill(self) -> None:
        """SIGKILL. On return its sessions have ended, too; `start` brings it back."""
        sessions = children(self.process.pid)
        self.process.kill()
        self.process.wait()
        # They notice by themselves; a server that starts earlier refuses, for they still use the shared memory.
        pause = threading.Event()
        while any(_works(pid) for pid in sessions):
            pause.wait(0.01)

    def start(self) -> None:
        """Start it, after `kill` on its old port with its old data."""
        argv = [*as_its_user(), binary("postgres"), "-D", str(self.data), "-p", str(self.port)]
        self.process = spawn(argv, self.log, directory=self.folder)
        try:
            wait_until_ready(self.process, self.log, lambda: self.execute("postgres", "SELECT 1"))
        except BaseException:
            stop(self.process)
            raise

    def stop(self) -> None:
        """End it at once: nobody needs its data any more."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
            self.process.send_signal(signal.SIGQUIT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(8)
        stop(self.process)


def children(parent: int) -> list[int]:
    """The processes that it started."""
    found = []
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if folder.name.isdigit() and int(_stat(folder).split()[1]) == parent:
                found.append(int(folder.name))
    return found


def _works(pid: int) -> bool:
    """Whether the process has not ended; one that nobody waited for has."""
    try:
        return _stat(Path(f"/proc/{pid}")).split()[0] not in "ZX"
    except OSError:
        return False


def _stat(folder: Path) -> str:
    """What stands behind the command's name: state, parent and so on (proc(5))."""
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2]


def binary(name: str) -> str:
    """A program of the newest PostgreSQL here, 15 or later: Debian keeps them out of the search path."""
    versions = Path("/usr/lib/postgresql")
    numbers = [int(folder.name) for folder in versions.glob("*") if folder.name.isdigit()]
    for number in sorted((one for one in numbers if one >= 15), reverse=True):
        path = versions / str(number) / "bin" / name
        if path.exists():
            return str(path)
    return program(name, HINT)


def as_its_user() -> list[str]:
    """What goes before its programs: PostgreSQL refuses to work as root."""
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam(_USER_OF_THE_PACKAGE)
    except KeyError:
        missing("the user postgres", HINT)
    to = ("--reuid", _USER_OF_THE_PACKAGE, "--regid", _USER_OF_THE_PACKAGE, "--clear-groups")
    # A change of user cancels the wish to end with the parent, so that it is made once more.
    return [program("setpriv", "apt-get install util-linux"), *to, "--pdeathsig", "KILL", "--"]


@contextlib.contextmanager
def serve_postgres(*settings: str) -> Iterator[Postgres]:
    """A server of its own, for tests that kill it, stop it, fill it or damage it. `settings`: lines of its config."""
    module("psycopg", "pip install 'psycopg[binary]'")
    initdb = binary("initdb")
    # Not below pytest's own folder, which no other user can enter; short, for the path of the unix socket.
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-postgres-"))
    try:
        if os.geteuid() == 0:
            shutil.chown(folder, _USER_OF_THE_PACKAGE, _USER_OF_THE_PACKAGE)
        _initialise(initdb, folder, settings)
        server = Postgres(folder, free_port())
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)


def _initialise(initdb: str, folder: Path, settings: tuple[str, ...]) -> None:
    password = folder / "password"
    password.write_text(PASSWORD + "\n")
    if os.geteuid() == 0:
        shutil.chown(password, _USER_OF_THE_PACKAGE)
    argv = [
        *(*as_its_user(), initdb, "-D", str(folder / "data"), "-U", USER, "--pwfile", str(password)),
        *(
            "--auth",
            "scram-sha-256",
            "--encoding",
            "UTF8",
            "--locale",
            "C.UTF-8",
            "--data-checksums",
            "--no-sync",
        ),
    ]
    made = subprocess.run(argv, capture_output=True, text=True, cwd=folder)
    assert made.returncode == 0, made.stderr
    lines = [
        "listen_addresses = '127.0.0.1'",
        f"unix_socket_directories = '{folder}'",
        # A process that is killed loses nothing without it; only a power cut would.
        "fsync = off",
        "shared_buffers = 16MB",
        "max_connections = 40",
        *settings,
    ]
    with (folder / "data" / "postgresql.conf").open("a") as file:
        file.write("\n".join(lines) + "\n")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The session's server; each test takes a database of its own and leaves the process alone."""
    with serve_postgres() as server:
        yield server
