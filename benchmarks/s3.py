"""`python -m benchmarks.s3`: to and from an S3 server on the loopback, against rclone, aws and s5cmd.

Jobs, in interleaved rounds of whole processes: many small files up, nothing to do, down; nothing to do with very many
objects; one large object up and down. Every contestant has buckets of its own at one MiniStack, and after each job that
moves something, names, sizes and MD5s of what arrived are compared with what was sent.

MiniStack answers one request at a time and keeps everything in memory: `server` is its processor time, which bounds every
contestant. "Nothing to do" is the runner's second time: by then it remembers what it looked at.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.page import PAGE, write_section
from benchmarks.s3_peers import KEYS, REGION, RUNNER, Contestant, configure, contestants
from benchmarks.watch import Spent, peak_memory, run

Contents = dict[str, tuple[int, str]]
"""Size and MD5 by name."""


@dataclass
class Work:
    """One round of one set of files: every contestant's bucket and folder."""

    folder: Path
    source: Path
    buckets: dict[str, str]
    outs: dict[str, Path]


@dataclass
class Contest:
    """Who competes, where, and what was measured so far, by job and name."""

    endpoint: str
    server: int
    competing: list[Contestant]
    times: dict[tuple[str, str], list[Spent]] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)

    def turn(self, number: int) -> list[Contestant]:
        """Each round begins with another one: nobody always runs on a warm machine."""
        begin = number % len(self.competing)
        return self.competing[begin:] + self.competing[:begin]

    def measure(self, job: str, one: Contestant, work: Work, down: bool = False) -> None:
        spent = run(self.command(one, work, down), work.folder, one.environment, self.server)
        self.times.setdefault((job, one.name), []).append(spent)
        shown = f"{spent.wall:.2f} s ({spent.processor:.1f} of processor, server {spent.server:.1f})"
        print(f"{job}: {one.name} {shown}", flush=True)

    def command(self, one: Contestant, work: Work, down: bool) -> list[str]:
        return one.command(down, work.source, work.buckets[one.name], work.outs[one.name])

    def prepare(self, folder: Path, source: Path) -> Work:
        folder.mkdir()
        buckets = {one.name: make_bucket(self.endpoint) for one in self.competing}
        outs = {one.name: folder / one.name.replace(" ", "-") for one in self.competing}
        configure(folder, source, self.endpoint, buckets[RUNNER], outs[RUNNER])
        return Work(folder, source, buckets, outs)

    def is_equal(self, one: Contestant, job: str, found: Contents, wanted: Contents) -> None:
        if found != wanted:
            wrong = sorted(
                name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name)
            )
            raise SystemExit(f"{job}: {one.name}: {len(wrong)} objects are not the source's: {wrong[:3]}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.s3", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="small files (0: leave out)")
    parser.add_argument("--size", type=int, default=8192, help="bytes of each small file")
    parser.add_argument("--many", type=int, default=100_000, help="objects with nothing to do (0: leave out)")
    parser.add_argument("--big", type=int, default=1 << 30, help="bytes of the large object (0: leave out)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--concurrency", type=int, default=32)
    parser.add_argument("--against", help="only these peers: words of their names, by commas")
    parser.add_argument(
        "--folder", help="where to work (default: a temporary folder); name a tmpfs or a disk"
    )
    parser.add_argument(
        "--write", metavar="FILE", nargs="?", const=PAGE, help="replace the section of docs/benchmarks.md"
    )
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-s3-", dir=arguments.folder))
    try:
        with ministack(folder) as (endpoint, server):
            text = contest(folder, endpoint, server, arguments)
    finally:
        shutil.rmtree(folder)
    print("\n" + text)
    if arguments.write:
        write_section(arguments.write, section_of(arguments)[0], text)


@contextmanager
def ministack(folder: Path) -> Iterator[tuple[str, int]]:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from servers.serve_ministack import serve_ministack

    with serve_ministack(folder) as server:
        yield server.endpoint, server.process.pid


