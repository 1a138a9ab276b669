"""A real OpenSSH server with SFTP: own host key, own user keys, on the loopback; and an SSH agent."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import socket as connection
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from servers.process import accepts, free_port, program, running

HINT = "apt-get install openssh-server"
PASSPHRASE = "correct horse"


@dataclass(frozen=True)
class OpenSsh:
    """A running sshd. Every key is in `folder`; `roots` holds the folders of locations."""

    process: subprocess.Popen[bytes]
    port: int
    user: str
    folder: Path
    roots: Path
    _count: Iterator[int] = field(default_factory=count)

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def key(self) -> Path:
        return self.folder / "user"

    @property
    def locked_key(self) -> Path:
        """A key with PASSPHRASE that the server knows."""
        return self.folder / "locked"

    @property
    def stranger_key(self) -> Path:
        """A key that the server does not know."""
        return self.folder / "stranger"

    def new_root(self) -> Path:
        """A path for a new root; nothing is there yet."""
        return self.roots / f"root-{next(self._count)}"

    def location(self, **options: Any) -> dict[str, Any]:
        """A location of sync.yaml with a fresh empty root."""
        root = self.new_root()
        root.mkdir()
        return {"type": "sftp", **self.options(root), **options}

    def options(self, root: Path) -> dict[str, Any]:
        """The options of a location at a root of this machine."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": self.user,
            "path": str(root),
            "private_key": str(self.key),
            "known_hosts": str(self.known_hosts),
            "timeout": "20s",
            "connect_timeout": "20s",
        }


def make_key(file: Path, passphrase: str = "") -> None:
    """A new ed25519 key pair."""
    keygen = program("ssh-keygen", HINT)
    argv = [keygen, "-q", "-t", "ed25519", "-N", passphrase, "-C", file.name, "-f", str(file)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)


def append(file: Path, more: str) -> None:
    """Add lines to known_hosts or authorized_keys."""
    with file.open("a") as end:
        end.write(more)


def write_config(folder: Path, port: int, *more: str) -> Path:
    """An sshd_config for keys in `folder`."""
    lines = [
        f"Port {port}",
        "ListenAddress 127.0.0.1",
        f"HostKey {folder / 'host'}",
        f"PidFile {folder / 'pid'}",
        f"AuthorizedKeysFile {folder / 'authorized_keys'}",
        "StrictModes no",
        "UsePAM no",
        "PasswordAuthentication no",
        "KbdInteractiveAuthentication no",
        "Subsystem sftp internal-sftp",
        "MaxStartups 100",
        *more,
    ]
    file = folder / "sshd_config"
    file.write_text("\n".join(lines) + "\n")
    return file


def prepare(folder: Path, port: int) -> None:
    """Keys, known_hosts and authorized_keys."""
    for name, passphrase in (("host", ""), ("user", ""), ("locked", PASSPHRASE), ("stranger", "")):
        make_key(folder / name, passphrase)
    public = [(folder / f"{name}.pub").read_text() for name in ("user", "locked")]
    (folder / "authorized_keys").write_text("".join(public))
    kind, key, *_ = (folder / "host.pub").read_text().split()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")


def sshd() -> str:
    """The server's full path: it starts itself anew for each connection. Makes its privilege folder as root."""
    found = program("sshd", HINT)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    return found


def sessions(process: subprocess.Popen[bytes]) -> list[int]:
    """The processes that serve the server's connections: they outlive the listener, and its SIGSTOP."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents[int(folder.name)] = int(fields[1])
    found = {process.pid}
    while True:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        if not more:
            return sorted(found - {process.pid})
        found |= more


def signal_sessions(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    for pid in sessions(process):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


@contextlib.contextmanager
def started(folder: Path, port: int, *config: str) -> Iterator[OpenSsh]:
    """A server of its own, whose keys are made when `folder` has none; all its connections end with it."""
    server = sshd()
    if not (folder / "host").exists():
        prepare(folder, port)
    file = write_config(folder, port, *config)
    roots = folder / "roots"
    roots.mkdir(exist_ok=True)
    argv = [server, "-D", "-e", "-f", str(file)]
    with running(argv, folder / "log", lambda: accepts(port)) as process:
        try:
            yield OpenSsh(process, port, pwd.getpwuid(os.geteuid()).pw_name, folder, roots)
        finally:
            signal_sessions(process, signal.SIGKILL)


@contextlib.contextmanager
def agent(folder: Path, *keys: Path) -> Iterator[Path]:
    """An SSH agent that holds these keys (without passphrases); the path of its socket."""
    socket = folder / "agent.sock"
    add = program("ssh-add", HINT)
    environment = {"SSH_AUTH_SOCK": str(socket)}

    def answers() -> None:
        with contextlib.closing(connection.socket(connection.AF_UNIX)) as probe:
            probe.connect(str(socket))

    argv = [program("ssh-agent", HINT), "-D", "-a", str(socket)]
    with running(argv, folder / "agent.log", answers):
        for key in keys:
            subprocess.run([add, "-q", str(key)], check=True, env={**os.environ, **environment})
        yield socket


@pytest.fixture(scope="session")
def openssh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenSsh]:
    with started(tmp_path_factory.mktemp("openssh"), free_port()) as server:
        yield server
