"""nfs-ganesha (v3 and v4) in a network namespace of its own; the tests reach it over a veth pair.

NFSv3 servers register with rpcbind on port 111, which must not appear on this machine: hence the namespace.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.model.task import LocationSettings
from servers.process import missing, program, spawn, stop, wait_until_ready

HINT = "apt-get install nfs-ganesha nfs-ganesha-vfs rpcbind libnfs13 iproute2"
NFS_PORT = 12049
MOUNT_PORT = 12050

_CONFIGURATION = """
NFS_CORE_PARAM {{
  Protocols = 3,4; NFS_Port = {nfs_port}; MNT_Port = {mount_port}; Bind_addr = {address};
  Enable_UDP = false; Enable_NLM = false; Enable_RQUOTA = false; mount_path_pseudo = true;
}}
NFSV4 {{
  Graceless = true; Lease_Lifetime = 60; RecoveryBackend = fs; RecoveryRoot = {folder}/recovery;
  Minor_Versions = 0,1; Allow_Numeric_Owners = true; Only_Numeric_Owners = true;
}}
{exports}
"""
_EXPORT = """
EXPORT {{
  Export_Id = {number}; Path = {path}; Pseudo = /{name}; Access_Type = {access}; Squash = {squash};
  SecType = sys; Protocols = 3,4; Transports = TCP; Attr_Expiration_Time = 0;
  FSAL {{ Name = VFS; PNFS_MDS = false; }}
}}
"""
_EXPORTS = {
    "open": ("RW", "No_Root_Squash"),
    "squashed": ("RW", "Root_Squash"),
    "frozen": ("RO", "No_Root_Squash"),
}
_counter = itertools.count()


@dataclass
class Ganesha:
    """A running ganesha.nfsd. `exports` maps an export's path ("/open") to its folder on this machine."""

    folder: Path
    namespace: str
    address: str
    programs: dict[str, str]
    exports: dict[str, Path] = field(default_factory=dict)
    portmapper: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def location(self, export: str = "/open", **options: Any) -> dict[str, Any]:
        """The options, type included, of a location at a fresh folder of an export, reached without a mount."""
        return {
            "type": "nfs",
            "server": self.address,
            "export": export,
            "path": f"fresh-{next(_counter)}",
            "nfs_port": NFS_PORT,
            "mount_port": MOUNT_PORT,
            "uid": 0,
            "gid": 0,
            **options,
        }

    def settings(self, export: str = "/open", **options: Any) -> LocationSettings:
        """The same as drivers get it."""
        chosen = self.location(export, **options)
        return LocationSettings("tested", chosen.pop("type"), chosen, str(self.folder))

    def folder_of(self, settings: LocationSettings) -> Path:
        """Where a location's root lies on this machine."""
        return self.exports[settings.options["export"]] / settings.options["path"]

    @property
    def log(self) -> Path:
        return self.folder / "ganesha.log"

    def start_portmapper(self) -> None:
        # What it keeps in the system's run folder goes into one that only these processes see.
        script = "mount -t tmpfs tmpfs /run && mkdir /run/rpcbind /run/ganesha && exec $0 -f -w"
        argv = [
            self.programs["ip"],
            "netns",
            "exec",
            self.namespace,
            "sh",
            "-c",
            script,
            self.programs["rpcbind"],
        ]
        self.portmapper = spawn(argv, self.folder / "rpcbind.log")
        wait_until_ready(self.portmapper, self.folder / "rpcbind.log", lambda: self.accepts(111), 20)

    def start(self) -> None:
        assert self.portmapper is not None
        configuration = self.folder / "ganesha.conf"
        # -m -n: the namespaces of the portmapper; without a fork, so that the pid is the server's.
        argv = [
            self.programs["nsenter"],
            "-t",
            str(self.portmapper.pid),
            "-m",
            "-n",
            self.programs["ganesha.nfsd"],
        ]
        argv += ["-F", "-f", str(configuration), "-L", str(self.log), "-p", str(self.folder / "ganesha.pid")]
        self.process = spawn(argv, self.folder / "ganesha.out")
        wait_until_ready(self.process, self.log, lambda: self.accepts(NFS_PORT), 20)
        wait_until_ready(self.process, self.log, lambda: self.accepts(MOUNT_PORT), 20)

    def stop(self) -> None:
        if self.process is not None:
            stop(self.process)
            self.process = None

    def kill(self) -> None:
        """End the server as a power cut does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()
        self.process = None

    def pause(self) -> None:
        """Stop the server as a machine that hangs; it has stopped when this returns."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)
        # Threads stop one by one, each after what it was doing.
        os.waitid(os.P_PID, self.process.pid, os.WSTOPPED | os.WNOWAIT)

    def go_on(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def accepts(self, port: int) -> None:
        socket.create_connection((self.address, port), timeout=5).close()


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise AssertionError(f"{' '.join(argv)}: {done.stderr.strip()}")


def _claim_subnet(ip: str) -> tuple[str, str, str]:
    """(subnet, this end, that end) of the range kept for such tests (RFC 2544) that nobody else here uses.

    Its route is claimed as a black hole: while the pair is down, nothing may leave by the default route.
    """
    for attempt in range(os.getpid(), os.getpid() + 64):
        base = attempt % 16384
        subnet, here, there = (f"198.18.{base // 64}.{base % 64 * 4 + end}" for end in range(3))
        argv = [ip, "route", "add", "blackhole", f"{subnet}/30", "metric", "9999"]
        if subprocess.run(argv, capture_output=True).returncode == 0:
            return f"{subnet}/30", here, there
    missing("the right to make network namespaces", "run as root, in a container with CAP_NET_ADMIN")
    raise AssertionError("missing() raises")


@contextlib.contextmanager
def _namespace(ip: str) -> Iterator[tuple[str, str]]:
    """(name, address of its end) of a network namespace joined to this one by a veth pair, and to nothing else."""
    own = f"{os.getpid()}-{next(_counter)}"
    name, veth = f"sync-runner-{own}", f"sr{own}"
    with contextlib.ExitStack() as stack:

        def undo(*argv: str) -> None:
            stack.callback(subprocess.run, argv, capture_output=True)

        subnet, here, there = _claim_subnet(ip)
        undo(ip, "route", "del", "blackhole", subnet, "metric", "9999")
        _run(ip, "netns", "add", name)
        undo(ip, "netns", "del", name)
        _run(ip, "link", "add", f"{veth}a", "type", "veth", "peer", "name", f"{veth}b", "netns", name)
        undo(ip, "link", "del", f"{veth}a")
        _run(ip, "addr", "add", f"{here}/30", "dev", f"{veth}a")
        _run(ip, "link", "set", f"{veth}a", "up")
        _run(ip, "-n", name, "addr", "add", f"{there}/30", "dev", f"{veth}b")
        _run(ip, "-n", name, "link", "set", f"{veth}b", "up")
        _run(ip, "-n", name, "link", "set", "lo", "up")
        yield name, there


def _need_client() -> None:
    try:
        ctypes.CDLL("libnfs.so.13")
    except OSError:
        missing("libnfs", HINT)


@contextlib.contextmanager
def started(folder: Path) -> Iterator[Ganesha]:
    """A server of one's own, for tests that stop it."""
    if os.geteuid() != 0:
        pytest.skip("needs root: NFSv3's portmapper is kept in a network namespace")
    _need_client()
    programs = {name: program(name, HINT) for name in ("ganesha.nfsd", "rpcbind", "ip", "nsenter")}
    text = ""
    with _namespace(programs["ip"]) as (namespace, address):
        ganesha = Ganesha(folder, namespace, address, programs)
        for number, (name, (access, squash)) in enumerate(_EXPORTS.items(), 1):
            path = folder / "exports" / name
            path.mkdir(parents=True)
            path.chmod(0o1777)
            ganesha.exports[f"/{name}"] = path
            text += _EXPORT.format(number=number, path=path, name=name, access=access, squash=squash)
        (folder / "ganesha.conf").write_text(
            _CONFIGURATION.format(
                nfs_port=NFS_PORT, mount_port=MOUNT_PORT, address=address, folder=folder, exports=text
            )
        )
        for above in (folder, *folder.parents[:3]):
            # Other users than root have to reach the exports.
            with contextlib.suppress(PermissionError):
                above.chmod(above.stat().st_mode | 0o011)
        try:
            ganesha.start_portmapper()
            ganesha.start()
            yield ganesha
        finally:
            ganesha.stop()
            if ganesha.portmapper is not None:
                stop(ganesha.portmapper)


@pytest.fixture(scope="session")
def ganesha(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ganesha]:
    with started(tmp_path_factory.mktemp("ganesha")) as server:
        yield server