def contest(folder: Path, endpoint: str, server: int, arguments: argparse.Namespace) -> str:
    competing = contestants(folder, endpoint, arguments.concurrency)
    if arguments.against is not None:
        words = [word for word in arguments.against.split(",") if word]
        competing = [
            one for one in competing if one.name == RUNNER or any(word in one.name for word in words)
        ]
    on = Contest(endpoint, server, competing)
    if arguments.files:
        small_files(on, folder, arguments)
    if arguments.many:
        very_many(on, folder, arguments)
    if arguments.big:
        one_large(on, folder, arguments)
    return page(on, folder, arguments)


# -- the jobs ------------------------------------------------------------------------------------------------------


def small_files(on: Contest, folder: Path, arguments: argparse.Namespace) -> None:
    source = grow(folder / "small", arguments.files, arguments.size)
    wanted = of_folder(source)
    title = f"{arguments.files:,} files of {arguments.size:,} bytes"
    for number in range(arguments.rounds):
        work = on.prepare(folder / f"small{number}", source)
        for one in on.turn(number):
            on.measure(f"{title}, up", one, work)
            on.is_equal(one, "up", of_bucket(on.endpoint, work.buckets[one.name]), wanted)
        # What was just written is looked at once more before it is remembered.
        remember(on, work)
        for one in on.turn(number):
            on.measure(f"{title}, nothing to do", one, work)
        for one in on.turn(number):
            on.measure(f"{title}, down", one, work, down=True)
            on.is_equal(one, "down", of_folder(work.outs[one.name]), wanted)
        drop(on, work)


def very_many(on: Contest, folder: Path, arguments: argparse.Namespace) -> None:
    source = grow(folder / "many", arguments.many, 16)
    wanted = of_folder(source)
    work = on.prepare(folder / "many0", source)
    for one in on.competing:
        run(on.command(one, work, False), work.folder, one.environment, on.server)
        on.is_equal(one, "very many", of_bucket(on.endpoint, work.buckets[one.name]), wanted)
    remember(on, work)
    title = f"{arguments.many:,} objects, nothing to do"
    for number in range(arguments.rounds):
        for one in on.turn(number):
            on.measure(title, one, work)
    for one in on.competing:
        on.memory[one.name] = peak_memory(on.command(one, work, False), work.folder, one.environment)
    drop(on, work)
    shutil.rmtree(source)


def one_large(on: Contest, folder: Path, arguments: argparse.Namespace) -> None:
    source = folder / "large"
    source.mkdir()
    block = os.urandom(1 << 20)
    with open(source / "large.bin", "wb") as stream:
        for begin in range(0, arguments.big, len(block)):
            # No two blocks alike: what ends up in the wrong place is found.
            tail = begin.to_bytes(8, "big") + block[8:]
            stream.write(tail[: min(len(block), arguments.big - begin)])
    wanted = of_folder(source)
    title = f"one object of {arguments.big:,} bytes"
    for number in range(arguments.rounds):
        work = on.prepare(folder / f"large{number}", source)
        for one in on.turn(number):
            on.measure(f"{title}, up", one, work)
            on.is_equal(one, "up", of_bucket(on.endpoint, work.buckets[one.name]), wanted)
        for one in on.turn(number):
            on.measure(f"{title}, down", one, work, down=True)
            on.is_equal(one, "down", of_folder(work.outs[one.name]), wanted)
            shutil.rmtree(work.outs[one.name])
        drop(on, work)


def remember(on: Contest, work: Work) -> None:
    for one in on.competing:
        if one.name == RUNNER:
            run(on.command(one, work, False), work.folder, one.environment, on.server)


def grow(root: Path, files: int, size: int) -> Path:
    """Random files, 100 folders of them."""
    for number in range(files):
        path = root / f"d{number % 100:02}" / f"file-{number:06}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(size))
    return root


# -- whether the results are equal -----------------------------------------------------------------------------------


def client(endpoint: str) -> Any:
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
    )


def make_bucket(endpoint: str) -> str:
    name = f"bench-{os.urandom(6).hex()}"
    asking = client(endpoint)
    asking.create_bucket(Bucket=name)
    asking.close()
    return name


