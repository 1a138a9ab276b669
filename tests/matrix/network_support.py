"""Locations of every type with a fault proxy between them and their server."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matrix_support import FIXTURES, Endpoints

from runner.testing.fault_proxy import FaultProxy

TIMEOUTS = {
    "s3": {"timeout": "3s", "connect_timeout": "3s"},
    "smb": {"timeout": "3s", "connect_timeout": "3s"},
    "nfs": {"timeout": "3s", "connect_timeout": "3s"},
    "hdfs": {"timeout": "3s"},
    "sftp": {"timeout": "3s", "connect_timeout": "3s"},
    "azure_blob": {"timeout": "3s"},
    "gcs": {"timeout": "3s"},
}
"""Location type -> options with which a server that says nothing is noticed soon. These types are tested."""


@dataclass(frozen=True)
class Behind:
    """One fresh location: as it is, and as it is reached through the proxy."""

    direct: dict[str, Any]
    through: dict[str, Any]
    proxy: FaultProxy


@contextlib.contextmanager
def behind(
    location_type: str, endpoints: Endpoints, fixture: Callable[[str], Any], folder: Path
) -> Iterator[Behind]:
    """A fresh location behind a proxy that has no faults yet; NFS keeps its way to the MOUNT service open."""
    direct = endpoints.fresh(location_type)
    server = fixture(str(FIXTURES[location_type][0]))
    port, host = _address(location_type, direct, server)
    with contextlib.ExitStack() as stack:
        proxy = stack.enter_context(FaultProxy(port, host=host))
        through = {**direct, **TIMEOUTS[location_type]}
        if location_type in ("s3", "azure_blob", "gcs"):
            through["endpoint_url"] = direct["endpoint_url"].replace(f":{port}", f":{proxy.port}")
        elif location_type == "smb":
            through["port"] = proxy.port
        elif location_type == "nfs":
            mounts = stack.enter_context(FaultProxy(direct["mount_port"], host=host))
            through |= {"server": "127.0.0.1", "nfs_port": proxy.port, "mount_port": mounts.port}
        elif location_type == "hdfs":
            through["namenodes"] = [f"127.0.0.1:{proxy.port}"]
        elif location_type == "sftp":
            known = Path(direct["known_hosts"]).read_text().replace(f"]:{port} ", f"]:{proxy.port} ")
            (folder / "known_hosts").write_text(known)
            through |= {"port": proxy.port, "known_hosts": str(folder / "known_hosts")}
        yield Behind(direct, through, proxy)


def _address(location_type: str, options: dict[str, Any], server: Any) -> tuple[int, str]:
    if location_type == "nfs":
        return options["nfs_port"], options["server"]
    if location_type == "hdfs":
        return int(options["namenodes"][0].rpartition(":")[2]), "127.0.0.1"
    port = options.get("port")
    return (port if port is not None else server.port), "127.0.0.1"
