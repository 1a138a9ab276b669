"""Samba on a port of its own: three shares, one of them encrypted, NT ACLs kept in extended attributes."""

from __future__ import annotations

import contextlib
import itertools
import os
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.model.task import LocationSettings, Secret
from servers.process import accepts, free_port, program, spawn, stop, wait_until_ready

HINT = "apt-get install samba samba-vfs-modules smbclient"
PASSWORDS = {"root": "root's secret", "games": "games' secret"}
"""Users of the machine's own user database that every Debian has, with passwords of this server alone."""

_GLOBAL = """[global]
server role = standalone server
smb ports = {port}
bind interfaces only = yes
interfaces = lo
disable netbios = yes
private dir = {state}
state directory = {state}
lock directory = {state}
cache directory = {state}
pid directory = {state}
ncalrpc dir = {state}/rpc
passdb backend = tdbsam:{state}/passdb.tdb
log file = {state}/log
load printers = no
printcap name = /dev/null
disable spoolss = yes
ea support = yes
inherit acls = yes
vfs objects = acl_xattr streams_xattr
{more}
"""
_counter = itertools.count()


@dataclass
class Samba:
    """A running smbd. `shares` maps a share's name to its folder on this machine."""

    folder: Path
    port: int
    shares: dict[str, Path]
    smbd: str
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def location(self, share: str = "plain", user: str = "root", **options: Any) -> dict[str, Any]:
        """The options, type included, of a location at a fresh folder of a share."""
        return {
            "type": "smb",
            "server": "127.0.0.1",
            "port": self.port,
            "share": share,
            "path": f"fresh-{next(_counter)}",
            "user": user,
            "password": Secret(PASSWORDS[user], "test"),
            **options,
        }

    def settings(self, share: str = "plain", user: str = "root", **options: Any) -> LocationSettings:
        """The same as drivers get it."""
        chosen = self.location(share, user, **options)
        return LocationSettings("tested", chosen.pop("type"), chosen, str(self.folder))

    def plain_settings(self, share: str = "plain", user: str = "root", **options: Any) -> LocationSettings:
        """The same with secrets as text, as a schema sees them."""
        settings = self.settings(share, user, **options)
        settings.options["password"] = PASSWORDS[user]
        return settings

    def folder_of(self, settings: LocationSettings) -> Path:
        """Where a location's root lies on this machine."""
        return self.shares[settings.options["share"]] / settings.options["path"]

    @property
    def log(self) -> Path:
        return self.folder / "smbd.log"

    def start(self) -> None:
        argv = [self.smbd, "--foreground", "--no-process-group", "-s", str(self.folder / "smb.conf")]
        self.process = spawn(argv, self.log)
        wait_until_ready(self.process, self.log, lambda: accepts(self.port), 20)

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process, group=True)
            self.process = None


@contextlib.contextmanager
def public_folder() -> Iterator[Path]:
    """A temporary folder that other users than root can enter, which pytest's own ones keep them from."""
    with tempfile.TemporaryDirectory(prefix="sync-runner-samba-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder


@contextlib.contextmanager
def started(folder: Path, more: str = "") -> Iterator[Samba]:
    """A server of one's own, for tests that stop it. `more`: further lines of its global section."""
    smbd = program("smbd", HINT)
    smbpasswd = program("smbpasswd", HINT)
    if os.geteuid() != 0:
        pytest.skip("smbd works for several users only as root")
    samba = Samba(folder, free_port(), {}, smbd)
    state = folder / "state"
    state.mkdir(mode=0o755)
    text = _GLOBAL.format(port=samba.port, state=state, more=more)
    for name in ("plain", "second", "sealed"):
        share = folder / name
        share.mkdir()
        share.chmod(0o1777)
        samba.shares[name] = share
        text += f"[{name}]\npath = {share}\nread only = no\n"
        if name == "sealed":
            text += "server smb encrypt = required\n"
    text += f"[frozen]\npath = {samba.shares['plain']}\nread only = yes\n"
    samba.shares["frozen"] = samba.shares["plain"]
    (folder / "smb.conf").write_text(text)
    for user, password in PASSWORDS.items():
        subprocess.run(
            [smbpasswd, "-c", str(folder / "smb.conf"), "-s", "-a", user],
            input=f"{password}\n{password}\n".encode(),
            check=True,
            capture_output=True,
        )
    net = program("net", HINT)
    rights = ["sam", "rights", "grant", "root", "SeSecurityPrivilege"]  # audit lists
    subprocess.run([net, "-s", str(folder / "smb.conf"), *rights], check=True, capture_output=True)
    samba.start()
    try:
        yield samba
    finally:
        samba.stop()


@pytest.fixture(scope="session")
def samba() -> Iterator[Samba]:
    with public_folder() as folder, started(folder) as server:
        yield server
