"""`python -m benchmarks.s3`: small files to and from an S3 server on the loopback, against rclone, aws and s5cmd.

Each contestant has a bucket of its own, at a MiniStack of its own making. Jobs: everything up, nothing to do (the
runner's second time: by then it remembers what it looked at), everything down. Whole processes, in interleaved rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KEYS = {"AWS_ACCESS_KEY_ID": "SYNCRUNNERTEST", "AWS_SECRET_ACCESS_KEY": "sync-runner-test-secret"}
REGION = "us-east-1"
JOBS = ("up", "nothing to do", "down")


@dataclass(frozen=True)
class Contestant:
    """Commands by job; `{bucket}` is its bucket, `{out}` its folder for what comes down."""

    name: str
    up: tuple[str, ...]
    down: tuple[str, ...]
    environment: Mapping[str, str]

    def command(self, job: str, bucket: str, out: str) -> list[str]:
        return [one.format(bucket=bucket, out=out) for one in (self.down if job == "down" else self.up)]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--size", type=int, default=8192, help="bytes of each file")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--write", metavar="FILE", help="write the table there as Markdown, too")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-s3-"))
    try:
        with ministack(folder) as endpoint:
            text = contest(folder, endpoint, arguments)
    finally:
        shutil.rmtree(folder)
    print("\n" + text)
    if arguments.write:
        Path(arguments.write).write_text(text)


@contextmanager
def ministack(folder: Path) -> Iterator[str]:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from servers.serve_ministack import serve_ministack

    with serve_ministack(folder) as server:
        yield server.endpoint


def contest(folder: Path, endpoint: str, arguments: argparse.Namespace) -> str:
    grow(folder / "src", arguments.files, arguments.size)
    competing = contestants(folder, endpoint, arguments.concurrency)
    times: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for number in range(arguments.rounds):
        turn = competing[number % len(competing) :] + competing[: number % len(competing)]
        work = folder / f"round{number}"
        work.mkdir()
        buckets = {one.name: make_bucket(endpoint) for one in turn}
        configure(work, folder, endpoint, buckets["sync-runner"])
        for job in JOBS:
            for one in turn:
                out = str(work / one.name.replace(" ", "-"))
                if job == "nothing to do" and one.name == "sync-runner":
                    # What was just written is looked at once before it is remembered.
                    run(one.command(job, buckets[one.name], out), work, one.environment)
                took = run(one.command(job, buckets[one.name], out), work, one.environment)
                times.setdefault((job, one.name), []).append(took)
                print(f"{job}: {one.name} {took[0]:.2f} s", flush=True)
        shutil.rmtree(work)
    return table(times, competing, arguments)


def grow(root: Path, files: int, size: int) -> None:
    for number in range(files):
        path = root / f"d{number % 100:02}" / f"file-{number:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))


def make_bucket(endpoint: str) -> str:
    import boto3

    name = f"bench-{os.urandom(6).hex()}"
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )
    client.create_bucket(Bucket=name)
    client.close()
    return name


def contestants(folder: Path, endpoint: str, concurrency: int) -> list[Contestant]:
    """The runner, and those of its peers that are installed."""
    source = str(folder / "src")
    aws = {**KEYS, "AWS_DEFAULT_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true"}
    runner = (sys.executable, "-m", "runner", "run")
    found = [Contestant("sync-runner", (*runner, "up", "-q"), (*runner, "down", "-q"), aws)]
    beside = os.pathsep.join([os.path.dirname(sys.executable), os.environ["PATH"]])
    if rclone := shutil.which("rclone", path=beside):
        many = ("--transfers", str(concurrency), "--checkers", str(concurrency))
        remote = {
            **aws,
            "RCLONE_CONFIG": str(folder / "rclone.conf"),
            "RCLONE_CONFIG_S_TYPE": "s3",
            "RCLONE_CONFIG_S_PROVIDER": "Other",
            "RCLONE_CONFIG_S_ENV_AUTH": "true",
            "RCLONE_CONFIG_S_ENDPOINT": endpoint,
        }
        (folder / "rclone.conf").touch()
        found.append(
            Contestant(
                "rclone sync",
                (rclone, "sync", *many, source, "s:{bucket}"),
                (rclone, "sync", *many, "s:{bucket}", "{out}"),
                remote,
            )
        )
    if program := shutil.which("aws"):
        ours = (program, "--endpoint-url", endpoint, "s3", "sync", "--only-show-errors")
        found.append(
            Contestant(
                "aws s3 sync", (*ours, source, "s3://{bucket}"), (*ours, "s3://{bucket}", "{out}"), aws
            )
        )
    if s5cmd := shutil.which("s5cmd", path=beside):
        ours = (s5cmd, "--endpoint-url", endpoint, "--numworkers", str(concurrency), "--log", "error", "sync")
        found.append(
            Contestant(
                "s5cmd sync",
                (*ours, source + "/", "s3://{bucket}/"),
                (*ours, "s3://{bucket}/*", "{out}/"),
                aws,
            )
        )
    return found


def configure(work: Path, folder: Path, endpoint: str, bucket: str) -> None:
    locations = {
        "here": {"type": "local", "path": str(folder / "src")},
        "back": {"type": "local", "path": str(work / "sync-runner")},
        "there": {
            "type": "object_storage",
            "endpoint_url": endpoint,
            "bucket": bucket,
            "whole_bucket": True,
            "credentials": "environment",
        },
    }
    options = {"reports": ["json"], "options": {"verify_mode": "none"}}
    tasks = {
        "up": {"source": "here", "destination": "there", **options},
        "down": {"source": "there", "destination": "back", **options},
    }
    (work / "sync.yaml").write_text(json.dumps({"version": 1, "locations": locations, "tasks": tasks}))


def run(command: list[str], work: Path, environment: Mapping[str, str]) -> tuple[float, float]:
    """(seconds on the clock, seconds of processor)."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(
        command, cwd=work, env={**os.environ, **environment}, check=True, stdout=subprocess.DEVNULL
    )
    took = time.perf_counter() - began
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def table(
    times: dict[tuple[str, str], list[tuple[float, float]]],
    competing: list[Contestant],
    arguments: argparse.Namespace,
) -> str:
    def median(job: str, name: str, which: Callable[[tuple[float, float]], float]) -> float:
        return statistics.median(which(one) for one in times[job, name])

    lines = [
        f"{arguments.files:,} files of {arguments.size} bytes, MiniStack on the loopback, {os.cpu_count()} processors, "
        f"medians of {arguments.rounds} rounds, whole processes: seconds (of processor)",
        "",
        "| | " + " | ".join(one.name for one in competing) + " |",
        "|---" * (len(competing) + 1) + "|",
    ]
    for job in JOBS:
        cells = [
            f"{median(job, one.name, lambda took: took[0]):.1f} ({median(job, one.name, lambda took: took[1]):.1f})"
            for one in competing
        ]
        lines.append(f"| {job} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
