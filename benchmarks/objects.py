"""`python -m benchmarks.objects`: small objects to and from an S3 server of this machine, side by side with the peers.

The server is MiniStack (pip install ministack), started anew for each round and ended by its pid; peers that are
not installed are left out.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

from benchmarks.__main__ import table
from benchmarks.contest import Times
from runner.testing.manifest import manifest

BYTES = 8 << 10
KEYS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark", "AWS_REGION": "us-east-1"}
JOBS = ("Upload", "Nothing to do", "Download")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.objects", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="how many objects of 8 KB (default 10,000)")
    parser.add_argument("--rounds", type=int, default=3, help="interleaved rounds (default 3)")
    parser.add_argument("--folder", help="where to work (default: a temporary folder); name a tmpfs")
    parser.add_argument("--write", metavar="FILE", help="write the tables there as Markdown, too")
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="sync-runner-objects-", dir=arguments.folder)
    times: dict[str, dict[str, Times]] = {job: {} for job in JOBS}
    try:
        grow(os.path.join(folder, "src"), arguments.files)
        wanted = contents(os.path.join(folder, "src"))
        names = list(CONTESTANTS)
        for number in range(arguments.rounds):
            with server(folder) as endpoint:
                for name in names[number % len(names) :] + names[: number % len(names)]:
                    compete(folder, endpoint, name, times, wanted)
                    print(
                        ", ".join(f"{name} {job} {times[job][name].wall[-1]:.2f} s" for job in JOBS),
                        flush=True,
                    )
    finally:
        shutil.rmtree(folder)
    heading = f"{arguments.files:,} objects of 8 KB, MiniStack on the loopback; medians of {arguments.rounds} rounds."
    text = "\n".join([heading, "", *(table(job, times[job]) for job in JOBS)])
    print("\n" + text)
    if arguments.write:
        with open(arguments.write, "w") as stream:
            stream.write(text)


def grow(root: str, files: int) -> None:
    """100 files a folder, each with other content."""
    for number in range(files):
        folder = os.path.join(root, f"d{number // 100:04d}")
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, f"f{number % 100:02d}"), "wb") as stream:
            stream.write(number.to_bytes(8, "big") * (BYTES // 8))


def contents(root: str) -> dict[bytes, str]:
    """What has to arrive whoever carries it: the files and their bytes. Not all peers carry folders' times."""
    return {path: row.sha256 for path, row in manifest(root).items() if row.sha256 is not None}


@contextmanager
def server(folder: str) -> Iterator[str]:
    """An S3 server with an empty bucket `benchmark`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    program = os.path.join(os.path.dirname(sys.executable), "ministack")
    settings = {"SERVICES": "s3", "BIND_HOST": "127.0.0.1", "GATEWAY_PORT": str(port), "LOG_LEVEL": "ERROR"}
    with open(os.path.join(folder, "server.log"), "wb") as log:
        process = subprocess.Popen([program], env={**os.environ, **settings}, stdout=log, stderr=log)
    try:
        until_made(process, port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def until_made(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait for the server by what is wanted of it: a bucket."""
    pause = threading.Event()
    for _ in range(600):
        connection = HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("PUT", "/benchmark")
            if connection.getresponse().status == 200:
                return
        except OSError:
            if process.poll() is not None:
                raise SystemExit("the S3 server did not start") from None
        finally:
            connection.close()
        pause.wait(0.05)
    raise SystemExit("the S3 server does not answer")


def compete(
    folder: str, endpoint: str, name: str, times: dict[str, dict[str, Times]], wanted: dict[bytes, str]
) -> None:
    """One contestant's three jobs, on a prefix and in a folder of its own."""
    prefix = "".join(letter for letter in name if letter.isalnum())
    back = os.path.join(folder, "back")
    shutil.rmtree(back, ignore_errors=True)
    shutil.rmtree(os.path.join(folder, ".sync-runner"), ignore_errors=True)
    up, down = CONTESTANTS[name](folder, endpoint, prefix)
    for job, command in zip(JOBS, (up, up, down), strict=True):
        began = time.perf_counter()
        used = os.times()
        subprocess.run(command, cwd=folder, check=True, env={**os.environ, **KEYS}, stdout=subprocess.DEVNULL)
        spent = os.times()
        one = times[job].setdefault(name, Times())
        one.wall.append(time.perf_counter() - began)
        one.processor.append(
            spent.children_user + spent.children_system - used.children_user - used.children_system
        )
    if contents(back) != wanted:
        raise SystemExit(f"{name}: what came back is not what was sent")


Commands = tuple[tuple[str, ...], tuple[str, ...]]


def runner(verify: str) -> Callable[[str, str, str], Commands]:
    def commands(folder: str, endpoint: str, prefix: str) -> Commands:
        bucket = {
            "type": "s3",
            "bucket": "benchmark",
            "prefix": f"{prefix}/",
            "endpoint_url": endpoint,
            "credentials": "environment",
        }
        locations = {
            "src": {"type": "local", "path": "./src"},
            "s3": bucket,
            "back": {"type": "local", "path": "./back"},
        }
        more = {"options": {"verify_mode": verify}, "reports": ["json"]}
        tasks = {
            "up": {"source": "src", "destination": "s3", **more},
            "down": {"source": "s3", "destination": "back", **more},
        }
        with open(os.path.join(folder, "sync.yaml"), "w") as stream:
            json.dump({"version": 1, "locations": locations, "tasks": tasks}, stream)
        run = (sys.executable, "-m", "runner", "run", "-q")
        return (*run, "up"), (*run, "down")

    return commands


def rclone(folder: str, endpoint: str, prefix: str) -> Commands:
    with open(os.path.join(folder, "rclone.conf"), "w") as stream:
        stream.write(
            f"[s3]\ntype = s3\nprovider = Other\nenv_auth = true\nendpoint = {endpoint}\nregion = us-east-1\n"
        )
    sync = ("rclone", "--config", "rclone.conf", "sync", "--transfers", "16", "--checkers", "16")
    return (*sync, "src", f"s3:benchmark/{prefix}"), (*sync, f"s3:benchmark/{prefix}", "back")


def aws(folder: str, endpoint: str, prefix: str) -> Commands:
    sync = ("aws", "--endpoint-url", endpoint, "s3", "sync", "--only-show-errors")
    return (*sync, "src", f"s3://benchmark/{prefix}"), (*sync, f"s3://benchmark/{prefix}", "back")


def s5cmd(folder: str, endpoint: str, prefix: str) -> Commands:
    sync = ("s5cmd", "--log", "error", "--endpoint-url", endpoint, "sync")
    return (*sync, "src/", f"s3://benchmark/{prefix}/"), (*sync, f"s3://benchmark/{prefix}/*", "back/")


CONTESTANTS: dict[str, Callable[[str, str, str], Commands]] = {
    "sync-runner": runner("none"),
    "sync-runner, verified": runner("only_files_transferred"),
    **{
        f"{program} sync": commands
        for program, commands in (("rclone", rclone), ("aws", aws), ("s5cmd", s5cmd))
        if shutil.which(program)
    },
}


if __name__ == "__main__":
    main()