def of_bucket(endpoint: str, bucket: str) -> Contents:
    """All objects but folders' markers. The etag of one put is the MD5; what came in parts is read."""
    found: Contents = {}
    asking = client(endpoint)
    for page_ in asking.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for one in page_.get("Contents", ()):
            if one["Key"].endswith("/") and one["Size"] == 0:
                continue
            md5 = one["ETag"].strip('"')
            if "-" in md5:
                body = asking.get_object(Bucket=bucket, Key=one["Key"])["Body"]
                md5 = md5_of(iter(lambda body=body: body.read(1 << 20), b""))
            found[one["Key"]] = (one["Size"], md5)
    asking.close()
    return found


def of_folder(root: Path) -> Contents:
    found: Contents = {}
    for folder, _, names in os.walk(root):
        for name in names:
            path = os.path.join(folder, name)
            with open(path, "rb") as stream:
                md5 = md5_of(iter(lambda stream=stream: stream.read(1 << 20), b""))
            found[os.path.relpath(path, root)] = (os.path.getsize(path), md5)
    return found


def md5_of(chunks: Iterator[bytes]) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    for chunk in chunks:
        digest.update(chunk)
    return digest.hexdigest()


def drop(on: Contest, work: Work) -> None:
    """The server holds everything in memory: what is done with goes."""
    asking = client(on.endpoint)
    for bucket in work.buckets.values():
        for page_ in asking.get_paginator("list_objects_v2").paginate(Bucket=bucket):
            keys = [{"Key": one["Key"]} for one in page_.get("Contents", ())]
            if keys:
                asking.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
    asking.close()
    shutil.rmtree(work.folder)


# -- the page --------------------------------------------------------------------------------------------------------


def section_of(arguments: argparse.Namespace) -> tuple[str, str]:
    """Which section of the page this is, and its title: jobs that are measured alone stand alone."""
    if arguments.files:
        return "s3", "Amazon S3 and its like"
    if arguments.many:
        return "s3-many", "Amazon S3: very many objects"
    return "s3-large", "Amazon S3: one large object"


def page(on: Contest, folder: Path, arguments: argparse.Namespace) -> str:
    words = (
        f"--files {arguments.files} --many {arguments.many} --big {arguments.big} --rounds {arguments.rounds}"
    )
    pieces = [
        f"## {section_of(arguments)[1]}",
        "",
        "MiniStack on the loopback (one thread, in memory), all contestants with "
        f"{arguments.concurrency} requests at once where they can be told; medians of {arguments.rounds} interleaved "
        "rounds, whole processes. What arrived was compared with what was sent: names, sizes, MD5s.",
        "",
        f"Made with `python -m benchmarks.s3 {words}` on Python {platform.python_version()}, "
        f"Linux {platform.release()}, {len(os.sched_getaffinity(0))} cores.",
        "",
        *(f"- {one.name}: {one.version}" for one in on.competing),
        "",
    ]
    jobs = list(dict.fromkeys(job for job, _ in on.times))
    for job in jobs:
        pieces += table(on, job)
    if on.memory:
        pieces += [f"### Memory: {arguments.many:,} objects listed and compared", ""]
        pieces += ["| | most at once, all processes (PSS) |", "|---|---|"]
        pieces += [f"| {name} | {size / 1e6:.0f} MB |" for name, size in on.memory.items()]
    return "\n".join(pieces) + "\n"


def table(on: Contest, job: str) -> list[str]:
    """Ratio = sync-runner / the other, on the clock: below 1 sync-runner is faster."""

    def median(name: str, which: Callable[[Spent], float]) -> float:
        return statistics.median(which(one) for one in on.times[job, name])

    ours = median(RUNNER, lambda spent: spent.wall)
    lines = [
        f"### {job}",
        "",
        "| | seconds | processor seconds | the server's | sync-runner / this |",
        "|---|---|---|---|---|",
    ]
    for one in on.competing:
        wall = median(one.name, lambda spent: spent.wall)
        processor = median(one.name, lambda spent: spent.processor)
        server = median(one.name, lambda spent: spent.server)
        lines.append(f"| {one.name} | {wall:.2f} | {processor:.2f} | {server:.2f} | {ours / wall:.2f} |")
    return [*lines, ""]


if __name__ == "__main__":
    main()
