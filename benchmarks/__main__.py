"""`python -m benchmarks`: make the data, let all contestants work on it in turn, print and write the table.

Trees on this machine; `python -m benchmarks.s3` is the same for an S3 server. Each writes a section of its own.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile

import runner
from benchmarks.contest import Contestant, Times, configuration, contestants, rounds
from benchmarks.page import PAGE, write_section
from benchmarks.tree import grow


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--files", type=int, default=100_000, help="how many small files (default 100,000)")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default 5)")
    parser.add_argument(
        "--folder", help="where to work (default: a temporary folder); name a tmpfs or a disk"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--check", action="store_true", help="compare every result with the source, byte by byte"
    )
    parser.add_argument(
        "--write", metavar="FILE", nargs="?", const=PAGE, help="replace the section of docs/benchmarks.md"
    )
    arguments = parser.parse_args()
    folder = tempfile.mkdtemp(prefix="sync-runner-benchmark-", dir=arguments.folder)
    try:
        text = contest(folder, arguments)
    finally:
        shutil.rmtree(folder)
    if arguments.write:
        write_section(arguments.write, "trees", text)


def contest(folder: str, arguments: argparse.Namespace) -> str:
    size = grow(os.path.join(folder, "src"), arguments.files, arguments.seed)
    with open(os.path.join(folder, "sync.yaml"), "w") as stream:
        stream.write(configuration())
    competing = contestants()
    pieces = [heading(folder, competing, arguments, size)]

    def empty() -> None:
        for name in ("dst", ".sync-runner"):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)

    def nothing() -> None:
        return

    idle = [one for one in competing if "cp" not in one.name and "verified" not in one.name]
    for title, who, before in (
        ("First copy", competing, empty),
        ("Nothing to do: the destination is in sync", idle, nothing),
    ):
        times: dict[str, Times] = {}
        for times in rounds(folder, who, arguments.rounds, before, arguments.check):
            print(
                title + ": " + ", ".join(f"{name} {one.wall[-1]:.2f} s" for name, one in times.items()),
                flush=True,
            )
        pieces.append(table(title, times))
    text = "\n".join(pieces)
    print("\n" + text)
    return text


def heading(folder: str, competing: list[Contestant], arguments: argparse.Namespace, size: int) -> str:
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = [
        "## Trees on this machine",
        "",
        f"{arguments.files:,} files of {size / arguments.files / 1000:.1f} KB on average on {kind}; "
        f"medians of {arguments.rounds} interleaved rounds, whole processes.",
        "",
        f"Made with `python -m benchmarks --files {arguments.files} --rounds {arguments.rounds}` by sync-runner "
        f"{runner.__version__} on Python {platform.python_version()}, Linux {platform.release()}, "
        f"{len(os.sched_getaffinity(0))} cores.",
        "",
    ]
    for contestant in competing:
        command = " ".join(contestant.command).replace(sys.executable, "python")
        lines.append(f"- {contestant.name}: `{command}`{version(contestant)}")
    return "\n".join([*lines, ""])


def version(contestant: Contestant) -> str:
    if contestant.command[0] == sys.executable:
        return ""
    shown = subprocess.run([contestant.command[0], "--version"], capture_output=True, text=True, check=False)
    return f" ({shown.stdout.splitlines()[0].strip()})" if shown.stdout else ""


def table(title: str, times: dict[str, Times]) -> str:
    """Ratio = sync-runner / the other, on the clock: below 1 sync-runner is faster."""
    ours = times["sync-runner"].median_wall
    lines = [
        f"### {title}",
        "",
        "| | seconds | processor seconds | sync-runner / this |",
        "|---|---|---|---|",
    ]
    for name, one in times.items():
        lines.append(
            f"| {name} | {one.median_wall:.2f} | {one.median_processor:.2f} | {ours / one.median_wall:.2f} |"
        )
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
