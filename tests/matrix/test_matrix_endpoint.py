"""A driver talks to its endpoint and to nothing else: no cloud's metadata service, no proxy that the environment
names, no name server. Every connect() of a whole run, worker processes included, is looked at."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from matrix_support import FIXTURES, Endpoints, present_types
from servers.process import free_port

from runner.model.task import Secret

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace"),
]

CHILD = Path(__file__).parent.parent / "servers" / "child_pair.py"
_CALL = re.compile(r"(?:connect|sendto|sendmsg|sendmmsg)\(\d+, .*?\{sa_family=(AF_\w+)(.*?)\}")


def ports_in(options: dict[str, Any]) -> set[tuple[str, int]]:
    """Hosts and ports that the options name."""
    found = set()
    hosts = [str(options[name]) for name in ("host", "server") if name in options]
    for value in options.values():
        if isinstance(value, dict):
            found |= ports_in(value)
        if isinstance(value, str) and "://" in value:
            parts = urlsplit(value)
            found.add((parts.hostname or "", parts.port or 0))
        for host in hosts:
            if isinstance(value, int):
                found.add((host, value))
    return found


def written(value: Any) -> Any:
    """Options as the child reads them."""
    if isinstance(value, Secret):
        return {"secret": value.reveal()}
    return {name: written(one) for name, one in value.items()} if isinstance(value, dict) else value


def listening(process: subprocess.Popen[bytes]) -> set[int]:
    """TCP ports on which a process listens."""
    sockets = set()
    for handle in os.listdir(f"/proc/{process.pid}/fd"):
        try:
            target = os.readlink(f"/proc/{process.pid}/fd/{handle}")
        except OSError:
            continue
        sockets.add(target.removeprefix("socket:[").removesuffix("]"))
    ports = set()
    for table in ("tcp", "tcp6"):
        lines = Path(f"/proc/{process.pid}/net/{table}").read_text().splitlines()[1:]
        for fields in map(str.split, lines):
            if fields[3] == "0A" and fields[9] in sockets:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def addresses(trace: str) -> set[tuple[str, int]]:
    """(address, port) of each connect() and each datagram of a trace, without local sockets."""
    found = set()
    for family, rest in _CALL.findall(trace):
        if family in ("AF_UNIX", "AF_NETLINK", "AF_UNSPEC"):
            continue
        port = re.search(r"htons\((\d+)\)", rest)
        host = re.search(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', rest)
        assert port is not None and host is not None, (family, rest)
        found.add((host[1] or host[2], int(port[1])))
    return found


def test_the_trace_is_understood() -> None:
    trace = (
        '1 connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("169.254.169.254")}, 16) = 0\n'
        "1 connect(3, {sa_family=AF_INET6, sin6_port=htons(443), sin6_flowinfo=htonl(0),"
        ' inet_pton(AF_INET6, "::1", &sin6_addr), sin6_scope_id=0}, 28) = -1 EINPROGRESS\n'
        '1 connect(4, {sa_family=AF_UNIX, sun_path="/run/x"}, 110) = -1 ENOENT\n'
        '1 sendto(5, "x", 1, 0, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("10.0.0.1")}, 16) = 1\n'
    )
    assert addresses(trace) == {("169.254.169.254", 80), ("::1", 443), ("10.0.0.1", 53)}


@pytest.mark.parametrize("location_type", [name for name in present_types() if name != "local"])
def test_only_the_endpoint_is_spoken_to(
    location_type: str, endpoints: Endpoints, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    options = endpoints.fresh(location_type)
    server = request.getfixturevalue(str(FIXTURES[location_type][0]))
    trap = f"http://127.0.0.1:{free_port()}"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        **dict.fromkeys(
            ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"), trap
        ),
    }
    trace = tmp_path / "trace"
    argv = [
        "strace",
        "-f",
        "-qq",
        "-e",
        "trace=connect,sendto,sendmsg,sendmmsg",
        "-e",
        "signal=none",
        "-o",
        str(trace),
    ]
    done = subprocess.run(
        [*argv, sys.executable, str(CHILD)],
        input=json.dumps({"folder": str(tmp_path), "location": written(options)}),
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.stdout == "[0, 0, 0, 0, 0]", done.stdout + done.stderr
    allowed = ports_in(options)
    process = getattr(server, "process", None)
    if process is not None:
        allowed |= {("127.0.0.1", port) for port in listening(process)}
    spoken = addresses(trace.read_text(errors="replace"))
    assert spoken, "no connection was seen: the trace proves nothing"
    assert spoken - allowed == set()
